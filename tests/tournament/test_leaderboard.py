from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from gridpilot.tournament.leaderboard import as_dict, money, percent, render, spread, to_json
from gridpilot.tournament.plots import axis_over, diverging_colour, interval_track
from gridpilot.tournament.statistics import Estimate, Leaderboard, rank
from tests.tournament.synthetic import N_SEATS, play, schedule, spec


def board(episodes: int, more: tuple[str, ...] = ()) -> Leaderboard:
    return rank(play(spec(), schedule(["truthful", "threshold", "zero_intelligence", *more], N_SEATS, range(episodes))))


def shown(episodes: int, width: int, more: tuple[str, ...] = ()) -> str:
    said = io.StringIO()
    Console(file=said, width=width).print(render(board(episodes, more), width=width, mechanism="vcg"))
    return said.getvalue()


@pytest.mark.parametrize("more", [(), ("foresight",)], ids=["", "with a yardstick"])
@pytest.mark.parametrize("width", [60, 80, 99, 100, 108, 130, 160])
def test_nothing_is_cut_off(width: int, more: tuple[str, ...]) -> None:
    text = shown(12, width, more)
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    leaderboard, _, market = text.partition("Market (vcg), a day")
    lines = [line for line in leaderboard.partition("─")[2].splitlines()[1:] if re.match(r" (★ |  )\d ", line)]
    assert [name in line for name, line in zip(("threshold", "truthful°", "zero_intelligence°"), lines, strict=True)] == [True] * 3
    assert lines[0].split()[0] == "★"
    assert "★" not in lines[1]
    shown_heads = {head: head in leaderboard.partition("─")[0] for head in ("truthful", "failed", "alone", "capture", "IQM")}
    needed = {"truthful": 60, "failed": 80, "alone": 80, "capture": 100 if more else 1000, "IQM": 160 if more else 130}
    for head, columns in needed.items():
        assert shown_heads[head] or width < columns
    assert ("capture" in leaderboard) <= bool(more)
    assert "[" in "".join(lines)
    assert all(head in market for head in ("welfare", "sites' profit"))
    assert ("[" in market) == (width >= 80)
    assert "zero_intelligence: 96 of 41,472 decisions failed (0 too late, 96 exceptions, 0 invalid bids); first:" in " ".join(
        text.split()
    )


def test_forty_columns_hold_whole_figures() -> None:
    text = shown(12, 40, ("foresight",))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 40
    threshold = next(line for line in text.splitlines() if "threshold" in line).split()
    assert [float(figure) for figure in threshold[3:]] == [pytest.approx(x, abs=25.0) for x in (555.0, 3.4)]
    assert not re.search(r"\d…", text)


def test_gains_over_a_loss_are_in_dollars() -> None:
    rows = play(spec(), schedule(["truthful", "threshold", "zero_intelligence", "foresight"], N_SEATS, range(12)))
    said = io.StringIO()
    Console(file=said, width=130).print(render(rank(rows.assign(profit=rows.profit - 1000.0)), width=130))
    lines = [" ".join(line.split()) for line in said.getvalue().splitlines()]
    assert "$ [95 %]" in " ".join(lines)
    gain = next(line for line in lines if "2 truthful°" not in line and "threshold" in line)
    assert re.search(r"threshold -\d+\.\d \[.*\] \+\d+\.\d \[\d+\.\d, \d+\.\d\] \+", gain)
    assert "capture" not in said.getvalue()


def test_the_mark_of_no_interval_is_explained() -> None:
    rows = play(spec(), schedule(["truthful", "threshold", "zero_intelligence", "foresight"], N_SEATS, range(12)))
    near = rank(rows.assign(profit=rows.profit + 15.0 * (rows.agent == "threshold")))
    said = io.StringIO()
    Console(file=said, width=100).print(render(near, width=100))
    assert re.search(r"\d\d‡", said.getvalue())
    assert "‡ days too unequal for an interval to hold" in said.getvalue()
    assert "‡" not in shown(12, 100, ("foresight",))
    capture = as_dict(near)["agents"][0]["capture_percent"]
    assert (capture["low"], capture["high"], capture["reason"]) == (None, None, "skewed")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_bids_earn_stands_beside_the_same_storage_rule(width: int) -> None:
    ranked = board(12, ("strategist", "oracle"))
    said = io.StringIO()
    Console(file=said, width=width).print(render(ranked, width=width))
    table = said.getvalue().partition("What bids earn")[2].partition("Market")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.split()[1:2] == ["threshold"]}
    assert list(rows) == ["strategist", "oracle"]
    assert rows["oracle"][1] == "–"  # a clairvoyant one is not ranked
    assert "[" in table
    strategist, oracle = ranked.bases
    mixed = {agent.agent: agent.profit.value or 0.0 for agent in ranked.agents}
    assert strategist.difference.value == pytest.approx(mixed["strategist"] - mixed["threshold"])
    assert strategist.difference.low is not None
    assert strategist.difference.low < 9.0 < (strategist.difference.high or 0.0)
    assert (oracle.difference.value, oracle.difference.reason) == (None, "not_played")
    assert oracle.alone.value == pytest.approx(12.0, abs=5.0)
    assert [one["base"] for one in as_dict(ranked)["bases"]] == ["threshold", "threshold"]
    assert board(3).bases == ()


