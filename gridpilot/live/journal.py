"""The journal: everything that was seen, decided, sent and answered, append-only and chained by hash.

An SQLite database (WAL, synchronous=FULL) with one table::

    records(seq, at, kind, body, hash)      hash = SHA-256 of [previous hash, seq, at, kind, body] as a JSON array

``seq`` counts from 1 without gaps; ``at`` is the engine's time, ISO 8601 in UTC; ``body`` is canonical JSON (ASCII, sorted keys, no spaces,
no NaN). The first record's previous hash is that of the format's name. Triggers refuse changes and deletions; a change made around them
breaks the chain at the record that was changed. A tail that was cut off leaves no trace in a chain: that is seen by the head that is
noted beside the journal (:mod:`gridpilot.live.noted_head`), or elsewhere by whoever cannot trust its folder.
What a journal holds is described in :mod:`gridpilot.live.journal_json`.
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
from gridpilot.live.journal_file import TRIGGERS, journal_errors, open_database, prepare, transaction
from gridpilot.live.noted_head import NotedHead, note_path, read_note, write_note
from gridpilot.live.reserve import free_room
from gridpilot.redaction import redacted_value

__all__ = ["HaltState", "Journal", "Record", "Verification"]

FIRST: Final = -(2**63)  # the smallest number that a record can be given behind the journal's back
LAST_WORDS: Final = frozenset({"halt", "resume", "off", "stop"})  # for which the room beside the journal is given up
GENESIS: Final = hashlib.sha256(b"gridpilot live journal, format 1").hexdigest()


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
        with journal_errors(self.path):
            self._database = open_database(self.path, read_only=read_only)
        self._place = self.path.absolute()  # wherever the agent goes
        about = self._place.stat()
        self._inode = (about.st_dev, about.st_ino)
        self._follows: bool | None = None  # the noted head; not known before something is appended
        try:
            try:
                with journal_errors(self.path):
                    prepare(self._database, self.path, read_only=read_only)
            except JournalError as error:
                if read_only or not self._may_go_on(error):
                    raise
                with journal_errors(self.path):
                    prepare(self._database, self.path, read_only=read_only)
        except BaseException:
            self._database.close()
            raise

    def append(
        self, records: Sequence[tuple[str, Mapping[str, Any]]], *, at: datetime, hurried: bool = False
    ) -> tuple[Record, ...]:
        """Write ``(kind, body)`` records, all or none, without keys; they are on disk when this returns.

        Where it is ``hurried`` the head is not noted beside it: the next that is not notes it.
        """
        stamp = at.astimezone(UTC).isoformat()
        texts = [(kind, _canonical(kind, redacted_value(body))) for kind, body in records]
        if self._follows is None:
            self._follows = self.setback() is None
        try:
            written = self._append(stamp, at, texts)
        except JournalError as error:
            if LAST_WORDS.isdisjoint(kind for kind, _ in texts) or not self._may_go_on(error):
                raise
            written = self._append(stamp, at, texts)
        if written and self._follows and not hurried:
            with contextlib.suppress(OSError):  # the records are on disk, and a note that is behind them raises no false alarm
                write_note(self._place, self._note())
        return tuple(written)

    def _append(self, stamp: str, at: datetime, texts: Sequence[tuple[str, str]]) -> list[Record]:
        written = []
        with journal_errors(self.path), transaction(self._database):
            seq, head = self.head
            for kind, text in texts:
                seq += 1
                head = _hash(head, seq, stamp, kind, text)
                self._database.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?)", (seq, stamp, kind, text, head))
                written.append(Record(seq, at.astimezone(UTC), kind, json.loads(text), head))
        return written

    def _may_go_on(self, error: JournalError) -> bool:
        """Whether there is room now, where there was none."""
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and free_room(self._place)

    def records(self, *, kinds: Collection[str] | None = None, after: int = 0, until: int | None = None) -> Iterator[Record]:
        """Records in order, ``after < seq <= until``, of some ``kinds``; a page at a time, so that nobody is kept from writing."""
        where, values = "", tuple(kinds or ())
        if kinds is not None:
            where = f" AND kind IN ({','.join('?' * len(values))})"
        while True:
            with journal_errors(self.path):
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
        with journal_errors(self.path):
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
        with journal_errors(self.path):
            row = self._database.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        return (0, GENESIS) if row is None else (int(row[0]), str(row[1]))

    def setback(self) -> str | None:
        """In words, that this is not what was noted beside it: an older copy, or one without its tail. None where nothing tells that."""
        note = read_note(self._place)
        if note is None:
            return None
        with journal_errors(self.path):
            row = self._database.execute("SELECT hash FROM records WHERE seq = ?", (note.seq,)).fetchone()
        if row is not None and row[0] == note.hash:
            return None
        found = "is another one now" if row is not None else f"is gone: the last is record {self.head[0]:,}"
        return (
            f"journal {self.path} goes back: record {note.seq:,} of {note.at[:19]} was noted beside it, and {found}; "
            "its tail was cut, or an older copy put in its place"
        )

    def note_head(self) -> None:
        """Note the head as it is, whatever was noted before, and from now on with every record."""
        with journal_errors(self.path):
            if self.head[0]:
                write_note(self._place, self._note(), anew=True)
            else:
                note_path(self._place).unlink(missing_ok=True)
        self._follows = True

    @property
    def is_in_place(self) -> bool:
        """Whether the file that is open is still the one of that name, in which a halt would be written."""
        try:
            about = self._place.stat()
        except OSError:
            return False
        return (about.st_dev, about.st_ino) == self._inode

    def _note(self) -> NotedHead:
        with journal_errors(self.path):
            seq, at, digest = self._database.execute("SELECT seq, at, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        halt = self.halt
        return NotedHead(int(seq), str(digest), str(at), halt.halted, halt.why if halt.halted else "")

    def verify(self) -> Verification:
        """Recompute the whole chain, and check the index by which a halt is found and the triggers that refuse changes.

        A file that is damaged is a ``problem``, not an error.
        """
        count, head, first = 0, GENESIS, FIRST
        while True:
            try:
                with journal_errors(self.path):
                    page = self._database.execute(
                        "SELECT seq, at, kind, body, hash FROM records WHERE seq >= ? ORDER BY seq LIMIT 1000", (first,)
                    ).fetchall()
            except JournalError as error:
                if not _is_damage(error.__cause__):
                    raise
                return Verification(count, head, f"the file is damaged after record {count}, if not before: {error.__cause__}")
            for seq, at, kind, body, stored in page:
                if seq != count + 1:
                    return Verification(count, head, f"record {count + 1} is missing: {seq} follows {count}")
                if _hash(head, seq, at, kind, body) != stored:
                    name = f"{kind}, {at}".encode("utf-8", "backslashreplace").decode()
                    return Verification(count, head, f"record {seq} ({name}) is not what was written, or what precedes it is not")
                count, head = count + 1, stored
            if len(page) < 1000:
                break
            first = page[-1][0] + 1
        with journal_errors(self.path):
            triggers = set(self._database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
            (state,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
        odd = {name for name, _ in triggers ^ TRIGGERS}
        if odd:  # one that is missing lets records be changed, and one too many may swallow a halt
            names = ", ".join(sorted(odd)).encode("ascii", "backslashreplace").decode()
            return Verification(count, head, f"the triggers are not those of a journal: {names}")
        return Verification(count, head, None if state == "ok" else f"the file is damaged: {' '.join(state.split())}")

    def backup(self, path: Path) -> None:
        """Copy the journal to a new file, while it is being written; a copy that fails leaves none."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise JournalError(f"backup {path}: {error.strerror}") from error
        try:
            with journal_errors(self.path), contextlib.closing(sqlite3.connect(path)) as copy:
                self._database.backup(copy)
        except BaseException:
            Path(path).unlink()
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _record(self, row: tuple[Any, ...]) -> Record:
        seq, at, kind, body, digest = row
        try:
            content = json.loads(body)
            if not isinstance(content, dict):
                raise TypeError(f"its body is {body!r:.40}, expected a JSON object")
            return Record(seq, datetime.fromisoformat(at), kind, content, digest)
        except (ValueError, TypeError, RecursionError) as error:
            raise JournalError(
                f"journal {self.path}: record {seq} cannot be read: {error}; gridpilot live verify tells more"
            ) from error


def _canonical(kind: str, body: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(body), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(f"journal: the body of a {kind} record is not JSON: {error}") from error


def _is_damage(error: BaseException | None) -> bool:
    """Whether SQLite says that the file is not sound, rather than locked or closed."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _hash(previous: str, seq: int, at: str, kind: str, body: str) -> str:
    # What was changed behind the journal's back need not even be text: as its repr it has a hash too, and another one.
    return hashlib.sha256(json.dumps([previous, seq, at, kind, body], default=repr).encode()).hexdigest()
