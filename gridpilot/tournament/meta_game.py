"""The game that a tournament's agents are strategies of: what one who plays s earns among others who play t, and what follows from it.

Payoffs are those of *self* and *pairs* matches: ``M[s, t]`` is the profit of all-t, averaged over seats, plus what one who plays s instead
earns more at the one seat of the episode. Episodes are common to all, so that two agents alike have equal rows and columns.

* **Rating**: deviation ratings (Marris et al., arXiv 2502.11645): what deviating to an agent gains from the strictest equilibrium, $ per
  site and day, at most 0. Another copy of an agent moves no other's rating, which is not so of means, Elo or alpha-rank.
* **Equilibrium**: symmetric Nash equilibria of the table; where there are several, their number is told and the first is shown.
* **alpha-rank** (Omidshafiei et al. 2019, Scientific Reports 9:9937) of one population of ``POPULATION``, selection ``SELECTION`` over
  the range of payoffs.
* **Best response** to each agent: who earns most alone among its copies.

A regret of an empirical game is a random variable: everything is found again in ``DRAWS`` bootstrap draws of the episodes. Intervals are
percentiles, as these are no means: a rating jumps where equilibria compete, and then its interval is wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.equilibrium.alpha_rank import alpha_rank_single
from gridpilot.equilibrium.deviation_ratings import symmetric_deviation_ratings
from gridpilot.equilibrium.matrix_games import support_enumeration
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.intervals import FEW, LEVEL, MIN_EPISODES, Estimate, mean
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES, pair_seat

__all__ = ["DRAWS", "MetaGame", "Strategy", "meta_game", "payoffs_by_episode"]

FloatArray = npt.NDArray[np.float64]

DRAWS: Final = 200  # of the bootstrap
POPULATION: Final = 50
SELECTION: Final = 100.0  # alpha x the range of payoffs: strong enough that what loses is not seen
MOST_STRATEGIES: Final = 8  # beyond it equilibria are not enumerated, as every draw would take a second


@dataclass(frozen=True)
class Strategy:
    """An agent as a strategy. Ratings and payoffs in $ per site and day."""

    agent: str
    rating: Estimate  # <= 0; 0 is that of a strategy that nothing gains by leaving
    best: float | None  # share of the draws in which nobody is rated above it
    equilibrium: float | None  # its probability in the first symmetric equilibrium; None where there are too many strategies
    support: float | None  # share of the draws in which some symmetric equilibrium plays it
    alpha_rank: float
    best_response: str  # the agent that earns most alone among its copies; itself where no other does
    response_share: float | None  # of the draws in which that is the same agent


@dataclass(frozen=True)
class MetaGame:
    """What the pairs of a tournament say."""

    episodes: int
    draws: int  # 0 below MIN_EPISODES episodes
    equilibria: int | None
    strategies: tuple[Strategy, ...]  # best rated first
    payoff: tuple[tuple[Estimate, ...], ...]  # in the same order: one who plays the row's among others who play the column's


def meta_game(rows: pd.DataFrame) -> MetaGame | None:
    """The game of the rows' pairs; ``None`` where no episode has all of them."""
    agents, payoff = payoffs_by_episode(rows)
    if not len(payoff):
        return None
    table = payoff.mean(axis=0)
    ratings, equilibria, alpha = _solved(table)
    drawn = _draws(payoff) if len(payoff) >= MIN_EPISODES else []
    order = sorted(range(len(agents)), key=lambda s: (-ratings[s], -alpha[s], agents[s]))
    strategies = []
    for s in order:
        response = _response(table, s)
        supports = [any(x[s] > 0.0 for x in found) for _, found, _, _ in drawn if found is not None]
        strategies.append(
            Strategy(
                agents[s],
                _interval(ratings[s], [one[s] for one, *_ in drawn]),
                _share([bool(one[s] >= one.max() - 1e-9 * np.ptp(payoff)) for one, *_ in drawn]),
                None if equilibria is None else float(equilibria[0][s]) if equilibria else 0.0,
                _share(supports) if equilibria is not None else None,
                float(alpha[s]),
                agents[response],
                _share([_response(one, s) == response for *_, one in drawn]),
            )
        )
    cells = tuple(tuple(mean(payoff[:, s, t]) for t in order) for s in order)
    return MetaGame(len(payoff), len(drawn), None if equilibria is None else len(equilibria), tuple(strategies), cells)


