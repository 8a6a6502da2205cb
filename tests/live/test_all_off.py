"""Whatever else fails: a halt is carried out, and an engine that cannot go on leaves the site off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gridpilot.agents.base import Agent
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import LiveError
from gridpilot.live.halt_command import _outcome
from gridpilot.live.journal import Journal
from gridpilot.live.status import power_of
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation
from tests.live.loops import TiedClock, engine, mara, quick, run
from tests.live.other_server import OtherServer

OFF = (0, 0, 0, 0, 0)
BUSY = (0, 100, 0, 0, 0)


def halted(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([("halt", {"why": "smoke"})], at=datetime.now(UTC))


@pytest.mark.parametrize("endpoint", ["GET /inventory", "GET /sites", "GET /prices", "GET /machines"])
def test_a_halt_needs_nothing_but_what_switching_off_needs(tmp_path: Path, endpoint: str) -> None:
    path = tmp_path / "j.db"
    halted(path)
    with OtherServer(rows=3) as server:
        key = server.key()
        server.interfere(key, BUSY)
        server.script(endpoint, *["500"] * 5000)
        with pytest.raises(LiveError, match="cannot start without"):
            run(mara(server, [key], TiedClock(server), timing=quick(tick=0.3, attempts=1)), path)
        assert server.machines(key) == OFF
    with Journal(path, read_only=True) as journal:
        assert _outcome(journal) == ("applied", "")
        assert power_of(journal) == 0


def test_without_a_halt_machines_of_an_earlier_run_are_left_to_an_engine_that_starts(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        server.interfere(key, BUSY)
        run(mara(server, [key], TiedClock(server)), tmp_path / "j.db", rows=1)
        assert any(server.machines(key))
        assert all(any(counts) for _, counts in server.puts)


def test_no_power_is_waited_out_with_everything_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        server.interfere(key, BUSY)
        venue = mara(server, [key], TiedClock(server))
        read, asked = venue._read, 0

        def dark() -> Any:
            nonlocal asked
            asked += 1
            inventory, powers = read()
            assert asked == 1 or server.machines(key) == OFF or asked > 40
            return inventory, (0,) if asked <= 40 else powers

        monkeypatch.setattr(venue, "_read", dark)
        watch, records = run(venue, tmp_path / "j.db", rows=2)
    assert asked > 40
    assert [record.body["why"] for record in records if record.kind == "off"] == ["no power may be drawn"]
    assert [report.status for report in watch.reports] == ["applied", "applied"]


def test_an_engine_that_fails_leaves_nothing_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OtherServer(rows=3) as server, Journal(tmp_path / "j.db") as journal:
        key = server.key()
        venue = mara(server, [key], TiedClock(server))
        loop, _ = engine(venue, journal)
        turn, turns = loop._turn, 0

        def fails() -> None:
            nonlocal turns
            turns += 1
            turn()
            if turns == 5:
                assert any(server.machines(key))
                raise RuntimeError("a fault of the program")

        monkeypatch.setattr(loop, "_turn", fails)
        with pytest.raises(RuntimeError):
            loop.run()
        venue.close()
        assert server.machines(key) == OFF
        assert [record.kind for record in journal.records()][-2:] == ["off", "stop"]
        assert power_of(journal) == 0


def test_who_asks_an_engine_to_stop_finds_machines_as_they_were(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server, Journal(tmp_path / "j.db") as journal:
        key = server.key()
        venue = mara(server, [key], TiedClock(server))
        loop, watch = engine(venue, journal)
        watch.on_report = lambda report: loop.stop("asked")
        loop.run()
        venue.close()
        assert any(server.machines(key))


@pytest.mark.parametrize("hours", [-3.0, -0.5, 3.0])
def test_a_clock_that_jumps_leaves_nothing_running_unseen(tmp_path: Path, hours: float) -> None:
    with OtherServer(rows=30) as server, Journal(tmp_path / "j.db") as journal:
        key = server.key()
        clock = TiedClock(server)
        venue = mara(server, [key], clock)
        loop, watch = engine(venue, journal, rows=200)
        jumped = [0]

        def jump(report: Any) -> None:
            if len(watch.reports) == 5:
                clock.at += timedelta(hours=hours)
                jumped[0] = server.newest()
            if server.newest() > jumped[0] + 12 > 12:
                loop.stop("seen enough")

        watch.on_report = jump
        loop.run()
        venue.close()
        after = watch.reports[5:]
    assert len(after) >= 3, "it went on deciding"
    fresh = [report for report in after if report.reason == "agent" and report.status == "applied"]
    assert server.machines(key) == OFF or len(fresh) > 8


def test_rows_ahead_of_this_machines_clock_are_no_start(tmp_path: Path) -> None:
    with OtherServer(rows=60) as server:
        key = server.key()
        server.interfere(key, BUSY)
        clock = TiedClock(server)
        clock.at -= timedelta(hours=3)
        with pytest.raises(LiveError, match=r"rows are ahead of this machine's clock.*set the clock that is wrong"):
            run(mara(server, [key], clock, timing=quick(start=1.0)), tmp_path / "j.db")
        assert server.machines(key) == OFF


class Sleeper(Agent):
    """Takes three ticks for its third answer, as a process that was stopped and continued does."""

    clock: Any = None
    asked = 0

    def bid(self, observation: Observation) -> Bid:
        Sleeper.asked += 1
        if Sleeper.asked == 3:
            Sleeper.clock.advance(3 * 300.0)
        return observation.truthful_bid()


def test_nothing_is_switched_on_by_a_row_that_is_over(tmp_path: Path) -> None:
    with OtherServer(rows=30) as server:
        key = server.key()
        Sleeper.clock, Sleeper.asked = TiedClock(server), 0
        spec = AgentSpec(f"{__name__}.Sleeper", {})
        watch, records = run(mara(server, [key], Sleeper.clock), tmp_path / "j.db", agents=[spec], rows=5, twin=False)
    late = [report for report in watch.reports if report.status == "abandoned"]
    assert len(late) == 1
    assert late[0].attempts == 0
    told = [record.body["message"] for record in records if record.kind == "outcome" and record.body["status"] == "abandoned"]
    assert told == ["prices were read too long ago, and are others by now"]


@pytest.mark.parametrize("power_w", [10**12 + 1, 10**15])
def test_a_power_beyond_plausibility_is_no_limit(tmp_path: Path, power_w: int) -> None:
    with OtherServer(rows=3, power_w=power_w) as server:
        key = server.key()
        server.interfere(key, BUSY)
        with pytest.raises(LiveError, match=r"the sites' power is .* W, expected at most 1e\+12: set live\.power_kw"):
            run(mara(server, [key], TiedClock(server)), tmp_path / "j.db")
        assert server.machines(key) == OFF
        run(mara(server, [key], TiedClock(server), power_w=1_000_000), tmp_path / "j.db", rows=1)
        assert 0 < server.power_w(server.machines(key)) <= 1_000_000
