"""Agents in the seats of an arena: who plays where, bidding in time, and failures that touch nobody else."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.deadline import Overdue, deadline
from gridpilot.agents.registry import build_agent
from gridpilot.agents.view import View, Window
from gridpilot.errors import AgentError, GridPilotError
from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.compilation import kernel
from gridpilot.market.observation import observe, outcome_of
from gridpilot.market.random import AGENT_STREAM, next_uint64, seed_stream

__all__ = ["FAILURES", "AgentSpec", "Seating"]

FAILURES = ("timeouts", "exceptions", "invalid_bids")
TIMEOUTS, EXCEPTIONS, INVALID = range(3)
PATIENCE = 3  # timeouts after which a seat is left out for the rest of its episode
FIRST_CALL = 30.0  # s, least time limit of the reset and the first bid of an agent on arrays, which may have to compile
# An agent may fail in any way: it is scored, and nobody else is touched. Only the user's own interrupt goes through.
_FAILURE = (Exception, Overdue, SystemExit)
STATED_BLOCKS_ROOM = 32  # blocks a stated bid may have


@dataclass(frozen=True)
class AgentSpec:
    """How to build an agent: a registered name or dotted path, and keyword arguments."""

    target: str
    params: Mapping[str, Any]

    def build(self) -> Agent:
        """A new instance. Raises :class:`~gridpilot.errors.AgentError`."""
        return build_agent(self.target, self.params)


class Seating:
    """Agents playing some or all seats of an arena.

    ``labels (B, N)`` names who sits where; an empty string leaves a seat to the caller. An agent that can play on arrays gets one instance
    for all its seats, any other one instance a seat. ``failures (B, N, 3)`` counts the ticks in which a seat's bid was replaced by the
    zero bid because it came late, raised, or was invalid; ``first_error`` keeps the first message of each seat.

    ``time_limit`` is in s for the decision of one seat, ten times that for its reset; an agent on arrays has the sum of its seats' time,
    and half a minute at least for its reset and first decision. An agent on arrays that fails once is left out for the episode, one
    that plays a single seat after a failed reset or three late answers.
    """

    def __init__(
        self, arena: Arena, agents: Mapping[str, AgentSpec], labels: Sequence[Sequence[str]], *, time_limit: float = math.inf
    ) -> None:
        self.arena = arena
        self.time_limit = time_limit
        names = np.array(labels, dtype=object)
        if names.shape != (arena.n_markets, arena.n_sites):
            raise AgentError(f"seating: labels have shape {names.shape}, expected {(arena.n_markets, arena.n_sites)}")
        self.failures = np.zeros((arena.n_markets, arena.n_sites, len(FAILURES)), dtype=np.int64)
        self.first_error: dict[tuple[int, int], str] = {}
        self._batch: list[tuple[BatchAgent, Window]] = []
        self._single: list[tuple[Agent, int, int]] = []
        for label in sorted(set(names.ravel()) - {""}):
            if label not in agents:
                raise AgentError(f"seating: no agent is called {label!r}, expected one of {', '.join(agents)}")
            market, seat = np.nonzero(names == label)
            agent = agents[label].build()
            if isinstance(agent, BatchAgent) and agent.on_arrays:
                self._batch.append((agent, _window(arena, market, seat, agent)))
            else:
                built = [agent, *(agents[label].build() for _ in range(len(market) - 1))]
                self._single += [(one, int(b), int(n)) for one, b, n in zip(built, market, seat, strict=True)]
        room = max([agent.stated_blocks for agent, _ in self._batch] + [STATED_BLOCKS_ROOM] * bool(self._single), default=0)
        if arena.orders.blocks.shape[2] < room:
            arena.make_room(room)
        # What they are shown of the market's description is theirs too, whatever they do to it.
        self._sites = [copy.deepcopy(arena.sites[n]) for _, _, n in self._single]
        self._rules = [copy.deepcopy(arena.rules) for _ in self._single]
        self._reason: dict[tuple[int, int], str] = {}

    def reset(self, root: int, episodes: npt.ArrayLike) -> None:
        """Begin the episodes ``(B,)`` that the arena has started; every agent's seed is its seat's stream of its episode."""
        arena = self.arena
        seeds = np.empty((arena.n_markets, arena.n_sites), dtype=np.uint64)
        _agent_seeds(np.uint64(root), np.asarray(episodes, dtype=np.int64), seeds)
        self.failures[:] = 0
        self.first_error.clear()
        self._failed: dict[int, int] = {}  # agents on arrays that failed, and how: their orders are in no known state
        self._views: list[View] = []
        for index, (agent, window) in enumerate(self._batch):
            self._views.append(window.open(seeds[window.market, window.seat]))
            try:
                with deadline(max(FIRST_CALL, self.time_limit * len(window.seat))):
                    agent.reset_batch(self._views[index])
                window.take(everything=True)
            except _FAILURE as error:
                self._fail_all(index, error)
        if self._single:  # compile now what their first decision would otherwise have to wait for
            observe(arena, 0, 0).truthful_bid(shade=0.0)
            observe(arena, 0, 0).to_vector()
        self._dead: set[int] = set()
        for index, (one, b, n) in enumerate(self._single):
            info = observe(arena, b, n, rules=self._rules[index]).market
            try:
                with deadline(10.0 * self.time_limit):
                    one.reset(self._sites[index], info, int(seeds[b, n]))
            except _FAILURE as error:
                self._dead.add(index)
                self._refuse(b, n, EXCEPTIONS, error)

    def bid(self) -> None:
        """Ask everybody for the coming tick's bid."""
        for index, (agent, window) in enumerate(self._batch):
            if index in self._failed:
                self._fail_all(index, None)
            if index in self._failed or window.idle:
                continue
            limit = self.time_limit * len(window.seat)
            try:
                window.look(self._views[index])
                with deadline(limit if self.arena.tick else max(FIRST_CALL, limit)):
                    agent.bid_batch(self._views[index])
                window.take()
            except _FAILURE as error:
                self._fail_all(index, error)
        for index, (_, b, n) in enumerate(self._single):
            if index in self._dead:
                self._refuse(b, n, EXCEPTIONS, None)
            elif self.failures[b, n, TIMEOUTS] >= PATIENCE:
                self._refuse(b, n, TIMEOUTS, None)
            else:
                self._ask(index)

    def learn(self) -> None:
        """Count what the market refused, and tell everybody who acts alone the outcome of the tick."""
        arena = self.arena
        if arena.refused.any():
            for b, n in np.argwhere(arena.refused):
                self._note(int(b), int(n), INVALID, "the order was not finite, or its prices rose")
        for index, (one, b, n) in enumerate(self._single):
            if index in self._dead or type(one).learn is Agent.learn:
                continue
            try:
                with deadline(self.time_limit):
                    one.learn(outcome_of(arena, b, n, refused=self._reason.get((b, n), "")))
            except _FAILURE as error:
                self._dead.add(index)
                self._note(b, n, EXCEPTIONS, f"learn: {_describe(error)}")

    def _ask(self, index: int) -> None:
        agent, b, n = self._single[index]
        try:
            refused = self._reason.pop((b, n), "")
            observation = observe(self.arena, b, n, refused=refused, site=self._sites[index], rules=self._rules[index])
            with deadline(self.time_limit):
                answer = agent.bid(observation)
            if not isinstance(answer, Bid):
                raise AgentError(f"bid() returned {type(answer).__name__}, expected a Bid")
            self.arena.place(b, n, Bid(answer.blocks, answer.storage_value, answer.commitment_value))
        except Overdue as error:
            self._refuse(b, n, TIMEOUTS, error)
        except GridPilotError as error:
            self._refuse(b, n, INVALID, error)
        except _FAILURE as error:
            self._refuse(b, n, EXCEPTIONS, error)

    def _refuse(self, b: int, n: int, why: int, error: BaseException | None) -> None:
        self.arena.place(b, n, None)
        self._note(b, n, why, _describe(error) if error else "left out after earlier failures")

    def _note(self, b: int, n: int, why: int, message: str) -> None:
        self.failures[b, n, why] += 1
        self._reason[b, n] = message
        self.first_error.setdefault((b, n), f"tick {self.arena.tick}: {message}")

    def _fail_all(self, index: int, error: BaseException | None) -> None:
        if error is not None:
            self._failed[index] = TIMEOUTS if isinstance(error, Overdue) else EXCEPTIONS
        _, window = self._batch[index]
        for b, n in zip(window.market.tolist(), window.seat.tolist(), strict=True):
            self._refuse(b, n, self._failed[index], error)


def _window(arena: Arena, market: npt.NDArray[np.int64], seat: npt.NDArray[np.int64], agent: BatchAgent) -> Window:
    return Window(
        arena,
        market,
        seat,
        reads=agent.reads,
        writes=agent.writes,
        stated_blocks=agent.stated_blocks,
        clairvoyant=type(agent).clairvoyant,
    )


def _describe(error: BaseException) -> str:
    kind = "" if isinstance(error, GridPilotError | Overdue) else f"{type(error).__name__}: "
    return f"{kind}{error}"[:300]


@kernel
def _agent_seeds(root: Any, episodes: Any, seeds: Any) -> None:
    state = np.empty(4, dtype=np.uint64)
    for b in range(seeds.shape[0]):
        for n in range(seeds.shape[1]):
            seed_stream(root, episodes[b], AGENT_STREAM + n, state)
            seeds[b, n] = next_uint64(state)
