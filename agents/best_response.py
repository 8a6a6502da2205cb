"""The best-response bidder: what pays best against the rivals' last public bids, over any storage rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.bidding.best_response import BestResponse as BestResponseRule
from gridpilot.agents.storage.base import StorageRule

__all__ = ["BestResponse"]


class BestResponse(Bidder):
    """Values power by a storage rule, and bids the best response to what rivals bid when it was last made public.

    Under VCG it bids the truth, which is the best response there. It assumes to know the market's rules, which are public, and that
    rivals do as they last did; parameters of the bid in :class:`~gridpilot.agents.bidding.best_response.BestResponse`.

    ``storage``  a name of ``conf/storage``, a dotted path, a mapping of its parameters with ``name``, or a rule
    """

    def __init__(
        self,
        storage: str | Mapping[str, Any] | StorageRule = "mpc",
        min_gain: float = 0.04,
        withheld_kw: float = 20.0,
        markup: float = 0.001,
    ) -> None:
        super().__init__(storage=storage, bidding=BestResponseRule(min_gain, withheld_kw, markup))
