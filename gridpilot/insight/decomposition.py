"""Where a lead comes from: revenue, payment, wear and what is stored, hour by hour; the parts sum to the difference in profit.

Profit is ``revenue - payment - wear + stored``. What is stored is valued once, at the end of the episode
(:func:`gridpilot.tournament.tally.stored_value`); an hour's share of it is the change of charge in that hour at the same price.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.errors import TournamentError
from gridpilot.insight.replay import Played
from gridpilot.market.encoding import MEAN
from gridpilot.market.physics import PAYMENT, REVENUE, WEAR
from gridpilot.market.units import TICKS_PER_HOUR
from gridpilot.tournament.replay import Trace
from gridpilot.tournament.statistics import scores

__all__ = ["PARTS", "agent_lead", "lead_by_hour", "lead_in_run", "parts_of", "seat_lead"]

FloatArray = npt.NDArray[np.float64]

PARTS: Final = ("revenue", "payment", "wear", "stored")  # in the order of the last axis of every array here; costs count below 0


def parts_of(trace: Trace) -> FloatArray:
    """``(T, B, N, 4)`` $: what each of :data:`PARTS` adds to a seat's profit in a tick."""
    plant = trace.arena.arrays.plant
    price = trace.arena.levels[:, MEAN]
    parts = np.empty((*trace.outcome.shape[:3], len(PARTS)))
    parts[..., 0] = trace.outcome[..., REVENUE]
    parts[..., 1] = -trace.outcome[..., PAYMENT]
    parts[..., 2] = -trace.outcome[..., WEAR]
    parts[..., 3] = np.diff(trace.storage[..., 0], axis=0) * plant["eta_d"] * price[:, None]
    return parts


def lead_by_hour(first: FloatArray, second: FloatArray) -> FloatArray:
    """``(H, 4)``: the difference of two seats' parts ``(T, 4)``, summed by hour; the last hour may be a short one."""
    ticks = len(first)
    by_hour: FloatArray = np.add.reduceat(first - second, np.arange(0, ticks, TICKS_PER_HOUR), axis=0)
    return by_hour


def seat_lead(played: Played, seat: int, other: int, match: int = 0) -> FloatArray:
    """``(H, 4)`` $ by hour of the lead of one seat of a match over another."""
    parts = parts_of(played.trace)[:, match]
    return lead_by_hour(parts[:, seat], parts[:, other])


def agent_lead(played: Played, agent: str, other: str) -> FloatArray:
    """``(H, 4)`` $ by hour of the lead of one agent over another, a seat: the mean over all seats that they played in these matches.

    Raises :class:`~gridpilot.errors.TournamentError` for an agent that played in none.
    """
    parts = parts_of(played.trace)
    means = []
    for label in (agent, other):
        seats = np.array([[who == label for who in match.seats] for match in played.trace.matches])  # (B, N)
        if not seats.any():
            there = sorted({who for match in played.trace.matches for who in match.seats})
            raise TournamentError(f"{label!r} plays in none of these matches, expected one of {', '.join(there)}")
        means.append(parts[:, seats].mean(axis=1))
    return lead_by_hour(means[0], means[1])


def lead_in_run(rows: pd.DataFrame, agent: str, other: str) -> dict[str, float]:
    """The lead of one agent over another in a whole tournament, $ a site and day as its leaderboard has it, by :data:`PARTS`.

    Raises :class:`~gridpilot.errors.TournamentError` for an agent that is not ranked.
    """
    parts = {}
    for name in PARTS:
        table = scores(rows.assign(profit=rows[name]))
        for label in (agent, other):
            if label not in table.columns:
                raise TournamentError(f"{label!r} is not ranked in this run, expected one of {', '.join(table.columns)}")
        sign = -1.0 if name in ("payment", "wear") else 1.0
        parts[name] = sign * float((table[agent] - table[other]).mean())
    return parts


def named(lead: Any) -> dict[str, float]:
    """The four figures of a lead by the names of :data:`PARTS`."""
    return {name: float(value) for name, value in zip(PARTS, lead, strict=True)}
