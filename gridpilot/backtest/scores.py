"""Scoring formulas of probabilistic forecasts; plain functions of arrays, which skip what is nan."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MissingExtraError
from gridpilot.forecasting.base import QUANTILE_LEVELS

__all__ = ["coverage", "diebold_mariano", "pinball", "quantile_crps", "share_below", "skill"]

FloatArray = npt.NDArray[np.float64]


def pinball(truth: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Pinball loss, the mean over the five levels: ``(...,)`` for truth ``(...,)`` and quantiles ``(..., Q)``.

    ``max(q (y - x), (q - 1) (y - x))`` at level q; Koenker and Bassett (1978), "Regression quantiles".
    """
    error = truth[..., None] - quantiles
    level = np.array(QUANTILE_LEVELS)
    return np.asarray(np.maximum(level * error, (level - 1.0) * error).mean(axis=-1))


def quantile_crps(truth: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Continuous ranked probability score from the five quantiles, by scoringrules: ``(...,)``.

    Twice their mean pinball loss (Berrisch and Ziel 2023, "CRPS learning"). Raises :class:`~gridpilot.errors.MissingExtraError` without
    scoringrules.
    """
    try:
        import scoringrules  # compiles itself for some seconds
    except ImportError:
        raise MissingExtraError("the CRPS by scoringrules", "forecast") from None
    return np.asarray(scoringrules.crps_quantile(truth, quantiles, np.array(QUANTILE_LEVELS), backend="numpy"), dtype=np.float64)


def coverage(truth: FloatArray, quantiles: FloatArray, outer: int) -> tuple[float, float]:
    """Share of ``truth`` ``(n,)`` inside the closed interval of the ``outer``-th lowest and highest of ``quantiles (n, Q)``, mean width.

    ``outer`` 0 is the 90 % interval, 1 the 50 % one. (nan, nan) where nothing is known.
    """
    known = np.isfinite(truth) & np.isfinite(quantiles).all(axis=-1)
    if not known.any():
        return math.nan, math.nan
    low, high = quantiles[known, outer], quantiles[known, -1 - outer]
    inside = (truth[known] >= low) & (truth[known] <= high)
    return float(inside.mean()), float((high - low).mean())


def share_below(truth: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Share of ``truth`` ``(n,)`` at or below each of ``quantiles (n, Q)``: ``(Q,)``, QUANTILE_LEVELS if calibrated; ties count by half."""
    known = np.isfinite(truth) & np.isfinite(quantiles).all(axis=-1)
    if not known.any():
        return np.full(quantiles.shape[-1], np.nan)
    y, x = truth[known, None], quantiles[known]
    return np.asarray(((y < x) + 0.5 * (y == x)).mean(axis=0))


def skill(loss: float, reference: float) -> float:
    """``1 - loss / reference``; 0 where both are 0, nan where only the reference is.

    >>> skill(3.0, 4.0), skill(0.0, 0.0), skill(1.0, 0.0)
    (0.25, 0.0, nan)
    """
    if reference > 0.0:
        return 1.0 - loss / reference
    return 0.0 if loss == 0.0 and reference == 0.0 else math.nan


def diebold_mariano(difference: FloatArray, horizon: int) -> tuple[float, float]:
    """Test statistic and two-sided p-value that the losses of two forecasts differ, positive where ``difference`` is.

    ``difference``  ``(O,)`` loss of the other forecast minus loss of this one at evenly spaced origins; nan where unknown.
    ``horizon``     h >= 1, in origins: errors of fewer origins apart than this overlap.

    Diebold and Mariano (1995), with the variance of the mean by Newey and West (1987) with ``max(h, 4 (n/100)^(2/9))`` lags, and the
    correction and t distribution with n - 1 degrees of freedom of Harvey, Leybourne and Newbold (1997). Lags are counted in origins:
    a missing one contributes nothing, and its neighbours stay as far apart as they are. (nan, nan) where the differences do not vary
    or n <= h.
    """
    known = np.isfinite(difference)
    n = int(known.sum())
    if n <= max(horizon, 2):
        return math.nan, math.nan
    mean = float(difference[known].mean())
    centred = np.where(known, difference - mean, 0.0)
    variance = float(centred @ centred) / n
    if variance <= 1e-24 * max(float(np.max(np.abs(difference[known]))) ** 2, 1e-300):
        return math.nan, math.nan
    lags = min(max(horizon, math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0))), len(centred) - 1)
    for k in range(1, lags + 1):
        variance += 2.0 * (1.0 - k / (lags + 1.0)) * float(centred[k:] @ centred[:-k]) / n
    if variance <= 0.0:  # Bartlett weights make it positive, save for rounding
        return math.nan, math.nan
    correction = (n + 1.0 - 2.0 * horizon + horizon * (horizon - 1.0) / n) / n
    statistic = mean / math.sqrt(variance / n) * math.sqrt(correction)
    from scipy.special import stdtr  # imported late, as everywhere: it takes long

    return statistic, float(2.0 * stdtr(n - 1, -abs(statistic)))
