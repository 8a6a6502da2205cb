"""What a journal has told so far: the state and the counts of recent hours that alarms are judged by.

Records are read in order, as they are written or long after. Time is the engine's, as the records have it; a halt and a resume are
written by others, whose clock may be another one, and count from the moment of the record before them.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Any, Final

from gridpilot.live.api import TICK, parse_time
from gridpilot.live.journal import Journal, Record
from gridpilot.live.recovery import newest_first

__all__ = ["FOLLOWED", "Trail", "power_w"]

FOLLOWED: Final = frozenset(
    {"session", "rows", "refused_row", "decision", "intent", "outcome", "reconciliation", "off", "api", "halt", "resume", "stop"}
)
FOREIGN: Final = frozenset({"halt", "resume"})  # kinds that other programs write, by their own clock
STATES: Final = frozenset({"session", "rows", "outcome", "reconciliation", "api", "halt", "resume", "stop"})
LONGEST: Final = timedelta(days=1)  # that an event is remembered
RECENT: Final = 3000  # records from which recent hours are known: a day has some 2,000


class Trail:
    """Follows records; ``None`` and empty before the first."""

    def __init__(self) -> None:
        self.seq = 0  # of the last record read
        self.now: datetime | None = None  # engine's time, UTC
        self.written: datetime | None = None  # when the last record was
        self.session: dict[str, Any] | None = None  # its body
        self.stopped: str | None = None  # why the last session ended; None while one runs
        self.halted = self.api_down = False
        self.halt_why = ""
        self.newest_row: datetime | None = None
        self.power_w = 0  # as last commanded
        self._decided: datetime | None = None  # the session's last tick
        self._passed = 0  # ticks up to the last decision that are not counted yet
        self._fresh: datetime | None = None  # tick whose decision was made for its own row
        self._counted: datetime | None = None  # newest tick counted as fresh
        self._events: dict[str, deque[tuple[datetime, int]]] = {}

    @classmethod
    def of(cls, journal: Journal) -> Trail:
        """What a journal's end tells: its state, and the counts of recent hours."""
        trail, head = cls(), journal.head[0]
        after = max(0, head - RECENT)
        for record in reversed(newest_first(journal, STATES)):
            if record.seq <= after:
                trail.read(record)
        trail.follow(journal, after=after)
        return trail

    def follow(self, journal: Journal, *, after: int | None = None) -> None:
        """Read what has been written since."""
        for record in journal.records(kinds=FOLLOWED, after=self.seq if after is None else after):
            self.read(record)

    @property
    def cap_w(self) -> int | None:
        """The limit of all sites; None before the first session."""
        return None if self.session is None else int(self.session["cap_w"])

    def advance(self, at: datetime) -> None:
        """It is now ``at``; time never goes back."""
        self.now = at if self.now is None else max(self.now, at)

    def count(self, event: str, within: timedelta) -> int:
        """How often ``event`` came ``within`` the time up to now, at most a day."""
        if self.now is None or event not in self._events:
            return 0
        events = self._events[event]
        while events and self.now - events[0][0] > LONGEST:
            events.popleft()
        return sum(n for at, n in events if self.now - at <= within)

    def read(self, record: Record) -> None:
        """Take the next record."""
        if record.kind not in FOREIGN:
            self.advance(record.at)
            self.written = record.at
        self.seq = record.seq
        body = record.body
        match record.kind:
            case "session":
                self.session, self.stopped, self._decided = body, None, None
                self.api_down = False
            case "stop":
                self.stopped = str(body["why"])
            case "rows":
                newest = max(parse_time(row[0]) for row in body["rows"])
                self.newest_row = newest if self.newest_row is None else max(newest, self.newest_row)
            case "refused_row":
                self._note("refused_row")
            case "decision":
                self._decide(body)
            case "intent":
                # Sent again by itself; the first one of a session sees to what was left unfinished.
                if body["attempt"] > 1 and self._decided is not None:
                    self._note("mismatch")
            case "outcome":
                self._outcome(body)
            case "reconciliation":
                self.power_w = power_w(self.session, body["counts"])
                if str(body["message"]).startswith("foreign_command"):
                    self._note("mismatch")
            case "off" if body["confirmed"]:
                self.power_w = 0
            case "api":
                self.api_down = body["state"] == "down"
            case "halt" | "resume":
                self.halted, self.halt_why = record.kind == "halt", str(body.get("why", ""))

    def _decide(self, body: dict[str, Any]) -> None:
        at = parse_time(body["at"])
        passed = 1 if self._decided is None else max(0, round((at - self._decided) / TICK))
        self._decided = at if self._decided is None else max(at, self._decided)
        self._note("tick", self._passed)  # of a decision whose outcome was never written
        self._passed = passed
        if body["reason"] != "agent":
            self._note("fallback")
        self._fresh = at if body["fresh"] else None

    def _outcome(self, body: dict[str, Any]) -> None:
        self.power_w = power_w(self.session, body["counts"])
        self._note("tick", self._passed)  # together with whether it was fresh, so that none is missing in between
        self._passed = 0
        self._note("mismatch", int(body.get("mismatches", 0)))
        if body["status"] in ("refused", "unknown"):
            self._note("failed_command")
        if self._fresh is not None and body["status"] in ("applied", "shadow") and self._fresh != self._counted:
            self._note("fresh")
            self._counted = self._fresh

    def _note(self, event: str, times: int = 1) -> None:
        if times and self.now is not None:
            self._events.setdefault(event, deque()).append((self.now, times))


def power_w(session: dict[str, Any] | None, counts: list[list[int]]) -> int:
    """W that these machines draw; the facility may have changed since they were counted."""
    fleets = [] if session is None else [[kind["power_w"] for kind in site["fleet"]] for site in session["sites"]]
    pairs = zip(fleets, counts, strict=False)
    return sum(n * power for fleet, each in pairs for n, power in zip(each, fleet, strict=False))
