"""What is accepted as a price: every row is judged alone, and a bad one is refused as data, never acted on."""

from __future__ import annotations

import bisect
import math
import reprlib
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gridpilot.live.api import PRICE_FIELDS, TICK, PriceRow, parse_time
from gridpilot.live.config import PriceBand, RiskLimits
from gridpilot.market.units import CHANNELS

__all__ = ["BACKWARDS", "AcceptedRows", "Merge", "RefusedRow", "newest_of"]

REFERENCE_ROWS: Final = 5  # accepted rows whose median a new price is compared with
LONGEST: Final = 3.0  # a gap widens the band of a jump by the square root of its ticks, as a random walk spreads, up to this power
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
BACKWARDS: Final = 2 * TICK  # that a feed may be behind the rows known: answers come late and out of order
MOST_TOLD: Final = 20  # refusals of one reading
MOST_KNOWN: Final = 65_536  # refused rows that are remembered
HOPELESS: Final = frozenset({"price_nan", "price_negative", "price_band"})  # reasons that neither time nor other rows change
LONGEST_FIELD: Final = 64  # characters of a time or a number
AHEAD: Final = 2 * TICK  # a row may be this far in the engine's future: clocks differ


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is not accepted. ``reason`` is a code such as ``price_nan``, ``price_jump`` or ``row_unreadable``."""

    at: datetime | None  # where the row said when it is
    reason: str
    message: str
    row: str  # as received, shortened


@dataclass(frozen=True, slots=True)
class Merge:
    """What a reading added to what was known."""

    accepted: tuple[PriceRow, ...]  # oldest first
    refused: tuple[RefusedRow, ...]  # each told once, however often it is read; of many the first, the newest, and how many more


def newest_of(entries: Iterable[Any]) -> datetime | None:
    """Time of the newest row of a reading, good or bad; None where no time can be read."""
    newest = None
    for entry in entries:
        try:
            at = entry.at if isinstance(entry, PriceRow) else parse_time(entry["timestamp"])
        except (ValueError, TypeError, KeyError):  # what is wrong with it is told when it is judged
            continue
        newest = at if newest is None else max(newest, at)
    return newest


class AcceptedRows:
    """The rows known so far. Readings may come in any order, repeat rows, leave out old ones, or hold junk."""

    def __init__(self, limits: RiskLimits, keep: int) -> None:
        self._bands: dict[str, PriceBand] = {name: getattr(limits, name) for name in CHANNELS}
        self._keep = keep
        self._rows: list[PriceRow] = []  # accepted, oldest first
        self._values: dict[Any, Any] = {}  # timestamp as received -> values as received, of rows that need no second look
        self._told: set[int] = set()  # hashes of rows that were refused; what is not remembered is told by its number
        self._hopeless: set[int] = set()  # of those that no other rows, and no time, could make acceptable
        self._forgotten: datetime | None = None  # newest row that is no longer kept

    @property
    def newest(self) -> PriceRow | None:
        """The newest accepted row."""
        return self._rows[-1] if self._rows else None

    @property
    def rows(self) -> tuple[PriceRow, ...]:
        """The accepted rows that are kept, oldest first."""
        return tuple(self._rows)

    def restore(self, rows: Iterable[PriceRow]) -> None:
        """Take rows that were accepted before, as they are."""
        for row in rows:
            self._insert(row)

    def merge(self, entries: Iterable[Any], now: datetime) -> Merge:
        """Judge a reading. ``entries`` are rows as ``GET /prices`` gives them, or ``PriceRow``; ``now`` is the engine's time."""
        fresh, refused = [], []
        for entry in entries:
            parsed = self._parse(entry)
            if isinstance(parsed, RefusedRow):
                refused.append(parsed)
            elif parsed is not None:
                fresh.append((parsed, entry))
        accepted = []
        for row, entry in sorted(fresh, key=lambda pair: pair[0].at):  # so that a jump is seen against the rows before it
            problem = self._judge(row, now)
            if problem is None:
                self._insert(row)
                accepted.append(row)
            else:
                if problem[0] in HOPELESS and len(self._hopeless) < MOST_KNOWN:
                    self._hopeless.add(_mark(entry))
                refused.append(RefusedRow(row.at, *problem, _shorten(entry)))
            if problem is None or problem[0] == "row_repeated":
                self._remember(entry)
        news = [refusal for refusal in refused if refusal.reason != "row_repeated" and self._is_news(refusal)]
        return Merge(tuple(accepted), tuple(_told(news)))

    def _parse(self, entry: Any) -> PriceRow | RefusedRow | None:
        """A row, why it is none, or None where it was accepted before."""
        if isinstance(entry, PriceRow):
            return None if self._values.get(entry.at) == entry.raw else entry
        if not isinstance(entry, Mapping):
            return RefusedRow(None, "row_unreadable", f"expected an object, got {type(entry).__name__}", _shorten(entry))
        stamp = entry.get("timestamp")
        known = self._values.get(stamp) if isinstance(stamp, str) and len(stamp) <= LONGEST_FIELD else None
        if known is not None and known == _prices(entry):
            return None
        at = None
        try:
            at = parse_time(stamp)
            if _mark(entry) in self._hopeless:
                return None
            return PriceRow(at, *(_number(entry.get(field), name) for field, name in zip(PRICE_FIELDS, CHANNELS, strict=True)))
        except ValueError as error:
            return RefusedRow(at, "row_unreadable", str(error), _shorten(entry))

    def _judge(self, row: PriceRow, now: datetime) -> tuple[str, str] | None:
        """Code and message of what is wrong with a row, or None."""
        if row.at > now + AHEAD:
            return "row_from_the_future", f"{row.at:%Y-%m-%d %H:%M:%S} is more than {AHEAD} ahead of the engine's clock"
        place = bisect.bisect_left(self._rows, row.at, key=lambda known: known.at)
        if place < len(self._rows) and self._rows[place].at == row.at:
            if self._rows[place].raw == row.raw:
                return "row_repeated", ""
            return "row_changed", f"{row.at:%Y-%m-%d %H:%M:%S} was {self._rows[place].raw} before and is {row.raw} now"
        if self._forgotten is not None and row.at <= self._forgotten:
            return "row_repeated", ""
        before = self._rows[max(0, place - REFERENCE_ROWS) : place]
        for name in CHANNELS:
            price, band = float(getattr(row, name)), self._bands[name]
            if not math.isfinite(price):
                return "price_nan", f"{name} price is {price}, expected a finite number"
            if band.low is not None and price < band.low:
                code = "price_negative" if price < 0.0 <= band.low else "price_band"
                return code, f"{name} price is {price}, expected at least {band.low}"
            if band.high is not None and price > band.high:
                return "price_band", f"{name} price is {price}, expected at most {band.high}"
            if band.jump is None or not before:
                continue
            usual = statistics.median(float(getattr(known, name)) for known in before)
            ticks = max(1.0, (row.at - before[-1].at) / TICK)
            factor = band.jump ** min(math.sqrt(ticks), LONGEST)
            if usual > 0.0 and not usual / factor <= price <= usual * factor:
                return "price_jump", f"{name} price is {price} after {usual}, expected a factor of at most {factor:.3g}"
        return None

    def _insert(self, row: PriceRow) -> None:
        bisect.insort(self._rows, row, key=lambda known: known.at)
        if len(self._rows) > self._keep:
            self._forgotten = self._rows.pop(0).at

    def _remember(self, entry: Any) -> None:
        if isinstance(entry, PriceRow):
            self._values[entry.at] = entry.raw
        elif isinstance(entry, Mapping):
            self._values[entry["timestamp"]] = _prices(entry)
        if len(self._values) > 4 * self._keep + MOST_TOLD:  # one time may be written in many ways
            del self._values[next(iter(self._values))]

    def _is_news(self, refusal: RefusedRow) -> bool:
        mark = hash((refusal.row, refusal.reason))
        if mark in self._told:
            return False
        if len(self._told) < MOST_KNOWN:
            self._told.add(mark)
        return True


