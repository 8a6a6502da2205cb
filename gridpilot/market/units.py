"""The units of the whole project: kW, kWh, $, degC, h. One tick is five minutes; a price is one of three."""

from __future__ import annotations

from typing import Final

__all__ = ["CHANNELS", "DT", "TICKS_PER_DAY", "TICKS_PER_HOUR", "TICKS_PER_WEEK"]

TICKS_PER_HOUR: Final = 12
TICKS_PER_DAY: Final = 24 * TICKS_PER_HOUR  # 288
TICKS_PER_WEEK: Final = 7 * TICKS_PER_DAY  # 2016; tick 0 of a week is Monday 00:00
CHANNELS: Final = ("energy", "hash", "token")  # columns of every array of prices: $/kWh, and $ per unit of each product
DT: Final = 1.0 / TICKS_PER_HOUR  # h, length of a tick
