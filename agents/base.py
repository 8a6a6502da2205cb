"""The interface of a bidder.

An agent plays one seat of a market: it is reset at the start of an episode, bids once a tick, and may learn from each outcome. The same
object plays in tournaments, environments and live. An agent that can act on arrays plays all its seats of all markets at once instead,
which is what makes thousands of markets fast; both ways must give the same bids, and the conformance tests hold it to that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site

__all__ = ["Agent", "BatchAgent", "Seats", "generator"]

IntArray = npt.NDArray[np.int64]


class Seats(NamedTuple):
    """Which seats of which markets an agent plays, M of them, with a seed each."""

    market: IntArray  # (M,)
    seat: IntArray  # (M,)
    seed: npt.NDArray[np.uint64]  # (M,)


def generator(seed: int) -> np.random.Generator:
    """The random generator of an agent with this seed; compiled code gets the same stream from ``seed_stream(seed, 0, 0, state)``."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(0, 0))))


class Agent(ABC):
    """A bidder. One instance plays one seat."""

    clairvoyant: ClassVar[bool] = False  # whether it is shown the future: a yardstick for others, which cannot play for itself

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:  # noqa: B027 - a stateless agent has nothing to reset
        """Begin an episode at ``site``. Everything random must come from ``seed``."""

    @abstractmethod
    def bid(self, observation: Observation) -> Bid:
        """Bid for the coming tick. An exception, a late or an invalid bid is recorded and counts as the zero bid."""

    def learn(self, outcome: Outcome) -> None:  # noqa: B027 - learning is optional
        """Take note of the tick just played."""


class BatchAgent(Agent):
    """A bidder that also plays many seats at once."""

    @abstractmethod
    def reset_batch(self, arena: Arena, seats: Seats) -> None:
        """Begin an episode in all ``seats``; ``arena`` has been started."""

    @abstractmethod
    def bid_batch(self, arena: Arena) -> None:
        """Write the coming tick's bids of all seats into ``arena.orders``; called once a tick, from tick 0."""
