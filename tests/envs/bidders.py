"""Opponents written in Python, found by their dotted path."""

from __future__ import annotations

from gridpilot.agents.base import Agent
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation


class DefaultStorage(Agent):
    """What the zero action is said to be: the truthful bid at the default storage value."""

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(storage_value=observation.default_storage_value)


class Raises(Agent):
    """Fails in its third tick and ever after."""

    def bid(self, observation: Observation) -> Bid:
        if observation.tick >= 2:
            raise RuntimeError("no bid today")
        return observation.truthful_bid()
