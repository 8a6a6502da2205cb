"""An agent at its seats: asked in time, and its failures as values, which touch nobody else.

A player is either one agent on arrays for all its seats (:class:`ArrayPlayer`) or one instance a seat (:class:`SeatPlayers`). Both come
in two forms: in this process (here), and in a process of their own (:mod:`gridpilot.agents.isolation`), which runs those of here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.deadline import Overdue, deadline
from gridpilot.agents.view import View
from gridpilot.errors import AgentError, GridPilotError
from gridpilot.file_access import where_raised
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site
from gridpilot.redaction import redacted

__all__ = [
    "EXCEPTIONS",
    "INVALID",
    "TIMEOUTS",
    "ArrayPlayer",
    "LocalArrayPlayer",
    "LocalSeatPlayers",
    "Refusal",
    "SeatPlayers",
    "Start",
    "describe",
]

TIMEOUTS, EXCEPTIONS, INVALID = range(3)
# An agent may fail in any way: it is scored, and nobody else is touched. Only the user's own interrupt goes through.
_FAILURE = (Exception, Overdue, SystemExit)


class Refusal(NamedTuple):
    """Why a seat gets the zero bid."""

    why: int  # TIMEOUTS, EXCEPTIONS or INVALID
    message: str
    final: bool = False  # whether nobody is left to be asked before the next episode


class Start(NamedTuple):
    """What the agent in a player's seat ``place`` is reset with."""

    place: int
    site: Site
    market: MarketInfo
    seed: int


class ArrayPlayer(ABC):
    """One agent on arrays. Time limits are in s, for the whole call."""

    reads: Sequence[str]
    writes: Sequence[str]
    stated_blocks: int
    clairvoyant: bool

    @abstractmethod
    def reset(self, view: View, limit: float) -> Refusal | None:
        """Begin an episode; its orders stand in ``view.orders`` unless it is refused."""

    @abstractmethod
    def bid(self, view: View, limit: float) -> Refusal | None:
        """Bid for the coming tick; its orders stand in ``view.orders`` unless it is refused."""

    def close(self) -> None:  # noqa: B027 - in this process there is nothing to let go
        """Play no more."""


class SeatPlayers(ABC):
    """One agent instance for each of an agent's seats, which count from 0. Time limits are in s, for one seat."""

    learns: bool  # whether the agent takes note of outcomes

    @abstractmethod
    def reset(self, starts: Sequence[Start], limit: float) -> list[Refusal | None]:
        """Begin an episode in these seats."""

    @abstractmethod
    def bid(self, asked: Iterable[tuple[int, Observation]], limit: float) -> list[Bid | Refusal]:
        """The bids of these seats for the coming tick, in order."""

    @abstractmethod
    def learn(self, told: Iterable[tuple[int, Outcome]], limit: float) -> list[Refusal | None]:
        """Tell these seats the outcome of the tick just played."""

    def close(self) -> None:  # noqa: B027 - in this process there is nothing to let go
        """Play no more."""


class LocalArrayPlayer(ArrayPlayer):
    """An agent on arrays in this process."""

    def __init__(self, agent: BatchAgent) -> None:
        self.agent = agent
        self.reads, self.writes, self.stated_blocks = agent.reads, agent.writes, agent.stated_blocks
        self.clairvoyant = type(agent).clairvoyant

    def reset(self, view: View, limit: float) -> Refusal | None:
        """Begin an episode."""
        try:
            with deadline(limit):
                self.agent.reset_batch(view)
        except _FAILURE as error:
            return _refusal(error)
        return None

    def bid(self, view: View, limit: float) -> Refusal | None:
        """Bid for the coming tick."""
        try:
            with deadline(limit):
                self.agent.bid_batch(view)
        except _FAILURE as error:
            return _refusal(error)
        return None


class LocalSeatPlayers(SeatPlayers):
    """Agents in this process, one a seat."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self.agents = agents
        self.learns = type(agents[0]).learn is not Agent.learn

    def reset(self, starts: Sequence[Start], limit: float) -> list[Refusal | None]:
        """Begin an episode in these seats."""
        return [self._reset(start, limit) for start in starts]

    def bid(self, asked: Iterable[tuple[int, Observation]], limit: float) -> list[Bid | Refusal]:
        """The bids of these seats."""
        return [self.bid_one(index, observation, limit) for index, observation in asked]

    def learn(self, told: Iterable[tuple[int, Outcome]], limit: float) -> list[Refusal | None]:
        """Tell these seats their outcomes."""
        return [self._learn(index, outcome, limit) for index, outcome in told]

    def bid_one(self, index: int, observation: Observation, limit: float) -> Bid | Refusal:
        """The bid of one seat. Whatever stands in the answer is checked once more, as a Bid can be changed behind its own back."""
        try:
            with deadline(limit):
                answer = self.agents[index].bid(observation)
            if not isinstance(answer, Bid):
                raise AgentError(f"bid() returned {type(answer).__name__}, expected a Bid")
            return Bid(answer.blocks, answer.storage_value, answer.commitment_value)
        except GridPilotError as error:
            return Refusal(INVALID, describe(error))
        except _FAILURE as error:
            return _refusal(error)

    def _reset(self, start: Start, limit: float) -> Refusal | None:
        try:
            with deadline(limit):
                self.agents[start.place].reset(start.site, start.market, start.seed)
        except _FAILURE as error:
            return _refusal(error)
        return None

    def _learn(self, index: int, outcome: Outcome, limit: float) -> Refusal | None:
        try:
            with deadline(limit):
                self.agents[index].learn(outcome)
        except _FAILURE as error:
            return _refusal(error)
        return None


def describe(error: BaseException) -> str:
    """One line or so about what an agent raised, whose own wording may fail in turn, and where in its file."""
    kind = "" if isinstance(error, GridPilotError | Overdue) else f"{type(error).__name__}: "
    try:
        text = str(error)
    except _FAILURE as worse:
        text = f"(its message raised {type(worse).__name__})"
    place = "" if isinstance(error, Overdue) else where_raised(error)  # where time runs out is another place each time
    return redacted(f"{kind}{text}"[:1000])[:300] + place


def _refusal(error: BaseException) -> Refusal:
    return Refusal(TIMEOUTS if isinstance(error, Overdue) else EXCEPTIONS, describe(error))
