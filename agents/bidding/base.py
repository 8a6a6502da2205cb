"""The interface of a bidding rule: one half of a bidder, the other being its storage rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from gridpilot import presets
from gridpilot.agents.storage.base import Worth
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site

__all__ = ["BIDDING", "BiddingRule", "build_bidding_rule"]


class BiddingRule(ABC):
    """Bids for one seat or for many at once, given what storage and running machines are worth.

    ``reads`` and ``writes`` are, as for an agent on arrays, the fields of the view that it needs and the orders that it changes every
    tick; ``stated_blocks`` how many blocks a seat it may state, ``on_arrays`` whether this instance bids for many seats at once, and
    ``clairvoyant`` whether it has to be shown the future or the others' bids.
    """

    clairvoyant: ClassVar[bool] = False
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    stated_blocks: int = 0
    on_arrays: bool = True

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:  # noqa: B027 - there may be nothing to reset
        """Begin an episode at ``site``. Everything random must come from ``seed``."""

    @abstractmethod
    def bid(self, observation: Observation, worth: Worth) -> Bid:
        """Bid for the coming tick."""

    def learn(self, outcome: Outcome) -> None:  # noqa: B027 - learning is optional
        """Take note of the tick just played."""

    def rationale(self, row: int) -> Mapping[str, Any]:
        """Its part of :meth:`~gridpilot.agents.base.Agent.rationale` for the seat in a row of the last view, or for its one seat, 0."""
        return {}

    def reset_batch(self, view: View) -> None:  # noqa: B027 - there may be nothing to reset
        """Begin an episode in all seats of ``view``, whose orders are to bid the true curve."""

    def bid_batch(self, view: View) -> None:  # noqa: B027 - the orders may stand
        """Write the coming tick's orders; those of the storage rule are in ``view.orders`` already."""


BIDDING: Final = presets.Kind("bidding", BiddingRule, AgentError, "gridpilot.agents.bidding.BiddingRule")  # type: ignore[type-abstract]


def build_bidding_rule(rule: str | Mapping[str, Any]) -> BiddingRule:
    """The bidding rule of a name of ``conf/bidding`` or dotted path, or of a mapping of its parameters with ``name``.

    Raises :class:`~gridpilot.errors.AgentError` where there is none, or it does not take the parameters.
    """
    return presets.build(BIDDING, rule)
