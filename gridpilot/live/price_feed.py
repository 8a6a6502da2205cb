"""Price rows without the event: drawn from a price model, or read from a file. Prices are in the API's raw units."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from gridpilot.errors import PriceError
from gridpilot.live.api import PRICE_FIELDS, ROW_FIELDS, TICK, PriceRow, format_time, parse_time
from gridpilot.market.units import CHANNELS
from gridpilot.presets import build, find, load_preset, named, names
from gridpilot.prices.base import PriceModel, check_paths
from gridpilot.prices.garch import GarchPrices
from gridpilot.prices.load import PRICES
from gridpilot.prices.mara_event import MaraEventPrices
from gridpilot.series import ReadOptions
from gridpilot.series.table import read_table
from gridpilot.series.times import find_times

__all__ = ["OPENING", "feed_name", "generate_rows", "read_rows"]

OPENING: Final = datetime(2025, 6, 21, 12, tzinfo=UTC)  # of the event

# GUESSES: raw units of one $/kWh, one $ per PH/s h and one $ per million tokens, for price models in dollars. The event had no such feed;
# these bring the long-run means of the preset `ercot` (0.0273, 2.117, 0.300) to those of the event's walk (1.26, 1.98, 1.25). The floor
# stands in for prices of 0 and below.
RAW_PER_DOLLAR: Final = (46.0, 0.94, 4.2)
GARCH: Final = "ercot"  # the price model that a feed called garch draws from
ENERGY_FLOOR: Final = 0.05


def generate_rows(feed: str | Mapping[str, Any], seed: int, count: int, *, start: datetime = OPENING) -> list[PriceRow]:
    """The first ``count`` rows of a feed, oldest first, on five-minute marks from ``start``. A longer list begins with the shorter one.

    ``feed`` names a price model: a name of ``conf/prices``, a dotted path, or a mapping with either as ``name`` and parameters. The walk of
    ``mara_event`` is in the API's units itself, from the event's opening 3.0, 4.0, 2.0. All others are brought from dollars to the event's
    price levels, which is a guess, and know the time of day of ``start`` in UTC. ``garch`` stands for the GARCH model of ``ercot``.

    Raises what a model that cannot be built raises, and :class:`~gridpilot.errors.PriceError` for a seed or count below 0 and a start off
    the five-minute marks.
    """
    start = start.astimezone(UTC)
    if not _on_mark(start):
        raise PriceError(f"start is {format_time(start)}, expected a five-minute mark")
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise PriceError(f"count is {count!r}, expected a whole number >= 0")
    named = GARCH if feed == "garch" else feed
    model, raw = _model(json.dumps(named, sort_keys=True), start.weekday())
    # Paths start at midnight; the walk of the event knows no time of day.
    before = 0 if raw else (start - start.replace(hour=0, minute=0)) // TICK
    paths, _ = check_paths(model, *model.simulate(seed, [0], before + count), before + count, 1)
    prices = paths[before:, 0]
    if not raw:
        prices = prices * RAW_PER_DOLLAR
        prices[:, 0] = prices[:, 0].clip(min=ENERGY_FLOOR)
    return [PriceRow(start + i * TICK, *row) for i, row in enumerate(prices.tolist())]


def feed_name(feed: str | Mapping[str, Any]) -> str:
    """What a feed is called."""
    return feed if isinstance(feed, str) else str(feed.get("name"))


@cache  # tables take a while, and a feed is drawn again and again as it grows
def _model(feed: str, weekday: int) -> tuple[PriceModel, bool]:
    """The price model of a feed, given as JSON, and whether its prices are in the API's units."""
    name, own = named(PRICES, json.loads(feed))
    kind = find(PRICES, name)
    if issubclass(kind, MaraEventPrices):
        given = {**(load_preset(PRICES.group, name) if name in names(PRICES.group) else {}), **own}
        raw: dict[str, Any] = {channel: {**given[channel], "scale": 1.0} for channel in CHANNELS if channel in given}
        return build(PRICES, name, {"begin": "opening", **own, **raw}), True
    return build(PRICES, name, {"weekday": weekday, **own} if issubclass(kind, GarchPrices) else own), False


