"""The files of a deployment folder as bytes: every one under its hash, nothing else there, and no way out of the folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from gridpilot.errors import DeploymentError

__all__ = ["check_name", "read_file", "verified"]


def check_name(name: str, where: Path) -> None:
    """Raise :class:`~gridpilot.errors.DeploymentError` for a listed name that is no file's within the folder."""
    path = PurePosixPath(name)
    if not name.isprintable() or "\\" in name or path.is_absolute() or ".." in path.parts or path.as_posix() != name:
        raise DeploymentError(f"{where} lists {name!r:.100}, which is not within the folder")
    if "__pycache__" in path.parts:
        raise DeploymentError(f"{where} lists {name!r:.100}: compiled code is not deployed, its source is")


def verified(folder: Path, name: str, files: Mapping[str, str]) -> dict[str, bytes]:
    """The contents of ``files``, which are exactly what their hashes say, in a folder that holds nothing but them and ``name``."""
    contents = {}
    for file, digest in files.items():
        contents[file] = read_file(folder, file)
        if hashlib.sha256(contents[file]).hexdigest() != digest:
            raise DeploymentError(f"{folder / file} has been changed since it was deployed")
    known = {name, *files}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise DeploymentError(f"{path} is a link, which could lead to anything; put what it stands for there and deploy again")
        if not path.is_dir() and path.relative_to(folder).as_posix() not in known:
            raise DeploymentError(f"{path} is not part of the deployment; take it away, or deploy again with it")
    return contents


def read_file(folder: Path, name: str) -> bytes:
    """A file below ``folder``, reached by no link. Raises ``OSError`` and, for what is no plain file, ``DeploymentError``."""
    path = folder / name
    for above in path.parents:
        if above == folder:
            break
        if above.is_symlink():
            raise DeploymentError(f"{above} is a link, which could lead to anything; put what it stands for there and deploy again")
    if path.is_symlink():
        raise DeploymentError(f"{path} is a link, which could lead to anything; put what it stands for there and deploy again")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DeploymentError(f"{path} is no plain file, expected the one that was deployed")
        return file.read()
