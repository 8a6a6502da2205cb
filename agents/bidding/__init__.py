"""Bidding rules: from what power is worth to what is bid for it. A storage rule says what it is worth."""

from gridpilot.agents.bidding.base import BiddingRule, build_bidding_rule

__all__ = ["BiddingRule", "build_bidding_rule"]
