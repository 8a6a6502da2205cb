"""What a journal gives back: to an engine that starts, and to a second mind that decides everything again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gridpilot.agents.seating import AgentSpec
from gridpilot.live.api import INVENTORIES, TICK, format_time
from gridpilot.live.controller import State
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import row_to_json, state_from_json
from gridpilot.live.recovery import recover
from gridpilot.live.replay_venue import ReplayVenue
from gridpilot.live.replica import Replica, replay
from tests.live.loops import engine, run
from tests.live.worlds import START, facility, walk

Running = tuple[tuple[int, ...], ...]


def venue(first: int, last: int, *, sites: int = 1) -> ReplayVenue:
    """Rows ``first`` to ``last - 1`` of one walk, the first two of which are there at the start."""
    return ReplayVenue(walk(last)[first:], INVENTORIES["documented"], 1_000_000, sites=sites, start=2)


def intent(command: str) -> tuple[str, dict[str, Any]]:
    return "intent", {"at": "2025-06-21T13:00:00", "command": command, "counts": [[0] * 5], "attempt": 1}


def test_nothing_is_known_of_an_empty_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        recovery = recover(journal, 10)
        assert (recovery.rows, recovery.row_at, recovery.mark_at, recovery.unfinished, recovery.last_state, recovery.head) == (
            (),
            None,
            None,
            None,
            None,
            0,
        )
        assert recovery.state(facility()) == State(facility().off)
        assert (replay(journal).decisions, replay(journal).first) == (0, "")


def test_a_journal_gives_back_what_an_engine_needs(tmp_path: Path) -> None:
    watch, records = run(venue(0, 12), tmp_path / "j.db", rows=10)
    with Journal(tmp_path / "j.db") as journal:
        recovery = recover(journal, 5)
        assert recovery.rows == tuple(walk(12)[6:11])  # the first row of two that were there at the start had no decision
        assert recovery.row_at == recovery.mark_at == START + 10 * TICK
        assert recovery.unfinished is None
        assert recovery.head == len(records) == journal.head[0]
        running = watch.reports[-1].counts
        state = recovery.state(facility())
        assert state == recovery.last_state == state_from_json([r.body for r in records if r.kind == "outcome"][-1]["state"])
        assert (state.counts, state.last_good, state.day) == (running, running, START.date())
        assert state.day_profit == pytest.approx(sum(report.profit for report in watch.reports))
        other: Running = ((1, 2, 3, 4, 5),)
        assert recovery.state(facility(), other) == State(other, running, state.day, state.day_profit)
        two = facility("documented", 500_000, 500_000)
        assert recovery.state(two) == State(
            two.off, None, state.day, state.day_profit
        )  # of another facility only the day's account


def test_a_command_is_unfinished_until_its_outcome(tmp_path: Path) -> None:
    run(venue(0, 6), tmp_path / "j.db", rows=3)
    with Journal(tmp_path / "j.db") as journal:
        outcome = journal.last("outcome")
        assert outcome is not None
        for command in ("first", "second"):  # only the last matters: one follows the other's end
            journal.append([intent(command)], at=START)
            unfinished = recover(journal, 5).unfinished
            assert unfinished is not None
            assert unfinished["command"] == command
        journal.append([("reconciliation", {"counts": [[0] * 5], "power_w": 0, "message": ""})], at=START)
        assert recover(journal, 5).unfinished is not None
        journal.append([("outcome", outcome.body)], at=START)
        assert recover(journal, 5).unfinished is None


def test_rows_come_back_in_order_and_ticks_without_a_row_count_as_decided(tmp_path: Path) -> None:
    rows = walk(6)
    with Journal(tmp_path / "j.db") as journal:
        for part in (rows[2:4], rows[:2], rows[3:6]):  # late ones, and one told twice
            journal.append([("rows", {"rows": [row_to_json(row) for row in part]})], at=START)
        for kind, tick in (("row", 3), ("no_row", 5), ("halt", 4), ("row", 2)):
            journal.append([("decision", {"at": format_time(START + tick * TICK), "kind": kind})], at=START)
        recovery = recover(journal, 4)
        assert recovery.rows == tuple(rows[2:])
        assert (recovery.row_at, recovery.mark_at) == (START + 3 * TICK, START + 5 * TICK)


@pytest.fixture(
    scope="module", params=[("truthful", {}), ("zero_intelligence", {}), ("mpc", {"planner": "linear"})], ids=lambda p: p[0]
)
def eventful(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions of two sites: a halt and its end in the first, one that still holds in the second, a feed that pauses in the third."""
    path = tmp_path_factory.mktemp("run") / "j.db"

    def session(rows: ReplayVenue, running: Running, *events: tuple[int, str]) -> None:
        with Journal(path) as journal:
            for site, counts in enumerate(running):
                rows.set_machines(site, counts)  # somebody else did, and the engine is told when it starts
            loop, watch = engine(rows, journal, agents=[AgentSpec(*request.param)], rows=100, history=12, seed=4)

            def on_report(report: Any) -> None:
                told = [kind for n, kind in events if n == len(watch.reports)]
                journal.append([(kind, {"why": "test"}) for kind in told], at=rows.clock.now())

            watch.on_report = on_report
            loop.run()
            rows.close()
            assert watch.drifted == 0

    off = (0, 0, 0, 0, 0)
    session(venue(0, 40, sites=2), (off, (0, 5, 0, 0, 0)), (10, "halt"), (14, "resume"), (36, "halt"))
    session(venue(38, 45, sites=2), ((0, 0, 1, 0, 0), off))
    with Journal(path) as journal:
        journal.append([("resume", {"why": "test"})], at=START)
    rows = walk(80)
    paused = [*rows[43:60], *rows[68:]]
    session(ReplayVenue(paused, INVENTORIES["documented"], 1_000_000, sites=2, start=2), ((1, 1, 1, 1, 1), off))
    return path


