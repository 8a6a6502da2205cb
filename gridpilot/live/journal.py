"""The journal: everything that was seen, decided, sent and answered, append-only and chained by hash.

An SQLite database (WAL, synchronous=FULL) with one table::

    records(seq, at, kind, body, hash)      hash = SHA-256 of [previous hash, seq, at, kind, body] as a JSON array

``seq`` counts from 1 without gaps; ``at`` is the engine's time, ISO 8601 in UTC; ``body`` is canonical JSON (ASCII, sorted keys, no spaces,
no NaN). The first record's previous hash is that of the format's name. Triggers refuse changes and deletions; a change made around them
breaks the chain at the record that was changed. A tail that was cut off leaves no trace in a chain: whoever needs to see that notes the
head elsewhere.
What a journal holds is described in :mod:`gridpilot.live.records`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from gridpilot.errors import JournalError

__all__ = ["HaltState", "Journal", "Record", "Verification"]

APPLICATION_ID: Final = 0x47504A4C  # "GPJL"
FORMAT: Final = 1
BUSY_S: Final = 30.0  # that a writer waits for another
GENESIS: Final = hashlib.sha256(b"gridpilot live journal, format 1").hexdigest()

_SCHEMA: Final = (
    "CREATE TABLE records (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT",
    "CREATE INDEX by_kind ON records (kind, seq)",
    "CREATE TRIGGER no_update BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'a journal is never changed'); END",
    "CREATE TRIGGER no_delete BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'a journal is never changed'); END",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record."""

    seq: int
    at: datetime  # UTC
    kind: str
    body: dict[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What recomputing the chain came to."""

    records: int  # that are sound, from the first on
    head: str  # hash of the last of them
    problem: str | None  # the first broken place, in words


@dataclass(frozen=True, slots=True)
class HaltState:
    """Whether the site is halted by hand."""

    halted: bool
    why: str
    since: datetime | None


class Journal:
    """A journal file, made when it is not there yet (readable by its owner alone). Several processes may append to it.

    Raises :class:`~gridpilot.errors.JournalError`, which names the file, for whatever is wrong with it.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._read_only = read_only
        with self._errors():
            if read_only:
                self._check_is_file()
                self._database = self._connect_to_read()
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                self._check_is_file()
                self._database = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
        try:
            with self._errors():
                self._prepare()
        except BaseException:
            self._database.close()
            raise

    def append(self, records: Sequence[tuple[str, Mapping[str, Any]]], *, at: datetime) -> tuple[Record, ...]:
        """Write ``(kind, body)`` records, all or none; they are on disk when this returns."""
        stamp = at.astimezone(UTC).isoformat()
        texts = [(kind, _canonical(kind, body)) for kind, body in records]
        written = []
        with self._errors(), self._transaction():
            seq, head = self.head
            for kind, text in texts:
                seq += 1
                head = _hash(head, seq, stamp, kind, text)
                self._database.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?)", (seq, stamp, kind, text, head))
                written.append(Record(seq, at.astimezone(UTC), kind, json.loads(text), head))
        return tuple(written)

    def records(self, *, kinds: Collection[str] | None = None, after: int = 0, until: int | None = None) -> Iterator[Record]:
        """Records in order, ``after < seq <= until``, of some ``kinds``; a page at a time, so that nobody is kept from writing."""
        where, values = "", tuple(kinds or ())
        if kinds is not None:
            where = f" AND kind IN ({','.join('?' * len(values))})"
        while True:
            with self._errors():
                page = self._database.execute(
                    f"SELECT seq, at, kind, body, hash FROM records WHERE seq > ? AND seq <= ?{where} ORDER BY seq LIMIT 1000",
                    (after, 2**62 if until is None else until, *values),
                ).fetchall()
            for row in page:
                yield self._record(row)
            if len(page) < 1000:
                return
            after = page[-1][0]

    def last(self, kind: str) -> Record | None:
        """The newest record of a kind."""
        with self._errors():
            row = self._database.execute(
                "SELECT seq, at, kind, body, hash FROM records WHERE kind = ? ORDER BY seq DESC LIMIT 1", (kind,)
            ).fetchone()
        return None if row is None else self._record(row)

    @property
    def halt(self) -> HaltState:
        """Whether a halt is in force: the later of the last halt and the last resume."""
        halt = self.last("halt")
        if halt is None:
            return HaltState(False, "", None)
        resume = self.last("resume")
        if resume is not None and resume.seq > halt.seq:
            return HaltState(False, str(resume.body.get("why", "")), resume.at)
        return HaltState(True, str(halt.body.get("why", "")), halt.at)

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last record; 0 and the format's own hash where there is none."""
        with self._errors():
            row = self._database.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        return (0, GENESIS) if row is None else (int(row[0]), str(row[1]))

    def verify(self) -> Verification:
        """Recompute the whole chain."""
        count, head, after = 0, GENESIS, -(2**62)
        while True:
            with self._errors():
                page = self._database.execute(
                    "SELECT seq, at, kind, body, hash FROM records WHERE seq > ? ORDER BY seq LIMIT 1000", (after,)
                ).fetchall()
            for seq, at, kind, body, stored in page:
                if seq != count + 1:
                    return Verification(count, head, f"record {count + 1} is missing: {seq} follows {count}")
                if _hash(head, seq, at, kind, body) != stored:
                    return Verification(
                        count, head, f"record {seq} ({kind}, {at}) is not what was written, or what precedes it is not"
                    )
                count, head = count + 1, stored
            if len(page) < 1000:
                return Verification(count, head, None)
            after = page[-1][0]

    def backup(self, path: Path) -> None:
        """Copy the journal to a new file, while it is being written."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise JournalError(f"backup {path}: {error.strerror}") from error
        with self._errors(), contextlib.closing(sqlite3.connect(path)) as copy:
            self._database.backup(copy)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _check_is_file(self) -> None:
        if not self.path.is_file():
            state = "is no file" if self.path.exists() else "does not exist"
            raise JournalError(f"journal {self.path} {state}, expected the journal of gridpilot live")

    def _connect_to_read(self) -> sqlite3.Connection:
        """A connection that writes nothing; a journal on a disk that cannot be written is read as it is."""
        name = self.path.absolute().as_uri()
        database = sqlite3.connect(f"{name}?mode=ro", timeout=BUSY_S, isolation_level=None, uri=True)
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            # WAL needs a file beside the journal, which cannot be made here.
            database.close()
            database = sqlite3.connect(f"{name}?immutable=1", timeout=BUSY_S, isolation_level=None, uri=True)
        return database

    def _prepare(self) -> None:
        application, version = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not (self._read_only or application or version or tables):
            self._database.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                if self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:  # nobody was quicker
                    for statement in _SCHEMA:
                        self._database.execute(statement)
            application, version = APPLICATION_ID, FORMAT
        if application != APPLICATION_ID:
            raise JournalError(f"journal {self.path} is another program's database, expected the journal of gridpilot live")
        if version != FORMAT:
            raise JournalError(f"journal {self.path} has format {version}, expected {FORMAT}")
        if not self._read_only:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise JournalError(f"journal {self.path}: {reason}") from error

    def _record(self, row: tuple[Any, ...]) -> Record:
        seq, at, kind, body, digest = row
        try:
            return Record(seq, datetime.fromisoformat(at), kind, json.loads(body), digest)
        except (ValueError, TypeError) as error:
            raise JournalError(
                f"journal {self.path}: record {seq} cannot be read: {error}; gridpilot live verify tells more"
            ) from error


def _canonical(kind: str, body: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(body), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(f"journal: the body of a {kind} record is not JSON: {error}") from error


def _hash(previous: str, seq: int, at: str, kind: str, body: str) -> str:
    return hashlib.sha256(json.dumps([previous, seq, at, kind, body]).encode()).hexdigest()
