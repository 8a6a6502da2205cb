"""The series a backtest runs over: an even grid of rows with holes where nothing is known, read from a file or simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError
from gridpilot.series import ReadOptions, read
from gridpilot.series.options import NOTHING_SAID
from gridpilot.series.reader import span

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEAST_ROWS", "BestPossible", "PriceSeries", "read_series"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEAST_ROWS: Final = 100
_DAY = 86400
_MONDAY = 4 * _DAY  # 1970-01-05 00:00, in seconds
_STEPS: Final = (5, 6, 10, 12, 15, 20, 30, 60)  # minutes; whole parts of an hour, no finer than the market's tick


class BestPossible(Protocol):
    """Forecasts by the process that made a simulated series, from its exact state: the bound for every forecaster."""

    @property
    def what(self) -> str:
        """How it is computed, in words."""
        ...

    @property
    def origins(self) -> int | None:
        """``forecast`` is worth its time at so many origins at most; None is all."""
        ...

    def forecast(self, row: int, horizons: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean ``(K, C)`` and quantiles ``(K, Q, C)`` of the steps ``row + horizons``, given all that is true at ``row``."""
        ...

    def median(self, row: int, horizons: IntArray) -> FloatArray | None:
        """The exact median ``(K, C)``, where it costs nothing and so is known at every origin."""
        ...


@dataclass(frozen=True)
class PriceSeries:
    """Prices on an even grid; C channels."""

    source: str  # file and columns, preset or process
    channels: tuple[str, ...]  # as forecasters are told
    labels: tuple[str, ...]  # as readers are told: the file's column names
    step_minutes: int
    first_step: int  # number of row 0, counted from a Monday 00:00
    prices: FloatArray  # (n, C), nan where nothing is known
    present: npt.NDArray[np.bool_]  # (n,) whether the file has the row at all
    start: np.datetime64 | None  # time of row 0 on the file's own clock; None for a simulation
    sha256: str  # of the file or of the prices
    notes: tuple[str, ...] = ()  # what was repaired
    best: BestPossible | None = None

    @property
    def steps_per_day(self) -> int:
        """Steps of a day."""
        return 24 * 60 // self.step_minutes

    @property
    def days(self) -> float:
        """Length."""
        return len(self.prices) / self.steps_per_day

    def time(self, row: int) -> str:
        """When ``row`` was, to the minute, or its day and time where there is no calendar."""
        if self.start is not None:
            return str((self.start + np.timedelta64(row * self.step_minutes, "m")).astype("datetime64[m]")).replace("T", " ")
        minutes = (self.first_step + row) % self.steps_per_day * self.step_minutes
        return f"day {row // self.steps_per_day + 1}, {minutes // 60:02d}:{minutes % 60:02d}"

    def last_rows(self, count: int) -> PriceSeries:
        """The last ``count`` rows of a recorded series."""
        skip = max(0, len(self.prices) - count)
        start = None if self.start is None else self.start + np.timedelta64(skip * self.step_minutes, "m")
        return PriceSeries(
            self.source,
            self.channels,
            self.labels,
            self.step_minutes,
            self.first_step + skip,
            self.prices[skip:],
            self.present[skip:],
            start,
            self.sha256,
            self.notes,
        )


def read_series(
    source: Path | pd.DataFrame,
    columns: Sequence[str] | None = None,
    *,
    options: ReadOptions = NOTHING_SAID,
    step_minutes: float | None = None,
) -> PriceSeries:
    """Read one or several price columns of a CSV or Parquet file, or of a data frame.

    ``columns``       may be left out where one column alone holds numbers.
    ``options``       what the file does not say by itself, see :mod:`gridpilot.series`.
    ``step_minutes``  for a file without times, whose rows then follow one another from a Monday midnight.

    The step is the median distance of rows, as a whole part of an hour, and no finer than five minutes, of which the last row counts.
    Missing rows stay missing and empty fields become nan: both reach the forecaster as they are. Repeated times are averaged, rows out of
    order are sorted, and ``notes`` say so. Where a clock changes, hours of the day go on as before its first change, so that every day has
    24. Raises :class:`~gridpilot.errors.PriceError` for a file or column that cannot be used.
    """
    reading = read(source, columns, options, timed=step_minutes is None or bool(options.time))
    path = reading.table.path
    where, names, values = reading.where, reading.names, reading.values
    if reading.times is None and step_minutes is None:
        raise PriceError(f"{where}: no column reads as times; give the distance of rows with step_minutes=5")
    notes = list(reading.notes)
    if reading.times is None:
        step, start, first = _given_step(step_minutes, where), None, 0
        prices, present = values, np.ones(len(values), dtype=np.bool_)
        notes.append("no times: the first row is taken for a Monday midnight")
    else:
        times = reading.times
        offset = times.clock - times.instants
        ahead = int(offset[np.argmin(times.instants)])
        if (offset != ahead).any():
            notes.append(f"the clock changes: hours of the day are those of {_offset(ahead)} throughout")
        step, seconds, prices, present = _on_grid(times.instants + ahead, values, where, notes)
        start, first = np.datetime64(int(seconds), "s"), (int(seconds) - _MONDAY) // (60 * step)
    if len(prices) < LEAST_ROWS:
        raise PriceError(f"{where}: has {len(prices)} rows {step} minutes apart, expected at least {LEAST_ROWS}")
    empty = int(np.isnan(prices[present]).any(axis=1).sum())
    if empty:
        notes.append(f"{empty} rows have empty fields, which are not scored")
    channels = ("energy",) if len(names) == 1 else names
    source = f"{path.name}: {', '.join(names)}"
    return PriceSeries(source, channels, names, step, first, prices, present, start, reading.table.sha256, tuple(notes))


