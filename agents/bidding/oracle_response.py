"""The exact best response to what the others bid in this very tick."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from gridpilot.agents.bidding.stated import FloatArray, Situation, StatedRule
from gridpilot.agents.storage.base import Worth
from gridpilot.agents.view import ClairvoyantView, View
from gridpilot.equilibrium.best_response import best_response_batch
from gridpilot.errors import AgentError
from gridpilot.market.arena import MarketRules
from gridpilot.market.auction import PAY_AS_BID
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation
from gridpilot.market.site import SiteArrays

__all__ = ["OracleResponse"]

SHORT: Final = 1e-9  # share of the best quantity that it does without, so that rounding puts it into no further block
ABOVE: Final = 1e-11  # of its mean value: what it bids beyond a price that must be beaten


class OracleResponse(StatedRule):
    """Bids the best response of :mod:`gridpilot.market.best_response`: its gain over the bid made is 0 to 1e-9 of the value.

    * VCG: the truth.
    * Uniform price: the truth for the best quantity, and nothing for the rest.
    * Pay-as-bid: one block of it, at the price of the dearest unit that it has to displace.

    It is shown simulated markets only, where it bids after all others.
    """

    name = "oracle_response"
    clairvoyant: ClassVar[bool] = True
    reads = (*(name for name in StatedRule.reads if name != "rivals_curve"), "rivals_now")

    def begin(self, rules: MarketRules, n_sites: int, seeds: np.ndarray, arrays: SiteArrays, plant: np.ndarray) -> None:
        """Take the market's rules in."""
        super().begin(rules, n_sites, seeds, arrays, plant)
        self.rule = rules.mechanism

    def bid(self, observation: Observation, worth: Worth) -> Bid:
        """Raises :class:`~gridpilot.errors.AgentError`: an observation does not show the others' bids."""
        raise AgentError(
            "oracle_response plays only where all bids are known: in simulated markets, through reset_batch and bid_batch"
        )

    def seen(self, view: View) -> FloatArray:
        """The others' bids as they stand."""
        if not isinstance(view, ClairvoyantView):
            raise AgentError("oracle_response is not shown the others' bids here, and cannot play without")
        return view.rivals_now

    def respond(self, now: Situation, blocks: FloatArray) -> None:
        """The best response: each seat as one bidder, all others as another."""
        true, rivals = now.true, now.curves
        bids, values = np.zeros((len(true), 2, rivals.shape[1], 2)), np.zeros((len(true), 2, true.shape[1], 2))
        bids[:, 1], values[:, 0] = rivals, true
        for array in (bids, values):  # blocks of 0 kW behind the last must not rise either
            array[..., 1] = np.minimum.accumulate(array[..., 1], axis=2)
        capacity = now.capacity_kw[now.market]
        supply = np.empty((len(true), len(self.ladder), 2))
        supply[..., 0] = self.ladder[:, 0] * capacity[:, None]
        supply[..., 1] = now.prices[now.market, :1] + self.ladder[:, 1]
        found = best_response_batch(bids, supply, capacity, values=values, reserve=self.reserve, mechanism=self.rule)
        x, best = found.best_x[:, :1], found.best[:, :1]
        wanted = np.clip(x - (np.cumsum(true[..., 0], axis=1) - true[..., 0]), 0.0, true[..., 0])
        worth = wanted * true[..., 1]
        if self.mechanism == PAY_AS_BID:
            kw = np.where(x > 0.0, x, 1.0)
            paid = (worth.sum(axis=1, keepdims=True) - best) / kw  # best = V(x) - x R(x-)
            blocks[:, 0, :1], blocks[:, 0, 1:] = x, paid + ABOVE * np.abs(worth).sum(axis=1, keepdims=True) / kw
        else:
            blocks[:, : true.shape[1], 0], blocks[:, : true.shape[1], 1] = wanted * (1.0 - SHORT), true[..., 1]
