"""Linear demand-function equilibrium (Klemperer and Meyer 1989, mirrored to buyers), applied to curves of blocks."""

from __future__ import annotations

import math

import numpy as np

from gridpilot.agents.bidding.stated import FloatArray, Situation, StatedRule
from gridpilot.equilibrium.demand_function import symmetric_slope

__all__ = ["DemandFunction"]


class DemandFunction(StatedRule):
    """Bids every unit at its value less what one unit more would move the price: x / B at quantity x.

    B, kW per $/kWh, is the slope of the supply that is left to the site in the equilibrium of n equal sites that value power linearly
    (:mod:`gridpilot.equilibrium.demand_function`): that of the supply steps and n - 1 times a rival's. It assumes that rivals are as
    this site is, and that curves are straight. Here they are steps with large ties, so promise nothing: it is for theory. Under
    pay-as-bid it shades by the same slope, which is no equilibrium there.
    """

    name = "demand_function"

    def respond(self, now: Situation, blocks: FloatArray) -> None:
        """The value curve, lower by x / B."""
        price = self.shaded(now)
        count = now.true.shape[1]
        blocks[:, :count, 0] = now.true[..., 0]
        blocks[:, :count, 1] = np.where(now.true[..., 0] > 0.0, price, 0.0)

    def shaded(self, now: Situation) -> FloatArray:
        """Prices of the blocks bid, ``(M, K)`` $/kWh, each at the middle of its block."""
        kw, value = now.true[..., 0], now.true[..., 1]
        end = np.cumsum(kw, axis=1)
        middle = end - 0.5 * kw
        price: FloatArray = value.copy()
        for m in range(len(kw)):
            used = int((kw[m] > 0.0).sum())
            slope = self._residual_slope(kw[m, :used], value[m, :used], middle[m, :used], float(now.capacity_kw[now.market[m]]))
            price[m, :used] = np.minimum.accumulate(value[m, :used] - middle[m, :used] / slope)
        return price

    def _residual_slope(self, kw: FloatArray, value: FloatArray, middle: FloatArray, capacity_kw: float) -> float:
        """B; infinite where there is nothing to be shaded."""
        adders = self.ladder[:, 1]
        if len(kw) < 2 or value[0] <= value[-1]:
            return math.inf
        spread = float(adders.max() - adders.min())
        if spread <= 0.0:  # any quantity at one price: nobody moves it
            return math.inf
        beta = float(self.ladder[:, 0].sum()) * capacity_kw / spread
        steepness = float((value[0] - value[-1]) / (middle[-1] - middle[0]))
        rivals = self.n_sites - 1
        return beta + rivals * symmetric_slope(self.n_sites, steepness, beta)
