"""The ladder of fallbacks: the best planner that answers in time with a plan that holds water, and why the ones above it did not.

linear programme -> dynamic programme -> myopic -> no power. Each rung's plan is checked before it is accepted, by what it says and not
by what its solver says of itself.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState
from gridpilot.market.site import Site, SiteArrays, pack_sites
from gridpilot.market.units import DT
from gridpilot.planning.base import Outlook, Plan, Planner
from gridpilot.planning.dynamic import DynamicProgramme
from gridpilot.planning.last_resort import Myopic, Zero
from gridpilot.planning.limits import check_state, soft_limits
from gridpilot.planning.linear import LinearProgramme

__all__ = ["Ladder", "find_flaws"]

FloatArray = npt.NDArray[np.float64]

SHARE: Final = 0.75  # of the time left that a linear programme may use: the rungs below it need some
TOLERANCE: Final = 1e-6  # of what a plan's powers and energies are measured against


class Ladder(Planner):
    """Asks ``planners`` in turn and answers with the first plan without flaws; below them stand :class:`Myopic` and :class:`Zero`.

    ``planners``  the default is the linear, then the dynamic programme
    ``deadline``  seconds of wall time for the whole answer; what comes later than that is dropped for a lower rung. ``None``: no limit
    ``clock``     seconds, for tests

    ``plan`` never raises, whatever a planner does: the reasons of the rungs that failed stand in the plan, first.
    """

    name: ClassVar[str] = "ladder"

    def __init__(
        self,
        planners: Sequence[Planner] | None = None,
        deadline: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if deadline is not None and not deadline > 0.0:
            raise PlanningError(f"ladder: deadline is {deadline}, expected seconds above 0 or None")
        self.planners = [LinearProgramme(), DynamicProgramme()] if planners is None else list(planners)
        self.deadline, self._clock = deadline, clock
        self._myopic, self._zero = Myopic(), Zero()

    def reset(self, site: Site) -> None:
        """Take up ``site`` with every planner."""
        self._arrays = pack_sites([site])
        self._fleet = len(site.fleet)
        for planner in (*self.planners, self._myopic, self._zero):
            planner.reset(site)

    def plan(self, state: SiteState, outlook: Outlook) -> Plan:
        """The first plan without flaws; ``rung`` names the planner."""
        self._myopic.meet(float(outlook.prices[0, 0]))
        try:
            check_state(state, self._fleet)
        except PlanningError as error:
            return dataclasses.replace(self._zero.plan(state), reasons=(str(error),))

        def flaws(plan: Plan) -> list[str]:
            return find_flaws(plan, self._arrays, self._fleet, state, outlook)

        answer, reasons = self._ask(lambda planner: planner.plan(state, outlook), flaws)
        plan: Plan = self._zero.plan(state) if answer is None else answer
        untold = [reason for reason in soft_limits(self._arrays, state) if reason not in plan.reasons]  # by a planner of one's own
        return dataclasses.replace(plan, reasons=(*reasons, *plan.reasons, *untold))

    def plan_safely(
        self,
        state: SiteState,
        prices: Any,
        ambient_c: Any,
        cap_kw: Any = None,
        scenarios: Any = None,
        terminal: Any = None,
    ) -> Plan:
        """Plan from what may not be an outlook: cut at its first value that is not finite, and then without scenarios and terminal.

        The reasons tell what was left out; where the coming tick itself is not known, no power is planned for.
        """
        outlook, reasons = _rescued(prices, ambient_c, cap_kw, scenarios, terminal)
        plan = self._zero.plan(state) if outlook is None else self.plan(state, outlook)
        return dataclasses.replace(plan, reasons=(*reasons, *plan.reasons))

    def bid_curve(self, state: SiteState, outlook: Outlook, points: int = 11) -> FloatArray:
        """The first curve without flaws; no blocks where there is none."""
        try:
            check_state(state, self._fleet)
        except PlanningError:  # the plan tells
            return self._zero.bid_curve(state)
        limit = _caps(self._arrays, outlook)[0]

        def flaws(curve: FloatArray) -> list[str]:
            if np.shape(curve)[1:] != (2,) or not np.isfinite(curve).all():
                return [f"curve of shape {np.shape(curve)}, expected finite (k, 2)"]
            ok = (curve[:, 0] >= 0.0).all() and (np.diff(curve[:, 1]) <= 0.0).all() and curve[:, 0].sum() <= limit + _slack(limit)
            return [] if ok else ["curve increases or exceeds the cap"]

        curve, _ = self._ask(lambda planner: planner.bid_curve(state, outlook, points), flaws)
        return self._zero.bid_curve(state) if curve is None else curve

    def _ask(self, question: Callable[[Planner], Any], flaws: Callable[[Any], list[str]]) -> tuple[Any, list[str]]:
        """The first answer without flaws, or ``None``, and the reasons of the planners above it."""
        start, reasons = self._clock(), []
        for planner in (*self.planners, self._myopic):
            timed = self.deadline is not None and planner is not self._myopic
            left = (self.deadline or 0.0) - (self._clock() - start)
            if timed and left <= 0.0:
                reasons.append(f"{planner.name}: not asked, the deadline of {self.deadline} s is over")
                continue
            if isinstance(planner, LinearProgramme) and self.deadline is not None:
                planner.deadline = SHARE * left
            try:
                answer = question(planner)
                wrong = flaws(answer)
            except Exception as error:  # a planner that breaks in any way must not stop the loop; the reason goes with the plan
                reasons.append(f"{planner.name}: {type(error).__name__}: {error}")
                continue
            if timed and (took := self._clock() - start) > (self.deadline or 0.0):
                reasons.append(f"{planner.name}: late, {took:.6g} s of {self.deadline} s")
                continue
            if wrong:
                reasons.append(f"{planner.name}: wrong plan: {'; '.join(wrong)}")
                continue
            return answer, reasons
        return None, reasons


def find_flaws(plan: Plan, arrays: SiteArrays, fleet: int, state: SiteState, outlook: Outlook) -> list[str]:
    """What is wrong with a plan for the site in ``arrays``, of ``fleet`` machine classes: shapes, finiteness, limits, balances."""
    plant, n_blocks = arrays.plant[0], len(plan.ticks)
    paths = (plan.grid_kw, plan.cooling_kw, plan.charge_kw, plan.discharge_kw)
    if n_blocks < 1 or any(np.shape(path) != (n_blocks,) for path in paths) or np.shape(plan.soc_kwh) != (n_blocks + 1,):
        return ["trajectories of different lengths"]
    if np.shape(plan.machine_kw) != (n_blocks, fleet) or np.shape(plan.commitment_value) != (fleet,):
        return [f"machine_kw of shape {np.shape(plan.machine_kw)}, expected {(n_blocks, fleet)}"]
    if (plan.ticks < 1).any() or int(plan.ticks.sum()) > outlook.horizon:
        return [f"{int(plan.ticks.sum())} ticks planned, expected at most {outlook.horizon}"]
    numbers = (plan.storage_value, plan.objective, plan.commitment_value, plan.machine_kw, plan.soc_kwh, *paths)
    if not all(np.isfinite(number).all() for number in numbers):
        return ["values that are not finite"]

    flaws = []

    def require(what: str, low: Any, value: Any, high: Any, size: float) -> None:
        if (np.asarray(value) < low - _slack(size)).any() or (np.asarray(value) > high + _slack(size)).any():
            flaws.append(what)

    class_kw, battery_kw = arrays.class_kw[0, :fleet], float(plant["battery_kw"])
    size = float(class_kw.sum() + plant["grid_kw"] + battery_kw)
    starts = np.concatenate([[0], np.cumsum(plan.ticks)[:-1]])
    cap = np.minimum.reduceat(_caps(arrays, outlook)[: int(plan.ticks.sum())], starts)
    require("grid_kw outside 0 to the cap", 0.0, plan.grid_kw, cap, size)
    require("machine_kw outside 0 to the fleet", 0.0, plan.machine_kw, class_kw, size)
    running = np.minimum(np.vstack([state.machine_kw[:fleet], plan.machine_kw[:-1]]), class_kw)
    ramp = plan.ticks[:, None] * float(plant["ramp_kw"])
    require("machine_kw above the ramp", -np.inf, plan.machine_kw - running, ramp, size)
    require("cooling_kw outside its limits", 0.0, plan.cooling_kw, float(plant["cooling_kw"]), size)
    require("charge_kw outside the battery's power", 0.0, plan.charge_kw, battery_kw, size)
    require("discharge_kw outside the battery's power", 0.0, plan.discharge_kw, battery_kw, size)
    # Later blocks may be means over scenarios, of which one charges while another discharges.
    require("charge and discharge at once", 0.0, min(plan.charge_kw[0], plan.discharge_kw[0]), 0.0, size)
    surplus = plan.grid_kw + plan.discharge_kw - plan.machine_kw.sum(axis=1) - plan.cooling_kw - plan.charge_kw
    require("power does not balance", 0.0, surplus, 0.0, size)
    low, high = float(plant["soc_min"]), max(float(plant["soc_min"]), float(plant["soc_max"]))
    require("soc_kwh outside its limits", low, plan.soc_kwh[1:], high, high)
    hours = DT * plan.ticks
    flow = hours * (float(plant["eta_c"]) * plan.charge_kw - plan.discharge_kw * float(plant["per_eta_d"]))
    lost = np.diff(plan.soc_kwh) - flow
    if not low <= state.soc_kwh <= high:
        lost[0] = 0.0  # on its way back into the limits the plant gains or loses what is missing
    require("stored energy does not balance", 0.0, lost, 0.0, high + size)
    if low <= state.soc_kwh <= high:
        require("soc_kwh does not begin at the state", state.soc_kwh, plan.soc_kwh[0], state.soc_kwh, high)
    if (plan.commitment_value < 0.0).any():
        flaws.append("commitment_value below 0")
    return flaws


def _slack(size: float) -> float:
    return TOLERANCE * (1.0 + size)


def _caps(arrays: SiteArrays, outlook: Outlook) -> FloatArray:
    """What may be drawn in each tick, kW ``(H,)``."""
    grid_kw = float(arrays.plant[0]["grid_kw"])
    return np.full(outlook.horizon, grid_kw) if outlook.cap_kw is None else np.clip(outlook.cap_kw, 0.0, grid_kw)


def _rescued(prices: Any, ambient_c: Any, cap_kw: Any, scenarios: Any, terminal: Any) -> tuple[Outlook | None, list[str]]:
    """An outlook of what can be used of these, or ``None``; and what was left out."""
    try:
        return Outlook(prices, ambient_c, cap_kw, scenarios, terminal), []
    except (PlanningError, ValueError, TypeError) as error:
        reasons = [str(error)]
    try:
        rows = [np.asarray(values, dtype=np.float64) for values in (prices, ambient_c, cap_kw) if values is not None]
        known = min(len(row) for row in rows)
        finite = np.logical_and.reduce([np.isfinite(row[:known]).reshape(known, -1).all(axis=1) for row in rows])
        horizon = known if finite.all() else int(np.argmin(finite))
        table, ambient, *cap = (row[:horizon] for row in rows)
        outlook = Outlook(table, ambient, cap[0] if cap else None)
    except (PlanningError, ValueError, TypeError) as error:
        return None, [*reasons, f"outlook: nothing of it can be used: {error}"]
    return outlook, [*reasons, f"outlook: cut at {horizon} ticks, without scenarios and terminal"]
