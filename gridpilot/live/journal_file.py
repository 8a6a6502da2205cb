"""The file of a journal: an SQLite database in WAL mode that is written through, and whose triggers refuse changes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gridpilot.errors import JournalError

__all__ = ["TRIGGERS", "journal_errors", "open_database", "prepare", "transaction"]

APPLICATION_ID: Final = 0x47504A4C  # "GPJL"
FORMAT: Final = 1
BUSY_S: Final = 30.0  # that a writer waits for another

_SCHEMA: Final = (
    "CREATE TABLE records (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT",
    "CREATE INDEX by_kind ON records (kind, seq)",
    "CREATE TRIGGER no_update BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'a journal is never changed'); END",
    "CREATE TRIGGER no_delete BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'a journal is never changed'); END",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)

TRIGGERS: Final = {(text.split()[2], text) for text in _SCHEMA if text.startswith("CREATE TRIGGER")}


def open_database(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection to the file, which is made, readable by its owner alone, where it is not there and may be written.

    Raises ``JournalError`` where it is no file, ``OSError`` and ``sqlite3.Error`` where it cannot be opened.
    """
    if read_only:
        _check_is_file(path)
        database = _connect_to_read(path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _check_is_file(path)
        database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    # Bytes that are no UTF-8 were changed by somebody: they come back as what they are, for verify to find.
    database.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return database


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        state = "is no file" if path.exists() else "does not exist"
        raise JournalError(f"journal {path} {state}, expected the journal of gridpilot live")


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing; a journal in a folder that cannot be written is read as it is."""
    name = path.absolute().as_uri()
    database = sqlite3.connect(f"{name}?mode=ro", timeout=BUSY_S, isolation_level=None, uri=True)
    try:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        database.close()
        # WAL needs a file beside the journal, which cannot be made here.
        if error.sqlite_errorcode not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DIRECTORY):
            raise
        ahead = path.with_name(path.name + "-wal")
        if ahead.exists() and ahead.stat().st_size:
            raise JournalError(
                f"journal {path}: its newest records are in {ahead.name}, which cannot be read in a folder that cannot be "
                "written; copy both to one that can"
            ) from error
        database = sqlite3.connect(f"{name}?immutable=1", timeout=BUSY_S, isolation_level=None, uri=True)
    return database


def prepare(database: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    """Make the tables of a new file, and see that another is a journal of this format; raises ``JournalError``."""
    application, version, tables = _format(database)
    if not (read_only or application or version or tables):
        with transaction(database):
            if _format(database) == (0, 0, 0):  # nobody was quicker
                for statement in _SCHEMA:
                    database.execute(statement)
        application, version, tables = _format(database)
    if not (application or version or tables):
        raise JournalError(f"journal {path} is empty, expected the journal of gridpilot live")
    if application != APPLICATION_ID:
        raise JournalError(f"journal {path} is another program's database, expected the journal of gridpilot live")
    if version != FORMAT:
        raise JournalError(f"journal {path} has format {version}, expected {FORMAT}")
    if not read_only:
        _write_ahead(database)
        database.execute("PRAGMA synchronous = FULL")


def _format(database: sqlite3.Connection) -> tuple[int, int, int]:
    """Application id, format and number of tables and the like, all of one moment; zeros where the file is empty."""
    row = database.execute(
        "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id AS a, pragma_user_version AS v"
    ).fetchone()
    return row[0], row[1], row[2]


def _write_ahead(database: sqlite3.Connection) -> None:
    """Switch to WAL, which a new journal is not in yet. SQLite does not wait for other connections here, so this does."""
    pause = 0.01
    for attempts_left in range(round(BUSY_S / pause), -1, -1):
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not attempts_left:
                raise
        time.sleep(pause)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is executed within, or nothing of it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Failures of the file as ``JournalError``, which names it."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise JournalError(f"journal {path}: {reason}") from error
