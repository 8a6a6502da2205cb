"""Bands from a member's own past errors: empirical quantiles, by knot horizon, of errors relative to a scale of the moment.

A member says after every row what it expects at the knots and on which scale it expects to be wrong; when the horizon has come, the error
over that scale is kept for some days. The errors are out of sample, so the band is honest about a model that fits its own past too well.
Before there are any, the band is that of a random walk, half as wide again.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.forecasting.base import QUANTILE_LEVELS
from gridpilot.forecasting.knots import knot_steps, knot_weights, spread_knots

__all__ = ["ErrorBand", "RunningScale"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WINDOW_DAYS: Final = 14
KEPT_PER_DAY: Final = 96
_PRIOR_SCORES: Final = 1.5 * np.array([-2.0, -1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28, 2.0])


class RunningScale:
    """Mean absolute change of a step, ``value`` ``(C,)`` > 0: exponentially weighted, a fast and a slow one in geometric mean."""

    def __init__(self, channels: int, steps_per_day: int) -> None:
        self.value = np.full(channels, 1e-9)
        self._keep = np.array([[0.5 ** (24.0 / (hours * steps_per_day))] for hours in (3.0, 72.0)])
        self._sums = np.zeros((2, channels))
        self._weights = np.zeros((2, 1))
        self._last: FloatArray | None = None

    def learn(self, prices: FloatArray) -> None:
        """Take in ``prices`` ``(C,)``."""
        if self._last is not None:
            self._sums = self._keep * self._sums + np.abs(prices - self._last)
            self._weights = self._keep * self._weights + 1.0
            fast, slow = self._sums / self._weights
            # A price that stood still for a while may move again: the scale does not sink below a share of its slow part.
            self.value = np.sqrt(np.maximum(fast, 0.05 * slow) * slow) + 1e-6 * np.abs(prices) + 1e-12
        else:
            self.value = 0.02 * np.abs(prices) + 1e-9
        self._last = prices


class ErrorBand:
    """Quantiles ``(K, Q, C)`` of errors over their scale at the K knot horizons of :mod:`gridpilot.forecasting.knots`."""

    def __init__(self, channels: int, steps_per_day: int) -> None:
        self.knots: IntArray = knot_steps(steps_per_day)
        count = len(self.knots)
        self._each = max(1, steps_per_day // KEPT_PER_DAY)
        self._rows = 0
        ring = int(self.knots[-1]) + 1
        self._means = np.zeros((ring, count, channels))
        self._scales = np.ones((ring, count, channels))
        prior = _PRIOR_SCORES[:, None] * np.sqrt(self.knots)
        self._errors = np.zeros((WINDOW_DAYS * min(KEPT_PER_DAY, steps_per_day), count, channels))
        self._errors[: len(prior)] = prior[:, :, None]
        self._filled = np.full(count, len(prior), dtype=np.int64)  # errors ever kept, by knot
        self.quantiles = np.empty((count, len(QUANTILE_LEVELS), channels))
        for k in range(count):
            self._find(k)

    def learn(self, prices: FloatArray, means: FloatArray, scales: FloatArray) -> None:
        """Take in a row ``prices`` ``(C,)``, and what is expected after it: ``means`` and ``scales`` > 0 ``(K, C)``."""
        ring = len(self._means)
        if self._rows % self._each == 0:
            due = np.flatnonzero(self.knots <= self._rows)
            then = (self._rows - self.knots[due]) % ring
            # A price that stood still had no scale to speak of when it began to move.
            scale = np.maximum(self._scales[then, due], 0.05 * scales[due])
            self._errors[self._filled[due] % len(self._errors), due] = (prices - self._means[then, due]) / scale
            self._filled[due] += 1
        self._means[self._rows % ring] = means
        self._scales[self._rows % ring] = scales
        self._rows += 1
        self._find(self._rows % len(self.knots))  # one knot a row: no row costs more than others

    def spread(self, means: FloatArray, scales: FloatArray) -> FloatArray:
        """Quantiles ``(H, Q, C)`` around ``means`` ``(H, C)``, whose median they keep; ``scales`` ``(K, C)`` of the moment."""
        horizon, channels = means.shape
        below, share = knot_weights(self.knots, horizon)
        out = np.empty((horizon, len(QUANTILE_LEVELS) * channels))
        spread_knots((self.quantiles * scales[:, None, :]).reshape(len(self.knots), -1), below, share, out)
        return means[:, None, :] + out.reshape(horizon, len(QUANTILE_LEVELS), channels)

    def _find(self, k: int) -> None:
        errors = np.sort(self._errors[: min(int(self._filled[k]), len(self._errors)), k], axis=0)
        at = np.array(QUANTILE_LEVELS) * (len(errors) - 1)
        below = np.minimum(at.astype(np.int64), len(errors) - 2)
        found = errors[below] + (at - below)[:, None] * (errors[below + 1] - errors[below])
        # The median is the member's business; the band must contain it.
        middle = QUANTILE_LEVELS.index(0.5)
        found[:middle] = np.minimum(found[:middle], 0.0)
        found[middle] = 0.0
        found[middle + 1 :] = np.maximum(found[middle + 1 :], 0.0)
        self.quantiles[k] = found
