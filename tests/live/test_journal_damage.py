"""Damage around the chain, and what operators are told who are about to rely on a journal."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gridpilot.cli import main
from gridpilot.errors import JournalError
from gridpilot.live.journal import Journal

AT = datetime(2025, 6, 21, 12, tzinfo=UTC)


def filled(path: Path, n: int = 200) -> Path:
    with Journal(path) as journal:
        journal.append([("rows", {"n": i, "padding": "x" * 40}) for i in range(n)], at=AT)
    return path


def problem(path: Path) -> str:
    with Journal(path, read_only=True) as journal:
        return str(journal.verify().problem)


def test_a_page_that_was_lost_is_a_problem_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    path = filled(Path("j.db"))
    with closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
    raw = path.read_bytes()
    told = set()
    for page in range(1, len(raw) // size):
        path.write_bytes(raw[: page * size] + bytes(size) + raw[(page + 1) * size :])
        told.add(problem(path).partition(":")[0].rstrip("0123456789"))
        assert main(["live", "verify", f"live.journal={path}"]) == 1
        assert "WRONG: " in capsys.readouterr().out
    assert "None" not in told
    assert any(text.startswith("the file is damaged after record") for text in told)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("DROP TRIGGER no_update", "no_update"),
        ("DROP TRIGGER no_delete", "no_delete"),
        ("CREATE TRIGGER eat BEFORE INSERT ON records WHEN NEW.kind = 'halt' BEGIN SELECT RAISE(IGNORE); END", "eat"),
    ],
)
def test_triggers_that_are_not_a_journals_are_found(statement: str, name: str) -> None:
    path = filled(Path("j.db"))
    assert problem(path) == "None"
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
    assert problem(path) == f"the triggers are not those of a journal: {name}"


def test_a_journal_that_is_locked_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridpilot.live.journal_file.BUSY_S", 0.01)
    path = filled(Path("j.db"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other, Journal(path) as journal:
        journal._database.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match="locked"):
            journal.verify()


def test_a_backup_that_fails_leaves_none() -> None:
    path = filled(Path("j.db"))
    with Journal(path) as journal:
        journal._database.close()
        with pytest.raises(JournalError, match="closed"):
            journal.backup(Path("copy.db"))
    assert not Path("copy.db").exists()


@pytest.mark.parametrize("end", ["", "-wal", "-shm", ".lock", ".head", ".reserve"])
@pytest.mark.parametrize("through_a_link", [False, True])
def test_no_part_of_a_journal_is_exported_over(end: str, through_a_link: bool, capsys: pytest.CaptureFixture[str]) -> None:
    path = filled(Path("j.db"))
    if through_a_link:
        Path("link").symlink_to(os.curdir)
    with Journal(path) as journal:  # an engine's
        journal.append([("rows", {"n": "only in the log"})], at=AT)
        out = f"{'link/' if through_a_link else ''}{path}{end}"
        assert main(["live", "export", "--what", "records", "--force", "--out", out, f"live.journal={path}"]) == 2
        assert "is the journal itself" in capsys.readouterr().err
    assert problem(path) == "None"
    with Journal(path, read_only=True) as journal:
        assert journal.head[0] == 201


SESSION = ("session", {"mode": "live"})
SHADOW = ("session", {"mode": "shadow"})
STOP = ("stop", {"why": "done"})


@pytest.mark.parametrize(
    ("records", "stay"), [([], False), ([SESSION], False), ([SESSION, STOP], True), ([SESSION, STOP, SHADOW, STOP], False)]
)
def test_a_halt_that_no_engine_obeys_is_written_and_is_no_success(
    records: list[tuple[str, dict[str, str]]], stay: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with Journal(Path("j.db")) as journal:
        journal.append(records, at=AT)
    for _ in range(2):  # the second finds it halted already
        assert main(["live", "halt", "live.journal=j.db"]) == 2
        told = capsys.readouterr().err
        assert "no engine runs on j.db" in told
        assert ("machines stay as they are" in told) == stay
        assert "the halt is written down, and nothing was switched off" in told
    with Journal(Path("j.db"), read_only=True) as journal:
        assert journal.halt.halted
    assert main(["live", "halt", "live.journal=j.db", "--ahead"]) == 0
    assert "until gridpilot live resume live.journal=j.db" in capsys.readouterr().out


@pytest.mark.parametrize("head", ["", "a1b2c3", "not a head at all", "0" * 65])
def test_a_head_that_says_nothing_is_refused(head: str, capsys: pytest.CaptureFixture[str]) -> None:
    filled(Path("j.db"))
    assert main(["live", "verify", "live.journal=j.db", "--head", head]) == 2
    assert "expected 8 to 64 hexadecimal digits" in capsys.readouterr().err
