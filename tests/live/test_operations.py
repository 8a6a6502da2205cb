"""What an operator asks of a journal, as a user calls it."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gridpilot.cli import main
from gridpilot.live.api import INVENTORIES, TICK, format_time
from gridpilot.live.journal import GENESIS, Journal, _canonical, _hash
from gridpilot.live.lock import sole_engine
from gridpilot.live.price_feed import read_rows
from gridpilot.live.replay_venue import ReplayVenue
from tests.live.loops import run
from tests.live.test_journal import tamper
from tests.live.worlds import START, walk


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a run of thirty rows."""
    path = tmp_path_factory.mktemp("run") / "live.db"
    run(ReplayVenue(walk(30), INVENTORIES["documented"], 1_000_000), path, rows=30)
    return path


@pytest.fixture
def copy(journal: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    with Journal(journal, read_only=True) as original:
        original.backup(tmp_path / "copy.db")
    return tmp_path / "copy.db"


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["live", *argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_status_tells_what_matters(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "status", f"live.journal={journal}")
    assert (code, err) == (0, "")
    for text in (
        "truthful on replay",
        "LIVE, stopped: done",
        "2025-06-21 14:25 by agent",
        "of 1,000 kW; applied",
        "agent 30",
        "reachable",
    ):
        assert text in out
    code, out, _ = call(capsys, "status", "--json", "--journal", str(journal))
    status = json.loads(out)
    assert (status["halted"], status["running"], status["reasons"], status["decision"]["reason"]) == (
        False,
        False,
        {"agent": 30},
        "agent",
    )


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """The journal of two sites whose feed had a gap, and which began again on the MARA venue and has not ended."""
    rows, path = walk(40), tmp_path / "troubled.db"
    run(ReplayVenue([*rows[:20], *rows[24:]], INVENTORIES["documented"], 1_000_000, sites=2), path, rows=30)
    with Journal(path) as journal:
        session = journal.last("session")
        assert session is not None
        body = {**session.body, "venue": "mara", "url": "https://mara.invalid", "mode": "live"}
        counts = [[2, 2, 3, 4, 5], [0, 0, 0, 0, 10]]
        journal.append(
            [
                ("rows", {"rows": [[format_time(START), 9.0, 9.0, 9.0]]}),  # late, and no newer than what was known
                ("session", body),
                ("reconciliation", {"counts": counts, "power_w": 0, "message": "at start"}),
                ("api", {"state": "down", "message": "503"}),
            ],
            at=datetime.now(UTC),
        )
    return path


def status_lines(capsys: pytest.CaptureFixture[str], path: Path) -> dict[str, str]:
    code, out, err = call(capsys, "status", "--journal", str(path))
    assert (code, err) == (0, "")
    assert all(line == line.rstrip() for line in out.splitlines())
    return {line[:10].strip(): line[12:] for line in out.splitlines()}


def test_status_of_a_run_with_trouble(troubled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = status_lines(capsys, troubled)
    assert lines["agent"] == "truthful on mara https://mara.invalid"
    assert lines["mode"] == "LIVE, as far as the journal tells running, but no engine runs on it here"
    with sole_engine(troubled):
        assert status_lines(capsys, troubled)["mode"] == "LIVE, running"
    assert lines["newest row"].startswith("2025-06-21 14:45, ")  # the late one is older
    assert lines["newest row"].endswith(" days ago")
    assert lines["runs"] == "2 air, 2 hydro, 3 imm, 4 gpu, 15 asic; 292 of 1,000 kW; as the venue reports"
    assert lines["lately"] == "agent 30, last_good 4"
    assert lines["causes"] == "feed_late 4, feed_stale 3"
    assert lines["API"] == "DOWN"
    status = json.loads(call(capsys, "status", "--json", f"live.journal={troubled}")[1])
    assert (status["running"], status["stopped"], status["read_back"], status["pending"]) == (True, None, True, False)
    assert status["power_w"] == 2 * 3_500 + 2 * 5_000 + 3 * 10_000 + 4 * 5_000 + 15 * 15_000


def test_status_of_a_command_under_way_and_of_one_that_failed(troubled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(troubled) as journal:
        decision, outcome = journal.last("decision"), journal.last("outcome")
        assert decision is not None
        assert outcome is not None
        journal.append([("decision", {**decision.body, "causes": ["agent_late"], "reason": "myopic"})], at=START)
        assert status_lines(capsys, troubled)["decided"] == (
            "2025-06-21 14:45 by myopic after agent_late, and what came of it is not known yet"
        )
        message = "the server said: \x1b[31mred\nand \ud800"
        off = [[0] * 5, [0] * 5]
        journal.append([("outcome", {**outcome.body, "counts": off, "status": "unknown", "message": message})], at=START)
        lines = status_lines(capsys, troubled)
        assert lines["decided"] == "2025-06-21 14:45 by myopic after agent_late"
        assert lines["runs"] == "nothing; 0 of 1,000 kW; unknown"
        assert lines[""] == "the server said: ?[31mred?and ?"
        journal.append([("stop", {"why": "SIGTERM"})], at=START)
        assert status_lines(capsys, troubled)["mode"] == "LIVE, stopped: SIGTERM"


def test_status_in_shadow_and_of_a_session_without_a_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ReplayVenue(walk(5), INVENTORIES["live"], 1_000_000), tmp_path / "shadow.db", rows=5, mode="shadow")
    lines = status_lines(capsys, tmp_path / "shadow.db")
    assert lines["mode"] == "SHADOW, stopped: done"
    assert lines["would run"].endswith("kW; shadow")
    assert lines["newest row"] == "2025-06-21 12:20"  # a replay is of no age
    with Journal(tmp_path / "shadow.db", read_only=True) as journal, Journal(tmp_path / "new.db") as new:
        new.append([(record.kind, record.body) for record in journal.records(kinds={"rows", "session"}, until=2)], at=START)
    assert {"runs", "would run", "decided", "profit"}.isdisjoint(lines := status_lines(capsys, tmp_path / "new.db"))
    assert lines["lately"] == "no decision"


@pytest.mark.parametrize("columns", [80, 100])
def test_status_on_a_terminal(columns: int, troubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with Journal(troubled) as journal:
        journal.append([("halt", {"why": "smoke in hall 2, " + "and a long story to it, " * 6})], at=START)
    reading, writing = pty.openpty()
    with os.fdopen(reading, "rb", buffering=0) as screen, os.fdopen(writing, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert main(["live", "status", f"live.journal={troubled}"]) == 0
        terminal.flush()
        shown = screen.read(65536).decode()
    assert "\x1b[1;31mDOWN" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "").splitlines()
    assert max(map(len, plain)) <= columns
    told = " ".join(line[12:].strip() for line in plain)
    assert told.count("and a long story to it,") == 6  # nothing is cut
    assert "as the venue reports" in told


def test_halt_before_the_first_start_status_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = f"live.journal={tmp_path / 'new.db'}"
    assert call(capsys, "resume", where)[0] == 2  # there is none
    code, out, _ = call(capsys, "halt", where, "--ahead", "--why", "smoke in hall 2")
    assert code == 0
    assert "within one cycle" in out
    code, out, _ = call(capsys, "halt", where, "--ahead")
    assert (code, "halted already" in out, "smoke in hall 2" in out) == (0, True, True)
    code, out, _ = call(capsys, "status", where)
    assert "HALTED: smoke in hall 2" in out
    assert call(capsys, "resume", where)[0] == 0
    code, _, err = call(capsys, "resume", where)
    assert code == 2
    assert err.count("\n") == 1
    assert "nothing to resume" in err


def test_operations_beside_an_engine_that_writes(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = f"live.journal={copy}"
    with Journal(copy) as engine:
        engine.append([("api", {"state": "down", "message": ""})], at=START)
        assert status_lines(capsys, copy)["API"] == "DOWN"
        code, _, err = call(capsys, "halt", where)
        assert (code, "no engine runs on" in err, "the halt is written down" in err) == (2, True, True)
        assert engine.halt.halted  # at its next turn
        engine.append([("api", {"state": "up", "message": ""})], at=START)
        for argv in (["resume", where], ["verify", where], ["export", where, "--out", "rows.csv", "--what", "rows"]):
            assert call(capsys, *argv)[0] == 0
        assert not engine.halt.halted
        assert engine.verify().problem is None


def test_what_no_terminal_can_show_is_no_hindrance_to_a_halt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for told in ("halted ahead:", "halted already"):
        code, out, _ = call(capsys, "halt", "--ahead", "--why", b"br\xfbl\xe9e \xf0\x9f\x94\xa5".decode("utf-8", "surrogateescape"))
        assert (code, told in out) == (0, True)
    with Journal(Path("runs/live.db"), read_only=True) as journal:  # the journal of whoever names none
        assert journal.halt.why == "br?l?e \N{FIRE}"
    code, out, _ = call(capsys, "halt", "--ahead", "--json")
    assert (code, json.loads(out)) == (0, {"halted": True, "why": "br?l?e \N{FIRE}", "new": False})
    code, out, _ = call(capsys, "resume", "--json")
    assert (code, json.loads(out)) == (0, {"halted": False})


def test_a_sound_journal_verifies_and_replays(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "verify", f"live.journal={journal}", "--replay", "--against", str(journal))
    assert code == 0
    assert "30 decisions made again, 0 otherwise" in out
    assert "30 decisions equal, 0 different, 0 in one only" in out
    head = json.loads(call(capsys, "verify", f"live.journal={journal}", "--json")[1])["head"]
    assert call(capsys, "verify", f"live.journal={journal}", "--head", head[:16])[0] == 0
    assert call(capsys, "verify", f"live.journal={journal}", "--head", GENESIS.upper())[0] == 0  # noted before there was anything
    code, out, _ = call(capsys, "verify", f"live.journal={journal}", "--head", "0" * 64)
    assert (code, "records were cut off" in out) == (1, True)
    assert "--head is '0abc'" in call(capsys, "verify", f"live.journal={journal}", "--head", "0abc")[2]
    assert "--head is ''" in call(capsys, "verify", f"live.journal={journal}", "--head", "")[2]


def test_a_tail_that_was_cut_off_is_found_by_the_head_noted_before(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = json.loads(call(capsys, "status", "--json", f"live.journal={copy}")[1])["head"]
    tamper(copy, "DELETE FROM records WHERE seq = (SELECT max(seq) FROM records)")
    assert call(capsys, "verify", f"live.journal={copy}")[0] == 0
    code, out, _ = call(capsys, "verify", "--json", f"live.journal={copy}", "--head", head)
    assert code == 1
    assert json.loads(out)["problems"] == [f"the head {head} is not in the chain: records were cut off, or it is another's"]


def test_a_changed_record_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tamper(copy, "UPDATE records SET body = replace(body, '\"agent\"', '\"myopic\"') WHERE seq = 8")
    code, out, _ = call(capsys, "verify", f"live.journal={copy}")
    assert code == 1
    assert "WRONG: record 8 (decision" in out


def rewrite(path: Path, change: Any) -> None:
    """Change bodies and compute the whole chain anew, as a forger would."""
    with Journal(path, read_only=True) as journal:
        records = list(journal.records())
    statements, previous = [], GENESIS
    for record in records:
        body = _canonical(record.kind, change(record.kind, dict(record.body)))
        previous = _hash(previous, record.seq, record.at.isoformat(), record.kind, body)
        quoted = body.replace("'", "''")
        statements.append(f"UPDATE records SET body = '{quoted}', hash = '{previous}' WHERE seq = {record.seq}")
    tamper(path, *statements)


def test_a_forged_chain_is_found_by_replay(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(kind: str, body: dict[str, Any]) -> dict[str, Any]:
        forged = kind in ("decision", "intent") and body["at"] == "2025-06-21T12:35:00"
        return {**body, "counts": [[1, 0, 0, 0, 0]]} if forged else body

    rewrite(copy, change)
    assert call(capsys, "verify", f"live.journal={copy}")[0] == 0
    code, out, _ = call(capsys, "verify", f"live.journal={copy}", "--replay")
    assert code == 1
    assert "1 of 30 decisions come out otherwise, first 2025-06-21T12:35:00 row" in out


def forge(kind: str, tick: int, **changes: Any) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """Change the records of a kind at a tick; ``None`` takes a field away."""
    at = format_time(START + tick * TICK)

    def change(of: str, body: dict[str, Any]) -> dict[str, Any]:
        if of != kind or body.get("at", at) != at:
            return body
        return {name: value for name, value in {**body, **changes}.items() if value is not None}

    return change


BREACHES = [
    (forge("decision", 3, power_w=1_000_001), "record 16: 1000001 W are commanded and the limit is 1000000 W"),
    (forge("decision", 3, counts=[[0, 0, 0, 0, 67]]), "record 16: 1005000 W are commanded"),
    (forge("decision", 3, at="2025-06-21T12:00:00"), "the row of 2025-06-21T12:00:00 is decided a second time"),
    (forge("intent", 3, command="2025-06-21T12:00:00 row", counts=[[9] * 5]), "is sent with other counts than before"),
    (forge("intent", 3, counts=[[0, 0, 0, 0, 1]]), "is sent with other counts than before"),  # than were decided
    (forge("decision", 3, power_w=None), "record 16: not what a decision holds: KeyError: 'power_w'"),
    (forge("decision", 3, counts=5), "record 16: not what a decision holds: TypeError"),
    (forge("decision", 3, counts=[[1]]), "record 16: not what a decision holds: ValueError"),
    (forge("session", 0, cap_w=None), "not what a decision holds: KeyError: 'cap_w'"),
    (forge("session", 0, sites=[{}]), "not what a decision holds: KeyError: 'fleet'"),
]


@pytest.mark.parametrize(("change", "told"), BREACHES)
def test_what_must_not_be_is_told(change: Any, told: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(copy, change)
    code, out, _ = call(capsys, "verify", f"live.journal={copy}")
    assert code == 1
    assert told in out


def test_another_plant_may_have_other_counts_for_a_command(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(copy) as journal:
        session, intent = journal.last("session"), journal.last("intent")
        assert session is not None
        assert intent is not None
        changed = ("intent", {**intent.body, "counts": [[0, 0, 0, 0, 0]]})
        journal.append([("session", session.body), changed], at=START)
        assert call(capsys, "verify", f"live.journal={copy}")[0] == 0
        journal.append([("intent", intent.body)], at=START)
    assert "is sent with other counts than before" in call(capsys, "verify", f"live.journal={copy}")[1]


def test_decisions_outside_a_session_are_told(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(copy) as journal:
        last = journal.last("decision")
        assert last is not None
        journal.append([("decision", {**last.body, "at": "2026-01-01T00:00:00"})], at=START)
    code, out, _ = call(capsys, "verify", f"live.journal={copy}")
    assert (code, "decided outside a session" in out) == (1, True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (forge("rows", 0, rows=[]), "cannot be made again from what is there"),
        (forge("session", 0, config={}), "cannot be made again from what is there: KeyError: 'history'"),
        (forge("outcome", 3, counts=None), "cannot be made again from what is there: KeyError: 'counts'"),
        (forge("decision", 3, revenue=None), "cannot be made again from what is there: KeyError: 'revenue'"),
        (forge("decision", 3, revenue=1.0), "1 of 30 decisions come out otherwise, first 2025-06-21T12:15:00 row"),
        (
            forge("rows", 0, rows=[["2025-06-21T12:00:00", 1.0, 1.0, 1.0]]),
            "decisions come out otherwise, first 2025-06-21T12:00:00 row",
        ),
    ],
)
def test_what_cannot_be_replayed_is_told(change: Any, told: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(copy, change)
    code, out, err = call(capsys, "verify", "--replay", f"live.journal={copy}")
    assert (code, err) == (1, "")
    assert told in out


def test_a_journal_of_before_the_account_was_booked_is_replayed_by_its_states(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(kind: str, body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in body.items() if name != "earned"}

    rewrite(copy, without)
    assert call(capsys, "verify", "--replay", f"live.journal={copy}")[0] == 0

    def lost(kind: str, body: dict[str, Any]) -> dict[str, Any]:
        if kind == "session":
            risk = {**body["config"]["risk"], "max_loss_per_day": 1.0}
            return {**body, "config": {**body["config"], "risk": risk}}
        return {**body, "state": {**body["state"], "day_profit": -5.0}} if kind == "outcome" else body

    rewrite(copy, lost)
    code, out, _ = call(capsys, "verify", "--replay", f"live.journal={copy}")
    assert (code, "decisions come out otherwise, first 2025-06-21T12:05:00 row" in out) == (1, True)


def test_an_agent_that_is_not_there_is_no_fault_of_the_journal(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(copy, forge("session", 0, agents=[{"target": "gone.Agent", "params": {}}]))
    code, out, err = call(capsys, "verify", "--replay", f"live.journal={copy}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "gone" in err


def test_runs_that_decided_the_same_are_equal(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ReplayVenue(walk(30), INVENTORIES["documented"], 1_000_000), tmp_path / "again.db", rows=30, mode="shadow")
    code, out, _ = call(capsys, "verify", "--json", f"live.journal={journal}", "--against", str(tmp_path / "again.db"))
    assert (code, json.loads(out)["against"]) == (0, {"equal": 30, "different": 0, "here_only": 0, "there_only": 0, "first": ""})
    assert call(capsys, "verify", f"live.journal={journal}", "--against", "none.db")[0] == 2


def test_runs_that_decided_otherwise_are_told_apart(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.db"
    run(ReplayVenue(walk(40, seed=0)[:35], INVENTORIES["live"], 1_000_000), other, rows=35)
    code, out, _ = call(capsys, "verify", f"live.journal={journal}", "--against", str(other))
    assert code == 1
    assert "0 decisions equal, 30 different, 5 in one only" in out
    assert f"30 decisions differ from those of {other}, first 2025-06-21T12:00:00 row" in out


def test_exported_rows_replay_to_the_same_decisions(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.csv"
    assert call(capsys, "export", f"live.journal={journal}", "--what", "rows", "--out", str(out))[0] == 0
    assert read_rows(out) == walk(30)
    _, again = run(ReplayVenue(read_rows(out), INVENTORIES["documented"], 1_000_000), tmp_path / "again.db", rows=30)
    with Journal(journal, read_only=True) as first:
        decided = [record.body for record in first.records(kinds={"decision"})]
    assert decided == [record.body for record in again if record.kind == "decision"]


def test_exported_decisions_add_up(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "export", f"live.journal={journal}", "--out", "-")
    assert code == 0
    lines = list(csv.DictReader(io.StringIO(out)))
    assert len(lines) == 30
    with Journal(journal, read_only=True) as records:
        outcomes = [record.body for record in records.records(kinds={"outcome"})]
    for line, outcome in zip(lines, outcomes, strict=True):
        assert [int(line[name]) for name in ("air_miners", "hydro_miners", "immersion_miners", "gpu_compute", "asic_compute")] == (
            outcome["counts"][0]
        )
        ((revenue, cost),) = outcome["earned"]["sites"]
        assert float(line["profit_api_dollars"]) == revenue - cost
        assert line["status"] == "applied"


def test_records_as_lines_of_json_and_no_file_is_overwritten(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "records.jsonl"
    arguments = ("export", f"live.journal={journal}", "--what", "records", "--kind", "session", "stop", "--out", str(out))
    assert call(capsys, *arguments)[0] == 0
    kinds = [json.loads(line)["kind"] for line in out.read_text().splitlines()]
    assert kinds == ["session", "stop"]
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert "--force" in err
    assert call(capsys, *arguments, "--force")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]


def test_an_export_never_replaces_the_journal_and_leaves_nothing_half(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = copy.read_bytes()
    for out in (str(copy), f"{copy.parent}/../{copy.parent.name}/{copy.name}"):
        code, _, err = call(capsys, "export", f"live.journal={copy}", "--force", "--out", out)
        assert (code, "is the journal itself" in err) == (2, True)
    assert copy.read_bytes() == before
    for out, told in ((".", "there already"), ("none/x.csv", "No such file"), (str(copy / "x.csv"), "Not a directory")):
        code, _, err = call(capsys, "export", f"live.journal={copy}", "--out", out)
        assert (code, told in err) == (2, True)
    tamper(copy, "UPDATE records SET body = '[' WHERE seq = 30")
    code, _, err = call(capsys, "export", f"live.journal={copy}", "--what", "records", "--out", "records.jsonl")
    assert (code, "record 30 cannot be read" in err) == (2, True)
    assert list(Path.cwd().iterdir()) == []


def test_exported_decisions_belong_to_the_plant_of_their_session(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(copy) as journal:
        decision, session = journal.last("decision"), journal.last("session")
        assert decision is not None
        assert session is not None
        # Decided, killed before the outcome; then there is another site.
        journal.append([("session", session.body), ("decision", {**decision.body, "at": "2025-06-21T14:30:00"})], at=START)
        journal.append([("session", {**session.body, "sites": session.body["sites"] * 2})], at=START)
    code, out, _ = call(capsys, "export", f"live.journal={copy}", "--out", "-")
    assert code == 0
    lines = list(csv.DictReader(io.StringIO(out)))
    assert [(line["time"], line["status"]) for line in lines[-2:]] == [
        ("2025-06-21T14:25:00", "applied"),
        ("2025-06-21T14:30:00", ""),
    ]


def test_rows_on_stdout_are_those_of_a_file(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("export", f"live.journal={journal}", "--what", "rows", "--out")
    assert json.loads(call(capsys, *argv, "rows.csv", "--json")[1]) == {"out": "rows.csv", "lines": 30}
    assert call(capsys, *argv, "-") == (0, Path("rows.csv").read_text(), "")


@pytest.mark.parametrize("command", ["status", "verify", "export --out x.csv"])
def test_a_journal_that_is_none_is_one_clear_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("hello" * 1000)
    for path, told in (
        (tmp_path / "missing.db", "does not exist"),
        (tmp_path / "text", "not a database"),
        (tmp_path, "is no file"),
    ):
        code, out, err = call(capsys, *command.split(), f"live.journal={path}")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert told in err


def test_unknown_words_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        ["status", "--foo"],
        ["halt", "now"],
        ["staus"],
        ["export", "--kind", "halt", "--out", "x.csv"],
        ["verify", "agent=mpc"],
    ):
        code, _, err = call(capsys, *argv)
        assert (code, err.count("\n")) == (2, 1)
    assert list(Path.cwd().iterdir()) == []


def test_a_backup_is_a_journal(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("export", f"live.journal={journal}", "--what", "backup", "--out", str(tmp_path / "backup.db"))
    assert call(capsys, *arguments)[0] == 0
    assert call(capsys, "verify", f"live.journal={tmp_path / 'backup.db'}", "--against", str(journal))[0] == 0
    for again in (arguments, (*arguments, "--force"), (*arguments[:-1], "-")):
        code, _, err = call(capsys, *again)
        assert (code, err.count("\n")) == (2, 1)
