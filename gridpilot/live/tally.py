"""Sums over a run: what was earned, what other choices would have earned on the same rows, and how long decisions took."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping

from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.ledger import Earned

__all__ = ["Tally", "best_single"]


class Tally:
    """Sums over what :mod:`gridpilot.live.ledger` books. Money in the API's units, $.

    Other choices are summed over the rows of which it is shown what they earned, and that had a decision of their own: ticks without a
    row, and those under a halt, are left out.
    """

    def __init__(self) -> None:
        self.rows = 0.0  # that the alternatives are summed over
        self.profit = 0.0
        self.alternatives: dict[str, float] = {}  # profit of each other choice over the same rows
        self._choices: Mapping[str, float] = {}  # of the last row that had a decision
        self._latencies: list[float] = []  # s, ascending

    def add(self, report: CycleReport) -> None:
        """Count what a cycle earned; its latency counts wherever something was sent."""
        if report.attempts > 0:
            bisect.insort(self._latencies, report.latency)
        if report.kind == "row":
            self._choices = report.alternatives
        elif report.earned.weight > 0.0:
            self._choices = {}
        self.book(report.earned)

    def book(self, earned: Earned) -> None:
        """Count what was found out to be earned, between cycles, of the last one's tick."""
        self.profit += earned.profit
        if not self._choices:
            return
        self.rows += earned.weight
        for name, profit in self._choices.items():
            self.alternatives[name] = self.alternatives.get(name, 0.0) + earned.weight * profit

    def against(self, name: str) -> float:
        """Profit minus that of the alternative ``name``, over the same rows; 0 before the first, NaN for a name never heard of."""
        return self.profit - self.alternatives.get(name, math.nan if self.rows else 0.0)

    def latency(self, share: float) -> float | None:
        """The ``share`` quantile (nearest rank) of the wall seconds from a row seen to its last PUT acknowledged; ``None`` without any.

        >>> tally = Tally()
        >>> tally._latencies = [0.010, 0.020, 0.030, 0.040]
        >>> tally.latency(0.5), tally.latency(0.99)
        (0.02, 0.04)
        """
        if not self._latencies:
            return None
        return self._latencies[max(0, math.ceil(share * len(self._latencies)) - 1)]


def best_single(report: CycleReport) -> float | None:
    """Profit of the best allocation to one machine class alone; ``None`` where the report holds none."""
    return max((profit for name, profit in report.alternatives.items() if name not in {"best", "off"}), default=None)
