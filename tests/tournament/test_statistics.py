from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from gridpilot.errors import TournamentError
from gridpilot.tournament import statistics
from gridpilot.tournament.config import TournamentSpec
from tests.tournament.synthetic import N_SEATS, play, schedule, spec

AGENTS = ["truthful", "threshold", "twin", "zero_intelligence"]


def rows_of(episodes: int, agents: list[str] | None = None, **changes: object) -> pd.DataFrame:
    agents = agents or AGENTS
    world: TournamentSpec = spec(**changes)
    return play(world, schedule(agents, N_SEATS, range(episodes)))


def test_known_differences_are_found() -> None:
    board = statistics.rank(rows_of(40))
    by_name = {agent.agent: agent for agent in board.agents}
    assert [agent.agent for agent in board.agents] == ["threshold", "twin", "truthful", "zero_intelligence"]
    assert [agent.rank for agent in board.agents] == [1, 1, 3, 4]
    assert [agent.baseline for agent in board.agents] == [False, False, True, True]
    assert {agent.agent for agent in board.agents if agent.in_winner_set} == {"threshold", "twin"}
    pairs = {(pair.agent, pair.other): pair for pair in board.pairs}
    better = pairs["threshold", "truthful"]
    assert better.difference.low < 18.0 < better.difference.high
    # Worlds differ by sd 100, the difference's noise by sd 10 sqrt(2) a seat: pairing keeps only the latter.
    standard_error = 10.0 * np.sqrt(2.0 / N_SEATS / 40)
    assert better.difference.high - better.difference.low == pytest.approx(2 * 1.96 * standard_error, rel=0.35)
    assert better.p_holm == pytest.approx(6 * 1e-4)
    twins = pairs["threshold", "twin"]
    assert (twins.difference.value, twins.difference.low, twins.difference.high, twins.p_holm) == (0.0, 0.0, 0.0, 1.0)
    profit = by_name["truthful"].profit
    assert profit.high - profit.low > 5 * (better.difference.high - better.difference.low)
    assert by_name["truthful"].gain_percent == by_name["truthful"].gain == statistics.Estimate(0.0, 0.0, 0.0)
    assert by_name["threshold"].gain == better.difference
    gain = by_name["threshold"].gain_percent
    assert gain.value == pytest.approx(100.0 * better.difference.value / profit.value)
    assert gain.low < gain.value < gain.high
    alone = by_name["threshold"].alone_percent
    assert alone.value == pytest.approx(gain.value)  # profits of this world do not depend on the others
    assert by_name["zero_intelligence"].failures == 2 * N_SEATS * 40
    assert by_name["zero_intelligence"].first_error.startswith("ValueError")


def test_profit_is_per_site_and_day() -> None:
    day, half = statistics.scores(rows_of(7)), statistics.scores(rows_of(7, ticks=144))
    np.testing.assert_allclose(day.to_numpy(), half.to_numpy(), rtol=1e-12)
    assert list(day.columns) == sorted(AGENTS)
    rows = rows_of(7)
    by_hand = rows[(rows.lineup == "mixed") & (rows.agent == "twin") & (rows.episode == 4)]["profit"].mean()
    assert day.loc[4, "twin"] == pytest.approx(by_hand)


def test_two_episodes_say_nothing_for_certain() -> None:
    board = statistics.rank(rows_of(2))
    assert board.episodes == 2
    for agent in board.agents:
        assert agent.in_winner_set is None
        assert agent.profit.value is not None
        assert agent.profit.low is agent.profit.high is None
    assert min(pair.p_value for pair in board.pairs) == 0.5


def test_one_episode_and_baselines_only() -> None:
    board = statistics.rank(rows_of(1, ["truthful", "zero_intelligence"]))
    assert [agent.agent for agent in board.agents] == ["truthful", "zero_intelligence"]
    assert board.pairs[0].p_value == 1.0


def test_constant_profits_are_no_trouble() -> None:
    rows = rows_of(8).assign(profit=7.0)
    board = statistics.rank(rows)
    assert all(agent.in_winner_set and agent.rank == 1 for agent in board.agents)
    assert all(agent.profit == statistics.Estimate(7.0, 7.0, 7.0) for agent in board.agents)
    shifted = rows.assign(profit=rows.agent.map({"truthful": 7.0, "threshold": 8.0, "twin": 8.0, "zero_intelligence": 0.0}))
    board = statistics.rank(shifted)
    assert {agent.agent for agent in board.agents if agent.in_winner_set} == {"threshold", "twin"}


def test_nothing_earned_leaves_percentages_open() -> None:
    board = statistics.rank(rows_of(8).assign(profit=0.0))
    assert all(agent.gain_percent.value is None and agent.alone_percent.value is None for agent in board.agents)
    assert all(agent.gain == statistics.Estimate(0.0, 0.0, 0.0) for agent in board.agents)


