"""The scale on which prices are learned from: an inverse hyperbolic sine around a running median."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["AsinhScale", "Recode"]

FloatArray = npt.NDArray[np.float64]
Recode = Callable[[FloatArray], FloatArray]

WINDOW_DAYS: Final = 14
FIRST: Final = (
    12  # rows after which the scale is found again for the first time, then at each doubling up to a day, then once a day
)
WIDEST: Final = 100.0  # greatest |z| decoded: exp(100) times the scale is beyond any price, and finite
TINY: Final = 1e-12


class AsinhScale:
    """``z = asinh((price - centre) / scale)`` per channel, with centre the median and scale the mean absolute deviation of two weeks.

    Linear for ordinary prices and logarithmic for spikes of either sign, so that one price of 20,000 $/MWh does not rule a regression;
    as it is monotone, medians and quantiles pass through it unchanged (Uniejewski, Weron and Ziel 2018, "Variance stabilizing
    transformations for electricity spot price forecasting", IEEE Transactions on Power Systems 33(2)).
    """

    def __init__(self, channels: int, steps_per_day: int) -> None:
        self.centre = np.zeros(channels)  # (C,) price
        self.scale = np.ones(channels)  # (C,) price, > 0
        self.rows = 0
        self._day = steps_per_day
        self._every = max(1, steps_per_day // 48)  # half an hour
        self._steps = np.zeros(channels)  # running median of |change|, by stochastic approximation
        self._last = np.zeros(channels)
        self._window = np.zeros((WINDOW_DAYS * 48, channels))
        self._next = FIRST

    def learn(self, prices: FloatArray) -> Recode | None:
        """Take in ``prices`` ``(C,)``; where the scale changed, the function that takes old z ``(..., C)`` to new ones."""
        # Every row of the first day, then one every half hour.
        slot = self.rows if self.rows < self._day else self._day + (self.rows - self._day) // self._every
        if self.rows < self._day or self.rows % self._every == 0:
            self._window[slot % len(self._window)] = prices
        self.rows += 1
        change = np.abs(prices - self._last)
        self._last = prices
        self._steps = self._steps * np.where(change > self._steps, 1.02, 1.0 / 1.02)
        if self.rows > 1 and self.rows < self._next:
            return None
        self._next = self.rows + min(self.rows, self._day) if self.rows >= FIRST else FIRST
        old = AsinhScale.__new__(AsinhScale)
        old.centre, old.scale = self.centre, self.scale
        self._find(self._window[: min(slot + 1, len(self._window))])
        return (lambda z: self.encode(old.decode(z))) if self.rows > 1 else None

    def encode(self, prices: FloatArray) -> FloatArray:
        """``prices`` ``(..., C)`` to z."""
        z: FloatArray = np.arcsinh((prices - self.centre) / self.scale)
        return z

    def decode(self, z: FloatArray) -> FloatArray:
        """The prices of ``z`` ``(..., C)``."""
        prices: FloatArray = self.centre + self.scale * np.sinh(np.clip(z, -WIDEST, WIDEST))
        return prices

    def _find(self, window: FloatArray) -> None:
        self.centre = np.median(window, axis=0)
        distance = np.abs(window - self.centre)
        # The median distance is 0 where a price stands at a floor most of the time; a share of the trimmed mean keeps the scale honest.
        trimmed = np.minimum(distance, np.quantile(distance, 0.95, axis=0)).mean(axis=0)
        if 1 < self.rows <= self._day:  # every row is in the window
            self._steps = np.median(np.abs(np.diff(window, axis=0)), axis=0)
        # How far a random walk of such steps gets in half a day: early on a walk has not shown yet how far it goes.
        walk = self._steps * (0.5 * self._day) ** 0.5
        floor = np.maximum(0.03 * (self.rows < self._day), 1e-3) * np.abs(self.centre)
        self.scale = np.maximum.reduce([1.5 * np.median(distance, axis=0), trimmed, walk, floor, np.full_like(trimmed, TINY)])
