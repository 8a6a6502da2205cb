"""A run's matches played again: bit for bit what was recorded, and what is not is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gridpilot.agents.seating import Seating
from gridpilot.market.physics import PROFIT, REVENUE
from gridpilot.market.units import DT
from gridpilot.tournament.replay import PlayedRun, differences, read_played_run, trace_matches
from gridpilot.tournament.result import run_tournament


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> PlayedRun:
    folder = tmp_path_factory.mktemp("replay") / "run"
    agents = ["truthful", "threshold", "zero_intelligence", "foresight", "best_response"]
    run_tournament(agents, episodes=2, ticks=36, history=24, mechanism="uniform", chunk=7, out=folder, quiet=True)
    return read_played_run(folder)


def test_every_match_comes_out_bit_for_bit_alone_and_in_company(run: PlayedRun) -> None:
    matches = run.matches()
    assert len(matches) == len(run.rows) / 10
    assert not run.changed
    together = trace_matches(run.spec, matches)
    assert differences(together.rows, run.stored(matches)) == []
    for match in matches[::17]:
        assert differences(trace_matches(run.spec, [match]).rows, run.stored([match])) == []


def test_one_bit_of_a_recorded_profit_is_noticed(run: PlayedRun) -> None:
    match = run.matches("mixed")[:1]
    recorded, trace = run.stored(match), trace_matches(run.spec, match)
    recorded.loc[3, "profit"] = np.nextafter(recorded.loc[3, "profit"], np.inf)
    (told,) = differences(trace.rows, recorded)
    assert "profit differs in 1 of 10 rows" in told
    assert "seat 3" in told


def test_a_trace_adds_up_to_its_rows(run: PlayedRun) -> None:
    trace = trace_matches(run.spec, run.matches("mixed")[:2])
    revenue = trace.outcome[..., REVENUE].sum(axis=0).ravel()
    assert revenue == pytest.approx(trace.rows["revenue"].to_numpy(), rel=1e-12)
    profit = trace.outcome[..., PROFIT].sum(axis=0) + trace.stored
    assert profit.ravel() == pytest.approx(trace.rows["profit"].to_numpy(), rel=1e-12)
    assert trace.gain.sum(axis=0).ravel() * DT == pytest.approx(trace.rows["regret"].to_numpy(), rel=1e-9, abs=1e-12)
    assert (trace.before[1:] == trace.price[:-1]).all()
    assert trace.bids[..., 0].min() >= 0.0


def test_a_change_of_orders_is_played(run: PlayedRun) -> None:
    match = run.matches("mixed")[:1]

    def silence(seating: Seating) -> None:
        if seating.arena.tick == 5:
            seating.arena.place(0, 2, None)

    changed, as_played = trace_matches(run.spec, match, silence), trace_matches(run.spec, match)
    assert (changed.bids[5, 0, 2] == 0.0).all()
    assert (as_played.bids[5, 0, 2] != 0.0).any()
    assert (changed.bids[:5] == as_played.bids[:5]).all()
    assert differences(changed.rows, run.stored(match))


def test_a_file_of_an_agent_that_was_edited_is_told() -> None:
    source = Path("edited_bidder.py")
    source.write_text("from gridpilot.agents.truthful import Truthful\n\n\nclass Mine(Truthful):\n    pass\n", encoding="utf-8")
    run_tournament(["edited_bidder.Mine"], episodes=1, ticks=12, history=12, lineups=["mixed"], out="run", quiet=True)
    assert read_played_run(Path("run")).changed == ()
    source.write_text(source.read_text(encoding="utf-8") + "\n# another\n", encoding="utf-8")
    (told,) = read_played_run(Path("run")).changed
    assert "agents.Mine.source (the file has changed since)" in told


def test_a_change_of_what_was_played_is_told(run: PlayedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridpilot.tournament.replay.code_hash", lambda: "0" * 64)
    assert read_played_run(Path(run.folder)).changed == ("the library's source has changed since",)
