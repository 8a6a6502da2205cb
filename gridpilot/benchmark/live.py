"""Live operation end to end: the engine against a stand-in in a process of its own, how long a command takes, and what the engine costs."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import SecretStr

from gridpilot.agents.seating import AgentSpec
from gridpilot.benchmark.timing import Measurement
from gridpilot.errors import LiveError
from gridpilot.live.api import CLASSES, Counts
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import SystemClock
from gridpilot.live.config import LiveConfig, Timing
from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.engine import Engine
from gridpilot.live.journal import Journal
from gridpilot.live.logs import configure
from gridpilot.live.mara_venue import MaraVenue
from gridpilot.live.metrics import Metrics
from gridpilot.live.watch import Watch
from gridpilot.setup import load_preset

__all__ = ["measure_live"]

ROWS = 300  # of each agent
SPEED: Final = 2000.0  # a tick is 0.15 s of wall time
HISTORY: Final = 288  # rows that are there at the start
PATIENCE: Final = 5.0  # wall s for a call and a decision: what is late is measured, not cut off
LIMIT_MIB: Final = 200.0  # of the live process
PILOTS: Final[Mapping[str, AgentSpec]] = {
    "truthful": AgentSpec("truthful", {}),
    "mpc": AgentSpec("mpc", {}),
    "mpc with the linear programme": AgentSpec("mpc", {"planner": "linear"}),
}


def measure_live() -> Iterator[Measurement]:
    """Yield wall time from row to acknowledged PUT, beside a bare PUT of the same client; CPU a row; memory of ``gridpilot live``.

    Each agent has a server and a journal of its own, in a folder of the working folder that is removed afterwards. Raises
    :class:`~gridpilot.errors.LiveError` where the server does not start.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=".") as folder:
        for name, agent in PILOTS.items():
            with _server() as url:
                yield from _agent(name, agent, url, Path(folder) / f"{name}.db")
        if Path("/proc/self/status").exists():
            with _server() as url:
                yield from _memory(url, Path(folder))


def _agent(name: str, agent: AgentSpec, url: str, path: Path) -> Iterator[Measurement]:
    key = _register(url)
    bare = _bare_puts(url, key)
    if name == next(iter(PILOTS)):
        yield from _percentiles(f"a PUT alone, wall time: {{}} of {ROWS}", bare)
    clock = SystemClock(SPEED)
    venue = _TimedVenue(_client(url, key, clock), 1, clock=clock, timing=_timing(), power_w=None)
    seen = _Stopwatch(venue)
    try:
        with Journal(path) as journal:
            Engine(venue, [agent], _config(url, path), journal, seen).run()
    finally:
        venue.close()
    smooth = [(report, at) for report, at in seen.cycles if report.kind == "row" and report.attempts == 1]
    marks = seen.cycles[-1][0].ticks
    of = f"{{}} of {len(smooth)} rows" + (f", {marks - len(smooth)} of {marks} not as usual" if marks > len(smooth) else "")
    latency = np.array([report.latency for report, _ in smooth])
    visible = np.array([venue.since_visible(report, at) for report, at in smooth])
    percentiles = partial(_percentiles, against=("a bare PUT", bare))
    yield from percentiles(f"{name}: row seen to PUT acknowledged, wall time: {of}", latency)
    polling = f"looking every {1e3 * venue.timing.poll:.0f} ms"
    yield from percentiles(f"{name}: row visible to PUT acknowledged, {polling}, wall time: {of}", visible)
    cpu_us = 1e6 * np.diff(seen.cpu_s)
    yield Measurement("live", f"{name}: engine, a row and the looking for it", float(np.median(cpu_us)), float(cpu_us.min()))


def _percentiles(label: str, seconds: Any, against: tuple[str, Any] | None = None) -> Iterator[Measurement]:
    """A line for the median and one for the 99th percentile of ``seconds (n,)``, over the same of ``against``."""
    for percent in (50, 99):
        us = 1e6 * float(np.percentile(seconds, percent))
        name, base = against or ("", None)
        ratio = None if base is None else us / (1e6 * float(np.percentile(base, percent)))
        yield Measurement(
            "live", label.format(f"p{percent}"), us, 1e6 * float(np.min(seconds)), ratio=ratio, against=name, measure="wall_us"
        )


def _bare_puts(url: str, key: SecretStr) -> Any:
    """Wall seconds ``(ROWS,)`` of a PUT of the engine's client, with nothing else going on."""
    commands: Sequence[Counts] = ((1, *(0,) * (len(CLASSES) - 1)), (0,) * len(CLASSES))
    seconds = np.empty(ROWS)
    with _client(url, key, SystemClock()) as client:
        client.set_machines(0, commands[1])
        for i in range(ROWS):
            began = time.perf_counter()
            client.set_machines(0, commands[i % 2])
            seconds[i] = time.perf_counter() - began
    return seconds


