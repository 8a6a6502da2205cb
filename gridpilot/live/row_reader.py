"""Reading the venue's prices: what is acceptable is taken, what is not is written down and told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gridpilot.live.accepted_rows import BACKWARDS, AcceptedRows, RefusedRow, newest_of
from gridpilot.live.agenda import Agenda
from gridpilot.live.api import PriceRow, format_time
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import refused_row_to_json
from gridpilot.live.venue import Venue
from gridpilot.live.watch import Watch

__all__ = ["RowReader"]


class RowReader:
    """Takes the venue's rows into ``accepted``; ``agenda``, ``journal`` and ``watch`` hear of those that are refused."""

    def __init__(self, venue: Venue, accepted: AcceptedRows, agenda: Agenda, journal: Journal, watch: Watch) -> None:
        self._venue, self._accepted, self._agenda, self._journal, self._watch = venue, accepted, agenda, journal, watch
        self.went_back = False  # the feed ends before the newest row
        self._unread: list[PriceRow] = []  # accepted, and not yet told to anybody

    def read(self) -> float:
        """Read once; wall seconds when the answer was there. Raises :class:`~gridpilot.errors.VenueError`."""
        entries = self._venue.prices()
        seen = self._venue.clock.monotonic()
        if not self._has_gone_back(entries):  # rows of another feed: those of the same times are others, and none is newer
            self._take(entries)
        return seen

    @property
    def has_unread(self) -> bool:
        """Whether rows were accepted that nobody has been told of."""
        return bool(self._unread)

    def unread(self) -> list[PriceRow]:
        """Those rows, which are told of by this."""
        rows, self._unread = self._unread, []
        return rows

    def refuse(self, refusal: RefusedRow) -> None:
        """Tell of a row that was refused as data, and is in the journal."""
        self._watch.refused_row(refusal.reason, refusal.message)
        clock = self._venue.clock
        self._agenda.refuse(refusal, self._accepted.newest, clock.now(), clock.monotonic())

    def _take(self, entries: Sequence[Any]) -> None:
        merge = self._accepted.merge(entries, self._venue.clock.now())
        self._unread += merge.accepted
        if merge.refused:  # one transaction a reading
            self._journal.append([("refused_row", refused_row_to_json(each)) for each in merge.refused], at=self._venue.clock.now())
        for refusal in merge.refused:
            self.refuse(refusal)

    def _has_gone_back(self, entries: Sequence[Any]) -> bool:
        """Whether the feed ends before rows that are known: the server was replaced, or its feed begun again."""
        known, newest = self._accepted.newest, newest_of(entries)
        back = known is not None and newest is not None and newest < known.at - BACKWARDS
        if back and not self.went_back:
            assert known is not None
            assert newest is not None
            self._watch.note(
                "feed_went_back",
                f"the newest row is of {format_time(newest)}, and {format_time(known.at)} was known: the server was replaced, or its feed "
                "begun again; nothing is decided by its rows before they are newer, and another live.journal begins anew",
            )
        self.went_back = back
        return back
