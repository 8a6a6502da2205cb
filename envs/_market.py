"""What all environments share: markets with learners in some seats and opponents in the others, played episode by episode."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from gridpilot.agents.base import Agent
from gridpilot.agents.by_value import entry_of
from gridpilot.agents.encoding import encode_seats
from gridpilot.agents.learners import Learners
from gridpilot.agents.registry import find_agent
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.envs._kernels import N_PRICES_OF_TIME, RESULTS, decode_parallel, decode_range, settle
from gridpilot.envs._render import Trace
from gridpilot.envs._task import Opponent, Task
from gridpilot.errors import AgentError, BidError, ConfigError
from gridpilot.market.arena import Arena, Scenario, stored_value
from gridpilot.market.encoding import n_fields
from gridpilot.market.physics import PROFIT
from gridpilot.market.published_encoding import n_published
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.suggestions import did_you_mean

__all__ = [
    "DEFAULT_OPPONENTS",
    "OPTIONS",
    "Opponents",
    "SeatedMarkets",
    "action_space",
    "as_actions",
    "drawn_opponents",
    "find_setup",
    "observation_space",
]

Opponents = Opponent | Path | Mapping[str, Any] | Sequence[Opponent | Path | Mapping[str, Any]]
DEFAULT_OPPONENTS: Opponents = ("truthful", "threshold")

_PARALLEL_FROM = 64  # markets, as in the arena: below it nothing starts a thread, so that processes may be forked
_OBSERVATION_BOUND = 10.0
OPTIONS = ("episode", "reset_mask")
_SUMMED = (
    RESULTS.index("wear") + 1
)  # the first rows of the results: the reward and money, which add up over the ticks of a decision
_LINEUP_STREAM: Final = 2**31  # of an episode's random numbers, beyond those of any seat
_LAST_EPISODE: Final = 2**62
_TWIN: Final = "twin"  # the label of the baseline, which no opponent has
_FIRST_VERSION: Final = Task()


def find_setup(setup: MarketSetup | None, **choices: Any) -> MarketSetup:
    """``setup`` itself, or the one that ``load_setup`` makes of those ``choices`` that are not None.

    Raises :class:`~gridpilot.errors.ConfigError` where both are given.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    if setup is None:
        return load_setup(**given)
    if not isinstance(setup, MarketSetup):
        raise ConfigError(f"env: setup is {setup!r:.100}, expected a gridpilot.setup.MarketSetup")
    if given:
        raise ConfigError(f"env: setup and {', '.join(given)} are both given, expected the setup to say it all")
    return setup


def action_space(arena: Arena, task: Task = _FIRST_VERSION) -> spaces.Box:
    """Storage value, commitment value and shading factors, one a block in version 1: ``(2 + K,)`` in [-1, 1]."""
    factors = arena.arrays.n_blocks if task.action_version == 1 else task.shading
    return spaces.Box(-1.0, 1.0, (N_PRICES_OF_TIME + factors,), np.float32)


def observation_space(arena: Arena, task: Task = _FIRST_VERSION) -> spaces.Box:
    """The flat observation vector, ``(D,)`` in [-10, 10]."""
    length = n_fields(arena.arrays.n_classes)
    if task.observation_version == 2:
        length += n_published(len(arena.rules.supply))
    return spaces.Box(-_OBSERVATION_BOUND, _OBSERVATION_BOUND, (length,), np.float32)


def as_actions(action: Any, shape: tuple[int, ...] | None, out: npt.NDArray[np.float64], where: str = "action") -> None:
    """Copy ``action`` to ``out``. Raises :class:`~gridpilot.errors.BidError` where it has another shape or is no array of numbers."""
    array = np.asarray(action)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise BidError(f"{where}: has shape {array.shape} and type {array.dtype}, expected an array of numbers of shape {shape}")
    out[...] = array.reshape(out.shape)


def _specs(opponents: Opponents) -> dict[str, AgentSpec]:
    """The opponents by a label of their own, in order. An instance plays as it was when it was handed over, anew at each seat."""
    one = isinstance(opponents, str | AgentSpec | type | Agent | Path | Mapping)
    listed = [opponents] if one else list(opponents)  # type: ignore[arg-type]
    specs = {}
    for i, opponent in enumerate(listed):
        if isinstance(opponent, type | Agent):
            entry = entry_of(opponent)
            spec = AgentSpec(entry.pop("name"), entry)
            label = (opponent if isinstance(opponent, type) else type(opponent)).__name__
        elif isinstance(opponent, str | AgentSpec):
            spec = AgentSpec(opponent, {}) if isinstance(opponent, str) else opponent
            find_agent(spec.target)
            label = spec.target
        elif isinstance(opponent, Path):  # the folder of a policy
            spec = AgentSpec("learned", {"policy": str(opponent)})
            spec.build()
            label = opponent.name
        elif isinstance(opponent, Mapping) and isinstance(opponent.get("name"), str):
            spec = AgentSpec(opponent["name"], {key: value for key, value in opponent.items() if key != "name"})
            spec.build()
            label = spec.target
        else:
            raise AgentError(
                f"env: opponents[{i}] is {opponent!r:.100}, expected the name of an agent, a class or an instance of one, an AgentSpec, "
                "a mapping {name: ...}, or the Path of a policy's folder"
            )
        specs[f"{i} {label}"] = spec
    return specs


