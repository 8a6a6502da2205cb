"""Matches played again: bit for bit, with one change, taken apart, as a table and as a picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridpilot.cli import main
from gridpilot.errors import TournamentError
from gridpilot.insight.decomposition import agent_lead, lead_in_run, parts_of, seat_lead
from gridpilot.insight.opened import OpenedRun
from gridpilot.insight.replay import Change, Played, find_match, play, reclear
from gridpilot.insight.tick_table import tick_table
from gridpilot.market.physics import PAYMENT
from gridpilot.tournament.manifest import identity_of
from gridpilot.tournament.result import run_tournament
from gridpilot.tournament.runner import read_run, store_rows


@pytest.fixture(scope="module")
def episode(opened: OpenedRun) -> Played:
    """All mixed matches of an episode, with the agents' reasons."""
    matches = [match for match in opened.run.matches("mixed") if match.episode == 1_000_001]
    return play(opened.run, matches, reasons=True)


def test_a_dozen_random_matches_come_out_bit_for_bit(opened: OpenedRun) -> None:
    chosen = np.random.default_rng(0).choice(len(opened.matches), 12, replace=False)
    for i in chosen:
        played = play(opened.run, [opened.matches[i]])
        assert played.exact, played.differs


def test_one_changed_bit_of_a_recorded_profit_is_noticed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, rows = read_run(folder)
    copy = tmp_path / "run"
    (copy / "parts").mkdir(parents=True)
    (copy / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    at = rows.index[(rows["episode"] == 1_000_000) & (rows["lineup"] == "mixed") & (rows["rotation"] == 1)][4]
    rows.loc[at, "profit"] = np.nextafter(rows.loc[at, "profit"], np.inf)
    store_rows(copy / "parts" / "000000.parquet", rows, identity_of(manifest))
    assert main(["replay", str(copy), "--episode", "1000000", "--rotation", "1"]) == 1
    out, _ = capsys.readouterr()
    assert "profit differs in 1 of 10 rows" in out
    assert "bit for bit" not in out
    assert main(["replay", str(copy), "--episode", "1000000", "--rotation", "0"]) == 0
    assert "bit for bit as recorded" in capsys.readouterr().out


def test_what_if_under_uniform_price_is_a_run_played_so(opened: OpenedRun, tmp_path: Path) -> None:
    agents = list(opened.run.spec.agents)
    run_tournament(agents, episodes=2, ticks=48, history=24, chunk=100, mechanism="uniform", out=tmp_path / "uniform", quiet=True)
    other = OpenedRun(tmp_path / "uniform").run
    matches = [opened.match("1000001/mixed/2"), opened.match("1000000/self/1"), opened.match("1000000/alone/3")]
    rows = play(opened.run, matches, Change(mechanism="uniform")).trace.rows
    pd.testing.assert_frame_equal(rows, other.stored(matches), check_exact=True)


def test_same_bids_under_the_same_mechanism_cost_what_they_cost(episode: Played) -> None:
    paid = episode.trace.outcome[..., PAYMENT]
    assert reclear(episode, "vcg") == pytest.approx(paid, rel=1e-12, abs=1e-12)
    uniform, as_bid = (reclear(episode, name).sum() for name in ("uniform", "pay_as_bid"))
    assert paid.sum() < uniform < as_bid


def test_another_agent_in_a_seat_is_that_agent(opened: OpenedRun) -> None:
    match = opened.match("1000000/self/0")  # truthful in every seat
    assert set(match.seats) == {"truthful"}
    changed = play(opened.run, [match], Change(seat=3, agent="mpc"))
    alone = next(one for one in opened.matches if (one.episode, one.lineup) == (1_000_000, "alone") and one.seats[3] == "mpc")
    assert (changed.trace.rows["profit"].to_numpy() == opened.run.stored([alone])["profit"].to_numpy()).all()
    fresh = play(opened.run, [match], Change(seat=3, agent={"name": "threshold", "low": 0.3, "label": "low"}))
    assert fresh.trace.matches[0].seats[3] == "low"


def test_another_bid_is_cleared(opened: OpenedRun) -> None:
    match = opened.match("1000000/mixed/0")
    changed = play(opened.run, [match], Change(seat=2, tick=7, blocks=((40.0, 9.0),)))
    assert changed.trace.bids[7, 0, 2, 0].tolist() == [40.0, 9.0]
    silent = play(opened.run, [match], Change(seat=2, tick=7, blocks=()))
    assert (silent.trace.bids[7, 0, 2] == 0.0).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Change(seat=10, agent="mpc"), "seat is 10, expected 0 to 9"),
        (Change(agent="mpc"), "expected the seat whose it is"),
        (Change(seat=1, blocks=((1.0, 1.0),)), "belong together"),
    ],
)
def test_a_change_that_there_is_not_is_refused(change: Change, told: str, opened: OpenedRun) -> None:
    with pytest.raises(TournamentError, match=told):
        play(opened.run, [opened.matches[0]], change)


def test_a_match_that_there_is_not_is_refused(opened: OpenedRun) -> None:
    for arguments, told in [((3,), "episode 3"), ((1_000_000, "mixed", 9), "rotation 9"), ((1_000_000, "odd"), "line-up 'odd'")]:
        with pytest.raises(TournamentError, match=told):
            find_match(opened.run, *arguments)


