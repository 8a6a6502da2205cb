"""The same agent, seed and rows through every venue: byte-identical bids, machine counts and journal decisions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from gridpilot import presets
from gridpilot.agents.seating import AgentSpec
from gridpilot.live.api import INVENTORIES, PriceRow
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import ManualClock
from gridpilot.live.journal import Journal
from gridpilot.live.mara_venue import MaraVenue
from gridpilot.live.replay_venue import ReplayVenue, SimulatedVenue
from gridpilot.live.replica import replay
from gridpilot.live.stand_in.app import create_app
from gridpilot.live.stand_in.faults import Faults
from gridpilot.live.stand_in.options import StandInOptions
from gridpilot.live.venue import Venue
from tests.live.loops import Seen, engine, quick, run
from tests.live.worlds import walk


def stand_in(rows: list[PriceRow], inventory: str, *, history: int = 1, faults: Faults | None = None, **timing: Any) -> MaraVenue:
    """The MARA venue on a stand-in in the same process, on the same clock."""
    timing = {"poll": 30.0, "poll_early": 240.0, **timing}
    clock = ManualClock(rows[history - 1].at)
    app = create_app(StandInOptions(inventory=inventory, history=history, keep_rows=600), rows, clock, faults)  # type: ignore[arg-type]
    key = app.state.stand_in.sites.register("parity").key
    client = MaraClient(
        "http://127.0.0.1:1",
        [SecretStr(key)],
        timing=quick(**timing),
        clock=clock,
        requests_per_tick=400,
        transport=httpx2.ASGITransport(app),
    )
    return MaraVenue(client, 1, clock=clock, timing=quick(**timing), power_w=None)


VENUES: dict[str, Callable[[list[PriceRow], str], Venue]] = {
    "simulated": lambda rows, inventory: SimulatedVenue(lambda n: walk(n, seed=11), INVENTORIES[inventory], 1_000_000),  # type: ignore[index]
    "replay": lambda rows, inventory: ReplayVenue(rows, INVENTORIES[inventory], 1_000_000),  # type: ignore[index]
    "mara": stand_in,
}
AGENTS = [  # a whole day of the agent that plans, a few hours of the others
    ("documented", "mpc", {}, 288),
    ("documented", "truthful", {}, 72),
    ("live", "mpc", {"planner": "linear"}, 72),
    ("documented", "zero_intelligence", {}, 72),
]


def test_every_registered_venue_is_here() -> None:
    assert set(VENUES) == set(presets.names("venue"))


@pytest.mark.parametrize(("inventory", "agent", "params", "ticks"), AGENTS)
def test_every_venue_decides_the_same_to_the_byte(
    inventory: str, agent: str, params: dict[str, Any], ticks: int, tmp_path: Path
) -> None:
    rows = walk(ticks + 5, seed=11)
    decided: dict[str, list[str]] = {}
    commanded: dict[str, list[str]] = {}
    for name, build in VENUES.items():
        watch, records = run(
            build(rows, inventory), tmp_path / f"{name}.db", agents=(AgentSpec(agent, params),), rows=ticks, seed=3, twin=False
        )
        assert [report.status for report in watch.reports] == ["applied"] * ticks
        decided[name] = [json.dumps(record.body, sort_keys=True) for record in records if record.kind == "decision"]
        commanded[name] = [json.dumps(record.body, sort_keys=True) for record in records if record.kind == "intent"]
    assert len(decided["mara"]) == ticks
    for name in VENUES:
        assert decided[name] == decided["mara"], name
        assert commanded[name] == commanded["mara"], name
    # And once more from a journal's own rows, as gridpilot live live=replay live.file=JOURNAL does, and by the replica.
    with Journal(tmp_path / "mara.db", read_only=True) as journal:
        drift = replay(journal)
        assert (drift.decisions, drift.different) == (ticks, 0)


def test_rows_of_a_journal_replay_to_the_same_decisions(tmp_path: Path) -> None:
    from gridpilot.live.recovery import recover

    rows = walk(60, seed=2)
    _, live = run(stand_in(rows, "documented"), tmp_path / "live.db", rows=50)
    with Journal(tmp_path / "live.db", read_only=True) as journal:
        again = recover(journal, 10**6).rows
    _, replayed = run(ReplayVenue(again, INVENTORIES["documented"], 1_000_000), tmp_path / "again.db", rows=50)
    assert [r.body for r in live if r.kind == "decision"] == [r.body for r in replayed if r.kind == "decision"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirty_days_with_five_percent_of_calls_failing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = 30
    rows = walk(days * 288 + 2, seed=5)
    # Faults that take time take real time: 50 ms at the most.
    faults = Faults.random(0.05, seed=1, slow_s=0.05, retry_after=0.01)
    venue = stand_in(rows, "documented", faults=faults, timeout=0.05, longest_wait=0.005, backoff=0.0005)
    with Journal(tmp_path / "j.db") as journal:
        loop, watch = engine(venue, journal, rows=days * 288, twin=False)
        loop.run()
        calls = _calls(watch)
        venue.close()
        last = watch.reports[-1]
        with capsys.disabled():
            print(f"\n{days} days: {last.fresh} of {last.ticks} ticks fresh, {100.0 * last.fresh / last.ticks:.3f} %; {calls}")
        assert last.ticks >= days * 288
        assert last.fresh / last.ticks >= 0.999
        assert journal.verify().problem is None
        assert max(report.power_w for report in watch.reports) <= 1_000_000


def _calls(watch: Seen) -> str:
    attempts = sum(report.attempts for report in watch.reports)
    statuses = {
        status: sum(report.status == status for report in watch.reports) for status in ("applied", "unknown", "abandoned", "held")
    }
    return f"{attempts} PUTs, {statuses}"
