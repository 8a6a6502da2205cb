"""Files that are whole or not there: written beside their name, forced to the disk, and renamed into place.

A rename within a folder is atomic, and after a crash of the machine it holds only what was forced out before it, the folder's entry too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from gridpilot.errors import GridPilotError

__all__ = ["replacing", "sync", "write_atomically"]


def write_atomically(path: Path, content: bytes, error: type[GridPilotError]) -> None:
    """Write a whole file or none; its folder is made where there is none. Raises ``error``, for a full disk too."""
    with replacing(path, error) as temporary:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path, error: type[GridPilotError]) -> Iterator[Path]:
    """A file beside ``path`` to be written in the block, which takes its place at the end, or is gone where the block raises.

    Raises ``error``, naming the path and the reason, for any ``OSError`` of the block's too.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as problem:
        raise error(f"cannot write {path}: {problem.strerror or problem}") from problem
    finally:
        with contextlib.suppress(OSError):  # renamed, never made, or in no folder; an error on its way is the one to tell
            temporary.unlink()


def sync(path: Path) -> None:
    """Force a file or the entries of a folder out to the disk. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
