"""Preparing a recorded series for a fit: its step, its clock, repeated hours and gaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gridpilot.errors import CalibrationError
from gridpilot.series import Reading, ReadOptions, read
from gridpilot.series.options import NOTHING_SAID
from gridpilot.series.times import Times

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RecordedSeries", "read_series"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TICK_SECONDS = 300
LEAST_ROWS = 200
_GREATEST_HELD = 0.25  # share of rows that may stand for a gap


@dataclass(frozen=True)
class RecordedSeries:
    """An evenly spaced series of prices."""

    source: str  # file and column
    values: FloatArray  # (n,) in the file's unit
    step: int  # ticks of five minutes from one value to the next
    hour: npt.NDArray[np.int64]  # (n,) hour of the day
    weekend: npt.NDArray[np.bool_]  # (n,)
    period: str  # first and last time, or the number of rows
    clocked: bool  # whether the file had times; hour and weekend mean nothing without
    notes: tuple[str, ...]  # what was repaired

    def part(self, begin: int, end: int) -> RecordedSeries:
        """Rows ``begin`` to ``end``."""
        cut = slice(begin, end)
        return RecordedSeries(
            self.source, self.values[cut], self.step, self.hour[cut], self.weekend[cut], self.period, self.clocked, self.notes
        )


def read_series(
    data: Path | pd.DataFrame, column: str, *, options: ReadOptions = NOTHING_SAID, step_minutes: float | None = None
) -> RecordedSeries:
    """Read ``column`` of a CSV or Parquet file, or of a data frame.

    ``options`` say what the file does not, see :mod:`gridpilot.series`; a file without times needs ``step_minutes``. Rows may be any
    multiple of five minutes apart, about evenly; uneven rows are put on an even grid by holding the last value. Gaps are held too, an hour
    that a local clock repeats in autumn is averaged where its zone is not known; ``notes`` say what was done.

    Raises :class:`~gridpilot.errors.PriceError` for a file or column that cannot be read, and
    :class:`~gridpilot.errors.CalibrationError` for one that cannot be fitted: NaN, fewer than 200 rows, constant, mostly gaps.
    """
    reading = read(data, [column], options, timed=step_minutes is None or bool(options.time))
    source = f"{reading.table.path.name}: column {column!r}"
    values = reading.values[:, 0]
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise CalibrationError(
            f"{source} is empty (NaN) in {reading.table.place(int(missing[0]))} and {len(missing) - 1} others; "
            "leave such rows out, gaps in time are filled"
        )
    if reading.times is None:
        if step_minutes is None:
            raise CalibrationError(f"{source}: no column reads as times; give the distance of rows with --step MINUTES")
        series = _unclocked(values, step_minutes, source)
    else:
        series = _clocked(reading, reading.times, source)
    if len(series.values) < LEAST_ROWS:
        raise CalibrationError(f"{source} has {len(series.values)} rows, expected at least {LEAST_ROWS}")
    if np.ptp(series.values) <= 1e-9 * np.abs(series.values).max():
        raise CalibrationError(f"{source} is constant at {series.values[0]:g}: there is nothing to fit")
    return series


def _unclocked(values: FloatArray, step_minutes: float, source: str) -> RecordedSeries:
    ticks = step_minutes * 60.0 / TICK_SECONDS
    if not ticks >= 1.0 or ticks != round(ticks):
        raise CalibrationError(f"{source}: --step is {step_minutes:g} minutes, expected 5 or a multiple of it")
    zeros = np.zeros(len(values), dtype=np.int64)
    notes = ("no times: no daily profile is fitted",)
    return RecordedSeries(source, values, int(ticks), zeros, zeros > 0, f"{len(values)} rows", False, notes)


def _clocked(reading: Reading, times: Times, source: str) -> RecordedSeries:
    seconds, values = times.instants, reading.values[:, 0]
    notes = list(reading.notes)
    if len(seconds) < 3:
        raise CalibrationError(f"{source} has {len(seconds)} rows, expected at least {LEAST_ROWS}")
    backward = np.flatnonzero(np.diff(seconds) < 0)
    years = (seconds.max() - seconds.min()) / (365.25 * 86400)
    if len(backward) > 2 + 2 * years:
        row = int(backward[0]) + 1
        raise CalibrationError(
            f"{source}: time {reading.time(row)} in {reading.table.place(row)} is before the row above, expected rows in order of time"
        )
    unique, first, index, count = np.unique(seconds, return_index=True, return_inverse=True, return_counts=True)
    repeated = int((count > 1).sum())
    if repeated:
        notes.append(f"{repeated} repeated times (an autumn hour of a local clock? --zone keeps both) are averaged")
    averaged = np.bincount(index, weights=values) / count
    return _on_grid(unique, averaged, times.clock[first] - unique, source, notes)


def _on_grid(seconds: IntArray, values: FloatArray, offset: IntArray, source: str, notes: list[str]) -> RecordedSeries:
    """``offset`` ``(n,)`` is what the clock of a row is ahead of ``seconds``."""
    steps = np.diff(seconds)
    median = float(np.median(steps))
    ticks = max(1, round(median / TICK_SECONDS))
    step = ticks * TICK_SECONDS
    if median < 0.9 * TICK_SECONDS:
        notes.append(f"rows are {median:g} s apart; the last of each five minutes is taken")
    elif (np.abs(steps - step) > 0.02 * step).mean() > 0.05:
        notes.append(
            f"rows are unevenly spaced, {median / 60:.1f} minutes in the median; they are put on a grid of {step // 60} minutes"
        )
    grid = np.arange(seconds[0], seconds[-1] + 1, step)
    latest = np.searchsorted(seconds, grid + step // 20, side="right") - 1  # a row may come a little late
    held = grid - seconds[latest] >= 1.5 * step
    if held.mean() > _GREATEST_HELD:
        raise CalibrationError(
            f"{source}: {held.mean():.0%} of the grid of {step // 60} minutes is gaps, expected at most {_GREATEST_HELD:.0%}"
        )
    if held.any():
        notes.append(f"{int(held.sum())} missing rows of {len(grid)} hold the last value")
    shown = grid + offset[latest]
    clock, day = shown.astype("datetime64[s]"), shown // 86400
    period = f"{clock[0]} to {clock[-1]}"
    return RecordedSeries(
        source, values[latest], ticks, (shown % 86400) // 3600, (day + 3) % 7 >= 5, period, ticks <= 12, tuple(notes)
    )
