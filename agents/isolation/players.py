"""An agent at its seats, hosted by a process: the same as in this process, to the digit."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from gridpilot.agents.isolation import wire
from gridpilot.agents.isolation.confinement import Limits
from gridpilot.agents.isolation.mirror import ObservationNews, news_of_view
from gridpilot.agents.isolation.process import AgentProcess, Ended
from gridpilot.agents.players import EXCEPTIONS, INVALID, ArrayPlayer, Refusal, SeatPlayers, Start
from gridpilot.agents.view import ORDERS, View
from gridpilot.errors import AgentError, BidError
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation, Outcome

__all__ = ["end_idle", "facts_of", "isolated", "report_of"]

Answer = TypeVar("Answer")

_BUILD: Final = 60.0  # s, to import and build an agent
_idle: Final[dict[str, AgentProcess]] = {}  # a process that hosted an agent may host the same one again, and no other


def facts_of(target: str, params: Mapping[str, Any], limits: Limits, files: Collection[str] | None = None) -> wire.Facts:
    """What an agent is like, found out in its process. Raises :class:`~gridpilot.errors.AgentError` when it cannot be built."""
    hosted = _Hosted(target, params, limits, files, 1)
    try:
        return hosted.start()
    except Ended as error:
        raise AgentError(f"agent {target!r}: {error}") from error
    finally:
        hosted.give_back()


def report_of(target: str, params: Mapping[str, Any], limits: Limits) -> wire.Report:
    """The files of an agent, and those that it has read since its process was started, which is where it has played last.

    Raises :class:`~gridpilot.errors.AgentError` when it cannot be built.
    """
    hosted = _Hosted(target, params, limits, None, 1)
    try:
        hosted.start()
        return hosted.ask(wire.FILES, b"", _BUILD, wire.decode_report)[0]
    except Ended as error:
        raise AgentError(f"agent {target!r}: {error}") from error
    finally:
        hosted.give_back()


def isolated(
    target: str, params: Mapping[str, Any], limits: Limits, files: Collection[str] | None, seats: int
) -> ArrayPlayer | SeatPlayers:
    """The agent at so many seats, in a process that is kept when they close. One that cannot be built fails at every seat.

    ``files`` are the absolute paths of the data that it may read, ``None`` any.
    """
    hosted = _Hosted(target, params, limits, files, seats)
    try:
        facts = hosted.start()
    except (Ended, AgentError) as error:
        hosted.give_back()
        return _Absent(Refusal(EXCEPTIONS, str(error)[:300], final=True))
    return _IsolatedArrayPlayer(hosted, facts) if facts.on_arrays else _IsolatedSeatPlayers(hosted, facts)


def end_idle() -> None:
    """End the processes that are kept for the next time their agents play."""
    while _idle:
        _idle.popitem()[1].close()


class _Hosted:
    """A process with the agent in it, started anew when it has ended."""

    def __init__(self, target: str, params: Mapping[str, Any], limits: Limits, files: Collection[str] | None, seats: int) -> None:
        readable = None if files is None else sorted(files)
        self._content, self._limits = (target, dict(params), seats, readable), limits
        self._key = json.dumps([target, params, limits.memory_gib, readable], sort_keys=True, default=repr)
        self._process: AgentProcess | None = None

    def start(self) -> wire.Facts:
        """Build the agent. Raises :class:`Ended`, or :class:`~gridpilot.errors.AgentError` with what the agent's own code raised."""
        self._process = _idle.pop(self._key, None) or AgentProcess(self._limits)
        (answer,) = self.ask(wire.BUILD, self._content, _BUILD, wire.decode_facts)
        if isinstance(answer, Refusal):
            raise AgentError(answer.message)
        self.facts = answer
        return answer

    def again(self) -> None:
        """See that there is a process, for a new episode. Raises what :meth:`start` does."""
        assert self._process is not None, "closed"
        if self._process.ended is None:
            return
        before = self.facts
        if self.start() != before:
            raise self._process.end(EXCEPTIONS, "the agent is another one than when it was built first")

    def ask(
        self,
        kind: int,
        content: Any,
        limit: float,
        read: Callable[[bytes], Answer],
        *,
        answers: int = 1,
        orders: Sequence[Any] = (),
    ) -> list[Answer]:
        """Ask the process, and ``read`` its answers. One that sends what cannot be read is not asked again. Raises :class:`Ended`."""
        assert self._process is not None, "closed"
        message = content if isinstance(content, bytes) else pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
        received = self._process.ask(kind, message, limit, answers=answers, most=wire.most_bytes(kind, orders))
        try:
            return [read(answer) for answer in received]
        except wire.Garbled as error:
            raise self._process.end(EXCEPTIONS, f"its process sent what is no answer: {error}") from None

    def give_back(self) -> None:
        """Keep the process for the next time that the agent plays."""
        process, self._process = self._process, None
        if process is not None and process.ended is None:
            if self._key in _idle:
                process.close()
            else:
                _idle[self._key] = process


