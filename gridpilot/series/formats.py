"""How times are written: one format for a whole column, decided by all of its rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from gridpilot.series.options import Dates

__all__ = ["UNKNOWN", "Instants", "Misfit", "epoch_instants", "parse_clock", "parse_times"]

IntArray = npt.NDArray[np.int64]

_DAY: Final = 86400
UNKNOWN: Final = -(10**6)  # offset of a row that has none
_SAMPLE: Final = 200
_YEARS: Final = (1900, 2200)
_MONTHS: Final = {
    name: i for i, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
_ZONES: Final = {
    "Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
    "AEST": 10, "AEDT": 11, "ACST": 9.5, "ACDT": 10.5, "AWST": 8, "JST": 9,
}  # fmt: skip
_HHMM: Final = r"(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?:[.,]\d{1,9})?)?(?:\s*(?P<ap>[AaPp])\.?[Mm]\.?)?"
_ZONE: Final = r"(?:\s*\(?(?P<z>Z|[+-]\d{2}(?::?\d{2})?|[A-Z]{3,4})\)?)?"
_WEEKDAY: Final = r"(?:[A-Za-z]{2,9}\.?,?\s+)?"
# Kind of a date: how it is written, as readers are told, and as it is found.
_DATES: Final[dict[str, tuple[str, str]]] = {
    "ymd": ("YYYY-MM-DD", r"(?P<y>\d{4})(?P<p>[-/.])(?P<m>\d{1,2})(?P=p)(?P<d>\d{1,2})"),
    "compact": ("YYYYMMDD", r"(?P<y>(?:19|20)\d{2})(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])"),
    "xxy": ("", r"(?P<a>\d{1,2})(?P<p>[-/.])(?P<b>\d{1,2})(?P=p)(?P<y>\d{4})"),
    "xxx": ("", r"(?P<a>\d{1,2})(?P<p>[-/.])(?P<b>\d{1,2})(?P=p)(?P<c>\d{2})"),
    "dby": ("DD Mon YYYY", _WEEKDAY + r"(?P<d>\d{1,2})[-/ .]+(?P<mon>[A-Za-z]{3,9})\.?[-/ ,]+(?P<y>\d{4}|\d{2})"),
    "bdy": ("Mon DD YYYY", _WEEKDAY + r"(?P<mon>[A-Za-z]{3,9})\.?[- ](?P<d>\d{1,2}),?[- ](?P<y>\d{4})"),
}
_CLOCKS: Final[dict[str, str]] = {
    **dict.fromkeys(_DATES, rf"(?:(?:T|,?\s+){_HHMM}{_ZONE})?"),
    "ymd": rf"(?:(?:T|,?\s+)(?:{_HHMM}|(?P<h2>\d{{2}})){_ZONE})?",
    "compact": r"(?:[T ]?(?P<h>\d{2})(?::?(?P<mi>\d{2})(?::?(?P<s>\d{2}))?)?" + _ZONE + ")?",
}
_PATTERNS: Final = {kind: re.compile(date + _CLOCKS[kind]) for kind, (_, date) in _DATES.items()}
_RANGE: Final = re.compile(r"(?P<from>.*\d\S*(?:\s*\([A-Z]+\))?)\s+(?:-|\u2013|to)\s+.*\d.*|(?P<iso>[\dT:.Z+-]+)/[\dT:.Z+-]+")
_CLOCK: Final = re.compile(rf"{_HHMM}(?:\s*(?:-|\u2013|to)\s*.*\d.*)?|(?P<whole>\d{{1,2}})\s*(?:-|\u2013)\s*\d{{1,2}}")


class Misfit(NamedTuple):
    """Why a column does not read as times, and how near it was."""

    row: int  # the first that does not fit, from 0
    expected: str
    share: float  # of rows that do fit, 0 for a column that has nothing of a time


@dataclass
class Instants:
    """Times as they are written."""

    seconds: IntArray  # (n,) of the clock that is written, since 1970
    offsets: IntArray  # (n,) seconds ahead of UTC, UNKNOWN where none is written
    format: str
    dates_only: bool = False
    ranges: bool = False
    midnights: IntArray | None = None  # (n,) of dates with hours in a column of their own, which may count beyond 24
    both_ways: str = ""  # a value that day first and month first read differently, where nothing tells which
    notes: tuple[str, ...] = ()


def parse_times(cells: Sequence[str], dates: Dates | None) -> Instants | Misfit:
    """Read cells of text as times, all in one format."""
    texts = [cell.strip() for cell in cells]
    sample = [text for text in texts[:: max(1, len(texts) // _SAMPLE)] if text]
    if not sample:
        return Misfit(0, "a time", 0.0)
    iso = _iso(texts)
    if iso is not None:
        return iso
    epoch = _epoch(texts)
    if epoch is not None:
        return epoch
    ranges = sum(_RANGE.fullmatch(text) is not None for text in sample) > len(sample) // 2
    if ranges:
        parts = [_RANGE.fullmatch(text) for text in texts]
        odd = next((i for i, part in enumerate(parts) if part is None), None)
        if odd is not None:
            return Misfit(odd, "a range of times as in the other rows", 0.99)
        texts = [str(part["from"] or part["iso"]) for part in parts if part is not None]
        sample = texts[:: max(1, len(texts) // _SAMPLE)]
    found = Counter(kind for text in sample for kind, pattern in _PATTERNS.items() if pattern.fullmatch(text))
    if not found:
        return Misfit(0, "a time as 2024-02-01 13:00", 0.0)
    kind = found.most_common(1)[0][0]
    matches = [_PATTERNS[kind].fullmatch(text) for text in texts]
    misfit = next((i for i, match in enumerate(matches) if match is None), None)
    if misfit is not None:
        shape = f"as {next(text for text in sample if _PATTERNS[kind].fullmatch(text))!r}"
        return Misfit(misfit, f"a time as in the other rows ({shape})", sum(match is not None for match in matches) / len(matches))
    result = _put_together(kind, [match for match in matches if match is not None], dates)
    if isinstance(result, Instants):
        result.ranges = ranges
        if ranges:
            result.format = f"{result.format} - ..."
    return result


def parse_clock(cells: Sequence[str]) -> IntArray | Misfit:
    """Seconds of the day of cells such as 00:05, 12:00 AM, 23:00 - 24:00 or 23 - 24; the start of a range."""
    matches = [_CLOCK.fullmatch(cell.strip().replace("\u00a0", " ")) for cell in cells]
    misfit = next((i for i, match in enumerate(matches) if match is None), None)
    if misfit is not None:
        return Misfit(misfit, "a time of day as 13:00", sum(match is not None for match in matches) / max(1, len(matches)))
    whole = [match for match in matches if match is not None]
    hour = _ints([match["h"] or match["whole"] for match in whole])
    minute, second = _ints([match["mi"] for match in whole]), _ints([match["s"] for match in whole])
    hour = _half_days(hour, [match["ap"] for match in whole])
    wrong = (minute > 59) | (second > 59) | (hour > 25) | ((hour == 24) & (minute + second > 0))
    if wrong.any():
        return Misfit(int(np.argmax(wrong)), "a time of day as 13:00", 0.99)
    return hour * 3600 + minute * 60 + second


def _put_together(kind: str, matches: Sequence[re.Match[str]], dates: Dates | None) -> Instants | Misfit:
    groups = dict(zip(matches[0].re.groupindex, map(list, zip(*(match.groups() for match in matches), strict=True)), strict=True))
    order, both_ways = "", ""
    if kind in ("xxy", "xxx"):
        chosen = _order(kind, groups, dates)
        if isinstance(chosen, Misfit):
            return chosen
        order, both_ways = chosen
        first, second, third = _ints(groups["a"]), _ints(groups["b"]), _ints(groups["y" if kind == "xxy" else "c"])
        parts = {"day_first": (third, second, first), "month_first": (third, first, second), "year_first": (first, second, third)}
        year, month, day = parts[order]
    else:
        year, day = _ints(groups["y"]), _ints(groups["d"])
        if "mon" in groups:
            month = np.array([_MONTHS.get(name[:3].lower(), 0) for name in groups["mon"]], dtype=np.int64)
        else:
            month = _ints(groups["m"])
    year = np.where(year < 100, year + 2000, year)
    days = _days(year, month, day)
    if isinstance(days, Misfit):
        return days
    clocked = np.array([h is not None for h in groups["h"]])
    hours = groups["h"]
    if "h2" in groups:
        clocked |= np.array([h is not None for h in groups["h2"]])
        hours = [h if h is not None else h2 for h, h2 in zip(hours, groups["h2"], strict=True)]
    hour, minute, second = _ints(hours), _ints(groups["mi"]), _ints(groups["s"])
    hour = _half_days(hour, groups.get("ap", [None] * len(matches)))
    wrong = (hour > 24) | (minute > 59) | (second > 59) | ((hour == 24) & (minute + second > 0))
    if wrong.any():
        return Misfit(int(np.argmax(wrong)), "a time of day up to 24:00", 0.99)
    offsets = _offsets(groups["z"])
    if isinstance(offsets, Misfit):
        return offsets
    seconds = days * _DAY + hour * 3600 + minute * 60 + second
    name = _DATES[kind][0] or {"day_first": "DD{}MM{}Y", "month_first": "MM{}DD{}Y", "year_first": "YY{}MM{}DD"}[order].format(
        groups["p"][0], groups["p"][0]
    ).replace("Y", "YYYY" if kind == "xxy" else "YY" if order != "year_first" else "Y")
    result = Instants(seconds, offsets, name, not clocked.any(), both_ways=both_ways)
    if kind == "ymd":
        result.format = name.replace("-", groups["p"][0])
    if clocked.any():
        am = any(groups.get("ap", ()))
        result.format += (" hh:mm" if any(groups["mi"]) else " hh") + (":ss" if any(groups["s"]) else "") + (" AM/PM" if am else "")
        if not clocked.all():
            return _midnights_left_out(result, clocked, hour + minute + second)
    if (offsets != UNKNOWN).any():
        result.format += " offset"
    return result


def _midnights_left_out(result: Instants, clocked: npt.NDArray[np.bool_], time_of_day: IntArray) -> Instants | Misfit:
    """Dates without a time of day stand for midnights only where spreadsheets have dropped 00:00 from every one of them."""
    bare = int(np.argmax(~clocked))
    steps = np.diff(result.seconds)
    orderly = bool((steps >= 0).all() or (steps <= 0).all())
    if (time_of_day[clocked] == 0).any() or not orderly:
        return Misfit(bare, "a time of day as in the other rows", 0.99)
    result.notes = (f"{int((~clocked).sum())} dates without a time of day are midnights, which no row writes out",)
    return result


def _order(kind: str, groups: dict[str, list[Any]], dates: Dates | None) -> tuple[Dates, str] | Misfit:
    """Which number is the day: the one order that reads every row; the option where several do."""
    first, second = _ints(groups["a"]), _ints(groups["b"])
    third = _ints(groups["c"]) if kind == "xxx" else None
    misfits: dict[Dates, npt.NDArray[np.bool_]] = {
        "day_first": (first > 31) | (second > 12) | (first < 1) | (second < 1),
        "month_first": (first > 12) | (second > 31) | (first < 1) | (second < 1),
    }
    if third is not None:
        misfits["year_first"] = (second > 12) | (third > 31) | (second < 1) | (third < 1)
    if dates is not None:
        if dates not in misfits:
            return Misfit(0, "a date that begins with the year", 0.99)
        wrong = misfits[dates]
        if wrong.any():
            return Misfit(int(np.argmax(wrong)), f"a date with {dates.replace('_', ' ')}", float(1.0 - wrong.mean()))
        return dates, ""
    fitting = [order for order in get_args(Dates) if order in misfits and not misfits[order].any()]
    if not fitting:
        best = min(misfits, key=lambda order: int(misfits[order].sum()))
        row = int(np.argmax(misfits[best]))
        return Misfit(row, f"a date with {best.replace('_', ' ')} as in the other rows", float(1.0 - misfits[best].mean()))
    if groups["p"][0] == "." and "day_first" in fitting:
        return "day_first", ""  # nobody puts points behind the month first
    if len(fitting) == 1 or bool((first == second).all() and third is None):
        return fitting[0], ""
    row = int(np.argmax(first != second)) if (first != second).any() else 0
    return fitting[
        0
    ], f"{groups['a'][row]}{groups['p'][row]}{groups['b'][row]}{groups['p'][row]}{groups['y' if third is None else 'c'][row]}"


def _days(year: IntArray, month: IntArray, day: IntArray) -> IntArray | Misfit:
    """Days since 1970."""
    wrong = (year < _YEARS[0]) | (year > _YEARS[1]) | (month < 1) | (month > 12) | (day < 1) | (day > 31)
    if not wrong.any():
        months = (year - 1970) * 12 + month - 1
        days = months.astype("datetime64[M]").astype("datetime64[D]") + (day - 1)
        wrong = days.astype("datetime64[M]").astype(np.int64) != months  # 30 February
        if not wrong.any():
            return np.asarray(days.astype(np.int64))
    return Misfit(int(np.argmax(wrong)), "a day of the calendar", 0.99)


def _offsets(zones: Sequence[str | None]) -> IntArray | Misfit:
    known: dict[str | None, int] = {None: UNKNOWN}
    for text in dict.fromkeys(zones):
        if text is None:
            continue
        if text in _ZONES:
            known[text] = int(_ZONES[text] * 3600)
        elif text[0] in "+-":
            digits = text[1:].replace(":", "").ljust(4, "0")
            known[text] = (-1 if text[0] == "-" else 1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)
        else:
            return Misfit(zones.index(text), "a UTC offset as +01:00", 0.99)
    return np.array([known[text] for text in zones], dtype=np.int64)


def _half_days(hour: IntArray, marks: Sequence[str | None]) -> IntArray:
    if not any(marks):
        return hour
    half = np.array([-1 if mark is None else 0 if mark in "aA" else 12 for mark in marks])
    bad = (half >= 0) & ((hour < 1) | (hour > 12))
    return np.where(bad, 99, np.where(half < 0, hour, hour % 12 + half))


def _iso(texts: Sequence[str]) -> Instants | None:
    """The commonest format, ten times as fast; anything else is None."""
    length = len(texts[0])
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", texts[0]) or any(len(text) != length for text in texts):
        return None
    try:
        times = np.array(texts, dtype="datetime64[s]")
    except ValueError:
        return None
    if np.isnat(times).any():
        return None
    unknown = np.full(len(texts), UNKNOWN, dtype=np.int64)
    return Instants(times.astype(np.int64), unknown, "YYYY-MM-DD hh:mm" + (":ss" if length > 16 else ""))


def _epoch(texts: Sequence[str]) -> Instants | None:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, from 1985 to 2128."""
    first = next((text for text in texts if text), "")
    if not re.fullmatch(r"\d{9,19}(\.\d*)?", first) or re.fullmatch(_PATTERNS["compact"], first):
        return None
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        return None
    return epoch_instants(values)


def epoch_instants(values: npt.NDArray[np.float64]) -> Instants | None:
    """Numbers since 1970, or None where they cannot be."""
    if not np.isfinite(values).all():
        return None
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        if (values >= 4.7e8 * scale).all() and (values < 5e9 * scale).all():
            seconds = np.round(values / scale).astype(np.int64)
            return Instants(seconds, np.zeros(len(seconds), dtype=np.int64), f"{unit} since 1970")
    return None


def _ints(texts: Sequence[str | None]) -> IntArray:
    return np.array([int(text) if text else 0 for text in texts], dtype=np.int64)
