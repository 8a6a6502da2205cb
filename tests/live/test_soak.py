"""A day of the real commands against a server that fails, at three hundred times the speed: nothing is missed, doubled or piled up."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from gridpilot import cli
from gridpilot.live.api import TICK, parse_time
from gridpilot.live.clock import SystemClock
from gridpilot.live.journal import Journal, Record
from gridpilot.live.price_feed import generate_rows
from gridpilot.live.stand_in.app import create_app
from gridpilot.live.stand_in.faults import Faults
from gridpilot.live.stand_in.options import StandInOptions
from tests.live.stand_ins import served
from tests.live.test_live_command import flying, resident_mib
from tests.live.test_serve_command import serving

SPEED = 300
FAULTS = 0.05  # of all calls
LIMIT_MIB = 180.0  # of the engine, with the linear planner and its replica
MIB = 10.0  # that a process may grow by in half a day


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_day_in_shadow_mode(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        serving("--speed", str(SPEED), "--fault-rate", str(FAULTS)) as (url, server),
        flying("agent=mpc", "agent.planner=linear", f"live.url={url}", "live.rows=288", level="DEBUG") as process,
    ):
        memory = list(watched(process, server))
        assert process.returncode == 0, Path("log.txt").read_text()[-2000:]
    records = read()
    rows = decided(records)
    assert rows == [rows[0] + i * TICK for i in range(288)]
    assert not [record for record in records if record.kind == "intent"]
    assert cli.main(["live", "verify", "--replay", "live.journal=runs/live.db"]) == 0
    told = capsys.readouterr().out
    assert met_failures() >= 20
    figures = summary(records, memory)
    with capsys.disabled():
        print(f"\nshadow: {figures}; {told.splitlines()[1]}")
    for process_mib in zip(*memory, strict=True):  # of the engine, of the server
        second, last = quarter(process_mib, 1), quarter(process_mib, 3)
        assert last <= second + MIB
    assert max(mib[0] for mib in memory) < LIMIT_MIB


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_hour_and_more_in_live_mode(capsys: pytest.CaptureFixture[str]) -> None:
    # The server is in this process, where what it has applied can be seen.
    feed = partial(generate_rows, "mara_event", 0)
    app = create_app(StandInOptions(), feed, SystemClock(SPEED), Faults.random(FAULTS))
    sites = app.state.stand_in.sites
    site = sites.register("soak")
    with (
        served(app) as url,
        flying(
            "agent=mpc", "agent.planner=linear", "live.mode=live", f"live.url={url}", "live.rows=60", key=site.key, level="DEBUG"
        ) as process,
    ):
        memory = list(watched(process))
        assert process.returncode == 0, Path("log.txt").read_text()[-2000:]
    records = read()
    rows = decided(records)
    assert len(rows) == len(set(rows)) == 60
    assert cli.main(["live", "verify", "--replay", "live.journal=runs/live.db"]) == 0
    told = capsys.readouterr().out
    assert met_failures() >= 20
    with capsys.disabled():
        missed = round((rows[-1] - rows[0]) / TICK) + 1 - len(rows)
        print(f"\nlive: {summary(records, memory)}; {missed} rows missed, {len(sites.puts)} PUTs applied; {told.splitlines()[1]}")

    intents = [record.body for record in records if record.kind == "intent"]
    outcomes = [record.body for record in records if record.kind == "outcome"]
    # What the server applied are the commands in their order, and nothing besides: each once, or again where its answer was lost.
    commanded = iter([tuple(intent["counts"][0]) for intent in intents])
    applied = [counts for counts, _ in groupby(put.counts for put in sites.puts)]
    assert all(counts in commanded for counts in applied)
    assert len(sites.puts) <= sum(outcome["attempts"] for outcome in outcomes)
    smooth = {outcome["command"] for outcome in outcomes if outcome["status"] == "applied" and outcome["attempts"] == 1}
    assert len(smooth) >= 45
    assert outcomes[-1]["status"] == "applied"
    assert site.counts == tuple(outcomes[-1]["counts"][0]) == tuple(intents[-1]["counts"][0])


def watched(process: subprocess.Popen[str], *others: subprocess.Popen[str]) -> Iterator[tuple[float, ...]]:
    """Resident MiB of the processes, twice a second, until the first of them ends."""
    while process.poll() is None:
        sizes = [resident_mib(each.pid) for each in (process, *others)]
        if None not in sizes:
            yield tuple(size for size in sizes if size is not None)
        time.sleep(0.5)


def met_failures() -> int:
    """Readings that were repeated because the server failed."""
    return Path("log.txt").read_text().count('"event": "retry"')


def quarter(values: Sequence[float], number: int) -> float:
    """Mean of a quarter, counted from 0."""
    size = len(values) // 4
    return statistics.fmean(values[number * size : (number + 1) * size])


def read() -> list[Record]:
    with Journal(Path("runs/live.db"), read_only=True) as journal:
        return list(journal.records())


def decided(records: Sequence[Record]) -> list[Any]:
    """The rows that had their decision, in the order in which they had it."""
    return [parse_time(record.body["at"]) for record in records if record.kind == "decision" and record.body["kind"] == "row"]


def summary(records: Sequence[Record], memory: Sequence[tuple[float, ...]]) -> str:
    """Figures for people."""
    decisions = [record.body for record in records if record.kind == "decision"]
    outcomes = [record.body for record in records if record.kind == "outcome"]
    reasons = {reason: sum(each["reason"] == reason for each in decisions) for reason in {each["reason"] for each in decisions}}
    statuses = {status: sum(each["status"] == status for each in outcomes) for status in {each["status"] for each in outcomes}}
    causes = [cause for each in decisions for cause in each["causes"]]
    kinds = [each["kind"] for each in decisions]
    fresh = sum(each["fresh"] for each in decisions)
    mib = [f"{quarter(each, 1):.1f} then {quarter(each, 3):.1f} MiB (most {max(each):.1f})" for each in zip(*memory, strict=True)]
    sent = sum(each["attempts"] for each in outcomes)
    return (
        f"{len(decisions)} decisions ({kinds.count('row')} rows, {fresh} fresh) {json.dumps(reasons)} {json.dumps(statuses)}, "
        f"causes {sorted(set(causes))}, {sent} PUTs sent, {met_failures()} readings repeated, memory {', '.join(mib)}"
    )