def read_rows(path: Path) -> list[PriceRow]:
    """Rows of a ``.csv`` with a heading or of a ``.json`` array such as ``GET /prices`` gives, oldest first.

    Columns ``timestamp`` (naive means UTC), ``energy_price``, ``hash_price`` and ``token_price``; others are ignored. The file may run
    forwards or backwards in time, and rows may be missing. Raises :class:`~gridpilot.errors.PriceError` for a file that cannot be read or
    holds no row, a missing column, a price that is no finite number, and times that repeat, go back and forth or are off the marks.
    """
    readers = {".csv": _read_csv, ".json": _read_json}
    if path.suffix not in readers:
        raise PriceError(f"{path}: expected a name that ends in .csv or .json")
    rows: list[PriceRow] = []
    backwards = False
    try:
        for where, record in readers[path.suffix](path):
            row = _row(where, record)
            if len(rows) == 1:
                backwards = row.at < rows[0].at
            if rows and (row.at == rows[-1].at or (row.at < rows[-1].at) is not backwards):
                order = "falling" if backwards else "rising"
                times = f"{format_time(row.at)} after {format_time(rows[-1].at)}"
                raise PriceError(f"{where}: timestamp {times}, expected {order} times")
            rows.append(row)
    except OSError as error:
        raise PriceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PriceError(f"{path}: byte {error.start} is not UTF-8 text") from error
    if not rows:
        raise PriceError(f"{path}: no price rows, expected at least one")
    return rows[::-1] if backwards else rows


def _read_csv(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    table = read_table(path)
    names = [name for name in ROW_FIELDS if name in table.columns]
    _check_columns(f"{path}", names)
    options = ReadOptions(time=("timestamp",))
    times = find_times(table, options, PRICE_FIELDS)
    assert times is not None  # its column was named
    prices = [table.numbers(name, options).tolist() for name in PRICE_FIELDS]
    for row, (second, *values) in enumerate(zip(times.instants.tolist(), *prices, strict=True)):
        at = datetime.fromtimestamp(second, UTC)
        yield f"{path}: {table.place(row)}", {"timestamp": format_time(at), **dict(zip(PRICE_FIELDS, values, strict=True))}


def _read_json(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PriceError(f"{path}: no JSON: {error}, expected an array of price rows") from error
    if not isinstance(found, list):
        raise PriceError(f"{path}: holds {type(found).__name__}, expected an array of price rows")
    for number, record in enumerate(found, 1):
        where = f"{path}: row {number}"
        if not isinstance(record, dict):
            raise PriceError(f"{where} is {record!r:.60}, expected an object")
        _check_columns(where, record)
        yield where, record


def _check_columns(where: str, names: Iterable[str]) -> None:
    known = set(names)
    missing = [name for name in ROW_FIELDS if name not in known]
    if missing:
        raise PriceError(f"{where}: {', '.join(missing)} missing, expected {', '.join(ROW_FIELDS)}")


def _row(where: str, record: Mapping[str, Any]) -> PriceRow:
    stamp = record.get("timestamp")
    try:
        at = parse_time(stamp.strip() if isinstance(stamp, str) else stamp)
    except ValueError as error:
        raise PriceError(f"{where}: timestamp is {stamp!r:.60}, expected a time such as 2025-06-21T12:00:00") from error
    if not _on_mark(at):
        raise PriceError(f"{where}: timestamp is {stamp}, expected a five-minute mark")
    return PriceRow(at, *(_price(where, name, record.get(name)) for name in PRICE_FIELDS))


def _price(where: str, name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise PriceError(f"{where}: {name} is {value!r:.60}, expected a finite number")
    return number


def _on_mark(at: datetime) -> bool:
    return at.minute % 5 == 0 and at.second == 0 and at.microsecond == 0
