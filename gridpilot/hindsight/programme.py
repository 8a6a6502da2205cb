"""The most that a seat could have earned on a day that is known, rivals' bids given: a linear programme that no play can beat.

All rates per hour, variables >= 0, h = dt, a = UA dt / C of the hall:

    max  sum_t h [ sum_c r_c (x_c - boot s_c) - wear (b+ + b-) - sum_k p_k g_k ]  +  eta_d E (soc_end - soc_start)

    x_c - x_c(t - 1) - s_c <= 0,   s_c <= min(ramp, cap_c),   x_c <= cap_c                    start, one a class: ramp and boot loss
    sum_k g_k + b- - b+ - sum_c x_c - w = 0,   g_k <= kW of the segment                       balance: power drawn
    soc - soc(t - 1) - h (eta_c b+ - b- / eta_d) = 0,   soc_min <= soc <= soc_max             storage
    theta - (1 - a) theta(t - 1) - h / C (sum_c x_c - COP w) = a T_amb,   L <= theta <= H     hall
    (H - L) w / w_max - theta <= -L      while H = set point and H - L > .1                   thermostat

``g`` are kW of the day's :attr:`~gridpilot.hindsight.seat_day.SeatDay.paid` supply, E the running mean of the energy price at the end (as
:func:`~gridpilot.tournament.tally.stored_value` has it). H and L hold whatever the seat does: ``H = max(set point, H + a (T_amb - H))`` is
as warm as the thermostat lets the hall get, ``L = L + a (T_amb - L)`` as cold as it gets without heat. The last row says that cooling
runs only in a hall at its set point, as far as a linear row can.

It bounds every play from above: what a plant does satisfies every row, and no bid pays less than the cost of what it draws. Power that was
won and handed back never earns. It is relaxed in that it may pre-cool a little, charge while it discharges, and pay the hull.
The value given is not the solver's word but the bound that its dual prices prove (weak duality; every column is bounded).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import highspy
import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.hindsight.seat_day import SeatDay
from gridpilot.hindsight.supply import Segments
from gridpilot.market.site import SiteArrays
from gridpilot.market.units import DT

__all__ = ["Numbers", "Optimum", "Programme", "proven_bound", "solved"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MONEY: Final = 1000.0 / DT  # $ to the solver's unit of money: prices in $/MWh, which its absolute tolerances suit
BAND: Final = 0.1  # degC between H and L from which on the thermostat's row counts
LEAST_WARMING: Final = 1e-9  # degC/kW; a hall that warms less in a tick has no rows, as where a site has no cooling to speak of
OPTIONS: Final[dict[str, bool | int | float | str]] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "solver": "simplex",
    "presolve": "off",  # takes a third longer than it saves
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
}


class Numbers(NamedTuple):
    """A programme as the solver takes it, the matrix by columns; n columns, m rows."""

    profit: FloatArray  # (n,) $ a unit of each column
    lower: FloatArray  # (n,)
    upper: FloatArray  # (n,) finite
    row_lower: FloatArray  # (m,)
    row_upper: FloatArray  # (m,)
    start: IntArray  # (n + 1,)
    row: IntArray
    value: FloatArray
    constant: float  # $, added to the objective
    basic: IntArray  # columns of the basis to begin with, and
    tight: IntArray  # as many rows whose slacks are not in it


@dataclass(frozen=True)
class Optimum:
    """What the programme found; T ticks, C classes."""

    value: float  # $, the bound that its dual prices prove
    primal: float  # $, what its own plan is worth to it: not more than rounding below
    soc: FloatArray  # (T + 1,) kWh, before each tick and at the end
    storage_value: FloatArray  # (T,) $/kWh, what one more kWh stored after each tick is worth
    commitment_value: FloatArray  # (T, C) $/kWh, what running power is worth beyond each tick


class Programme:
    """The programme of one plant over ``ticks`` ticks: a fixed structure, and the numbers of a day."""

    def __init__(self, arrays: SiteArrays, ticks: int) -> None:
        plant = arrays.plant[0]
        self.ticks, self.n_classes = ticks, int(plant["n_classes"])
        self.plant, self.class_kw = plant, arrays.class_kw[0, : self.n_classes]
        c = self.n_classes
        first = (2 * c + 5) * np.arange(ticks)[:, None]
        self.x, self.started = first + np.arange(c), first + c + np.arange(c)
        self.charge, self.discharge, self.cooling, self.soc, self.theta = (first[:, 0] + 2 * c + k for k in range(5))
        top = (c + 4) * np.arange(ticks)[:, None]
        self.start_row = top + np.arange(c)
        self.balance_row, self.storage_row, self.hall_row, self.thermostat_row = (top[:, 0] + c + k for k in range(4))
        self.n_fixed, self.n_rows = (2 * c + 5) * ticks, (c + 4) * ticks
        self.heats = float(plant["warming"]) >= LEAST_WARMING
        self._build()

    def _build(self) -> None:
        """The matrix but for its segments, by columns."""
        entries: list[tuple[IntArray, IntArray, FloatArray]] = []

        def put(row: IntArray, column: IntArray, value: float) -> None:
            row, column, values = np.broadcast_arrays(row, column, np.float64(value))
            entries.append((row.ravel(), column.ravel(), values.ravel()))

        plant = self.plant
        put(self.hall_row, self.cooling, 0.0)  # the first 2 T entries change from day to day
        put(self.thermostat_row, self.cooling, 0.0)
        put(self.start_row, self.x, 1.0)
        put(self.start_row[1:], self.x[:-1], -1.0)
        put(self.start_row, self.started, -1.0)
        put(self.balance_row[:, None], self.x, -1.0)
        put(self.balance_row, self.cooling, -1.0)
        put(self.balance_row, self.charge, -1.0)
        put(self.balance_row, self.discharge, 1.0)
        put(self.storage_row, self.soc, 1.0)
        put(self.storage_row[1:], self.soc[:-1], -1.0)
        put(self.storage_row, self.charge, -DT * float(plant["eta_c"]))
        put(self.storage_row, self.discharge, DT * float(plant["per_eta_d"]))
        if self.heats:
            put(self.hall_row, self.theta, 1.0)
            put(self.hall_row[1:], self.theta[:-1], float(plant["loss"] * plant["warming"]) - 1.0)
            put(self.hall_row[:, None], self.x, -float(plant["warming"]))
            put(self.thermostat_row, self.theta, -1.0)
        row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
        order = np.lexsort((row, column))
        self._row, self._value = row[order], value[order]
        self._daily = np.argsort(order)[: 2 * self.ticks]
        self._start = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=self.n_fixed))])

    def numbers(self, day: SeatDay) -> Numbers:
        """The programme with the numbers of ``day``."""
        plant, supply = self.plant, day.paid
        soc_start, theta_start = (float(level) for level in day.trace.storage[0, day.market, day.seat])
        warmest, coldest = self._hall_limits(day.ambient, theta_start)
        n = self.n_fixed + len(supply.kw)
        profit, lower, upper = np.zeros(n), np.zeros(n), np.zeros(n)
        profit[self.x] = DT * day.revenue
        profit[self.started] = -DT * plant["boot_loss"] * day.revenue
        profit[self.charge] = profit[self.discharge] = -DT * plant["wear"]
        profit[self.soc[-1]] += day.end_value
        profit[self.n_fixed :] = -DT * supply.price
        upper[self.x] = self.class_kw
        upper[self.started] = np.minimum(plant["ramp_kw"], self.class_kw)
        upper[self.charge] = upper[self.discharge] = plant["battery_kw"]
        upper[self.cooling] = plant["cooling_kw"]
        lower[self.soc], upper[self.soc] = plant["soc_min"], plant["soc_max"]
        upper[self.n_fixed :] = supply.kw

        row_lower, row_upper = np.zeros(self.n_rows), np.zeros(self.n_rows)
        row_lower[self.start_row] = -np.inf
        row_lower[self.storage_row[0]] = row_upper[self.storage_row[0]] = soc_start
        value = self._value.copy()
        row_lower[self.thermostat_row], row_upper[self.thermostat_row] = -np.inf, np.inf
        if self.heats:
            lower[self.theta], upper[self.theta] = coldest, warmest
            share = float(plant["loss"] * plant["warming"])
            heat = share * day.ambient
            heat[0] += (1.0 - share) * theta_start
            row_lower[self.hall_row] = row_upper[self.hall_row] = heat
            holds = (warmest == plant["set_point"]) & (warmest - coldest > BAND) & bool(plant["cooling_kw"] > 0.0)
            value[self._daily[: self.ticks]] = plant["warming"] * day.cop
            if holds.any():
                value[self._daily[self.ticks :]] = np.where(holds, (warmest - coldest) / plant["cooling_kw"], 0.0)
                row_upper[self.thermostat_row[holds]] = -coldest[holds]
        return Numbers(
            profit, lower, upper, row_lower, row_upper,
            np.concatenate([self._start, self._start[-1] + 1 + np.arange(len(supply.kw))]),
            np.concatenate([self._row, self.balance_row[supply.tick]]),
            np.concatenate([value, np.ones(len(supply.kw))]),
            -day.end_value * float(plant["soc_start"]),
            *self._basis(supply),
        )  # fmt: skip

    def _basis(self, supply: Segments) -> tuple[IntArray, IntArray]:
        """Charge, hall and the first segment in their equations, a triangular basis: half the pivots would be spent on getting there."""
        there = np.diff(supply.start) > 0
        columns = [self.soc, self.n_fixed + supply.start[:-1][there]]
        rows = [self.storage_row, self.balance_row[there]]
        if self.heats:
            columns.append(self.theta)
            rows.append(self.hall_row)
        return np.concatenate(columns), np.concatenate(rows)

    def solve(self, day: SeatDay) -> Optimum:
        """The optimum of ``day``. Raises :class:`~gridpilot.errors.PlanningError` naming the solver's status where it finds none."""
        numbers = self.numbers(day)
        columns, duals = solved(numbers, self.n_rows)
        commitment = np.zeros((self.ticks, self.n_classes))
        commitment[:-1] = np.maximum(duals[self.start_row[1:]], 0.0) / DT
        return Optimum(
            value=proven_bound(numbers, duals),
            primal=float(numbers.profit @ columns) + numbers.constant,
            soc=np.concatenate([[float(day.trace.storage[0, day.market, day.seat, 0])], columns[self.soc]]),
            storage_value=duals[self.storage_row],
            commitment_value=commitment,
        )

    def _hall_limits(self, ambient: FloatArray, theta: float) -> tuple[FloatArray, FloatArray]:
        """H and L after each tick, ``(T,)`` degC."""
        share, set_point = float(self.plant["loss"] * self.plant["warming"]), float(self.plant["set_point"])
        high, low, warmest, coldest = theta, theta, [], []
        for outside in ambient.tolist():
            high, low = max(set_point, high + share * (outside - high)), low + share * (outside - low)
            warmest.append(high)
            coldest.append(low)
        return np.array(warmest), np.array(coldest)


