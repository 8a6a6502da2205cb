"""What all sites together come to who play one strategy or mixture: their profit, the seller's revenue and welfare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.intervals import Estimate, mean, ratio_percent
from gridpilot.tournament.schedule import Match

__all__ = ["Together", "alike", "compared", "mixed_matches"]

FloatArray = npt.NDArray[np.float64]

LINEUP: Final = "together"
_SEATS: Final = 0x70637  # keeps what seats draw apart from other random numbers of the same episode
_FIGURES: Final = ("profit", "market_revenue", "market_welfare")


@dataclass(frozen=True)
class Together:
    """What comes of it when all seats play ``label``, on the episodes of evaluation."""

    label: str
    profit: Estimate  # $ per site and day
    revenue: Estimate  # $ a day, of the seller
    welfare: Estimate  # $ a day: what the sites earned before payments, minus the cost of the supply
    over: Mapping[str, Estimate]  # profit minus that of those who all play that agent, on the same days: $ per site and day
    percent: Mapping[str, Estimate]  # of their profit; no value where that is not clearly positive


def mixed_matches(weights: Mapping[str, float], n_seats: int, episodes: Sequence[int]) -> list[Match]:
    """A match an episode, in which every seat draws what it plays by ``weights``: a mixture as a profile of strategies."""
    labels, ends = list(weights), np.cumsum(list(weights.values()))
    matches = []
    for episode in episodes:
        stream = np.random.SFC64(np.random.SeedSequence(episode, spawn_key=(_SEATS,)))
        shares = np.random.Generator(stream).random(n_seats) * ends[-1]
        drawn = np.searchsorted(ends[:-1], shares, side="right").tolist()
        matches.append(Match(episode, LINEUP, 0, tuple(labels[i] for i in drawn)))
    return matches


def alike(rows: pd.DataFrame) -> FloatArray:
    """``(E, 3)`` of rows of one match an episode, in order: profit, $ per site and day; revenue and welfare, $ a day."""
    daily = rows[list(_FIGURES)].mul(TICKS_PER_DAY / rows["ticks"], axis=0)
    found: FloatArray = (
        daily.groupby(rows["episode"]).mean().to_numpy(dtype=np.float64)
    )  # of the market the same in all rows of a match
    return found


def compared(label: str, found: FloatArray, others: Mapping[str, FloatArray]) -> Together:
    """``found (E, 3)`` as estimates, and against all who play each of the ``others`` on the same episodes."""
    own = found[:, 0]
    return Together(
        label,
        mean(own),
        mean(found[:, 1]),
        mean(found[:, 2]),
        {name: mean(own - other[:, 0]) for name, other in others.items()},
        {name: ratio_percent(own - other[:, 0], other[:, 0]) for name, other in others.items()},
    )