def drawn_opponents(weights: Sequence[float], roots: npt.NDArray[Any], episodes: npt.NDArray[np.int64]) -> list[int]:
    """Which opponent the other seats of each market play, drawn in proportion to ``weights`` by the episode's own stream.

    ``roots`` and ``episodes`` are ``(B,)``. What an episode draws depends on nothing else, so that whoever plays it meets the same.
    """
    ends = np.cumsum(np.asarray(weights, dtype=np.float64))
    streams = (
        np.random.SeedSequence(int(root), spawn_key=(int(episode), _LINEUP_STREAM))
        for root, episode in zip(roots, episodes, strict=True)
    )
    shares = np.array([np.random.Generator(np.random.SFC64(stream)).random() for stream in streams])
    return [int(i) for i in np.searchsorted(ends[:-1], shares * ends[-1], side="right")]


class SeatedMarkets:
    """B markets of one setup, S learners' seats in each, opponents cycled over the others in the order of the seats.

    ``seats (B, S)`` are the learners'. ``play`` takes a decision, of one tick or as many as ``task`` says; its results are
    ``results (len(RESULTS), B, S)`` and ``refused (B, S)``, which the next one overwrites.
    """

    def __init__(
        self,
        setup: MarketSetup,
        seats: npt.NDArray[np.int64],
        opponents: Opponents = DEFAULT_OPPONENTS,
        time_limit: float = math.inf,
        task: Task = _FIRST_VERSION,
        first_episode: int = 0,
    ) -> None:
        if isinstance(first_episode, bool) or not isinstance(first_episode, int) or not 0 <= first_episode < _LAST_EPISODE:
            raise ConfigError(f"env: first_episode is {first_episode!r:.60}, expected a whole number >= 0")
        self.setup, self.task, self.first_episode = setup, task, first_episode
        self.seats = np.ascontiguousarray(seats, dtype=np.int64)
        n_markets, n_learners = self.seats.shape
        self.arena = setup.arena(n_markets)
        specs = self._specs = _specs(opponents)
        if not specs and n_learners < self.arena.n_sites:
            raise AgentError(
                f"env: opponents is empty, expected at least one for the {self.arena.n_sites - n_learners} other seats"
            )
        self._weights = [1.0] * len(specs) if task.weights is None else list(task.weights)
        if len(self._weights) != len(specs):
            raise ConfigError(f"env: {len(self._weights)} weights and {len(specs)} opponents, expected a weight for each")
        self._time_limit = time_limit
        self._learners = Learners(self.arena, self.seats, task.bidding)
        self._twin = None if task.baseline is None else setup.arena(n_markets)
        if task.baseline is not None:
            (self._baseline,) = _specs([task.baseline]).values()
        self._take_seats(self._labels(list(specs)))
        rated = setup.rated_values()
        self.rated = np.where(rated > 0.0, rated, 1.0)  # $/h; a site without machines is rewarded in $
        self.actions = np.zeros((n_markets, n_learners, *action_space(self.arena, task).shape))
        self.results = np.zeros((len(RESULTS), n_markets, n_learners))
        self.refused = np.zeros((n_markets, n_learners), dtype=np.bool_)
        self.root: int | None = None
        self.roots = np.zeros(n_markets, dtype=np.uint64)  # by market
        self._own_roots = False  # whether each market has one of its own
        self.episodes = np.zeros(n_markets, dtype=np.int64)
        self._next_episodes = first_episode + np.arange(n_markets)
        self._marked: npt.NDArray[np.float64] | float = 0.0  # what was paid of the stored energy, (B, S)
        self._published = task.observation_version == 2
        if self._published:
            self.arena.publish()

    def _take_seats(self, labels: list[list[str]]) -> None:
        """Seat the opponents, and in the twin the baseline too."""
        self.seating = Seating(self.arena, self._specs, labels, time_limit=self._time_limit)
        if self._twin is not None:
            everybody = [[label or _TWIN for label in row] for row in labels]
            self._twin_seating = Seating(self._twin, {**self._specs, _TWIN: self._baseline}, everybody, time_limit=self._time_limit)

    def _labels(self, names: Sequence[str], drawn: bool = False) -> list[list[str]]:
        labels = []
        one = drawn_opponents(self._weights, self.roots, self.episodes) if drawn and self.task.lineup == "mixture" else None
        for b, own in enumerate(self.seats.tolist()):
            others = [seat for seat in range(self.arena.n_sites) if seat not in own]
            if one is not None:
                played = dict.fromkeys(others, names[one[b]])
            elif drawn:
                stream = np.random.SeedSequence(int(self.roots[b]), spawn_key=(int(self.episodes[b]), _LINEUP_STREAM))
                numbers = np.random.Generator(np.random.SFC64(stream)).integers(len(names), size=self.arena.n_sites).tolist()
                played = {seat: names[numbers[seat]] for seat in others}
            else:
                played = {seat: names[i % len(names)] for i, seat in enumerate(others)}
            labels.append([played.get(seat, "") for seat in range(self.arena.n_sites)])
        return labels

    @property
    def started(self) -> bool:
        """Whether an episode has begun."""
        return self.root is not None and hasattr(self.arena, "scenario")

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.arena.done

    def reset(self, seed: int | Sequence[int | None] | None, options: Mapping[str, Any] | None, random: Any) -> None:
        """Begin the next episodes, market b the n-th reset's episode ``n B + b``.

        ``seed`` sets the root and starts counting from ``first_episode``, here called 0; without one the root stays, or is drawn by
        ``random()``, a numpy generator, when there is none. A list of them, one a market, gives each market a root and a count of its own,
        as environments one by one have them: its n-th reset plays episode n. ``options["episode"]``, a number or ``(B,)`` of them, picks
        the episode of market 0 (the others follow) or of all, and counting goes on from there. ``options["reset_mask"]`` may say that all
        markets begin anew: they move together, so that none can begin alone. Raises :class:`~gridpilot.errors.ConfigError` for any other
        option.
        """
        n_markets = self.arena.n_markets
        options = _checked_options(options, n_markets)
        if seed is not None:
            self._seed(seed, random)
        elif self.root is None:
            self._seed(int(random().integers(2**63)), random)
        wanted = options.get("episode")
        self.episodes = self._next_episodes.copy() if wanted is None else _episodes(wanted, n_markets)
        self._next_episodes = self.episodes + 1 if self._own_roots else np.arange(n_markets) + int(self.episodes.max()) + 1
        if self.task.lineup != "cycle" and self._specs:
            self.close()
            self._take_seats(self._labels(list(self._specs), drawn=True))
        scenario = self._scenario()
        self.arena.start(scenario)
        self.arena.orders.clear()
        self._marked = 0.0
        self._learners.reset()
        self.seating.reset(self.roots, self.episodes)
        if self._twin is not None:
            self._twin.start(scenario)
            self._twin.orders.clear()
            self._twin_seating.reset(self.roots, self.episodes)

    def start_at(self, root: int, episode: int) -> None:
        """Let the next reset begin with ``episode`` of ``root`` in market 0, and the following ones in the others."""
        self._seed(root, None)
        self._next_episodes = np.arange(self.arena.n_markets) + episode

    def _seed(self, seed: int | Sequence[int | None], random: Any) -> None:
        n_markets = self.arena.n_markets
        one = isinstance(seed, int | np.integer)
        seeds: list[Any] = [seed] * n_markets if one else list(seed)  # type: ignore[arg-type]
        if len(seeds) != n_markets or not all(s is None or (isinstance(s, int | np.integer) and s >= 0) for s in seeds):
            raise ConfigError(f"env: seed is {seed!r:.100}, expected a whole number >= 0, or one for each of {n_markets} markets")
        fresh = self.root is None
        for b, own in enumerate(seeds):
            if own is not None or fresh:
                self.roots[b] = int(random().integers(2**63)) if own is None else own
                self._next_episodes[b] = self.first_episode + (b if one else 0)
        self.root, self._own_roots = int(self.roots[0]), not one

    def _scenario(self) -> Scenario:
        """What happens in the markets' episodes."""
        if not self._own_roots:
            return self.setup.scenario(int(self.roots[0]), self.episodes)
        each = [self.setup.scenario(int(root), [episode]) for root, episode in zip(self.roots, self.episodes, strict=True)]
        return Scenario(
            np.concatenate([one.prices for one in each], axis=1),
            np.concatenate([one.ambient for one in each], axis=1),
            np.concatenate([one.capacity for one in each], axis=1),
            np.concatenate([one.start for one in each]),
            each[0].history,
        )

    def play(self, traces: Sequence[Trace] = ()) -> None:
        """Play a decision, ``actions`` filled by the caller; ``traces`` take down each tick.

        Raises ``gymnasium.error.ResetNeeded`` outside an episode, and :class:`~gridpilot.errors.AgentError` at the end of one in which the
        baseline failed.
        """
        if not self.started or self.done:
            raise ResetNeeded("the episode is over, or none has begun: call reset() before step()")
        ticks = min(self.task.hold, self.arena.scenario.ticks - self.arena.tick)
        self._tick(traces)
        if ticks > 1:
            sums, refused = self.results[:_SUMMED].copy(), self.refused.copy()
            for _ in range(ticks - 1):
                self._tick(traces)
                sums += self.results[:_SUMMED]
                refused |= self.refused
            self.results[:_SUMMED] = sums
            self.refused[:] = refused
        if self.task.reward == "marked" or (self.arena.done and self.task.reward == "profit_and_stored"):
            self._mark()

    def _mark(self) -> None:
        """Pay what the value of the stored energy has changed by since it was last paid."""
        stored = self._of_learners(stored_value(self.arena))
        if self._twin is not None:
            stored -= self._of_learners(stored_value(self._twin))
        self.results[0] += stored - self._marked
        self._marked = stored

    def _of_learners(self, money: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """$ of all seats ``(B, N)`` as rewards of the learners', ``(B, S)``."""
        rewards: npt.NDArray[np.float64] = np.take_along_axis(money, self.seats, axis=1) / self.rated[self.seats]
        return rewards

    def _play_twin(self, twin: Arena) -> None:
        self._twin_seating.bid()
        twin.step()
        self._twin_seating.learn()
        self.results[0] -= self._of_learners(twin.outcome[:, :, PROFIT])
        if twin.done:
            for (market, seat), message in self._twin_seating.first_error.items():
                if seat in self.seats[market]:
                    raise AgentError(f"env: the baseline failed in market {market}, seat {seat}: {message}")

    def _tick(self, traces: Sequence[Trace]) -> None:
        self._decode()
        self.seating.bid()
        arena = self.arena
        arena.step()
        self.seating.learn()
        settle(
            arena.outcome, arena.totals, arena.storage, arena.last_price, arena.refused, self.seats, self.rated, self.results,
            self.refused,
        )  # fmt: skip
        if self._twin is not None:
            self._play_twin(self._twin)
        for trace in traces:
            trace.record()

    def _decode(self) -> None:
        arena = self.arena
        if self.task.action_version == 2:
            self._learners.bid(self.actions)
            return
        scenario, orders = arena.scenario, arena.orders
        arguments = (
            self.actions, self.seats, *arena.arrays, scenario.prices, scenario.ambient, scenario.history + arena.tick,
            arena.last_price, arena.levels, orders.kind, orders.storage_value, orders.commitment, orders.shade,
        )  # fmt: skip
        if arena.n_markets < _PARALLEL_FROM:
            decode_range(0, arena.n_markets, *arguments)
        else:
            decode_parallel(numba.get_num_threads(), *arguments)

    def close(self) -> None:
        """Let the processes of isolated opponents go."""
        self.seating.close()
        if self._twin is not None:
            self._twin_seating.close()

    def observe(self) -> npt.NDArray[np.float32]:
        """What the learners see now: a new array ``(B, S, D)``."""
        return encode_seats(self.arena, self.seats, published=self._published)


def _checked_options(options: Mapping[str, Any] | None, n_markets: int) -> Mapping[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"env: options is {options!r:.100}, expected a mapping")
    options = options or {}
    for key in options:
        if key not in OPTIONS:
            hint = did_you_mean(key, OPTIONS) or f"known options are {', '.join(OPTIONS)}"
            raise ConfigError(f"env: unknown option {key!r:.100} of reset; {hint}")
    if "reset_mask" in options:
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != np.bool_ or mask.shape != (n_markets,):
            raise ConfigError(
                f"env: options['reset_mask'] is {options['reset_mask']!r:.100}, expected a truth value for each of {n_markets} markets"
            )
        if not mask.all():
            raise ConfigError(
                f"env: options['reset_mask'] leaves out {int((~mask).sum())} of {n_markets} markets, expected all of them: markets side by "
                "side move tick by tick together, so that none can begin alone; environments of one market can"
            )
    return options


def _episodes(wanted: Any, n_markets: int) -> npt.NDArray[np.int64]:
    numbers = np.asarray(wanted)
    if numbers.dtype.kind not in "iu" or numbers.shape not in ((), (n_markets,)) or numbers.min() < 0:
        raise ConfigError(
            f"env: options['episode'] is {wanted!r:.100}, expected a whole number >= 0, or one for each of {n_markets} markets"
        )
    return np.arange(n_markets) + int(numbers) if numbers.ndim == 0 else numbers.astype(np.int64)
