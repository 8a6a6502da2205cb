"""What calls for a decision, and what has had one: a new row, a row refused as data, a tick without a row, a halt; at most one a tick."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gridpilot.live.accepted_rows import AHEAD, RefusedRow
from gridpilot.live.api import TICK, PriceRow
from gridpilot.live.config import RiskLimits
from gridpilot.live.cycle_report import DecisionKind

__all__ = ["Agenda", "Trigger"]

LATE_ROW: Final = 0.5  # ticks that a row may arrive late before its tick becomes a decision without one
MOST_AHEAD: Final = 4096  # rows from the future that are remembered
LATE_AGAIN: Final = 0.1  # and each further one: a row is visible within half a minute


@dataclass(frozen=True)
class Trigger:
    """What calls for a decision."""

    kind: DecisionKind
    at: datetime
    causes: tuple[str, ...]
    held: bool = False  # decided and journalled, but not sent


class Agenda:
    """Which ticks had their decision; ``row_at`` is the newest row that had one, ``mark_at`` the newest tick, ``tick`` its wall seconds."""

    def __init__(
        self, limits: RiskLimits, tick: float, *, row_at: datetime | None, mark_at: datetime | None, now_wall: float
    ) -> None:
        self._limits, self._tick = limits, tick
        self.row_at, self._mark_at = row_at, mark_at
        self._halt_at: datetime | None = None  # tick of the last command of the halt in force
        self._bad: RefusedRow | None = None  # the newest row, where it was refused
        self.arrived = now_wall  # when the newest row came
        self._ahead: dict[
            datetime, float | None
        ] = {}  # rows from the future, and when they are due; None: by another clock they were
        self._start: datetime | None = None  # the engine's time at wall second 0, by the clock that was furthest ahead

    def arrive(self, at: datetime, now_wall: float) -> None:
        """There is a row of time ``at`` that is newer than those before."""
        due = self._ahead.get(at, now_wall)
        if due is not None:  # a clock that has come to a row of long ago does not make it new
            self.arrived = min(now_wall, due)
        self._bad = None
        self._ahead = {later: wall for later, wall in self._ahead.items() if later > at}

    def refuse(self, refusal: RefusedRow, newest: PriceRow | None, now: datetime, now_wall: float) -> None:
        """A row was refused as data; it is the newest where it is newer than those accepted, and not of some far future."""
        if refusal.at is None or newest is None or refusal.at <= newest.at:
            return
        if refusal.at <= now + AHEAD:
            self._bad = refusal
        elif len(self._ahead) < MOST_AHEAD:
            # A clock that went back calls rows of today the future; by the clock that was furthest ahead they are not.
            early = refusal.at - self._furthest(now, now_wall)
            self._ahead.setdefault(refusal.at, now_wall + early / TICK * self._tick if early > AHEAD else None)

    def _furthest(self, now: datetime, now_wall: float) -> datetime:
        """What time it is by the clock that was furthest ahead."""
        passed = now_wall / self._tick * TICK
        self._start = max(now - passed, self._start or now - passed)
        return self._start + passed

    def age(self, newest: PriceRow, now: datetime, now_wall: float) -> float:
        """Ticks since the newest row's time or, where a clock has gone back, since it came: the larger."""
        return max((now - newest.at) / TICK, (now_wall - self.arrived) / self._tick)

    def may_be_sent(self, kind: str, newest: PriceRow, now: datetime, now_wall: float) -> bool:
        """Whether a decision of that kind, by that row, may still switch anything on."""
        limit = self._limits.fallback_after if kind == "row" else self._limits.off_after
        return self.age(newest, now, now_wall) <= limit

    def due(self, newest: PriceRow, now: datetime, now_wall: float, *, halted: bool, newer: bool, late: str) -> Trigger | None:
        """What there is to decide now, if anything; ``late`` is the cause where no row has come, ``newer`` whether one just has."""
        self._furthest(now, now_wall)
        limits, age = self._limits, self.age(newest, now, now_wall)
        mark_age = max(0, math.floor(age))
        mark = newest.at + mark_age * TICK  # of the tick that it is
        if halted:
            due = self._halt_at is None or newer or mark > self._halt_at
            return Trigger("halt", mark, ("halted",)) if due else None
        self._halt_at = None
        if age <= limits.fallback_after and (self.row_at is None or newest.at > self.row_at):
            return Trigger("row", newest.at, ())
        if self._bad is not None and self._bad.at is not None and self._is_new(self._bad.at) and age <= limits.off_after:
            return Trigger("bad_row", self._bad.at, (self._bad.reason,))
        if not self._is_new(mark) or age < mark_age + LATE_AGAIN:
            return None
        if age > limits.off_after:
            return Trigger("no_row", mark, ("feed_off", late))
        if age > limits.fallback_after:
            return Trigger("no_row", mark, ("feed_stale", late))
        # A server whose clock is behind is always late by it: what counts is the rhythm in which its rows arrive.
        overdue = now_wall - self.arrived > (1.0 + LATE_ROW) * self._tick
        return Trigger("no_row", mark, (late,), held=True) if overdue and age > 1.0 else None

    def decided(self, trigger: Trigger, row: PriceRow) -> None:
        """A decision was written down; ``row`` is the newest."""
        self._mark_at = trigger.at if self._is_new(trigger.at) else self._mark_at
        if trigger.kind == "row":
            self.row_at = trigger.at
        elif trigger.kind == "halt":
            self._halt_at = trigger.at
            self.row_at = max(row.at, self.row_at or row.at)  # a row that came under a halt stays without the agent's decision

    def is_empty(self, newest: PriceRow | None) -> bool:
        """Whether the newest row has had its decision."""
        return newest is not None and self.row_at is not None and self.row_at >= newest.at

    def _is_new(self, at: datetime) -> bool:
        return self._mark_at is None or at > self._mark_at
