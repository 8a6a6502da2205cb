"""The journal: durable, append-only, and unable to hide a change."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridpilot.errors import JournalError
from gridpilot.live.journal import GENESIS, Journal, Record, Verification

AT = datetime(2025, 6, 21, 12, tzinfo=UTC)


def tamper(path: Path, *statements: str) -> None:
    """Change a journal behind its back, and leave no other trace."""
    database = sqlite3.connect(path, isolation_level=None)
    triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    database.execute("PRAGMA writable_schema = OFF")
    for _, text in triggers:
        database.execute(text)
    database.close()


def filled(path: Path, n: int = 5) -> Journal:
    journal = Journal(path)
    for i in range(n):
        journal.append([("rows", {"rows": [i]}), ("decision", {"at": i})], at=AT)
    return journal


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "a\udfffb", "\x00", "\u2028"]),  # halves of a pair are what a careless server makes of an emoji
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(st.dictionaries(st.text(max_size=8), values, max_size=4), min_size=1, max_size=5))
def test_any_body_comes_back_exactly(bodies: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    with Journal(tmp_path_factory.mktemp("j") / "j.db") as journal:
        written = journal.append([("kind", body) for body in bodies], at=AT)
        read = list(journal.records())
        assert [record.body for record in read] == bodies
        assert tuple(read) == written
        assert [record.seq for record in read] == list(range(1, len(bodies) + 1))
        assert journal.verify().problem is None


def test_the_halves_of_a_pair_are_written_as_the_character_they_make(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        (record,) = journal.append([("kind", {"why": "\ud83d\ude00"})], at=AT)
        assert record.body == {"why": "\U0001f600"}
        assert list(journal.records()) == [record]


TAMPERED = [
    ("UPDATE records SET body = replace(body, '2', '7') WHERE seq = 6", "record 6"),
    ("UPDATE records SET kind = 'halt' WHERE seq = 3", "record 3"),
    ("UPDATE records SET at = '2025-06-21T12:00:01+00:00' WHERE seq = 2", "record 2"),
    ("UPDATE records SET hash = replace(hash, 'a', 'b') WHERE seq = 9", "record 9"),
    ("DELETE FROM records WHERE seq = 4", "record 4 is missing"),
    ("DELETE FROM records WHERE seq = 1", "record 1 is missing"),
    ("INSERT INTO records VALUES (0, '2025-06-21T12:00:00+00:00', 'halt', '{}', 'x')", "record 1 is missing: 0 follows 0"),
    ("UPDATE records SET seq = 40 WHERE seq = 10", "record 10 is missing"),
    (f"UPDATE records SET seq = {-(2**63)} WHERE seq = 2", "record 1 is missing"),
    (f"UPDATE records SET seq = {2**63 - 1} WHERE seq = 10", "record 10 is missing"),
    ("UPDATE records SET body = CAST(x'7bff7d' AS TEXT) WHERE seq = 6", "record 6"),  # no UTF-8
    ("UPDATE records SET kind = CAST(x'ff' AS TEXT) WHERE seq = 7", r"record 7 (\udcff"),
    ("DROP INDEX by_kind; CREATE INDEX by_kind ON records (seq, kind); DELETE FROM records WHERE seq = 10", None),  # the tail
]


@pytest.mark.parametrize(("statement", "place"), TAMPERED)
def test_every_change_is_found_with_its_place(statement: str, place: str | None, tmp_path: Path) -> None:
    filled(tmp_path / "j.db").close()
    tamper(tmp_path / "j.db", *statement.split("; "))
    with Journal(tmp_path / "j.db") as journal:
        verification = journal.verify()
        if place is None:  # a chain cannot tell that it was cut off; the head noted elsewhere does
            assert (verification.records, verification.problem) == (9, None)
        else:
            assert place in str(verification.problem)
            assert str(verification.problem).isprintable()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seq=st.integers(1, 10),
    column=st.sampled_from(["at", "kind", "body", "hash"]),
    place=st.integers(0, 63),
    byte=st.integers(0, 255),
)
def test_any_changed_byte_is_found_with_its_place(
    seq: int, column: str, place: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("j") / "j.db"
    with filled(path) as journal:
        old = journal._database.execute(f"SELECT CAST({column} AS BLOB) FROM records WHERE seq = ?", (seq,)).fetchone()[0]
    place %= len(old)
    new = old[:place] + bytes([byte]) + old[place + 1 :]
    tamper(path, f"UPDATE records SET {column} = CAST(x'{new.hex()}' AS TEXT) WHERE seq = {seq}")
    with Journal(path) as journal:
        verification = journal.verify()
        if new == old:
            assert verification == Verification(10, journal.head[1], None)
        else:
            assert verification.records == seq - 1
            assert f"record {seq} " in str(verification.problem)


def test_a_damaged_file_is_told_or_reads_the_same(tmp_path: Path) -> None:
    def read(journal: Journal) -> list[Any]:
        return [list(journal.records()), journal.halt, *map(journal.last, ("rows", "decision"))]

    with filled(tmp_path / "j.db", 40) as journal:
        journal.append([("halt", {"why": "smoke"})], at=AT)
        sound = read(journal)
    raw, draw, noticed = (tmp_path / "j.db").read_bytes(), random.Random(5), 0
    path = tmp_path / "damaged.db"
    for _ in range(250):
        place = draw.randrange(len(raw))
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1 << draw.randrange(8)]) + raw[place + 1 :])
        for companion in tmp_path.glob("damaged.db-*"):
            companion.unlink()
        try:
            with Journal(path, read_only=True) as journal:
                if journal.verify().problem is None:
                    assert read(journal) == sound
                    continue
        except JournalError as error:
            assert str(path) in str(error)  # noqa: PT017 - the other outcome is as good
        noticed += 1
    assert noticed > 50


def test_a_record_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for name, body in (("list", "[1]"), ("cut", '{"rows'), ("deep", "[" * 100_000)):
        filled(tmp_path / name).close()
        tamper(tmp_path / name, f"UPDATE records SET body = '{body}' WHERE seq = 3")
        with Journal(tmp_path / name) as journal, pytest.raises(JournalError, match="record 3 cannot be read"):
            list(journal.records())


def test_an_index_that_hides_a_halt_is_found(tmp_path: Path) -> None:
    with filled(tmp_path / "j.db") as journal:
        journal.append([("halt", {"why": "smoke"})], at=AT)
    sound = "CREATE INDEX by_kind ON records (kind, seq)"
    tamper(
        tmp_path / "j.db",
        "DROP INDEX by_kind",
        f"{sound} WHERE kind <> 'halt'",
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = '{sound}' WHERE name = 'by_kind'",
    )
    with Journal(tmp_path / "j.db") as journal:
        assert not journal.halt.halted
        assert "by_kind" in str(journal.verify().problem)


def test_two_records_that_changed_places_are_found(tmp_path: Path) -> None:
    filled(tmp_path / "j.db").close()
    swap = [f"UPDATE records SET seq = {to} WHERE seq = {of}" for of, to in ((3, 100), (5, 3), (100, 5))]
    tamper(tmp_path / "j.db", *swap)
    with Journal(tmp_path / "j.db") as journal:
        assert "record 3" in str(journal.verify().problem)


@pytest.mark.parametrize("statement", ["UPDATE records SET body = '{}'", "DELETE FROM records"])
def test_a_record_is_never_changed(statement: str, tmp_path: Path) -> None:
    filled(tmp_path / "j.db").close()
    database = sqlite3.connect(tmp_path / "j.db", isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        database.execute(statement)
    database.close()


def test_what_returned_is_durable_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for _ in range(2):  # made, and opened again
            with filled(tmp_path / "deep" / "j.db") as journal:
                assert journal._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
                assert journal._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
                modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").iterdir()}
                assert modes == dict.fromkeys(("j.db", "j.db-wal", "j.db-shm", "j.db.head"), 0o600)
                journal.backup(tmp_path / "deep" / "backup.db")
            assert stat.S_IMODE((tmp_path / "deep" / "backup.db").stat().st_mode) == 0o600
            (tmp_path / "deep" / "backup.db").unlink()
    finally:
        os.umask(before)


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": float("inf")}, {"x": {1, 2}}, {"x": b"bytes"}])
def test_a_body_that_is_no_json_is_refused_and_nothing_written(body: dict[str, Any], tmp_path: Path) -> None:
    with filled(tmp_path / "j.db") as journal:
        head = journal.head
        with pytest.raises(JournalError, match="decision"):
            journal.append([("rows", {}), ("decision", body)], at=AT)
        assert journal.head == head


def test_a_kind_that_cannot_be_written_is_refused_and_a_full_disk_leaves_no_half(tmp_path: Path) -> None:
    with filled(tmp_path / "j.db") as journal:
        head = journal.head
        with pytest.raises(JournalError, match="surrogates not allowed"):
            journal.append([("rows", {}), ("ki\ud800nd", {})], at=AT)
        journal._database.execute("PRAGMA max_page_count = 1")  # not one more than there are
        with pytest.raises(JournalError, match="full"):
            journal.append([("rows", {"n": 1}), ("decision", {"padding": "x" * 100_000})], at=AT)
        assert journal.head == head
        journal._database.execute("PRAGMA max_page_count = 1000000")
        journal.append([("rows", {"n": 1})], at=AT)
        assert journal.verify() == Verification(11, journal.head[1], None)
        assert journal.append([], at=AT) == ()


def test_the_last_of_a_kind_and_a_range(tmp_path: Path) -> None:
    with filled(tmp_path / "j.db") as journal:
        last = journal.last("decision")
        assert last is not None
        assert (last.seq, last.body) == (10, {"at": 4})
        assert journal.last("halt") is None
        assert [record.seq for record in journal.records(kinds={"rows"}, after=2, until=8)] == [3, 5, 7]
        assert journal.head == (10, last.hash)
    with Journal(tmp_path / "empty.db") as empty:
        assert empty.head == (0, GENESIS)
        assert empty.verify().problem is None


def test_more_records_than_a_page(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        journal.append([("rows", {"n": n}) for n in range(2500)], at=AT)
        assert [record.body["n"] for record in journal.records()] == list(range(2500))
        assert journal.verify().records == 2500


def test_a_halt_holds_until_a_resume(tmp_path: Path) -> None:
    with filled(tmp_path / "j.db") as journal:
        states = [journal.halt.halted]
        for kind in ("halt", "halt", "resume", "resume", "halt"):
            journal.append([(kind, {"why": kind})], at=AT)
            states.append(journal.halt.halted)
        assert states == [False, True, True, False, False, True]
        assert (journal.halt.why, journal.halt.since) == ("halt", AT)
        plan = journal._database.execute(
            "EXPLAIN QUERY PLAN SELECT seq, at, kind, body, hash FROM records WHERE kind = 'halt' ORDER BY seq DESC LIMIT 1"
        ).fetchall()
        assert "USING INDEX by_kind" in plan[0][3]  # it is asked at every turn of the loop


def _append_many(path: Path, name: int, n: int) -> None:
    with Journal(path) as journal:
        for i in range(n):
            journal.append([("rows", {"by": name, "n": i}), ("decision", {"by": name, "n": i})], at=AT)


def test_several_writers_make_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(tmp_path / "j.db", name, 25)) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    with Journal(tmp_path / "j.db") as journal:
        assert journal.verify() == Verification(200, journal.head[1], None)
        for name in range(4):
            mine = [record.body["n"] for record in journal.records(kinds={"rows"}) if record.body["by"] == name]
            assert mine == list(range(25))


def _append_at_once(path: Path, barrier: Any) -> None:
    barrier.wait()
    _append_many(path, 0, 1)


@pytest.mark.parametrize("there", [False, True])
def test_several_that_make_the_same_journal_make_one(there: bool, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for n in range(12):
        path, barrier = tmp_path / f"{n}.db", context.Barrier(4)
        if there:
            path.touch(0o600)
        makers = [context.Process(target=_append_at_once, args=(path, barrier)) for _ in range(4)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join(60)
        assert [maker.exitcode for maker in makers] == [0] * 4
        with Journal(path) as journal:
            assert journal.verify() == Verification(8, journal.head[1], None)
            assert journal._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def _append_until_killed(path: Path, told: Any) -> None:
    with Journal(path) as journal:
        for i in range(100_000):
            journal.append([("rows", {"n": i, "padding": "x" * (i % 7 * 900)})], at=AT)
            os.write(told, b".")


@pytest.mark.parametrize("seed", range(12))
def test_killed_while_it_writes_it_keeps_what_returned(seed: int, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=_append_until_killed, args=(tmp_path / "j.db", writing))
    process.start()
    os.close(writing)
    assert os.read(reading, 1) == b"."
    time.sleep(random.Random(seed).uniform(0.0, 0.08))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    returned = 1
    while chunk := os.read(reading, 65536):
        returned += len(chunk)
    os.close(reading)
    with Journal(tmp_path / "j.db") as journal:
        verification = journal.verify()
        assert verification.problem is None
        assert verification.records in (returned, returned + 1)
        journal.append([("rows", {"n": "and on it goes"})], at=AT)


def test_a_copy_without_its_companions_and_a_backup_of_one_in_use(tmp_path: Path) -> None:
    with filled(tmp_path / "j.db") as journal:
        journal.backup(tmp_path / "backup.db")
        with pytest.raises(JournalError, match="File exists"):
            journal.backup(tmp_path / "backup.db")
        journal.append([("rows", {})], at=AT)
    shutil.copy(tmp_path / "j.db", tmp_path / "copy.db")
    for name, records in (("backup.db", 10), ("copy.db", 11)):
        with Journal(tmp_path / name, read_only=True) as other:
            assert (other.verify().records, other.verify().problem) == (records, None)


def _append_until(path: Path, stop: Any) -> None:
    with Journal(path) as journal:
        while not stop.is_set():
            journal.append([("rows", {}), ("decision", {})], at=AT)


def test_backups_while_somebody_else_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    writer = context.Process(target=_append_until, args=(tmp_path / "j.db", stop), daemon=True)
    with filled(tmp_path / "j.db", 200) as journal:
        writer.start()
        records = [0]
        while records[-1] < 420 or len(records) < 4:
            journal.backup(tmp_path / f"{len(records)}.db")
            with Journal(tmp_path / f"{len(records)}.db", read_only=True) as copy:
                verification = copy.verify()
                assert verification.problem is None
                assert verification.records % 2 == 0  # no half of what was appended together
                records.append(verification.records)
        stop.set()
        writer.join(60)
        assert writer.exitcode == 0
        assert records == sorted(records)
        assert journal.verify().problem is None


def _copy_in_use(source: Path, target: Path, *companions: str) -> list[Record]:
    """A copy made while the journal is open, so that its newest records are still beside it."""
    with filled(source) as journal:
        for name in ("", *companions):
            shutil.copy(f"{source}{name}", f"{target}{name}")
        return list(journal.records())


def test_a_copy_of_a_journal_in_use_needs_its_companion(tmp_path: Path) -> None:
    records = _copy_in_use(tmp_path / "j.db", tmp_path / "both.db", "-wal")
    with Journal(tmp_path / "both.db", read_only=True) as journal:
        assert list(journal.records()) == records


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be written, with journals: whole.db, its mode 0400, and apart.db, whose records are in its -wal."""
    folder = tmp_path / "frozen"
    filled(folder / "whole.db").close()
    _copy_in_use(tmp_path / "j.db", folder / "apart.db", "-wal")
    (folder / "whole.db").chmod(0o400)
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("whoever runs this may write everywhere")
    yield folder
    folder.chmod(0o700)


