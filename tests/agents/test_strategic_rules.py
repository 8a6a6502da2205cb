"""Rules that bid something else than the truth: what a bid gets of what is left, learning, equilibrium, linear shading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.bidding.demand_function import DemandFunction
from gridpilot.agents.bidding.nash import Nash, _solve
from gridpilot.agents.bidding.regret_matching import LEVELS, RegretMatching, read_state, write_state
from gridpilot.agents.bidding.residual import payoff, units_beyond
from gridpilot.equilibrium.best_response import best_response
from gridpilot.equilibrium.demand_function import equilibrium_slopes
from gridpilot.errors import AgentError, GridPilotError
from gridpilot.market.auction import PAY_AS_BID, UNIFORM, truncate_supply
from gridpilot.market.compilation import kernel
from gridpilot.setup import load_preset, load_setup
from gridpilot.simulation.shading import learn_shading
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.play import play_chunk
from gridpilot.tournament.schedule import Match

MARKET: dict[str, Any] = load_preset("market", "default")
PRICES = load_preset("prices", "ercot")


@kernel
def _paid(true: Any, bid_price: Any, rivals: Any, supply: Any, total: float, mechanism: int) -> float:
    steps, units = np.empty((supply.shape[1] + 1, 4)), np.empty((len(rivals) + supply.shape[1] + 1, 2))
    n_steps, left = truncate_supply(supply, 0, total, -np.inf, steps)
    count = units_beyond(rivals, len(rivals), steps, n_steps, left, units)
    return payoff(true, 0, bid_price, units, count, mechanism)


@pytest.mark.parametrize(("mechanism", "number"), [("uniform", UNIFORM), ("pay_as_bid", PAY_AS_BID)])
def test_what_a_bid_gets_is_what_the_auction_gives(mechanism: str, number: int) -> None:
    generator = np.random.default_rng(8)
    for _ in range(200):
        prices = generator.permutation(60) / 10.0  # no ties, which are shared
        own, others, adders = np.sort(prices[:4])[::-1], np.sort(prices[4:11])[::-1], np.sort(prices[11:14])
        kw = generator.integers(1, 9, 14).astype(float)
        value = own + generator.integers(0, 30) / 10.0
        true, rivals = np.stack([kw[:4], value], axis=-1), np.stack([kw[4:11], others], axis=-1)
        supply = np.stack([kw[11:], adders], axis=-1)
        capacity = float(generator.integers(5, 30))
        bids = [np.stack([kw[:4], own], axis=-1).tolist(), rivals.tolist()]
        told = best_response(bids, supply.tolist(), capacity, values=[true.tolist(), rivals.tolist()], mechanism=mechanism)  # type: ignore[arg-type]
        assert _paid(true[None], own, rivals, supply[None], capacity, number) == pytest.approx(told.payoff[0], abs=1e-9)


def profits(name: str, mechanism: str, params: dict[str, Any] | None = None, episodes: int = 4) -> np.ndarray:
    agents = {"truthful": {"target": "truthful", "params": {}}, "it": {"target": name, "params": params or {}}}
    spec = TournamentSpec({**MARKET, "mechanism": mechanism}, PRICES, agents, 3, 96, 96, 1e3)
    seats = [(("truthful",) * s + ("it",) + ("truthful",) * (9 - s)) for s in (0, 3, 6, 9)]
    rows = play_chunk(spec, [Match(e, "alone", k, where) for e in range(episodes) for k, where in enumerate(seats)])
    assert not rows["first_error"].any()
    return rows.loc[rows["agent"] == "it", "profit"].to_numpy()


@pytest.fixture(scope="module")
def told() -> dict[str, np.ndarray]:
    return {mechanism: profits("mpc", mechanism) for mechanism in ("vcg", "uniform", "pay_as_bid")}


@pytest.mark.parametrize("name", ["regret_matching", "nash", "demand_function"])
def test_under_vcg_they_bid_the_truth(name: str, told: dict[str, np.ndarray]) -> None:
    assert np.array_equal(profits(name, "vcg"), told["vcg"])


@pytest.mark.parametrize("name", ["regret_matching", "nash"])
def test_whoever_pays_what_he_bids_does_well_to_bid_less(name: str, told: dict[str, np.ndarray]) -> None:
    gain = profits(name, "pay_as_bid") - told["pay_as_bid"]
    assert gain.mean() > 3.0 * gain.std(ddof=1) / np.sqrt(len(gain))


def test_nash_is_an_equilibrium_where_one_is_known() -> None:
    """One kW for sale at 0, and two sites that want it, at 1 and .6 $/kWh: under pay-as-bid the first bids what the second just cannot."""
    true, blocks = np.array([[[1.0, 1.0]], [[1.0, 0.6]]]), np.zeros((1, 32, 2))
    streams = np.array([[1, 2, 3, 4]], dtype=np.uint64)
    factors = np.linspace(1.0, 0.01, 100)
    _solve(
        np.array([[1.0, 0.0]]), -np.inf, PAY_AS_BID, factors, 40, 0.5, true[:1], np.zeros(1, dtype=np.int64), np.zeros((1, 3)),
        np.ones(1), true[1:], 1, np.zeros((1, 1), dtype=np.int64), streams, blocks,
    )  # fmt: skip
    assert 0.6 <= blocks[0, 0, 1] <= 0.65


def test_linear_shading_is_the_equilibrium_of_equal_sites() -> None:
    """Curves of many small blocks, equal sites and a straight supply: the slope bid is that of the asymmetric fixed point."""
    rule = DemandFunction()
    k = 40
    value = 1.0 - (np.arange(k) + 0.5) / k * 0.8
    true = np.stack([np.full(k, 2.5), value], axis=-1)[None]
    rule.ladder, rule.n_sites = np.array([[0.5, 0.0], [0.5, 0.2]]), 4
    steepness, beta = float((value[0] - value[-1]) / (2.5 * (k - 1))), 100.0 / 0.2
    slopes = equilibrium_slopes([steepness] * 4, beta)
    now = type("Now", (), {"true": true, "market": np.zeros(1, dtype=np.int64), "capacity_kw": np.array([100.0])})
    price = rule.shaded(now)[0]  # type: ignore[arg-type]
    bid_slope = 2.5 * (k - 1) / (price[0] - price[-1])
    assert bid_slope == pytest.approx(slopes[0], rel=1e-6)
    flat = true.copy()
    flat[..., 1] = 0.5
    now.true = flat  # type: ignore[attr-defined]
    assert (rule.shaded(now) == 0.5).all()  # type: ignore[arg-type]


def test_what_is_learned_is_kept(tmp_path: Path, told: dict[str, np.ndarray]) -> None:
    setup = load_setup({**MARKET, "mechanism": "pay_as_bid"}, PRICES, ticks=96, history=96)
    rule = learn_shading(setup, range(100, 104), rounds=2)
    factor = (rule.regret * rule.factors).sum(axis=-1) / np.maximum(rule.regret.sum(axis=-1), 1e-300)
    assert factor[rule.regret.sum(axis=-1) > 0.0].mean() < 0.9
    path = tmp_path / "shading.json"
    write_state(path, rule)
    assert read_state(path, len(rule.factors)) == pytest.approx(rule.regret.mean(axis=0))
    begun, anew = (profits("regret_matching", "pay_as_bid", params) for params in ({"state": str(path)}, {}))
    assert begun.mean() > anew.mean()
    with pytest.raises(AgentError, match="the mechanism is vcg"):
        learn_shading(load_setup(MARKET, PRICES, ticks=4, history=4), [0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("[]", "is no state of this version"),
        ("{", "is not JSON"),
        (json.dumps({"format": 1, "levels": list(LEVELS), "regret": [["x"]]}), "regret is no table of numbers"),
        (json.dumps({"format": 1, "levels": list(LEVELS), "regret": [[1.0]]}), r"regret has shape \(1, 1\)"),
        (json.dumps({"format": 1, "levels": list(LEVELS), "regret": [[-1.0] * 10] * 5}), "finite and >= 0"),
    ],
)
def test_states_that_are_none(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(GridPilotError, match=message):
        RegretMatching(state=str(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RegretMatching([0.5, 1.5]), r"factors are \[0.5, 1.5\], expected numbers in \(0, 1\]"),
        (lambda: Nash(rounds=0), "rounds is 0, expected a whole number from 1 to 1000"),
        (lambda: Nash(step=2.0), "step is 2.0, expected a number above 0 and at most 1"),
        (lambda: Nash(market="defualt"), "market=defualt: no such choice, expected one of default"),
    ],
)
def test_parameters_that_are_none(make: Any, message: str) -> None:
    with pytest.raises(GridPilotError, match=message):
        make()
