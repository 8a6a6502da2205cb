"""The head of a journal, noted in a file beside it: an older copy that is put back, or a tail that is cut off, does not take it along.

The note holds number, hash and time of the last record, and whether a halt was in force. Whoever appends writes it once the records are
on disk, over the one before and without forcing it out: after a crash of the machine it may be behind its journal, and is never ahead.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

__all__ = ["NotedHead", "note_path", "read_note", "write_note"]

LONGEST: Final = 4096  # bytes of a note
LONGEST_WHY: Final = 200  # characters of the reason for a halt that are kept


@dataclass(frozen=True, slots=True)
class NotedHead:
    """What a journal ended in."""

    seq: int
    hash: str
    at: str  # ISO 8601, UTC
    halted: bool
    why: str  # of the halt; "" where there is none


def note_path(journal: Path) -> Path:
    """The file beside the journal that holds its note."""
    real = Path(os.path.realpath(journal))
    return real.with_name(real.name + ".head")


def read_note(journal: Path) -> NotedHead | None:
    """The note; None where there is none, or none that can be read."""
    try:
        handle = os.open(note_path(journal), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _read(handle)
    finally:
        os.close(handle)


def write_note(journal: Path, note: NotedHead, *, anew: bool = False) -> None:
    """Write the note, unless a later one is there already; ``anew`` whatever is there. Raises ``OSError``."""
    handle = os.open(note_path(journal), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # of two that append, the later one's note must stay
        there = _read(handle)
        if anew or there is None or there.seq < note.seq:
            content = json.dumps({**asdict(note), "why": note.why[:LONGEST_WHY]}).encode() + b"\n"
            os.pwrite(handle, content, 0)
            os.ftruncate(handle, len(content))
    finally:
        os.close(handle)


def _read(handle: int) -> NotedHead | None:
    try:
        body = json.loads(os.pread(handle, LONGEST, 0))
        note = NotedHead(**body)
    except (OSError, ValueError, TypeError, RecursionError):  # torn by a crash, or not ours
        return None
    kinds = (int, str, str, bool, str)
    return note if all(type(value) is kind for value, kind in zip(asdict(note).values(), kinds, strict=True)) else None