def test_a_folder_that_cannot_be_written(frozen: Path) -> None:
    with Journal(frozen / "whole.db", read_only=True) as journal:
        assert journal.verify() == Verification(10, journal.head[1], None)
    for name, message in (
        ("whole.db", "readonly|unable to open"),
        ("new.db", "Permission denied"),
        ("new/j.db", "Permission denied"),
    ):
        with pytest.raises(JournalError, match=message):
            Journal(frozen / name)
    with pytest.raises(JournalError, match=r"newest records are in apart\.db-wal"):
        Journal(frozen / "apart.db", read_only=True)


def test_reading_beside_a_writer(tmp_path: Path) -> None:
    with filled(tmp_path / "j.db") as journal, Journal(tmp_path / "j.db", read_only=True) as reader:
        journal.append([("rows", {"n": 99})], at=AT)
        last = reader.last("rows")
        assert last is not None
        assert last.body == {"n": 99}
        with pytest.raises(JournalError, match="readonly"):
            reader.append([("halt", {})], at=AT)


def test_files_that_are_no_journals(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("price,1\n" * 500)
    database = sqlite3.connect(tmp_path / "other.db")
    database.execute("CREATE TABLE cats (name TEXT)")
    database.close()
    filled(tmp_path / "newer.db").close()
    tamper(tmp_path / "newer.db", "PRAGMA user_version = 9")
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "empty.db").touch()
    for name, message in (
        ("text.db", "not a database"), ("other.db", "another program's"), ("newer.db", "format 9"), ("folder.db", "is no file"),
    ):  # fmt: skip
        for read_only in (False, True):
            with pytest.raises(JournalError, match=message):
                Journal(tmp_path / name, read_only=read_only)
    for name, message in (("missing.db", "does not exist"), ("empty.db", "is empty")):
        with pytest.raises(JournalError, match=message):
            Journal(tmp_path / name, read_only=True)
    with Journal(tmp_path / "empty.db") as journal:  # an empty file becomes one
        assert journal.head[0] == 0
