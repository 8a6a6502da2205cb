"""The price rows of a stand-in as time goes by."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from gridpilot.errors import LiveError
from gridpilot.live.api import TICK, PriceRow

__all__ = ["RowSource", "Rows"]

RowSource = Callable[[int], Sequence[PriceRow]]
"""Gives the first n rows of a feed without end, oldest first; a longer list begins with the shorter one."""

_BATCH: Final = 1024


class Rows:
    """Rows oldest first: a list, after whose end the feed stands still, or a source that is asked for more as they are needed.

    The first ``history`` rows are there from the start, every other one ``delay`` after its own time.
    """

    def __init__(self, feed: Sequence[PriceRow] | RowSource, history: int = 1, delay: timedelta = timedelta(0)) -> None:
        self._source = feed if callable(feed) else None
        self._rows = list(feed(history + _BATCH) if callable(feed) else feed)
        self._history, self._delay = history, delay
        if len(self._rows) < history:
            raise LiveError(f"the feed has {len(self._rows)} rows, expected at least history={history}")

    def __getitem__(self, number: int) -> PriceRow:
        return self._rows[number]

    def visible(self, now: datetime) -> int:
        """How many rows are there at ``now``."""
        until = now - self._delay
        while self._source is not None and self._rows[-1].at <= until:
            ahead = (until - self._rows[-1].at) // TICK
            self._rows = list(self._source(max(2 * len(self._rows), len(self._rows) + ahead + _BATCH)))
        return max(self._history, bisect.bisect_right(self._rows, until, key=lambda row: row.at))
