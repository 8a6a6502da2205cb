"""Alarms: the rules are those of docs/live/alerts.yml, and each is raised by what it is about, and by nothing else."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from gridpilot.live.alarms import RULES, Alarms, Hindsight, alarms_of
from gridpilot.live.api import TICK, format_time
from gridpilot.live.journal import Journal, Record
from gridpilot.live.metrics import Health
from gridpilot.live.trail import Trail
from tests.live.worlds import START
from tests.test_structure import ROOT

BY_NAME = {rule.name: rule for rule in RULES}
SESSION = {
    "cap_w": 1_000_000, "sites": [{"name": "hall", "fleet": [{"power_w": 5000}]}], "mode": "live", "venue": "mara",
    "agent": {"target": "a.b.Mpc"},
}  # fmt: skip


class Story:
    """A journal's records, made up one after the other."""

    def __init__(self) -> None:
        self.now, self.records = START, list[Record]()
        self.write("session", SESSION)

    def write(self, kind: str, body: dict[str, Any]) -> None:
        self.records.append(Record(len(self.records) + 1, self.now, kind, body, ""))

    def tick(
        self, *, reason: str = "agent", status: str = "applied", fresh: bool = True, row: bool = True, machines: int = 10
    ) -> None:
        self.now += TICK
        at = format_time(self.now)
        if row:
            self.write("rows", {"rows": [[at, 1.0, 1.0, 1.0]]})
        self.write("decision", {"at": at, "kind": "row", "reason": reason, "causes": [], "fresh": fresh})
        self.write("outcome", {"at": at, "status": status, "counts": [[machines]], "mismatches": 0})

    def found(self) -> dict[str, tuple[datetime, datetime | None]]:
        hindsight = Hindsight()
        for record in self.records:
            hindsight.read(record)
        return {alarm.rule.name: (alarm.since, alarm.until) for alarm in hindsight.alarms()}


def well(**changes: Any) -> Health:
    """An engine that is well, with changes."""
    usual: dict[str, Any] = {
        "status": "ok", "why": (), "heartbeat_age": 1.0, "correct_age": 1.0, "feed_age": 1.0, "halted": False, "breaker_open": False,
        "cycles": 1, "reason": "agent", "outcome": "applied", "availability": 1.0,
    }  # fmt: skip
    return Health(**{**usual, **changes})


def test_the_rules_are_those_of_the_documentation() -> None:
    told = yaml.safe_load((ROOT / "docs" / "live" / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    minutes = {"m": 1, "h": 60}
    there = {
        (rule["alert"], rule["labels"]["severity"], rule["annotations"]["summary"],
         timedelta(minutes=int(rule["for"][:-1]) * minutes[rule["for"][-1]]) if "for" in rule else timedelta())
        for rule in told
    }  # fmt: skip
    assert there == {(rule.name, rule.severity, rule.summary, rule.hold) for rule in RULES}
    pages = [rule.name for rule in RULES if rule.severity == "page"]
    guide = (ROOT / "docs" / "live" / "README.md").read_text(encoding="utf-8")
    assert [name for name in pages if not re.search(rf"^\|.*`{name}`", guide, re.MULTILINE)] == []


def test_a_day_without_trouble_raises_nothing() -> None:
    story = Story()
    for _ in range(300):
        story.tick()
    assert story.found() == {}


def refused(story: Story) -> None:
    story.write("refused_row", {"row": {}, "reason": "price_nan", "message": ""})
    story.tick()


def stale(story: Story) -> None:
    for _ in range(4):
        story.tick(row=False)


def over(story: Story) -> None:
    story.tick(machines=201)


def failing(story: Story) -> None:
    for status in ("refused", "unknown", "applied", "unknown"):
        story.tick(status=status)


def foreign(story: Story) -> None:
    story.tick()
    story.write("reconciliation", {"counts": [[3]], "power_w": 15_000, "message": "foreign_command: 3 run, 10 were confirmed"})


def repeated(story: Story) -> None:
    story.tick()
    story.write("intent", {"at": format_time(story.now), "command": "c", "counts": [[10]], "attempt": 2})


def fallback(story: Story) -> None:
    for _ in range(4):
        story.tick(reason="myopic")


def late(story: Story) -> None:
    story.tick(fresh=False)
    for _ in range(4):
        story.tick()


def down(story: Story) -> None:
    story.write("api", {"state": "down", "message": ""})
    story.tick()
    story.tick()


def halted(story: Story) -> None:
    story.records.append(
        Record(len(story.records) + 1, START + timedelta(days=900), "halt", {"why": "smoke"}, "")
    )  # another's clock
    for _ in range(14):
        story.tick(reason="off")


def gone(story: Story) -> None:
    story.now += timedelta(hours=2)
    story.write("session", SESSION)


def stopped(story: Story) -> None:
    story.write("stop", {"why": "SIGTERM"})
    gone(story)


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (refused, "RowsRefused"), (stale, "FeedStale"), (over, "OverTheCap"), (failing, "CommandsDoNotTakeEffect"),
        (foreign, "ReadBackDiffers"), (repeated, "ReadBackDiffers"), (fallback, "FallbackDecides"), (late, "Unavailable"),
        (down, "ApiDown"), (halted, "HaltedLong"), (gone, "EngineGone"), (stopped, "EngineGone"),
    ],
)  # fmt: skip
def test_each_is_raised_by_its_cause_and_ends_with_it(what: Any, name: str) -> None:
    story = Story()
    for _ in range(300):
        story.tick()
    before = story.now
    what(story)
    alone = {"CommandsDoNotTakeEffect": {"Unavailable"}}.get(name, set())
    assert set(story.found()) <= {name} | alone
    if what is halted:
        story.write("resume", {"why": ""})
    if what is down:
        story.write("api", {"state": "up", "message": ""})
    for _ in range(300):
        story.tick()
    since, until = story.found()[name]
    assert before <= since <= before + timedelta(hours=2.5)
    assert until is not None
    assert since < until <= story.now


