"""One engine a journal: two would send twice.

Two locks are held for an engine's life. One is on the journal's own inode, so that no other name of it, by symbolic or hard link, finds it
free; SQLite's locks are of another kind (``fcntl``) and do not meet it. The other is on a file beside it, so that a journal that is deleted
and made anew under an engine that runs is not free either.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from gridpilot.errors import LiveError

__all__ = ["is_locked", "is_run_on", "lock_path", "sole_engine"]


def lock_path(journal: Path) -> Path:
    """The file beside the journal that an engine on it holds locked."""
    real = Path(os.path.realpath(journal))
    return real.with_name(real.name + ".lock")


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


def is_run_on(journal: Path) -> bool:
    """Whether an engine runs on ``journal``, by whatever name.

    Not to be asked while this process has the journal open: closing a second handle of a database ends SQLite's own locks.
    """
    return is_locked(lock_path(journal)) or is_locked(journal)


@contextlib.contextmanager
def sole_engine(journal: Path) -> Iterator[None]:
    """Be the only engine on ``journal`` within the block, in which it is opened and closed; a process that dies lets go of it.

    Raises :class:`~gridpilot.errors.LiveError` where another engine runs, and where no file can be made there.
    """
    real = Path(os.path.realpath(journal))
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        with _held(lock_path(journal), journal), _held(real, journal):
            try:
                yield
            finally:
                with contextlib.suppress(FileNotFoundError):  # somebody took it away
                    if real.stat().st_size == 0:  # made for the lock alone: the engine never came to write
                        real.unlink()
    except BlockingIOError as error:
        raise LiveError(
            f"another engine runs on {journal}, and two would send twice; end it, or choose another live.journal"
        ) from error


@contextlib.contextmanager
def _held(path: Path, journal: Path) -> Iterator[None]:
    """Hold the file at ``path`` locked, made where it is missing. Raises ``BlockingIOError`` where somebody else holds it."""
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LiveError(f"cannot use {journal} as a journal: {path.name}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                yield
                return
        finally:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether the file that was opened is still the one of that name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(handle)
    return (opened.st_dev, opened.st_ino) == (there.st_dev, there.st_ino)
