"""Recorded prices from a CSV or Parquet file, episode by episode.

Rows are five minutes or a multiple of it apart; a coarser row holds until the next. An episode starts at a midnight of the file, drawn at
random or taken in turn. Nothing is repaired: a file with gaps, repeats, missing values or the wrong unit is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gridpilot.configuration import validate
from gridpilot.errors import PriceError
from gridpilot.market.random import PRICE_STREAM, next_uint64, seed_stream
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK
from gridpilot.prices.base import CHANNELS, FloatArray, IntArray, PriceModel, check_request
from gridpilot.prices.series import UNITS, TimeArray, check_magnitude, column_of, read_file, times_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnConfig", "ConstantConfig", "ReplayConfig", "ReplayPrices"]

_TICK = np.timedelta64(300, "s")
_DAY = np.timedelta64(86400, "s")


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
    time: str  # the column of times, on the clock that hours of the day are read from
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
        table = read_file(config.file)
        times = times_of(table, config.time, where)
        hold = _ticks_between(times, where)
        columns = [_channel(table, name, getattr(config, name), where) for name in CHANNELS]
        self._prices = np.repeat(np.stack(columns, axis=1), hold, axis=0)  # (ticks, 3)
        self._days, self._week = _midnights(times, len(self._prices), config, where)

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


def _channel(table: pd.DataFrame, name: str, config: ColumnConfig | ConstantConfig, where: str) -> FloatArray:
    if isinstance(config, ConstantConfig):
        return np.full(len(table), config.constant)
    channel, factor = UNITS[config.unit]
    if channel != name:
        fitting = ", ".join(unit for unit, (of, _) in UNITS.items() if of == name)
        raise PriceError(f"{where}: prices.{name}.unit is {config.unit!r}, expected one of {fitting}")
    values = column_of(table, config.column, where) * config.factor
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise PriceError(f"{where}: column {config.column!r} is empty (NaN) in row {missing[0] + 1} and {len(missing) - 1} others")
    check_magnitude(values, config.unit, f"{where}: column {config.column!r}")
    return values * factor


def _ticks_between(times: TimeArray, where: str) -> int:
    """Ticks from one row to the next; refuses times that are unsorted, repeated, off the five-minute grid or not evenly spaced."""
    if len(times) < 2:
        raise PriceError(f"{where}: has {len(times)} row, expected at least a day")
    steps = np.diff(times)
    for wrong, what in (
        (steps < np.timedelta64(0, "s"), "is before the row above (unsorted)"),
        (steps == np.timedelta64(0, "s"), "repeats"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0]) + 1
            raise PriceError(f"{where}: time {times[row]} in row {row + 1} {what}, expected increasing times")
    step = np.median(steps.astype(np.int64)).astype("timedelta64[s]")
    odd = np.flatnonzero(steps != step)
    if len(odd):
        row = int(odd[0])
        kind = "a gap" if steps[row] > step else "an extra row"
        raise PriceError(f"{where}: {kind} between {times[row]} and {times[row + 1]} (row {row + 2}), expected steps of {step}")
    if step % _TICK != np.timedelta64(0, "s"):
        raise PriceError(f"{where}: rows are {step} apart, expected 300 s or a multiple of it")
    return int(step // _TICK)


def _midnights(times: TimeArray, ticks: int, config: ReplayConfig, where: str) -> tuple[IntArray, IntArray]:
    """Row of every midnight that has enough rows before and after it, and its tick of the week."""
    offset = (times[0] - times[0].astype("datetime64[D]")).astype("timedelta64[s]")
    first = int(-(-((_DAY - offset) % _DAY) // _TICK))  # times that are off the grid start a little after midnight
    rows = np.arange(first, ticks + 1, TICKS_PER_DAY)
    rows = rows[(rows >= config.longest_history) & (rows + config.longest_episode <= ticks)]
    if not len(rows):
        raise PriceError(
            f"{where}: covers {ticks} ticks from {times[0]}, too short: expected {config.longest_history} before a midnight and "
            f"{config.longest_episode} after it"
        )
    day = (times[0] + rows * _TICK).astype("datetime64[D]").astype(np.int64)  # day 0, 1970-01-01, was a Thursday
    return rows.astype(np.int64), ((day + 3) % 7 * TICKS_PER_DAY) % TICKS_PER_WEEK
