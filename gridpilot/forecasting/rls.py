"""Recursive least squares, direct multi-horizon: the change from now to each knot horizon on lags, profiles and the clock."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import CHANNELS
from gridpilot.forecasting.knot_member import KnotMember
from gridpilot.forecasting.knots import knot_weights
from gridpilot.forecasting.least_squares import accumulate, solve
from gridpilot.forecasting.transform import Recode
from gridpilot.market.compilation import kernel

__all__ = ["RecursiveLeastSquares"]

FloatArray = npt.NDArray[np.float64]

WEEK: Final = 7  # days kept
MEANS: Final = 4  # running means: half an hour, three hours, a day, five days
OWN: Final = 10  # regressors of the origin alone
SHARED: Final = 4  # changes from the origin to the target: of the profile, of yesterday, of last week, of the weekend
HARMONICS: Final = 4  # of the target's time of day
WIDTH: Final = OWN + SHARED + 2 * HARMONICS
BEYOND: Final = 0.25  # share of the range of z by which a forecast may leave it
HUBER: Final = 4.0  # mean absolute errors beyond which a row's weight falls


class _State(NamedTuple):
    """What is learned; L = WEEK days of steps, R = a day and a step of origins, P = WIDTH regressors."""

    z: FloatArray  # (L, C) by row
    profile: FloatArray  # (day, C) running mean by time of day
    visits: FloatArray  # (day,)
    means: FloatArray  # (C, MEANS)
    own: FloatArray  # (R, C, OWN) regressors of the origins, by row
    past: FloatArray  # (R, C, 5) z, profile, yesterday, last week, weekend at the origins
    gram: FloatArray  # (C, K, P + 1, P)
    moment: FloatArray  # (C, K, P)
    coefficients: FloatArray  # (C, K, P)
    errors: FloatArray  # (C, K, 3) running mean |error|, squared error, squared change
    reach: FloatArray  # (C, 2) least and greatest z of late; no forecast goes far beyond


class RecursiveLeastSquares(KnotMember):
    """Ridge regressions of ``z(t + k) - z(t)``, one a knot horizon k, updated row by row and solved in turn, one a step.

    Regressing the change makes persistence the point that the ridge shrinks to; as the errors of a k-step forecast overlap, n rows tell
    as much as n / k, and the ridge grows with k. Coefficients are interpolated between knots, regressors are exact at every horizon.
    A row whose error is large counts less (Huber 1964).

    ``memory_days`` is the age at which a row counts 1/e, ``shrinkage`` the ridge in rows a step of the horizon.
    """

    name = "rls"

    def __init__(
        self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288, memory_days: float = 30.0, shrinkage: float = 4.0
    ) -> None:
        super().__init__(channels, steps_per_day)
        if not (memory_days > 0.0 and shrinkage > 0.0):
            raise ForecastError(f"{self.name}: memory_days is {memory_days} and shrinkage {shrinkage}, expected numbers above 0")
        self.memory_days, self.shrinkage = float(memory_days), float(shrinkage)

    def _begin(self) -> None:
        count, knots, day = len(self.channels), len(self.knots), self.steps_per_day
        self._state = _State(
            z=np.zeros((WEEK * day + 1, count)),
            profile=np.zeros((day, count)),
            visits=np.zeros(day),
            means=np.zeros((count, MEANS)),
            own=np.zeros((day + 1, count, OWN)),
            past=np.zeros((day + 1, count, 5)),
            gram=np.zeros((count, knots, WIDTH + 1, WIDTH)),
            moment=np.zeros((count, knots, WIDTH)),
            coefficients=np.zeros((count, knots, WIDTH)),
            errors=np.zeros((count, knots, 3)),
            reach=np.zeros((count, 2)),
        )

    def _recode(self, transform: Recode) -> None:
        state = self._state
        state.z[:] = transform(state.z)
        state.profile[:] = transform(state.profile)
        state.means[:] = transform(state.means.T).T
        state.past[:, :, :4] = transform(state.past[:, :, :4].transpose(0, 2, 1)).transpose(0, 2, 1)
        state.reach[:] = transform(state.reach.T).T
        self._forget_early()

    def _forget_early(self) -> None:
        # Within the first day the scale is found from a few rows and changes a lot: sums of products on another scale mislead.
        if self.rows <= self.steps_per_day:
            self._state.gram[:] = 0.0
            self._state.moment[:] = 0.0

    def _absorb(self, step: int, z: FloatArray) -> None:
        keep = 1.0 - 1.0 / (self.memory_days * self.steps_per_day)
        _absorb(self._state, self.knots, self.steps_per_day, step, self.rows - 1, z, self.held, keep, self.shrinkage)

    def _path(self, horizon: int) -> FloatArray:
        below, share = knot_weights(self.knots, horizon)
        path = np.empty((horizon, len(self.channels)))
        _path(self._state, self.steps_per_day, self._step, self.rows - 1, below, share, path)
        return path


@kernel
def _clock(step: int, day: int, x: Any) -> None:
    angle = 2.0 * np.pi * (step % day) / day
    sine, cosine = np.sin(angle), np.cos(angle)
    high_sine, high_cosine = sine, cosine
    for i in range(HARMONICS):
        x[OWN + SHARED + 2 * i], x[OWN + SHARED + 2 * i + 1] = high_sine, high_cosine
        high_sine, high_cosine = high_sine * cosine + high_cosine * sine, high_cosine * cosine - high_sine * sine


@kernel
def _weekend(step: int, day: int) -> float:
    return 1.0 if (step // day) % 7 >= 5 else 0.0


@kernel
def _same_time(s: Any, day: int, rows: int, ahead: int, days: int, c: int) -> float:
    """The z ``ahead`` of row ``rows``, ``days`` days or the least multiple of them earlier that is known; the profile's if none is."""
    back = days * day
    while back < ahead:
        back += days * day
    row = rows + ahead - back
    if row < 0 or row <= rows - len(s.z):
        return np.nan
    value: float = s.z[row % len(s.z), c]
    return value