def _offset(seconds: int) -> str:
    return f"UTC{'-' if seconds < 0 else '+'}{abs(seconds) // 3600:02d}:{abs(seconds) // 60 % 60:02d}"


def _given_step(step_minutes: float | None, where: str) -> int:
    if step_minutes not in _STEPS:
        raise PriceError(f"{where}: step_minutes is {step_minutes}, expected one of {', '.join(map(str, _STEPS))}")
    return int(step_minutes)


def _on_grid(
    seconds: IntArray, values: FloatArray, where: str, notes: list[str]
) -> tuple[int, int, FloatArray, npt.NDArray[np.bool_]]:
    """Step in minutes, time of the first row in seconds, prices ``(n, C)`` and whether the file has the row ``(n,)``."""
    backward = int((np.diff(seconds) < 0).sum())
    if backward:
        notes.append(f"{backward} rows before the row above: sorted by time")
    unique, seconds_of = np.unique(seconds, return_inverse=True)
    repeated = len(seconds) - len(unique)
    if repeated:
        notes.append(f"{repeated} repeated times (an autumn hour of a local clock? zone=NAME keeps both) are averaged")
        values = _averaged(values, seconds_of, len(unique))
    if len(unique) < LEAST_ROWS:
        raise PriceError(f"{where}: has {len(unique)} rows, expected at least {LEAST_ROWS}")
    median = float(np.median(np.diff(unique))) / 60.0
    if median > 66.0:
        raise PriceError(f"{where}: rows are {span(median)} apart in the median, expected an hour or less")
    step = min(_STEPS, key=lambda minutes: abs(minutes - median))
    return (step, *_placed(unique, values, step, median, notes))


def _placed(
    seconds: IntArray, values: FloatArray, step: int, median: float, notes: list[str]
) -> tuple[int, FloatArray, npt.NDArray[np.bool_]]:
    width = 60 * step
    regular = np.unique(np.diff(seconds) % width).tolist() == [0]
    # Rows off an even grid count for the grid's next point, so that nothing is known before its time; a little late is in time.
    first = int(seconds[0]) if regular else int(-(-seconds[0] // width) * width)
    index = -(-(seconds - first - width // 20) // width) if not regular else (seconds - first) // width
    index = np.maximum(index, 0)
    prices = np.full((int(index[-1]) + 1, values.shape[1]), np.nan)
    prices[index] = values  # in order of time: the last row of a step counts
    present = np.zeros(len(prices), dtype=np.bool_)
    present[index] = True
    if median < 0.9 * step:
        notes.append(f"rows are {span(median)} apart; the last of each {step} minutes is taken")
    elif not regular:
        notes.append(f"rows are unevenly spaced, {median:.1f} minutes in the median; they are put on a grid of {step} minutes")
    missing = int((~present).sum())
    if missing:
        notes.append(f"{missing} of {len(present)} rows are missing: gaps for the forecaster, not scored")
    return first, prices, present


def _averaged(values: FloatArray, group: Any, groups: int) -> FloatArray:
    """Mean of the finite values of each group, nan where there is none: ``(groups, C)``."""
    known = np.isfinite(values)
    result = np.empty((groups, values.shape[1]))
    for k in range(values.shape[1]):
        count = np.bincount(group, weights=known[:, k], minlength=groups)
        total = np.bincount(group, weights=np.where(known[:, k], values[:, k], 0.0), minlength=groups)
        result[:, k] = np.divide(total, count, out=np.full(groups, np.nan), where=count > 0)
    return result
