"""Which files are read while something is done, and a stop to reading others.

Python tells of every file that it opens through an audit hook (PEP 578). A hook cannot be removed, so there is one, installed when first
needed and idle outside the two contexts here. Files that belong to the library, to installed packages, to Python or to the system, and
caches, are none of the user's and are passed over; so are files that are first written. What a library opens in native code is not told
(``torch.jit.load``, ``xgboost``, ``pandas.read_parquet`` of a plain path): such a file has to be named by a parameter.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

__all__ = ["FilesRead", "is_installed", "read_at_import", "refuse_other_files", "search_here_last", "watch_files", "where_raised"]

_SYSTEM: Final = ("/proc", "/dev", "/sys", "/run", "/etc", "/lib", "/lib64", "/usr/lib", "/usr/share", "/System", "/Library")
_CACHES: Final = (".nbi", ".nbc", ".ttf", ".ttc", ".otf", ".afm", ".pfb")  # of compiled kernels; fonts
_CODE: Final = (".py", ".pyc", ".so", ".pyd")
_EVENTS: Final = frozenset({"open", "import", "sqlite3.connect", "ctypes.dlopen"})
_IMPORTING: Final = "<frozen importlib._bootstrap>"

_observers: list[Callable[[str, bool], None]] = []  # of the contexts that are open: absolute path, whether it is read as it is
_installed: list[bool] = []
_at_import: dict[str, set[str]] = {}  # like sys.modules, it says what this process has imported: code file -> files read meanwhile


_here: list[str] = []  # the working folder, where this module has put it on the path


def search_here_last() -> None:
    """Let modules be found in the working folder as well, after all that is installed.

    So a file there takes no library's place, whatever its name is. For code that somebody has named by its dotted path, and no other.
    """
    here = os.getcwd()
    for before in _here:  # that of an earlier call
        if before != here and before in sys.path:
            sys.path.remove(before)
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
        _here[:] = [here]


class FilesRead:
    """The files read in a ``with`` block; complete when it has ended."""

    def __init__(self) -> None:
        self._first: dict[str, bool] = {}  # whether the file was there, and read, when it was first opened

    @property
    def paths(self) -> tuple[Path, ...]:
        """Absolute, sorted; bytecode counts as its source. Files that are gone are left out."""
        return tuple(Path(path) for path in sorted(path for path, read in self._first.items() if read and os.path.isfile(path)))

    def note(self, path: str, reads: bool) -> None:
        """Take note that a file is opened, ``reads`` telling whether its contents matter."""
        if path not in self._first:
            self._first[path] = reads and os.path.isfile(path)
        if self._first[path]:
            for code in _importers():
                _at_import.setdefault(code, set()).add(path)


@contextlib.contextmanager
def watch_files() -> Iterator[FilesRead]:
    """Take note of every file of the user's that is read in the block, by any thread."""
    read = FilesRead()
    with _observed_by(read.note):
        yield read


@contextlib.contextmanager
def refuse_other_files(allowed: Collection[str]) -> Iterator[None]:
    """Let the block read no data but the files ``allowed``, absolute paths, and those that it has written itself.

    Opening another raises ``PermissionError`` where it is opened. Code is not held back.
    """
    written: set[str] = set()

    def check(path: str, reads: bool) -> None:
        if not reads or not os.path.isfile(path):
            written.add(path)
        elif path not in allowed and path not in written and not path.endswith(_CODE):
            raise PermissionError(
                f"{path} is opened during play and is no part of the run; name it by a parameter, or open it in __init__ or reset"
            )

    with _observed_by(check):
        yield


def read_at_import(code: Iterable[Path]) -> set[Path]:
    """What was read, in a block of :func:`watch_files`, while these files of code were imported: a process imports them only once."""
    return {Path(path) for file in code for path in _at_import.get(str(file), ())}


def is_installed(file: Path) -> bool:
    """Whether a file belongs to an installed package or to Python itself, and so is none of the user's."""
    installed = {"site-packages", "dist-packages"}.intersection(file.parts)
    return bool(installed) or file.is_relative_to(Path(sysconfig.get_path("stdlib")))


def where_raised(error: BaseException) -> str:
    """`` (my_file.py:12)``, the innermost line of the user's own files that ``error`` came through; nothing where there is none."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(("<ipython", "<stdin")) or (os.path.isabs(name) and _is_users(name)):
            found = f" ({os.path.basename(name)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


@contextlib.contextmanager
def _observed_by(observer: Callable[[str, bool], None]) -> Iterator[None]:
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _observers or event not in _EVENTS:
        return
    reads = True
    match event, arguments:
        case "open", (path, _, int(flags)):
            reads = flags & os.O_ACCMODE != os.O_WRONLY and not flags & (os.O_TRUNC | os.O_EXCL)
        case "sqlite3.connect", (str(path), *_):
            path = path.removeprefix("file:").partition("?")[0]
        case ("sqlite3.connect" | "ctypes.dlopen", (path, *_)) | ("import", (_, path, *_)):  # an import of a compiled module
            pass
        case _:
            return
    if not isinstance(path, str | bytes | os.PathLike):
        return
    full = os.path.abspath(os.fsdecode(path))
    if full.endswith(".pyc"):
        full = _source_of(full)
    if _is_users(full):
        for observer in tuple(_observers):
            observer(full, reads)


def _source_of(bytecode: str) -> str:
    try:
        return importlib.util.source_from_cache(bytecode)
    except ValueError:  # not in a __pycache__: it stands for itself
        return bytecode


@lru_cache(maxsize=4096)
def _is_users(path: str) -> bool:
    real = os.path.realpath(path)
    if path.endswith(_CACHES) or any(is_installed(Path(one)) for one in (path, real)):
        return False
    if any(
        f"{os.sep}{above}{os.sep}{name}{os.sep}" in path for above in (".cache", ".config") for name in ("matplotlib", "fontconfig")
    ):
        return False
    return not any(real == root or real.startswith(root + os.sep) for root in (*_SYSTEM, *_library()))


@cache
def _library() -> tuple[str, ...]:
    """The folders of the library, some of which are links to others."""
    root = Path(__file__).resolve().parent
    return tuple({str(root), *(str(entry.resolve()) for entry in root.iterdir() if entry.is_dir())})


def _importers() -> Iterator[str]:
    """Files of the user's that are being imported, or import something, down to what is done now."""
    frame: FrameType | None = sys._getframe(1)
    files, importing = set(), False
    while frame is not None:
        name = frame.f_code.co_filename
        importing = importing or name == _IMPORTING
        if name.endswith(".py"):
            files.add(os.path.abspath(name))
        frame = frame.f_back
    if importing:
        yield from (name for name in files if _is_users(name))
