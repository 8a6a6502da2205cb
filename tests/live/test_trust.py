"""Journals that were put back, cut, taken away or laid open: an engine notices, a halt stays, and there is room for the last words."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gridpilot.cli import main
from gridpilot.errors import JournalError
from gridpilot.live import journal as journal_module
from gridpilot.live.journal import Journal
from gridpilot.live.noted_head import NotedHead, note_path, read_note, write_note
from gridpilot.live.reserve import ROOM, free_room, keep_room, reserve_path
from tests.live.loops import TiedClock, engine, mara, run
from tests.live.other_server import OtherServer

AT = datetime(2025, 6, 21, 12, tzinfo=UTC)
OFF = (0, 0, 0, 0, 0)
BUSY = (0, 100, 0, 0, 0)
HALT = ("halt", {"why": "smoke in hall 2"})
ROWS = [("rows", {"rows": [], "n": n}) for n in range(5)]
J = Path("j.db")


def append(*records: tuple[str, dict[str, Any]], path: Path = J) -> None:
    with Journal(path) as journal:
        journal.append(records, at=AT)


def put_back(copy: Path) -> None:
    """As a restored backup does: the file alone, without what SQLite keeps beside it."""
    for end in ("", "-wal", "-shm"):
        J.with_name(J.name + end).unlink(missing_ok=True)
    shutil.copy(copy, J)
    J.chmod(0o600)


def cut(n: int) -> None:
    with closing(sqlite3.connect(J)) as database:
        (trigger,) = database.execute("SELECT sql FROM sqlite_master WHERE name = 'no_delete'").fetchone()
        database.execute("DROP TRIGGER no_delete")
        database.execute("DELETE FROM records WHERE seq > (SELECT max(seq) FROM records) - ?", (n,))
        database.execute(trigger)
        database.commit()


def older_copy() -> None:
    with Journal(J) as journal:
        journal.append(ROWS, at=AT)
        journal.backup(Path("copy.db"))
        journal.append([*ROWS, HALT], at=AT)
    put_back(Path("copy.db"))


def older_copy_gone_on_with() -> None:
    older_copy()
    append(*[("rows", {"rows": [], "other": n}) for n in range(20)])


def cut_tail() -> None:
    append(*ROWS, HALT)
    cut(1)


def taken_away() -> None:
    append(*ROWS, HALT)
    for end in ("", "-wal", "-shm"):
        J.with_name(J.name + end).unlink(missing_ok=True)


def started(server: OtherServer, key: str, **changes: Any) -> None:
    run(mara(server, [key], TiedClock(server)), J, rows=2, **changes)


@pytest.mark.parametrize("happens", [older_copy, older_copy_gone_on_with, cut_tail, taken_away])
def test_a_halt_outlives_its_journal_and_what_goes_back_is_refused(happens: Any, capsys: pytest.CaptureFixture[str]) -> None:
    happens()
    with OtherServer(rows=3) as server:
        key = server.key()
        server.interfere(key, BUSY)
        for _ in range(2):
            with pytest.raises(JournalError, match=r"goes back: record \d+ of 2025-06-21T12:00:00 was noted beside it") as told:
                started(server, key)
            assert "\n" not in str(told.value)
            assert "gridpilot live verify --accept live.journal=j.db goes on with it knowingly" in str(told.value)
            assert server.machines(key) == OFF
        with Journal(J, read_only=True) as journal:
            assert journal.halt.why == "smoke in hall 2 (noted beside a journal that goes back)"
            assert [record.kind for record in journal.records()].count("halt") == 1
        assert main(["live", "verify", "live.journal=j.db"]) == 1
        assert "WRONG: journal j.db goes back" in capsys.readouterr().out
        assert main(["live", "verify", "--accept", "live.journal=j.db"]) == 0
    with Journal(J) as journal:
        assert journal.halt.halted
        assert journal.setback() is None


def test_a_journal_that_is_accepted_is_gone_on_with_and_obeys_the_halt_that_was_lost() -> None:
    older_copy()
    assert main(["live", "verify", "--accept", "live.journal=j.db"]) == 0
    with OtherServer(rows=3) as server, Journal(J) as journal:
        key = server.key()
        server.interfere(key, BUSY)
        venue = mara(server, [key], TiedClock(server))
        loop, watch = engine(venue, journal)
        watch.on_report = lambda report: loop.stop("seen enough")
        loop.run()
        venue.close()
        assert server.machines(key) == OFF
        assert watch.reports[0].kind == "halt"
        journal.append([("resume", {"why": "by hand"})], at=AT)
        assert journal.setback() is None
    assert not read_note(J).halted  # type: ignore[union-attr]


def test_without_a_halt_what_goes_back_is_refused_all_the_same() -> None:
    append(*ROWS)
    cut(2)
    with OtherServer(rows=3) as server:
        key = server.key()
        server.interfere(key, BUSY)
        with pytest.raises(JournalError, match=r"record 5 of .* is gone: the last is record 3"):
            started(server, key)
        assert server.machines(key) == OFF
        with Journal(J) as journal:
            assert not journal.halt.halted


def test_a_resume_after_a_halt_that_was_kept_is_not_undone() -> None:
    older_copy()
    with OtherServer(rows=3) as server:
        key = server.key()
        with pytest.raises(JournalError, match="goes back"):
            started(server, key)
        append(("resume", {"why": "I know"}))
        assert main(["live", "verify", "--accept", "live.journal=j.db"]) == 0
        started(server, key)
        assert any(server.machines(key))


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b'{"seq": "5"}', b"\xff" * 100, b"[" * 4000])
def test_a_note_that_is_missing_or_spoilt_is_a_remark_and_no_refusal(
    content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    append(*ROWS)
    note_path(J).unlink()
    if content is not None:
        note_path(J).write_bytes(content)
    assert main(["live", "verify", "live.journal=j.db"]) == 0
    assert "note: no head is noted beside it" in capsys.readouterr().out
    with OtherServer(rows=3) as server:
        started(server, server.key())
    with Journal(J, read_only=True) as journal:
        assert (read_note(J) or NotedHead(0, "", "", False, "")).hash == journal.head[1]
    assert main(["live", "verify", "live.journal=j.db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["noted"]["seq"] > 5


def test_of_two_that_write_the_later_note_stays() -> None:
    late, early = NotedHead(9, "b" * 64, "2025", True, "smoke"), NotedHead(8, "a" * 64, "2025", False, "")
    for note in (late, early):
        write_note(J, note)
    assert read_note(J) == late
    write_note(J, early, anew=True)
    assert read_note(J) == early


def test_a_note_that_is_a_link_is_not_written_through() -> None:
    Path("victim").write_text("mine")
    note_path(J).symlink_to("victim")
    append(*ROWS)
    assert Path("victim").read_text() == "mine"
    assert read_note(J) is None


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_journal_that_others_can_write_is_refused(mode: int, capsys: pytest.CaptureFixture[str]) -> None:
    append(*ROWS)
    J.chmod(mode)
    with OtherServer(rows=3) as server:
        key = server.key()
        server.interfere(key, BUSY)
        with pytest.raises(JournalError, match=rf"can be written by others than its owner \(mode {mode:o}\), expected mode 600"):
            started(server, key)
        assert server.machines(key) == OFF
    assert main(["live", "verify", "live.journal=j.db"]) == 1
    assert "WRONG: journal j.db can be written by others" in capsys.readouterr().out
    append(HALT)  # a halt is refused nowhere


def test_a_journal_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    append(*ROWS)
    monkeypatch.setattr(os, "geteuid", lambda: J.stat().st_uid + 1)
    with (
        OtherServer(rows=3) as server,
        pytest.raises(JournalError, match=r"belongs to another user \(uid \d+\), expected uid \d+, who runs this"),
    ):
        started(server, server.key())


@pytest.mark.parametrize("anew", [False, True])
def test_an_engine_whose_journal_is_taken_away_ends_with_everything_off(anew: bool) -> None:
    with OtherServer(rows=3) as server, Journal(J) as journal:
        key = server.key()
        venue = mara(server, [key], TiedClock(server))
        loop, watch = engine(venue, journal)

        def taken(_: Any) -> None:
            assert any(server.machines(key))
            J.rename("elsewhere.db")
            if anew:
                append(HALT)

        watch.on_report = taken
        with pytest.raises(JournalError, match="was taken away or replaced while its engine ran"):
            loop.run()
        venue.close()
        assert len(watch.reports) == 1
        assert server.machines(key) == OFF


# The last words.


def full(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without a page left, until the reserve is given up."""
    database = journal._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")

    def freed(path: Path) -> bool:
        database.execute(f"PRAGMA max_page_count = {pages + ROOM // 4096}")
        return free_room(path)

    monkeypatch.setattr(journal_module, "free_room", freed)


