"""Everybody who watches a running engine, told through one object: metrics, the live table, the log, and systemd."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, TextIO

import structlog

from gridpilot.live.api import PriceRow, format_time
from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.ledger import Earned
from gridpilot.live.live_table import LiveTable
from gridpilot.live.logs import log_cycle, log_event
from gridpilot.live.metrics import Metrics, notify
from gridpilot.redaction import redacted

__all__ = ["Watch"]


class Watch:
    """Passes on what the engine says; ``lines`` takes a line of JSON a cycle, instead of the table.

    systemd's watchdog is fed only while the loop turns and decides: the last correct cycle is no older than ``correct_limit`` wall s.
    """

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger,
        metrics: Metrics,
        *,
        monotonic: Callable[[], float],
        table: LiveTable | None = None,
        lines: TextIO | None = None,
        heartbeat_limit: float = math.inf,
        correct_limit: float = math.inf,
    ) -> None:
        self._log, self.metrics, self._table, self._lines, self._monotonic = log, metrics, table, lines, monotonic
        self._halted: str | None = None
        self._drift = 0
        self._limits = {"heartbeat_limit": heartbeat_limit, "correct_limit": correct_limit, "feed_limit": math.inf}

    def started(self, session: dict[str, Any], newest: PriceRow) -> None:
        """A session has begun."""
        log_event(
            self._log, "started", venue=session["venue"], mode=session["mode"], agent=session["agent"]["target"],
            cap_w=session["cap_w"], newest_row=format_time(newest.at),
        )  # fmt: skip
        notify("READY=1")
        if self._table is not None:
            self._table.started([site["name"] for site in session["sites"]])

    def cycle(self, report: CycleReport, message: str = "") -> None:
        """A decision and its outcome."""
        self.metrics.cycle(report)
        log_cycle(self._log, report)
        if message and report.status not in ("applied", "shadow", "held"):
            self._say(message)
        if self._table is not None:
            self._table.update(report)
        if self._lines is not None:
            body = {
                "at": format_time(report.at), "kind": report.kind, "reason": report.reason, "causes": report.causes,
                "prices": report.prices, "counts": report.counts, "power_w": report.power_w, "profit": report.profit,
                "best": report.alternatives["best"], "status": report.status, "latency": round(report.latency, 6),
            }  # fmt: skip
            print(json.dumps(body), file=self._lines, flush=True)

    def heartbeat(self) -> None:
        """The loop has turned."""
        self.metrics.heartbeat(self._monotonic())
        if self.metrics.health(**self._limits).status != "stuck":
            notify("WATCHDOG=1")

    def feed(self, newest: PriceRow, now: datetime) -> None:
        """The newest row there is."""
        self.metrics.feed((now - newest.at).total_seconds())

    def halted(self, why: str | None) -> None:
        """Whether the site is halted by hand, and why."""
        self.metrics.halted(why is not None)
        if why != self._halted:
            log_event(self._log, "halted" if why is not None else "resumed", why=why)
            self._halted = why
        if self._table is not None:
            self._table.halted(why)

    def drift(self, count: int) -> None:
        """How many decisions the replica has made otherwise."""
        self.metrics.drift(count)
        if count != self._drift:
            log_event(self._log, "drift", decisions=count)
            self._drift = count
        if self._table is not None:
            self._table.drift(count)

    def refused_row(self, reason: str, message: str) -> None:
        """A price row was refused as data."""
        self.metrics.refused_row(reason)
        log_event(self._log, "refused_row", reason=reason, message=message)
        self._say(f"row refused: {message}")

    def mismatch(self, message: str) -> None:
        """The venue reports other machines than it had confirmed."""
        self.metrics.mismatch()
        log_event(self._log, "mismatch", message=message)

    def api(self, state: str, message: str) -> None:
        """The venue has become unreachable, or reachable again."""
        self.metrics.breaker(state == "down")
        log_event(self._log, f"api_{state}", message=message)
        self._say(f"API {state}: {message}" if message else f"API {state}")

    def note(self, event: str, message: str) -> None:
        """Anything else worth a word."""
        self._log.warning(event, message=message)
        self._say(message)

    def earned(self, earned: Earned) -> None:
        """What was earned turned out to be other than a cycle had said."""
        self.metrics.earned(earned)
        if self._table is not None:
            self._table.earned(earned)

    def reconciled(self, counts: list[list[int]]) -> None:
        """A doubt about what runs has ended."""
        log_event(self._log, "reconciled", counts=counts)

    def skew(self, seconds: float | None) -> None:
        """The venue's clock minus this one's, where it is known."""
        if seconds is not None:
            self.metrics.skew(seconds)

    def stopped(self, why: str) -> None:
        """The session is over."""
        notify("STOPPING=1")
        log_event(self._log, "stopped", why=why)

    def _say(self, text: str) -> None:
        if self._table is not None:
            self._table.note(redacted(text))
