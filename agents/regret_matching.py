"""The learning bidder: discounts by regret matching, over any storage rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.bidding.regret_matching import RegretMatching as RegretMatchingRule
from gridpilot.agents.storage.base import StorageRule

__all__ = ["RegretMatching"]


class RegretMatching(Bidder):
    """Values power by a storage rule, and learns how much of its value to hold back.

    How, and what ``state`` holds, is in :class:`~gridpilot.agents.bidding.regret_matching.RegretMatching`. Under VCG it bids the truth.

    ``storage``  a name of ``conf/storage``, a dotted path, a mapping of its parameters with ``name``, or a rule
    """

    def __init__(self, storage: str | Mapping[str, Any] | StorageRule = "mpc", state: str | None = None) -> None:
        super().__init__(storage=storage, bidding=RegretMatchingRule(state=state))
