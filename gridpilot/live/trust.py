"""Whether a journal can be relied on by an engine that starts: it is its owner's alone, and ends no earlier than it once did."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from gridpilot.errors import JournalError
from gridpilot.live.journal import Journal
from gridpilot.live.noted_head import read_note
from gridpilot.live.reserve import keep_room
from gridpilot.live.which_journal import as_option

__all__ = ["NOT_NOTED", "accept", "distrust", "rely_on"]

NOT_NOTED: Final = "no head is noted beside it, so that it does not show whether its tail was cut or an older copy put back"


def rely_on(journal: Journal, *, at: datetime, note: Callable[[str, str], None]) -> None:
    """Go on with a journal, keep room on the disk for its last words, and ``note`` what its operator should know.

    Raises :class:`~gridpilot.errors.JournalError` for one that others could have changed and one that goes back, into which a halt that
    was noted is written first: whoever starts next finds it.
    """
    if (told := distrust(journal.path)) is not None:
        raise JournalError(told)
    if (told := journal.setback()) is not None:
        _keep_halt(journal, at)
        raise JournalError(f"{told}; gridpilot live verify --accept {as_option(journal.path)} goes on with it knowingly")
    if journal.head[0] and read_note(journal.path) is None:
        note("head_not_noted", f"journal {journal.path}: {NOT_NOTED}; it is noted from now on")
    journal.note_head()
    try:
        keep_room(journal.path)
    except OSError as error:
        note("no_reserve", f"no room could be kept beside {journal.path} for a halt on a full disk: {error.strerror}")


def accept(journal: Journal, *, at: datetime) -> None:
    """Go on with a journal though it goes back; a halt that was noted is in force. Raises :class:`~gridpilot.errors.JournalError`."""
    if (problem := journal.verify().problem) is not None:
        raise JournalError(f"journal {journal.path} is not accepted: {problem}")
    if journal.setback() is not None:
        _keep_halt(journal, at)
    journal.note_head()


def distrust(path: Path) -> str | None:
    """Why whoever runs this program should not rely on a journal: others could have changed it. None where nothing speaks against it."""
    about = path.stat()
    if about.st_uid != os.geteuid():
        return f"journal {path} belongs to another user (uid {about.st_uid}), expected uid {os.geteuid()}, who runs this"
    if about.st_mode & 0o022:
        return f"journal {path} can be written by others than its owner (mode {about.st_mode & 0o777:o}), expected mode 600"
    return None


def _keep_halt(journal: Journal, at: datetime) -> None:
    """Write a halt that was noted, and is lost with the records that are missing, into what is there; once."""
    note, last = read_note(journal.path), journal.last("halt")
    if note is None or not note.halted or journal.halt.halted:
        return
    if last is None or last.body.get("noted") != note.hash:
        journal.append([("halt", {"why": f"{note.why} (noted beside a journal that goes back)", "noted": note.hash})], at=at)
