"""What an operator asks of a journal, as a user calls it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from gridpilot.cli import main
from gridpilot.live.api import INVENTORIES
from gridpilot.live.feeds import read_rows
from gridpilot.live.journal import GENESIS, Journal, _canonical, _hash
from gridpilot.live.recorded import ReplayVenue
from tests.live.loops import run
from tests.live.test_journal import tamper
from tests.live.worlds import walk


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


def test_halt_before_the_first_start_status_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = f"live.journal={tmp_path / 'new.db'}"
    assert call(capsys, "resume", where)[0] == 2  # there is none
    code, out, _ = call(capsys, "halt", where, "--why", "smoke in hall 2")
    assert code == 0
    assert "within one cycle" in out
    code, out, _ = call(capsys, "halt", where)
    assert (code, "halted already" in out, "smoke in hall 2" in out) == (0, True, True)
    code, out, _ = call(capsys, "status", where)
    assert "HALTED: smoke in hall 2" in out
    assert call(capsys, "resume", where)[0] == 0
    code, _, err = call(capsys, "resume", where)
    assert code == 2
    assert err.count("\n") == 1
    assert "nothing to resume" in err


def test_a_sound_journal_verifies_and_replays(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "verify", f"live.journal={journal}", "--replay", "--against", str(journal))
    assert code == 0
    assert "30 decisions made again, 0 otherwise" in out
    assert "30 decisions equal, 0 different, 0 in one only" in out
    head = json.loads(call(capsys, "verify", f"live.journal={journal}", "--json")[1])["head"]
    assert call(capsys, "verify", f"live.journal={journal}", "--head", head[:16])[0] == 0
    assert call(capsys, "verify", f"live.journal={journal}", "--head", "0" * 64)[0] == 1


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
    rewrite(copy, lambda kind, body: {**body, "counts": [[1, 0, 0, 0, 0]]} if kind == "decision" and body["tick"] == 7 else body)
    assert call(capsys, "verify", f"live.journal={copy}")[0] == 0
    code, out, _ = call(capsys, "verify", f"live.journal={copy}", "--replay")
    assert code == 1
    assert "1 of 30 decisions come out otherwise, first 2025-06-21T12:35:00 row" in out


BREACHES = [
    (
        lambda kind, body: {**body, "power_w": 1_000_001} if kind == "decision" and body["tick"] == 3 else body,
        "1000001 W are commanded",
    ),
    (
        lambda kind, body: {**body, "at": "2025-06-21T12:00:00"} if kind == "decision" and body["tick"] == 3 else body,
        "a second time",
    ),
    (
        lambda kind, body: (
            {**body, "command": "2025-06-21T12:00:00 row", "counts": [[9, 9, 9, 9, 9]]}
            if kind == "intent" and "12:15" in body["at"]
            else body
        ),
        "with other counts than before",
    ),
]


@pytest.mark.parametrize(("change", "told"), BREACHES)
def test_what_must_not_be_is_told(change: Any, told: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(copy, change)
    code, out, _ = call(capsys, "verify", f"live.journal={copy}")
    assert code == 1
    assert told in out


def test_runs_that_decided_otherwise_are_told_apart(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.db"
    run(ReplayVenue(walk(40, seed=0)[:35], INVENTORIES["live"], 1_000_000), other, rows=35)
    code, out, _ = call(capsys, "verify", f"live.journal={journal}", "--against", str(other))
    assert code == 1
    assert "5 in one only" in out


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
        assert float(line["profit"]) == pytest.approx(outcome["revenue"] - outcome["cost"], rel=1e-9, abs=1e-6)
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
    for argv in (["status", "--foo"], ["halt", "now"], ["staus"]):
        code, _, err = call(capsys, *argv)
        assert (code, err.count("\n")) == (2, 1)
