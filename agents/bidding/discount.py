"""Random discounts (Gode and Sunder, "Allocative Efficiency of Markets with Zero-Intelligence Traders", 1993)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridpilot.agents.base import generator
from gridpilot.agents.bidding.base import BiddingRule
from gridpilot.agents.storage.base import Worth
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.bids import Bid
from gridpilot.market.compilation import kernel
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.random import seed_streams, uniform
from gridpilot.market.site import Site
from gridpilot.market.step import SHADED_CURVE

__all__ = ["RandomDiscount"]


class RandomDiscount(BiddingRule):
    """Shades its whole value curve by a fresh uniform factor each tick, never above its value.

    ``max_shade``: the largest share of its value it may hold back, in [0, 1]; 1 is Gode and Sunder's trader.
    """

    writes = ("shade",)

    def __init__(self, max_shade: float = 1.0) -> None:
        if not 0.0 <= max_shade <= 1.0:
            raise AgentError(f"zero_intelligence: max_shade is {max_shade}, expected a number in [0, 1]")
        self.max_shade = max_shade

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Start its random stream."""
        self._generator = generator(seed)

    def bid(self, observation: Observation, worth: Worth) -> Bid:
        """The value curve at a random discount."""
        return observation.truthful_bid(*worth, shade=-self.max_shade * self._generator.random())

    def reset_batch(self, view: View) -> None:
        """Start one random stream a seat."""
        self._streams = np.empty((len(view.seed), 4), dtype=np.uint64)
        seed_streams(view.seed, self._streams)
        view.orders.kind[:] = SHADED_CURVE

    def bid_batch(self, view: View) -> None:
        """Draw one discount a seat."""
        _draw(self.max_shade, self._streams, view.orders.shade)


@kernel
def _draw(max_shade: float, streams: Any, shade: Any) -> None:
    for i in range(len(shade)):
        shade[i] = -max_shade * uniform(streams[i])
