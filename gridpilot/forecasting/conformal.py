"""Adaptive conformal bands: quantiles of a forecast's own errors, per horizon, in units of the volatility expected there.

A forecast h steps ahead is known to be wrong h steps later. When it is, its error divided by the scale predicted when it was made enters a
histogram that forgets, and the quantiles of that histogram times the scale predicted now are the band around the next forecast.

- The scale is a regression of ``log |error|`` on recent volatility, the price level, the time of day the forecast is for and whatever the
  caller adds (Harvey 1976, "Estimating regression models with multiplicative heteroscedasticity", Econometrica 44), shrunk towards the
  square root of the horizon: bands breathe.
- What coverage is still missing is made up by quantile tracking per horizon and side (Angelopoulos, Candès and Tibshirani 2023, "Conformal
  PID control for time series prediction"; Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift"): after each
  error above a quantile that quantile moves up by ``gain level``, after each error below it moves down by ``gain (1 - level)``, so
  that the share of misses over T steps differs from the level by at most (range of the correction) / (gain T), whatever the data, but
  for a correction that has reached its bound: no side of a band is ever turned inside out. A miss h steps ahead is known h steps later;
  until then up to h forecasts have missed the same event. So the gain falls as 1/h: at a greater one a single day of spikes winds a
  quantile up by several times its width, and it takes weeks to come back, since the way in is 19 times slower than the way out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.forecasting.base import QUANTILE_LEVELS
from gridpilot.forecasting.least_squares import accumulate, solve
from gridpilot.market.compilation import kernel

__all__ = ["Bands"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

LEVELS: Final = np.array(QUANTILE_LEVELS)  # as kernels take them
ORIGIN: Final = 4  # regressors of the scale known at the origin: constant, volatility of the hour and of the day, level
CLOCK: Final = 4  # and of the time of day: two harmonics
BINS: Final = 121  # of standardised errors, equal steps of asinh(4 u)
STEP: Final = 0.1
PRIOR_SPREAD: Final = 3.0  # standard deviation of standardised errors before there are any: wide
MEMORY_DAYS: Final = 30.0  # after which an error counts 1/e
OUTER_GAIN: Final = 0.12  # of the tracking at one step; falls with the horizon, as errors overlap
INNER_GAIN: Final = 0.08  # smaller: inner quantiles see more misses
LONGEST_RUN: Final = 3.0  # gains of one step by which a run of misses as long as the horizon moves a quantile at most
OWED: Final = 1.5  # greatest correction inwards, in the quantile it corrects
FLOOR: Final = 1e-9
FIRST_VOLATILITY: Final = 0.3  # |change| of z taken for granted before the first; counts as one row
PRIOR_ROWS: Final = 10.0
PRIOR_OVERLAP: Final = 0.5  # more rows for each step of the horizon: errors overlap
FEW: Final = 2.0  # share by which bands are wider where all errors so far are as good as one independent error (Student's t)
POOL_OVERLAP: Final = 2.0  # rows for each step of the horizon lent by the next shorter one
REACH: Final = 1.0  # a spike beyond all seen by exp(1) is within the bands; without an end the sine would make them infinite
EARLY_REACH: Final = 2.0  # added at the first row, none of it left after a day: little has been seen yet
RIDGE_ROWS: Final = 50.0
RIDGE_OVERLAP: Final = 10.0


class _State(NamedTuple):
    """What is learned; R rows of origins, E extra regressors, P regressors of the scale."""

    volatility: FloatArray  # (C, 3) running mean |change| of an hour, a day, a fortnight
    last: FloatArray  # (C,) z
    reach: FloatArray  # (C, 2) least and greatest z of late; bands end REACH beyond them
    centres: FloatArray  # (R, K, C) z, forecasts issued, by row of origin
    offsets: FloatArray  # (R, K, C, Q) their quantiles, relative to the centre
    log_scale: FloatArray  # (R, K, C) the log scale predicted for their errors
    base: FloatArray  # (R, C) log |change| at the origin, what the log scale is measured from
    origin: FloatArray  # (R, C, 4 + E) regressors of the log scale known at the origin
    gram: FloatArray  # (C, K, P + 1, P)
    moment: FloatArray  # (C, K, P)
    coefficients: FloatArray  # (C, K, P)
    prior: FloatArray  # (K, BINS) rows a histogram starts from, and keeps: with few independent errors its tails stay wide
    counts: FloatArray  # (C, K, BINS) discounted rows
    recent: FloatArray  # (K, C) standardised errors that became known with the last row, 0 where none did
    shift: FloatArray  # (C, K, Q) correction of the quantiles, in standardised errors


class Bands:
    """Calibrated quantiles around a path of forecasts; K knot horizons, C channels, Q levels. Everything is on the z scale."""

    def __init__(self, channels: int, knots: IntArray, steps_per_day: int, extra: int = 0) -> None:
        size, count, known = int(knots[-1]) + 1, len(knots), ORIGIN + extra
        width = known + CLOCK
        self.knots = knots
        self._day = steps_per_day
        self._rows = 0
        edges = np.arange(BINS + 1) - BINS / 2
        below = np.array([0.5 * (1.0 + math.erf(math.sinh(STEP * edge) / 4.0 / PRIOR_SPREAD / math.sqrt(2.0))) for edge in edges])
        below[0], below[-1] = 0.0, 1.0
        self._state = _State(
            volatility=np.full((channels, 3), FIRST_VOLATILITY),
            last=np.zeros(channels),
            reach=np.zeros((channels, 2)),
            centres=np.zeros((size, count, channels)),
            offsets=np.zeros((size, count, channels, len(LEVELS))),
            log_scale=np.zeros((size, count, channels)),
            base=np.zeros((size, channels)),
            origin=np.zeros((size, channels, known)),
            gram=np.zeros((channels, count, width + 1, width)),
            moment=np.zeros((channels, count, width)),
            coefficients=np.zeros((channels, count, width)),
            prior=np.diff(below) * (PRIOR_ROWS + PRIOR_OVERLAP * knots)[:, None],
            counts=np.zeros((channels, count, BINS)),
            recent=np.zeros((count, channels)),
            shift=np.zeros((channels, count, len(LEVELS))),
        )

    def learn(self, step: int, z: FloatArray, held: BoolArray) -> None:
        """Take in the ``z`` ``(C,)`` of ``step`` and judge the forecasts that were made for it; those of ``held`` channels are not."""
        _learn(self._state, self.knots, LEVELS, self._day, step, self._rows, z, held)
        self._rows += 1

    def issue(self, step: int, z: FloatArray, centre: FloatArray, extra: FloatArray | None = None) -> FloatArray:
        """Bands ``(K, C, Q)`` around ``centre`` ``(K, C)``, relative to it, non-decreasing in Q; called once after each ``learn``.

        ``extra`` ``(C, E)`` are further regressors of the log scale, of order 1.
        """
        given = extra if extra is not None else np.zeros((len(z), 0))
        slot = (self._rows - 1) % len(self._state.centres)
        _issue(self._state, self.knots, LEVELS, self._day, step, self._rows - 1, z, centre, given)
        offsets: FloatArray = self._state.offsets[slot].copy()
        return offsets

    def volatility(self) -> FloatArray:
        """Running mean |change of z| of a day ``(C,)``."""
        daily: FloatArray = self._state.volatility[:, 1]
        return daily

    def errors(self) -> FloatArray:
        """Standardised errors ``(K, C)`` that became known with the last row: of the forecast made k steps before it for each knot k."""
        return self._state.recent

    def recode(self, transform: Callable[[FloatArray], FloatArray]) -> None:
        """Bring what was kept to a new scale of z: ``transform`` ``(..., C)`` takes the old to the new."""
        state = self._state
        # How far apart two values near the last one are on the new scale, in units of the old.
        factor = (transform(state.last + 0.01) - transform(state.last - 0.01)) / 0.02
        state.volatility[:] *= factor[:, None]
        state.offsets[:] *= factor[:, None]
        state.base[:] += np.log(factor)
        state.log_scale[:] += np.log(factor)
        state.centres[:] = transform(state.centres)
        state.last[:] = transform(state.last)
        state.reach[:] = transform(state.reach.T).T


@kernel
def _clock(step: int, day: int, x: Any, first: int) -> None:
    angle = 2.0 * np.pi * (step % day) / day
    x[first], x[first + 1] = np.sin(angle), np.cos(angle)
    x[first + 2], x[first + 3] = np.sin(2.0 * angle), np.cos(2.0 * angle)


@kernel
def _learn(s: Any, knots: Any, levels: Any, day: int, step: int, rows: int, z: Any, held: Any) -> None:
    size, known, bins = len(s.centres), s.origin.shape[2], s.counts.shape[2]
    keep = 1.0 - 1.0 / (MEMORY_DAYS * day)
    half, middle = bins // 2, len(levels) // 2
    x = np.empty(s.coefficients.shape[2])
    work = np.empty((len(x), len(x)))
    _clock(step, day, x, known)
    s.recent[:] = 0.0
    for c in range(len(z)):
        if held[c]:
            continue
        if rows > 0:
            change = abs(z[c] - s.last[c])
            for i in range(3):
                window = day / 24.0 if i == 0 else (day if i == 1 else 14.0 * day)
                s.volatility[c, i] += (change - s.volatility[c, i]) / min(rows + 1, window)
        s.last[c] = z[c]
        s.reach[c, 0] = z[c] if rows == 0 else min(z[c], z[c] + keep * (s.reach[c, 0] - z[c]))
        s.reach[c, 1] = z[c] if rows == 0 else max(z[c], z[c] + keep * (s.reach[c, 1] - z[c]))
        for k in range(len(knots)):
            ahead = knots[k]
            if rows < ahead:
                continue
            slot = (rows - ahead) % size
            error = z[c] - s.centres[slot, k, c]
            for q in range(len(levels)):
                if q != middle:
                    inside = 1.0 if error <= s.offsets[slot, k, c, q] else 0.0
                    outer = q == 0 or q == len(levels) - 1
                    falling = min(ahead**-0.4 if outer else ahead**-0.5, LONGEST_RUN / ahead)
                    gain = falling * (OUTER_GAIN if outer else INNER_GAIN)
                    s.shift[c, k, q] += gain * (levels[q] - inside)
            u = error / np.exp(s.log_scale[slot, k, c])
            s.recent[k, c] = u
            position = int(np.rint(min(max(np.arcsinh(4.0 * u) / STEP, -half), half))) + half
            for b in range(bins):
                s.counts[c, k, b] *= keep
            s.counts[c, k, position] += 1.0
            for i in range(known):
                x[i] = s.origin[slot, c, i]
            target = np.log(abs(error) + FLOOR) - s.base[slot, c] - 0.5 * np.log(ahead)
            accumulate(s.gram[c, k], s.moment[c, k], x, min(max(target, -4.0), 4.0), 1.0, keep)
            if (rows + k) % len(knots) == 0:
                solve(s.gram[c, k], s.moment[c, k], RIDGE_ROWS + RIDGE_OVERLAP * ahead, work, s.coefficients[c, k])


@kernel
def _issue(s: Any, knots: Any, levels: Any, day: int, step: int, rows: int, z: Any, centre: Any, extra: Any) -> None:
    known = s.origin.shape[2]
    x = np.empty(s.coefficients.shape[2])
    own = np.empty(s.counts.shape[2])
    slot = rows % len(s.centres)
    beyond = REACH + EARLY_REACH * max(0.0, 1.0 - rows / day)
    for c in range(len(z)):
        fast, fortnight = s.volatility[c, 0] + FLOOR, s.volatility[c, 2] + FLOOR
        slow = max(s.volatility[c, 1] + FLOOR, 0.1 * fortnight)
        s.base[slot, c] = np.log(slow)
        s.origin[slot, c, 0] = 1.0
        s.origin[slot, c, 1] = min(max(np.log(fast / slow), -3.0), 3.0)
        s.origin[slot, c, 2] = min(max(np.log(slow / fortnight), -3.0), 3.0)
        s.origin[slot, c, 3] = min(abs(z[c]), 5.0)
        for e in range(extra.shape[1]):
            s.origin[slot, c, ORIGIN + e] = extra[c, e]
        for i in range(known):
            x[i] = s.origin[slot, c, i]
        for k in range(len(knots)):
            ahead = knots[k]
            _clock(step + ahead, day, x, known)
            total = s.base[slot, c] + 0.5 * np.log(ahead)
            for i in range(len(x)):
                total += x[i] * s.coefficients[c, k, i]
            s.log_scale[slot, k, c] = total
            s.centres[slot, k, c] = centre[k, c]
            _pool(s.counts[c, k], s.prior[k], POOL_OVERLAP * ahead if k > 0 else 0.0, own)
            wider = 1.0 + min(1.0, FEW * ahead / (rows + 1.0))
            _quantiles(own, levels, s.shift[c, k], np.exp(total), wider, s.offsets[slot, k, c])
            low, high = min(s.reach[c, 0], centre[k, c]) - beyond, max(s.reach[c, 1], centre[k, c]) + beyond
            for q in range(len(levels)):
                s.offsets[slot, k, c, q] = min(max(centre[k, c] + s.offsets[slot, k, c, q], low), high) - centre[k, c]


@kernel
def _pool(counts: Any, prior: Any, borrowed: float, own: Any) -> None:
    """``own`` comes in as the histogram of the next shorter horizon and leaves as this one's, with ``borrowed`` rows of the other."""
    mass = 0.0
    for b in range(len(own)):
        mass += own[b]
    for b in range(len(own)):
        own[b] = counts[b] + prior[b] + (borrowed * own[b] / mass if borrowed > 0.0 else 0.0)


