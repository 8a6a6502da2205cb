"""Which agents differ: sign-flip tests of paired scores, and the set of those that may be the best.

Under the hypothesis that two agents are equal, the sign of their difference is a coin in every episode (Fisher's randomisation). All
agents' differences flip together, so that their dependence is kept, and sums are studentised, so that a noisy pair hides no other.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.tournament.intervals import LEVEL, MIN_EPISODES, TOLERANCE

__all__ = ["PairedDifferences", "holm", "sign_flip_p_value", "winner_set"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

EXACT: Final = 14  # episodes up to which all sign patterns are tried
PATTERNS: Final = 10_000  # beyond, that many: the observed one and random others
SEED: Final = 20240229  # of these, so that equal rows give an equal ranking


class PairedDifferences:
    """All pairs of columns of the scores ``x`` (E, A), and their sums under B patterns of signs.

    Pair k is ``(first[k], second[k])`` in the order of ``itertools.combinations(range(A), 2)``.
    """

    def __init__(self, x: FloatArray) -> None:
        self.agents = x.shape[1]
        self.first, self.second = np.triu_indices(self.agents, 1)
        self.differences: FloatArray = x[:, self.first] - x[:, self.second]  # (E, P)
        self.flipped = _flipped_sums(self.differences)  # (B, P)
        self.negligible = TOLERANCE * max(float(np.abs(x).max(initial=0.0)), np.finfo(float).tiny)  # as a difference

    @property
    def p_values(self) -> list[float]:
        """Two-sided, a pair: the share of sign patterns whose sum is as far from zero."""
        return [float(p) for p in _shares(self.flipped, self.differences)]

    def winners(self, size: float) -> set[int]:
        """Columns that may be the best, see :func:`winner_set`."""
        alive = np.ones(self.agents, dtype=np.bool_)
        lead = self.differences.mean(axis=0)
        # A lead that never changes leaves nothing to test: the lower is not the best. One that is nothing leaves nothing at all.
        constant = np.ptp(self.differences, axis=0) <= self.negligible
        ahead = constant & (np.abs(lead) > self.negligible)
        alive[np.where(lead > 0.0, self.second, self.first)[ahead]] = False
        root = np.where(constant, np.inf, np.sqrt((self.differences**2).sum(axis=0)))  # the same for all patterns
        observed, flipped = self.differences.sum(axis=0) / root, np.abs(self.flipped) / root
        while True:
            left = alive[self.first] & alive[self.second]
            if not left.any():
                return {int(a) for a in np.flatnonzero(alive)}
            behind = np.full(self.agents, -np.inf)  # the clearest lead of another left agent
            np.maximum.at(behind, self.second[left], observed[left])
            np.maximum.at(behind, self.first[left], -observed[left])
            largest = np.sort(flipped[:, left].max(axis=1))
            p = 1.0 - np.searchsorted(largest, behind * (1.0 - TOLERANCE)) / len(largest)
            beaten = alive & (behind > 0.0) & (p <= size)
            if not beaten.any():
                return {int(a) for a in np.flatnonzero(alive)}
            alive &= ~beaten


def winner_set(x: FloatArray, size: float = 1.0 - LEVEL) -> set[int] | None:
    """Columns of the scores ``x`` (E, A) that may be the best; ``None`` below ``MIN_EPISODES`` episodes.

    A confidence set: with probability ``1 - size`` it holds every column whose expectation is the highest (as the model confidence set of
    Hansen, Lunde, Nason 2011, https://doi.org/10.3982/ECTA5771, which keeps them too rarely when episodes are few). By steps: among the
    columns that are left, the largest studentised difference of any two is compared with its distribution under flipped signs; those
    that another leads by more are dropped, until none is (Romano and Wolf 2005, Exact and approximate stepdown methods, Journal of the
    American Statistical Association 100, 94-108). Exact at any E where differences are symmetric. Equal columns stand or fall together.
    """
    return None if len(x) < MIN_EPISODES else PairedDifferences(x).winners(size)


def sign_flip_p_value(differences: FloatArray) -> float:
    """Two-sided p-value that paired ``differences`` (E,) are symmetric around zero.

    The share of sign patterns whose mean is as far from zero. Exact for E <= 14, else from 9,999 random patterns and the observed
    one, so never 0. It is 1 where all differences are zero.
    """
    column = differences[:, None]
    return float(_shares(_flipped_sums(column), column)[0])


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


def _flipped_sums(differences: FloatArray) -> FloatArray:
    """``(B, P)``: sums of ``differences`` (E, P) under B patterns of signs, the first of which is all plus."""
    n = len(differences)
    total = differences.sum(axis=0)
    if n <= EXACT:  # the first sign can stay: a pattern and its opposite are equally far from zero
        minus = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
        flipped: FloatArray = total - 2.0 * (minus.astype(np.float64) @ differences)
        return flipped
    rng = np.random.default_rng(SEED)
    sums = np.empty((PATTERNS, differences.shape[1]))
    block = 1000  # patterns at a time: they take 8 bytes an episode
    for start in range(0, PATTERNS, block):
        packed = rng.integers(0, 256, size=(block, -(-n // 8)), dtype=np.uint8)
        sums[start : start + block] = total - 2.0 * (np.unpackbits(packed, axis=1, count=n).astype(np.float64) @ differences)
    sums[0] = total
    return sums


def _shares(flipped: FloatArray, differences: FloatArray) -> FloatArray:
    observed = np.abs(differences.sum(axis=0)) - TOLERANCE * np.abs(differences).sum(axis=0)  # what rounding leaves of equal sums
    shares: FloatArray = (np.abs(flipped) >= observed).mean(axis=0)
    return shares
