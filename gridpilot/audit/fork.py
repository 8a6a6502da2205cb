"""Calling a function in a process of its own, whatever it does there: hang, exit, eat memory, overwrite modules."""

from __future__ import annotations

import contextlib
import ctypes
import marshal
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final, Literal

__all__ = ["MEMORY", "ForkError", "die_with_parent", "forked"]

MEMORY: Final = 2 << 30  # bytes that a process may take besides what it starts with
_HEADER: Final = struct.Struct("<q")


class ForkError(Exception):
    """The process gave no result. ``why`` is "died", "late", or "raised", a defect of the function itself."""

    def __init__(self, why: Literal["died", "late", "raised"], message: str) -> None:
        super().__init__(message)
        self.why = why


def forked(function: Callable[[], Any], seconds: float, *, memory: int = MEMORY) -> Any:
    """``function()``, called in a fork of this process; its result consists of what ``marshal`` takes.

    ``seconds`` of wall time it has, and ``memory`` bytes besides those that this process has already; what it prints goes nowhere, and
    processes that it leaves are ended. Raises :class:`ForkError`.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(function, writing, memory)
    os.close(writing)
    try:
        content = _receive(reading, child, time.monotonic() + seconds)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it is gone, and left nobody in its group
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if isinstance(content, str):
        raise ForkError("late", f"no answer within {seconds:g} s")
    if content is None:
        raise ForkError("died", _ended(status))
    good, value = marshal.loads(content)
    if not good:
        raise ForkError("raised", value)
    return value


def die_with_parent() -> None:
    """End this process when its parent ends, where the system can do that (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _run(function: Callable[[], Any], writing: int, memory: int) -> None:
    """In the child. Never returns."""
    try:
        os.setpgid(0, 0)
        die_with_parent()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _limit(memory)
        answer = marshal.dumps((True, function()))
    except BaseException as error:
        # MemoryError among others: the least that can be said is said.
        kind = "" if str(error) == "" else f": {error}"
        answer = marshal.dumps((False, f"{type(error).__name__}{kind}\n{''.join(traceback.format_tb(error.__traceback__)[-3:])}"))
    with open(writing, "wb") as pipe:
        pipe.write(_HEADER.pack(len(answer)) + answer)
    os._exit(0)


def _limit(memory: int) -> None:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
    except FileNotFoundError:  # not Linux: what a process takes is not limited there
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = taken + memory if hard == resource.RLIM_INFINITY else min(taken + memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _receive(reading: int, child: int, end: float) -> bytes | str | None:
    """The answer; ``None`` where the child ended without one, "late" where time is over."""
    content = b""
    ended = False
    while True:
        ready, _, _ = select.select([reading], [], [], 0.0 if ended else min(max(end - time.monotonic(), 0.0), 0.25))
        if ready:
            part = os.read(reading, 1 << 20)
            content += part
            if len(content) >= _HEADER.size and len(content) - _HEADER.size >= _HEADER.unpack_from(content)[0]:
                return content[_HEADER.size :]
            if not part:
                return None
        elif ended:
            return None
        elif time.monotonic() >= end:
            return "late"
        # A child of the child may hold the pipe open, so that the pipe's end is not waited for.
        ended = ended or os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"its process was ended by signal {number} ({signal.Signals(number).name})"
    return f"its process ended, exit code {os.WEXITSTATUS(status)}"