def fill(journal: Journal) -> None:
    for size in (1000, 1):
        for _ in range(1000):
            try:
                journal.append([("api", {"state": "up", "message": "x" * size})], at=AT)
            except JournalError:
                break
        else:
            raise AssertionError("there was no end of room")


@pytest.mark.parametrize("kind", ["halt", "off", "stop"])
def test_the_last_words_find_room_on_a_full_disk(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_room(J)
    assert reserve_path(J).stat().st_size == ROOM
    with Journal(J) as journal:
        full(journal, monkeypatch)
        fill(journal)
        assert reserve_path(J).exists()  # no row is worth it
        journal.append([(kind, {"why": "x" * 5000})], at=AT)
        assert not reserve_path(J).exists()
        assert journal.verify().problem is None
        assert read_note(J).halted == (kind == "halt")  # type: ignore[union-attr]


def test_an_engine_on_a_full_disk_leaves_everything_off_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with OtherServer(rows=3) as server, Journal(J) as journal:
        key = server.key()
        venue = mara(server, [key], TiedClock(server))
        loop, watch = engine(venue, journal)

        def fills(_: Any) -> None:
            full(journal, monkeypatch)
            fill(journal)

        watch.on_report = fills
        with pytest.raises(JournalError, match="full"):
            loop.run()
        venue.close()
        assert server.machines(key) == OFF
        assert [record.kind for record in journal.records()][-2:] == ["off", "stop"]
        assert not reserve_path(J).exists()


def test_room_that_cannot_be_kept_is_told_and_keeps_nobody_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("elsewhere").touch()
    reserve_path(J).symlink_to("elsewhere")
    with OtherServer(rows=3) as server, Journal(J) as journal:
        venue = mara(server, [server.key()], TiedClock(server))
        loop, watch = engine(venue, journal, rows=1)
        notes: list[str] = []
        monkeypatch.setattr(watch, "note", lambda event, message: notes.append(message))
        loop.run()
        venue.close()
    assert any("no room could be kept beside j.db for a halt on a full disk" in note for note in notes)
    assert Path("elsewhere").stat().st_size == 0
