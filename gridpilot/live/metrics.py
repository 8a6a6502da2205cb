"""What machines see of a running engine: Prometheus metrics, its health, and systemd's watchdog."""

from __future__ import annotations

import functools
import math
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from gridpilot import __version__
from gridpilot.live.cycle_report import CycleReport, DecisionKind, Reason, Status
from gridpilot.live.ledger import Earned
from gridpilot.live.logs import Redaction
from gridpilot.live.tally import Tally
from gridpilot.market.units import CHANNELS

__all__ = ["Health", "Metrics", "is_correct", "notify"]

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # s
CALL_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)  # s
LABELS: Final = 64  # different values of a label, beyond which a new one counts as "other"

_LABEL: Final = re.compile(r"[\w /.]{1,40}", re.ASCII)


def is_correct(report: CycleReport) -> bool:
    """Whether the engine did its part: a decision for every site, of finite money, within the cap.

    A venue that is away or refuses does not make a cycle incorrect: a restart would not help, so a watchdog must not ask for one.
    """
    sites = bool(report.counts) and all(len(counts) == len(report.classes) and min(counts) >= 0 for counts in report.counts)
    return sites and 0 <= report.power_w <= report.cap_w and math.isfinite(report.profit)


@dataclass(frozen=True, slots=True)
class Health:
    """The body of ``/health``. Ages in wall s since the last one, or since the start where there was none; the feed's in engine s."""

    status: Literal["ok", "degraded", "halted", "stuck"]
    why: tuple[str, ...]  # what speaks against "ok"; empty for "ok"
    heartbeat_age: float
    correct_age: float
    feed_age: float | None  # of the newest row; None before the first
    halted: bool
    breaker_open: bool
    cycles: int
    reason: str | None  # of the last decision
    outcome: str | None  # status of the last command
    availability: float | None  # ticks with a fresh, feasible decision, as a share; None before the first
    clock_skew: float | None = None  # s, the venue's clock minus this one's; None where it is not known


