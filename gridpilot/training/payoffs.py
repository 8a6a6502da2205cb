"""The empirical game of a population: who earns what alone among others who all play one strategy, on common episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.equilibrium.symmetric import symmetric_equilibria
from gridpilot.errors import AgentError, TournamentError
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.progress import Advance
from gridpilot.tournament.config import AgentSpecs, TournamentSpec
from gridpilot.tournament.intervals import Estimate, mean, ratio_percent
from gridpilot.tournament.meta_game import payoffs_by_episode
from gridpilot.tournament.play import play_chunk
from gridpilot.tournament.rows import MATCH_KEY
from gridpilot.tournament.schedule import Match, pair_seat, partition

__all__ = ["COLUMNS", "equilibrium_of", "gain_over", "new_matches", "payoff_tensor", "play_matches", "priorities"]

FloatArray = npt.NDArray[np.float64]

# columns that payoffs are made of, and what all seats come to together
COLUMNS: Final = [
    *("episode", "lineup", "rotation", "seat", "agent", "role"), *("profit", "ticks", "market_revenue", "market_welfare"),
]  # fmt: skip
_CHUNK: Final = 250  # matches side by side
_STRIDE: Final = 1000  # more than strategies: the number of a pair is that of its first times this, plus that of its second


def new_matches(population: Sequence[str], old: int, n_seats: int, episodes: Sequence[int]) -> list[Match]:
    """The matches of ``population`` that its first ``old`` strategies have not played yet.

    In each episode every strategy plays all seats (``self``), and one seat among each other (``pairs``), the same for all, as in
    tournaments; a match has the same number however far the population has grown.
    """
    matches = []
    for episode in episodes:
        seat = pair_seat(episode, n_seats)
        for s, agent in enumerate(population):
            for t, other in enumerate(population):
                if s == t and s >= old:
                    matches.append(Match(episode, "self", s, (agent,) * n_seats))
                elif max(s, t) >= old:
                    seats = (other,) * seat + (agent,) + (other,) * (n_seats - seat - 1)
                    matches.append(Match(episode, "pairs", s * _STRIDE + t, seats))
    return matches


def play_matches(
    market: dict[str, Any], prices: dict[str, Any], agents: AgentSpecs, matches: Sequence[Match], *, seed: int, ticks: int, history: int,
    advance: Advance,
) -> pd.DataFrame:  # fmt: skip
    """Rows of ``matches``, as far as payoffs need them. Raises :class:`~gridpilot.errors.AgentError` where a decision fails."""
    roles = dict.fromkeys(agents, "ranked")
    spec = TournamentSpec(market, prices, agents, seed, ticks, history, math.inf, roles=roles)
    parts = []
    for chunk in partition(matches, _CHUNK):
        rows = play_chunk(spec, chunk)
        failed = rows[rows["first_error"] != ""]
        if len(failed):
            raise AgentError(f"league: {failed['agent'].iloc[0]}: a decision failed: {failed['first_error'].iloc[0]}")
        parts.append(rows[COLUMNS])
        advance(len(chunk))
    return pd.concat(parts, ignore_index=True)


def payoff_tensor(rows: pd.DataFrame, population: Sequence[str], episodes: int, where: str) -> FloatArray:
    """``(E, S, S)`` in order of episode and ``population``: what the row's strategy earns alone among the column's, $ per site and day.

    Raises :class:`~gridpilot.errors.TournamentError` for rows that are not those of all pairs in so many ``episodes``.
    """
    found, seats = sorted(rows["agent"].unique()), int(rows["seat"].nunique())
    whole = len(rows) == episodes * len(population) ** 2 * seats and not rows.duplicated([*MATCH_KEY, "seat"]).any()
    if found != sorted(population) or rows["episode"].nunique() != episodes or not whole:
        played = f"matches of {', '.join(found)} in {rows['episode'].nunique()} episodes"
        raise TournamentError(f"{where}: {played}, expected all pairs of {', '.join(population)} in {episodes}")
    agents, payoff = payoffs_by_episode(rows) if len(population) > 1 else (found, _alone(rows))
    order = [agents.index(label) for label in population]
    return payoff[:, order][:, :, order]


def _alone(rows: pd.DataFrame) -> FloatArray:
    """The tensor of a single strategy, which has no pairs."""
    daily = rows["profit"] * TICKS_PER_DAY / rows["ticks"]
    means: FloatArray = daily.groupby(rows["episode"]).mean().to_numpy(dtype=np.float64)
    return means[:, None, None]


def equilibrium_of(payoff: FloatArray) -> FloatArray:
    """The symmetric equilibrium ``(S,)`` of the mean of ``payoff (E, S, S)``: that of fewest strategies, then that which earns most."""
    return symmetric_equilibria(payoff.mean(axis=0))[0]


def gain_over(payoff: FloatArray, weights: FloatArray, strategy: int) -> tuple[Estimate, Estimate, Estimate]:
    """The mixture's own profit, and what ``strategy`` gains over it among others who play the mixture: paired over the episodes.

    ``payoff (E, S, S)``, ``weights (S,)``. $ per site and day, $, and % of the mixture's profit.
    """
    among = payoff @ weights
    value = among @ weights
    gain = among[:, strategy] - value
    return mean(value), mean(gain), ratio_percent(gain, value)


def priorities(payoff: FloatArray, own: int, pool: Sequence[int], exponent: float) -> FloatArray:
    """How often each strategy of ``pool`` is to be the opponent of strategy ``own``: prioritised fictitious self-play.

    Vinyals et al., "Grandmaster level in StarCraft II using multi-agent reinforcement learning" (Nature 2019): in proportion to
    ``(1 - x)^exponent``, where x says how often who learns beats the opponent. Here that is the share of the episodes of ``payoff
    (E, S, S)`` in which ``own``, alone among others who all play the opponent, earns more than the opponent does there; a tie counts half.
    Probabilities, in the order of ``pool``; all alike where ``own`` always beats them all.
    """
    there = payoff[:, pool, pool]
    gain = payoff[:, own, pool] - there
    beaten = ((gain > 0.0) + 0.5 * (gain == 0.0)).mean(axis=0)
    wanted = (1.0 - beaten) ** exponent
    total = wanted.sum()
    return np.full(len(pool), 1.0 / len(pool)) if total <= 0.0 else wanted / total
