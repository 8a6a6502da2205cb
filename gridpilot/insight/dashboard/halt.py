"""Halting from a page: armed for half a minute in one session, with a reason, by one press; and what the engine then reports.

Who presses is checked here and not in the browser: a button that is drawn as disabled can be pressed by whoever speaks the protocol.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gridpilot.errors import GridPilotError
from gridpilot.live.halt_command import TIMEOUT_S, Halted, follow_halt, order_halt

__all__ = ["ARMED_S", "LONGEST_REASON", "Arming"]

ARMED_S: Final = 30.0
LONGEST_REASON: Final = 500


@dataclass
class Arming:
    """Of one session and one journal. ``clock`` gives wall s that never go back."""

    journal: Path
    clock: Callable[[], float] = time.monotonic
    until: float | None = None  # of the clock; None: not armed
    refused: str = ""  # why the last press did nothing
    halted: Halted | None = None
    _pressed: float = field(default=0.0, repr=False)

    def arm(self) -> None:
        """Be ready for a press for ``ARMED_S``."""
        self.until, self.refused = self.clock() + ARMED_S, ""

    def disarm(self) -> None:
        """Not be ready any more."""
        self.until = None

    @property
    def left_s(self) -> float:
        """Wall s for which it is still armed; 0 where it is not."""
        return 0.0 if self.until is None else max(0.0, self.until - self.clock())

    @property
    def is_armed(self) -> bool:
        """Whether a press halts now."""
        return self.left_s > 0.0

    def press(self, why: str) -> bool:
        """Halt, if armed and given a reason; whether a halt was ordered. One arming is good for one press."""
        why = " ".join(why.encode("utf-8", "replace").decode().split())[:LONGEST_REASON]
        if not self.is_armed:
            timed_out = self.until is not None
            self.refused = "Nothing was halted: the arming has timed out." if timed_out else "Nothing was halted: it is not armed."
            self.until = None
            return False
        if not why:
            self.refused = "Nothing was halted yet: a reason is needed, for the record."
            return False
        self.until, self.refused, self._pressed = None, "", self.clock()
        try:
            self.halted = order_halt(self.journal, why)
        except GridPilotError as error:
            self.halted = None
            self.refused = f"NOT HALTED: {error}"
            return False
        return True

    def look(self) -> Halted | None:
        """What has come of the halt that this session ordered, as the engine reports it; None where it ordered none."""
        if self.halted is not None and not (self.halted.confirmed or self.halted.problem):
            seconds = self.clock() - self._pressed
            follow_halt(self.halted, late=seconds > TIMEOUT_S)
            self.halted.seconds = seconds
        return self.halted