@pytest.mark.parametrize("episodes", [2, 8])
def test_a_percentage_of_a_loss_is_not_told(episodes: int) -> None:
    agents = ["truthful", "threshold", "zero_intelligence", "foresight"]
    rows = play(spec(), schedule(agents, N_SEATS, range(episodes)))
    board = statistics.rank(rows.assign(profit=rows.profit - 2000.0))
    for agent in board.agents:
        assert (agent.gain_percent.value, agent.gain_percent.reason) == (None, "no_base")
        assert agent.gain.value is not None
        assert agent.capture_percent.value is None  # bidding as the reference does earns nothing, with foresight or without
        if agent.agent != "truthful":
            assert (agent.alone_percent.reason, agent.capture_percent.reason) == ("no_base", "no_bound")
            assert agent.alone_gain.value is not None
    of_sites = {market.agent: market.figures["sites_profit"] for market in board.markets if market.lineup == "self"}
    assert of_sites["threshold"].change_percent.reason == "no_base"
    assert of_sites["threshold"].change.value == pytest.approx(4 * 18.0, abs=4 * 15.0)


def test_foresight_that_is_beaten_bounds_nothing() -> None:
    agents = ["truthful", "threshold", "zero_intelligence", "foresight"]
    rows = play(spec(), schedule(agents, N_SEATS, range(20)))
    better = rows.assign(profit=rows.profit + 100.0 * (rows.agent == "threshold"))
    captures = {agent.agent: agent.capture_percent for agent in statistics.rank(better).agents}
    assert {label: capture.reason for label, capture in captures.items()} == {
        "threshold": "no_bound",
        "zero_intelligence": "no_bound",
        "truthful": "not_played",
    }
    useless = rows.assign(profit=rows.profit - 36.0 * (rows.agent == "foresight"))
    assert all(agent.capture_percent.value is None for agent in statistics.rank(useless).agents)


def test_a_profit_that_is_not_a_number_is_refused() -> None:
    rows = rows_of(8)
    rows.loc[(rows.agent == "twin") & (rows.episode == 3) & (rows.seat == 2), "profit"] = np.nan
    with pytest.raises(TournamentError, match="the profit of twin at seat 2 in episode 3 is nan, expected a finite number"):
        statistics.rank(rows)


def test_what_one_agent_did_not_play_takes_nothing_from_others() -> None:
    rows = rows_of(9, [*AGENTS, "foresight"])
    whole = {agent.agent: agent for agent in statistics.rank(rows).agents}
    # Of threshold's matches alone one is missing, and in another nothing was sold.
    first = (rows.lineup == "alone") & (rows.episode == 0) & (rows.rotation == 0)
    assert (rows[first].agent == "threshold").any()
    rows.loc[(rows.episode == 1) & (rows.lineup == "self"), ["market_volume_kwh", "market_mean_price"]] = (0.0, np.nan)
    cut = {agent.agent: agent for agent in statistics.rank(rows[~first]).agents}
    assert cut["threshold"].alone_percent != whole["threshold"].alone_percent
    assert cut["threshold"].alone_percent.low is not None  # of the eight that are left
    for label in ("twin", "zero_intelligence", "truthful"):
        assert dataclasses.replace(cut[label], decisions=0) == dataclasses.replace(whole[label], decisions=0)


def test_unfinished_episodes_are_left_out() -> None:
    rows = rows_of(8)
    board = statistics.rank(rows[~((rows.episode == 7) & (rows.rotation == 1))])
    assert board.episodes == 7
    with pytest.raises(TournamentError, match="no episode of the mixed line-up is complete"):
        statistics.rank(rows[rows.lineup != "mixed"])
    with pytest.raises(TournamentError, match="reference agent 'truthful' has no rows"):
        statistics.rank(rows[rows.agent != "truthful"])


def test_ranking_ignores_the_order_of_rows() -> None:
    rows = rows_of(8)
    shuffled = rows.sample(frac=1.0, random_state=5)
    profit = {agent.agent: agent.profit.value for agent in statistics.rank(shuffled).agents}
    assert profit == pytest.approx({agent.agent: agent.profit.value for agent in statistics.rank(rows).agents})


def test_risk_measures_by_hand() -> None:
    x = np.arange(1.0, 41.0)
    assert statistics.conditional_value_at_risk(x) == 1.5  # the worst 2 of 40
    assert statistics.conditional_value_at_risk(np.arange(1.0, 31.0)) == pytest.approx((1.0 + 0.5 * 2.0) / 1.5)
    assert statistics.conditional_value_at_risk(np.array([3.0, 1.0])) == 1.0
    assert statistics.interquartile_mean(np.array([0.0, 1.0, 2.0, 3.0, 100.0])) == pytest.approx((0.75 * 1 + 2 + 0.75 * 3) / 2.5)


