"""What a journal tells an engine that starts: rows, the last decision, and a command whose outcome nobody knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gridpilot.live.api import Counts, PriceRow, parse_time
from gridpilot.live.controller import State
from gridpilot.live.facility import Facility
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import row_from_json, state_from_json

__all__ = ["Recovery", "keep_newest", "recover"]


@dataclass(frozen=True)
class Recovery:
    """What a journal ends in, from which an engine goes on."""

    rows: tuple[PriceRow, ...]  # accepted, oldest first
    row_at: datetime | None  # newest row that had its decision
    mark_at: datetime | None  # newest tick that had a decision of any kind
    unfinished: dict[str, Any] | None  # the last intent, where no outcome follows it
    last_state: State | None
    head: int  # seq of the last record

    def state(self, facility: Facility, running: tuple[Counts, ...] | None = None) -> State:
        """What a controller of ``facility`` starts with; ``running`` is what its venue reports."""
        sizes = [len(site.fleet) for site in facility.sites]
        state = self.last_state
        if state is None or [len(each) for each in state.counts] != sizes:
            state = State(facility.off)
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
    last_state = None if outcome is None else state_from_json(outcome.body["state"])
    return Recovery(keep_newest(rows, keep), row_at, mark_at, unfinished, last_state, journal.head[0])


def keep_newest(rows: dict[datetime, PriceRow], keep: int) -> tuple[PriceRow, ...]:
    """The newest ``keep`` rows, oldest first."""
    return tuple(rows[at] for at in sorted(rows)[-keep:])
