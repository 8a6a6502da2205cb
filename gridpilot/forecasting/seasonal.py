"""Seasonal members: the same time yesterday and last week, and daily harmonics with an autoregressive deviation."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import CHANNELS
from gridpilot.forecasting.knot_member import KnotMember
from gridpilot.forecasting.least_squares import accumulate, solve
from gridpilot.forecasting.transform import Recode
from gridpilot.market.compilation import kernel

__all__ = ["HarmonicAutoregression", "SeasonalNaive"]

FloatArray = npt.NDArray[np.float64]

WEEK: Final = 7
FADE_HOURS: Final = 3.0  # in which today's deviation from yesterday falls to 1/e
LAGS: Final = 4  # regressors beside the clock: constant, level, last change, distance from the mean of the last half hour
HARMONICS: Final = 4
WIDTH: Final = LAGS + 2 * HARMONICS
BEYOND: Final = 0.25  # share of the range of z by which a forecast may leave it
HUBER: Final = 6.0  # mean absolute errors beyond which a row's weight falls


class SeasonalNaive(KnotMember):
    """The price at the same time of day before, plus what is left of today's deviation from it.

    h steps ahead: ``s(t + h) + exp(-h / FADE) (z(t) - s(t))``, where s is the median of yesterday, the day before and the same day last
    week, or those of them that are known: one odd day does not repeat itself. Without a deviation this is the seasonal naive
    forecast.
    """

    name = "seasonal_naive"

    def _begin(self) -> None:
        self._history = np.full((WEEK * self.steps_per_day, len(self.channels)), np.nan)  # z by step % a week
        self._z = np.zeros(len(self.channels))

    def _recode(self, transform: Recode) -> None:
        self._history = transform(self._history)

    def _absorb(self, step: int, z: FloatArray) -> None:
        self._now = self._usual(np.array([step]))[0]  # of this step, as known before it
        self._history[step % len(self._history)] = z
        self._z = z

    def _path(self, horizon: int) -> FloatArray:
        ahead = np.arange(1, horizon + 1)
        usual = self._usual(self._step + ahead)
        fade = np.exp(-ahead / (FADE_HOURS * self.steps_per_day / 24))[:, None]
        return np.where(np.isnan(usual) | np.isnan(self._now), self._z, usual + fade * (self._z - self._now))

    def _usual(self, steps: npt.NDArray[np.int64]) -> FloatArray:
        """The median of the same time on three days before ``steps`` ``(H,)``; nan where no day is known. ``(H, C)``."""
        day, size = self.steps_per_day, len(self._history)
        # A horizon over a day looks one more day back.
        extra = np.maximum(0, (steps - self._step - 1) // day) * day
        known = np.stack([self._history[(steps - back) % size] for back in (day + extra, 2 * day + extra, size)])
        count = np.isfinite(known).sum(axis=0)
        low, middle = np.fmin.reduce(known), np.nan_to_num(known).sum(axis=0)
        high = np.fmax.reduce(known)
        usual: FloatArray = np.where(count == 3, middle - low - high, 0.5 * (low + high))
        return usual


class _State(NamedTuple):
    z: FloatArray  # (C, 3) now, one step ago, mean of the last half hour
    gram: FloatArray  # (C, P + 1, P)
    moment: FloatArray  # (C, P)
    coefficients: FloatArray  # (C, P)
    error: FloatArray  # (C,) running mean |error| of one step
    reach: FloatArray  # (C, 2) least and greatest z of late; no forecast goes far beyond


class HarmonicAutoregression(KnotMember):
    """One step ahead by ridge regression on the level, the last move and daily harmonics, iterated to every horizon.

    For a series that is a daily profile plus an autoregression this estimates the profile by generalised least squares (Cochrane and Orcutt
    1949): where deviations last for days a direct regression takes far longer to find it. ``memory_days`` is the age at which a row
    counts 1/e, ``shrinkage`` the ridge in rows.
    """

    name = "harmonic_ar"

    def __init__(
        self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288, memory_days: float = 30.0, shrinkage: float = 200.0
    ) -> None:
        super().__init__(channels, steps_per_day)
        if not (memory_days > 0.0 and shrinkage > 0.0):
            raise ForecastError(f"{self.name}: memory_days is {memory_days} and shrinkage {shrinkage}, expected numbers above 0")
        self.memory_days, self.shrinkage = float(memory_days), float(shrinkage)

    def _begin(self) -> None:
        count = len(self.channels)
        self._state = _State(
            z=np.zeros((count, 3)),
            gram=np.zeros((count, WIDTH + 1, WIDTH)),
            moment=np.zeros((count, WIDTH)),
            coefficients=np.zeros((count, WIDTH)),
            error=np.zeros(count),
            reach=np.zeros((count, 2)),
        )

    def _recode(self, transform: Recode) -> None:
        self._state.z[:] = transform(self._state.z.T).T
        self._state.reach[:] = transform(self._state.reach.T).T
        self._forget_early()

    def _forget_early(self) -> None:
        # Within the first day the scale is found from a few rows and changes a lot: sums of products on another scale mislead.
        if self.rows <= self.steps_per_day:
            self._state.gram[:] = 0.0
            self._state.moment[:] = 0.0

    def _absorb(self, step: int, z: FloatArray) -> None:
        keep = 1.0 - 1.0 / (self.memory_days * self.steps_per_day)
        shrinkage = self.shrinkage * self.steps_per_day / 288
        _absorb(self._state, self.steps_per_day, step, self.rows - 1, z, self.held, keep, shrinkage)

    def _path(self, horizon: int) -> FloatArray:
        path = np.empty((horizon, len(self.channels)))
        _path(self._state, self.steps_per_day, self._step, path)
        return path


@kernel
def _regressors(step: int, day: int, now: float, before: float, mean: float, x: Any) -> None:
    """Of the change to ``step``."""
    x[0], x[1], x[2], x[3] = 1.0, now, now - before, now - mean
    angle = 2.0 * np.pi * (step % day) / day
    for i in range(HARMONICS):
        x[LAGS + 2 * i] = np.sin((i + 1) * angle)
        x[LAGS + 2 * i + 1] = np.cos((i + 1) * angle)


@kernel
def _absorb(s: Any, day: int, step: int, rows: int, z: Any, held: Any, keep: float, shrinkage: float) -> None:
    x = np.empty(WIDTH)
    work = np.empty((WIDTH, WIDTH))
    for c in range(len(z)):
        if rows > 0 and not held[c]:
            _regressors(step, day, s.z[c, 0], s.z[c, 1], s.z[c, 2], x)
            change = z[c] - s.z[c, 0]
            error = change
            for i in range(WIDTH):
                error -= s.coefficients[c, i] * x[i]
            limit = HUBER * s.error[c]
            weight = 1.0 if rows < 12 or abs(error) <= limit else limit / abs(error)
            s.error[c] += max(1.0 - keep, 1.0 / rows) * (weight * abs(error) - s.error[c])
            accumulate(s.gram[c], s.moment[c], x, change, weight, keep)
            if rows % 4 == 0:
                solve(s.gram[c], s.moment[c], shrinkage, work, s.coefficients[c])
        s.z[c, 1] = s.z[c, 0] if rows > 0 else z[c]
        s.z[c, 0] = z[c]
        s.z[c, 2] += (z[c] - s.z[c, 2]) / min(rows + 1, day / 48.0)
        s.reach[c, 0] = z[c] if rows == 0 else min(z[c], z[c] + keep * (s.reach[c, 0] - z[c]))
        s.reach[c, 1] = z[c] if rows == 0 else max(z[c], z[c] + keep * (s.reach[c, 1] - z[c]))


@kernel
def _path(s: Any, day: int, step: int, path: Any) -> None:
    x = np.empty(WIDTH)
    for c in range(path.shape[1]):
        now, before, mean = s.z[c, 0], s.z[c, 1], s.z[c, 2]
        slack = BEYOND * (s.reach[c, 1] - s.reach[c, 0])
        for h in range(len(path)):
            _regressors(step + h + 1, day, now, before, mean, x)
            following = now
            for i in range(WIDTH):
                following += s.coefficients[c, i] * x[i]
            before = now
            now = min(max(following, s.reach[c, 0] - slack), s.reach[c, 1] + slack)
            mean += (now - mean) / (day / 48.0)
            path[h, c] = now
