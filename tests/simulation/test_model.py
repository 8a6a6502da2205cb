"""The mesa model is the tournament's market to the digit; sites go bankrupt, enter and imitate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gridpilot.configuration import composed
from gridpilot.errors import ConfigError
from gridpilot.simulation.model import MarketModel
from gridpilot.tournament.config import TournamentSpec, agent_specs
from gridpilot.tournament.play import play_chunk
from gridpilot.tournament.schedule import Match

AGENTS = ("truthful", "threshold", "mpc", "zero_intelligence")
TICKS = 36


def model(**changes: Any) -> MarketModel:
    return MarketModel(AGENTS, **{"ticks": TICKS, "history": TICKS, **changes})


def test_a_run_is_the_match_of_a_tournament_to_the_digit() -> None:
    market = model(seed=3, first_episode=1_000_000)
    market.run_days(2)
    sites = market.site_frame()
    config = composed("tournament", ["market.mechanism=vcg"])
    spec = TournamentSpec(config["market"], config["prices"], agent_specs(AGENTS), 3, TICKS, TICKS, 30.0)
    seats = tuple(sites.loc[sites["day"] == 0, "strategy"])
    for day in (0, 1):
        rows = play_chunk(spec, [Match(1_000_000 + day, "mixed", 0, seats)])
        assert sites.loc[sites["day"] == day, "profit"].tolist() == rows["profit"].tolist()
    ticks = market.market_frame()
    assert len(ticks) == 2 * TICKS
    assert ticks["day"].tolist() == [0] * TICKS + [1] * TICKS
    assert ticks["tick"].tolist() == list(range(TICKS)) * 2


def test_cash_is_what_was_earned_less_the_cost_of_the_days() -> None:
    market = model(budget=100.0, daily_cost=7.0)
    market.run_days(3)
    sites = market.site_frame()
    earned = sites.groupby("seat")["profit"].sum() - 3 * 7.0 + 100.0
    np.testing.assert_allclose([site.cash for site in market.sites], earned, rtol=1e-12)


def test_who_has_no_cash_left_is_gone_and_another_enters() -> None:
    market = model(budget=1.0, daily_cost=1e6, entry_days=2)
    market.run_days(1)
    assert not any(site.active for site in market.sites)
    market.run_days(1)
    nobody = market.site_frame().query("day == 1")
    assert (nobody["profit"] == 0.0).all()
    assert (market.market_frame().query("day == 1")["volume_kw"] == 0.0).all()
    market.run_days(1)
    assert all(site.active and site.cash == 1.0 for site in market.sites)


def test_without_entry_a_site_stays_empty() -> None:
    market = model(budget=1.0, daily_cost=1e6)
    market.run_days(3)
    assert not any(site.active for site in market.sites)


def test_what_earns_more_is_copied() -> None:
    market = model(lineup=["mpc"] * 5 + ["zero_intelligence"] * 5, imitation=1.0, intensity=10.0)
    market.run_days(1)
    before = market.site_frame()
    best = before.sort_values("profit")["seat"].iloc[-1]
    assert market.sites[best].strategy == before.set_index("seat")["strategy"][best]  # nobody earns more than it
    assert [site.strategy for site in market.sites] != before["strategy"].tolist()


def test_equal_seeds_are_equal_runs() -> None:
    frames = []
    for _ in range(2):
        market = model(imitation=0.5, mutation=0.2, seed=5)
        market.run_days(3)
        frames.append(market.site_frame())
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"imitation": 1.5}, "imitation is 1.5"),
        ({"mutation": float("nan")}, "mutation is nan"),
        ({"daily_cost": float("inf")}, "daily_cost is inf"),
        ({"lineup": ["mpc"]}, "expected 10 of"),
        ({"lineup": ["nobody"] * 10}, "expected 10 of"),
    ],
)
def test_what_no_model_can_be_made_of(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        model(**changes)
