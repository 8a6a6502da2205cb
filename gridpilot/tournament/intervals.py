"""Values over independent episodes, with intervals of level ``LEVEL``.

* A mean: Student's t, ``m +- t(E - 1) s / sqrt(E)``.
* A ratio of means ``R = mean(y) / mean(x)`` of the same episodes: the same of its residuals ``(y - R x) / mean(x)``, the delta method
  (Cochran, Sampling Techniques, 3rd edition 1977, section 6.3).

Differences between agents have a skewness of 5 and more, as a few days hold most of their variance. There Student's t covers as well as
anything does: it falls short by little, where the bootstrap falls short by more. The exception is marked and has no interval,
see :func:`capture_percent`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

__all__ = [
    "FEW",
    "LEVEL",
    "MIN_EPISODES",
    "NOT_FINITE",
    "NOT_PLAYED",
    "NO_BASE",
    "NO_BOUND",
    "SKEWED",
    "TOLERANCE",
    "Estimate",
    "above_zero",
    "capture_percent",
    "in_words",
    "mean",
    "ratio_percent",
]

FloatArray = npt.NDArray[np.float64]

LEVEL: Final = 0.95
MIN_EPISODES: Final = 8  # below, an interval says more about the few episodes than about the agent
TOLERANCE: Final = 1e-10  # relative spread below which a sample counts as constant

# Why there is no interval, or no value.
FEW: Final = "few_episodes"  # below MIN_EPISODES
SKEWED: Final = "skewed"  # no interval of this sample would cover
NO_BASE: Final = "no_base"  # what the percentage would be of is not clearly above zero
NO_BOUND: Final = "no_bound"  # perfect foresight is no upper bound there: it gains nothing, or less than another
NOT_PLAYED: Final = "not_played"
NOT_FINITE: Final = "not_finite"  # NaN or infinity in an episode

# What captures more than NEAR % of perfect foresight's gain falls behind it on few days, which few episodes do not hold.
NEAR: Final = 75.0
NEAR_EPISODES: Final = 300
EPISODES_PER_SKEWNESS: Final = 8.0  # times the squared skewness: from there on t covers .92, by its Edgeworth expansion


@dataclass(frozen=True)
class Estimate:
    """A value and its interval of level ``LEVEL``; ``None`` where it cannot be told, and then ``reason`` is why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def in_words(estimate: Estimate, digits: int = 1) -> str:
    """A gain with its sign and interval, if it has one, or a dash.

    >>> in_words(Estimate(2.0, -0.5, 4.5)), in_words(Estimate(3.0), 0), in_words(Estimate(None))
    ('+2.0 [-0.5, +4.5]', '+3', '–')
    """
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+,.{digits}f}"
    return f"{estimate.value:+,.{digits}f} [{estimate.low:+,.{digits}f}, {estimate.high:+,.{digits}f}]"


def mean(x: FloatArray) -> Estimate:
    """The mean of ``x`` (E,) with its t interval.

    Without an interval below ``MIN_EPISODES`` episodes, without a value where an episode is not finite or there is none. A sample
    without spread has its value as interval.

    >>> mean(np.array([1.0, 2.0, 3.0]))
    Estimate(value=2.0, low=None, high=None, reason='few_episodes')
    """
    if not len(x):
        return Estimate(None, reason=NOT_PLAYED)
    value = float(x.mean())
    return _around(value, x - value, float(np.abs(x).max()))


def ratio_percent(y: FloatArray, x: FloatArray) -> Estimate:
    """``100 mean(y) / mean(x)`` of paired ``y`` and ``x`` (E,), with its delta-t interval.

    None where ``x`` is not :func:`above_zero`: a percentage of a loss, or of nothing, says nothing.
    """
    return _ratio_percent(y, x)[0]


def capture_percent(y: FloatArray, x: FloatArray) -> Estimate:
    """:func:`ratio_percent` of an agent's gain ``y`` and that of perfect foresight ``x`` (E,), with an interval only where one covers.

    What comes near foresight falls behind it on few days, and by much: the residuals of ``mpc`` have a skewness of -5. A sample that
    holds none of these days has a narrow interval in the wrong place, and looks harmless. So an agent that captures more than ``NEAR`` %
    needs ``NEAR_EPISODES`` episodes, and every agent ``EPISODES_PER_SKEWNESS`` times the squared skewness of its residuals: the leading
    term of the expansion in Hall (The Bootstrap and Edgeworth Expansion, 1992, section 2.6) takes .25 g^2 / E from the cover of t.
    Gains go without that rule: where a sample's skewness decides, those that are shown cover less than all do.
    """
    estimate, residuals = _ratio_percent(y, x)
    if estimate.value is None or estimate.low is None or estimate.low == estimate.high:
        return estimate
    enough = EPISODES_PER_SKEWNESS * _skewness(residuals) ** 2
    if estimate.value > NEAR:
        enough = max(enough, NEAR_EPISODES)
    return estimate if len(x) >= enough else Estimate(estimate.value, reason=SKEWED)


def above_zero(x: FloatArray) -> bool:
    """Whether the mean of ``x`` (E,) is clearly positive: its interval is, or below ``MIN_EPISODES`` the mean itself.

    Where it is not, no interval of a ratio to it is bounded (Fieller 1954, Journal of the Royal Statistical Society B 16, 175-185).
    """
    estimate = mean(x)
    if estimate.value is None:
        return False
    return bool((estimate.value if estimate.low is None else estimate.low) > np.finfo(float).tiny)


def _ratio_percent(y: FloatArray, x: FloatArray) -> tuple[Estimate, FloatArray]:
    if not len(y):
        return Estimate(None, reason=NOT_PLAYED), y
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        return Estimate(None, reason=NOT_FINITE), y
    if not above_zero(x):
        return Estimate(None, reason=NO_BASE), y
    base = float(x.mean())
    ratio = float(y.mean()) / base
    residuals = 100.0 * (y - ratio * x) / base
    return _around(100.0 * ratio, residuals, 100.0 * float(np.abs(x).max() + np.abs(y).max()) / base), residuals


def _around(value: float, residuals: FloatArray, scale: float) -> Estimate:
    n = len(residuals)
    if not (math.isfinite(value) and np.isfinite(residuals).all()):
        return Estimate(None, reason=NOT_FINITE)
    if n < MIN_EPISODES:
        return Estimate(value, reason=FEW)
    if np.ptp(residuals) <= TOLERANCE * scale:
        return Estimate(value, value, value)
    half = float(stdtrit(n - 1, 0.5 + LEVEL / 2.0) * np.std(residuals, ddof=1)) / math.sqrt(n)
    return Estimate(value, value - half, value + half)


def _skewness(residuals: FloatArray) -> float:
    centred = residuals - residuals.mean()
    return float((centred**3).mean() / (centred**2).mean() ** 1.5)
