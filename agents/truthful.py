"""The myopic truthful bidder: what every other agent is measured against."""

from __future__ import annotations

from gridpilot.agents.bidder import Bidder

__all__ = ["Truthful"]


class Truthful(Bidder):
    """Bids its value curve of the tick, with default commitment values, and leaves its battery alone."""

    def __init__(self) -> None:
        super().__init__(storage="none", bidding="truthful")
