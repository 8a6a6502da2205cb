"""The demand-function bidder: linear shading by an equilibrium slope, over any storage rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.bidding.demand_function import DemandFunction as DemandFunctionRule
from gridpilot.agents.storage.base import StorageRule

__all__ = ["DemandFunction"]


class DemandFunction(Bidder):
    """Values power by a storage rule, and shades as in the linear demand-function equilibrium of equal sites.

    What it assumes is in :class:`~gridpilot.agents.bidding.demand_function.DemandFunction`. Under VCG it bids the truth.

    ``storage``  a name of ``conf/storage``, a dotted path, a mapping of its parameters with ``name``, or a rule
    """

    def __init__(self, storage: str | Mapping[str, Any] | StorageRule = "mpc") -> None:
        super().__init__(storage=storage, bidding=DemandFunctionRule())
