"""One play of an agent in a made-up market, and everything it did: what the checks compare."""

from __future__ import annotations

import copy
import math
import pickle
import random
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.agents.view import View
from gridpilot.audit.veil import Veil, Veiled
from gridpilot.audit.worlds import ODD_SITES, SITES, made_up_day
from gridpilot.market.arena import Arena, MarketRules, Scenario
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site
from gridpilot.market.step import OWN_CURVE, SHADED_CURVE, STATED_BLOCKS

__all__ = ["LATE", "RESULTS", "Incident", "Play", "Size", "Trace", "World", "perform", "seats_of", "seed_globally"]

RESULTS: Final = ("outcome", "totals", "last_price", "machine_kw", "storage")
"""What a tick leaves behind in the arena."""

World = Literal["ordinary", "extreme", "bare", "odd"]

LATE: Final = "no answer within"
"""What the message of a decision says that came too late."""

_LABEL: Final = "subject"
_TOLERANCE: Final = 1e-9  # relative, of sums of blocks


class Size(NamedTuple):
    """How much is played: seats of the agent in each market, ticks."""

    seats: int = 3
    ticks: int = 36


@dataclass(frozen=True)
class Play:
    """One play.

    ``world``    ordinary; extreme prices; bare, without history; odd, with ODD_SITES
    ``alone``    seat by seat, though the agent could play on arrays
    ``veil``     what is hidden
    ``markets``  of 2 at the most; one is the first of the two
    ``carried``  pickled before every bid, or copied once in the middle of the episode; seat by seat only
    ``again``    the episode is played once more, after another one, by the same agents
    ``random``   the seed of Python's and numpy's global generators before the play
    """

    world: World = "ordinary"
    alone: bool = False
    veil: Veiled = ""
    markets: int = 2
    carried: Literal["", "pickled", "copied"] = ""
    again: bool = False
    random: int = 0


class Incident(NamedTuple):
    """Something that was seen while the agent was at work, and the check it belongs to."""

    check: str
    found: str


@dataclass
class Trace:
    """What the agent did. ``orders`` and ``results`` are ``(T, B, ...)``; plain enough to be sent between processes."""

    orders: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    results: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    repeated: dict[str, npt.NDArray[Any]] = field(default_factory=dict)  # the orders when played again
    seats: list[int] = field(default_factory=list)  # of the agent, in the order of the orders' third axis
    errors: list[tuple[int, int, str]] = field(default_factory=list)  # market, seat, first error
    refused: list[tuple[int, int, int]] = field(default_factory=list)  # tick, market, seat
    decisions: list[float] = field(default_factory=list)  # s a seat
    resets: list[float] = field(default_factory=list)  # s a seat
    incidents: list[Incident] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)  # modules of others that were imported meanwhile
    memory: float = 0.0  # bytes, growth of the process

    @property
    def is_late(self) -> bool:
        """Whether a decision or reset came too late."""
        return any(LATE in text for _, _, text in self.errors)


def seats_of(sites: Sequence[Site], size: Size) -> list[int]:
    """The seats of the agent; those between are its rivals'. It plays every odd plant."""
    if sites is ODD_SITES:
        return list(range(len(sites)))
    return [0, 1, 4, 2][: size.seats]


