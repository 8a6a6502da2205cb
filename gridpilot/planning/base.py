"""The interface of a planner: site, state and outlook in; plan, storage value, commitment values and bid curve out.

The problem all planners solve, each at its own resolution, is the one of :mod:`gridpilot.market.physics` over many ticks: choose grid power
``q``, machine power ``x_c``, cooling ``w``, charge ``b+`` and discharge ``b-`` to maximise

    sum_t dt [ sum_c r_ct (x_ct - boot_loss started_ct) - p_t q_t - wear (b+_t + b-_t) ]  +  T(soc_H)

with power balance, ramp-up, cooling and battery limits, ``p`` the price at which the site expects to buy power (energy price plus the
congestion premium it foresees) and ``T`` the worth of what is stored at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState
from gridpilot.market.site import Site

__all__ = ["Outlook", "Plan", "Planner"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outlook:
    """What a planner is told of the coming H ticks; row 0 is the tick that is bid for.

    ``prices``     ``(H, 3)`` finite: the price at which the site expects to buy power $/kWh, hash $ per PH/s h, token $ per million
    ``ambient_c``  ``(H,)`` degC
    ``cap_kw``     ``(H,)`` kW the site may draw, >= 0; ``None`` is its grid connection throughout
    ``scenarios``  ``(S, H, 3)`` equally likely price paths, for planners that look at risk; their row 0 is row 0 of ``prices``
    ``terminal``   ``(K, 2)`` worth of what is stored at the end: blocks of kWh above the lowest state of charge and $/kWh, non-increasing;
                   ``None`` lets the planner estimate it

    Raises :class:`~gridpilot.errors.PlanningError` for other shapes, values that are not finite, or H = 0.
    """

    prices: FloatArray
    ambient_c: FloatArray
    cap_kw: FloatArray | None = None
    scenarios: FloatArray | None = None
    terminal: FloatArray | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.prices)
        if len(shape) != 2 or shape[0] < 1 or shape[1] != 3:
            raise PlanningError(f"outlook: prices have shape {shape}, expected (H, 3) with at least one tick")
        horizon = shape[0]
        for name, expected in (("ambient_c", (horizon,)), ("cap_kw", (horizon,))):
            value = getattr(self, name)
            if value is not None and np.shape(value) != expected:
                raise PlanningError(f"outlook: {name} has shape {np.shape(value)}, expected {expected}")
        if self.scenarios is not None and (np.ndim(self.scenarios) != 3 or np.shape(self.scenarios)[1:] != shape):
            raise PlanningError(f"outlook: scenarios have shape {np.shape(self.scenarios)}, expected (S, {horizon}, 3)")
        if self.terminal is not None and (np.ndim(self.terminal) != 2 or np.shape(self.terminal)[1] != 2):
            raise PlanningError(f"outlook: terminal has shape {np.shape(self.terminal)}, expected (K, 2)")
        for name in ("prices", "ambient_c", "cap_kw", "scenarios", "terminal"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                raise PlanningError(f"outlook: {name} holds a value that is not finite")

    @property
    def horizon(self) -> int:
        """Number of ticks H."""
        return len(self.prices)


@dataclass(frozen=True)
class Plan:
    """A planner's answer. Trajectories have a row a block of ticks; J blocks, C machine classes, kW unless said otherwise."""

    storage_value: float  # $/kWh stored, what one more kWh is worth at the end of the coming tick
    commitment_value: FloatArray  # (C,) $/kWh >= 0, what having a class running is worth beyond the coming tick
    objective: float  # $, planned profit over the horizon and the worth of what is stored at its end
    ticks: npt.NDArray[np.int64]  # (J,) ticks of each block
    grid_kw: FloatArray  # (J,)
    machine_kw: FloatArray  # (J, C)
    cooling_kw: FloatArray  # (J,)
    charge_kw: FloatArray  # (J,)
    discharge_kw: FloatArray  # (J,)
    soc_kwh: FloatArray  # (J + 1,) kWh, from now on
    rung: str  # the planner that answered
    reasons: tuple[str, ...] = ()  # reason codes: what a higher rung failed with, which soft limit is broken


class Planner(ABC):
    """Plans one site. ``reset`` may be slow, ``plan`` is called every tick and may keep what it needs to start warm."""

    name: ClassVar[str]

    @abstractmethod
    def reset(self, site: Site) -> None:
        """Take up a site and forget everything about the last one."""

    @abstractmethod
    def plan(self, state: SiteState, outlook: Outlook) -> Plan:
        """Plan from ``state``. Raises :class:`~gridpilot.errors.PlanningError` when the problem could not be solved (in time)."""

    @abstractmethod
    def bid_curve(self, state: SiteState, outlook: Outlook, points: int = 11) -> FloatArray:
        """What grid power in the coming tick is worth when the rest of the horizon is planned for: ``(k, 2)`` kW, $/kWh, non-increasing.

        ``points`` is the resolution of planners that sample the curve; those that know its break points ignore it.
        """
