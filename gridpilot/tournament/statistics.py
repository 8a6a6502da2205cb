"""The ranking of a tournament: a pure function of its rows.

Observations are episodes, never ticks or matches: an agent's score in an episode is its profit at every seat of the mixed line-up,
averaged, in $ per site and day. Episodes are independent (own seeds), and all agents meet the same ones, so differences are paired.

* Intervals: BCa bootstrap (Efron 1987, Journal of the American Statistical Association 82, 171-185) of whole episodes, by ``arch``.
* p-values: sign-flip test of paired differences (Fisher's randomisation; exact for up to 14 episodes), corrected by Holm (1979).
* Winner set: model confidence set (Hansen, Lunde, Nason 2011, https://doi.org/10.3982/ECTA5771): the agents that may be the best.

Below ``MIN_EPISODES`` episodes there are neither intervals nor a winner set.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from arch.bootstrap import MCS, IIDBootstrap

from gridpilot.errors import TournamentError
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.markets import MarketSummary, summarise_markets
from gridpilot.tournament.rows import FAILURE_COLUMNS
from gridpilot.tournament.schedule import BASELINES, REFERENCE, YARDSTICK

__all__ = [
    "LEVEL",
    "MIN_EPISODES",
    "AgentSummary",
    "Estimate",
    "Leaderboard",
    "Pair",
    "alone_gains",
    "conditional_value_at_risk",
    "estimates",
    "holm",
    "interquartile_mean",
    "rank",
    "scores",
    "sign_flip_p_value",
    "winner_set",
]

FloatArray = npt.NDArray[np.float64]

LEVEL: Final = 0.95
MIN_EPISODES: Final = 6  # with fewer no two-sided sign-flip test can reach p < 0.05: 2 / 2**5 = 0.0625
REPETITIONS: Final = 4000
SEED: Final = 20240229  # of the resampling, so that equal rows give an equal ranking
TOLERANCE: Final = 1e-10  # relative spread below which a sample counts as constant


@dataclass(frozen=True)
class Estimate:
    """A value and its interval of level ``LEVEL``; ``None`` where it cannot be told."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class AgentSummary:
    """One line of the leaderboard. Money in $ per site and day, from the mixed line-up unless said otherwise."""

    rank: int  # by mean profit; equal profits share a rank
    agent: str
    baseline: bool
    in_winner_set: bool | None  # None below MIN_EPISODES
    profit: Estimate
    gain_percent: Estimate  # over the reference at the same seats in the same episodes, % of the reference's profit
    alone_percent: Estimate  # the same when it is the only one among reference agents
    capture_percent: Estimate  # that gain as a share of what the yardstick, which knows the future, gains there
    interquartile_mean: float  # of the episodes' scores
    cvar: float  # mean of the worst 5 % of the episodes' scores
    timeouts: int  # decisions, over all line-ups
    exceptions: int
    invalid_bids: int
    decisions: int
    first_error: str

    @property
    def failures(self) -> int:
        """Decisions that failed, of any kind."""
        return self.timeouts + self.exceptions + self.invalid_bids


@dataclass(frozen=True)
class Pair:
    """Two agents compared: ``difference`` is the first's profit minus the second's, $ per site and day."""

    agent: str
    other: str
    difference: Estimate
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Leaderboard:
    """The result of a tournament."""

    episodes: int  # complete ones, which the ranking rests on
    seats: int
    ticks: int
    agents: tuple[AgentSummary, ...]  # best first
    pairs: tuple[Pair, ...]
    markets: tuple[MarketSummary, ...]


def rank(rows: pd.DataFrame) -> Leaderboard:
    """The leaderboard of ``rows`` (columns of :mod:`gridpilot.tournament.rows`).

    Episodes of which some mixed match is missing, as in an unfinished run, are left out. Raises
    :class:`~gridpilot.errors.TournamentError` when no episode is complete.
    """
    table = scores(rows)
    labels, x = list(table.columns), table.to_numpy()
    reference = labels.index(REFERENCE)
    profit = estimates(x, lambda mean: mean)
    gain = estimates(x, lambda mean: _percent(mean - mean[reference], mean[reference]))
    couples = list(itertools.combinations(np.argsort(-x.mean(axis=0), kind="stable").tolist(), 2))
    first, second = np.array(couples, dtype=np.int64).reshape(-1, 2).T
    differences = x[:, first] - x[:, second]
    difference = estimates(differences, lambda mean: mean)
    p_values = [sign_flip_p_value(differences[:, k]) for k in range(len(couples))]
    adjusted = holm(p_values)
    winners = winner_set(x)
    alone = {label: _alone(rows, label) for label in labels}
    best = _alone(rows, YARDSTICK)
    order = sorted(range(len(labels)), key=lambda a: (-x[:, a].mean(), labels[a] not in BASELINES, labels[a]))
    means = x.mean(axis=0)
    agents = []
    for a in order:
        better = int((means > means[a] + TOLERANCE * np.abs(means).max()).sum())
        agents.append(
            AgentSummary(
                rank=better + 1,
                agent=labels[a],
                baseline=labels[a] in BASELINES,
                in_winner_set=None if winners is None else a in winners,
                profit=profit[a],
                gain_percent=gain[a],
                alone_percent=_alone_percent(alone[labels[a]]),
                capture_percent=_capture_percent(alone[labels[a]], best),
                interquartile_mean=interquartile_mean(x[:, a]),
                cvar=conditional_value_at_risk(x[:, a]),
                **_failures(rows[rows["agent"] == labels[a]]),
            )
        )
    pairs = [Pair(labels[i], labels[j], difference[k], p_values[k], adjusted[k]) for k, (i, j) in enumerate(couples)]
    seats, ticks = int(rows["seat"].nunique()), int(rows["ticks"].max())
    return Leaderboard(len(table), seats, ticks, tuple(agents), tuple(pairs), summarise_markets(rows))


def scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Profit by episode (index) and agent (columns, by name) in the mixed line-up.

    $ per site and day, the mean over all seats. Raises :class:`~gridpilot.errors.TournamentError` when no
    episode is complete or the reference did not play.
    """
    mixed = rows[rows["lineup"] == "mixed"]
    labels = sorted(set(mixed["agent"]))
    if labels and REFERENCE not in labels:
        raise TournamentError(f"the reference agent {REFERENCE!r} has no rows, expected it among {labels}")
    daily = mixed["profit"] * TICKS_PER_DAY / mixed["ticks"]
    by_episode = daily.groupby([mixed["episode"], mixed["agent"]])
    seats = mixed["seat"].nunique()
    complete = (by_episode.size().unstack(fill_value=0) == seats).all(axis=1)
    table = by_episode.mean().unstack().loc[complete[complete].index, labels] if labels else pd.DataFrame()
    if table.empty:
        raise TournamentError("no episode of the mixed line-up is complete, expected at least one: let the tournament play on")
    return table


def alone_gains(rows: pd.DataFrame, agent: str) -> FloatArray:
    """``(E, 2)``: by episode, the profit of ``agent`` alone among reference agents, and the reference's own at the same seats.

    $ per site and day, the mean over all seats. Only episodes with every seat; E is 0 where the line-up was not played.
    """
    gains: FloatArray = _alone(rows, agent).to_numpy()
    return gains


def estimates(x: FloatArray, of_means: Any) -> list[Estimate]:
    """``of_means(x.mean(axis=0))`` with BCa intervals from resampled rows of ``x``, jointly for all components.

    ``x`` is ``(E, M)``, a row per episode; ``of_means`` maps ``(M,)`` to ``(K,)``, NaN where it has no value. A component without
    spread has its value as interval; below ``MIN_EPISODES`` rows intervals are ``None``.
    """
    values = np.asarray(of_means(x.mean(axis=0)), dtype=np.float64)
    if len(x) < MIN_EPISODES or not len(values):
        return [Estimate(float(value) if np.isfinite(value) else None) for value in values]
    # Leave-one-out means: a component that they do not move is constant, which BCa cannot digest and need not.
    left_out = np.array([of_means(mean) for mean in (x.sum(axis=0) - x) / (len(x) - 1)])
    scale = np.maximum(np.abs(left_out).max(axis=0), np.abs(x).max() * TOLERANCE)
    varies = np.isfinite(left_out).all(axis=0) & (np.ptp(left_out, axis=0) > TOLERANCE * scale)
    low, high = values.copy(), values.copy()
    if varies.any():
        bootstrap = IIDBootstrap(x, seed=np.random.default_rng(SEED))

        def statistic(sample: FloatArray) -> FloatArray:
            chosen: FloatArray = np.asarray(of_means(sample.mean(axis=0)), dtype=np.float64)[varies]
            return chosen

        low[varies], high[varies] = bootstrap.conf_int(statistic, reps=REPETITIONS, method="bca", size=LEVEL)
    triples = zip(values, low, high, strict=True)
    return [Estimate(float(v), float(lo), float(hi)) if np.isfinite([v, lo, hi]).all() else Estimate(None) for v, lo, hi in triples]


def interquartile_mean(x: FloatArray) -> float:
    """Mean of the middle half of ``x`` (E,), with fractional weights where E is no multiple of 4.

    >>> interquartile_mean(np.array([0.0, 1.0, 2.0, 99.0])), interquartile_mean(np.array([5.0]))
    (1.5, 5.0)
    """
    n = len(x)
    weight = np.minimum(np.arange(1, n + 1), 0.75 * n) - np.maximum(np.arange(n), 0.25 * n)
    return float(np.average(np.sort(x), weights=np.maximum(weight, 0.0)))


def conditional_value_at_risk(x: FloatArray, share: float = 0.05) -> float:
    """Mean of the worst ``share`` of ``x`` (E,), the observation on the border in part.

    Rockafellar and Uryasev 2002, Journal of Banking and Finance 26, 1443-1471. The minimum where ``share E <= 1``.
    """
    weight = np.clip(share * len(x) - np.arange(len(x)), 0.0, 1.0)
    return float(np.average(np.sort(x), weights=weight))


def sign_flip_p_value(differences: FloatArray) -> float:
    """Two-sided p-value that paired ``differences`` (E,) are symmetric around zero.

    The share of sign patterns whose mean is as far from zero. Exact for E <= 14, else from 9,999 random patterns and the observed
    one, so never 0. It is 1 where all differences are zero.
    """
    n = len(differences)
    observed = abs(differences.sum()) * (1.0 - TOLERANCE)
    if n <= 14:  # the first sign can stay: a pattern and its opposite are equally far from zero
        signs = 1.0 - 2.0 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ differences) >= observed).mean())
    rng = np.random.default_rng(SEED)
    extreme = 1
    for size in (1000,) * 9 + (999,):
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(size, n))
        extreme += int((np.abs(signs @ differences) >= observed).sum())
    return extreme / 10_000


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979, 65-70).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])) if len(p) else p
    return [float(value) for value in adjusted]


def winner_set(x: FloatArray, size: float = 1.0 - LEVEL) -> set[int] | None:
    """Columns of the scores ``x`` (E, A) that may be the best: the model confidence set of level ``1 - size``.

    Equal columns stand or fall together. ``None`` below ``MIN_EPISODES`` episodes.
    """
    if len(x) < MIN_EPISODES:
        return None
    scale = TOLERANCE * max(float(np.abs(x).max()), np.finfo(float).tiny)
    groups: list[list[int]] = []
    for a in range(x.shape[1]):
        same = [group for group in groups if np.abs(x[:, group[0]] - x[:, a]).max() <= scale]
        if same:
            same[0].append(a)
        else:
            groups.append([a])
    # A constant distance to another leaves nothing to test (and would be divided by its zero variance): the lower is not the best.
    alive = []
    for group in groups:
        lead = x[:, [other[0] for other in groups]] - x[:, [group[0]]]
        if not ((np.ptp(lead, axis=0) <= scale) & (lead.mean(axis=0) > scale)).any():
            alive.append(group)
    if len(alive) == 1:
        return set(alive[0])
    test = MCS(-x[:, [group[0] for group in alive]], size=size, reps=REPETITIONS, block_size=1, seed=np.random.default_rng(SEED))
    test.compute()
    return {a for k in test.included for a in alive[int(str(k))]}


def _percent(change: FloatArray, base: float) -> FloatArray:
    if abs(base) <= np.finfo(float).tiny:
        return np.full_like(change, np.nan)
    return 100.0 * change / abs(base)


def _alone(rows: pd.DataFrame, agent: str) -> pd.DataFrame:
    columns = ["episode", "seat", "profit", "ticks"]
    alone = rows.loc[(rows["lineup"] == "alone") & (rows["agent"] == agent), columns]
    usual = rows.loc[(rows["lineup"] == "self") & (rows["agent"] == REFERENCE), columns]
    paired = alone.merge(usual, on=["episode", "seat"], suffixes=("", "_reference"))
    for name in ("profit", "profit_reference"):
        paired[name] = paired[name] * TICKS_PER_DAY / paired["ticks"]
    by_episode = paired.groupby("episode")[["profit", "profit_reference"]]
    complete = by_episode.size() == rows["seat"].nunique()
    return by_episode.mean().loc[complete[complete].index]


def _alone_percent(gains: pd.DataFrame) -> Estimate:
    return estimates(gains.to_numpy(), lambda mean: _percent(mean[:1] - mean[1], mean[1]))[0] if len(gains) else Estimate(None)


def _capture_percent(gains: pd.DataFrame, best: pd.DataFrame) -> Estimate:
    """Share of the yardstick's gain over the reference, %; none where it gains nothing or did not play."""
    both = gains.join(best["profit"].rename("best"), how="inner").to_numpy()
    if not len(both):
        return Estimate(None)
    return estimates(
        both, lambda mean: _percent(mean[:1] - mean[1], mean[2] - mean[1]) if mean[2] > mean[1] else np.array([np.nan])
    )[0]


def _failures(rows: pd.DataFrame) -> dict[str, Any]:
    messages = [message for message in rows["first_error"].unique() if message]
    counts = {name: int(rows[name].sum()) for name in FAILURE_COLUMNS}
    return {**counts, "decisions": int(rows["ticks"].sum()), "first_error": messages[0] if messages else ""}
