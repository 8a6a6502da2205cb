"""Engines for tests: in one process, on a clock that only moves when somebody waits."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from gridpilot.agents.seating import AgentSpec
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import ManualClock
from gridpilot.live.config import Timing
from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.engine import Engine
from gridpilot.live.journal import Journal
from gridpilot.live.logs import configure
from gridpilot.live.mara_venue import MaraVenue
from gridpilot.live.metrics import Metrics
from gridpilot.live.venue import Venue
from gridpilot.live.watch import Watch
from tests.live.other_server import OtherServer
from tests.live.worlds import config

TRUTHFUL = (AgentSpec("truthful", {}),)


class Seen(Watch):
    """A watch that keeps what it is told."""

    def __init__(self, monotonic: Callable[[], float], log: io.StringIO | None = None) -> None:
        super().__init__(configure("DEBUG", log or io.StringIO()), Metrics(monotonic), monotonic=monotonic)
        self.reports: list[CycleReport] = []
        self.drifted = 0
        self.on_report: Callable[[CycleReport], None] = lambda report: None

    def cycle(self, report: CycleReport, message: str = "") -> None:
        super().cycle(report, message)
        self.reports.append(report)
        self.on_report(report)

    def drift(self, count: int) -> None:
        super().drift(count)
        self.drifted = count


class TiedClock(ManualClock):
    """Engine time that takes a server along whose rows come by hand: one every five minutes."""

    def __init__(self, server: OtherServer, delay: float = 2.0) -> None:
        super().__init__(server.now() - timedelta(seconds=server.choices.clock_off_s))  # its own clock is right
        self.server, self._next = server, 300.0 + delay

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        while self.monotonic() >= self._next:
            self._next += 300.0
            self.server.advance_rows(1)


def quick(**changes: Any) -> Timing:
    """Wall times of speed 1, but for those that are really waited for."""
    usual = {
        "tick": 300.0, "timeout": 2.0, "attempts": 3, "backoff": 0.002, "longest_wait": 0.02, "breaker_failures": 8, "breaker_rest": 0.01,
        "deadline": 5.0, "poll": 15.0, "poll_early": 60.0,
    }  # fmt: skip
    return Timing(**{**usual, **changes})  # type: ignore[arg-type]


def mara(
    server: OtherServer, keys: Sequence[str], clock: ManualClock, *, power_w: int | None = None, timing: Timing | None = None
) -> MaraVenue:
    """The MARA venue on a server."""
    timing = timing or quick()
    secrets = [SecretStr(key) for key in keys]
    client = MaraClient(server.url, secrets, timing=timing, clock=clock, requests_per_tick=400)
    return MaraVenue(client, len(keys), clock=clock, timing=timing, power_w=power_w)


def engine(
    venue: Venue, journal: Journal, *, agents: Sequence[AgentSpec] = TRUTHFUL, watch: Seen | None = None, **changes: Any
) -> tuple[Engine, Seen]:
    """An engine that sends, and what it says."""
    watch = watch or Seen(venue.clock.monotonic)
    settings = config(**{"mode": "live", "venue": venue.name, "rows": 20, **changes})
    return Engine(venue, agents, settings, journal, watch), watch


def run(venue: Venue, path: Path, **changes: Any) -> tuple[Seen, list[Any]]:
    """Run an engine to its end; what was seen, and the journal's records."""
    with Journal(path) as journal:
        loop, watch = engine(venue, journal, **changes)
        try:
            loop.run()
        finally:
            venue.close()
        verification = journal.verify()
        assert verification.problem is None
        return watch, list(journal.records())


def moment(text: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
