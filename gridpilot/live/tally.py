"""Sums over a run: what was earned, what other choices would have earned on the same rows, and how long decisions took."""

from __future__ import annotations

import bisect
import math

from gridpilot.live.cycle_report import CycleReport

__all__ = ["Tally", "best_single"]


class Tally:
    """Sums over the rows whose decision took effect, each row once. Money in the API's units, $.

    The API pays a snapshot a price row, so a row's profit is the revenue minus the cost of the counts that were in force. Rows whose
    command was refused, lost, superseded or held are left out, and so are ticks without a price: there it is not known what was earned.
    """

    def __init__(self) -> None:
        self.rows = 0  # that the sums are over
        self.profit = 0.0
        self.alternatives: dict[str, float] = {}  # profit of each other choice over the same rows
        self._last: CycleReport | None = None
        self._latencies: list[float] = []  # s, ascending

    def add(self, report: CycleReport) -> None:
        """Count ``report`` where it belongs to the sums; its latency counts wherever something was sent."""
        if report.attempts > 0:
            bisect.insort(self._latencies, report.latency)
        if report.kind != "row" or report.status not in {"applied", "shadow"}:
            return
        if self._last is not None and report.at <= self._last.at:
            return
        self._last = report
        self.rows += 1
        self.profit += report.profit
        for name, profit in report.alternatives.items():
            self.alternatives[name] = self.alternatives.get(name, 0.0) + profit

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
