"""Climatology: what prices usually are at a time of day, learned beforehand from many days of a market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK

__all__ = ["Climatology", "recognise"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DAY_TYPES = ("weekday", "weekend")
FITS = 1.75  # a day of the very market that a climatology was learned from errs up to 1.6 times as much as its own median


@dataclass(frozen=True)
class Climatology:
    """Usual prices by slot of the day, weekday and weekend apart; S slots divide the 288 ticks of a day.

    ``energy``   ``(2, S)`` $/kWh, mean energy price
    ``premium``  ``(2, S)`` $/kWh, mean of the clearing price above the energy price: what scarcity adds
    ``days``     ``(D, S)`` $/kWh, clearing prices of typical days, for planners that look at risk
    """

    name: str
    energy: FloatArray
    premium: FloatArray
    days: FloatArray

    @classmethod
    def from_mapping(cls, name: str, data: Mapping[str, Any]) -> Climatology:
        """The climatology of a ``conf/climatology`` file.

        ``energy`` and ``premium`` have a list for ``weekday`` and one for ``weekend``, ``days`` is a list of lists. Raises
        :class:`~gridpilot.errors.ForecastError` naming what is wrong.
        """
        where = f"climatology {name!r}"
        parts = []
        for key in ("energy", "premium"):
            table = data.get(key)
            if not isinstance(table, Mapping) or set(table) != set(DAY_TYPES):
                raise ForecastError(f"{where}: {key} is {table!r:.60}, expected a list for each of {' and '.join(DAY_TYPES)}")
            parts.append(_array([table[day] for day in DAY_TYPES], f"{where}: {key}"))
        energy, premium = parts
        slots = energy.shape[1]
        if slots < 1 or TICKS_PER_DAY % slots or premium.shape != energy.shape:
            raise ForecastError(
                f"{where}: {slots} slots of energy and {premium.shape[1]} of premium, expected a divisor of {TICKS_PER_DAY}"
            )
        days = _array(data.get("days", []), f"{where}: days") if data.get("days") else np.zeros((0, slots))
        if days.shape[1] != slots:
            raise ForecastError(f"{where}: days have {days.shape[1]} slots, expected {slots}")
        return cls(name, energy, premium, days)

    def slots(self, week_tick: IntArray) -> tuple[IntArray, IntArray]:
        """Day type (0 weekday, 1 weekend) and slot of ticks of the week, Monday 00:00 = 0."""
        week_tick = np.asarray(week_tick) % TICKS_PER_WEEK
        day_type = (week_tick // TICKS_PER_DAY >= 5).astype(np.int64)
        return day_type, week_tick % TICKS_PER_DAY // (TICKS_PER_DAY // self.energy.shape[1])

    def expected(self, week_tick: IntArray) -> tuple[FloatArray, FloatArray]:
        """Usual energy price and premium, $/kWh each, at these ticks of the week."""
        at = self.slots(week_tick)
        return self.energy[at], self.premium[at]


def recognise(climatologies: Sequence[Climatology], energy: FloatArray, week_tick: IntArray) -> IntArray:
    """Which climatology fits a history of energy prices best, for each of P markets; -1 where none fits.

    ``energy (h, P)`` $/kWh with ``week_tick (h, P)``. The measure is the mean absolute error, deviations cut at three times the median
    deviation; a climatology fits when it errs at most ``FITS`` times as much as the best constant, the median. Without history the first
    one is taken.
    """
    markets = energy.shape[1]
    if not climatologies:
        return np.full(markets, -1, dtype=np.int64)
    if not len(energy):
        return np.zeros(markets, dtype=np.int64)
    median = np.median(energy, axis=0)
    deviation = np.abs(energy - median)
    limit = 3.0 * np.median(deviation, axis=0) + 1e-3 * np.abs(median) + 1e-9
    constant = np.minimum(deviation, limit).mean(axis=0)
    errors = np.array([np.minimum(np.abs(energy - one.expected(week_tick)[0]), limit).mean(axis=0) for one in climatologies])
    best = errors.argmin(axis=0)
    return np.where(errors.min(axis=0) <= FITS * constant + 1e-12, best, -1)


def _array(values: Any, where: str) -> FloatArray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ForecastError(f"{where} is {values!r:.60}, expected lists of equal length of numbers") from error
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ForecastError(f"{where} is {values!r:.60}, expected lists of equal length of finite numbers")
    return array
