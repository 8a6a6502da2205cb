"""The myopic truthful bidder: what every other agent is measured against."""

from __future__ import annotations

from gridpilot.agents.base import BatchAgent, Seats
from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation
from gridpilot.market.step import OWN_CURVE

__all__ = ["Truthful"]


class Truthful(BatchAgent):
    """Bids its value curve of the tick, with default commitment values, and leaves its battery alone."""

    def bid(self, observation: Observation) -> Bid:
        """The true value curve without the battery."""
        return observation.truthful_bid()

    def reset_batch(self, arena: Arena, seats: Seats) -> None:
        """Set the seats' orders once; they never change."""
        arena.orders.kind[seats.market, seats.seat] = OWN_CURVE

    def bid_batch(self, arena: Arena) -> None:
        """Nothing to do: the orders stand."""
