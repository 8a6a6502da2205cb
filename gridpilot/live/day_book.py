"""A journal tick by tick: what was earned in each, what could have been, and why it was not.

What was earned is what the records booked (:mod:`gridpilot.live.ledger`). What could have been is worked out anew, exactly, from the row's
prices and the machines and the limit of the session that ran: the best there is in hindsight, nothing, and each class of machines alone.
The book holds the ticks from the first decision to the last, those without one among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from gridpilot.live.alarms import Alarm, Hindsight
from gridpilot.live.api import TICK, PriceRow, parse_time
from gridpilot.live.facility import Facility
from gridpilot.live.journal import Journal, Record
from gridpilot.live.journal_json import facility_from_json, row_from_json
from gridpilot.live.ledger import earned_of

__all__ = ["Book", "Halt", "Tick", "read_book"]

ROOTS: Final = ("api_down", "feed_went_back")  # causes that others follow from, such as a feed that is stale


@dataclass
class Tick:
    """Five minutes. Money in the API's $."""

    at: datetime
    revenue: float = 0.0
    cost: float = 0.0
    mode: str = ""  # live or shadow; "" where nothing was decided
    kind: str = ""  # of its last decision
    reason: str = ""
    causes: tuple[str, ...] = ()
    status: str = ""  # of its last command
    decided: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)  # reason and causes of each decision
    fresh: bool = False  # whether a feasible decision for its own row was made in time
    foreign: bool = False  # whether somebody else steered the site in it
    said: list[Mapping[str, Any]] = field(default_factory=list)  # what agents said of their bids, a mapping a site
    alternatives: Mapping[str, float] | None = None  # profit of other choices; None where its prices are not known

    @property
    def profit(self) -> float:
        """What was earned."""
        return self.revenue - self.cost

    @property
    def forgone(self) -> float:
        """Profit of the best choice in hindsight minus its own."""
        return (0.0 if self.alternatives is None else self.alternatives["best"]) - self.profit

    @property
    def why(self) -> str:
        """The one cause that what was forgone is put down to: the gravest thing that happened in it."""
        if self.foreign:
            return "foreign_command"
        if not self.decided:
            return "no_decision"
        if "halted" in self.causes:
            return "halted"
        if self.kind != "row" and self.causes:
            return next((cause for cause in ROOTS if cause in self.causes), self.causes[0])
        if self.status not in ("applied", "shadow"):
            return f"command_{self.status or 'unknown'}"
        if self.reason != "agent":
            return self.causes[0] if self.causes else self.reason
        return "agent"


@dataclass
class Halt:
    """A halt by hand. Times are those of the record before it, by the engine's clock."""

    since: datetime
    why: str
    until: datetime | None = None  # None where nobody has resumed
    resumed_why: str = ""


@dataclass
class Book:
    """What a journal holds, by tick."""

    ticks: dict[datetime, Tick]  # every five minutes from the first decision to the last
    alarms: list[Alarm]
    halts: list[Halt]
    sessions: list[tuple[datetime, dict[str, Any]]]  # when each began, and its body

    @property
    def last(self) -> datetime | None:
        """The last tick that had a decision."""
        return max(self.ticks, default=None)


def read_book(journal: Journal) -> Book:
    """Read a whole journal. Raises :class:`~gridpilot.errors.JournalError` for records that cannot be read."""
    reader = _Reader()
    for record in journal.records():
        reader.read(record)
    return reader.book()


class _Reader:
    """Takes records in order."""

    def __init__(self) -> None:
        self._ticks: dict[datetime, Tick] = {}
        self._rows: dict[datetime, PriceRow] = {}
        self._halts: list[Halt] = []
        self._hindsight = Hindsight()
        self._sessions: list[tuple[datetime, dict[str, Any]]] = []
        self._facilities: list[Facility] = []
        self._fresh: datetime | None = None  # tick whose last decision was fresh

    def read(self, record: Record) -> None:
        """Take the next record."""
        self._hindsight.read(record)
        body = record.body
        match record.kind:
            case "session":
                self._sessions.append((record.at, body))
                self._facilities.append(facility_from_json(body))
            case "rows":
                self._rows |= {row.at: row for row in map(row_from_json, body["rows"])}
            case "decision":
                self._decide(body)
            case "outcome":
                self._outcome(body)
            case "rationale":
                self._at(parse_time(body["at"])).said += body["sites"]
            case "reconciliation":
                self._earn(body)
                if str(body["message"]).startswith("foreign_command") and (earned := earned_of(body)) is not None:
                    self._at(earned.at).foreign = True
            case "halt":
                if not self._halts or self._halts[-1].until is not None:
                    self._halts.append(Halt(self._hindsight.trail.now or record.at, str(body.get("why", ""))))
            case "resume":
                if self._halts and self._halts[-1].until is None:
                    self._halts[-1].until = self._hindsight.trail.now or record.at
                    self._halts[-1].resumed_why = str(body.get("why", "")) or "by hand"

    def book(self) -> Book:
        """Everything, when the last record was read."""
        decided = [tick.at for tick in self._ticks.values() if tick.decided]
        if decided:
            first, last = min(decided), max(decided)
            for i in range(round((last - first) / TICK) + 1):
                self._at(first + i * TICK)
            self._value(first, last)
        ticks = {at: self._ticks[at] for at in sorted(self._ticks)}
        return Book(ticks, self._hindsight.alarms(), self._halts, self._sessions)

    def _at(self, at: datetime) -> Tick:
        return self._ticks.setdefault(at, Tick(at))

    def _decide(self, body: dict[str, Any]) -> None:
        at = parse_time(body["at"])
        tick = self._at(at)
        tick.mode = self._sessions[-1][1]["mode"] if self._sessions else ""
        tick.kind, tick.reason, tick.causes, tick.status = body["kind"], body["reason"], tuple(body["causes"]), ""
        tick.decided.append((tick.reason, tick.causes))
        self._fresh = at if body["fresh"] else None

    def _outcome(self, body: dict[str, Any]) -> None:
        at = parse_time(body["at"])
        tick = self._at(at)
        tick.status = body["status"]
        tick.fresh = tick.fresh or (self._fresh == at and body["status"] in ("applied", "shadow"))
        self._earn(body)

    def _earn(self, body: dict[str, Any]) -> None:
        earned = earned_of(body)
        if earned is not None:
            tick = self._at(earned.at)
            tick.revenue += earned.revenue
            tick.cost += earned.cost

    def _value(self, first: datetime, last: datetime) -> None:
        """What could have been earned in each tick whose prices are known, with the machines of the session that ran then."""
        begun = [at for at, _ in self._sessions]
        session = 0
        for at in sorted(self._rows):
            if first <= at <= last:
                while session + 1 < len(begun) and begun[session + 1] <= at + TICK:
                    session += 1
                self._at(at).alternatives = self._facilities[session].alternatives(self._rows[at].prices)