def test_an_eventful_journal_has_no_drift(eventful: Path) -> None:
    with Journal(eventful, read_only=True) as journal:
        kinds = [record.kind for record in journal.records()]
        assert [kinds.count(kind) for kind in ("session", "halt", "resume")] == [3, 2, 2]
        assert kinds.count("reconciliation") >= 3
        decisions = [record.body for record in journal.records(kinds={"decision"})]
        assert {body["kind"] for body in decisions} == {"row", "no_row", "halt"}
        assert {"agent", "off"} <= {body["reason"] for body in decisions}
        drift = replay(journal)
        assert (drift.decisions, drift.different, drift.first) == (len(decisions), 0, "")


def test_a_twin_may_read_in_pieces_and_begin_in_the_midst(eventful: Path, tmp_path: Path) -> None:
    with Journal(eventful, read_only=True) as original, Journal(tmp_path / "part.db") as part:
        records, replica, later = list(original.records()), Replica(), None
        starts = [record.seq for record in records if record.kind == "session"]
        for record in records:
            if record.seq == starts[1]:  # as an engine that starts a session on a journal does
                later = Replica(recover(part, 12))
            part.append([(record.kind, record.body)], at=record.at)
            replica.follow(part)
            replica.follow(part)  # nothing new
        assert later is not None
        later.follow(part)
        after = sum(record.kind == "decision" and record.seq > starts[1] for record in records)
        assert (replica.drift.decisions, replica.drift.different) == (replay(original).decisions, 0)
        assert (later.drift.decisions, later.drift.different) == (after, 0)
        assert len(replica._rows) <= 2 * 12  # it forgets what nobody is shown


FORGERIES: list[tuple[str, Any]] = [
    ("counts", [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]), ("power_w", 1), ("reason", "myopic"), ("prices", [1.0, 2.0, 3.0]), ("revenue", 0.1),
    ("cost", 0.1), ("bids", []), ("tick", 9), ("won_kw", None), ("payment", [0.0]), ("causes", ["agent_error"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), FORGERIES)
def test_a_decision_that_was_changed_is_drift_and_named(name: str, value: Any, tmp_path: Path) -> None:
    run(venue(0, 10, sites=2), tmp_path / "j.db", rows=6)
    with Journal(tmp_path / "j.db", read_only=True) as sound, Journal(tmp_path / "forged.db") as forged:
        seen = 0
        for record in sound.records():
            seen += record.kind == "decision"
            body = {**record.body, name: value} if record.kind == "decision" and seen in (3, 5) else record.body
            forged.append([(record.kind, body)], at=record.at)
        drift = replay(forged)
        assert (drift.decisions, drift.different, drift.first) == (6, 2, f"{format_time(START + 3 * TICK)} row")


def test_rows_outcomes_and_reconciliations_are_what_decides(tmp_path: Path) -> None:
    run(venue(0, 30), tmp_path / "j.db", rows=25, risk={"max_change_kw": 100.0})

    def changed(kind: str, change: Any) -> int:
        path = tmp_path / f"{kind}.db"
        with Journal(tmp_path / "j.db", read_only=True) as sound, Journal(path) as other:
            for record in sound.records():
                other.append([(record.kind, change(record.body) if record.kind == kind else record.body)], at=record.at)
            return replay(other).different

    assert changed("decision", lambda body: body) == 0
    assert changed("rows", lambda body: {"rows": [[at, 2.0 * energy, *rest] for at, energy, *rest in body["rows"]]}) == 25
    assert changed("outcome", lambda body: {**body, "counts": [[0, 0, 0, 0, 0]]}) > 5  # no step may be larger than from there
    assert changed("reconciliation", lambda body: {**body, "counts": [[0, 0, 0, 0, 66]]}) > 0


def test_an_agent_that_was_late_is_late_again(tmp_path: Path) -> None:
    run(venue(0, 9), tmp_path / "j.db", rows=5)
    with Journal(tmp_path / "j.db") as journal:
        session, last = journal.last("session"), journal.last("decision")
        assert session is not None
        assert last is not None
        state = {**session.body["state"], "last_good": last.body["counts"]}
        late = {
            **last.body,
            "tick": 0,
            "reason": "last_good",
            "causes": ["agent_late"],
            "bids": [],
            "won_kw": None,
            "payment": None,
        }
        journal.append([("session", {**session.body, "state": state}), ("decision", late)], at=START)
        drift = replay(journal)
        assert (drift.decisions, drift.different, drift.first) == (6, 0, "")
