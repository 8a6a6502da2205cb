"""The best-response bidder: it earns by the auction's rule, and bids the truth where that is best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gridpilot.agents.best_response import BestResponse
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.errors import AgentError
from gridpilot.market.clearing import Mechanism
from gridpilot.market.physics import PROFIT, WON
from gridpilot.presets import load_preset
from gridpilot.setup import load_setup

SEATS = (0, 3, 6, 9)
EPISODES = 4


def profits(agent: str, params: dict[str, Any], mechanism: Mechanism, delay: int | None = 1) -> Any:
    """$ a day of ``agent`` in each of SEATS, one at a time, among truthful rivals: ``(EPISODES, len(SEATS))``."""
    market = {**load_preset("market", "default"), "publication": {"curve_delay": delay}}
    setup = load_setup(market, mechanism=mechanism)
    episodes, seats = np.repeat(np.arange(500, 500 + EPISODES), len(SEATS)), list(SEATS) * EPISODES
    arena = setup.arena(len(seats))
    arena.start(setup.scenario(5, episodes))
    specs = {"one": AgentSpec(agent, params), "others": AgentSpec("truthful", {})}
    seating = Seating(arena, specs, [["one" if n == seat else "others" for n in range(arena.n_sites)] for seat in seats])
    seating.reset(5, episodes)
    total, won = np.zeros(len(seats)), np.zeros(len(seats))
    while not arena.done:
        seating.bid()
        arena.step()
        total += arena.outcome[np.arange(len(seats)), seats, PROFIT]
        won += arena.outcome[np.arange(len(seats)), seats, WON]
    assert not seating.failures.any(), seating.first_error
    assert (won > 0.0).all()
    return total.reshape(EPISODES, len(SEATS))


@pytest.mark.parametrize(("mechanism", "share"), [("uniform", 0.002), ("pay_as_bid", 0.5)])
def test_it_earns_more_than_the_truth(mechanism: Mechanism, share: float) -> None:
    told = profits("truthful", {}, mechanism)
    gain = (profits("best_response", {"storage": "none"}, mechanism) - told).mean(axis=1)
    assert gain.min() > 0.0
    assert gain.mean() > share * np.abs(told).mean()


def test_under_vcg_it_is_the_truth() -> None:
    assert np.array_equal(profits("best_response", {"storage": "mpc"}, "vcg"), profits("mpc", {}, "vcg"))


def test_without_curves_it_still_bids() -> None:
    assert (
        profits("best_response", {"storage": "none"}, "pay_as_bid", None).mean()
        > profits("truthful", {}, "pay_as_bid", None).mean()
    )


def test_an_older_curve_is_stretched() -> None:
    told = profits("truthful", {}, "pay_as_bid", 12)
    assert (profits("best_response", {"storage": "none"}, "pay_as_bid", 12) - told).mean() > 0.0


@pytest.mark.parametrize("mechanism", ["uniform", "pay_as_bid"])
@pytest.mark.parametrize("delay", [1, 3, None])
def test_seat_by_seat_it_bids_the_same(mechanism: Mechanism, delay: int | None) -> None:
    market = {**load_preset("market", "default"), "publication": {"curve_delay": delay}}
    setup = load_setup(market, mechanism=mechanism, ticks=30)
    results = []
    for target in ("gridpilot.agents.best_response.BestResponse", "tests.agents.test_best_response.OneByOne"):
        arena = setup.arena(2)
        arena.start(setup.scenario(0, np.arange(2)))
        seating = Seating(arena, {"all": AgentSpec(target, {})}, [["all"] * arena.n_sites] * 2)
        seating.reset(0, np.arange(2))
        while not arena.done:
            seating.bid()
            arena.step()
            seating.learn()
        assert not seating.failures.any(), seating.first_error
        results.append(arena.cleared)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9)


class OneByOne(BestResponse):
    """The same bidder, asked seat by seat."""

    def __init__(self) -> None:
        super().__init__()
        self.on_arrays = False


@pytest.mark.parametrize("params", [{"min_gain": -0.1}, {"withheld_kw": float("nan")}, {"markup": True}, {"markup": "much"}])
def test_parameters_that_are_none(params: dict[str, Any]) -> None:
    with pytest.raises(AgentError, match=next(iter(params))):
        BestResponse(**params)
