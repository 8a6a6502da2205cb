"""Agents in the seats of an arena: who plays where, bidding in time, and failures that touch nobody else."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.isolation import Limits, Report, facts_of, isolated, report_of
from gridpilot.agents.players import (
    EXCEPTIONS,
    INVALID,
    TIMEOUTS,
    ArrayPlayer,
    LocalArrayPlayer,
    LocalSeatPlayers,
    Refusal,
    SeatPlayers,
    Start,
    describe,
)
from gridpilot.agents.registry import build_agent
from gridpilot.agents.view import SEALED, View, Window
from gridpilot.errors import FAILURES, AgentError, MarketError
from gridpilot.market.arena import Arena, MarketRules
from gridpilot.market.bids import Bid
from gridpilot.market.compilation import kernel
from gridpilot.market.observation import Observation, observe, outcome_of
from gridpilot.market.random import AGENT_STREAM, next_uint64, seed_stream
from gridpilot.market.site import Site

__all__ = ["AgentSpec", "Seating"]

IntArray = npt.NDArray[np.int64]

PATIENCE = 3  # timeouts after which a seat is left out for the rest of its episode
FIRST_CALL = 30.0  # s, least time limit of the reset and the first bid of an agent on arrays, which may have to compile
STATED_BLOCKS_ROOM = 32  # blocks a stated bid may have
_LEFT_OUT = "left out after earlier failures"


@dataclass(frozen=True)
class AgentSpec:
    """How to build an agent: a registered name or dotted path, and keyword arguments; and what holds it in a process of its own."""

    target: str
    params: Mapping[str, Any]
    limits: Limits | None = None  # None: in this process
    clairvoyant: bool = True  # whether it is shown what no bidder knows, where its class asks for it
    files: frozenset[str] | None = None  # absolute paths of the data that its own process may read; None: any

    def build(self) -> Agent:
        """A new instance, in this process. Raises :class:`~gridpilot.errors.AgentError`."""
        return build_agent(self.target, self.params)

    def is_clairvoyant(self) -> bool:
        """Whether its class is clairvoyant. It is built for that. Raises :class:`~gridpilot.errors.AgentError`."""
        if self.limits is not None:
            return facts_of(self.target, self.params, self.limits, self.files).clairvoyant
        return type(self.build()).clairvoyant

    def report(self) -> Report:
        """The files that an isolated agent has read so far. Raises :class:`~gridpilot.errors.AgentError` when it cannot be built."""
        return report_of(self.target, self.params, self.limits or Limits())

    def playing(self, seats: int) -> ArrayPlayer | SeatPlayers:
        """The agent at so many seats: one instance where it plays on arrays, else one a seat.

        Raises :class:`~gridpilot.errors.AgentError` when it cannot be built; of an isolated agent that is a failure of every seat.
        """
        if self.limits is not None:
            return isolated(self.target, self.params, self.limits, self.files, seats)
        agent = self.build()
        if isinstance(agent, BatchAgent) and agent.on_arrays:
            return LocalArrayPlayer(agent)
        return LocalSeatPlayers([agent, *(self.build() for _ in range(seats - 1))])


class Seating:
    """Agents playing some or all seats of an arena.

    ``labels (B, N)`` names who sits where; an empty string leaves a seat to the caller. An agent that can play on arrays gets one instance
    for all its seats, any other one instance a seat. ``failures (B, N, 3)`` counts the ticks in which a seat's bid was replaced by the
    zero bid because it came late, raised, or was invalid; ``first_error`` keeps the first message of each seat.

    ``time_limit`` is in s for the decision of one seat, ten times that for its reset; an agent on arrays has the sum of its seats' time,
    and half a minute at least for its reset and first decision. An agent on arrays that fails once is left out for the episode, one
    that plays a single seat after a failed reset or three late answers, or when the process that it has of its own has ended.
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
        self._batch: list[tuple[ArrayPlayer, Window]] = []
        self._single: list[_Single] = []
        for label in sorted(set(names.ravel()) - {""}):
            if label not in agents:
                raise AgentError(f"seating: no agent is called {label!r}, expected one of {', '.join(agents)}")
            market, seat = np.nonzero(names == label)
            self._seat(agents[label], market, seat)
        room = max([player.stated_blocks for player, _ in self._batch] + [STATED_BLOCKS_ROOM] * bool(self._single), default=0)
        if arena.orders.blocks.shape[2] < room:
            arena.make_room(room)
        if self._single:
            arena.publish()
        self._reason: dict[tuple[int, int], str] = {}

    def close(self) -> None:
        """Let the processes of isolated agents go; none of them plays on."""
        for player, _ in self._batch:
            player.close()
        for single in self._single:
            single.players.close()

    def reset(self, root: int | npt.NDArray[np.uint64], episodes: npt.ArrayLike) -> None:
        """Begin the episodes ``(B,)`` that the arena has started; every agent's seed is its seat's stream of its episode.

        ``root`` is that of all markets, or ``(B,)`` of each.
        """
        arena = self.arena
        seeds = np.empty((arena.n_markets, arena.n_sites), dtype=np.uint64)
        numbers = np.asarray(episodes, dtype=np.int64)
        roots = np.unique(np.asarray(root, dtype=np.uint64))
        for one in roots:
            markets = slice(None) if len(roots) == 1 else np.flatnonzero(np.asarray(root) == one)
            own = np.empty_like(seeds[markets])
            _agent_seeds(one, numbers[markets], own)
            seeds[markets] = own
        self.failures[:] = 0
        self.first_error.clear()
        self._failed: dict[int, int] = {}  # agents on arrays that failed, and how: their orders are in no known state
        self._views: list[View] = []
        for index, (player, window) in enumerate(self._batch):
            self._views.append(window.open(seeds[window.market, window.seat]))
            refusal = player.reset(self._views[index], max(FIRST_CALL, self.time_limit * len(window.seat)))
            if refusal is None:
                window.take(everything=True)
            else:
                self._fail_all(index, refusal)
        if self._single:  # compile now what their first decision would otherwise have to wait for
            observe(arena, 0, 0).truthful_bid(shade=0.0)
            observe(arena, 0, 0).to_vector()
        for single in self._single:
            single.dead.clear()
            starts = [
                Start(i, single.sites[i], observe(arena, b, n, rules=single.rules[i]).market, int(seeds[b, n]))
                for i, (b, n) in enumerate(single.places)
            ]
            for start, refusal in zip(starts, single.players.reset(starts, 10.0 * self.time_limit), strict=True):
                if refusal is not None:
                    single.dead[start.place] = EXCEPTIONS
                    self._refuse(*single.places[start.place], EXCEPTIONS, refusal.message)

    def bid(self) -> None:
        """Ask everybody for the coming tick's bid; those last that see the others'."""
        self._ask_on_arrays(last=False)
        for single in self._single:
            asked = [i for i in range(len(single.places)) if self._is_asked(single, i)]
            answers = single.players.bid(((i, self._observe(single, i)) for i in asked), self.time_limit)
            for i, answer in zip(asked, answers, strict=True):
                self._place(single, i, answer)
        self._ask_on_arrays(last=True)

    def learn(self) -> None:
        """Count what the market refused, and tell everybody who acts alone the outcome of the tick."""
        arena = self.arena
        if arena.refused.any():
            for b, n in np.argwhere(arena.refused):
                self._note(int(b), int(n), INVALID, "the order was not finite, or its prices rose")
        for single in self._single:
            told = [i for i in range(len(single.places)) if i not in single.dead] if single.players.learns else []
            outcomes = ((i, outcome_of(arena, *single.places[i], refused=self._reason.get(single.places[i], ""))) for i in told)
            for i, refusal in zip(told, single.players.learn(outcomes, self.time_limit), strict=True):
                if refusal is not None:
                    single.dead[i] = refusal.why if refusal.final else EXCEPTIONS
                    self._note(*single.places[i], EXCEPTIONS, f"learn: {refusal.message}")

    def rationale(self, market: int, seat: int) -> Mapping[str, Any]:
        """What the agent in a seat says of its last bid; nothing where it plays in a process of its own, or in a seat left to the caller.

        One that fails at it says so under ``failed``.
        """
        try:
            for player, window in self._batch:
                rows = np.flatnonzero((window.market == market) & (window.seat == seat))
                if len(rows):
                    return dict(player.agent.rationale_at(int(rows[0]))) if isinstance(player, LocalArrayPlayer) else {}
            for single in self._single:
                if (market, seat) in single.places and isinstance(single.players, LocalSeatPlayers):
                    return dict(single.players.agents[single.places.index((market, seat))].rationale())
        except Exception as error:  # an agent may fail in any way, here as in its bid
            return {"failed": describe(error)}
        return {}

    def _ask_on_arrays(self, *, last: bool) -> None:
        for index, (player, window) in enumerate(self._batch):
            if window.bids_last != last:
                continue
            if index in self._failed:
                self._fail_all(index, None)
            if index in self._failed or window.idle:
                continue
            limit = self.time_limit * len(window.seat)
            window.look(self._views[index])
            refusal = player.bid(self._views[index], limit if self.arena.tick else max(FIRST_CALL, limit))
            if refusal is None:
                window.take()
            else:
                self._fail_all(index, refusal)

    def _seat(self, spec: AgentSpec, market: IntArray, seat: IntArray) -> None:
        arena = self.arena
        player = spec.playing(len(market))
        if isinstance(player, ArrayPlayer):
            clairvoyant, reads = player.clairvoyant and spec.clairvoyant, player.reads
            if player.clairvoyant and not clairvoyant:  # it says so of itself, and is shown what everybody is
                reads = [name for name in reads if name not in SEALED]
            window = Window(
                arena,
                market,
                seat,
                reads=reads,
                writes=player.writes,
                stated_blocks=player.stated_blocks,
                clairvoyant=clairvoyant,
            )
            self._batch.append((player, window))
            return
        places = list(zip(market.tolist(), seat.tolist(), strict=True))
        # What they are shown of the market's description is theirs too, whatever they do to it.
        sites, rules = [copy.deepcopy(arena.sites[n]) for _, n in places], [copy.deepcopy(arena.rules) for _ in places]
        self._single.append(_Single(player, places, sites, rules, {}))

    def _is_asked(self, single: _Single, i: int) -> bool:
        b, n = single.places[i]
        if i in single.dead:
            self._refuse(b, n, single.dead[i], _LEFT_OUT)
        elif self.failures[b, n, TIMEOUTS] >= PATIENCE:
            self._refuse(b, n, TIMEOUTS, _LEFT_OUT)
        else:
            return True
        return False

    def _observe(self, single: _Single, i: int) -> Observation:
        b, n = single.places[i]
        refused = self._reason.pop((b, n), "")
        return observe(self.arena, b, n, refused=refused, site=single.sites[i], rules=single.rules[i])

    def _place(self, single: _Single, i: int, answer: Bid | Refusal) -> None:
        b, n = single.places[i]
        if isinstance(answer, Refusal):
            if answer.final:
                single.dead[i] = answer.why
            self._refuse(b, n, answer.why, answer.message)
            return
        try:
            self.arena.place(b, n, answer)
        except MarketError as error:
            self._refuse(b, n, INVALID, describe(error))

    def _refuse(self, b: int, n: int, why: int, message: str) -> None:
        self.arena.place(b, n, None)
        self._note(b, n, why, message)

    def _note(self, b: int, n: int, why: int, message: str) -> None:
        self.failures[b, n, why] += 1
        self._reason[b, n] = message
        self.first_error.setdefault((b, n), f"tick {self.arena.tick}: {message}")

    def _fail_all(self, index: int, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._failed[index] = refusal.why
        _, window = self._batch[index]
        for b, n in zip(window.market.tolist(), window.seat.tolist(), strict=True):
            self._refuse(b, n, self._failed[index], _LEFT_OUT if refusal is None else refusal.message)


class _Single(NamedTuple):
    """The seats of an agent that plays one seat an instance."""

    players: SeatPlayers
    places: list[tuple[int, int]]  # market and seat of each
    sites: list[Site]
    rules: list[MarketRules]
    dead: dict[int, int]  # those that are left out for the episode, and what that counts as


@kernel
def _agent_seeds(root: Any, episodes: Any, seeds: Any) -> None:
    state = np.empty(4, dtype=np.uint64)
    for b in range(seeds.shape[0]):
        for n in range(seeds.shape[1]):
            seed_stream(root, episodes[b], AGENT_STREAM + n, state)
            seeds[b, n] = next_uint64(state)
