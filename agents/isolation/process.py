"""The parent's end of an agent's process: starts it, asks it, watches it, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import select
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Final

import numba

from gridpilot.agents.isolation import wire
from gridpilot.agents.isolation.confinement import Limits
from gridpilot.agents.players import EXCEPTIONS, TIMEOUTS
from gridpilot.errors import AgentError

__all__ = ["AgentProcess", "Ended"]

_GRACE: Final = 1.0  # s, that an answer may take longer than the agent, which is held to its time limit in its own process first
_START: Final = 60.0  # s, for a fresh interpreter to import the library
_WATCH: Final = 0.05  # s between two looks at what the process uses
_FREEZES: Final = sys.platform.startswith("linux")  # elsewhere a stopped process would outlive a parent that is killed
_RESIDENT: Final = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)
_PROGRAM: Final = (
    "import sys; import json; sys.path[:] = json.loads(sys.argv[1]); "
    "from gridpilot.agents.isolation.host import main; main(int(sys.argv[2]))"
)
# What a process is told of ours: how to find and compile code, and how to write numbers and dates. No secret has such a name.
_ENVIRONMENT: Final = re.compile(
    r"(PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|VIRTUAL_ENV|(PYTHON|NUMBA_|OMP_|MKL_|OPENBLAS_)\w+)"
)


class Ended(Exception):
    """The process is no more; ``why`` is what its seats' decisions count as."""

    def __init__(self, why: int, message: str) -> None:
        super().__init__(message)
        self.why, self.message = why, message


class AgentProcess:
    """A confined process that answers questions (:mod:`gridpilot.agents.isolation.wire`) one at a time.

    Raises :class:`~gridpilot.errors.AgentError` when it cannot be started. After anything else than the answers that were asked for it
    is ended, and every question raises :class:`Ended`.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ended: Ended | None = None
        self._number, self._received = 0, bytearray()
        self._granted, self._watched = _START, 0.0  # s of CPU time that the questions so far came with; when it was last looked at
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name)},
            )
        ours.setblocking(False)
        self._socket = ours
        self._poll = select.poll()
        self._end = weakref.finalize(self, _end, self._process, ours)
        try:
            self.ask(wire.START, pickle.dumps((limits, os.getpid(), numba.get_num_threads())), _START)
        except Ended as error:
            raise AgentError(f"isolation: a process for the agent could not be started: {error}") from error

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, kind: int, content: bytes, limit: float, *, answers: int = 1, most: int = wire.MOST_TEXT) -> list[bytes]:
        """``answers`` answers of at most ``most`` bytes each, which have ``limit`` s each. Raises :class:`Ended`."""
        if self.ended is not None:
            raise self.ended
        self._number = (self._number + 1) % 2**32
        self._granted += limit * answers
        try:
            self._freeze(signal.SIGCONT)
            self._send(wire.HEADER.pack(self._number, kind, len(content)) + content, limit)
            received = [self._receive(kind, most, limit) for _ in range(answers)]
            if self._received:
                raise wire.Garbled("more than was asked for")
            self._freeze(signal.SIGSTOP)  # until it is asked again it does nothing, in no thread
        except (ConnectionError, wire.Garbled) as error:
            hung_up = isinstance(error, ConnectionError)
            raise self.end(EXCEPTIONS, self._last_words() if hung_up else f"its process sent what is no answer: {error}") from None
        except BaseException:  # the user's interrupt, say: answers to come would be taken for others
            self.end(EXCEPTIONS, "its process was interrupted")
            raise
        return received

    def end(self, why: int, message: str) -> Ended:
        """End the process; what to raise from then on."""
        if self.ended is None:
            self.ended = Ended(why, message)
            self._end()
        return self.ended

    def close(self) -> None:
        """End the process."""
        self.end(EXCEPTIONS, "its process was closed")

    def _send(self, message: bytes, limit: float) -> None:
        rest, deadline = memoryview(message), time.monotonic() + limit + _GRACE
        while rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]
            if rest:
                self._wait(select.POLLOUT, deadline, limit)

    def _receive(self, kind: int, most: int, limit: float) -> bytes:
        deadline, head = time.monotonic() + limit + _GRACE, wire.HEADER.size
        self._fill(head, deadline, limit)
        number, said, size = wire.HEADER.unpack_from(self._received)
        if (number, said) != (self._number, kind) or size > most:
            raise wire.Garbled(f"header {number}, {said}, {size}, expected {self._number}, {kind} and at most {most}")
        self._fill(head + size, deadline, limit)
        answer = bytes(self._received[head : head + size])
        del self._received[: head + size]
        return answer

    def _fill(self, size: int, deadline: float, limit: float) -> None:
        while len(self._received) < size:
            try:
                part = self._socket.recv(1 << 18)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline, limit)
                continue
            if not part:
                raise ConnectionError("the other end is closed")
            self._received += part
        if time.monotonic() - self._watched > _WATCH:
            self._watch()

    def _wait(self, event: int, deadline: float, limit: float) -> None:
        self._poll.register(self._socket, event)
        while not self._poll.poll(1000.0 * max(min(_WATCH, deadline - time.monotonic()), 0.0)):
            self._watch()
            if time.monotonic() >= deadline:
                raise self.end(TIMEOUTS, f"no answer within {limit:g} s")

    def _watch(self) -> None:
        """End a process that uses more than it may, as far as the system tells."""
        self._watched = time.monotonic()
        try:
            # Not what is mapped from files: that is the library, and the same for all.
            memory = 1024 * sum(map(int, _RESIDENT.findall(Path(f"/proc/{self.pid}/status").read_text())))
            times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError):  # no such files here, or the process has ended, which its socket will tell
            return
        if memory > self.limits.memory:
            raise self.end(EXCEPTIONS, f"its process used more than {self.limits.memory_gib:g} GiB of memory")
        if (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK") > self._granted:
            raise self.end(TIMEOUTS, f"its process used more CPU time than the {self._granted:g} s it had in all")

    def _last_words(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "its process hung up"
        return f"its process was ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with exit code {code}"

    def _freeze(self, number: int) -> None:
        if _FREEZES:
            os.kill(self.pid, number)  # ours until we have waited for it, even where it has ended


def _end(process: subprocess.Popen[bytes], end: socket.socket) -> None:
    end.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
