"""What every planner asks of a state and an outlook before it plans, and which limits a state is beyond."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState
from gridpilot.market.site import SiteArrays
from gridpilot.planning.base import Outlook
from gridpilot.planning.terminal import estimate_terminal

__all__ = ["check_state", "soft_limits", "terminal_blocks"]

FloatArray = npt.NDArray[np.float64]


def check_state(state: SiteState, n_classes: int) -> None:
    """Raises :class:`~gridpilot.errors.PlanningError` for a state that is not finite or has another number of machine classes."""
    if len(state.machine_kw) < n_classes:
        raise PlanningError(f"state: machine_kw has {len(state.machine_kw)} classes, expected {n_classes}")
    if not (np.isfinite(state.soc_kwh) and np.isfinite(state.theta_c) and np.isfinite(state.machine_kw).all()):
        raise PlanningError(f"state: {state}, expected finite numbers")


def soft_limits(arrays: SiteArrays, state: SiteState) -> tuple[str, ...]:
    """Reason codes of the limits which ``state`` is beyond."""
    plant, reasons = arrays.plant[0], []
    low, high = float(plant["soc_min"]), float(plant["soc_max"])
    if not low - 1e-6 <= state.soc_kwh <= high + 1e-6:
        reasons.append(f"soc_outside_limits: {state.soc_kwh:.6g} kWh, limits {low:.6g} to {high:.6g}")
    if state.theta_c > float(plant["set_point"]) + 1e-6:
        reasons.append(f"hall_above_set_point: {state.theta_c:.6g} degC, set point {float(plant['set_point']):.6g}")
    return tuple(reasons)


def terminal_blocks(arrays: SiteArrays, outlook: Outlook) -> FloatArray:
    """What is stored at the end, as the outlook says, or estimated: ``(K, 2)`` kWh and $/kWh.

    Raises :class:`~gridpilot.errors.PlanningError` for blocks that increase in worth or hold less than nothing.
    """
    if outlook.terminal is None:
        return estimate_terminal(arrays, outlook)
    terminal = np.asarray(outlook.terminal, dtype=np.float64)
    if (terminal[:, 0] < 0.0).any() or (np.diff(terminal[:, 1]) > 0.0).any():
        raise PlanningError(f"outlook: terminal is {terminal.tolist()}, expected blocks of kWh >= 0 and non-increasing $/kWh")
    return terminal
