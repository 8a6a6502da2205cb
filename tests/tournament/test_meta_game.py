"""Agents as strategies of a game: payoffs from pairs, ratings that copies do not move, and what is shown of them."""

from __future__ import annotations

import io
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gridpilot.errors import TournamentError
from gridpilot.setup import load_preset
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.leaderboard import render, to_json
from gridpilot.tournament.meta_game import MetaGame, meta_game, payoffs_by_episode
from gridpilot.tournament.play import play_chunk
from gridpilot.tournament.plots import response_graph
from gridpilot.tournament.schedule import pair_seat, schedule
from gridpilot.tournament.statistics import rank

AGENTS = ["truthful", "zero_intelligence", "threshold"]
EPISODES = range(9)


def game_rows(table: np.ndarray, noise: float, episodes: int = 12) -> pd.DataFrame:
    """Rows of a game whose payoffs are known: of 4 seats, with a world and seats that move all profits alike."""
    names = ["truthful", "zero_intelligence", *(f"s{k}" for k in range(len(table) - 2))]
    generator, rows = np.random.default_rng(5), []
    for match in schedule(names, 4, range(episodes), ["mixed", "pairs"]):
        world = 100.0 * np.random.default_rng(match.episode).standard_normal()
        for seat, agent in enumerate(match.seats):
            other = next((name for place, name in enumerate(match.seats) if place != seat), agent)
            profit = table[names.index(agent), names.index(other)] + 5.0 * seat + world + noise * generator.standard_normal()
            role = {"truthful": "reference", "zero_intelligence": "baseline"}.get(agent, "ranked")
            key = (match.episode, match.lineup, match.rotation, seat, agent, role)
            rows.append((*key, profit, 0.0, 288))
    columns = ["episode", "lineup", "rotation", "seat", "agent", "role", "profit", "regret", "ticks"]
    return pd.DataFrame(rows, columns=columns)


def solved(table: np.ndarray, noise: float = 0.0) -> tuple[MetaGame, dict[str, int]]:
    game = meta_game(game_rows(table, noise))
    assert game is not None
    return game, {strategy.agent: k for k, strategy in enumerate(game.strategies)}


def test_payoffs_are_those_of_the_game() -> None:
    table = np.array([[0.0, 40.0, 10.0], [-20.0, 5.0, -8.0], [12.0, 60.0, 3.0]])
    rows = game_rows(table, 0.0)
    agents, payoff = payoffs_by_episode(rows)
    order = [["truthful", "zero_intelligence", "s0"].index(agent) for agent in agents]
    centred = payoff - payoff[:, :1, :1]
    assert centred == pytest.approx(np.broadcast_to(table[np.ix_(order, order)] - table[order[0], order[0]], centred.shape))


def test_the_prisoners_dilemma_and_rock_paper_scissors() -> None:
    game, at = solved(np.array([[3.0, 0.0], [5.0, 1.0]]))  # truthful co-operates
    defect, cooperate = (game.strategies[at[name]] for name in ("zero_intelligence", "truthful"))
    assert (defect.rating.value, cooperate.rating.value) == pytest.approx((0.0, -1.0), abs=1e-9)
    assert (defect.equilibrium, defect.best, defect.support) == (1.0, 1.0, 1.0)
    assert (cooperate.best_response, defect.best_response) == ("zero_intelligence", "zero_intelligence")
    assert defect.alpha_rank > 0.99
    game, _ = solved(np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]))
    assert [strategy.rating.value for strategy in game.strategies] == pytest.approx([0.0] * 3, abs=1e-8)
    assert [strategy.equilibrium for strategy in game.strategies] == pytest.approx([1 / 3] * 3)


def test_intervals_hold_what_noise_leaves_open() -> None:
    game, at = solved(np.array([[3.0, 0.0], [5.0, 1.0]]), noise=0.5)
    rating = game.strategies[at["truthful"]].rating
    assert rating.low is not None
    assert rating.high is not None
    assert rating.low < -1.0 < rating.high <= 0.0
    few = meta_game(game_rows(np.eye(2), 0.1, episodes=3))
    assert few is not None
    assert few.draws == 0
    assert few.strategies[0].rating.low is None
    assert few.strategies[0].best is None


@pytest.fixture(scope="module")
def played() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A day of three agents, and of the same with a copy of one of them."""
    agents = {name: {"target": name, "params": {}} for name in AGENTS}
    market, prices = {**load_preset("market", "default"), "mechanism": "uniform"}, load_preset("prices", "ercot")
    found = []
    for copies in ({}, {"copy": {"target": "threshold", "params": {}}}):
        spec = TournamentSpec(market, prices, agents | copies, 3, 36, 24, 1.0)
        found.append(play_chunk(spec, schedule([*agents, *copies], 10, EPISODES, ["mixed", "pairs"])))
    return found[0], found[1]


def test_the_seat_of_a_pair(played: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows = played[0]
    pairs = rows[rows["lineup"] == "pairs"]
    assert len(pairs) == len(EPISODES) * 6 * 10
    assert len({pair_seat(episode, 10) for episode in EPISODES}) > 3
    agents, payoff = payoffs_by_episode(rows)
    for (s, agent), (t, other) in itertools.permutations(enumerate(agents), 2):
        alike = rows[(rows["lineup"] == "self") & (rows["agent"] == other)]
        for e, episode in enumerate(EPISODES):
            seat = pair_seat(episode, 10)
            here = pairs[(pairs["episode"] == episode) & (pairs["seat"] == seat) & (pairs["agent"] == agent)]
            rival = pairs[(pairs["episode"] == episode) & (pairs["seat"] != seat) & (pairs["agent"] == other)]["rotation"]
            alone = here[here["rotation"].isin(rival)]["profit"].item()
            day = alike[alike["episode"] == episode].set_index("seat")["profit"]
            assert payoff[e, s, t] == pytest.approx((day.mean() + alone - day[seat]) * 288 / 36)


def test_a_copy_moves_no_rating(played: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    without, with_copy = (meta_game(rows) for rows in played)
    assert without is not None
    assert with_copy is not None
    before = {strategy.agent: strategy.rating for strategy in without.strategies}
    after = {strategy.agent: strategy.rating for strategy in with_copy.strategies}
    for agent, rating in before.items():
        assert after[agent].value == pytest.approx(rating.value, abs=1e-9 * 1000.0)
        assert after[agent].low == pytest.approx(rating.low, abs=1e-6)
    assert after["copy"].value == pytest.approx(after["threshold"].value, abs=1e-6)


def test_what_is_shown(played: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    board = rank(played[1])
    content = json.loads(to_json(board))
    assert {one["agent"] for one in content["game"]["strategies"]} == {*AGENTS, "copy"}
    console = Console(width=80, file=io.StringIO())
    console.print(render(board, width=80))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    assert "bootstrap draws" in " ".join(text.split())
    assert "…" not in text
    assert rank(played[1][played[1]["lineup"] == "mixed"]).game is None


def test_the_picture_of_best_responses() -> None:
    drawn = response_graph(["a", "<b>"], [1, 1], ["", "97 %"])
    assert "<b>" not in drawn
    assert drawn.count("<line") == 1
    assert 'aria-label="best response to a: &lt;b&gt;; best response to &lt;b&gt;: &lt;b&gt;"' in drawn


def test_pairs_need_others() -> None:
    with pytest.raises(TournamentError, match="pairs need others to play among, and the market has 1 seats"):
        schedule(AGENTS, 1, [0], ["mixed", "pairs"])
