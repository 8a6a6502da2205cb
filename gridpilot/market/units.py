"""The units of the whole project: kW, kWh, $, degC, h. One tick is five minutes."""

from __future__ import annotations

from typing import Final

__all__ = ["DT", "TICKS_PER_DAY", "TICKS_PER_HOUR", "TICKS_PER_WEEK"]

TICKS_PER_HOUR: Final = 12
TICKS_PER_DAY: Final = 24 * TICKS_PER_HOUR  # 288
TICKS_PER_WEEK: Final = 7 * TICKS_PER_DAY  # 2016; tick 0 of a week is Monday 00:00
DT: Final = 1.0 / TICKS_PER_HOUR  # h, length of a tick
