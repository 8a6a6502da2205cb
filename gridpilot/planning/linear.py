"""The linear programme planner: the horizon in blocks, HiGHS from a hot basis. The live default.

The plan's prices of time are dual prices: the storage value that of the state of charge the coming tick leaves, the commitment values
those of the rows that let a machine go on in the second tick because it ran in the first.

Cooling in the programme is the plant's thermostat but for one freedom. ``w = max(0, P - P_free) / COP`` is not a linear constraint: a
programme may meet it or cool more. More would be cooling in advance or, at negative prices, burning power, and the plant does neither. No
convex constraint excludes both exactly, and fixing P_free beforehand would take the hall's heat out of the plan, which is all that a
site with weak cooling lives on. So what is removed is bounded by what the machines give off, and by what the full fleet needs in a hall
at its set point: with all machines on and with all off the plan cools as the plant does, in between by up to P_free / COP more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState
from gridpilot.market.site import Site, SiteArrays, pack_sites
from gridpilot.market.units import DT
from gridpilot.planning.base import Outlook, Plan, Planner
from gridpilot.planning.blocks import DAY, Blocks, block_ticks
from gridpilot.planning.limits import check_state, soft_limits, terminal_blocks
from gridpilot.planning.linear_model import LinearModel, Numbers
from gridpilot.planning.linear_solver import HotSolver

__all__ = ["LinearProgramme"]

FloatArray = npt.NDArray[np.float64]

BOTH: Final = 1e-6  # kW of charge and discharge in one block that count as both at once
FLAT: Final = 1e-9  # $/kWh, tangents that differ by less are one
NEAR: Final = 1e-6  # share of the curve's width within which two samples are one


class LinearProgramme(Planner):
    """Plans by a linear programme over blocks of ticks.

    ``blocks``    ``"full"``, or pairs (number of blocks, ticks of each); the default is a day in 44 blocks
    ``deadline``  seconds of wall time a solve may take; ``None`` is no limit
    """

    name: ClassVar[str] = "linear"

    def __init__(self, blocks: str | Sequence[tuple[int, int]] = DAY, deadline: float | None = None) -> None:
        block_ticks(blocks, 1)
        if deadline is not None and not deadline > 0.0:
            raise PlanningError(f"linear programme: deadline is {deadline}, expected seconds above 0 or None")
        self.blocks, self.deadline = blocks, deadline

    def reset(self, site: Site) -> None:
        """Take up ``site``; the model itself is built when the first outlook shows its horizon."""
        self._arrays: SiteArrays = pack_sites([site])
        self._solver: HotSolver | None = None
        self._solved: _Solved | None = None

    def plan(self, state: SiteState, outlook: Outlook) -> Plan:
        """Plan from ``state``; see :class:`~gridpilot.planning.base.Planner`."""
        solver, numbers = self._loaded(state, outlook)
        self._solved = None
        values = self._solve(solver, numbers)
        plan = self._read(solver, numbers, *values, soft_limits(self._arrays, state))
        if not solver.held:
            self._solved = _Solved(state, outlook, numbers, *_first_sample(solver, float(outlook.prices[0, 0])))
        return plan

    def bid_curve(self, state: SiteState, outlook: Outlook, points: int = 11) -> FloatArray:
        """Sample the worth of the first tick's grid power: the plan itself, and ``points - 1`` hot solves with that power pinned.

        Each sample is a point of a concave curve and a tangent to it, the dual price of the row that is pinned. Neighbours' tangents
        meet in between: the curve given follows them, so that its worth is exact at every sample, and everywhere where no two break
        points fall between two samples. Has at most ``2 (points - 1)`` blocks. Raises
        :class:`~gridpilot.errors.PlanningError` for fewer than 3 points.
        """
        if points < 3:
            raise PlanningError(f"bid curve: points is {points}, expected at least 3")
        if self._solved is None or self._solved.state is not state or self._solved.outlook is not outlook:
            solver, numbers = self._loaded(state, outlook)
            solver.solve(self.deadline)
            self._solved = _Solved(state, outlook, numbers, *_first_sample(solver, float(outlook.prices[0, 0])))
        assert self._solver is not None
        solver, known, price = self._solver, self._solved, float(outlook.prices[0, 0])
        self._solved = None
        row, widest = int(solver.model.draw_row[0]), max(known.kw, solver.model.most_power(known.numbers))
        if widest <= 0.0:
            return np.zeros((0, 2))
        at = np.linspace(0.0, widest, points - 1)
        at = at[np.abs(at - known.kw) > NEAR * widest]
        first = int(np.searchsorted(at, known.kw))
        at = np.insert(at, first, known.kw)
        worth, slope = np.full(len(at), known.worth), np.full(len(at), known.slope)
        for k in (*range(first + 1, len(at)), *reversed(range(first))):  # outwards: each solve begins near where the last one ended
            solver.pin(row, at[k], at[k])
            solver.solve(self.deadline)
            worth[k] = solver.objective / DT + price * at[k]
            slope[k] = solver.dual(row) / DT + price
        return _along_tangents(at, worth, slope)

    def _loaded(self, state: SiteState, outlook: Outlook) -> tuple[HotSolver, Numbers]:
        """The solver with the numbers of this tick, made anew where the horizon or the number of scenarios is another one."""
        check_state(state, len(self._arrays.class_kw[0, : int(self._arrays.plant[0]["n_classes"])]))
        prices = self._scenarios(outlook)
        terminal = terminal_blocks(self._arrays, outlook)
        model = self._solver.model if self._solver is not None else None
        if (
            model is None
            or model.blocks.horizon != outlook.horizon
            or model.n_scenarios != len(prices)
            or model.n_terminal < len(terminal)
        ):
            blocks = Blocks(self.blocks, outlook.horizon)
            model = LinearModel(self._arrays, blocks, len(prices), max(12, len(terminal)))
            self._solver = self._new_solver(model)
        assert self._solver is not None
        numbers = model.numbers(state.soc_kwh, state.theta_c, state.machine_kw, prices, outlook.ambient_c, outlook.cap_kw, terminal)
        self._solver.load(numbers)
        return self._solver, numbers

    def _scenarios(self, outlook: Outlook) -> FloatArray:
        """The price paths to plan for, ``(S, H, 3)``."""
        return np.asarray(outlook.prices, dtype=np.float64)[None]

    def _new_solver(self, model: LinearModel) -> HotSolver:
        return HotSolver(model)

    def _solve(self, solver: HotSolver, numbers: Numbers) -> tuple[FloatArray, FloatArray]:
        """Solve, and again with every block held to charging or to discharging if one did both at once to burn what it is paid to take.

        A block keeps to what it did in sum; one that did nothing may charge if it is paid to draw, and else discharge.
        """
        solver.solve(self.deadline)
        value, dual = solver.solution()
        c, plant = solver.model.columns, solver.model.plant
        if (np.minimum(value[c.charge], value[c.discharge]) > BOTH).any():
            stored = value[c.charge] * plant["eta_c"] - value[c.discharge] * plant["per_eta_d"]
            paid = -numbers.profit[c.charge] < solver.model.hours * plant["wear"]  # to draw power
            fills = (stored > BOTH) | ((stored >= -BOTH) & paid)
            solver.forbid(np.concatenate([c.discharge[fills], c.charge[~fills]]))
            solver.solve(self.deadline)
            value, dual = solver.solution()
        return value, dual

    def _read(self, solver: HotSolver, numbers: Numbers, value: FloatArray, dual: FloatArray, reasons: tuple[str, ...]) -> Plan:
        model = solver.model
        c, plant = model.columns, model.plant
        charge, discharge = np.maximum(0.0, value[c.charge]), np.maximum(0.0, value[c.discharge])
        at_once = np.minimum(charge, discharge)
        charge, discharge = charge - at_once, discharge - at_once
        machine = np.clip(value[c.x], 0.0, model.class_kw)
        cooling = np.maximum(0.0, value[c.heat_removed] * numbers.per_cop)
        grid = np.maximum(0.0, machine.sum(axis=1) + cooling + charge - discharge)
        soc = np.concatenate([[numbers.row_lower[model.storage_row[0]]], model.over_scenarios(value[c.soc])]) + plant["soc_min"]
        second = model.second_steps
        worth = dual[model.storage_row[second]] if len(second) else dual[model.terminal_row]
        kept = dual[model.start_row[second]].sum(axis=0) if len(second) else np.zeros(model.n_classes)
        return Plan(
            storage_value=float(worth.sum()),
            commitment_value=np.maximum(0.0, kept / DT),
            objective=solver.objective,
            ticks=model.blocks.ticks,
            grid_kw=model.over_scenarios(grid),
            machine_kw=model.over_scenarios(machine),
            cooling_kw=model.over_scenarios(cooling),
            charge_kw=model.over_scenarios(charge),
            discharge_kw=model.over_scenarios(discharge),
            soc_kwh=soc,
            rung=self.name,
            reasons=reasons,
        )


class _Solved(NamedTuple):
    """The last plan, for a bid curve that is asked for after it."""

    state: SiteState
    outlook: Outlook
    numbers: Numbers
    kw: float  # the first tick's grid power
    worth: float  # $/h, of the plan with that power for nothing
    slope: float  # $/kWh


def _first_sample(solver: HotSolver, price: float) -> tuple[float, float, float]:
    kw, dual = solver.row(int(solver.model.draw_row[0]))
    return kw, solver.objective / DT + price * kw, dual / DT + price


def _along_tangents(at: FloatArray, worth: FloatArray, slope: FloatArray) -> FloatArray:
    """Blocks ``(k, 2)`` of the concave curve through samples (kW, $/h, $/kWh) that follows their tangents."""
    width, chord = np.diff(at), np.diff(worth) / np.diff(at)
    # Rounding aside the chord lies between its tangents. A tangent at the edge of what is possible may be as steep as it likes.
    left, right = np.maximum(slope[:-1], chord), np.minimum(slope[1:], chord)
    bend = left - right
    first = np.where(bend > FLAT, (chord - right) / np.where(bend > FLAT, bend, 1.0), 0.5)
    kw = np.column_stack([width * first, width * (1.0 - first)]).ravel()
    price = np.minimum.accumulate(np.column_stack([left, right]).ravel())
    kw, price = kw[kw > 0.0], price[kw > 0.0]
    first_of_price = np.flatnonzero(np.concatenate([[True], np.diff(price) < -FLAT]))
    return np.column_stack([np.add.reduceat(kw, first_of_price), price[first_of_price]])
