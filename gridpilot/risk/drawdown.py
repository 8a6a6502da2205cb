"""Drawdown: how far a path of cumulative profit lies below the highest point it has reached.

With w_t the cumulative profit, the drawdown is d_t = max_{s <= t} w_s - w_t >= 0 (a loss, so positive), in the unit of the path. Its
maximum, its mean over time and the CVaR of its values over time, the conditional drawdown at risk, are the three measures of Chekhlov,
Uryasev and Zabarankin, "Drawdown measure in portfolio optimization", 2005.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.risk.measures import check_sample, conditional_value_at_risk

__all__ = ["Drawdown", "drawdown"]


class Drawdown(NamedTuple):
    """The drawdowns of one path, in its unit, all >= 0."""

    path: npt.NDArray[np.float64]  # (T,) at every point of the path
    maximum: float
    average: float
    conditional: float  # mean of the worst 1 - alpha of them


def drawdown(path: npt.ArrayLike, alpha: float = 0.95) -> Drawdown:
    """Drawdowns of a path of cumulative profit ``(T,)``, T >= 1, oldest first.

    The first point is the first peak: put the starting capital, or 0, in front of the cumulative profits where a loss in the first
    tick shall count. A path of one point, or one that never falls, has drawdown 0.

    Raises :class:`~gridpilot.errors.RiskError` for an empty path, values that are not finite and alpha outside [0, 1).

    >>> drawdown([0.0, 10.0, 4.0, 12.0, 9.0]).maximum
    6.0
    """
    points = check_sample(path, "path")
    below = np.maximum.accumulate(points) - points
    return Drawdown(below, float(below.max()), float(below.mean()), conditional_value_at_risk(below, alpha))
