"""The equilibrium bidder: a solution of the tick's game by what it believes of the others, over any storage rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.bidding.nash import Nash as NashRule
from gridpilot.agents.storage.base import StorageRule

__all__ = ["Nash"]


class Nash(Bidder):
    """Values power by a storage rule, and bids its part of an equilibrium of the tick.

    What it believes of the others, and the parameters of the search, are in :class:`~gridpilot.agents.bidding.nash.Nash`. Under VCG it bids
    the truth, which is its best response whatever it believes.

    ``storage``  a name of ``conf/storage``, a dotted path, a mapping of its parameters with ``name``, or a rule
    """

    def __init__(
        self, storage: str | Mapping[str, Any] | StorageRule = "mpc", market: str = "default", rounds: int = 12, step: float = 0.5
    ) -> None:
        super().__init__(storage=storage, bidding=NashRule(market, rounds, step))
