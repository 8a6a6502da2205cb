"""When the rows of a table are: its column of times, or of dates and hours, as instants and as the clock shows them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError
from gridpilot.series.formats import UNKNOWN, Instants, Misfit, epoch_instants, parse_clock, parse_times
from gridpilot.series.options import ReadOptions
from gridpilot.series.table import Table
from gridpilot.series.zones import Clock, zone_of_heading

__all__ = ["Times", "find_times"]

IntArray = npt.NDArray[np.int64]

_HOUR: Final = re.compile(r"hour|(^|[^a-z])(he|hr|time|hours?|mtu|clock|period)([^a-z]|$)", re.IGNORECASE)
_PART: Final = re.compile(r"interval|quarter|minute|(^|[^a-z])qtr([^a-z]|$)", re.IGNORECASE)
_ENDS: Final = re.compile(
    r"hour[ _]?end|end(ing)?[ _]?(time|of)|(time|interval|period)[ _]?end|(^|[^a-z])(end|ending|he)([^a-z]|$)|settlementdate",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Times:
    """When rows begin."""

    instants: IntArray  # (n,) seconds since 1970; of the clock itself where its zone is not known
    clock: IntArray  # (n,) seconds since 1970 that the local clock shows
    columns: tuple[str, ...]
    format: str
    label: str  # what was written: start or end
    zone: str  # "", "offsets" or a name
    kept: npt.NDArray[np.bool_]  # (n,) rows that exist: a clock set forward shows some times never
    written: Any  # cells, to be quoted in errors
    notes: tuple[str, ...] = ()


def find_times(
    table: Table, options: ReadOptions, others: Collection[str], empty: npt.NDArray[np.bool_] | None = None
) -> Times | None:
    """The times of a table, None where no column looks like any. ``others`` are no columns of times; ``empty`` ``(n,)`` rows have no price.

    Raises :class:`~gridpilot.errors.PriceError` where a column that was named, or the one that comes nearest, does not read.
    """
    if options.time:
        column = options.time[0]
        found = _parse(table, column, options)
        if isinstance(found, Misfit):
            raise _misfit(table, column, found, options)
        return _finished(table, column, found, options, others, empty)
    nearest: tuple[str, Misfit] | None = None
    dates: tuple[str, Instants] | None = None
    for column in table.columns:
        if column in others:
            continue
        found = _parse(table, column, options)
        if isinstance(found, Instants):
            if not found.dates_only:
                return _finished(table, column, found, options, others, empty)
            dates = dates or (column, found)
        elif found.share > (nearest[1].share if nearest else 0.0):
            nearest = column, found
    if nearest is not None and (dates is None or nearest[1].share > 0.5):
        raise _misfit(table, *nearest, options)
    if dates is None:
        words = [
            name
            for name, cells in table.columns.items()
            if name not in others and isinstance(cells, list) and not table.is_numeric(name)
        ]
        named = next((name for name in words if any(map(str.isdigit, table.columns[name][0]))), None)
        if named is not None:
            found = _parse(table, named, options)
            assert isinstance(found, Misfit)
            raise _misfit(table, named, found, options)
    return None if dates is None else _finished(table, *dates, options, others, empty)


def _parse(table: Table, column: str, options: ReadOptions) -> Instants | Misfit:
    cells = table.cells(column, "time column")
    if isinstance(cells, np.ndarray):
        if np.issubdtype(cells.dtype, np.datetime64):
            empty = np.flatnonzero(np.isnat(cells))
            if len(empty):
                return Misfit(int(empty[0]), "a time", 0.99)
            seconds = cells.astype("datetime64[s]").astype(np.int64)
            return Instants(seconds, np.full(len(seconds), UNKNOWN, dtype=np.int64), "typed times")
        if cells.dtype == object and len(cells) and hasattr(cells[0], "isoformat"):
            return parse_times([cell.isoformat() for cell in cells], options.dates)
        epoch = epoch_instants(cells.astype(np.float64)) if np.issubdtype(cells.dtype, np.number) else None
        return epoch or Misfit(0, "a time as 2024-02-01 13:00", 0.0)
    return parse_times(cells, options.dates)


def _misfit(table: Table, column: str, misfit: Misfit, options: ReadOptions) -> PriceError:
    value = table.columns[column][misfit.row]
    text = str(value).strip()
    what = "is empty" if not text else f"has {text!r:.60}"
    partial = re.fullmatch(r"\d{4}[-/]\d{1,2}|\d{1,2}[-/]\d{4}|[A-Za-z]{3,9} \d{4}", text)
    if partial:
        return PriceError(
            f"{table.where}: time column {column!r} {what} in {table.place(misfit.row)}, which lacks a day, expected {misfit.expected}"
        )
    hint = (
        f"; {options.say('dates', 'day_first')} or month_first says what the dates begin with" if "first" in misfit.expected else ""
    )
    return PriceError(
        f"{table.where}: time column {column!r} {what} in {table.place(misfit.row)}, expected {misfit.expected}{hint}"
    )


def _finished(
    table: Table, column: str, found: Instants, options: ReadOptions, others: Collection[str], empty: npt.NDArray[np.bool_] | None
) -> Times:
    if found.both_ways:
        raise PriceError(
            f"{table.where}: time column {column!r} has {found.both_ways!r}, in which day and month can stand in either order, "
            f"in every row; say which with {options.say('dates', 'day_first')} or {options.say('dates', 'month_first')}"
        )
    columns: tuple[str, ...] = (column,)
    notes = list(found.notes)
    label: str = options.label or ("end" if _ENDS.search(column) and not found.ranges else "start")
    elapsed = False
    if found.dates_only:
        found, columns, label, elapsed = _with_hours(table, column, found, options, others)
    seconds = found.seconds
    zone = options.zone or zone_of_heading(" ".join(columns)) or ""
    kept = np.ones(len(seconds), dtype=np.bool_)
    known = found.offsets != UNKNOWN
    if known.all():
        instants = seconds - found.offsets
        clock = seconds
        if options.zone:
            clock = _clock(options.zone, instants).of(instants)
        zone = options.zone or ("UTC" if not found.offsets.any() else "offsets")
    elif zone:
        instants, clock, kept, more = _localised(table, found, zone, elapsed, empty)
        notes += more
    elif known.any():
        row = int(np.argmin(known))
        raise PriceError(
            f"{table.where}: time column {column!r} has {table.columns[column][row]!r} in {table.place(row)} "
            f"without a UTC offset, others have one; say whose clock it is with {options.say('zone', 'Europe/Berlin')}"
        )
    else:
        instants = clock = seconds
    if elapsed and not zone and not known.all():
        raise PriceError(
            f"{table.where}: column {columns[1]!r} counts to 25, hours of a day on which the clock is set back; say whose clock it is with "
            f"{options.say('zone', 'America/Chicago')}"
        )
    times = Times(instants, clock, columns, found.format, label, zone, kept, table.columns[column], tuple(notes))
    return _begun(times) if label == "end" else times


def _begun(times: Times) -> Times:
    """Times of the ends of intervals, moved to their starts."""
    unique = np.unique(times.instants[times.kept])
    if len(unique) < 2:
        return times
    step = int(np.median(np.diff(unique)))
    instants = times.instants - step
    if times.zone in ("", "offsets"):
        clock = times.clock - step
    else:
        clock = Clock(times.zone, int(instants.min()), int(instants.max())).of(instants)
    note = f"times are ends of intervals ({', '.join(times.columns)}): rows begin {step / 60:g} minutes earlier"
    return replace(times, instants=instants, clock=clock, notes=(*times.notes, note))


def _clock(zone: str, seconds: IntArray) -> Clock:
    first, last = int(seconds.min()), int(seconds.max())
    return Clock(zone, first, last)


def _localised(
    table: Table, found: Instants, zone: str, elapsed: bool, empty: npt.NDArray[np.bool_] | None
) -> tuple[IntArray, IntArray, npt.NDArray[np.bool_], list[str]]:
    """Instants of local times; of those that the clock shows twice the first in the file is the earlier."""
    clock = _clock(zone, found.seconds)
    notes: list[str] = []
    if elapsed:  # hours count from midnight, whatever the clock does
        assert found.midnights is not None
        instants = clock.instants(found.midnights)[0] + (found.seconds - found.midnights)
        return instants, clock.of(instants), np.ones(len(instants), dtype=np.bool_), notes
    instants, twice, never = clock.instants(found.seconds)
    known = found.offsets != UNKNOWN
    instants = np.where(known, found.seconds - found.offsets, instants)
    kept = ~(never & ~known)
    if not kept.all():
        real = ~kept & (~empty if empty is not None else True)
        if real.any():
            row = int(np.argmax(real))
            raise PriceError(
                f"{table.where}: time {_shown(found.seconds[row])} in {table.place(row)} does not exist on the "
                f"clock of {zone}, which is set forward then, expected times of that clock"
            )
        notes.append(f"{int((~kept).sum())} empty rows at times that {zone} skips are left out")
    rows = np.flatnonzero(twice & ~known)
    if len(rows):
        seen: set[int] = set()
        backward = len(found.seconds) > 1 and found.seconds[0] > found.seconds[-1]
        for row in rows[::-1] if backward else rows:
            second = int(found.seconds[row])
            if second in seen:
                instants[row] = clock.later(np.array([second]))[0]
            seen.add(second)
    return instants, clock.of(instants), kept, notes


def _with_hours(
    table: Table, column: str, found: Instants, options: ReadOptions, others: Collection[str]
) -> tuple[Instants, tuple[str, ...], str, bool]:
    """Dates together with the column of their hours, and of the parts of an hour if there is one."""
    repeated = len(np.unique(found.seconds)) < len(found.seconds)
    label: str = options.label or "start"
    names = list(options.time[1:])
    if not names:
        if not repeated:
            return found, (column,), label, False
        hour = next(
            (
                name
                for name in table.columns
                if name != column and name not in others and _HOUR.search(name) and _hours(table, name)
            ),
            None,
        )
        if hour is None:
            return found, (column,), label, False  # several rows a date: the reader looks for what tells them apart
        names = [hour]
    hour = names[0]
    values = _hours(table, hour)
    if values is None:
        row = next((i for i, cell in enumerate(table.cells(hour)) if not re.fullmatch(r"\s*\d{1,2}(:\d{2}.*)?\s*", str(cell))), 0)
        raise PriceError(
            f"{table.where}: column {hour!r} has {table.columns[hour][row]!r:.60} in {table.place(row)}, "
            "expected an hour of the day (1 to 24, or 13:00)"
        )
    seconds, counted = values
    label, seconds = _hour_label(table, hour, seconds, counted, options)
    part = names[1] if len(names) > 1 else _part(table, {column, hour, *others})
    columns: tuple[str, ...] = (column, hour)
    if part is not None:
        number = table.numbers(part, options)
        parts = int(np.nanmax(number)) if np.nanmin(number) >= 1 else 0
        if parts > 1:
            if parts not in (2, 3, 4, 6, 12) or (number != np.round(number)).any():
                raise PriceError(
                    f"{table.where}: column {part!r} counts to {parts:g}, expected parts of an hour, 1 to 2, 3, 4, 6 or 12"
                )
            seconds = seconds + ((number - 1) * (3600 // parts)).astype(np.int64)
            columns = (*columns, part)
            label = "start" if counted else label
    form = f"{found.format} + " + " + ".join(columns[1:])
    elapsed = bool(counted and (seconds >= 24 * 3600).any())
    return (
        Instants(found.seconds + seconds, found.offsets, form, midnights=found.seconds, notes=found.notes),
        columns,
        label,
        elapsed,
    )


def _hours(table: Table, name: str) -> tuple[IntArray, bool] | None:
    """Seconds of the day, and whether the column counts whole hours."""
    cells = table.cells(name)
    if not isinstance(cells, np.ndarray):
        clock = parse_clock(cells)
        if not isinstance(clock, Misfit):
            return clock, False
        if not all(re.fullmatch(r"\s*\d{1,2}(\.0)?\s*", cell) for cell in cells):
            return None
        cells = np.array([float(cell) for cell in cells])
    if not np.issubdtype(cells.dtype, np.number) or not ((cells >= 0) & (cells <= 25) & (cells == np.round(cells))).all():
        return None
    return cells.astype(np.int64) * 3600, True


def _hour_label(table: Table, name: str, seconds: IntArray, counted: bool, options: ReadOptions) -> tuple[str, IntArray]:
    """What an hour's number says; hours that count from 1 end their interval. Counted hours become starts."""
    low, high = int(seconds.min()), int(seconds.max())
    if not counted:
        ends = bool(_ENDS.search(name)) or (high >= 24 * 3600 and low > 0)
        return options.label or ("end" if ends else "start"), seconds
    ends = options.label == "end" or (options.label is None and (high >= 24 * 3600 or bool(_ENDS.search(name))))
    if options.label is None and not ends and low > 0:
        raise PriceError(
            f"{table.where}: column {name!r} has hours {low // 3600} to {high // 3600}, which may start or end there; say which with "
            f"{options.say('label', 'start')} or {options.say('label', 'end')}"
        )
    return "start", seconds - 3600 if ends else seconds


def _part(table: Table, taken: Collection[str]) -> str | None:
    for name in table.columns:
        if name not in taken and _PART.search(name) and table.is_numeric(name):
            return name
    return None


def _shown(second: Any) -> str:
    return str(np.datetime64(int(second), "s")).replace("T", " ")
