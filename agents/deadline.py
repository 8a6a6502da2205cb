"""A time limit for code that may hang."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Overdue", "deadline"]


class Overdue(BaseException):  # not an Exception: an agent's own ``except Exception`` must not swallow it
    """The time limit is over."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise :class:`Overdue` in the body once ``seconds`` of wall time have passed, or after it when it cannot be interrupted.

    In the main thread the body is interrupted between two Python instructions, again and again until it gives up. In other threads,
    and inside compiled code that does not return to Python, the limit is noticed only when the body ends. ``inf`` is no limit.
    """
    if seconds == float("inf"):
        yield
        return
    end = time.monotonic() + seconds
    interruptible = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Overdue(f"no answer within {seconds:g} s")

    if interruptible:
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds, max(seconds, 0.01))
    try:
        yield
    finally:
        if interruptible:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
    if time.monotonic() > end:
        raise Overdue(f"no answer within {seconds:g} s")
