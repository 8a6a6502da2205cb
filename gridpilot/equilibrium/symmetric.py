"""Symmetric Nash equilibria of symmetric games of more strategies than bimatrix enumeration takes."""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.equilibrium.game_input import check_payoff
from gridpilot.errors import GameError

__all__ = ["MOST_STRATEGIES", "symmetric_equilibria"]

FloatArray = npt.NDArray[np.float64]

MOST_STRATEGIES: Final = 16  # beyond it there are too many supports
TOLERANCE: Final = 1e-9  # of the range of payoffs, and of probabilities


def symmetric_equilibria(payoff: npt.ArrayLike) -> list[FloatArray]:
    """Mixtures ``(n,)`` that are best responses to themselves, those of fewer strategies first, of as many the one that earns more.

    ``payoff``  ``(n, n)`` what one who plays s earns among others who play t

    In every support the mixture is found that leaves its strategies indifferent, sum_t x_t M[s, t] = v; it is an equilibrium where it is
    nonnegative and no other strategy earns more than v. Of a nondegenerate game these are all symmetric equilibria, and there is one (Nash
    1951); where a system has many solutions that of least norm is taken. Strategies that another one strictly dominates are left out
    first, over and over, as no equilibrium plays them.

    Raises :class:`~gridpilot.errors.GameError` for what is no square table, more than ``MOST_STRATEGIES`` strategies that are not
    dominated, and a degenerate game of which none is found.
    """
    table = check_payoff(payoff, square=True)
    table = table - table.mean(axis=0)  # what the others' choice adds to everybody's payoff moves no equilibrium
    table = table / (float(np.abs(table).max()) or 1.0)
    kept = _undominated(table)
    if len(kept) > MOST_STRATEGIES:
        raise GameError(f"payoff has {len(kept)} strategies that no other dominates, expected at most {MOST_STRATEGIES}")
    among, found = table[np.ix_(kept, kept)], []
    for size in range(1, len(kept) + 1):
        supports = np.array(list(combinations(range(len(kept)), size)))
        equal = []
        for x in _indifferent(among, supports):
            earned = among @ x
            if (x > 0.0).sum() == size and earned.max() <= x @ earned + TOLERANCE:
                whole = np.zeros(len(table))
                whole[kept] = x
                equal.append((float(whole @ np.asarray(payoff, dtype=np.float64) @ whole), whole))
        found += [x for _, x in sorted(equal, key=lambda pair: -pair[0])]
    if not found:
        raise GameError(
            f"payoff {len(table)} x {len(table)}: no symmetric equilibrium found, expected a game that is not degenerate"
        )
    return found


def _undominated(table: FloatArray) -> npt.NDArray[np.int64]:
    """The strategies that iterated elimination of strictly dominated ones leaves."""
    kept = np.arange(len(table))
    while True:
        among = table[np.ix_(kept, kept)]
        worse = np.any(np.all(among[None] > among[:, None] + TOLERANCE, axis=2), axis=1)
        if not worse.any():
            return kept
        kept = kept[~worse]


def _indifferent(table: FloatArray, supports: npt.NDArray[np.int64]) -> list[FloatArray]:
    """Mixtures ``(n,)`` of each of ``supports (C, k)`` that leave its strategies indifferent; those that are none are left out."""
    count, size = supports.shape
    systems = np.zeros((count, size + 1, size + 1))
    systems[:, :size, :size] = table[supports[:, :, None], supports[:, None, :]]
    systems[:, :size, size] = -1.0
    systems[:, size, :size] = 1.0
    right = np.zeros(size + 1)
    right[size] = 1.0
    solved = np.linalg.pinv(systems) @ right
    exact = np.abs(systems @ solved[:, :, None] - right[:, None]).max(axis=(1, 2)) <= TOLERANCE
    x = solved[:, :size]
    mixtures = np.zeros((count, len(table)))
    np.put_along_axis(mixtures, supports, np.maximum(x, 0.0), axis=1)
    good = exact & (x > TOLERANCE).all(axis=1)
    return list(mixtures[good] / mixtures[good].sum(axis=1, keepdims=True))
