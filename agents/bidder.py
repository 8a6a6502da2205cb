"""A bidder in two halves: a storage rule says what power is worth, a bidding rule what is bid for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gridpilot.agents.base import BatchAgent
from gridpilot.agents.bidding.base import BiddingRule, build_bidding_rule
from gridpilot.agents.bidding.curve import TrueCurve
from gridpilot.agents.storage.base import StorageRule, build_storage_rule
from gridpilot.agents.storage.idle import Idle
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site

__all__ = ["Bidder"]


class Bidder(BatchAgent):
    """Any storage rule with any bidding rule, on arrays where both are.

    ``storage``  a name of ``conf/storage``, a dotted path, a mapping of its parameters with ``name``, or a rule
    ``bidding``  the same of ``conf/bidding``
    """

    # What a subclass has whose constructor does not call this one's.
    storage: StorageRule = Idle()
    bidding: BiddingRule = TrueCurve()
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()

    def __init__(
        self, storage: str | Mapping[str, Any] | StorageRule = "none", bidding: str | Mapping[str, Any] | BiddingRule = "truthful"
    ) -> None:
        self.storage = storage if isinstance(storage, StorageRule) else build_storage_rule(storage)
        self.bidding = bidding if isinstance(bidding, BiddingRule) else build_bidding_rule(bidding)
        for half, rule in (("storage", self.storage), ("bidding", self.bidding)):
            if rule.clairvoyant and not type(self).clairvoyant:
                raise AgentError(
                    f"{type(self).__name__}: its {half} rule is clairvoyant, expected one that is not: only a clairvoyant agent has it"
                )
        self.reads = (*self.storage.reads, *self.bidding.reads)
        self.writes = (*self.storage.writes, *self.bidding.writes)
        self.stated_blocks = self.bidding.stated_blocks
        self.on_arrays = self.storage.on_arrays and self.bidding.on_arrays

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Begin an episode at ``site``."""
        self.storage.reset(site, market, seed)
        self.bidding.reset(site, market, seed)

    def bid(self, observation: Observation) -> Bid:
        """What the bidding rule makes of the storage rule's values."""
        return self.bidding.bid(observation, self.storage.worth(observation))

    def learn(self, outcome: Outcome) -> None:
        """Let both take note."""
        self.storage.learn(outcome)
        self.bidding.learn(outcome)

    def rationale(self) -> Mapping[str, Any]:
        """What both rules say."""
        return self.rationale_at(0)

    def rationale_at(self, row: int) -> Mapping[str, Any]:
        """What both rules say of a seat."""
        return {**self.storage.rationale(row), **self.bidding.rationale(row)}

    def reset_batch(self, view: View) -> None:
        """Begin an episode in all seats of ``view``."""
        self.storage.reset_batch(view)
        self.bidding.reset_batch(view)

    def bid_batch(self, view: View) -> None:
        """Value, then bid, in all seats."""
        self.storage.value_batch(view)
        self.bidding.bid_batch(view)