class _IsolatedArrayPlayer(ArrayPlayer):
    """An agent on arrays in a process of its own."""

    def __init__(self, hosted: _Hosted, facts: wire.Facts) -> None:
        self._hosted, self.clairvoyant = hosted, facts.clairvoyant
        self.reads, self.writes, self.stated_blocks = facts.reads, facts.writes, facts.stated_blocks
        self._written = [ORDERS.index(name) for name in ORDERS if name in facts.writes]

    def reset(self, view: View, limit: float) -> Refusal | None:
        """Begin an episode, in a new process where the last one has ended."""
        try:
            self._hosted.again()
        except (Ended, AgentError) as error:
            return Refusal(EXCEPTIONS, str(error)[:300], final=True)
        return self._ask(wire.OPEN, (limit, view), limit, view.orders)

    def bid(self, view: View, limit: float) -> Refusal | None:
        """Bid for the coming tick."""
        return self._ask(wire.LOOK, news_of_view(view, limit), limit, [view.orders[i] for i in self._written])

    def close(self) -> None:
        """Let the process go."""
        self._hosted.give_back()

    def _ask(self, kind: int, content: Any, limit: float, orders: Sequence[Any]) -> Refusal | None:
        try:
            return self._hosted.ask(kind, content, limit, lambda answer: wire.decode_orders(answer, orders), orders=orders)[0]
        except Ended as ended:
            return _final(ended)


class _IsolatedSeatPlayers(SeatPlayers):
    """Agents of one kind, one a seat, in a process of their own."""

    def __init__(self, hosted: _Hosted, facts: wire.Facts) -> None:
        self._hosted, self.learns = hosted, facts.learns
        self._news: dict[int, ObservationNews] = {}

    def reset(self, starts: Sequence[Start], limit: float) -> list[Refusal | None]:
        """Begin an episode in these seats, in a new process where the last one has ended."""
        self._news = {start.place: ObservationNews() for start in starts}
        try:
            self._hosted.again()
        except (Ended, AgentError) as error:
            return [Refusal(EXCEPTIONS, str(error)[:300], final=True)] * len(starts)
        return self._ask(wire.RESET, starts, limit, wire.decode_refusal)

    def bid(self, asked: Iterable[tuple[int, Observation]], limit: float) -> list[Bid | Refusal]:
        """The bids of these seats."""
        return self._ask(wire.BID, [(index, self._news[index].of(seen)) for index, seen in asked], limit, _bid)

    def learn(self, told: Iterable[tuple[int, Outcome]], limit: float) -> list[Refusal | None]:
        """Tell these seats their outcomes."""
        return self._ask(wire.LEARN, list(told), limit, wire.decode_refusal)

    def close(self) -> None:
        """Let the process go."""
        self._hosted.give_back()

    def _ask(self, kind: int, content: Sequence[Any], limit: float, read: Callable[[bytes], Answer]) -> list[Answer | Refusal]:
        if not content:
            return []
        try:
            return [*self._hosted.ask(kind, (limit, content), limit, read, answers=len(content))]
        except Ended as ended:
            return [_final(ended)] * len(content)


class _Absent(SeatPlayers):
    """Nobody, as there was no building the agent."""

    learns = False

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def reset(self, starts: Sequence[Start], limit: float) -> list[Refusal | None]:
        """Refuse all."""
        return [self._refusal] * len(starts)

    def bid(self, asked: Iterable[tuple[int, Observation]], limit: float) -> list[Bid | Refusal]:
        """Refuse all."""
        return [self._refusal for _ in asked]

    def learn(self, told: Iterable[tuple[int, Outcome]], limit: float) -> list[Refusal | None]:
        """Refuse all."""
        return [self._refusal for _ in told]


def _bid(answer: bytes) -> Bid | Refusal:
    try:
        return wire.decode_bid(answer)
    except BidError as error:  # a bid of numbers that an honest process would have refused itself
        return Refusal(INVALID, str(error)[:300])


def _final(ended: Ended) -> Refusal:
    return Refusal(ended.why, ended.message, final=True)