def _told(news: Sequence[RefusedRow]) -> list[RefusedRow]:
    """Refusals to be told one by one, the newest row's last, and one that counts the others."""
    if len(news) <= MOST_TOLD:
        return list(news)
    newest = max((refusal for refusal in news if refusal.at is not None), key=lambda one: one.at or _NEVER, default=news[-1])
    others = [refusal for refusal in news if refusal is not newest]
    told, more = others[: MOST_TOLD - 2], others[MOST_TOLD - 2 :]
    counted = Counter(refusal.reason for refusal in more).most_common()
    count = ", ".join(f"{reason} {number}" for reason, number in counted)
    return [*told, RefusedRow(None, counted[0][0], f"{len(more)} more rows refused in one reading: {count}", ""), newest]


def _prices(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(field) for field in PRICE_FIELDS)


def _mark(entry: Any) -> int:
    """By what a row is known again that was refused."""
    try:
        return hash(entry.raw if isinstance(entry, PriceRow) else (entry["timestamp"], _prices(entry)))
    except TypeError:  # a list in place of a price
        return hash(_shorten(entry))


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name} price is {value!r:.60}, expected a number")
    if isinstance(value, str) and len(value) > LONGEST_FIELD:
        raise ValueError(f"{name} price has {len(value)} characters, expected a number")
    try:
        return float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} price is {value!r:.60}, expected a number") from error


def _shorten(entry: Any) -> str:
    return _SHORT.repr(entry)[:300]


_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120
_SHORT.maxdict = 12