@kernel
def _quantiles(counts: Any, levels: Any, shift: Any, scale: float, wider: float, offsets: Any) -> None:
    """Quantiles of the histogram, interpolated within bins, shifted, on the right side of the median and in order."""
    bins, middle = len(counts), len(levels) // 2
    mass = 0.0
    for b in range(bins):
        mass += counts[b]
    below, b = 0.0, 0
    for q in range(len(levels)):
        while b < bins - 1 and below + counts[b] < levels[q] * mass:
            below += counts[b]
            b += 1
        part = (levels[q] * mass - below) / max(counts[b], 1e-300)
        u = np.sinh(STEP * (b - bins // 2 - 0.5 + min(max(part, 0.0), 1.0))) / 4.0
        # A correction narrows a side to a tenth at most; what it would take beyond that is owed, up to half as much again.
        if q < middle:
            shift[q] = min(shift[q], -OWED * min(u, 0.0))
            u = min(u + shift[q], 0.1 * min(u, 0.0))
        elif q > middle:
            shift[q] = max(shift[q], -OWED * max(u, 0.0))
            u = max(u + shift[q], 0.1 * max(u, 0.0))
        offsets[q] = u * scale
    # The outer quantiles are those that few errors tell little of.
    offsets[0] *= wider
    offsets[-1] *= wider
    offsets[middle] = 0.0
    for q in range(middle - 1, -1, -1):
        offsets[q] = min(offsets[q], offsets[q + 1])
    for q in range(middle + 1, len(levels)):
        offsets[q] = max(offsets[q], offsets[q - 1])
