"""What a journal tells an engine that starts: rows, the last decision, and a command whose outcome nobody knows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gridpilot.live.api import Counts, PriceRow, parse_time
from gridpilot.live.controller import State
from gridpilot.live.facility import Facility
from gridpilot.live.journal import Journal, Record
from gridpilot.live.journal_json import row_from_json, state_from_json
from gridpilot.live.ledger import BOOKED, Earned, earned_of

__all__ = ["Recovery", "keep_newest", "last_state", "newest_first", "recover"]


@dataclass(frozen=True)
class Recovery:
    """What a journal ends in, from which an engine goes on."""

    rows: tuple[PriceRow, ...]  # accepted, oldest first
    row_at: datetime | None  # newest row that had its decision
    mark_at: datetime | None  # newest tick that had a decision of any kind
    unfinished: dict[str, Any] | None  # the last intent, where no outcome follows it
    last_state: State | None
    booked: Earned | None  # the last that was earned
    head: int  # seq of the last record

    def state(self, facility: Facility, running: tuple[Counts, ...] | None = None) -> State:
        """What a controller of ``facility`` starts with; ``running`` is what its venue reports."""
        sizes = [len(site.fleet) for site in facility.sites]
        state = self.last_state
        if state is None:
            state = State(facility.off)
        elif [len(each) for each in state.counts] != sizes:  # other machines, the same day's account
            state = State(facility.off, None, state.day, state.day_profit)
        return state if running is None else replace(state, counts=running)


def recover(journal: Journal, keep: int) -> Recovery:
    """Read what an engine needs to go on; the newest ``keep`` rows."""
    rows: dict[datetime, PriceRow] = {}
    for record in journal.records(kinds={"rows"}):
        for body in record.body["rows"]:
            row = row_from_json(body)
            rows[row.at] = row
    row_at = mark_at = None
    for record in journal.records(kinds={"decision"}):
        at = parse_time(record.body["at"])
        mark_at = at if mark_at is None else max(at, mark_at)
        if record.body["kind"] == "row":
            row_at = at if row_at is None else max(at, row_at)
    intent, outcome = journal.last("intent"), journal.last("outcome")
    unfinished = intent.body if intent is not None and (outcome is None or outcome.seq < intent.seq) else None
    state = last_state(journal)
    booked = (earned_of(record.body) for record in newest_first(journal, BOOKED))
    return Recovery(
        keep_newest(rows, keep), row_at, mark_at, unfinished, None if state is None else state_from_json(state),
        next((earned for earned in booked if earned is not None), None), journal.head[0],
    )  # fmt: skip


def last_state(journal: Journal) -> dict[str, Any] | None:
    """The newest ``state`` of a journal, as it was written."""
    records = newest_first(journal, {"session", "outcome", "reconciliation"})
    return next((record.body["state"] for record in records if "state" in record.body), None)


def newest_first(journal: Journal, kinds: Collection[str]) -> list[Record]:
    """The last record of each of ``kinds``, the newest first."""
    records = [record for kind in kinds if (record := journal.last(kind)) is not None]
    return sorted(records, key=lambda record: record.seq, reverse=True)


def keep_newest(rows: dict[datetime, PriceRow], keep: int) -> tuple[PriceRow, ...]:
    """The newest ``keep`` rows, oldest first."""
    return tuple(rows[at] for at in sorted(rows)[-keep:])
