"""A time limit for code that may hang."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Final

__all__ = ["Overdue", "deadline"]


class Overdue(BaseException):  # not an Exception: an agent's own ``except Exception`` must not swallow it
    """The time limit is over."""


def deadline(seconds: float) -> AbstractContextManager[None]:
    """Raise :class:`Overdue` in the body once ``seconds`` of wall time have passed, or after it when it cannot be interrupted.

    In the main thread the body is interrupted between two Python instructions, again and again until it gives up. In other threads,
    and inside compiled code that does not return to Python, the limit is noticed only when the body ends. ``inf`` is no limit, nor is
    what is longer than any tournament.
    """
    return _UNLIMITED if seconds > LONGEST else _limited(seconds)


LONGEST: Final = 1e7  # s, a hundred days: what no alarm is set for
_UNLIMITED = nullcontext()


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    interruptible = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")

    armed = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        if armed:
            raise Overdue(f"no answer within {seconds:g} s")

    if interruptible:
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds, max(seconds, 0.01))
    try:
        try:
            yield
        finally:
            armed = False
    finally:  # reached even where the alarm went off in the line above
        armed = False
        if interruptible:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
    if time.monotonic() > end:
        raise Overdue(f"no answer within {seconds:g} s")
