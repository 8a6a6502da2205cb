"""The interface of a bidder.

An agent plays one seat of a market: it is reset at the start of an episode, bids once a tick, and may learn from each outcome. The same
object plays in tournaments, environments and live. An agent that can act on arrays plays all its seats of all markets at once instead,
which is what makes thousands of markets fast; both ways must give the same bids, and the conformance tests hold it to that.

Whatever an agent is handed holds its own seats, the public past and orders of its own: an observation for one seat
(:mod:`gridpilot.market.observation`), a view for many (:mod:`gridpilot.agents.view`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gridpilot.agents.view import ORDERS, READABLE, View
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site

__all__ = ["Agent", "BatchAgent", "generator"]


def generator(seed: int) -> np.random.Generator:
    """The random generator of an agent with this seed; compiled code gets the same stream from ``seed_stream(seed, 0, 0, state)``."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(0, 0))))


class Agent(ABC):
    """A bidder. One instance plays one seat."""

    clairvoyant: ClassVar[bool] = False  # whether it is shown the future, or the others' bids: a yardstick, never ranked

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:  # noqa: B027 - a stateless agent has nothing to reset
        """Begin an episode at ``site``. Everything random must come from ``seed``."""

    @abstractmethod
    def bid(self, observation: Observation) -> Bid:
        """Bid for the coming tick. An exception, a late or an invalid bid is recorded and counts as the zero bid."""

    def learn(self, outcome: Outcome) -> None:  # noqa: B027 - learning is optional
        """Take note of the tick just played."""

    def rationale(self) -> Mapping[str, Any]:
        """The agent's own reasons for its last bid, in JSON's types, a unit in the suffix of every key; none by default.

        Asked when a match is explained, never in a tournament; it must not change the agent.
        """
        return {}


class BatchAgent(Agent):
    """A bidder that also plays many seats at once.

    ``reads``          fields of the view that it needs every tick; fewer are faster
    ``writes``         orders that it changes from tick to tick, besides those it sets in ``reset_batch``; fewer are faster
    ``stated_blocks``  blocks a seat that it has room to state in ``view.orders.blocks``
    ``on_arrays``      whether this instance does: else it is asked seat by seat, one instance each
    """

    reads: Sequence[str] = READABLE
    writes: Sequence[str] = ORDERS
    stated_blocks: int = 0
    on_arrays: bool = True

    @abstractmethod
    def reset_batch(self, view: View) -> None:
        """Begin an episode in all seats of ``view``, whose orders are to bid the true curve and leave the battery alone."""

    @abstractmethod
    def bid_batch(self, view: View) -> None:
        """Write the coming tick's orders into ``view.orders``; called once a tick, from tick 0, with the same view.

        Not called for an agent that neither reads nor writes anything from tick to tick.
        """

    def rationale_at(self, row: int) -> Mapping[str, Any]:
        """:meth:`rationale` of the seat in a row of the last view."""
        return {}