def payoffs_by_episode(rows: pd.DataFrame) -> tuple[list[str], FloatArray]:
    """The agents, and ``(E, S, S)`` payoffs of the episodes that have all pairs: what the row's agent earns alone among the column's.

    $ per site and day; no episode where the line-up was not played.
    """
    ours = rows[rows["lineup"].isin(["self", "pairs"]) & ~rows["role"].isin(CLAIRVOYANT_ROLES)]
    agents, seats = sorted(ours["agent"].unique()), int(rows["seat"].nunique())
    if not (ours["lineup"] == "pairs").any():
        return agents, np.empty((0, len(agents), len(agents)))
    daily = ours["profit"] * TICKS_PER_DAY / ours["ticks"]
    seat = ours["episode"].map({episode: pair_seat(int(episode), seats) for episode in ours["episode"].unique()})
    here, alike = (ours["seat"] == seat).to_numpy(), (ours["lineup"] == "self").to_numpy()
    others = ours[~alike & (ours["seat"] == (seat + 1) % seats)] if seats > 1 else ours[~alike]
    match = ["episode", "rotation"]
    field = others.set_index(match)["agent"]
    everywhere = daily[alike].groupby([ours["episode"], ours["agent"]]).mean().unstack()[agents]
    at_seat = daily[alike & here].groupby([ours["episode"], ours["agent"]]).mean().unstack()[agents]
    alone = ours[~alike & here].assign(daily=daily).set_index(match)
    alone = alone.assign(field=field.reindex(alone.index)).reset_index()
    pairs = alone.pivot_table(index="episode", columns=["agent", "field"], values="daily", aggfunc="first")
    count = len(agents)
    complete = [e for e in pairs.index if pairs.loc[e].notna().sum() == count * (count - 1) and everywhere.loc[e].notna().all()]
    payoff = np.empty((len(complete), count, count))
    for t, other in enumerate(agents):
        base, own = everywhere.loc[complete, other].to_numpy(), at_seat.loc[complete, other].to_numpy()
        for s, agent in enumerate(agents):
            payoff[:, s, t] = base if s == t else base + pairs.loc[complete, (agent, other)].to_numpy() - own
    return agents, payoff


def _solved(table: FloatArray) -> tuple[FloatArray, list[FloatArray] | None, FloatArray]:
    spread = float(np.ptp(table))
    alpha = alpha_rank_single(table, SELECTION / spread if spread > 0.0 else 0.0, POPULATION)
    return symmetric_deviation_ratings(table), _symmetric_equilibria(table), alpha


def _symmetric_equilibria(table: FloatArray) -> list[FloatArray] | None:
    """Mixtures that are best responses to themselves, of those that support enumeration lists."""
    if len(table) > MOST_STRATEGIES:
        return None
    return [x for x, y in support_enumeration(table, table.T) if np.abs(x - y).max() < 1e-9]


def _draws(payoff: FloatArray) -> list[tuple[FloatArray, list[FloatArray] | None, FloatArray, FloatArray]]:
    """Ratings, equilibria, alpha-rank and table of bootstrap draws of the episodes, the same draws for all agents."""
    generator = np.random.Generator(np.random.PCG64(len(payoff)))
    drawn = []
    for _ in range(DRAWS):
        table = payoff[generator.integers(0, len(payoff), len(payoff))].mean(axis=0)
        drawn.append((*_solved(table), table))
    return drawn


def _response(table: FloatArray, t: int) -> int:
    """Who earns most alone among copies of t; t itself where nobody earns more than a copy of its own."""
    best = int(np.argmax(table[:, t]))
    return t if table[best, t] <= table[t, t] else best


def _interval(value: float, drawn: list[float]) -> Estimate:
    if not drawn:
        return Estimate(float(value), reason=FEW)
    low, high = np.quantile(drawn, [0.5 * (1.0 - LEVEL), 0.5 * (1.0 + LEVEL)])
    return Estimate(float(value), float(low), float(high))


def _share(found: list[bool]) -> float | None:
    return float(np.mean(found)) if found else None
