"""The ranking of a tournament: a pure function of its rows.

Observations are episodes, never ticks or matches: an agent's score in an episode is its profit at every seat of the mixed line-up,
averaged, in $ per site and day. Episodes are independent (own seeds), and all agents meet the same ones, so differences are paired.

* Intervals: Student's t, and for ratios the delta method (:mod:`gridpilot.tournament.intervals`).
* p-values: sign-flip test of paired differences, corrected by Holm (1979); the winner set by the same flips, studentised and by steps
  (:mod:`gridpilot.tournament.comparisons`).

Below ``MIN_EPISODES`` episodes there are neither intervals nor a winner set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.errors import FAILURES, TournamentError
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.comparisons import PairedDifferences, holm
from gridpilot.tournament.intervals import (
    LEVEL,
    MIN_EPISODES,
    NO_BOUND,
    NOT_PLAYED,
    TOLERANCE,
    Estimate,
    above_zero,
    capture_percent,
    mean,
    ratio_percent,
)
from gridpilot.tournament.markets import MarketSummary, summarise_markets
from gridpilot.tournament.meta_game import MetaGame, meta_game
from gridpilot.tournament.rows import bases_of, roles_of
from gridpilot.tournament.schedule import REFERENCE

__all__ = [
    "LEVEL",
    "MIN_EPISODES",
    "AgentSummary",
    "Estimate",
    "Leaderboard",
    "Pair",
    "StorageBase",
    "alone_gains",
    "conditional_value_at_risk",
    "interquartile_mean",
    "rank",
    "scores",
]

FloatArray = npt.NDArray[np.float64]

SCORED: Final = ["episode", "seat", "agent", "profit", "regret", "ticks"]  # columns that scores are taken from


@dataclass(frozen=True)
class AgentSummary:
    """One line of the leaderboard. Money in $ per site and day, from the mixed line-up unless said otherwise."""

    rank: int  # by mean profit; equal profits share a rank
    agent: str
    baseline: bool
    in_winner_set: bool | None  # None below MIN_EPISODES
    profit: Estimate
    gain: Estimate  # over the reference at the same seats in the same episodes
    gain_percent: Estimate  # the same in % of the reference's profit; no value where that is not clearly positive
    alone_gain: Estimate  # the gain when it is the only one among reference agents
    alone_percent: Estimate
    capture_percent: Estimate  # that gain as a share of what the yardstick, which is shown what no bidder knows, gains there
    regret: (
        Estimate  # what best responses to the others' bids would have got more, tick by tick, storage and commitment values fixed
    )
    regret_percent: Estimate  # the same in % of its profit; no value where that is not clearly positive
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
class StorageBase:
    """A strategic agent against the one with the same storage rule that bids the truth: what its bids earn. $ per site and day."""

    agent: str
    base: str
    difference: Estimate  # of profits in the mixed line-up; no value for one that is not ranked
    difference_percent: Estimate  # the same in % of the base's profit; no value where that is not clearly positive
    alone: Estimate  # of profits when each is the only one among reference agents
    alone_percent: Estimate


@dataclass(frozen=True)
class Leaderboard:
    """The result of a tournament."""

    episodes: int  # complete ones, which the ranking rests on
    seats: int
    ticks: int
    agents: tuple[AgentSummary, ...]  # best first
    pairs: tuple[Pair, ...]
    markets: tuple[MarketSummary, ...]
    game: MetaGame | None = None  # of which the agents are strategies; None where no pairs were played
    yardstick: str | None = None  # whose gain capture is a share of
    bases: tuple[StorageBase, ...] = ()  # of strategic agents, ranked or clairvoyant, as they come in the rows
    unranked_failures: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # of clairvoyant agents that failed, as in a summary


def rank(rows: pd.DataFrame) -> Leaderboard:
    """The leaderboard of ``rows`` (columns of :mod:`gridpilot.tournament.rows`).

    Episodes of which some mixed match is missing, as in an unfinished run, are left out. Raises
    :class:`~gridpilot.errors.TournamentError` when no episode is complete.
    """
    roles = roles_of(rows)
    frozen = {label for label, role in roles.items() if role in ("reference", "baseline")}
    yardstick = next((label for label, role in roles.items() if role == "yardstick"), "")  # which is no label, and has no gains
    table = scores(rows)
    means = table.mean(axis=0)
    labels = sorted(table.columns, key=lambda label: (-means[label], label not in frozen, label))
    x = table[labels].to_numpy()
    regret = scores(rows, "regret")[labels].to_numpy()
    usual = x[:, labels.index(REFERENCE)]
    compared = PairedDifferences(x)
    winners = compared.winners(1.0 - LEVEL) if len(x) >= MIN_EPISODES else None
    alone, failures = _alone(rows), _failures(rows)
    best = _together(alone, yardstick, REFERENCE)
    bound = above_zero(best[:, 0] - best[:, 1]) and above_zero(best[:, 1]) and not _beaten(alone, labels, yardstick)
    agents = []
    for a, label in enumerate(labels):
        here = _together(alone, label, REFERENCE)
        better = int((x.mean(axis=0) > x[:, a].mean() + TOLERANCE * np.abs(x.mean(axis=0)).max()).sum())
        agents.append(
            AgentSummary(
                rank=better + 1,
                agent=label,
                baseline=label in frozen,
                in_winner_set=None if winners is None else a in winners,
                profit=mean(x[:, a]),
                gain=mean(x[:, a] - usual),
                gain_percent=ratio_percent(x[:, a] - usual, usual),
                alone_gain=mean(here[:, 0] - here[:, 1]),
                alone_percent=ratio_percent(here[:, 0] - here[:, 1], here[:, 1]),
                capture_percent=_capture(alone, label, yardstick, bound),
                regret=mean(regret[:, a]),
                regret_percent=ratio_percent(regret[:, a], x[:, a]),
                interquartile_mean=interquartile_mean(x[:, a]),
                cvar=conditional_value_at_risk(x[:, a]),
                **failures[label],
            )
        )
    p_values = compared.p_values
    pairs = [
        Pair(labels[i], labels[j], mean(compared.differences[:, k]), p, adjusted)
        for k, (i, j, p, adjusted) in enumerate(zip(compared.first, compared.second, p_values, holm(p_values), strict=True))
    ]
    seats, ticks = int(rows["seat"].nunique()), int(rows["ticks"].max())
    markets, game, bases = summarise_markets(rows), meta_game(rows), _bases(rows, table, alone)
    unranked = {agent: found for agent, found in failures.items() if agent not in labels and any(found[name] for name in FAILURES)}
    return Leaderboard(len(table), seats, ticks, tuple(agents), tuple(pairs), markets, game, yardstick or None, bases, unranked)


def scores(rows: pd.DataFrame, column: str = "profit") -> pd.DataFrame:
    """Profit, or regret, by episode (index) and agent (columns, by name) in the mixed line-up.

    $ per site and day, the mean over all seats. Raises :class:`~gridpilot.errors.TournamentError` when no episode is complete, the
    reference did not play, or a number is not finite.
    """
    mixed = rows.loc[(rows["lineup"] == "mixed").to_numpy(), SCORED]
    daily = _daily(mixed, column)
    by_episode = daily.groupby([mixed["episode"], mixed["agent"]])
    count, total = by_episode.size().unstack(fill_value=0), by_episode.mean().unstack()
    labels = list(count.columns)
    if labels and REFERENCE not in labels:
        raise TournamentError(f"the reference agent {REFERENCE!r} has no rows, expected it among {labels}")
    table = total[(count == mixed["seat"].nunique()).all(axis=1)]
    if table.empty:
        raise TournamentError("no episode of the mixed line-up is complete, expected at least one: let the tournament play on")
    return table


def alone_gains(rows: pd.DataFrame, agent: str) -> FloatArray:
    """``(E, 2)``: by episode, the profit of ``agent`` alone among reference agents, and the reference's own at the same seats.

    $ per site and day, the mean over all seats. Only episodes with every seat; E is 0 where the line-up was not played.
    """
    return _together(_alone(rows), agent, REFERENCE)


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


def _daily(rows: pd.DataFrame, column: str = "profit") -> pd.Series:
    """Profit, or regret, in $ a day."""
    bad = ~np.isfinite(rows[column].to_numpy())
    if bad.any():
        first = rows[bad].iloc[0]
        where = f"of {first['agent']} at seat {first['seat']} in episode {first['episode']}"
        raise TournamentError(f"the {column} {where} is {first[column]}, expected a finite number")
    return rows[column] * TICKS_PER_DAY / rows["ticks"]


def _alone(rows: pd.DataFrame) -> pd.DataFrame:
    """Profit by episode (index) and agent (columns) alone among reference agents; in the reference's column that of its self-play.

    $ per site and day, the mean over all seats; NaN where a seat is missing.
    """
    reference = (rows["agent"] == REFERENCE).to_numpy()
    alone, usual = (rows["lineup"] == "alone").to_numpy() & ~reference, (rows["lineup"] == "self").to_numpy() & reference
    chosen = rows.loc[alone | usual, SCORED]
    by_episode = _daily(chosen).groupby([chosen["episode"], chosen["agent"]])
    complete = by_episode.size() == rows["seat"].nunique()
    return by_episode.mean()[complete].unstack()


def _together(alone: pd.DataFrame, *agents: str) -> FloatArray:
    """``(E, len(agents))``: the columns of ``agents`` in the episodes that all of them have; no episode where one is missing."""
    if len(set(agents)) < len(agents) or not set(agents) <= set(alone.columns):
        return np.empty((0, len(agents)))
    table: FloatArray = alone[list(agents)].dropna().to_numpy()
    return table


def _beaten(alone: pd.DataFrame, labels: list[str], yardstick: str) -> bool:
    """Whether an agent clearly earns more than the yardstick, which then bounds nothing."""
    return any(
        above_zero(pair[:, 0] - pair[:, 1]) for pair in (_together(alone, label, yardstick) for label in labels) if len(pair)
    )


def _capture(alone: pd.DataFrame, label: str, yardstick: str, bound: bool) -> Estimate:
    """Share of the yardstick's gain over the reference, %.

    None where the yardstick is no upper bound: it gains nothing, another gains more, or bidding as the reference does earns nothing, as
    where everybody pays what he bids.
    """
    three = _together(alone, label, REFERENCE, yardstick)
    if not len(three):
        return Estimate(None, reason=NOT_PLAYED)
    return capture_percent(three[:, 0] - three[:, 1], three[:, 2] - three[:, 1]) if bound else Estimate(None, reason=NO_BOUND)


def _bases(rows: pd.DataFrame, table: pd.DataFrame, alone: pd.DataFrame) -> tuple[StorageBase, ...]:
    found = []
    for agent, base in bases_of(rows).items():
        both = table[[agent, base]].to_numpy() if {agent, base} <= set(table.columns) else np.empty((0, 2))
        among = _together(alone, agent, base)
        figures = []
        for pair in (both, among):
            nothing = Estimate(None, reason=NOT_PLAYED)
            more = pair[:, 0] - pair[:, 1]
            figures += [mean(more), ratio_percent(more, pair[:, 1])] if len(pair) else [nothing, nothing]
        found.append(StorageBase(agent, base, *figures))
    return tuple(found)


def _failures(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Of every agent, over all line-ups: counts, decisions, and the first message."""
    counts = rows.groupby("agent")[[*FAILURES, "ticks"]].sum().rename(columns={"ticks": "decisions"})
    failed = rows.loc[(rows["first_error"] != "").to_numpy(), ["agent", "first_error"]]
    first = failed.drop_duplicates("agent").set_index("agent")["first_error"].to_dict()
    return {
        agent: {**{name: int(count) for name, count in row.items()}, "first_error": first.get(agent, "")}
        for agent, row in counts.to_dict("index").items()
    }
