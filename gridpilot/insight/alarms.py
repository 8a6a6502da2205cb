"""Which alarms hold, as far as a journal alone can tell: the rules of :mod:`gridpilot.live.alarms`, as facts.

What only the running process knows (its heartbeat, the clock's skew, the replica's drift) is named as not seen, never as well.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from gridpilot.live.alarms import RULES, Alarm, Hindsight
from gridpilot.live.journal import Journal
from gridpilot.live.lock import is_locked, lock_path
from gridpilot.live.status import read_status
from gridpilot.live.trail import FOLLOWED

__all__ = ["NOT_SEEN", "alarms"]

Facts = dict[str, Any]

NOT_SEEN: Final = ("LoopStands", "NoCorrectCycle", "Drift", "ClockSkew")
"""Rules that need what the running engine says of its health."""
GONE: Final = "EngineGone"


def alarms(journal: Journal, now: datetime | None = None) -> Facts:
    """Every rule and whether it holds at ``now``, by default the time of the last record; ``raised`` are those that do.

    A journal that ends in the midst of a session without an engine that runs on it here is one whose engine is gone, at once.
    """
    hindsight = Hindsight()
    for record in journal.records(kinds=FOLLOWED):
        hindsight.read(record)
    if now is not None:
        hindsight.at(now)
    on = {alarm.rule.name: alarm for alarm in hindsight.alarms() if alarm.until is None}
    status = read_status(journal)
    gone = bool(status["running"]) and not is_locked(lock_path(journal.path))
    at = hindsight.trail.now
    rules = []
    for rule in RULES:
        if rule.name in NOT_SEEN:
            continue
        found = on.get(rule.name)
        if rule.name == GONE and gone and found is None and at is not None:
            found = Alarm(rule, at, None, "the journal ends in the midst of a session, and no engine runs on it here")
        rules.append(
            {
                "alarm": rule.name,
                "severity": rule.severity,
                "meaning": rule.summary,
                "on": found is not None,
                "since_at": None if found is None else f"{found.since:%Y-%m-%d %H:%M} UTC",
                "found": None if found is None else found.detail,
            }
        )
    raised = [rule for rule in rules if rule["on"]]
    return {
        "as_of_at": None if at is None else f"{at:%Y-%m-%d %H:%M} UTC",
        "rules_count": len(rules),
        "raised_count": len(raised),
        "pages_count": sum(rule["severity"] == "page" for rule in raised),
        "raised": raised,
        "rules": rules,
        "not_seen": list(NOT_SEEN),
        "not_seen_count": len(NOT_SEEN),
    }
