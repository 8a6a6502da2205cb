"""One engine a journal: two would send twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from gridpilot.errors import LiveError

__all__ = ["is_locked", "lock_path", "sole_engine"]


def lock_path(journal: Path) -> Path:
    """The file that an engine on ``journal`` holds locked, beside it: closing a second handle of an SQLite database would end SQLite's own
    locks.
    """
    return journal.with_name(journal.name + ".lock")


def is_locked(path: Path) -> bool:
    """Whether some process holds the file at ``path`` locked; one that cannot be opened is not."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


@contextlib.contextmanager
def sole_engine(journal: Path) -> Iterator[None]:
    """Be the only engine on ``journal`` within the block; a process that dies lets go of it.

    Raises :class:`~gridpilot.errors.LiveError` where another engine runs.
    """
    path = lock_path(journal)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LiveError(
                f"another engine runs on {journal}, and two would send twice; end it, or choose another live.journal"
            ) from error
        yield
    finally:
        os.close(handle)
