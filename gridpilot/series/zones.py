"""Local clocks and instants, both hours of a clock change included."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

__all__ = ["Clock", "zone_of_heading"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_HEADINGS: Final = (
    (r"\bCES?T/CES?T\b|\bCE[S]?T\b", "Europe/Brussels"),
    (r"\bEET/EEST\b", "Europe/Helsinki"),
    (r"\bWET/WEST\b", "Europe/Lisbon"),
    (r"\b(UTC|GMT)\b|_(utc|gmt)\b", "UTC"),
    (r"\bEPT\b|_ept\b", "America/New_York"),
    (r"\bCPT\b|_cpt\b", "America/Chicago"),
    (r"\bPPT\b|_ppt\b", "America/Los_Angeles"),
)


def zone_of_heading(name: str) -> str | None:
    """The zone that a heading as "MTU (CET/CEST)" or "datetime_beginning_ept" names."""
    return next((zone for pattern, zone in _HEADINGS if re.search(pattern, name)), None)


class Clock:
    """The clock of ``zone`` over a span of seconds since 1970."""

    def __init__(self, zone: str, first: int, last: int) -> None:
        info = ZoneInfo(zone)

        def offset(second: int) -> int:
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
            shift = at.astimezone(info).utcoffset()
            assert shift is not None
            return round(shift.total_seconds())

        days = range(first - 3 * 86400, last + 4 * 86400, 86400)
        changes, offsets = [], [offset(days[0])]
        for begin in days:
            low, high = begin, begin + 86400
            if offset(high) == offsets[-1]:
                continue
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
            changes.append(high)
            offsets.append(offset(high))
        self.changes: IntArray = np.array(changes, dtype=np.int64)  # instants
        self.offsets: IntArray = np.array(offsets, dtype=np.int64)  # before, between and after

    def of(self, instants: IntArray) -> IntArray:
        """What the clock shows."""
        return instants + self.offsets[np.searchsorted(self.changes, instants, side="right")]

    def instants(self, clock: IntArray) -> tuple[IntArray, BoolArray, BoolArray]:
        """Instants of what the clock shows, the earlier of two; where there is a later one; where the clock never shows it."""
        before = self.changes + self.offsets[:-1]  # what the clock shows when it changes
        part = np.searchsorted(before, clock, side="right")
        result = clock - self.offsets[part]
        twice = self._after_change(clock, part, before, later=True)
        never = self._after_change(clock, part, before, later=False)
        return result, twice, never

    def _after_change(self, clock: IntArray, part: IntArray, before: IntArray, *, later: bool) -> BoolArray:
        if not len(self.changes):
            return np.zeros(len(clock), dtype=np.bool_)
        after = self.changes + self.offsets[1:]
        if later:  # set back: shown again after the change
            at = np.minimum(part, len(before) - 1)
            return (part < len(before)) & (clock >= after[at]) & (clock < before[at])
        at = np.maximum(part - 1, 0)
        return (part > 0) & (clock >= before[at]) & (clock < after[at])

    def later(self, clock: IntArray) -> IntArray:
        """The later instant of what the clock shows twice."""
        part = np.searchsorted(self.changes + self.offsets[:-1], clock, side="right")
        return clock - self.offsets[np.minimum(part + 1, len(self.offsets) - 1)]
