"""What is wrong with an engine: one set of rules, judged from its journal and, where it runs, from what it says of its health.

The rules are those of ``docs/live/alerts.yml``, which asks the metrics: equal names, severities, times and words, held together by a test.
Whoever has the journal alone cannot see a loop that stands, drift, or a clock that is wrong; a journal in which nothing was written for
two ticks shows an engine that was gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from gridpilot.live.alerts_config import Severity
from gridpilot.live.journal import Journal, Record
from gridpilot.live.metrics import Health
from gridpilot.live.trail import FOLLOWED, FOREIGN, Trail

__all__ = ["CALM", "RULES", "Alarm", "Alarms", "Change", "Hindsight", "Rule", "alarms_of"]

Finding = str | None
"""What is wrong, in words; None where nothing is."""

CALM: Final = timedelta(minutes=10)
GONE: Final = "EngineGone"
HALF_HOUR, HOUR, DAY = timedelta(minutes=30), timedelta(hours=1), timedelta(days=1)
STALE: Final = timedelta(minutes=10)  # two ticks
SILENT: Final = STALE + timedelta(seconds=1)
SKEW_S: Final = 60.0
FALLBACKS, FAILED, AVAILABLE = 3, 3, 0.999


@dataclass(frozen=True)
class Rule:
    """One alarm: it is raised when ``finds`` has found something for as long as ``hold``."""

    name: str
    severity: Severity
    hold: timedelta
    summary: str
    finds: Callable[[Trail, Health | None], Finding]


@dataclass(frozen=True)
class Change:
    """An alarm that is raised, or over."""

    rule: Rule
    state: Literal["firing", "resolved"]
    at: datetime  # engine's time, UTC
    since: datetime  # when it began
    detail: str  # what was found last


@dataclass(frozen=True)
class Alarm:
    """An alarm in hindsight."""

    rule: Rule
    since: datetime
    until: datetime | None  # None where it was not over
    detail: str


def _engine_gone(trail: Trail, health: Health | None) -> Finding:
    if health is not None or trail.session is None:
        return None
    if trail.stopped is not None:
        return f"the engine was stopped: {trail.stopped}"
    assert trail.now is not None
    assert trail.written is not None
    silent = trail.now - trail.written
    return f"nothing was written for {_minutes(silent)}" if silent > STALE else None


def _loop_stands(trail: Trail, health: Health | None) -> Finding:
    stuck = health is not None and "no_heartbeat" in health.why
    return f"the loop last turned {health.heartbeat_age:,.0f} s ago" if stuck and health is not None else None


def _no_correct_cycle(trail: Trail, health: Health | None) -> Finding:
    stuck = health is not None and "no_correct_cycle" in health.why
    return f"the last correct decision is {health.correct_age:,.0f} s old" if stuck and health is not None else None


def _over_the_cap(trail: Trail, health: Health | None) -> Finding:
    if trail.cap_w is None or trail.power_w <= trail.cap_w:
        return None
    return f"{trail.power_w / 1000:,.0f} kW are commanded, {trail.cap_w / 1000:,.0f} kW allowed"


def _commands(trail: Trail, health: Health | None) -> Finding:
    failed = trail.count("failed_command", HALF_HOUR)
    return f"{failed} commands in half an hour" if failed >= FAILED else None


def _read_back(trail: Trail, health: Health | None) -> Finding:
    found = trail.count("mismatch", HOUR)
    return f"{_times(found)} in an hour" if found else None


def _drift(trail: Trail, health: Health | None) -> Finding:
    return "found by the replica that runs beside the engine" if health is not None and "drift" in health.why else None


def _feed_stale(trail: Trail, health: Health | None) -> Finding:
    if trail.newest_row is None or trail.now is None or trail.stopped is not None:
        return None
    if health is None and trail.written is not None and trail.now - trail.written > STALE:
        return None  # it is the engine that is gone
    age = trail.now - trail.newest_row
    return f"the newest row is {_minutes(age)} old" if age > STALE else None


def _api_down(trail: Trail, health: Health | None) -> Finding:
    return "no usable answer" if trail.api_down and trail.stopped is None else None


def _fallback(trail: Trail, health: Health | None) -> Finding:
    found = trail.count("fallback", HOUR)
    return f"{found} decisions in an hour" if found > FALLBACKS and not trail.halted else None


def _rows_refused(trail: Trail, health: Health | None) -> Finding:
    found = trail.count("refused_row", HOUR)
    return f"{found} row{'s' if found != 1 else ''} in an hour" if found else None


def _unavailable(trail: Trail, health: Health | None) -> Finding:
    ticks, fresh = trail.count("tick", DAY), trail.count("fresh", DAY)
    return f"{fresh} of {ticks} ticks" if fresh < AVAILABLE * ticks else None


def _clock_skew(trail: Trail, health: Health | None) -> Finding:
    skew = None if health is None else health.clock_skew
    return f"by {skew:+,.0f} s" if skew is not None and abs(skew) > SKEW_S else None


def _halted(trail: Trail, health: Health | None) -> Finding:
    return f"because: {trail.halt_why or 'no reason was given'}" if trail.halted else None


def _rule(name: str, severity: Severity, minutes: int, summary: str, finds: Callable[[Trail, Health | None], Finding]) -> Rule:
    return Rule(name, severity, timedelta(minutes=minutes), summary, finds)


RULES: Final = (
    _rule(GONE, "page", 1, "No metrics: the engine is not running, or does not answer", _engine_gone),
    _rule("LoopStands", "page", 0, "The loop has not turned for a tick", _loop_stands),
    _rule("NoCorrectCycle", "page", 0, "The loop turns, and has made no correct decision for three ticks", _no_correct_cycle),
    _rule("OverTheCap", "page", 0, "More power commanded than is allowed: the risk gate has failed", _over_the_cap),
    _rule(
        "CommandsDoNotTakeEffect", "page", 0, "Three commands in half an hour were refused or stayed without an answer", _commands
    ),
    _rule(
        "ReadBackDiffers", "page", 0,
        "The venue runs other machines than it had confirmed: is something else using the key?", _read_back,
    ),
    _rule(
        "Drift", "page", 0, "The replica decides differently from the same journal: the agent is not deterministic", _drift
    ),
    _rule("FeedStale", "warn", 1, "No new price row for two ticks: the fallback decides; after six everything is off", _feed_stale),
    _rule("ApiDown", "warn", 5, "The API has failed so often that it is being left alone", _api_down),
    _rule("FallbackDecides", "warn", 0, "More than three decisions of the last hour were not the agent's", _fallback),
    _rule("RowsRefused", "warn", 0, "Price rows were refused as data", _rows_refused),
    _rule("Unavailable", "warn", 15, "Less than 99.9 % of the last day's ticks had a fresh, feasible decision", _unavailable),
    _rule("ClockSkew", "warn", 5, "The venue's clock and this machine's differ by more than a minute", _clock_skew),
    _rule("HaltedLong", "info", 60, "Halted by hand for an hour: nothing runs until somebody resumes", _halted),
)  # fmt: skip
"""Every alarm there is, the gravest first."""


@dataclass
class _State:
    since: datetime  # when something was found
    raised: bool
    detail: str
    clear: datetime | None = None  # since when nothing is found


class Alarms:
    """Which alarms are raised. One is over when nothing was found for ``calm``, so that what comes and goes is one alarm.

    ``raised`` are those that somebody was told of before, with the time they began.
    """

    def __init__(
        self, rules: Iterable[Rule] = RULES, *, calm: timedelta = CALM, raised: Mapping[str, datetime] | None = None
    ) -> None:
        self._rules, self._calm = tuple(rules), calm
        known = {rule.name for rule in self._rules}
        self._states = {name: _State(since, True, "") for name, since in (raised or {}).items() if name in known}

    @property
    def raised(self) -> dict[str, datetime]:
        """The alarms that are raised, and when they began."""
        return {name: state.since for name, state in self._states.items() if state.raised}

    def found(self, name: str) -> str:
        """What was found last of an alarm that is raised."""
        return self._states[name].detail

    def gone(self, now: datetime, detail: str) -> Change | None:
        """The engine ends, though nobody asked it to: raised at once, for afterwards nobody is left to say so; None where it is already."""
        rule = next((rule for rule in self._rules if rule.name == GONE), None)
        known = self._states.get(GONE)
        if rule is None or (known is not None and known.raised):
            return None
        self._states[GONE] = _State(now, True, detail)
        return Change(rule, "firing", now, now, detail)

    def look(self, trail: Trail, health: Health | None, now: datetime) -> list[Change]:
        """Judge what is known ``now``; what has changed."""
        changes = []
        for rule in self._rules:
            detail, state = rule.finds(trail, health), self._states.get(rule.name)
            if detail is not None:
                state = self._states.setdefault(rule.name, _State(now, False, detail))
                state.detail, state.clear = detail, None
                if not state.raised and now - state.since >= rule.hold:
                    state.raised = True
                    changes.append(Change(rule, "firing", now, state.since, detail))
            elif state is not None:
                if not state.raised:
                    del self._states[rule.name]
                    continue
                state.clear = state.clear or now
                if now - state.clear >= self._calm:
                    del self._states[rule.name]
                    changes.append(Change(rule, "resolved", state.clear, state.since, state.detail))
        return changes


class Hindsight:
    """The alarms that there were, from records read in order."""

    def __init__(self) -> None:
        self.trail = Trail()
        self._alarms = Alarms()
        self._found: list[Alarm] = []
        self._open: dict[str, Change] = {}

    def read(self, record: Record) -> None:
        """Take the next record: first what was wrong until it came, then what it changes."""
        if record.kind not in FOLLOWED:
            return
        if record.kind not in FOREIGN:
            if (written := self.trail.written) is not None and record.at - written > SILENT:
                self.trail.advance(written + SILENT)
                self._look()
            self.trail.advance(record.at)
            self._look()
        self.trail.read(record)
        self._look()

    def at(self, now: datetime) -> None:
        """Judge what is known at ``now``, later than the last record."""
        self.trail.advance(now)
        self._look()

    def alarms(self) -> list[Alarm]:
        """Those that are over, and those that are not."""
        still = [Alarm(change.rule, change.since, None, self._alarms.found(name)) for name, change in self._open.items()]
        return sorted([*self._found, *still], key=lambda alarm: alarm.since)

    def _look(self) -> None:
        if self.trail.now is None:
            return
        for change in self._alarms.look(self.trail, None, self.trail.now):
            if change.state == "firing":
                self._open[change.rule.name] = change
            else:
                del self._open[change.rule.name]
                self._found.append(Alarm(change.rule, change.since, change.at, change.detail))


def alarms_of(journal: Journal) -> Iterator[Alarm]:
    """Every alarm of a journal, by when it began."""
    hindsight = Hindsight()
    for record in journal.records(kinds=FOLLOWED):
        hindsight.read(record)
    yield from hindsight.alarms()


def _minutes(span: timedelta) -> str:
    minutes = span / timedelta(minutes=1)
    return f"{minutes:,.0f} min" if minutes < 120.0 else f"{minutes / 60.0:,.1f} h"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
