"""Weather and grid capacity: the two public processes of a market beside its prices.

Ambient temperature is a daily cosine plus an AR(1). Capacity is the share of its nominal power that the grid connection of a market
carries: a base, less an evening dip, plus an AR(1), less outages that come and go as a two-state Markov chain. Each process draws from
its own stream of an episode, so that neither the price model nor the other process changes it.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

import numba
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gridpilot.market.compilation import kernel, leaf_kernel, parallel_kernel
from gridpilot.market.random import CAPACITY_STREAM, WEATHER_STREAM, normal, seed_stream, uniform
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_HOUR

__all__ = ["CapacityConfig", "WeatherConfig", "simulate_weather_and_capacity"]

FloatArray = npt.NDArray[np.float64]
Hour = Annotated[float, Field(ge=0.0, le=24.0)]

_BLOCK = 64  # markets of a job
_DAY = 288


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class WeatherConfig(_Strict):
    """Ambient temperature, degC.

    The defaults are those of the temperature column of the ERCOT HB_SOUTH file (June to December 2024): mean 25.2, range of the mean
    day 20.6 to 31.0, sd about the mean day of each month 3.0, whose autocorrelation of 0.60 after six hours is 0.993 a tick. The column's
    clock runs about four hours late against the prices', so the peak stands at 16 h, where Texan afternoons have it.
    """

    mean: float = 25.2  # degC
    amplitude: Annotated[float, Field(ge=0.0)] = 5.2  # degC, half of the daily range
    peak_hour: Hour = 16.0
    sd: Annotated[float, Field(ge=0.0)] = 3.0  # degC, of the deviation from the daily cosine
    phi: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.993  # autocorrelation of the deviation after one tick

    def by_tick(self) -> FloatArray:
        """The mean day, degC at each tick, (288,)."""
        hour = (np.arange(TICKS_PER_DAY) + 0.5) / TICKS_PER_HOUR
        return np.asarray(self.mean + self.amplitude * np.cos(2.0 * np.pi * (hour - self.peak_hour) / 24.0))


class CapacityConfig(_Strict):
    """Capacity of the grid connection as a share of its nominal power.

    Noise forgets half of itself in an hour (0.5^(1/12) = 0.944 a tick), as long as an outage lasts on average. Outages take away a share
    of what is there; between two of them lie on average ``24 / outages_per_day - outage_hours`` hours.
    """

    base: Annotated[float, Field(ge=0.0, le=1.0)] = 0.95
    dip: Annotated[float, Field(ge=0.0, le=1.0)] = 0.55  # taken off the base in the evening
    dip_start: Hour = 16.5  # hour of the day
    dip_end: Hour = 21.5  # hour of the day, after dip_start
    sd: Annotated[float, Field(ge=0.0)] = 0.08  # of the noise
    phi: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.944  # autocorrelation of the noise after one tick
    outages_per_day: Annotated[float, Field(ge=0.0)] = 1.0
    outage_hours: Annotated[float, Field(gt=0.0)] = 1.0  # mean duration
    outage_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2
    low: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    high: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.low <= self.high:
            raise ValueError(f"capacity: low is {self.low} and high {self.high}, expected low <= high")
        if not self.dip_start <= self.dip_end:
            raise ValueError(f"capacity: dip_start is {self.dip_start} and dip_end {self.dip_end}, expected dip_start <= dip_end")
        if self.outages_per_day * self.outage_hours >= 24.0:
            raise ValueError(f"capacity: {self.outages_per_day} outages a day of {self.outage_hours} h fill the whole day")
        return self

    def by_tick(self) -> FloatArray:
        """Base less dip at each tick of the day, (288,)."""
        hour = np.arange(TICKS_PER_DAY) / TICKS_PER_HOUR
        return np.where((hour >= self.dip_start) & (hour < self.dip_end), self.base - self.dip, self.base)

    def outage_chances(self) -> tuple[float, float]:
        """Probability that an outage begins in a tick without one, and that it ends in a tick with one."""
        hours_between = 24.0 / self.outages_per_day - self.outage_hours if self.outages_per_day else math.inf
        return min(1.0, 1.0 / (hours_between * TICKS_PER_HOUR)), min(1.0, 1.0 / (self.outage_hours * TICKS_PER_HOUR))


@kernel
def _weather_block(day, phi, sd, root, episodes, start, first, last, history, ambient):  # type: ignore[no-untyped-def]
    n = last - first
    streams, x, tick = np.empty((n, 4), dtype=np.uint64), np.empty(n), np.empty(n, dtype=np.int64)
    _weather(day, phi, sd, root, episodes, start, first, history, ambient, streams, x, tick)


@leaf_kernel
def _weather(day, phi, sd, root, episodes, start, first, history, ambient, streams, x, tick):  # type: ignore[no-untyped-def]
    n = len(x)
    step = sd * math.sqrt(1.0 - phi * phi)
    for i in range(n):
        seed_stream(root, episodes[first + i], WEATHER_STREAM, streams[i])
        x[i] = sd * normal(streams[i])
        tick[i] = (start[first + i] - history) % _DAY
    for t in range(len(ambient)):
        for i in range(n):
            ambient[t, first + i] = day[tick[i]] + x[i]
            x[i] = phi * x[i] + step * normal(streams[i])
            tick[i] = tick[i] + 1 if tick[i] + 1 < _DAY else 0


@kernel
def _capacity_block(day, p, root, episodes, start, first, last, history, capacity):  # type: ignore[no-untyped-def]
    n = last - first
    streams, x, left, tick = np.empty((n, 4), dtype=np.uint64), np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
    _capacity(day, p, root, episodes, start, first, history, capacity, streams, x, left, tick)


@leaf_kernel
def _capacity(day, p, root, episodes, start, first, history, capacity, streams, x, left, tick):  # type: ignore[no-untyped-def]
    """``left`` is the share of the capacity that outages leave."""
    phi, sd, begin, end, share, low, high = p
    n = len(x)
    step = sd * math.sqrt(1.0 - phi * phi)
    for i in range(n):
        seed_stream(root, episodes[first + i], CAPACITY_STREAM, streams[i])
        x[i] = sd * normal(streams[i])
        left[i] = 1.0 - share if uniform(streams[i]) < begin / (begin + end) else 1.0
        tick[i] = (start[first + i] - history) % _DAY
    for t in range(len(capacity)):
        for i in range(n):
            capacity[t, first + i] = min(max((day[tick[i]] + x[i]) * left[i], low), high)
            x[i] = phi * x[i] + step * normal(streams[i])
            u = uniform(streams[i])
            if left[i] == 1.0:
                left[i] = 1.0 - share if u < begin else 1.0
            else:
                left[i] = 1.0 if u < end else 1.0 - share
            tick[i] = tick[i] + 1 if tick[i] + 1 < _DAY else 0


@kernel
def _serial(day, phi, sd, grid_day, p, root, episodes, start, history, ambient, capacity):  # type: ignore[no-untyped-def]
    for first in range(0, len(episodes), _BLOCK):
        last = min(first + _BLOCK, len(episodes))
        _weather_block(day, phi, sd, root, episodes, start, first, last, history, ambient)
        _capacity_block(grid_day, p, root, episodes, start, first, last, history, capacity)


@parallel_kernel
def _parallel(day, phi, sd, grid_day, p, root, episodes, start, history, ambient, capacity):  # type: ignore[no-untyped-def]
    for block in numba.prange((len(episodes) + _BLOCK - 1) // _BLOCK):
        first = block * _BLOCK
        last = min(first + _BLOCK, len(episodes))
        _weather_block(day, phi, sd, root, episodes, start, first, last, history, ambient)
        _capacity_block(grid_day, p, root, episodes, start, first, last, history, capacity)


def simulate_weather_and_capacity(
    weather: WeatherConfig,
    grid: CapacityConfig,
    root: np.uint64,
    episodes: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    ticks: int,
    history: int,
) -> tuple[FloatArray, FloatArray]:
    """Ambient temperature (H + T, B) degC and capacity (H + T, B) in [0, 1] of ``episodes`` (B,) whose tick 0 is at ``start`` (B,)."""
    ambient, capacity = np.empty((history + ticks, len(episodes))), np.empty((history + ticks, len(episodes)))
    p = (grid.phi, grid.sd, *grid.outage_chances(), grid.outage_share, grid.low, grid.high)
    run = _serial if len(episodes) < _BLOCK else _parallel
    run(weather.by_tick(), weather.phi, weather.sd, grid.by_tick(), p, root, episodes, start, history, ambient, capacity)
    return ambient, capacity
