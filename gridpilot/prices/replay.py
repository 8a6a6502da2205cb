"""Recorded prices from a CSV or Parquet file, episode by episode.

Rows are five minutes or a multiple of it apart; a coarser row holds until the next. An episode starts at a midnight of the file, drawn at
random or taken in turn. Nothing is repaired: a file with gaps, repeats, missing values or the wrong unit is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gridpilot.configuration import validate
from gridpilot.errors import PriceError
from gridpilot.market.random import PRICE_STREAM, next_uint64, seed_stream
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK
from gridpilot.prices.base import CHANNELS, FloatArray, IntArray, PriceModel, check_request
from gridpilot.series import Reading, ReadOptions, read
from gridpilot.series.options import Dates, Decimal, Label, options_of
from gridpilot.series.units import UNITS, check_magnitude, guess_unit

__all__ = ["ColumnConfig", "ConstantConfig", "ReplayConfig", "ReplayPrices", "replayed"]

_TICK, _DAY = 300, 86400  # seconds


class ColumnConfig(BaseModel):
    """A price that stands in a column of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    column: str
    unit: Literal["$/kWh", "$/MWh", "$/PH/s/h", "$/PH/s/day", "$/Mtok"]
    factor: Annotated[float, Field(gt=0.0)] = 1.0  # for another currency: $ per unit of it


class ConstantConfig(BaseModel):
    """A price that does not change: $/kWh, $ per PH/s h or $ per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    constant: float


class ReplayConfig(BaseModel):
    """What :class:`ReplayPrices` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    file: Path
    time: str | list[str] | None = None  # the column of times, or of dates and of hours; the first that reads as times
    label: Label | None = None  # these five as in :class:`~gridpilot.series.ReadOptions`
    dates: Dates | None = None
    zone: str | None = None
    pick: str | list[str] | None = None
    decimal: Decimal | None = None
    energy: ColumnConfig | ConstantConfig
    hash: ColumnConfig | ConstantConfig
    token: ColumnConfig | ConstantConfig
    order: Literal["random", "sequential"] = (
        "random"  # episode n starts on a day drawn at random, or on day n (from the start again)
    )
    longest_episode: Annotated[int, Field(ge=1)] = TICKS_PER_DAY  # ticks after a midnight that must be in the file
    longest_history: Annotated[int, Field(ge=0)] = TICKS_PER_DAY  # ticks before a midnight that must be in the file


class ReplayPrices(PriceModel):
    """Replays a file as a :class:`ReplayConfig` says, whose fields are the ``parameters``.

    Which day an episode shows depends on ``longest_episode`` and ``longest_history``, not on the length that is asked for, so that a
    longer request begins with the shorter one. Raises :class:`~gridpilot.errors.ConfigError` for parameters that are missing, unknown or
    out of range, and :class:`~gridpilot.errors.PriceError` for a file that cannot be used.
    """

    def __init__(self, **parameters: Any) -> None:
        config = self.config = validate(ReplayConfig, parameters, "prices")
        where = str(config.file)
        parts = [getattr(config, name) for name in CHANNELS]
        names = list(dict.fromkeys(part.column for part in parts if isinstance(part, ColumnConfig)))
        if not names:
            raise PriceError(f"{where}: every price is constant, expected a column of the file for energy, hash or token")
        reading = read(config.file, names, options_of(config, "prices."))
        if reading.times is None:
            raise PriceError(f"{where}: no column reads as times, expected one; prices.time=NAME says which")
        hold = _ticks_between(reading, reading.times.instants)
        columns = [_channel(reading, name, part) for name, part in zip(CHANNELS, parts, strict=True)]
        self._prices = np.repeat(np.stack(columns, axis=1), hold, axis=0)  # (ticks, 3)
        self._days, self._week = _midnights(reading.times.clock, hold, config, where)

    def simulate(self, root: int, episodes: npt.ArrayLike, ticks: int, *, history: int = 0) -> tuple[FloatArray, IntArray]:
        """Cut the episodes' days out of the file; see :class:`~gridpilot.prices.base.PriceModel`."""
        seed, numbers, ticks, history = check_request(root, episodes, ticks, history)
        for name, asked, longest in (
            ("ticks", ticks, self.config.longest_episode),
            ("history", history, self.config.longest_history),
        ):
            if asked > longest:
                key = "longest_episode" if name == "ticks" else "longest_history"
                raise PriceError(f"{self.config.file}: a replay of {asked} {name} is asked for, prices.{key} is {longest}")
        day = numbers % len(self._days)
        if self.config.order == "random":
            stream = np.empty(4, dtype=np.uint64)
            for i, episode in enumerate(numbers):
                seed_stream(seed, episode, PRICE_STREAM, stream)
                day[i] = int(next_uint64(stream)) % len(self._days)
        rows = self._days[day][None, :] + np.arange(-history, ticks)[:, None]
        return np.ascontiguousarray(self._prices[rows]), self._week[day]


