"""The best response to all bids of the tick: what knowing them is worth, and the upper bound of what `best_response` can gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.bidding.oracle_response import OracleResponse as OracleResponseRule
from gridpilot.agents.storage.base import StorageRule, Worth
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation

__all__ = ["OracleResponse"]


class OracleResponse(Bidder):
    """Values power by a storage rule, and bids the exact best response to the others' bids of this tick, in simulated markets only.

    How it bids is in :class:`~gridpilot.agents.bidding.oracle_response.OracleResponse`, what it sees of others of its kind in
    :class:`~gridpilot.agents.view.ClairvoyantView`. Under VCG it bids the truth.

    ``storage``  a name of ``conf/storage``, a dotted path, a mapping of its parameters with ``name``, or a rule
    """

    clairvoyant: ClassVar[bool] = True

    def __init__(self, storage: str | Mapping[str, Any] | StorageRule = "mpc") -> None:
        super().__init__(storage=storage, bidding=OracleResponseRule())

    def bid(self, observation: Observation) -> Bid:
        """Raises :class:`~gridpilot.errors.AgentError`: an observation does not show the others' bids."""
        return self.bidding.bid(observation, Worth())
