"""The two planners that cannot fail: one looks at the coming tick alone, the other draws no power."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gridpilot.market.plant import SiteState, default_commitment_value, dispatch, value_curve
from gridpilot.market.site import Site, pack_sites
from gridpilot.market.units import DT
from gridpilot.planning.base import Outlook, Plan, Planner
from gridpilot.planning.limits import soft_limits

__all__ = ["Myopic", "Zero"]

FloatArray = npt.NDArray[np.float64]

MEMORY = 1.0 / 288.0  # weight of the newest price in the running mean


class Myopic(Planner):
    """The coming tick alone: stored energy is worth the running mean of the prices met so far, running machines their boot loss.

    The commitment value is the default of :func:`gridpilot.market.physics.default_commitment` at the price expected.
    """

    name: ClassVar[str] = "myopic"

    def reset(self, site: Site) -> None:
        """Take up ``site`` and forget the mean price."""
        self._site, self._mean = site, math.nan
        self._arrays = pack_sites([site])

    def meet(self, price: float) -> None:
        """Take a price into the running mean, $/kWh; ladders call it every tick, so that the mean is there when it is needed."""
        if math.isfinite(price):
            self._mean = price if math.isnan(self._mean) else self._mean + MEMORY * (price - self._mean)

    def plan(self, state: SiteState, outlook: Outlook) -> Plan:
        """One tick, as a price taker; it cannot fail on a valid outlook and state."""
        value, kappa = self._values(outlook)
        prices, ambient = outlook.prices[0], float(outlook.ambient_c[0])
        price = float(prices[0])
        blocks = self.bid_curve(state, outlook)
        bought = float(blocks[blocks[:, 1] > price, 0].sum())
        done = dispatch(self._site, state, bought, prices, ambient, price, value, value, kappa)
        low, high = float(self._arrays.plant[0]["soc_min"]), float(self._arrays.plant[0]["soc_max"])
        soc = min(max(state.soc_kwh, low), high)
        return Plan(
            storage_value=value,
            commitment_value=kappa,
            objective=done.revenue - done.wear - DT * price * done.grid_kw + value * (done.state.soc_kwh - low),
            ticks=np.ones(1, dtype=np.int64),
            grid_kw=np.array([done.grid_kw]),
            machine_kw=done.machine_kw[None, :],
            cooling_kw=np.array([done.cooling_kw]),
            charge_kw=np.array([done.charge_kw]),
            discharge_kw=np.array([done.discharge_kw]),
            soc_kwh=np.array([soc, done.state.soc_kwh]),
            rung=self.name,
            reasons=soft_limits(self._arrays, state),
        )

    def bid_curve(self, state: SiteState, outlook: Outlook, points: int = 11) -> FloatArray:
        """The site's value curve, cut at the cap: every break point, whatever ``points`` says."""
        value, kappa = self._values(outlook)
        prices = outlook.prices[0]
        blocks = value_curve(self._site, state, prices, float(outlook.ambient_c[0]), float(prices[0]), value, value, kappa)
        if outlook.cap_kw is not None:
            ends = np.minimum(np.cumsum(blocks[:, 0]), max(0.0, float(outlook.cap_kw[0])))
            blocks = np.column_stack([np.diff(ends, prepend=0.0), blocks[:, 1]])
        return blocks[blocks[:, 0] > 0.0]

    def _values(self, outlook: Outlook) -> tuple[float, FloatArray]:
        price = float(outlook.prices[0, 0])
        mean = price if math.isnan(self._mean) else self._mean
        return mean, default_commitment_value(self._site, outlook.prices[0], float(outlook.ambient_c[0]), price, mean)


class Zero(Planner):
    """No power at all, whatever the outlook or the state."""

    name: ClassVar[str] = "zero"

    def reset(self, site: Site) -> None:
        """Take up ``site``."""
        self._site, self._arrays = site, pack_sites([site])

    def plan(self, state: SiteState, outlook: Outlook | None = None) -> Plan:
        """Everything stands still for a tick."""
        battery, nothing = self._site.battery, np.zeros(1)
        low, high = battery.soc_min * battery.energy_kwh, battery.soc_max * battery.energy_kwh
        soc = min(max(state.soc_kwh, low), high) if math.isfinite(state.soc_kwh) else low
        return Plan(
            storage_value=0.0,
            commitment_value=np.zeros(len(self._site.fleet)),
            objective=0.0,
            ticks=np.ones(1, dtype=np.int64),
            grid_kw=nothing,
            machine_kw=np.zeros((1, len(self._site.fleet))),
            cooling_kw=nothing,
            charge_kw=nothing,
            discharge_kw=nothing,
            soc_kwh=np.array([soc, soc]),
            rung=self.name,
            reasons=soft_limits(self._arrays, state),
        )

    def bid_curve(self, state: SiteState, outlook: Outlook | None = None, points: int = 11) -> FloatArray:
        """No blocks."""
        return np.zeros((0, 2))
