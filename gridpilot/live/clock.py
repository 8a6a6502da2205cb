"""The engine's clock: UTC, or a multiple of it against an accelerated stand-in. Nothing else in this room reads the time.

Rows, freshness and once-per-row use ``now``; timeouts, backoff and deadlines use ``monotonic``, in wall seconds.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from gridpilot.errors import LiveError

__all__ = ["Clock", "ManualClock", "SystemClock"]

_EPOCH: Final = datetime(2025, 6, 21, 12, tzinfo=UTC)  # of clocks that have not been anchored


class Clock(Protocol):
    """Where the time comes from."""

    speed: float  # engine seconds a wall second

    def now(self) -> datetime:
        """The engine's time, UTC."""
        ...

    def monotonic(self) -> float:
        """Wall seconds from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait that many wall seconds, or until ``wake``."""
        ...

    def wake(self) -> None:
        """End the current and every later ``sleep`` at once: the engine is to stop. May be called by a signal handler."""
        ...

    def anchor(self, at: datetime) -> None:
        """Set the clock to ``at``, where it is not UTC itself."""
        ...


class SystemClock:
    """The machine's clock. At a ``speed`` other than 1 it must be anchored to the newest row, and runs on from there."""

    def __init__(self, speed: float = 1.0) -> None:
        if not 0.0 < speed <= 100_000.0:
            raise LiveError(f"live.speed is {speed}, expected a number above 0 and at most 100,000")
        self.speed = speed
        self._origin: tuple[datetime, float] | None = None
        self._stopped = threading.Event()

    def now(self) -> datetime:
        """The engine's time, UTC."""
        if self.speed == 1.0:
            return datetime.now(UTC)
        if self._origin is None:
            return _EPOCH
        at, mark = self._origin
        return at + timedelta(seconds=(time.monotonic() - mark) * self.speed)

    def monotonic(self) -> float:
        """Wall seconds from an arbitrary start."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that many wall seconds, or until ``wake``."""
        self._stopped.wait(max(0.0, seconds))

    def wake(self) -> None:
        """End the current and every later ``sleep`` at once."""
        self._stopped.set()

    def anchor(self, at: datetime) -> None:
        """At a speed other than 1: it is ``at`` now. Later calls are ignored, so that the clock never jumps."""
        if self.speed != 1.0 and self._origin is None:
            self._origin = (at, time.monotonic())


class ManualClock:
    """A clock that only moves when somebody sleeps or ``advance`` is called: simulation, replay and tests take no time."""

    def __init__(self, at: datetime = _EPOCH, speed: float = 1.0) -> None:
        self.at, self.speed = at, speed
        self._wall = 0.0

    def now(self) -> datetime:
        """The engine's time, UTC."""
        return self.at

    def monotonic(self) -> float:
        """Wall seconds from an arbitrary start."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let wall seconds pass."""
        self._wall += seconds
        self.at += timedelta(seconds=seconds * self.speed)

    def sleep(self, seconds: float) -> None:
        """Let wall seconds pass."""
        self.advance(max(0.0, seconds))

    def wake(self) -> None:
        """Nothing to end: nobody really sleeps."""

    def anchor(self, at: datetime) -> None:
        """Nothing: the clock stands where it was put."""
