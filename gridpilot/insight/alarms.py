"""Alarms that a journal alone can raise: the rules of docs/live/alerts.yml as far as what they watch is written down.

What only the running process knows (its heartbeat, the clock's skew, the replica's drift) is named as not seen, never as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from gridpilot.insight.live_facts import Told, told
from gridpilot.live.api import TICK
from gridpilot.live.journal import Journal
from gridpilot.live.lock import is_locked, lock_path
from gridpilot.live.status import read_status

__all__ = ["NOT_SEEN", "alarms"]

Facts = dict[str, Any]

NOT_SEEN: Final = ("LoopStands", "NoCorrectCycle", "ReadBackDiffers", "Drift", "ClockSkew")
"""Rules that need the metrics of the running engine."""

LAST_RECORDS: Final = 4000  # that are looked at: more than a day of them


@dataclass(frozen=True)
class _Seen:
    """What the rules look at."""

    journal: Journal
    now: datetime
    status: Facts
    decisions: list[Told]

    def since(self, span: timedelta) -> list[Told]:
        """Decisions of the last while."""
        return [one for one in self.decisions if one.at > self.now - span]


class _Rule(NamedTuple):
    name: str
    severity: str
    summary: str
    holds: Callable[[_Seen], bool]
    count: Callable[[_Seen], int]


def alarms(journal: Journal, now: datetime | None = None) -> Facts:
    """Every rule and whether it holds at ``now``, by default the time of the last record; ``raised`` are those that do."""
    first = max(0, journal.head[0] - LAST_RECORDS)
    decisions = list(told(journal, after=first))
    if now is None:
        last = next(iter(journal.records(after=journal.head[0] - 1)), None)
        now = last.at if last is not None else datetime.min
        now = min(now, decisions[-1].at + TICK) if decisions else now  # the engine's clock may run faster than this machine's
    seen = _Seen(journal, now, read_status(journal), decisions)
    rules = [
        {
            "alarm": rule.name,
            "severity": rule.severity,
            "meaning": rule.summary,
            "on": rule.holds(seen),
            "times_count": rule.count(seen),
        }
        for rule in RULES
    ]
    raised = [rule for rule in rules if rule["on"]]
    return {
        "as_of_at": f"{now:%Y-%m-%d %H:%M} UTC",
        "rules_count": len(rules),
        "raised_count": len(raised),
        "pages_count": sum(rule["severity"] == "page" for rule in raised),
        "raised": raised,
        "rules": rules,
        "not_seen": list(NOT_SEEN),
        "not_seen_count": len(NOT_SEEN),
    }


def _unanswered(seen: _Seen) -> int:
    recent = seen.since(timedelta(minutes=30))
    return sum(one.outcome is not None and one.outcome["status"] in ("refused", "unknown") for one in recent)


def _fallbacks(seen: _Seen) -> int:
    return sum(one.body["reason"] != "agent" for one in seen.since(timedelta(hours=1)))


def _without_row(seen: _Seen) -> int:
    """Ticks without a row up to the last decision."""
    count = 0
    for one in reversed(seen.decisions):
        if one.body["kind"] != "no_row":
            break
        count += 1
    return count


def _refused_rows(seen: _Seen) -> int:
    first = max(0, seen.journal.head[0] - LAST_RECORDS)
    return sum(record.at > seen.now - timedelta(hours=1) for record in seen.journal.records(kinds={"refused_row"}, after=first))


def _stale(seen: _Seen) -> int:
    recent = seen.since(timedelta(days=1))
    return sum(not one.body.get("fresh") for one in recent)


def _gone(seen: _Seen) -> bool:
    return bool(seen.status["running"]) and not is_locked(lock_path(seen.journal.path))


def _over_the_cap(seen: _Seen) -> bool:
    session, power = seen.status["session"], seen.status["power_w"]
    return session is not None and power is not None and power > session["cap_w"]


def _halted_long(seen: _Seen) -> bool:
    halt = seen.journal.halt
    return halt.halted and halt.since is not None and seen.now - halt.since >= timedelta(hours=1)


def _down_long(seen: _Seen) -> bool:
    record = seen.journal.last("api")
    return record is not None and record.body["state"] == "down"


RULES: Final = (
    _Rule("EngineGone", "page", "the journal ends in the midst of a session, and no engine runs on it here", _gone, lambda seen: 0),
    _Rule("OverTheCap", "page", "more power is commanded than is allowed", _over_the_cap, lambda seen: 0),
    _Rule(
        "CommandsDoNotTakeEffect",
        "page",
        "commands of the last half hour were refused or stayed without an answer",
        lambda seen: _unanswered(seen) >= 3,
        _unanswered,
    ),
    _Rule(
        "FeedStale",
        "warn",
        "no new price row came, so the fallback decides",
        lambda seen: _without_row(seen) >= 2,
        _without_row,
    ),
    _Rule("ApiDown", "warn", "the API has failed so often that it is being left alone", _down_long, lambda seen: 0),
    _Rule(
        "FallbackDecides",
        "warn",
        "decisions of the last hour were not made by the agent",
        lambda seen: _fallbacks(seen) > 3 and not seen.status["halted"],
        _fallbacks,
    ),
    _Rule("RowsRefused", "warn", "price rows were refused as data", lambda seen: _refused_rows(seen) > 0, _refused_rows),
    _Rule(
        "Unavailable",
        "warn",
        "ticks of the last day had no fresh decision",
        lambda seen: _stale(seen) > 0.001 * max(len(seen.since(timedelta(days=1))), 1),
        _stale,
    ),
    _Rule("HaltedLong", "info", "halted by hand for an hour: nothing runs until somebody resumes", _halted_long, lambda seen: 0),
)