def test_markets() -> None:
    board = statistics.rank(rows_of(6))
    by_name = {(market.lineup, market.agent): market for market in board.markets}
    assert list(by_name)[:5] == [("mixed", None), *(("self", agent) for agent in AGENTS)]
    assert len(by_name) == 8
    everyone = by_name["self", "threshold"]
    assert everyone.welfare == pytest.approx(2000.0 + 4 * 18.0)
    assert everyone.welfare_percent == pytest.approx(100.0 * 72.0 / 2000.0)
    assert by_name["alone", "threshold"].welfare == pytest.approx(2018.0)
    assert (everyone.scarce_share, everyone.mean_price, everyone.volume_kwh) == (0.25, pytest.approx(0.05), 4000.0)
    assert everyone.sites_profit == pytest.approx(by_name["self", "truthful"].sites_profit + 4 * 18.0, abs=4 * 15.0)
    unsold = rows_of(1).assign(market_volume_kwh=0.0, market_mean_price=np.nan)
    assert statistics.rank(unsold).markets[0].mean_price is None


def test_market_figures_are_paired_by_episode() -> None:
    rows = rows_of(12)
    board = statistics.rank(rows.sample(frac=1.0, random_state=3))
    by_name = {(market.lineup, market.agent): market for market in board.markets}
    everywhere = rows[rows.lineup == "self"]
    profit = {agent: group.groupby("episode").profit.sum() for agent, group in everywhere.groupby("agent")}
    found = by_name["self", "threshold"].figures["sites_profit"]
    change = profit["threshold"] - profit["truthful"]
    half = float(t.ppf(0.975, 11)) * change.std() / np.sqrt(12)
    assert found.level.value == by_name["self", "threshold"].sites_profit == pytest.approx(profit["threshold"].mean())
    assert (found.change.low, found.change.high) == pytest.approx((change.mean() - half, change.mean() + half))
    assert found.change_percent.value == pytest.approx(100.0 * change.mean() / profit["truthful"].mean())
    assert found.change_percent.low < found.change_percent.value < found.change_percent.high
    assert found.level.high - found.level.low > 3.0 * (found.change.high - found.change.low)  # days differ more than agents
    alone = by_name["alone", "threshold"].figures["sites_profit"].change  # a quarter of the seats, each once an episode
    assert alone.value == pytest.approx(change.mean() / 4)
    constant = by_name["self", "threshold"].figures["revenue"]
    assert (constant.level, constant.change.value) == (statistics.Estimate(380.0, 380.0, 380.0), 0.0)


def test_capture_is_the_share_of_what_the_yardstick_gains_alone() -> None:
    agents = ["truthful", "threshold", "zero_intelligence", "foresight"]
    rows = play(spec(), schedule(agents, N_SEATS, range(40)))
    by_name = {agent.agent: agent for agent in statistics.rank(rows).agents}
    assert "foresight" not in by_name  # it is a measure, and not measured
    capture = by_name["threshold"].capture_percent
    assert capture.value == pytest.approx(50.0, abs=15.0)  # 18 of 36, and noise
    assert capture.low is not None
    assert capture.high is not None
    assert capture.low < 50.0 < capture.high
    gains = {name: statistics.alone_gains(rows, name) for name in ("threshold", "foresight")}
    won = {name: (gain[:, 0] - gain[:, 1]).mean() for name, gain in gains.items()}
    assert capture.value == pytest.approx(100.0 * won["threshold"] / won["foresight"])
    assert by_name["zero_intelligence"].capture_percent.value == pytest.approx(-333.0, abs=40.0)


def test_without_the_yardstick_there_is_no_capture() -> None:
    board = statistics.rank(play(spec(), schedule(["truthful", "threshold", "zero_intelligence"], N_SEATS, range(8))))
    assert all(agent.capture_percent.value is None for agent in board.agents)


@pytest.mark.slow
def test_ranking_takes_as_long_as_some_groupbys() -> None:
    few = rows_of(20, [*AGENTS, "foresight"])
    rows = pd.concat([few.assign(episode=few.episode + 20 * k) for k in range(50)], ignore_index=True)

    def seconds(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(5):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
        return min(taken)

    grouping = seconds(lambda: rows.groupby(["episode", "lineup", "agent"])["profit"].mean())
    assert seconds(lambda: statistics.rank(rows)) < 40.0 * grouping  # of 1000 episodes; measured 12 to 19