def proven_bound(numbers: Numbers, duals: FloatArray) -> float:
    """What no feasible point earns more than, $, whatever the row prices ``duals (m,)``: ``y'b + sum_j max(d_j l_j, d_j u_j)``.

    d are the reduced profits; a price that could only be meant for a side that its row has not got counts as 0.
    """
    y = np.where(duals > 0.0, np.where(np.isfinite(numbers.row_upper), duals, 0.0), duals)
    y = np.where(y < 0.0, np.where(np.isfinite(numbers.row_lower), y, 0.0), y)
    side = np.where(y > 0.0, numbers.row_upper, np.where(y < 0.0, numbers.row_lower, 0.0))
    column = np.repeat(np.arange(len(numbers.profit)), np.diff(numbers.start))
    reduced = numbers.profit - np.bincount(column, numbers.value * y[numbers.row], len(numbers.profit))
    best = np.maximum(reduced * numbers.lower, reduced * numbers.upper)
    return float(y @ side) + float(best.sum()) + numbers.constant


def solved(numbers: Numbers, n_rows: int) -> tuple[FloatArray, FloatArray]:
    """Columns, and $ that one more unit of a row's bound is worth."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(numbers.profit), n_rows
    lp.sense_ = highspy.ObjSense.kMaximize
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = MONEY * numbers.profit, numbers.lower, numbers.upper
    lp.row_lower_, lp.row_upper_ = numbers.row_lower, numbers.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = numbers.start.astype(np.int32)
    lp.a_matrix_.index_, lp.a_matrix_.value_ = numbers.row.astype(np.int32), numbers.value
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in OPTIONS.items():
        solver.setOptionValue(name, value)
    if solver.passModel(lp) == highspy.HighsStatus.kError:
        raise PlanningError("hindsight programme: HiGHS refuses the programme, expected finite numbers")
    solver.setBasis(_starting_basis(numbers, n_rows))
    solver.run()
    status = solver.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        raise PlanningError(
            f"hindsight programme: HiGHS stopped with status {solver.modelStatusToString(status)!r}, expected 'Optimal'"
        )
    solution = solver.getSolution()
    return np.array(solution.col_value), np.array(solution.row_dual) / MONEY


def _starting_basis(numbers: Numbers, n_rows: int) -> Any:
    at_lower, basic = highspy.HighsBasisStatus.kLower, highspy.HighsBasisStatus.kBasic
    columns, rows = [at_lower] * len(numbers.profit), [basic] * n_rows
    for j in numbers.basic.tolist():
        columns[j] = basic
    for i in numbers.tight.tolist():
        rows[i] = at_lower
    basis = highspy.HighsBasis()
    basis.col_status, basis.row_status, basis.valid = columns, rows, True
    return basis
