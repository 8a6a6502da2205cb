"""Evolution of a population of sites: what earns more in the matches that are played is found more often in the next generation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.market.physics import PROFIT
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.progress import Progress
from gridpilot.setup import MarketSetup
from gridpilot.simulation.dynamics import PROCESSES
from gridpilot.simulation.kept_course import Course, KeptCourse
from gridpilot.tournament.tally import stored_value

__all__ = ["Evolution", "evolve"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Evolution:
    """The course of ``R`` populations over ``G`` generations."""

    strategies: tuple[str, ...]
    counts: IntArray  # (G + 1, R, S) sites of each strategy, the first row before any match
    payoffs: FloatArray  # (G, R, S) mean profit over the rated value of their sites; nan for those that were not there

    def frame(self) -> pd.DataFrame:
        """A row a generation, population and strategy: share of the sites, and payoff of the match that followed."""
        g, r, s = self.counts.shape
        payoff = np.concatenate([self.payoffs, np.full((1, r, s), np.nan)])
        index = np.indices((g, r, s)).reshape(3, -1)
        return pd.DataFrame(
            {
                "generation": index[0],
                "population": index[1],
                "strategy": np.array(self.strategies)[index[2]],
                "share": (self.counts / self.counts.sum(axis=2, keepdims=True)).ravel(),
                "payoff": payoff.ravel(),
            }
        )

    def fixation(self) -> pd.DataFrame:
        """A row a strategy: its share at the start and the end, the populations that it alone is left in, and when that began.

        ``fixed`` is a share of the populations, ``generation`` the mean of the first generations from which it stayed alone to the end.
        """
        n = self.counts.sum(axis=2)[0, 0]
        rows = []
        for k, name in enumerate(self.strategies):
            alone = self.counts[:, :, k] == n
            fixed = alone[-1]
            since = [len(alone) - int(np.argmin(alone[::-1, r])) if not alone[:, r].all() else 0 for r in np.flatnonzero(fixed)]
            rows.append(
                {
                    "strategy": name,
                    "start": float(self.counts[0, :, k].mean() / n),
                    "end": float(self.counts[-1, :, k].mean() / n),
                    "fixed": float(fixed.mean()),
                    "generation": float(np.mean(since)) if since else None,
                }
            )
        return pd.DataFrame(rows)


def evolve(
    setup: MarketSetup,
    strategies: Mapping[str, Mapping[str, Any]],
    *,
    process: str = "moran",
    generations: int = 200,
    populations: int = 16,
    intensity: float = 20.0,
    mutation: float = 0.0,
    seed: int = 0,
    kept: KeptCourse | None = None,
) -> Evolution:
    """Let strategies spread by what they earn.

    A population is the sites of one market. Each generation plays one day in it, the strategies at random seats; a strategy's payoff is
    the mean of its sites' profit over their rated value (their whole fleet's revenue at usual prices), so that large and small
    sites count alike. Then ``process``, a name of :data:`gridpilot.simulation.dynamics.PROCESSES`, makes the next generation.

    ``strategies``  by label, ``target`` and ``params``, as :func:`gridpilot.tournament.config.agent_specs` gives them
    ``intensity``   of selection: fitness is ``exp(intensity payoff)``
    ``kept``        where the course is kept as it goes; one that is there is gone on with
    All populations start with equal shares, the remainder at random, and play side by side. Equal arguments give equal results, however
    often the course was interrupted. Raises what ``kept`` raises.
    """
    labels = tuple(strategies)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    arena = setup.arena(populations)
    n, rated = arena.n_sites, setup.rated_values() * setup.ticks / TICKS_PER_DAY * 24.0
    specs = {label: AgentSpec(**spec) for label, spec in strategies.items()}
    counts = np.empty((generations + 1, populations, len(labels)), dtype=np.int64)
    payoffs = np.full((generations, populations, len(labels)), np.nan)
    for r in range(populations):
        counts[0, r] = np.bincount(rng.permutation(len(labels))[np.arange(n) % len(labels)], minlength=len(labels))
    found, begin = None if kept is None else kept.load(), 0
    if found is not None:
        begin = min(len(found.payoffs), generations)
        counts[: begin + 1], payoffs[:begin] = found.counts[: begin + 1], found.payoffs[:begin]
        rng.bit_generator.state = found.state  # of its end; a course that is cut short of it needs no more
    progress, told = Progress("evolve"), set[str]()
    with progress.of(generations, done=begin, what="generations") as advance, _keeping(kept) as keep:
        for g in range(begin, generations):
            seats = np.stack([rng.permutation(np.repeat(np.arange(len(labels)), counts[g, r])) for r in range(populations)])
            failed: dict[str, str] = {}
            profit = _played(setup, arena, specs, labels, seats, seed, g * populations + np.arange(populations), failed) / rated
            for r in range(populations):
                earned = np.zeros(len(labels))
                for k in np.flatnonzero(counts[g, r]):
                    payoffs[g, r, k] = earned[k] = profit[r, seats[r] == k].mean()
                counts[g + 1, r] = PROCESSES[process](counts[g, r], earned, intensity, mutation, rng)
            for label in failed.keys() - told:
                progress.note(f"{label} failed to bid in generation {g}, which counts as no bid: {failed[label]}")
            told |= failed.keys()
            keep(Course(counts[: g + 2], payoffs[: g + 1], dict(rng.bit_generator.state)))
            advance(1, "")
    return Evolution(labels, counts, payoffs)


@contextlib.contextmanager
def _keeping(kept: KeptCourse | None) -> Iterator[Callable[[Course], None]]:
    """What takes the course in after every generation; the last of it is kept however the block ends."""
    last: list[Course] = []

    def keep(course: Course) -> None:
        last[:] = [course]
        if kept is not None:
            kept.save(course)

    try:
        yield keep
    finally:
        if kept is not None and last:
            kept.save(last[0], at_once=True)


def _played(
    setup: MarketSetup,
    arena: Any,
    specs: Mapping[str, AgentSpec],
    labels: tuple[str, ...],
    seats: IntArray,
    seed: int,
    episodes: IntArray,
    failed: dict[str, str],
) -> FloatArray:
    """Profit of every seat of the day, $, ``(R, N)``; ``failed`` takes the first error of each strategy that failed to bid."""
    arena.orders.clear()
    arena.start(setup.scenario(seed, episodes))
    seating = Seating(arena, specs, [[labels[k] for k in row] for row in seats])
    seating.reset(seed, episodes)
    total = np.zeros(seats.shape)
    while not arena.done:
        seating.bid()
        arena.step()
        seating.learn()
        total += arena.outcome[:, :, PROFIT]
    for (b, n), error in seating.first_error.items():
        failed.setdefault(labels[seats[b, n]], error)
    seating.close()
    profit: FloatArray = total + stored_value(arena)
    return profit