def replayed(path: Path) -> dict[str, Any]:
    """Parameters that replay a file which says by itself what is its energy price: one column of numbers, and its times.

    Raises :class:`~gridpilot.errors.PriceError` for a file that cannot be read, that holds several columns of numbers, or prices of no
    usual size.
    """
    reading = read(path, None, ReadOptions(prefix="prices."), key="energy.column")
    unit = guess_unit(reading.values[:, 0])
    if unit is None:
        raise PriceError(f"{path}: column {reading.names[0]!r} has the size of no price of energy; give prices.energy.unit")
    return {"file": str(path), "energy": {"column": reading.names[0], "unit": unit}}


def _channel(reading: Reading, name: str, config: ColumnConfig | ConstantConfig) -> FloatArray:
    where = reading.where
    if isinstance(config, ConstantConfig):
        return np.full(len(reading.values), config.constant)
    channel, factor = UNITS[config.unit]
    if channel != name:
        fitting = ", ".join(unit for unit, (of, _) in UNITS.items() if of == name)
        raise PriceError(f"{where}: prices.{name}.unit is {config.unit!r}, expected one of {fitting}")
    values = reading.values[:, reading.names.index(config.column)] * config.factor
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise PriceError(
            f"{where}: column {config.column!r} is empty (NaN) in {reading.table.place(int(missing[0]))} and {len(missing) - 1} others"
        )
    check_magnitude(values, config.unit, f"{where}: column {config.column!r}")
    return values * factor


def _ticks_between(reading: Reading, seconds: IntArray) -> int:
    """Ticks from one row to the next; refuses times that are unsorted, repeated, off the five-minute grid or not evenly spaced."""
    where, place = reading.where, reading.table.place
    if len(seconds) < 2:
        raise PriceError(f"{where}: has {len(seconds)} row, expected at least a day")
    steps = np.diff(seconds)
    zone = (
        ""
        if reading.times is not None and reading.times.zone
        else "; at a clock change prices.zone=Europe/Berlin keeps the hours apart"
    )
    for wrong, what in ((steps < 0, "is before the row above (unsorted)"), (steps == 0, "repeats")):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0]) + 1
            raise PriceError(f"{where}: time {reading.time(row)} in {place(row)} {what}, expected increasing times{zone}")
    step = int(np.median(steps))
    odd = np.flatnonzero(steps != step)
    if len(odd):
        row = int(odd[0])
        kind = "a gap" if steps[row] > step else "an extra row"
        hint = zone if abs(int(steps[row]) - step) == 3600 else ""
        raise PriceError(
            f"{where}: {kind} between {reading.time(row)} and {reading.time(row + 1)} ({place(row + 1)}), "
            f"expected steps of {step} seconds{hint}"
        )
    if step % _TICK:
        raise PriceError(f"{where}: rows are {step} seconds apart, expected 300 seconds or a multiple of it")
    return step // _TICK


def _midnights(clock: IntArray, hold: int, config: ReplayConfig, where: str) -> tuple[IntArray, IntArray]:
    """Tick of every local midnight that has enough ticks before and after it, and its tick of the week."""
    ticks = len(clock) * hold
    shown = np.repeat(clock, hold) + np.tile(np.arange(hold) * _TICK, len(clock))
    day = shown // _DAY
    rows = np.flatnonzero(np.diff(day, prepend=day[0] - (clock[0] % _DAY == 0)) > 0)  # off the grid, the first tick after midnight
    rows = rows[(rows >= config.longest_history) & (rows + config.longest_episode <= ticks)]
    if not len(rows):
        raise PriceError(
            f"{where}: covers {ticks} ticks from {np.datetime64(int(clock[0]), 's')}, too short: "
            f"expected {config.longest_history} before a midnight and {config.longest_episode} after it"
        )
    return rows.astype(np.int64), ((day[rows] + 3) % 7 * TICKS_PER_DAY) % TICKS_PER_WEEK  # day 0, 1970-01-01, was a Thursday