@pytest.mark.parametrize(
    ("health", "name"),
    [
        (well(why=("no_heartbeat",)), "LoopStands"), (well(why=("no_correct_cycle",)), "NoCorrectCycle"), (well(why=("drift",)), "Drift"),
        (well(clock_skew=-61.0), "ClockSkew"),
    ],
)  # fmt: skip
def test_what_only_a_running_engine_tells(health: Health, name: str) -> None:
    trail, alarms = Trail(), Alarms()
    trail.advance(START)
    rule = BY_NAME[name]
    assert alarms.look(trail, well(), START) == []
    changes = [*alarms.look(trail, health, START), *alarms.look(trail, health, START + rule.hold)]
    assert [(change.rule.name, change.state, change.since) for change in changes] == [(name, "firing", START)]
    over = START + rule.hold + timedelta(minutes=1)
    assert alarms.look(trail, well(clock_skew=2.0), over) == []
    assert [change.state for change in alarms.look(trail, well(), over + timedelta(minutes=10))] == ["resolved"]


def test_what_comes_and_goes_is_one_alarm() -> None:
    trail, alarms, told = Trail(), Alarms(), []
    for minute in range(120):
        now = START + timedelta(minutes=minute)
        trail.advance(now)
        told += alarms.look(trail, well(why=("drift",) if minute < 60 and minute % 6 < 2 else ()), now)
    assert [(change.state, change.at) for change in told] == [("firing", START), ("resolved", START + timedelta(minutes=56))]


def test_what_somebody_was_told_of_is_not_told_again() -> None:
    trail, alarms = Trail(), Alarms(raised={"Drift": START, "NoSuchAlarm": START})
    assert alarms.look(trail, well(why=("drift",)), START + TICK) == []
    assert alarms.raised == {"Drift": START}
    assert alarms.gone(START + TICK, "it failed") is not None
    assert alarms.gone(START + TICK, "it failed") is None


def test_a_trail_from_the_end_knows_what_one_from_the_start_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridpilot.live.trail.RECENT", 40)
    story = Story()
    story.write("api", {"state": "down", "message": ""})
    for _ in range(60):
        story.tick(machines=30)
    halted(story)
    with Journal(tmp_path / "j.db") as journal:
        for record in story.records:
            journal.append([(record.kind, record.body)], at=record.at)
        whole, end = Trail(), Trail.of(journal)
        whole.follow(journal)
        assert len(story.records) > 80
        for name in ("seq", "now", "session", "stopped", "halted", "halt_why", "api_down", "newest_row", "power_w", "cap_w"):
            assert getattr(end, name) == getattr(whole, name), name
        assert end.count("fallback", timedelta(hours=1)) == whole.count("fallback", timedelta(hours=1)) == 13
        assert {alarm.rule.name for alarm in alarms_of(journal)} >= {"HaltedLong", "ApiDown"}
