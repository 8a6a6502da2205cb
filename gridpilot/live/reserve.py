"""Room on the disk for the last words: a file beside a journal that is given up where a halt could not be written down without it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gridpilot.files import sync

__all__ = ["free_room", "keep_room", "reserve_path"]

ROOM: Final = 2**20  # bytes: hundreds of records, and SQLite's own files


def reserve_path(journal: Path) -> Path:
    """The file that keeps the room."""
    real = Path(os.path.realpath(journal))
    return real.with_name(real.name + ".reserve")


def keep_room(journal: Path) -> None:
    """Make the file where it is missing or too small. Raises ``OSError``, such as of a disk that is full; then it is not there."""
    path = reserve_path(journal)
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            if os.fstat(handle).st_size < ROOM:
                file.write(os.urandom(ROOM))  # what no file system makes smaller
        sync(path)
    except OSError:
        path.unlink()
        raise


def free_room(journal: Path) -> bool:
    """Give the room up; whether there was any."""
    try:
        reserve_path(journal).unlink()
    except OSError:
        return False
    return True