class Metrics:
    """The engine's metrics on a registry of their own, written by its thread and read by others. Money in the API's units, $.

    ``clock`` gives wall seconds from an arbitrary start; heartbeats are told in its time. No label takes unbounded values, and none
    takes a key: what does not look like a code, and whatever is new after 64 values, counts as ``other``.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        self._heartbeat_at = self._correct_at = clock()
        self._feed_age: float | None = None
        self._skew_s: float | None = None
        self._halted = self._breaker_open = False
        self._drift = self._cycles = self._ticks = self._fresh = 0
        self._last: CycleReport | None = None
        self._tally = Tally()
        self._labels: dict[str, set[str]] = {}
        ProcessCollector(registry=registry)
        counter = functools.partial(Counter, namespace="gridpilot_live", registry=registry)
        gauge = functools.partial(Gauge, namespace="gridpilot_live", registry=registry)
        histogram = functools.partial(Histogram, namespace="gridpilot_live", registry=registry)

        # What was decided, and what became of it.
        self._decisions = counter("decisions_total", "Decisions, by why and by which link of the chain", ("kind", "reason"))
        self._causes = counter("causes_total", "What went wrong before decisions", ("cause",))
        self._outcomes = counter("outcomes_total", "Commands, by what became of them", ("status",))
        self._puts = counter("puts_total", "PUTs sent, repetitions included")
        self._latency = histogram("decision_latency_seconds", "Row seen to the last PUT acknowledged", buckets=LATENCY_BUCKETS)
        self._refused_rows = counter("refused_rows_total", "Price rows refused as data", ("reason",))
        self._mismatches = counter("mismatches_total", "Times the venue reported other counts than it had confirmed")
        self._drifted = gauge("drift_decisions", "Decisions the replica made differently, since the start; zero by construction")
        for kind in get_args(DecisionKind):
            for reason in get_args(Reason):
                self._decisions.labels(kind, reason)
        for status in get_args(Status):
            self._outcomes.labels(status)
        # The market and the machines.
        self._price = gauge("price", "Price of the last decision, in the API's units", ("product",))
        self._power = gauge("power_watts", "Power of all sites, as last commanded")
        self._cap = gauge("cap_watts", "Limit of all sites together")
        self._machines = gauge("machines", "Machines running, as last commanded", ("site", "class"))
        # Money.
        self._profit = gauge(
            "profit_dollars", "What the last cycle added to what is earned, in the API's $; in shadow mode, would have"
        )
        self._forgone = gauge(
            "forgone_dollars",
            "Profit of the best choice at the last row's prices minus its own, in the API's $; NaN where it is not shown",
        )
        self._profit_sum = gauge(
            "profit_since_start_dollars",
            "What is shown to be earned since the start, in the API's $; in shadow mode, would have been",
        )
        self._forgone_sum = gauge(
            "forgone_since_start_dollars", "Profit of the best choice on the same rows, minus that, in the API's $"
        )
        # Time, and whether it is used well.
        self._ticks_total = counter("ticks_total", "Five-minute marks that have passed")
        self._fresh_total = counter("fresh_ticks_total", "Of these, marks with a feasible decision made for their own row")
        self._availability = gauge("availability_ratio", "Fresh ticks over ticks since the start; NaN before the first")
        self._availability.set(math.nan)
        self._row_time = gauge("row_timestamp_seconds", "Time of the last row decided on, engine's clock, UTC")
        self._engine_time = gauge("engine_timestamp_seconds", "Engine's clock at the end of the last cycle, UTC")
        self._feed = gauge("feed_age_seconds", "Age of the newest row by the engine's clock; NaN before the first")
        self._feed.set(math.nan)
        self._skew = gauge("clock_skew_seconds", "Venue's clock minus this one's")
        gauge("heartbeat_age_seconds", "Wall time since the loop last turned").set_function(lambda: clock() - self._heartbeat_at)
        gauge("correct_age_seconds", "Wall time since the last correct cycle").set_function(lambda: clock() - self._correct_at)
        # State and the API.
        self._halted_state = gauge("halted", "1 while halted by hand")
        self._breaker_state = gauge("breaker_open", "1 while the venue is left alone after failures in a row")
        self._sending = gauge("sending", "1 in live mode, 0 in shadow mode, which never sends")
        self._calls = counter("calls_total", "Calls to the API", ("endpoint", "result"))
        self._call_duration = histogram("call_duration_seconds", "Calls to the API", ("endpoint",), buckets=CALL_BUCKETS)
        self._alerts = counter("alerts_total", "Alerts, by channel and by what became of them", ("channel", "result"))
        gauge("build_info", "1, with the version", ("version",)).labels(__version__).set(1)

    def cycle(self, report: CycleReport) -> None:
        """A decision was made and its outcome is known as far as it will be."""
        self._decisions.labels(report.kind, report.reason).inc()
        for cause in report.causes:
            self._causes.labels(self._label("cause", cause)).inc()
        self._outcomes.labels(report.status).inc()
        self._puts.inc(report.attempts)
        if report.attempts > 0:
            self._latency.observe(report.latency)
        for product, price in zip(CHANNELS, report.prices, strict=True):
            self._price.labels(product).set(price)
        self._power.set(report.power_w)
        self._cap.set(report.cap_w)
        for site, counts in enumerate(report.counts, start=1):
            for name, count in zip(report.classes, counts, strict=True):
                self._machines.labels(str(site), self._label("class", name)).set(count)
        self._money(report)
        self._time(report)
        self._sending.set(report.mode == "live")
        self._cycles += 1
        self._last = report
        if is_correct(report):
            self._correct_at = self._clock()

    def called(self, endpoint: str, result: str, seconds: float) -> None:
        """A call to the API ended with ``result`` after wall ``seconds``."""
        endpoint = self._label("endpoint", endpoint)
        self._calls.labels(endpoint, self._label("result", result)).inc()
        self._call_duration.labels(endpoint).observe(seconds)

    def heartbeat(self, now_wall: float) -> None:
        """The loop turned, at ``now_wall`` of the clock."""
        self._heartbeat_at = now_wall

    def feed(self, age_seconds: float) -> None:
        """Age of the newest row by the engine's clock, s; not finite where there is none."""
        self._feed_age = age_seconds if math.isfinite(age_seconds) else None
        self._feed.set(age_seconds)

    def halted(self, flag: bool) -> None:
        """Whether the engine is halted by hand."""
        self._halted = flag
        self._halted_state.set(flag)

    def drift(self, count: int) -> None:
        """How many decisions the replica has made differently since the start."""
        self._drift = count
        self._drifted.set(count)

    def refused_row(self, reason: str) -> None:
        """A price row was refused as data."""
        self._refused_rows.labels(self._label("reason", reason)).inc()

    def breaker(self, open: bool) -> None:
        """Whether the venue is being left alone."""
        self._breaker_open = open
        self._breaker_state.set(open)

    def skew(self, seconds: float) -> None:
        """The venue's clock minus this one's."""
        self._skew_s = seconds if math.isfinite(seconds) else None
        self._skew.set(seconds)

    def mismatch(self) -> None:
        """The venue reported other counts than it had confirmed."""
        self._mismatches.inc()

    def alert(self, channel: str, result: str) -> None:
        """An alert was sent by ``channel``, failed, was refused there, or was given up; told by a thread of its own."""
        self._alerts.labels(self._label("channel", channel), self._label("result", result)).inc()

    def earned(self, earned: Earned) -> None:
        """What was earned turned out to be other than a cycle had said."""
        self._tally.book(earned)
        self._sums()

    def health(self, *, heartbeat_limit: float, correct_limit: float, feed_limit: float) -> Health:
        """How the engine is, from what it last said of itself. Limits as for :class:`MetricsServer`."""
        last, now = self._last, self._clock()
        heartbeat_age, correct_age = now - self._heartbeat_at, now - self._correct_at
        stuck = [
            *(["no_heartbeat"] if heartbeat_age > heartbeat_limit else []),
            *(["no_correct_cycle"] if correct_age > correct_limit else []),
        ]
        degraded = [
            *(["no_row"] if self._feed_age is None else ["stale_feed"] if self._feed_age > feed_limit else []),
            *(["breaker_open"] if self._breaker_open else []),
            *(["drift"] if self._drift else []),
            *([f"decided_by_{last.reason}"] if last and last.reason != "agent" and not self._halted else []),
            *([f"command_{last.status}"] if last and last.status not in {"applied", "shadow"} else []),
        ]
        why = (*stuck, *(["halted"] if self._halted else []), *degraded)
        return Health(
            status="stuck" if stuck else "halted" if self._halted else "degraded" if degraded else "ok",
            why=why,
            heartbeat_age=heartbeat_age,
            correct_age=correct_age,
            feed_age=self._feed_age,
            halted=self._halted,
            breaker_open=self._breaker_open,
            cycles=self._cycles,
            reason=last.reason if last else None,
            outcome=last.status if last else None,
            availability=self._fresh / self._ticks if self._ticks else None,
            clock_skew=self._skew_s,
        )

    def _money(self, report: CycleReport) -> None:
        self._tally.add(report)
        self._profit.set(report.profit)
        shown = report.earned.weight > 0.0
        best = report.earned.weight * report.alternatives.get("best", math.nan)
        self._forgone.set(best - report.profit if shown else math.nan)
        self._sums()

    def _sums(self) -> None:
        self._profit_sum.set(self._tally.profit)
        self._forgone_sum.set(-self._tally.against("best"))

    def _time(self, report: CycleReport) -> None:
        self._ticks_total.inc(max(0, report.ticks - self._ticks))
        self._fresh_total.inc(max(0, report.fresh - self._fresh))
        self._ticks, self._fresh = report.ticks, report.fresh
        self._availability.set(report.fresh / report.ticks if report.ticks else math.nan)
        self._engine_time.set(report.now.timestamp())
        if report.kind == "row":
            self._row_time.set(report.at.timestamp())

    def _label(self, name: str, value: str) -> str:
        known = self._labels.setdefault(name, set())
        if value in known:
            return value
        if len(known) >= LABELS or not _LABEL.fullmatch(value) or Redaction().text(value) != value:
            return "other"
        known.add(value)
        return value


def notify(state: str) -> bool:
    """Tell systemd ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``, as ``sd_notify(3)`` describes; whether it took it.

    ``False`` where nobody listens: ``NOTIFY_SOCKET`` is not set, or what it names is gone. That is no reason to stop deciding, and a
    supervisor that hears nothing acts on its own.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(1.0)  # s; a supervisor that does not read must not hold up a decision
        try:
            channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return False
    return True