@kernel
def _relative(s: Any, slot: int, c: int, profile: float, yesterday: float, week: float, weekend: float, x: Any) -> None:
    for i in range(OWN):
        x[i] = s.own[slot, c, i]
    x[OWN] = profile - s.past[slot, c, 1]
    x[OWN + 1] = 0.0 if np.isnan(yesterday) or np.isnan(s.past[slot, c, 2]) else yesterday - s.past[slot, c, 2]
    x[OWN + 2] = x[OWN + 1] if np.isnan(week) or np.isnan(s.past[slot, c, 3]) else week - s.past[slot, c, 3]
    x[OWN + 3] = weekend - s.past[slot, c, 4]


@kernel
def _absorb(s: Any, knots: Any, day: int, step: int, rows: int, z: Any, held: Any, keep: float, shrinkage: float) -> None:
    size, time = len(s.own), step % day
    x = np.empty(WIDTH)
    work = np.empty((WIDTH, WIDTH))
    _clock(step, day, x)
    weekend = _weekend(step, day)
    seen = s.visits[time] > 0.0
    s.visits[time] += 1.0
    for c in range(len(z)):
        yesterday = _same_time(s, day, rows - 1, 1, 1, c)
        week = _same_time(s, day, rows - 1, 1, 7, c)
        # Before a time of day was seen, its profile is the mean of the last day.
        profile = s.profile[time, c] if seen else (s.means[c, 2] if rows > 0 else z[c])
        for k in range(len(knots)):
            ahead = knots[k]
            if rows < ahead or held[c]:
                continue
            slot = (rows - ahead) % size
            _relative(s, slot, c, profile, yesterday, week, weekend, x)
            change = z[c] - s.past[slot, c, 0]
            error = change
            for i in range(WIDTH):
                error -= s.coefficients[c, k, i] * x[i]
            typical = s.errors[c, k, 0]
            weight = 1.0 if abs(error) <= HUBER * typical else HUBER * typical / abs(error)
            limit = max(HUBER * typical, 0.0)
            gain = max(1.0 - keep, 1.0 / (rows - ahead + 1))
            s.errors[c, k, 0] += gain * (min(abs(error), 4.0 * limit if limit > 0.0 else abs(error)) - typical)
            s.errors[c, k, 1] += gain * (weight * error * error - s.errors[c, k, 1])
            s.errors[c, k, 2] += gain * (weight * change * change - s.errors[c, k, 2])
            accumulate(s.gram[c, k], s.moment[c, k], x, change, weight, keep)
            if (rows + k) % len(knots) == 0:
                noise = min(max(s.errors[c, k, 1] / max(s.errors[c, k, 2], 1e-300), 0.02), 1.0)
                solve(s.gram[c, k], s.moment[c, k], (20.0 + shrinkage * ahead) * noise, work, s.coefficients[c, k])
        s.z[rows % len(s.z), c] = z[c]
        s.profile[time, c] = profile + (z[c] - profile) / min(s.visits[time], 7.0)
        for i in range(MEANS):
            window = day / 48.0 if i == 0 else (day / 8.0 if i == 1 else (day if i == 2 else 5.0 * day))
            s.means[c, i] += (z[c] - s.means[c, i]) / min(rows + 1, window)
        s.reach[c, 0] = z[c] if rows == 0 else min(z[c], z[c] + keep * (s.reach[c, 0] - z[c]))
        s.reach[c, 1] = z[c] if rows == 0 else max(z[c], z[c] + keep * (s.reach[c, 1] - z[c]))
        slot = rows % size
        s.past[slot, c, 0], s.past[slot, c, 1], s.past[slot, c, 4] = z[c], profile, weekend
        s.past[slot, c, 2], s.past[slot, c, 3] = yesterday, week
        s.own[slot, c, 0] = 1.0
        s.own[slot, c, 1] = z[c] - s.z[(rows - 1) % len(s.z), c] if rows > 0 else 0.0
        s.own[slot, c, 2] = z[c] - s.z[(rows - 2) % len(s.z), c] if rows > 1 else s.own[slot, c, 1]
        for i in range(MEANS):
            s.own[slot, c, 3 + i] = z[c] - s.means[c, i]
        s.own[slot, c, 7] = z[c] - profile
        s.own[slot, c, 8] = 0.0 if np.isnan(yesterday) else z[c] - yesterday
        s.own[slot, c, 9] = s.own[slot, c, 8] if np.isnan(week) else z[c] - week


@kernel
def _path(s: Any, day: int, step: int, rows: int, below: Any, share: Any, path: Any) -> None:
    slot = rows % len(s.own)
    x = np.empty(WIDTH)
    for h in range(len(path)):
        ahead, k, part = h + 1, below[h], share[h]
        time = (step + ahead) % day
        _clock(step + ahead, day, x)
        weekend = _weekend(step + ahead, day)
        for c in range(path.shape[1]):
            profile = s.profile[time, c] if s.visits[time] > 0.0 else s.means[c, 2]
            _relative(s, slot, c, profile, _same_time(s, day, rows, ahead, 1, c), _same_time(s, day, rows, ahead, 7, c), weekend, x)
            total = s.past[slot, c, 0]
            for i in range(WIDTH):
                low = s.coefficients[c, k, i]
                total += x[i] * (low + part * (s.coefficients[c, k + 1, i] - low))
            slack = BEYOND * (s.reach[c, 1] - s.reach[c, 0])
            path[h, c] = min(max(total, s.reach[c, 0] - slack), s.reach[c, 1] + slack)