def perform(spec: AgentSpec, play: Play, size: Size, deadline: float) -> Trace:
    """Play it in this process, a decision within ``deadline`` s.

    Raises :class:`~gridpilot.errors.AgentError` for an agent that cannot be built.
    """
    sites = ODD_SITES if play.world == "odd" else SITES
    seats = seats_of(sites, size)
    arena = Arena(sites, MarketRules(capacity_kw=600.0 * len(sites)), play.markets)
    labels = [[_LABEL if seat in seats else "" for seat in range(len(sites))]] * play.markets
    trace = Trace(seats=seats)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seating = Seating(arena, {_LABEL: _Watched(spec, play, size, trace)}, labels, time_limit=deadline)
    _episode(arena, seating, play, _scenario(play, size), trace)
    if play.again:
        first = trace.orders
        other = made_up_day(play.markets, max(size.ticks // 3, 2), 20, seed=9, extreme=True)
        _episode(arena, seating, play, other, trace)
        _episode(arena, seating, play, _scenario(play, size), trace)
        trace.orders, trace.repeated = first, trace.orders
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    trace.memory = float(grown) * (1 if sys.platform == "darwin" else 1024)
    return trace


def _scenario(play: Play, size: Size) -> Scenario:
    ticks = size.ticks if play.world == "ordinary" else max(size.ticks // 3, 4)
    day = made_up_day(2, ticks, 0 if play.world == "bare" else 24, extreme=play.world in ("extreme", "odd"))
    cut = slice(play.markets)
    return Scenario(day.prices[:, cut].copy(), day.ambient[:, cut].copy(), day.capacity[:, cut].copy(), day.start[cut], day.history)


def _episode(arena: Arena, seating: Seating, play: Play, scenario: Scenario, trace: Trace) -> None:
    arena.start(scenario)
    rivals = _Rivals(arena, trace.seats, play.markets)
    veil = Veil(arena, trace.seats, play.veil)
    ticks: dict[str, list[npt.NDArray[Any]]] = {}
    present = scenario.history + 1
    with veil.drawn(present), _nothing_else_written(arena, rivals.seats, trace):
        seating.reset(0, np.arange(arena.n_markets))
    while not arena.done:
        present = scenario.history + arena.tick + 1
        rivals.place(arena.tick)
        with veil.drawn(present), _nothing_else_written(arena, rivals.seats, trace):
            seating.bid()
        _note_greed(arena, trace)
        for name, array in arena.orders._asdict().items():
            ticks.setdefault(f"orders.{name}", []).append(array[:, trace.seats].copy())
        arena.step()
        trace.refused += [(arena.tick - 1, b, n) for b, n in np.argwhere(arena.refused).tolist()]
        with veil.drawn(present), _nothing_else_written(arena, rivals.seats, trace):
            seating.learn()
        for name in RESULTS:
            ticks.setdefault(name, []).append(getattr(arena, name).copy())
    stacked = {name: np.stack(arrays) for name, arrays in ticks.items()}
    trace.orders = {name: array for name, array in stacked.items() if name not in RESULTS}
    trace.results = {name: array for name, array in stacked.items() if name in RESULTS}
    trace.errors += [(b, n, text) for (b, n), text in sorted(seating.first_error.items())]


class _Rivals:
    """The other seats: they shade their curves and value their batteries by numbers of their own."""

    def __init__(self, arena: Arena, seats: Sequence[int], markets: int) -> None:
        self.seats = [seat for seat in range(arena.n_sites) if seat not in seats]
        generator = np.random.default_rng(2)
        shape = (arena.scenario.ticks, 2, len(self.seats))
        self._shade = generator.uniform(-0.4, 0.0, shape)[:, :markets]
        self._value = generator.uniform(0.0, 0.12, shape)[:, :markets]
        self._orders = arena.orders

    def place(self, tick: int) -> None:
        orders = self._orders
        orders.kind[:, self.seats] = SHADED_CURVE if tick % 5 else OWN_CURVE
        orders.shade[:, self.seats] = self._shade[tick][..., None]
        orders.storage_value[:, self.seats] = self._value[tick]


class _nothing_else_written:
    """Notes what of the arena is another after the body, but the agent's own orders."""

    def __init__(self, arena: Arena, rivals: list[int], trace: Trace) -> None:
        self._arena, self._rivals, self._trace = arena, rivals, trace

    def __enter__(self) -> None:
        self._before = self._content()

    def __exit__(self, *failure: object) -> None:
        after = self._content()
        for name in sorted(self._before.keys() | after.keys()):
            if self._before.get(name) != after.get(name):
                self._trace.incidents.append(Incident("outside", f"{name} was changed at tick {self._arena.tick}"))

    def _content(self) -> dict[str, bytes | str]:
        arena = self._arena
        content: dict[str, bytes | str] = {}
        for name, value in vars(arena).items():
            if isinstance(value, np.ndarray):
                content[f"arena.{name}"] = value.tobytes()
            elif name not in ("orders", "scenario", "arrays"):
                content[f"arena.{name}"] = repr(value)
        for name, array in (*arena.scenario._asdict().items(), *arena.arrays._asdict().items()):
            content[f"arena.scenario.{name}" if name in Scenario._fields else f"arena.arrays.{name}"] = np.asarray(array).tobytes()
        for name, array in arena.orders._asdict().items():
            content[f"the {name} of other seats' orders"] = array[:, self._rivals].tobytes()
        return content


def _note_greed(arena: Arena, trace: Trace) -> None:
    orders, own = arena.orders, trace.seats
    asked = np.where(orders.kind == STATED_BLOCKS, orders.blocks[..., 0].sum(axis=2), 0.0)[:, own]
    limit = np.array([arena.sites[seat].grid_kw for seat in own]) * (1.0 + _TOLERANCE)
    for b, i in np.argwhere(asked > limit)[:1].tolist():
        text = f"tick {arena.tick}, seat {own[i]}: asks for {asked[b, i]:,.1f} kW, its connection carries {limit[i]:,.1f} kW"
        trace.incidents.append(Incident("valid", text))


def seed_globally(seed: int) -> None:
    """Seed the global generators of Python, numpy and, if it is there, torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


class _Watched(AgentSpec):
    """Builds the agent behind one that times it, and carries it from tick to tick as the play says."""

    def __init__(self, spec: AgentSpec, play: Play, size: Size, trace: Trace) -> None:
        super().__init__(spec.target, spec.params)
        object.__setattr__(self, "_given", (spec, play, size, trace))

    def build(self) -> Agent:
        spec, play, size, trace = self._given  # type: ignore[attr-defined]
        agent = spec.build()
        if isinstance(agent, BatchAgent) and agent.on_arrays and not play.alone:
            # Roles go by the class.
            kind = type("_Clairvoyant", (_OnArrays,), {"clairvoyant": True}) if type(agent).clairvoyant else _OnArrays
            watched: Agent = kind(agent, trace)
            return watched
        return _SeatBySeat(agent, trace, play.carried, size.ticks // 2)


class _SeatBySeat(Agent):
    def __init__(self, agent: Agent, trace: Trace, carried: str, middle: int) -> None:
        self._agent, self._trace, self._carried, self._middle = agent, trace, carried, middle

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        shown = repr((site, market))
        with _timed(self._trace.resets):
            self._agent.reset(site, market, seed)
        self._note_change(shown == repr((site, market)))

    def bid(self, observation: Observation) -> Bid:
        if self._carried == "pickled":
            self._agent = pickle.loads(pickle.dumps(self._agent))
        elif self._carried == "copied" and observation.tick == self._middle:
            self._agent = copy.deepcopy(self._agent)
        shown = repr((observation.site, observation.market))
        with _timed(self._trace.decisions):
            bid = self._agent.bid(observation)
        self._note_change(shown == repr((observation.site, observation.market)))
        return bid

    def _note_change(self, same: bool) -> None:
        if not same:
            self._trace.incidents.append(Incident("outside", "the site or the rules that it was shown were changed"))

    def learn(self, outcome: Outcome) -> None:
        self._agent.learn(outcome)


class _OnArrays(BatchAgent):
    def __init__(self, agent: BatchAgent, trace: Trace) -> None:
        self._agent, self._trace = agent, trace
        self.reads, self.writes, self.stated_blocks = agent.reads, agent.writes, agent.stated_blocks

    def bid(self, observation: Observation) -> Bid:
        return self._agent.bid(observation)

    def reset_batch(self, view: View) -> None:
        with _timed(self._trace.resets, len(view.market)):
            self._agent.reset_batch(view)

    def bid_batch(self, view: View) -> None:
        with _timed(self._trace.decisions, len(view.market)):
            self._agent.bid_batch(view)


class _timed:
    """Appends how long the body took, s of wall time shared among ``seats``."""

    def __init__(self, times: list[float], seats: int = 1) -> None:
        self._times, self._seats, self._start = times, seats, math.nan

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *failure: object) -> None:
        self._times.append((time.perf_counter() - self._start) / self._seats)
