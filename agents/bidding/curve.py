"""The truth."""

from __future__ import annotations

from gridpilot.agents.bidding.base import BiddingRule
from gridpilot.agents.storage.base import Worth
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation

__all__ = ["TrueCurve"]


class TrueCurve(BiddingRule):
    """Bids the value curve as it is."""

    def bid(self, observation: Observation, worth: Worth) -> Bid:
        """The true value curve."""
        return observation.truthful_bid(worth.storage_value, worth.commitment_value)
