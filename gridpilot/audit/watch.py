"""What an agent does besides bidding, as far as the interpreter tells: audit events, patched modules, the state of the process.

An event counts where the agent's own code is behind it, and not the import of somebody else's module: libraries look at frames,
write caches and start programs of their own accord.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import gridpilot
from gridpilot.audit.play import Incident
from gridpilot.file_access import is_installed

__all__ = ["Watch", "is_own_file", "raw_memory"]

_NEAR: Final = {
    "sys._getframe": "looks at the interpreter's frames",
    "sys._current_frames": "looks at the frames of all threads",
    "sys._current_exceptions": "looks at the exceptions of all threads",
    "sys.settrace": "traces the interpreter",
    "sys.setprofile": "profiles the interpreter",
    "sys.addaudithook": "adds an audit hook",
    "gc.get_objects": "searches the interpreter's objects",
    "gc.get_referrers": "searches for what refers to an object",
    "gc.get_referents": "searches for what an object refers to",
}
"""Events that count where the agent's own code is the caller, if need be by way of inspect, traceback or ctypes."""
_FRAME_ATTRIBUTES: Final = {"tb_frame", "gi_frame", "cr_frame", "ag_frame"}
_CODE_ATTRIBUTES: Final = {"__code__", "__defaults__", "__kwdefaults__", "__closure__"}
_FILES: Final = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"}
_NETWORK: Final = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
_PROGRAMS: Final = {
    "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn", "os.kill",
    "os.killpg", "signal.pthread_kill",
}  # fmt: skip
_PROCESS: Final = {"os.putenv": "environment", "os.unsetenv": "environment", "os.chdir": "working directory"}
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ROOT: Final = Path(gridpilot.__file__).absolute().parent
_AUDIT: Final = str(_ROOT / "audit") + os.sep
_POINTERS: Final = {"ctypes", "_ctypes", "cffi"}
_BETWEEN: Final = {"inspect", "traceback", "ctypes", "_ctypes"}


def is_own_file(name: str, package: str) -> bool:
    """Whether code of file ``name`` is the agent's own, of whose module ``package`` is the first part: no library's, nor Python's."""
    if name.startswith("<"):
        return not name.startswith("<frozen")
    path = Path(name).absolute()
    if path.is_relative_to(_ROOT):
        return False
    return not is_installed(path) or package in path.parts or path.stem == package


def raw_memory(target: str) -> Iterator[Incident]:
    """Whether the agent's own modules import what memory can be read with: ctypes raises no event where it follows a pointer."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or not file.endswith(".py") or not is_own_file(file, target.split(".")[0]):
            continue
        for node in ast.walk(ast.parse(Path(file).read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found = sorted({first for first in (imported.split(".")[0] for imported in names) if first in _POINTERS})
            if found:
                yield Incident("barrier", f"{name} imports {found[0]}, by which any memory can be read")


class Watch:
    """Hears audit events from ``install`` on, for as long as the process lives. ``target`` is the dotted path of the agent's class."""

    def __init__(self, target: str) -> None:
        self.incidents: list[Incident] = []
        self._package = target.split(".")[0]
        self._own: dict[str, bool] = {}
        self._busy: set[int] = set()  # threads within the hook, whose own events do not count
        self._folder = os.path.realpath(os.getcwd())
        self._temporary = os.path.realpath(tempfile.gettempdir())

    def install(self) -> None:
        """Begin to listen."""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & _WRITING:
                return
        elif event not in _WATCHED and not event.startswith("ctypes."):
            return
        thread = threading.get_ident()
        if thread in self._busy:
            return
        self._busy.add(thread)
        try:
            self._judge(event, arguments, sys._getframe(1))
        finally:
            self._busy.discard(thread)

    def _judge(self, event: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        if event in _NEAR or event.startswith(("ctypes.", "object.")):
            self._judge_reach(event, arguments, frame)
        elif not self._is_behind(frame):
            return
        elif event == "open" or event in _FILES:
            for path in (argument for argument in arguments[:2] if isinstance(argument, str | bytes | os.PathLike)):
                if event == "open" and path is not arguments[0]:
                    continue  # its mode
                name = os.path.realpath(os.fsdecode(path))
                if not self._is_harmless(name):
                    self._note("files", f"writes {_shown(name, self._folder)}" if event == "open" else f"{event} {name}")
                    return
        elif event in _NETWORK:
            self._note("files", f"uses the network: {event} {arguments[1:]!r:.80}")
        elif event in _PROGRAMS:
            self._note("files", f"starts or signals a process: {event} {arguments[:1]!r:.60}")
        else:
            what = f": {os.fsdecode(arguments[0])}" if isinstance(arguments[0], str | bytes) else ""
            self._note("outside", f"the process's {_PROCESS[event]} was changed{what}")

    def _judge_reach(self, event: str, arguments: tuple[Any, ...], frame: FrameType | None) -> None:
        if event == "object.__getattr__" and arguments[1] not in _FRAME_ATTRIBUTES:
            return
        if event == "object.__setattr__" and arguments[1] not in _CODE_ATTRIBUTES:
            return
        while frame is not None and str(frame.f_globals.get("__name__", "")).split(".")[0] in _BETWEEN:
            frame = frame.f_back
        if frame is None or not self.is_own(frame.f_code.co_filename):
            return
        if event == "object.__setattr__":
            self._note("outside", f"the {arguments[1]} of {getattr(arguments[0], '__qualname__', arguments[0])!r:.60} was changed")
        else:
            what = _NEAR.get(event) or ("reads raw memory" if event.startswith("ctypes.") else f"reads {arguments[1]}")
            self._note("barrier", f"{what} ({event}), line {frame.f_lineno} of {Path(frame.f_code.co_filename).name}")

    def _is_behind(self, frame: FrameType | None) -> bool:
        """Whether the agent's own code called, and no import on the way."""
        while frame is not None:
            file = frame.f_code.co_filename
            if self.is_own(file):
                return True
            if file.startswith(("<frozen importlib", _AUDIT)):
                return False
            frame = frame.f_back
        return False

    def is_own(self, file: str) -> bool:
        """Whether this is a file of the agent's own."""
        if file not in self._own:
            self._own[file] = is_own_file(file, self._package)
        return self._own[file]

    def _is_harmless(self, path: str) -> bool:
        """Compiled code that is cached beside its source, and temporary files."""
        inside = path.startswith(self._temporary + os.sep) and not path.startswith(self._folder + os.sep)
        return "__pycache__" in path or path in (os.devnull, self._temporary) or inside

    def _note(self, check: str, found: str) -> None:
        incident = Incident(check, found)
        if incident not in self.incidents and len(self.incidents) < 50:
            self.incidents.append(incident)


_WATCHED: Final = {*_NEAR, *_FILES, *_NETWORK, *_PROGRAMS, *_PROCESS, "object.__getattr__", "object.__setattr__"}


def _shown(path: str, folder: str) -> str:
    return os.path.relpath(path, folder) if path.startswith(folder + os.sep) else path
