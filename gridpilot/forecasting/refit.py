"""Fitting in the background, for live use: give a :class:`BackgroundFits` to heavy members as their ``schedule``.

Without it a fit runs on the spot, when it is due by the number of rows: what a backtest needs, as its results must not depend on how fast
the machine is. In the background a fit takes as long as it takes, the member goes on with its old model, and the new one is put in place
by a single assignment when it is there.

    with BackgroundFits("process") as fits:
        member.schedule = fits
        ...
"""

from __future__ import annotations

import multiprocessing
import threading
import weakref
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Final, Literal, Self

from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import Forecaster
from gridpilot.workers import no_workers

__all__ = ["BackgroundFits"]

_KINDS: Final = ("thread", "process")


class BackgroundFits:
    """Runs fits one after the other in a thread, or in a process of its own, which takes nothing from the loop's time.

    ``notes`` says what went wrong beyond a fit's own failure (those are among the member's notes): a fit that was still running when the
    next one was due, a process that died. Pickling keeps the kind alone: what is running stays with the original.
    """

    def __init__(self, kind: Literal["thread", "process"] = "thread") -> None:
        if kind not in _KINDS:
            raise ForecastError(f"background fits: kind is {kind!r}, expected one of {', '.join(_KINDS)}")
        self.kind = kind
        self.notes: list[str] = []
        self._begin()

    def _begin(self) -> None:
        self._executor: Executor | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._running: weakref.WeakKeyDictionary[Forecaster, Future[Any]] = weakref.WeakKeyDictionary()

    def __call__(self, member: Forecaster) -> None:
        """Begin a fit of ``member``, unless it has too little data, or its last fit is still running."""
        if self._closed:
            self._note(f"{member.name}: a fit was due after the background was closed")
            return
        running = self._running.get(member)
        if running is not None and not running.done():
            self._note(f"{member.name}: a fit was due while the last one was still running")
            return
        data = member._training_data()
        if data is None:
            return
        try:
            future = self._start_executor().submit(member._fit, data)
        except RuntimeError as error:  # a pool whose process died refuses work, one that is shut down too
            self._note(f"{member.name}: the fit could not be started: {error}")
            self._executor = None
            return
        self._running[member] = future
        of = weakref.ref(member)
        future.add_done_callback(lambda done: self._finish(of, done))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for what is running; False if it takes longer than ``timeout`` seconds."""
        return not wait(list(self._running.values()), timeout).not_done

    def close(self) -> None:
        """Drop what has not begun and wait for what has. Fits that fall due afterwards are noted and left out."""
        self._closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"kind": self.kind, "notes": list(self.notes)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.kind, self.notes = state["kind"], state["notes"]
        self._begin()

    def _start_executor(self) -> Executor:
        if self._executor is None:
            missing = no_workers() if self.kind == "process" else ""
            if missing:
                self._note(f"{missing}; fitting in a thread of this process")
            if self.kind == "thread" or missing:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="gridpilot-fit")
            else:  # a fork of a process with running threads may hang; spawn is the same everywhere
                self._executor = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        return self._executor

    def _finish(self, of: weakref.ref[Forecaster], done: Future[Any]) -> None:
        """Put a finished fit in place; runs in the thread that finished it."""
        member = of()
        if member is None:
            return
        try:
            member._install(done.result())
        except CancelledError:
            self._note(f"{member.name}: a fit was dropped when the background was closed")
        except BrokenProcessPool as error:
            self._executor = None  # the next fit starts a new one
            self._note(f"{member.name}: the fitting process died: {error}")
        except Exception as error:  # a foreign member's fit may fail in any way
            self._note(f"{member.name}: a fit failed: {type(error).__name__}: {error}")

    def _note(self, text: str) -> None:
        with self._lock:
            self.notes = [*self.notes[-15:], text]
