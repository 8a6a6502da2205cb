"""The dynamic programme: a planner of a fraction of a millisecond, for tournaments and training."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState, value_curve
from gridpilot.market.site import Site, pack_sites
from gridpilot.planning.base import Outlook, Plan, Planner
from gridpilot.planning.dynamic_kernels import follow, plan_one
from gridpilot.planning.limits import soft_limits
from gridpilot.planning.terminal import estimate_terminal, terminal_slopes

__all__ = ["DynamicProgramme"]

FloatArray = npt.NDArray[np.float64]

DEFAULT_CELLS: Final = 40  # of the state of charge


class DynamicProgramme(Planner):
    """Backward over the worth of stored energy, exact but for its grid; machines at their steady state while it looks ahead.

    It ignores ramps and the hall's warming up in the worth of what it stores, and not in the plan: the plant itself follows the storage and
    commitment values through the outlook, and the objective is what it earns.

    ``cells``  equal cells of the usable charge
    """

    name: ClassVar[str] = "dynamic"

    def __init__(self, cells: int = DEFAULT_CELLS) -> None:
        if isinstance(cells, bool) or not isinstance(cells, int) or cells < 1:
            raise PlanningError(f"dynamic programme: cells is {cells!r}, expected a whole number of at least 1")
        self.cells = cells

    def reset(self, site: Site) -> None:
        """Take up ``site``."""
        self.site = site
        self._arrays = pack_sites([site])
        plant = self._arrays.plant[0]
        self._soc_min, self._room = float(plant["soc_min"]), float(plant["soc_max"] - plant["soc_min"])

    def plan(self, state: SiteState, outlook: Outlook) -> Plan:
        """Plan from ``state``; it cannot fail on a valid outlook."""
        slope, commitment = self._tables(outlook)
        horizon, n_classes = outlook.horizon, self._arrays.n_classes
        machine_kw, storage = np.zeros((1, 1, n_classes)), np.array([[[state.soc_kwh, state.theta_c]]])
        machine_kw[0, 0, : len(state.machine_kw)] = state.machine_kw
        path = np.empty((horizon, 6 + n_classes))
        profit = follow(*self._arrays, *self._paths, slope, commitment, machine_kw, storage, path)
        end = self._worth(slope[-1], float(storage[0, 0, 0]))
        fleet = len(self.site.fleet)
        return Plan(
            storage_value=self._slope(slope[1], state.soc_kwh), commitment_value=commitment[1, 0, :fleet].copy(), objective=profit + end,
            ticks=np.ones(horizon, dtype=np.int64), grid_kw=path[:, 0], machine_kw=path[:, 6 : 6 + fleet], cooling_kw=path[:, 1],
            charge_kw=path[:, 2], discharge_kw=path[:, 3], soc_kwh=np.concatenate([[state.soc_kwh], path[:, 4]]), rung=self.name,
            reasons=soft_limits(self._arrays, state),
        )  # fmt: skip

    def bid_curve(self, state: SiteState, outlook: Outlook, points: int = 11) -> FloatArray:
        """The site's value curve with the battery cut where the storage value changes: every break point, whatever ``points`` says."""
        slope, commitment = self._tables(outlook)
        fleet = len(self.site.fleet)
        prices, ambient = outlook.prices[0], float(outlook.ambient_c[0])
        kappa = commitment[1, 0, :fleet]
        plant = self._arrays.plant[0]
        soc = min(max(state.soc_kwh, self._soc_min), self._soc_min + self._room)
        limit = float(plant["grid_kw"]) if outlook.cap_kw is None else min(float(plant["grid_kw"]), float(outlook.cap_kw[0]))
        # The machines alone, as far as grid and battery together can carry them; then the battery cell by cell.
        give = min(float(plant["battery_kw"]), (soc - self._soc_min) * float(plant["discharge_rate"]))
        take = min(float(plant["battery_kw"]), (self._soc_min + self._room - soc) * float(plant["charge_rate"]))
        wide = Site(
            self.site.name, self.site.fleet, limit + give, self.site.ramp_up_kw, self.site.boot_loss, cooling=self.site.cooling
        )  # fmt: skip
        blocks = [
            tuple(block) for block in value_curve(wide, state, prices, ambient, float(prices[0]), float(prices[0]), None, kappa)
        ]
        eta_c, eta_d, wear = float(plant["eta_c"]), float(plant["eta_d"]), float(plant["wear"])
        lowest = float(plant["lowest_value"])
        for kwh, value in self._pieces(slope[1], soc, down=give / float(plant["discharge_rate"])):
            blocks.append((kwh * float(plant["discharge_rate"]), max(value, lowest) / eta_d + wear))
        for kwh, value in self._pieces(slope[1], soc, up=take / float(plant["charge_rate"])):
            blocks.append((kwh * float(plant["charge_rate"]), eta_c * max(value, lowest) - wear))
        return _window(sorted(blocks, key=lambda block: -block[1]), give, limit)

    def _tables(self, outlook: Outlook) -> tuple[FloatArray, FloatArray]:
        """Storage values ``(H + 1, G)`` and commitment values ``(H + 1, 1, C)`` before each tick."""
        terminal = estimate_terminal(self._arrays, outlook) if outlook.terminal is None else outlook.terminal
        horizon = outlook.horizon
        cap = np.full(horizon, np.inf) if outlook.cap_kw is None else np.asarray(outlook.cap_kw, dtype=np.float64)
        self._paths = (
            np.ascontiguousarray(outlook.prices, dtype=np.float64)[None],
            np.ascontiguousarray(outlook.ambient_c, dtype=np.float64)[None], np.ascontiguousarray(cap)[None],
        )  # fmt: skip
        slope, commitment = np.zeros((horizon + 1, self.cells)), np.empty((horizon + 1, 1, self._arrays.n_classes))
        slope[-1] = terminal_slopes(terminal, self.cells, self._room)
        plan_one(*self._arrays, *self._paths, slope, commitment)
        return slope, commitment

    def _slope(self, slopes: FloatArray, soc: float) -> float:
        if self._room <= 0.0:
            return 0.0
        centres = self._soc_min + (np.arange(self.cells) + 0.5) * (self._room / self.cells)
        return float(np.interp(soc, centres, slopes))

    def _worth(self, slopes: FloatArray, soc: float) -> float:
        """What the charge is worth by ``slopes``, $."""
        edges = self._soc_min + np.arange(self.cells + 1) * (self._room / self.cells)
        worth = np.concatenate([[0.0], np.cumsum(slopes) * (self._room / self.cells)])
        return float(np.interp(soc, edges, worth)) if self._room > 0.0 else 0.0

    def _pieces(self, slopes: FloatArray, soc: float, *, up: float = 0.0, down: float = 0.0) -> list[tuple[float, float]]:
        """The cells between ``soc`` and ``down`` below or ``up`` above it: kWh and $/kWh."""
        if self._room <= 0.0:
            return []
        edges = self._soc_min + np.arange(self.cells + 1) * (self._room / self.cells)
        kwh = np.minimum(edges[1:], soc + up) - np.maximum(edges[:-1], soc - down)
        return [(float(k), float(v)) for k, v in zip(kwh, slopes, strict=True) if k > 0.0]


def _window(blocks: list[tuple[float, float]], skip: float, room: float) -> FloatArray:
    """Drop the first ``skip`` kW of ``blocks`` and what lies beyond the next ``room`` kW."""
    kept = []
    for kw, price in blocks:
        dropped = min(skip, kw)
        skip -= dropped
        kw = min(kw - dropped, room)
        room -= kw
        if kw > 0.0:
            kept.append((kw, price))
    return np.array(kept, dtype=np.float64).reshape(-1, 2)
