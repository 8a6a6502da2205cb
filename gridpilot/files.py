"""Files that are whole or not there: written beside their name, forced to the disk, and renamed into place.

A rename within a folder is atomic, and after a crash of the machine it holds only what was forced out before it, the folder's entry too.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gridpilot.errors import GridPilotError

__all__ = ["RUNS", "beside", "check_output", "making_folder", "replacing", "run_folder", "sync", "write_atomically"]

RUNS: Final = Path("runs")
"""Where commands keep what they have run, unless told otherwise."""


def run_folder(readable: str, identity: str) -> Path:
    """The folder in ``RUNS`` whose name ends in ``identity``: the one that is there, whatever it was called, or a new ``readable`` one.

    Of ``readable`` all but letters, digits and ``._=+-`` is left out, and what is beyond 80 characters.
    """
    there = [path for path in sorted(RUNS.glob(f"*-{glob.escape(identity)}")) if path.is_dir()]
    name = re.sub(r"[^A-Za-z0-9._=+-]+", "-", readable)[:80].strip("-.")
    return there[0] if there else RUNS / f"{name}-{identity}"


def check_output(path: Path, error: type[GridPilotError], *, folder: bool = False, new_folders: bool = False) -> None:
    """Refuse, before the work that is to fill it, an output that could not be written at the end of it.

    A file takes the place of a file alone, of no folder, device or pipe, and needs a folder that is there, or with ``new_folders`` one that
    can be made. A ``folder`` may be new, together with those above it. Raises ``error``, naming the path and the reason.
    """
    try:
        reason = _obstacle(path, folder, folder or new_folders)
    except OSError as problem:
        reason = problem.strerror or str(problem)
    if reason:
        raise error(f"cannot write {path}: {reason}")


def _obstacle(path: Path, folder: bool, new_folders: bool) -> str:
    """Why ``path`` cannot be written, or nothing; raises ``OSError`` as well."""
    if folder and path.exists() and not path.is_dir():
        return "it is a file, expected a folder"
    if not folder and path.is_dir():
        return "it is a folder, expected the name of a file"
    if not folder and path.exists() and not path.is_file():
        return "it is a device or a pipe, expected the name of a file"
    place = path.absolute() if folder else path.absolute().parent
    while new_folders and not place.exists():
        place = place.parent
    if not place.is_dir():
        return f"{str(place)!r} is a file, expected a folder" if place.exists() else f"there is no folder {str(place)!r}"
    probe = beside(place / "gridpilot")
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))  # what a folder allows, only trying tells
    probe.unlink()
    return ""


def write_atomically(path: Path, content: bytes, error: type[GridPilotError]) -> None:
    """Write a whole file or none; its folder is made where there is none. Raises ``error``, for a full disk too."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise error(f"cannot write {path}: {problem.strerror or problem}") from problem
    with replacing(path, error) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path, error: type[GridPilotError], *, mode: int = 0o666) -> Iterator[Path]:
    """A new file beside ``path`` to be written in the block, which takes its place at the end, or is gone where the block raises.

    Its name cannot be guessed, and it is made by no link: who can write into the folder could else have another file overwritten.
    ``mode`` is its permissions, less the umask. Raises ``error``, naming the path and the reason, for any ``OSError`` of the block's too.
    """
    temporary = beside(path)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode))
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as problem:
        raise error(f"cannot write {path}: {problem.strerror or problem}") from problem
    finally:
        with contextlib.suppress(OSError):  # renamed, never made, or in no folder; an error on its way is the one to tell
            temporary.unlink()


@contextlib.contextmanager
def making_folder(path: Path, error: type[GridPilotError]) -> Iterator[Path]:
    """A folder beside ``path`` to be filled in the block, which takes that name at the end, or is gone where the block raises.

    ``path`` must not be there yet. Of a process that was killed meanwhile a folder ``.NAME.*`` is left, which nothing reads. Raises
    ``error``, naming the path and the reason, for any ``OSError`` of the block's too.
    """
    temporary = beside(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for entry in temporary.rglob("*"):
            sync(entry)
        sync(temporary)
        temporary.rename(path)
        sync(path.parent)
    except OSError as problem:
        raise error(f"cannot write {path}: {problem.strerror or problem}") from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # renamed, never made, or given up


def beside(path: Path) -> Path:
    """A hidden name in the folder of ``path`` that nobody can guess."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")


def sync(path: Path) -> None:
    """Force a file or the entries of a folder out to the disk. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