class _TimedVenue(MaraVenue):
    """Notes when changes are acknowledged, and how far the server's clock is ahead of the engine's."""

    acknowledged = 0.0  # engine's clock, s since the epoch
    ahead = -np.inf  # s; the Date of every answer gives a lower bound, since it is cut off and takes its time to arrive
    looks = 0  # at the prices; the first sets the engine's clock

    def prices(self) -> Sequence[Any]:
        entries = super().prices()
        self.looks += 1
        if self.looks > 1 and self.client.skew is not None:
            self.ahead = max(self.ahead, self.client.skew.total_seconds())
        return entries

    def set_machines(self, site: int, counts: Counts) -> Counts:
        answer = super().set_machines(site, counts)
        self.acknowledged = self.clock.now().timestamp()
        return answer

    def since_visible(self, report: CycleReport, acknowledged: float) -> float:
        """Wall seconds from the moment at which the server began to show a row."""
        return (acknowledged + self.ahead - report.at.timestamp()) / self.clock.speed


class _Stopwatch(Watch):
    """Keeps every cycle, when its change was acknowledged, and the CPU seconds of the process by its end."""

    def __init__(self, venue: _TimedVenue) -> None:
        super().__init__(configure("INFO", io.StringIO()), Metrics(venue.clock.monotonic), monotonic=venue.clock.monotonic)
        self._venue = venue
        self.cycles: list[tuple[CycleReport, float]] = []
        self.cpu_s: list[float] = []

    def cycle(self, report: CycleReport, message: str = "") -> None:
        super().cycle(report, message)
        self.cycles.append((report, self._venue.acknowledged))
        self.cpu_s.append(time.process_time())
        if len(self.cycles) > 2 * ROWS:
            raise LiveError(
                f"{len(self.cycles)} decisions and not {ROWS} of them for a row: the engine or the stand-in does not keep up"
            )


def _memory(url: str, folder: Path) -> Iterator[Measurement]:
    """Resident memory of ``gridpilot live`` after ``ROWS`` rows with the linear programme."""
    options = ("agent=mpc", "agent.planner=linear", "live.mode=live", f"live.url={url}", f"live.journal={folder / 'command.db'}")
    environment = {**os.environ, "MARA_API_KEY": _register(url).get_secret_value()}
    log = folder / "log.txt"
    with log.open("w") as errors, _process("live", *options, "json=true", errors=errors, env=environment) as process:
        for _ in range(ROWS):
            if not process.stdout.readline():
                raise LiveError(f"gridpilot live has ended: {log.read_text()[-300:]}")
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    for field, what in (("VmHWM", "most so far"), ("VmRSS", "now")):
        (size,) = re.findall(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        mib = int(size) / 1024.0
        label = f"gridpilot live, mpc with the linear programme, after {ROWS} rows, resident memory: {what}"
        yield Measurement(
            "live", label, mib, mib, ratio=mib / LIMIT_MIB, against=f"the limit of {LIMIT_MIB:.0f} MiB", measure="mib"
        )


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """The address of a stand-in in a process of its own."""
    options = ("--port", "0", "--speed", f"{SPEED}", "--history", f"{HISTORY}")
    with _process("serve-mara", *options) as process:
        words = process.stdout.readline().split()
        if words[:2] != ["listening", "on"]:
            raise LiveError(f"gridpilot serve-mara has not started, and says {' '.join(words)!r}")
        yield words[2]


@contextlib.contextmanager
def _process(*arguments: str, errors: Any = None, env: Mapping[str, str] | None = None) -> Iterator[Any]:
    """A command of this program in a process of its own, which is asked to end with the block."""
    command = [sys.executable, "-m", "gridpilot", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()


def _register(url: str) -> SecretStr:
    with _client(url, None, SystemClock()) as client:
        return client.register("benchmark")[0]


def _client(url: str, key: SecretStr | None, clock: SystemClock) -> MaraClient:
    """The engine's client, without a limit of calls a tick."""
    keys = () if key is None else (key,)
    return MaraClient(url, keys, timing=_timing(), clock=clock, requests_per_tick=1_000_000)


def _timing() -> Timing:
    return Timing.of(SPEED, timeout=PATIENCE, deadline=PATIENCE)


def _config(url: str, journal: Path) -> LiveConfig:
    choices = {"venue": "mara", "mode": "live", "url": url, "speed": SPEED, "journal": journal, "rows": ROWS}
    return LiveConfig.model_validate({**load_preset("live", "base"), **choices})
