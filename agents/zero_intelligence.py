"""The zero-intelligence bidder with a budget (Gode and Sunder, "Allocative Efficiency of Markets with Zero-Intelligence Traders", 1993)."""

from __future__ import annotations

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.bidding.discount import RandomDiscount

__all__ = ["ZeroIntelligence"]


class ZeroIntelligence(Bidder):
    """Shades its whole value curve by a fresh uniform factor each tick, never above its value; leaves its battery alone.

    ``max_shade``: the largest share of its value it may hold back, in [0, 1]; 1 is Gode and Sunder's trader.
    """

    def __init__(self, max_shade: float = 1.0) -> None:
        super().__init__(storage="none", bidding=RandomDiscount(max_shade))
