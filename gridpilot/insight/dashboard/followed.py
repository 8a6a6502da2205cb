"""A journal that is followed: the newest decisions and price rows of it, and what they come to; only what is new is read."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import GridPilotError
from gridpilot.insight.alarms import alarms
from gridpilot.insight.forecast_facts import Fan, forecaster_of, step_of
from gridpilot.insight.live_facts import Told, day_of, decision_of, status, told
from gridpilot.live.api import PriceRow
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import row_from_json
from gridpilot.live.lock import is_locked, lock_path
from gridpilot.live.noted_head import read_note

__all__ = ["Followed"]

Facts = dict[str, Any]
FloatArray = npt.NDArray[np.float64]

KEPT_DECISIONS: Final = 2016  # a week of ticks
RECORDS: Final = 5 * KEPT_DECISIONS  # that are read at first: a decision has three to five


class Followed:
    """The newest of a journal. Everything but :meth:`read`, :meth:`silent_s` and :attr:`engine_here` is as of the last :meth:`read`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self.head: tuple[int, str] | None = None
        self.decisions: list[Told] = []  # the newest, oldest first
        self.today: list[Told] = []  # those of the newest decision's UTC day
        self.rows: list[PriceRow] = []  # the newest, by time
        self.status: Facts = {}
        self.alarms: Facts = {}
        self.session: Facts = {}
        self.setback: str | None = None
        self.first = 0  # record behind which everything was read
        self._at_rows = 0
        self._fan: Fan | None = None
        self._foreseen: tuple[datetime, FloatArray] | None = None

    def read(self) -> None:
        """Read what was added; all of it anew where the journal is another one than it was."""
        with Journal(self.path, read_only=True) as journal:
            head = journal.head
            if self.head is not None and head != self.head and not _goes_on(journal, self.head):
                self._begin()
            if head == self.head:
                return
            if self.head is None:
                self.first = self._at_rows = max(0, head[0] - RECORDS)
            self._add_decisions(journal, head[0])
            self._add_rows(journal, head[0])
            self.status = status(journal)
            session = journal.last("session")
            self.session = {} if session is None else session.body
            self.setback = journal.setback()
            self.alarms = alarms(journal) if self.decisions or self.session else {}
            self.head = head

    def _add_decisions(self, journal: Journal, until: int) -> None:
        """The last decision is read again: its outcome comes after it."""
        last = self.decisions.pop() if self.decisions else None
        found = [one for one in told(journal, after=self.first if last is None else last.record.seq - 1) if one.record.seq <= until]
        if last is not None and found:
            found[0].session = last.session  # the journal's newest may have begun since
        self.decisions += found
        del self.decisions[:-KEPT_DECISIONS]
        day = self.decisions[-1].at.date() if self.decisions else None
        since = next((i for i, one in enumerate(reversed(self.decisions)) if one.at.date() != day), len(self.decisions))
        self.today = self.decisions[len(self.decisions) - since :]

    def _add_rows(self, journal: Journal, until: int) -> None:
        for record in journal.records(kinds={"rows"}, after=self._at_rows, until=until):
            self.rows += [row_from_json(row) for row in record.body["rows"]]
        self.rows.sort(key=lambda row: row.at)  # late ones come behind newer ones
        del self.rows[:-KEPT_DECISIONS]
        self._at_rows = until

    @property
    def records(self) -> int:
        """How many records it has."""
        return 0 if self.head is None else self.head[0]

    @property
    def engine_here(self) -> bool:
        """Whether an engine of this machine runs on it now."""
        return is_locked(lock_path(self.path))

    def day(self) -> Facts | None:
        """What the day of the newest decision has come to; None before there is a decision."""
        return day_of(self.today) if self.today else None

    def decision(self) -> Facts | None:
        """The newest decision."""
        return decision_of(self.decisions[-1]) if self.decisions else None

    def foreseen(self) -> tuple[str, datetime, FloatArray] | None:
        """Who forecasts, the newest row's time, and quantiles ``(H, 5)`` of the energy price behind it, API $/W; None without rows.

        The forecaster is the agent's own where it is named, and one that cannot be had here gives none. It is asked once a row.
        """
        if not self.rows:
            return None
        newest = self.rows[-1].at
        if self._foreseen is None or self._foreseen[0] != newest:
            try:
                self._fan = self._fan or Fan(forecaster_of(self.session))
                self._fan.learn([step_of(row.at) for row in self.rows], [row.energy for row in self.rows])
                self._foreseen = newest, self._fan.quantiles()
            except GridPilotError:
                return None
        return self._fan.by if self._fan else "", *self._foreseen

    def silent_s(self) -> float:
        """Wall s since anything was written."""
        times = [path.stat().st_mtime for path in (self.path, self.path.with_name(self.path.name + "-wal")) if path.exists()]
        return max(0.0, time.time() - max(times)) if times else 0.0

    def feed_age_s(self, now: datetime | None = None) -> float | None:
        """Age of the newest price row in feed s, where its times are those of this machine's clock; None elsewhere."""
        if not self.rows or self.session.get("venue") != "mara" or self.session.get("speed") != 1.0:
            return None
        return max(0.0, ((now or datetime.now(UTC)) - self.rows[-1].at).total_seconds())

    def is_chain_noted(self) -> bool:
        """Whether a head was noted beside the journal, by which a tail that was cut off would be seen."""
        return read_note(self.path) is not None


def _goes_on(journal: Journal, head: tuple[int, str]) -> bool:
    """Whether the record that was the head is still there: else the file is another one."""
    found = next(iter(journal.records(after=head[0] - 1, until=head[0])), None)
    return head[0] == 0 or (found is not None and found.hash == head[1])