def test_parts_sum_to_profits_and_leads_to_differences(episode: Played, opened: OpenedRun) -> None:
    assert episode.exact  # though every agent was asked for its reasons
    rows = episode.trace.rows
    assert parts_of(episode.trace).sum(axis=(0, 3)).ravel() == pytest.approx(rows["profit"].to_numpy(), abs=1e-9)
    profit = rows.groupby("agent")["profit"].mean()
    assert agent_lead(episode, "mpc", "threshold").sum() == pytest.approx(profit["mpc"] - profit["threshold"], abs=1e-9)
    assert agent_lead(episode, "mpc", "threshold").shape == (4, 4)  # hours, parts
    here = rows[rows["rotation"] == 0]["profit"].to_numpy()
    assert seat_lead(episode, 4, 7).sum() == pytest.approx(here[4] - here[7], abs=1e-9)
    for pair in opened.board.pairs:
        lead = lead_in_run(opened.run.rows, pair.agent, pair.other)
        assert sum(lead.values()) == pytest.approx(pair.difference.value, abs=1e-9)


def test_the_table_holds_every_tick_and_seat(episode: Played) -> None:
    table = tick_table(episode)
    assert len(table) == 5 * 48 * 10
    sums = table.groupby(["rotation", "seat"])[["revenue_dollars", "payment_dollars"]].sum().to_numpy()
    assert sums == pytest.approx(episode.trace.rows[["revenue", "payment"]].to_numpy(), rel=1e-9)
    assert table["regret_dollars_per_hour"].sum() == pytest.approx(table["nash_conv_dollars_per_hour"].sum() / 10)
    last = table[table["tick"] == 47].sort_values(["rotation", "seat"])["stored_after_kwh"].to_numpy()
    assert (last == episode.trace.storage[-1, ..., 0].ravel()).all()
    asked = [sum(kw) for kw in table["bid_blocks_kw"]]
    assert asked == pytest.approx(table["bid_kw"].to_list())
    one = table[(table["agent"] == "mpc") & (table["tick"] == 5)].iloc[0]
    said = json.loads(one["rationale"])
    low, high = said["full_battery_value_dollars_per_kwh"], said["empty_battery_value_dollars_per_kwh"]
    assert low <= one["storage_value_dollars_per_kwh"] <= high
    assert set(table.loc[table["rationale"] == "", "agent"]) == {"truthful", "zero_intelligence"}
    # Units stand in the names of all figures but numbers of things.
    plain = {"episode", "lineup", "rotation", "tick", "seat", "site", "agent", "bid_kind", "bid_refused", "rationale"}
    ends = ("_kw", "_kwh", "_c", "_dollars", "_per_kwh", "_per_hour", "_per_ph_hour", "_per_million")
    assert [name for name in table.columns if name not in plain and not name.endswith(ends)] == []


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["replay", *argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_prints_a_lead_and_writes_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, text, _ = call(capsys, str(folder), "--episode", "1000000")
    assert code == 0
    assert "episode 1000000, mixed, 5 matches: bit for bit as recorded" in text
    assert re.search(r"Lead of \w+ over \w+, a seat", text)
    assert max(map(len, text.splitlines()[:10])) <= 100
    code, text, _ = call(
        capsys, str(folder), "--episode", "1000000", "--rotation", "1", "--lead", "mpc", "threshold", "--out", str(out)
    )
    assert "Lead of mpc over threshold" in text
    assert len(pd.read_parquet(out / "ticks.parquet")) == 480
    assert (out / "day-1.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_answers_what_ifs_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = call(capsys, str(folder), "--episode", "1000000", "--rotation", "2", "--mechanism", "uniform", "--json")
    found = json.loads(text)
    assert (code, found["exact"], found["what_if"]["change"]) == (0, True, "mechanism uniform")
    assert sum(seat["otherwise_paid_dollars"] - seat["paid_dollars"] for seat in found["same_bids"]) > 0.0
    code, text, _ = call(
        capsys, str(folder), "--episode", "1000000", "--rotation", "2", "--seat", "3", "--tick", "4", "--bid", "100@0.2,50@0.1"
    )
    assert (code, "What if: seat 3 bids 2 blocks in tick 4" in text) == (0, True)
    code, text, _ = call(capsys, str(folder), "--episode", "1000000", "--rotation", "2", "--lead", "1", "3", "--json")
    hours = json.loads(text)["lead"]["hours"]
    assert json.loads(text)["lead"]["lead_dollars"] == pytest.approx(
        sum(value for hour in hours for name, value in hour.items() if name != "hour_number"), abs=1e-9
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--as", "mpc"], "without --seat"),
        (["--seat", "3"], "expected one of these"),
        (["--seat", "3", "--tick", "1", "--bid", "many"], "expected KW@PRICE"),
        (["--lead", "1", "99", "--rotation", "0"], "names seats"),
        (["--lead", "mpc", "nobody"], "'nobody' plays in none"),
        (["--lineup", "mixed", "--rotation", "77"], "no rotation 77"),
    ],
)
def test_options_that_do_not_go_together_end_in_one_line(
    options: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, str(folder), "--episode", "1000000", *options)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1