def test_few_episodes_show_no_intervals() -> None:
    text = shown(2, 100)
    assert "2 episodes are too few to tell agents apart" in text
    assert "★" not in text
    assert "[" not in text


def test_json() -> None:
    content = json.loads(to_json(board(8), {"name": "x"}))
    assert content["name"] == "x"
    assert content["winner_set"] == ["threshold"]
    assert [agent["agent"] for agent in content["agents"]] == ["threshold", "truthful", "zero_intelligence"]
    assert {"gain", "gain_percent", "alone_gain", "alone_percent", "capture_percent"} < set(content["agents"][0])
    assert set(content["markets"][0]["figures"]) == {"welfare", "sites_profit", "revenue"}
    assert content["agents"][2]["failures"] == 2 * N_SEATS * 8
    assert set(content["pairs"][0]["difference"]) == {"value", "low", "high", "reason"}
    few = as_dict(board(2))
    assert few["winner_set"] is None
    assert few["agents"][0]["profit"]["low"] is None


def test_figures() -> None:
    assert [money(x) for x in (999.96, 12.34, 0.0, -1234.5)] == ["1,000", "12.3", "0.00", "-1,234"]
    assert [percent(x) for x in (0.5, 12.0, None)] == ["+0.50", "+12.0", "–"]
    assert spread(Estimate(3.0, 1.0, 5.0), percent) == "+3.0 [1.0, 5.0]"
    assert spread(Estimate(None), money) == "–"


def test_axis() -> None:
    axis = axis_over([1.0, None, 9.0, float("nan")], zero=True)
    assert (axis.zero, axis.ticks) == (True, (0.0, 2.0, 4.0, 6.0, 8.0))
    assert axis.at(-100.0) == "0.00%"
    assert axis_over([5.0]).low < 5.0 < axis_over([5.0]).high
    assert axis_over([]).high > axis_over([]).low
    assert "▶" in interval_track(axis, Estimate(50.0, 40.0, 60.0), "far")
    assert "◀" in interval_track(axis, Estimate(-50.0), "far")
    assert "<circle" not in interval_track(axis, Estimate(None), "none")
    assert "&lt;b&gt;" in interval_track(axis, Estimate(3.0), "<b>")


def test_colours_are_legible() -> None:
    for value, (background, text) in zip((-9.0, 0.0, 9.0), diverging_colour([-9.0, 0.0, 9.0]), strict=True):
        channels = [int(x) / 255 for x in background[4:-1].split(",")]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in channels]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        ink = 1.0 if text == "#fff" else 0.0056
        contrast = (max(luminance, ink) + 0.05) / (min(luminance, ink) + 0.05)
        assert contrast >= 4.5, (value, background, text)  # WCAG 2.1, 1.4.3


def test_a_yardstick_that_failed_is_told_though_it_is_not_ranked() -> None:
    rows = play(spec(), schedule(["truthful", "threshold", "zero_intelligence", "foresight"], N_SEATS, range(8)))
    assert rank(rows).unranked_failures == {}
    place = rows.index[rows["agent"] == "foresight"][0]
    rows.loc[place, "timeouts"] = rows["timeouts"].dtype.type(7)
    rows.loc[place, "first_error"] = "late"
    ranked = rank(rows)
    said = io.StringIO()
    Console(file=said, width=200).print(render(ranked, width=200))
    decisions = 288 * int((rows["agent"] == "foresight").sum())
    assert (
        f"foresight: 7 of {decisions:,} decisions failed (7 too late, 0 exceptions, 0 invalid bids); first: late" in said.getvalue()
    )
    assert as_dict(ranked)["unranked_failures"]["foresight"]["timeouts"] == 7
