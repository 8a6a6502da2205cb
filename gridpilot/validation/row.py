"""A known result as figures: what theory says, what was found, and how far apart they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gridpilot.validation.study import Study

__all__ = ["ERRORS", "EXACT", "Figure", "Result", "Row", "best_of", "between", "close", "exact", "mean_of", "variance_of"]

FloatArray = npt.NDArray[np.float64]

ERRORS: Final = 4.0
"""Standard errors that a mean over draws may be off: a right one is further off once in 16,000 figures."""

EXACT: Final = 1e-9
"""How far off a figure may be that is computed without draws or steps, in its own unit."""


@dataclass(frozen=True)
class Row:
    """One figure of a known result. It ``passed`` where found is at most ``tolerance`` from expected; NaN does not pass."""

    result: str  # its name in the registry
    what: str  # which figure, and how many draws where it has some
    expected: float  # from a closed formula or an integral, written apart from the auctioneer
    found: float  # with the auctioneer
    tolerance: float  # in the unit of both
    source: str
    passed: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "passed", bool(abs(self.found - self.expected) <= self.tolerance))


@dataclass(frozen=True)
class Figure:
    """A row without the name and the source, which all figures of a result share."""

    what: str
    expected: float
    found: float
    tolerance: float


@dataclass(frozen=True)
class Result:
    """A known result: its name, where it is from, and how its figures are found."""

    name: str
    source: str
    figures: Callable[[Study], Iterator[Figure]]

    def rows(self, study: Study) -> list[Row]:
        """Find its figures again with the auctioneer of ``study``."""
        return [
            Row(self.name, figure.what, float(figure.expected), float(figure.found), float(figure.tolerance), self.source)
            for figure in self.figures(study)
        ]


def exact(what: str, expected: float, found: float) -> Figure:
    """A figure without draws: equal but for rounding, of :data:`EXACT` where it is below 1 and that share of it above."""
    return Figure(what, expected, found, EXACT * max(1.0, abs(expected)))


def close(what: str, expected: float, found: float, tolerance: float) -> Figure:
    """A figure that steps, or a grid, put at most ``tolerance`` off."""
    return Figure(what, expected, found, tolerance)


def between(what: str, low: float, high: float, found: float) -> Figure:
    """A figure that theory gives bounds for: expected is their middle, and the tolerance what is left to either side."""
    return Figure(f"{what}: from {low:g} to {high:g}", (low + high) / 2.0, found, (high - low) / 2.0)


def mean_of(what: str, expected: float, draws: FloatArray) -> Figure:
    """The mean of independent ``draws (B,)``, B >= 2; the tolerance is :data:`ERRORS` of its standard errors."""
    error = float(draws.std(ddof=1)) / len(draws) ** 0.5
    return Figure(f"{what}, {len(draws):,} draws", expected, float(draws.mean()), ERRORS * error + EXACT)


def variance_of(what: str, expected: float, draws: FloatArray) -> Figure:
    """The variance of independent ``draws (B,)``; its standard error is that of the mean of the squared deviations."""
    squares = (draws - draws.mean()) ** 2
    error = float(squares.std(ddof=1)) / len(draws) ** 0.5
    return Figure(f"{what}, {len(draws):,} draws", expected, float(draws.var(ddof=1)), ERRORS * error + EXACT)


def best_of(what: str, expected: float, grid: FloatArray, earned: FloatArray) -> Figure:
    """The point of ``grid (F,)`` that earns most on average, of ``earned (F, B)`` in the same B draws each.

    The tolerance is a step, or the distance of the furthest point that is not :data:`ERRORS` standard errors of the difference behind.
    """
    best = int(np.argmax(earned.mean(axis=1)))
    behind = earned[best] - earned
    errors = behind.std(axis=1, ddof=1) / earned.shape[1] ** 0.5
    alike = np.abs(grid - grid[best])[behind.mean(axis=1) <= ERRORS * errors]
    tolerance = max(float(np.diff(grid).max()), float(alike.max()))
    return Figure(f"{what} on a grid, {earned.shape[1]:,} draws", expected, float(grid[best]), tolerance + EXACT)
