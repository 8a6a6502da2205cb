"""The linear programme of a site's plan as arrays for a solver: a fixed structure, and numbers that change with every tick.

One step of the programme is a block of n ticks, h = n dt hours. Its steps form a tree: the first one, the tick that is bid for, is common
to all scenarios, and each scenario goes on from there as a path of its own; with one scenario the tree is a path. A step has the columns

    x_c, started_c     kW, power of each machine class and what of it was not running in the step before
    b+, b-             kW, charge and discharge at the terminals
    y                  kW, heat that the cooling removes, which draws w = y / COP
    soc                kWh at the end of the step, above the lowest state of charge
    heat               how much warmer than its set point the hall is at the end, in kW that warm it so within a tick

and the rows

    x_c - x_c(before) - started_c <= 0,   started_c <= n ramp                                     start, C of them
    0 <= sum x_c + y / COP + b+ - b- <= cap                                                       draw: grid power q, no export
    soc - soc(before) - h (eta_c b+ - b- / eta_d) = 0                                             storage
    heat - a heat(before) - g (sum x_c - y) = (1 - a) (T - set point) / warming                   hall
    0 <= sum x_c - y                                                                              cooled: no more heat than there is

with a = (1 - UA warming)^n and g = (1 - a) / (UA warming), the n-fold repetition of the tick's law in :mod:`gridpilot.market.physics`.

Every limit can be met by doing nothing, so that a plan always exists and no slack or penalty can blur the dual prices. Where the plant is
outside its limits they move to it, as far and as long as physics makes them: a state of charge beyond its bounds counts as the bound
(which is what the plant makes of it), and a hall warmer than its set point has until then to cool down through its walls.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.market.site import SiteArrays
from gridpilot.market.units import DT
from gridpilot.planning.blocks import Blocks

__all__ = ["Columns", "LinearModel", "Numbers"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

HAIR: Final = 1e-7  # share of a class


class Columns(NamedTuple):
    """Where things stand in a solution: steps N, scenarios S, classes C, blocks of terminal value K."""

    x: IntArray  # (N, C)
    started: IntArray  # (N, C)
    charge: IntArray  # (N,)
    discharge: IntArray  # (N,)
    heat_removed: IntArray  # (N,)
    soc: IntArray  # (N,)
    heat: IntArray  # (N,)
    segment: IntArray  # (S, K + 1), the last one for what no block of terminal value holds


class Numbers(NamedTuple):
    """What changes from tick to tick."""

    profit: FloatArray  # (n_columns,) $ a unit of each column, every scenario taken as certain
    col_lower: FloatArray  # (n_columns,)
    col_upper: FloatArray  # (n_columns,)
    row_lower: FloatArray  # (n_rows,)
    row_upper: FloatArray  # (n_rows,)
    per_cop: FloatArray  # (N,) 1 / COP: the coefficients of y in the draw rows


class LinearModel:
    """Structure and numbers of one site's programme over ``blocks``, with room for ``n_terminal`` blocks of terminal value."""

    def __init__(self, arrays: SiteArrays, blocks: Blocks, n_scenarios: int = 1, n_terminal: int = 12) -> None:
        self.blocks, self.n_scenarios, self.n_terminal = blocks, n_scenarios, n_terminal
        self.plant = arrays.plant[0]
        self.n_classes = n_classes = int(self.plant["n_classes"])
        self.class_kw = arrays.class_kw[0, :n_classes]
        self._output, self._product = arrays.output[0, :n_classes], arrays.product[0, :n_classes]
        n_blocks = len(blocks)
        n_steps = self.n_steps = 1 + n_scenarios * (n_blocks - 1)

        # Steps: the common one, then scenario after scenario. `block` of each, `before` it, and the last of each scenario.
        self.block = np.concatenate([[0], np.tile(np.arange(1, n_blocks), n_scenarios)])
        self.before = np.arange(-1, n_steps - 1)
        self.before[1 :: n_blocks - 1 if n_blocks > 1 else 1] = 0
        self.before[0] = -1
        self.last = np.array([s * (n_blocks - 1) for s in range(1, n_scenarios + 1)])
        self.hours = DT * blocks.ticks[self.block]  # (N,)

        width = 2 * n_classes + 5
        first = width * np.arange(n_steps)[:, None]
        charge, discharge, heat_removed, soc, heat = (first[:, 0] + 2 * n_classes + k for k in range(5))
        at_class = np.arange(n_classes)
        segment = width * n_steps + np.arange(n_scenarios * (n_terminal + 1)).reshape(n_scenarios, n_terminal + 1)
        self.columns = Columns(first + at_class, first + n_classes + at_class, charge, discharge, heat_removed, soc, heat, segment)
        self.n_columns = width * n_steps + n_scenarios * (n_terminal + 1)

        height = n_classes + 4
        top = height * np.arange(n_steps)[:, None]
        self.start_row = top + at_class  # (N, C)
        self.draw_row, self.storage_row, self.hall_row, self.cooled_row = (top[:, 0] + n_classes + k for k in range(4))
        self.terminal_row = height * n_steps + np.arange(n_scenarios)
        self.n_rows = height * n_steps + n_scenarios

        # The hall: a^n and the sum of a^k over the ticks of each block.
        decay = 1.0 - float(self.plant["loss"] * self.plant["warming"])
        ticks = blocks.ticks
        self._decay = decay**ticks
        self._gain = (1.0 - self._decay) / (1.0 - decay) if decay < 1.0 else ticks.astype(np.float64)
        self._coldest = (
            -2.0 * float(self.class_kw.sum()) * blocks.horizon
        )  # kW: as good as any colder hall, and within a solver's range
        self.matrix = self._build()
        self._fixed_bounds()

    def _build(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Row, column and value of every coefficient; the first N are those of y in the draw rows."""
        entries: list[tuple[IntArray, IntArray, FloatArray]] = []

        def put(row: IntArray, column: IntArray, value: float | FloatArray) -> None:
            row, column, value = np.broadcast_arrays(row, column, np.asarray(value, dtype=np.float64))
            entries.append((row.ravel(), column.ravel(), value.ravel()))

        c, plant, hours = self.columns, self.plant, self.hours
        later, before = np.arange(1, self.n_steps), self.before[1:]
        decay, gain = self._decay[self.block], self._gain[self.block]
        put(self.draw_row, c.heat_removed, 1.0)
        put(self.start_row, c.x, 1.0)
        put(self.start_row[later], c.x[before], -1.0)
        put(self.start_row, c.started, -1.0)
        put(self.draw_row[:, None], c.x, 1.0)
        put(self.draw_row, c.charge, 1.0)
        put(self.draw_row, c.discharge, -1.0)
        put(self.storage_row, c.soc, 1.0)
        put(self.storage_row[later], c.soc[before], -1.0)
        put(self.storage_row, c.charge, -hours * plant["eta_c"])
        put(self.storage_row, c.discharge, hours * plant["per_eta_d"])
        put(self.hall_row, c.heat, 1.0)
        put(self.hall_row[later], c.heat[before], -decay[later])
        put(self.hall_row[:, None], c.x, -gain[:, None])
        put(self.hall_row, c.heat_removed, gain)
        put(self.cooled_row[:, None], c.x, 1.0)
        put(self.cooled_row, c.heat_removed, -1.0)
        put(self.terminal_row, c.soc[self.last], 1.0)
        put(self.terminal_row[:, None], c.segment, -1.0)
        row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
        return row, column, value

    def _fixed_bounds(self) -> None:
        c, plant = self.columns, self.plant
        self._col_lower, self._col_upper = np.zeros(self.n_columns), np.zeros(self.n_columns)
        self._col_upper[c.x] = self.class_kw
        # A hair less in the first tick makes a machine that runs on start that hair in the second: its dual price is then what stopping
        # it would cost, where otherwise any price between that and nothing would do.
        self._col_upper[c.x[0]] *= 1.0 - HAIR
        self._col_upper[c.started] = np.minimum(plant["ramp_kw"] * self.blocks.ticks[self.block][:, None], self.class_kw)
        room = max(0.0, float(plant["soc_max"] - plant["soc_min"]))
        self._col_upper[c.charge] = self._col_upper[c.discharge] = plant["battery_kw"] if room > 0.0 else 0.0
        self._col_upper[c.soc] = room
        self._col_lower[c.heat] = -math.inf
        self._row_lower, self._row_upper = np.zeros(self.n_rows), np.zeros(self.n_rows)
        self._row_lower[self.start_row] = -math.inf
        self._row_upper[self.cooled_row] = math.inf
        self._room = room

    def numbers(
        self,
        soc_kwh: float,
        theta_c: float,
        machine_kw: FloatArray,  # (C,)
        prices: FloatArray,  # (S, H, 3)
        ambient_c: FloatArray,  # (H,)
        cap_kw: FloatArray | None,  # (H,)
        terminal: FloatArray,  # (K, 2), K <= n_terminal
    ) -> Numbers:
        """The numbers of one tick."""
        c, plant, blocks, n_classes = self.columns, self.plant, self.blocks, self.n_classes
        mean = blocks.mean(prices)  # (S, J, 3)
        step_prices = np.concatenate([mean[0, :1], mean[:, 1:].reshape(-1, 3)])  # (N, 3)
        energy = step_prices[:, 0]
        revenue = step_prices[:, self._product] * self._output  # (N, C)
        ambient = blocks.mean(ambient_c)  # (J,)
        cop = np.maximum(1.0, plant["cop"] - plant["cop_slope"] * (ambient - plant["cop_reference"]))
        cap = np.full(len(blocks), float(plant["grid_kw"]))
        if cap_kw is not None:
            cap = np.clip(blocks.least(cap_kw), 0.0, plant["grid_kw"])

        hours, per_cop = self.hours, (1.0 / cop)[self.block]
        profit = np.zeros(self.n_columns)
        profit[c.x] = hours[:, None] * (revenue - energy[:, None])
        profit[c.started] = -DT * plant["boot_loss"] * np.maximum(revenue, 0.0)
        profit[c.charge] = -hours * (energy + plant["wear"])
        profit[c.discharge] = hours * (energy - plant["wear"])
        profit[c.heat_removed] = -hours * energy * per_cop
        profit[c.segment[:, : len(terminal)]] = terminal[:, 1]
        floor = min(0.0, float(terminal[-1, 1])) if len(terminal) else 0.0
        profit[c.segment[:, len(terminal) :]] = floor

        col_lower, col_upper = self._col_lower, self._col_upper.copy()
        col_upper[c.segment] = 0.0
        col_upper[c.segment[:, : len(terminal)]] = terminal[:, 0]
        col_upper[c.segment[:, -1]] = self._room
        limit, inflow = self._hall(theta_c, ambient)
        fleet = float(self.class_kw.sum())
        # What the walls let out of a hall at its limit need not be cooled, and with all machines on it may not be: that would be
        # cooling in advance, which the plant's thermostat does not do.
        free = (limit[1:] - self._decay * limit[:-1] - inflow) / self._gain
        removable = np.clip(fleet - free, 0.0, cop * plant["cooling_kw"])
        col_upper[c.heat_removed] = removable[self.block]
        col_upper[c.heat] = limit[1:][self.block]
        # Paid to draw, a programme would charge and discharge at once. Where power is not short nobody paid to draw discharges.
        burns = (energy < 0.0) & ((cap >= fleet + removable / cop)[self.block])
        col_upper[c.discharge] = np.where(burns, 0.0, col_upper[c.discharge])

        row_lower, row_upper = self._row_lower.copy(), self._row_upper.copy()
        row_upper[self.start_row[0]] = np.minimum(machine_kw[:n_classes], self.class_kw)
        row_upper[self.draw_row] = cap[self.block]
        stored = min(max(soc_kwh - float(plant["soc_min"]), 0.0), self._room)
        row_lower[self.storage_row[0]] = row_upper[self.storage_row[0]] = stored
        hall = inflow[self.block]
        hall[0] += self._decay[0] * max(self._heat(theta_c), self._coldest)
        row_lower[self.hall_row] = row_upper[self.hall_row] = hall
        return Numbers(profit, col_lower, col_upper, row_lower, row_upper, per_cop)

    @property
    def second_steps(self) -> IntArray:
        """The steps after the first one, one a scenario; none where the horizon is one tick."""
        return np.flatnonzero(self.before == 0)

    def over_scenarios(self, values: FloatArray) -> FloatArray:
        """Mean over the scenarios of what holds for each step: ``(N, ...)`` becomes ``(J, ...)``."""
        if self.n_scenarios == 1:
            return values
        later = values[1:].reshape(self.n_scenarios, len(self.blocks) - 1, *values.shape[1:]).mean(axis=0)
        return np.concatenate([values[:1], later])

    def most_power(self, numbers: Numbers) -> float:
        """The most that the plant can draw from the grid in the first tick, kW."""
        c, tick = self.columns, float(self.hours[0])
        running = numbers.row_upper[self.start_row[0]]
        machines = float(np.minimum(running + numbers.col_upper[c.started[0]], numbers.col_upper[c.x[0]]).sum())
        gain, hall = float(self._gain[0]), self.hall_row[0]
        uncooled = max(0.0, (numbers.col_upper[c.heat[0]] - numbers.row_lower[hall]) / gain)
        machines = min(machines, uncooled + float(numbers.col_upper[c.heat_removed[0]]))
        cooling = max(0.0, machines - uncooled) * float(numbers.per_cop[0])
        room = self._room - float(numbers.row_lower[self.storage_row[0]])
        charge = min(float(numbers.col_upper[c.charge[0]]), room / (float(self.plant["eta_c"]) * tick))
        return float(min((machines + cooling + charge) * (1.0 - HAIR), numbers.row_upper[self.draw_row[0]]))

    def _heat(self, celsius: float) -> float:
        return float((celsius - self.plant["set_point"]) / self.plant["warming"])

    def _hall(self, theta_c: float, ambient: FloatArray) -> tuple[FloatArray, FloatArray]:
        """How warm the hall may be, ``(J + 1,)``, and what its walls let in, ``(J,)``, both as heat."""
        inflow = (1.0 - self._decay) * (ambient - self.plant["set_point"]) / self.plant["warming"]
        limit = np.empty(len(ambient) + 1)
        limit[0] = now = max(0.0, self._heat(theta_c))
        if now == 0.0 and inflow.max() <= 0.0:
            limit[:] = 0.0
        else:
            for j, (decay, warmth) in enumerate(zip(self._decay.tolist(), inflow.tolist(), strict=True)):
                limit[j + 1] = now = max(0.0, decay * now + warmth)
        return limit, inflow
