"""Regret against the bids played: a bracket, and what is known of its ends.

    low  = best - own      best the most that a replay against the frozen bids earned
    high = optimum - own   optimum what no play against them can beat

The regret of a seat-day lies between the two. It holds the worth of knowing the day, so that 0 is out of reach of whoever does not; and
rivals that would have reacted are not asked. Observations are episodes, as in :mod:`gridpilot.tournament.statistics`: the mean of an
agent's seat-days in the mixed line-up, $ per site and day. Percentages are ratios of sums, of the optimum.

Capture is a ratio of gains over the reference, at the same seats and days: what an agent alone among reference agents earned more than
the reference there, over what the optimum against them would have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.hindsight.measure import SeatDays
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.intervals import Estimate, mean, ratio_percent
from gridpilot.tournament.schedule import REFERENCE

__all__ = ["Bracket", "Regret", "brackets"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bracket:
    """A quantity between ``low`` and ``high``, each with its interval; from ``low.low`` to ``high.high`` both are held."""

    low: Estimate
    high: Estimate


@dataclass(frozen=True)
class Regret:
    """An agent's regret against the bids played."""

    agent: str
    episodes: int
    seat_days: int
    profit: Estimate  # $ per site and day, as are all but percentages
    best: Estimate
    optimum: Estimate
    regret: Bracket
    regret_percent: Bracket  # of the optimum
    capture_percent: Estimate  # of the optimum's gain over the reference, alone among such
    foresight_percent: Estimate  # of perfect foresight's, from the leaderboard


def brackets(found: SeatDays, rows: pd.DataFrame, foresight: dict[str, Estimate]) -> list[Regret]:
    """The regret of every agent of ``found``, least first; ``rows`` of the run, ``foresight`` the leaderboard's capture by agent."""
    daily = TICKS_PER_DAY / found.ticks
    mixed = found.days[found.days["lineup"] == "mixed"]
    results = []
    for agent, days in mixed.groupby("agent", sort=False):
        own, best, optimum = (daily * days.groupby("episode")[["own", "best", "optimum"]].mean()).to_numpy().T
        results.append(
            Regret(
                agent=str(agent),
                episodes=len(own),
                seat_days=len(days),
                profit=mean(own),
                best=mean(best),
                optimum=mean(optimum),
                regret=Bracket(mean(best - own), mean(optimum - own)),
                regret_percent=Bracket(ratio_percent(best - own, optimum), ratio_percent(optimum - own, optimum)),
                capture_percent=ratio_percent(*_gains(found.days, rows, str(agent))),
                foresight_percent=foresight.get(str(agent), Estimate(None)),
            )
        )
    return sorted(results, key=lambda one: one.regret.high.value or 0.0)


def _gains(days: pd.DataFrame, rows: pd.DataFrame, agent: str) -> tuple[FloatArray, FloatArray]:
    """Gains over the reference at the same seats and days, $: the agent's alone among such, and the optimum's. ``(E,)`` each."""
    usual = days[days["lineup"] == "self"].set_index(["episode", "seat"])
    chosen = (rows["lineup"] == "alone") & (rows["agent"] == agent)
    alone = rows[chosen].set_index(["episode", "seat"])["profit"]
    both = usual.index.intersection(alone.index) if agent != REFERENCE else usual.index[:0]
    own = usual.loc[both, "own"].to_numpy()
    return alone.loc[both].to_numpy() - own, usual.loc[both, "optimum"].to_numpy() - own
