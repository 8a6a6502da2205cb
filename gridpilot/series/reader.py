"""A file read whole: its columns of prices and when each row was, with what had to be found out on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError
from gridpilot.series.options import FLAGS, NOTHING_SAID, ReadOptions
from gridpilot.series.table import Table, listed, read_table
from gridpilot.series.times import Times, find_times
from gridpilot.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Reading", "read", "span"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOST_REPEATED: Final = 0.01  # share of times that may occur twice: the autumn hour of a local clock is 0.01 % of a year
MOST_STEPS: Final = 20_000_000  # of a grid: 190 years of five minutes
_SPARSE: Final = 8.0  # steps of a grid for each row of the file
_STRAY: Final = 100  # steps away from both neighbours


@dataclass(frozen=True)
class Reading:
    """Columns of a file in its own order, or turned round where the newest row stood first."""

    table: Table  # the rows that count
    names: tuple[str, ...]
    values: FloatArray  # (n, C), nan where a field is empty
    times: Times | None  # None for a file without
    notes: tuple[str, ...]

    @property
    def where(self) -> str:
        """The file, as errors name it."""
        return self.table.where

    def time(self, row: int) -> str:
        """When a row begins on the clock of the file."""
        assert self.times is not None
        return str(np.datetime64(int(self.times.clock[row]), "s"))


def read(
    path: Path | pd.DataFrame,
    columns: Sequence[str] | None = None,
    options: ReadOptions = NOTHING_SAID,
    *,
    timed: bool = True,
    key: str = "column",
) -> Reading:
    """Read price columns and times of a file, or of a data frame, whose index is a column as well.

    ``columns``  by name; may be left out where one column alone holds numbers that are not times.
    ``timed``    False for a file whose rows are known to be evenly spaced: times are then not looked for.
    ``key``      option that names the columns, for errors.

    Raises :class:`~gridpilot.errors.PriceError` for whatever cannot be read in one way only: one line with file, row, column, value,
    what was expected, and the option that would read it. Rows are neither sorted nor filled; :func:`check_span` looks at their times.
    """
    table = _picked(read_table(path), options)
    named = list(columns or ())
    if columns is not None and (not named or len(set(named)) < len(named)):
        raise PriceError(f"{table.where}: column is {named}, expected one name or several different ones")
    if columns is None:
        numeric = [name for name in table.columns if name not in options.time and table.is_numeric(name)]
        named = numeric if len(numeric) == 1 and len(table.columns) > 1 else []
    empty: npt.NDArray[np.bool_] | None = None
    if named:
        values = np.stack([table.numbers(name, options) for name in named], axis=1)
        empty = np.asarray(np.isnan(values).all(axis=1))
    times = find_times(table, options, named, empty) if timed else None
    if not named:
        named = [_only_numbers(table, times, options, key)]
        values = np.stack([table.numbers(name, options) for name in named], axis=1)
    for k, name in enumerate(named):
        if not np.isfinite(values[:, k]).any():
            raise PriceError(f"{table.where}: column {name!r} holds no number")
    reading = Reading(table, tuple(named), values, times, (*table.notes, *(times.notes if times else ())))
    if times is None:
        return reading
    reading = _turned(_existing(reading))
    _check_repeats(reading, options)
    check_span(reading)
    return reading


def _picked(table: Table, options: ReadOptions) -> Table:
    for choice in options.pick:
        column, mark, value = choice.partition("=")
        if not mark or column not in table.columns:
            value = choice
            holding = [name for name, cells in table.columns.items() if value in map(_text, cells)]
            if not holding:
                texts = {
                    _text(cell)
                    for name, cells in table.columns.items()
                    if isinstance(cells, list) and not table.is_numeric(name)
                    for cell in cells
                }
                hint = did_you_mean(value, texts) or "expected a value of a column, or COLUMN=VALUE"
                raise PriceError(f"{table.where}: pick is {choice!r}, which no column holds; {hint}")
            column = holding[0]
        mask = np.array([_text(cell) == value for cell in table.columns[column]])
        if not mask.any():
            held = list(dict.fromkeys(map(_text, table.columns[column])))
            raise PriceError(f"{table.where}: pick is {choice!r}, column {column!r} holds {listed(held)}")
        table = table.kept(mask)
    return table


def _text(cell: object) -> str:
    return str(cell).strip()


def _only_numbers(table: Table, times: Times | None, options: ReadOptions, key: str) -> str:
    taken = times.columns if times else ()
    numeric = [name for name in table.columns if name not in taken and table.is_numeric(name)]
    if len(numeric) != 1:
        found = (
            f"columns {listed(numeric)} hold numbers"
            if numeric
            else f"no column holds numbers, of {listed(map(repr, table.columns))}"
        )
        several = " or column=[NAME,NAME]" if options.prefix == "" else ""
        option = f"{FLAGS}{key} NAME" if options.prefix == FLAGS else f"{options.prefix}{key}=NAME{several}"
        raise PriceError(f"{table.where}: {found}; say which holds the prices with {option}")
    return numeric[0]


def _existing(reading: Reading) -> Reading:
    """Without rows at times that the clock skips, which are empty."""
    times = reading.times
    assert times is not None
    if times.kept.all():
        return reading
    return _at(reading, np.flatnonzero(times.kept))


def _turned(reading: Reading) -> Reading:
    times = reading.times
    assert times is not None
    steps = np.diff(times.instants)
    if not len(steps) or (steps > 0).any() or not (steps < 0).any():
        return reading
    turned = _at(reading, np.arange(len(times.instants))[::-1])
    return Reading(
        turned.table,
        turned.names,
        turned.values,
        turned.times,
        (*reading.notes, "the newest row stands first: rows are turned round"),
    )


def _at(reading: Reading, index: IntArray) -> Reading:
    times = reading.times
    assert times is not None
    cut = Times(
        times.instants[index],
        times.clock[index],
        times.columns,
        times.format,
        times.label,
        times.zone,
        times.kept[index],
        (),
        times.notes,
    )
    return Reading(reading.table.at(index.tolist()), reading.names, reading.values[index], cut, reading.notes)


def _check_repeats(reading: Reading, options: ReadOptions) -> None:
    """Refuse a file with several rows for most times, and say which column tells them apart."""
    times = reading.times
    assert times is not None
    unique, index, count = np.unique(times.instants, return_inverse=True, return_counts=True)
    repeated = len(times.instants) - len(unique)
    years = float(unique[-1] - unique[0]) / (365.25 * 86400)
    if repeated <= max(8.0 * (1.0 + years), MOST_REPEATED * len(unique)):
        return
    row = int(np.argmax(count[index] > 1))
    group = np.flatnonzero(index == index[row])
    told = _telling(reading, index)
    if told:
        choices = [[_text(cell) for cell in reading.table.columns[name]] for name in told]
        first = [f"{name}={values[row]}" if len(told) > 1 or _ambiguous(reading, values[row], name) else values[row]
                 for name, values in zip(told, choices, strict=True)]  # fmt: skip
        held = listed(dict.fromkeys(choices[0]))
        raise PriceError(
            f"{reading.where}: has {len(group)} rows for a time ({reading.time(row)}), "
            f"told apart by {' and '.join(map(repr, told))} "
            f"({held}); pick one with {options.say('pick', *first)}"
        )
    if not any(times.clock % 86400):
        raise PriceError(
            f"{reading.where}: time column {times.columns[0]!r} holds only dates, {len(group)} rows for "
            f"{reading.time(row)[:10]}, and no column of hours was found; "
            f"name both with {options.say('time', times.columns[0], 'HOUR COLUMN')}"
        )
    raise PriceError(
        f"{reading.where}: {repeated} times occur more than once, the first in {reading.table.place(row)} ({reading.time(row)}), "
        f"expected one row a time"
    )


def _ambiguous(reading: Reading, value: str, name: str) -> bool:
    return not value or next(n for n, cells in reading.table.columns.items() if value in map(_text, cells)) != name


def _telling(reading: Reading, index: IntArray) -> tuple[str, ...]:
    """The fewest columns, other than prices and times, under which every time occurs once."""
    times = reading.times
    assert times is not None
    codes: dict[str, IntArray] = {}
    for name, cells in reading.table.columns.items():
        if name in reading.names or name in times.columns:
            continue
        texts = [_text(cell) for cell in cells]
        distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        if 1 < len(distinct) <= max(1000, len(texts) // 20):
            codes[name] = np.array([distinct[text] for text in texts], dtype=np.int64)
    order = sorted(codes, key=reading.table.is_numeric)  # names of places before numbers
    for size in (1, 2, 3):
        for names in combinations(order, size):
            key = index.astype(np.int64)
            for name in names:
                key = key * (int(codes[name].max()) + 1) + codes[name]
            if len(np.unique(key)) >= 0.99 * len(key):
                return names
    return ()


def check_span(reading: Reading) -> None:
    """Refuse a time far from its neighbours, and a span that its rows hardly fill."""
    times = reading.times
    assert times is not None
    t = times.instants
    if len(t) < 4:
        return
    unique = np.unique(t)
    gaps = np.diff(unique)
    step = max(1.0, float(np.median(gaps)))
    ahead, beside = np.abs(np.diff(t)), np.abs(t[2:] - t[:-2])
    orderly = int((np.diff(t) < 0).sum()) <= max(2, len(t) // 50)
    stray = np.flatnonzero(orderly & (ahead[:-1] > _STRAY * step) & (ahead[1:] > _STRAY * step) & (beside <= 3.0 * step)) + 1
    if not len(stray) and orderly:
        ends = {0: ahead[0], len(t) - 1: ahead[-1]}
        others = {0: t[1:], len(t) - 1: t[:-1]}
        stray = np.array([row for row, gap in ends.items() if gap > max(_STRAY * step, float(np.ptp(others[row])))], dtype=np.int64)
    if len(stray):
        row = int(stray[0])
        nearest = row - 1 if row else 1
        raise PriceError(
            f"{reading.where}: time {reading.time(row)} in {reading.table.place(row)} "
            f"is {span(abs(int(t[row] - t[nearest])) / 60)} from the row beside it, "
            f"rows are {span(step / 60)} apart; correct it or leave the row out"
        )
    steps = float(unique[-1] - unique[0]) / step
    if steps > MOST_STEPS or (steps > _SPARSE * len(t) + 1000):
        widest = int(np.argmax(gaps))
        raise PriceError(
            f"{reading.where}: {len(t)} rows {span(step / 60)} apart span {steps:.3g} steps, "
            f"{_day(unique[0])} to {_day(unique[-1])}, "
            f"the widest gap from {_day(unique[widest])} to {_day(unique[widest + 1])}; "
            f"expected a row for one step in {_SPARSE:.0f} at least"
        )


def _day(second: int) -> str:
    return str(np.datetime64(int(second), "s"))[:10]


def span(minutes: float) -> str:
    """A time between rows in words."""
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 2 * 24 * 60 * 7 else f"{minutes / 1440:.0f} days"
