"""What every solver of games asks of its numbers, refused in one line that names the value and its place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.errors import GameError

__all__ = ["FloatArray", "check_count", "check_distribution", "check_number", "check_payoff"]

FloatArray = npt.NDArray[np.float64]

SUM_TOLERANCE = 1e-9  # by which the probabilities of a distribution may miss 1


def check_payoff(payoff: npt.ArrayLike, name: str = "payoff", *, ndim: int = 2, square: bool = False) -> FloatArray:
    """A table of payoffs as an array of floats with ``ndim`` axes.

    Raises :class:`~gridpilot.errors.GameError` for what is ragged, empty, not finite, of another number of axes, or not square where
    it has to be.
    """
    try:
        table = np.array(payoff, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise GameError(f"{name} is {payoff!r:.60}, expected a table of numbers whose rows are equally long") from error
    if table.ndim != ndim:
        raise GameError(f"{name} is {payoff!r:.60}, a table with {table.ndim} axes, expected {ndim}")
    if table.size == 0:
        raise GameError(f"{name} is {payoff!r:.60}, a table of shape {table.shape}, expected at least one strategy on every axis")
    if not np.isfinite(table).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(table))[0])
        raise GameError(f"{name}{''.join(f'[{i}]' for i in place)} is {table[place]}, expected a finite number")
    if float(np.abs(table).max()) > 1e100:
        raise GameError(f"{name} has a payoff of {table.flat[int(np.abs(table).argmax())]:g}, expected payoffs within 1e100")
    if square and len(set(table.shape)) > 1:
        raise GameError(f"{name} has shape {table.shape}, expected a square table: one strategy set for all")
    return table


def check_distribution(value: npt.ArrayLike, size: int, name: str) -> FloatArray:
    """Probabilities ``(size,)``, made to add up to 1 exactly where they miss it by at most 1e-9.

    Raises :class:`~gridpilot.errors.GameError` for another length, a negative or non-finite entry, or another sum.
    """
    try:
        p = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise GameError(f"{name} is {value!r:.60}, expected {size} probabilities") from error
    if p.shape != (size,):
        raise GameError(f"{name} is {value!r:.60} of shape {p.shape}, expected {size} probabilities")
    if not (np.isfinite(p).all() and (p >= 0.0).all() and abs(float(p.sum()) - 1.0) <= SUM_TOLERANCE):
        raise GameError(f"{name} is {p.tolist()!r:.60} with the sum {float(p.sum()):.12g}, expected probabilities that add up to 1")
    return np.asarray(p / p.sum())


def check_number(value: Any, name: str, *, least: float = -math.inf) -> float:
    """A finite number of at least ``least``; true and "5" are none. Raises :class:`~gridpilot.errors.GameError` for anything else."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value >= least):
        raise GameError(
            f"{name} is {value!r:.60}, expected a finite number{'' if math.isinf(least) else f' of at least {least:g}'}"
        )
    return float(value)


def check_count(value: Any, name: str, *, least: int = 1) -> int:
    """A whole number of at least ``least``; 10.0 is one. Raises :class:`~gridpilot.errors.GameError` for anything else."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value == int(value) and value >= least):
        raise GameError(f"{name} is {value!r:.60}, expected a whole number of at least {least}")
    return int(value)
