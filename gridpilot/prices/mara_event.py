"""The price feed of the MARA Hackathon 2025: a bounded multiplicative random walk.

    p' = clip(p (1 + u), low, high),  u uniform in (-a, a), independent in time and across the three prices

Bounds and start are in the API's raw units, which have no time in them: there ``cost = watts x price`` per row. Read literally that is
``energy $/kWh = price x 1000 / dt``, a thousand times any real tariff, so an arena multiplies each price with a ``scale`` of its own; the
preset's file says how it was chosen.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numba
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gridpilot.configuration import validate
from gridpilot.market.compilation import kernel, leaf_kernel, parallel_kernel
from gridpilot.market.random import PRICE_STREAM, seed_stream, uniform
from gridpilot.prices.base import SERIAL_BELOW, FloatArray, IntArray, PriceModel, check_request
from gridpilot.prices.kernels import draw_start

__all__ = ["BoundedWalk", "MaraEventConfig", "MaraEventPrices"]

_BLOCK = 64
Positive = Annotated[float, Field(gt=0.0)]


class BoundedWalk(BaseModel):
    """One price of the feed, in the API's units."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    opening: Positive
    step: Annotated[float, Field(gt=0.0, lt=1.0)]  # a: greatest relative move in a tick
    low: Positive
    high: Positive
    scale: Positive  # $/kWh, $ per PH/s h or $ per million tokens for one unit of the API

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.opening <= self.high or self.low == self.high:
            raise ValueError(
                f"low is {self.low}, opening {self.opening} and high {self.high}, expected low <= opening <= high and low < high"
            )
        return self


class MaraEventConfig(BaseModel):
    """What :class:`MaraEventPrices` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    energy: BoundedWalk
    hash: BoundedWalk
    token: BoundedWalk
    begin: Literal["opening", "stationary"] = "stationary"  # where an episode's first row stands
    weekday: Annotated[int, Field(ge=0, le=6)] | None = None  # on which episodes start, Monday = 0; None draws one


@leaf_kernel
def _walk(p, k, price, u):  # type: ignore[no-untyped-def]
    return min(max(price * (1.0 + p[k, 0] * (2.0 * u - 1.0)), p[k, 1]), p[k, 2])


@kernel
def _simulate_block(p, root, episodes, first, last, burn_in, weekday, prices, start):  # type: ignore[no-untyped-def]
    stream = np.empty(4, dtype=np.uint64)
    for b in range(first, last):
        seed_stream(root, episodes[b], PRICE_STREAM, stream)
        start[b] = draw_start(stream, weekday)
        energy, hashing, token = p[0, 3], p[1, 3], p[2, 3]
        for t in range(-burn_in, len(prices)):
            if t >= 0:
                prices[t, b, 0] = energy * p[0, 4]
                prices[t, b, 1] = hashing * p[1, 4]
                prices[t, b, 2] = token * p[2, 4]
            energy = _walk(p, 0, energy, uniform(stream))
            hashing = _walk(p, 1, hashing, uniform(stream))
            token = _walk(p, 2, token, uniform(stream))


@kernel
def _serial(p, root, episodes, burn_in, weekday, prices, start):  # type: ignore[no-untyped-def]
    _simulate_block(p, root, episodes, 0, len(episodes), burn_in, weekday, prices, start)


@parallel_kernel
def _parallel(p, root, episodes, burn_in, weekday, prices, start):  # type: ignore[no-untyped-def]
    for block in numba.prange((len(episodes) + _BLOCK - 1) // _BLOCK):
        first = block * _BLOCK
        _simulate_block(p, root, episodes, first, min(first + _BLOCK, len(episodes)), burn_in, weekday, prices, start)


class MaraEventPrices(PriceModel):
    """Simulates a :class:`MaraEventConfig`, whose fields are the ``parameters``.

    Raises :class:`~gridpilot.errors.ConfigError` for parameters that are missing, unknown or out of range, naming each.
    """

    def __init__(self, **parameters: Any) -> None:
        config = self.config = validate(MaraEventConfig, parameters, "prices")
        walks = (config.energy, config.hash, config.token)
        self._parameters = np.array([[walk.step, walk.low, walk.high, walk.opening, walk.scale] for walk in walks])
        # The walk forgets its start in the time it takes to diffuse between its bounds, ln(high / low)^2 / (a^2 / 3), and drifts down
        # faster than that; three such times are enough, ten days bound the cost.
        times = [3.0 * np.log(walk.high / walk.low) ** 2 / (walk.step**2 / 3.0) for walk in walks]
        self._burn_in = 0 if config.begin == "opening" else int(min(2880.0, max(times)))

    def simulate(self, root: int, episodes: npt.ArrayLike, ticks: int, *, history: int = 0) -> tuple[FloatArray, IntArray]:
        """Draw price paths; see :class:`~gridpilot.prices.base.PriceModel`."""
        seed, numbers, ticks, history = check_request(root, episodes, ticks, history)
        prices = np.empty((history + ticks, len(numbers), 3))
        start = np.empty(len(numbers), dtype=np.int64)
        weekday = -1 if self.config.weekday is None else self.config.weekday
        run = _serial if len(numbers) < SERIAL_BELOW else _parallel
        run(self._parameters, seed, numbers, self._burn_in, weekday, prices, start)
        return prices, start
