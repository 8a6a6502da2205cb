"""The feature pipeline: one row of prices in, one row of named features out; see :mod:`gridpilot.forecasting.features_table`.

RSI, MACD and Bollinger bands come from TA-Lib, wavelets from PyWavelets, the rest from compiled kernels. TA-Lib's smoothed indicators
depend on where a series begins; here each begins at the start of a fixed window, so that its value is a function of that window.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.base import CHANNELS
from gridpilot.forecasting.features_kernels import Windows, calendar_features, channel_features, pair_features, push
from gridpilot.forecasting.features_table import (
    AHEAD_HOURS,
    CALENDAR,
    CHANNEL,
    LAG_HOURS,
    PAIR_HOURS,
    RANGE_HOURS,
    STEPS,
    WAVELET,
    WAVELET_LEVELS,
    WAVELET_STEPS,
    Feature,
    table,
)

__all__ = ["FeaturePipeline", "features", "windows"]

FloatArray = npt.NDArray[np.float64]

_INDICATORS = next(i for i, feature in enumerate(CHANNEL) if feature.name == "{c}_rsi_14")


def windows(steps_per_day: int) -> Windows:
    """The table's windows in steps, each at least 1."""

    def steps(hours: tuple[float, ...]) -> list[int]:
        return [max(1, round(h * steps_per_day / 24)) for h in hours]

    def array(values: list[int]) -> npt.NDArray[np.int64]:
        return np.array(values, dtype=np.int64)

    return Windows(
        steps_per_day,
        array([*STEPS, *steps(LAG_HOURS)]),
        array(steps(RANGE_HOURS)),
        array(steps(AHEAD_HOURS)),
        array(steps(PAIR_HOURS)),
    )


class FeaturePipeline:
    """Turns rows of prices, one a step, into rows of features.

    ``channels`` C names; ``steps_per_day`` a multiple of 24. ``names`` are those of the F features, ``table`` their descriptions.
    Memory is that of two weeks of rows. A price that is not finite is taken as the last one (the first as 0), one beyond 1e15 is cut
    to it. Raises :class:`~gridpilot.errors.MissingExtraError` without TA-Lib or PyWavelets.
    """

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> None:
        if not channels or steps_per_day < 24 or steps_per_day % 24:
            raise ForecastError(
                f"features: {len(channels)} channels and {steps_per_day} steps a day, expected one channel or more and a multiple of 24"
            )
        try:
            import pywt  # noqa: F401 - a missing one must show at construction
            import talib  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the feature pipeline", "forecast") from error
        self.channels = tuple(channels)
        self.steps_per_day = steps_per_day
        self.table: tuple[Feature, ...] = table(self.channels)
        self.names: tuple[str, ...] = tuple(feature.name for feature in self.table)
        count, length = len(channels), 7 * steps_per_day + 1
        self._windows = windows(steps_per_day)
        self._first = np.array([len(CALENDAR) + c * len(CHANNEL) for c in range(count)], dtype=np.int64)
        self._history = np.empty((count, 2 * length))
        self._end = -1
        self._u = np.empty((count, length))
        self._d = np.empty((count, length))
        self._sums = np.empty((4, length))

    def reset(self) -> None:
        """Forget all rows."""
        self._end = -1

    def update(self, step: int, prices: npt.ArrayLike) -> FloatArray:
        """Features ``(F,)`` after the row ``prices`` ``(C,)`` of ``step``, which is taken to follow the last one. A new array."""
        row = np.ascontiguousarray(prices, dtype=np.float64)
        if row.shape != (len(self.channels),):
            raise ForecastError(f"features: a row of shape {row.shape}, expected ({len(self.channels)},)")
        out = np.empty(len(self.names))
        self._end = push(self._history, self._end, row)
        calendar_features(step, self.steps_per_day, out)
        channel_features(self._history, self._end, self._windows, self._u, self._d, self._sums, out, self._first)
        self._indicators(out)
        if len(self.channels) > 1:
            pair_features(self._u, self._d, self._windows, out, len(CALENDAR) + len(self.channels) * len(CHANNEL))
        return out

    def features(self, steps: npt.ArrayLike, prices: npt.ArrayLike) -> FloatArray:
        """Features ``(T, F)`` of the rows ``prices`` ``(T, C)`` of ``steps`` ``(T,)``, begun anew; leaves the stream as it was."""
        return features(steps, prices, self.channels, self.steps_per_day)

    def _indicators(self, out: FloatArray) -> None:
        """TA-Lib and the wavelets, on prices relative to the newest one (which changes none of them) for the sake of precision."""
        import pywt
        import talib

        # Oldest first. Copied contiguous: TA-Lib would copy each anyway.
        window = (
            np.ascontiguousarray((self._u[:, :WAVELET_STEPS] - self._u[:, :1])[:, ::-1])
            if self._u.shape[1] >= WAVELET_STEPS
            else None
        )
        assert window is not None  # 24 steps a day make 169
        details = pywt.wavedec(window, WAVELET, mode="symmetric", level=WAVELET_LEVELS, axis=-1)[:0:-1]  # finest first
        squares = [np.einsum("ck,ck->c", part, part).tolist() for part in details]
        size = sum(part.shape[1] for part in details)
        for c, first in enumerate(self._first.tolist()):
            x = window[c]
            recent = x[-64:]
            values = [_strength(talib.RSI(recent, 14)[-1], recent), _strength(talib.RSI(x, 42)[-1], x)]
            values += [part[-1] for part in talib.MACD(x, 12, 26, 9)]
            for n in (20, 60):
                upper, _, lower = (part[-1] for part in talib.BBANDS(recent, n, 2.0, 2.0))
                values += [-lower / (upper - lower) if upper - lower > 1e-9 else 0.5, upper - lower]
            values += _wavelet_energies([square[c] for square in squares], size)
            out[first + _INDICATORS : first + _INDICATORS + len(values)] = values


def _strength(rsi: float, x: FloatArray) -> float:
    """TA-Lib calls an index of nothing moving 0; it is neither strong nor weak."""
    return 50.0 if rsi == 0.0 and not x.any() else rsi


def _wavelet_energies(squares: list[float], size: int) -> list[float]:
    total = sum(squares)
    if total <= 1e-24:
        return [0.0] * (WAVELET_LEVELS + 2)
    shares = [square / total for square in squares]
    return [*shares, -sum(share * math.log(share) for share in shares if share > 0.0), math.sqrt(total / size)]


def features(
    steps: npt.ArrayLike, prices: npt.ArrayLike, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288
) -> FloatArray:
    """Features ``(T, F)`` of the rows ``prices`` ``(T, C)`` of ``steps`` ``(T,)``, bitwise those of a stream that saw the same rows."""
    numbers: Any = np.asarray(steps, dtype=np.int64)
    rows = np.asarray(prices, dtype=np.float64)
    if rows.shape != (len(numbers), len(channels)):
        raise ForecastError(f"features: prices have shape {rows.shape}, expected ({len(numbers)}, {len(channels)})")
    pipeline = FeaturePipeline(channels, steps_per_day)
    out = np.empty((len(rows), len(pipeline.names)))
    for t, (step, row) in enumerate(zip(numbers.tolist(), rows, strict=True)):
        out[t] = pipeline.update(step, row)
    return out
