"""Symmetric games with many players, made small: profiles of the others' strategies, and the deviation-preserving reduction.

A symmetric game of N players and S strategies is a table ``(S, K)``: what one who plays s gets against each profile of the N - 1 others,
K = C(N + S - 2, S - 1). A profile counts how many of the others play each strategy.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.equilibrium.game_input import FloatArray, check_count, check_distribution, check_payoff
from gridpilot.errors import GameError

__all__ = ["MOST_PROFILES", "deviation_preserving_reduction", "expected_payoffs", "profiles", "reduced_profiles"]

MOST_PROFILES: Final = 1_000_000
IntArray = npt.NDArray[np.int64]


def profiles(others: int, strategies: int) -> IntArray:
    """All ``(K, S)`` counts of ``others`` players over strategies, those of more players on earlier strategies first.

    >>> profiles(2, 2).tolist()
    [[2, 0], [1, 1], [0, 2]]

    Raises :class:`~gridpilot.errors.GameError` for fewer than 0 others or 1 strategy, and more than ``MOST_PROFILES`` profiles.
    """
    others, strategies = check_count(others, "others", least=0), check_count(strategies, "strategies")
    count = math.comb(others + strategies - 1, strategies - 1)
    if count > MOST_PROFILES:
        raise GameError(
            f"{others} players over {strategies} strategies have {count:,} profiles, expected at most {MOST_PROFILES:,}"
        )
    table = np.zeros((1, 0), dtype=np.int64)
    left = np.array([others])
    for _ in range(strategies - 1):
        choices = left + 1
        row = np.repeat(np.arange(len(table)), choices)
        place = np.arange(len(row)) - np.repeat(np.cumsum(choices) - choices, choices)
        taken = left[row] - place
        table, left = np.column_stack([table[row], taken]), left[row] - taken
    return np.column_stack([table, left])


def reduced_profiles(players: int, reduced: int, strategies: int) -> IntArray:
    """Those profiles ``(k, S)`` of the ``players - 1`` others that a reduction to ``reduced`` players keeps: all that need be simulated.

    Errors are those of :func:`deviation_preserving_reduction`.
    """
    return profiles(reduced - 1, strategies) * _factor(players, reduced)


def deviation_preserving_reduction(payoff: npt.ArrayLike, players: int, reduced: int) -> FloatArray:
    """The table ``(S, k)`` of a game of ``reduced`` players out of the table ``(S, K)`` of a symmetric one of ``players``.

    One who deviates stays one player, and each of the ``reduced - 1`` others stands for (players - 1) / (reduced - 1) of the full
    game's: u(s, c) = u_full(s, c (players - 1) / (reduced - 1)). What one player gains by deviating from a profile that the reduced
    game has is therefore kept exactly, unlike where each player of the reduced game stands for a group (Wiedenbeck and Wellman, "Scaling
    simulation-based game analysis through deviation-preserving reduction", AAMAS 2012).

    ``payoff``  columns in the order of :func:`profiles`

    Raises :class:`~gridpilot.errors.GameError` for another number of columns, and where reduced - 1 does not divide players - 1.
    """
    table = check_payoff(payoff)
    strategies = len(table)
    full = profiles(check_count(players, "players", least=2) - 1, strategies)
    if table.shape[1] != len(full):
        raise GameError(
            f"payoff has {table.shape[1]} columns, expected {len(full)}: profiles of {players - 1} others over {strategies} strategies"
        )
    place = {tuple(counts): k for k, counts in enumerate(full.tolist())}
    return table[:, [place[tuple(counts)] for counts in reduced_profiles(players, reduced, strategies).tolist()]]


def expected_payoffs(payoff: npt.ArrayLike, mixed: npt.ArrayLike, players: int) -> FloatArray:
    """What each strategy is expected to earn, ``(S,)``, where each of the other players draws its own by ``mixed`` ``(S,)``.

    Errors are those of :func:`deviation_preserving_reduction`.
    """
    table = check_payoff(payoff)
    counts = profiles(check_count(players, "players", least=2) - 1, len(table))
    if table.shape[1] != len(counts):
        raise GameError(f"payoff has {table.shape[1]} columns, expected {len(counts)}: profiles of {players - 1} others")
    p = check_distribution(mixed, len(table), "mixed")
    log_factorial = np.array([math.lgamma(k + 1.0) for k in range(players)])
    ways = np.exp(log_factorial[players - 1] - log_factorial[counts].sum(axis=1))
    return np.asarray(table @ (ways * np.prod(p**counts, axis=1)))


def _factor(players: int, reduced: int) -> int:
    players, reduced = check_count(players, "players", least=2), check_count(reduced, "reduced", least=2)
    if (players - 1) % (reduced - 1):
        raise GameError(f"reduced is {reduced}, expected one less of it to divide {players - 1}, the others of {players} players")
    return (players - 1) // (reduced - 1)
