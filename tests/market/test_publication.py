"""What the market publishes, and what a step writes down: against the auctioneer and the definition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gridpilot.equilibrium.best_response import best_response
from gridpilot.errors import MarketError
from gridpilot.market.arena import Arena, MarketRules
from gridpilot.market.auction import PRICE_HI, PRICE_LO, VOLUME
from gridpilot.market.clearing import Mechanism, clear
from gridpilot.market.observation import observe
from gridpilot.market.physics import PAYMENT, WON
from gridpilot.market.publication import MARGIN_IS_BID, MEAN_PRICE
from gridpilot.market.step import SHADED_CURVE
from gridpilot.market.units import DT
from gridpilot.setup import load_setup

Truth = list[list[npt.NDArray[np.float64]]]


def played(mechanism: Mechanism, *, delay: int | None = 1, ticks: int = 20) -> tuple[Arena, Truth]:
    """Two markets after some ticks of shaded bids, and what the bids of the last one would have been unshaded."""
    setup = load_setup(mechanism=mechanism, ticks=24)
    arena = Arena(setup.sites, MarketRules(mechanism=mechanism, curve_delay=delay), 2)
    arena.start(setup.scenario(0, np.arange(2)))
    arena.measure_gains()
    arena.publish()
    generator = np.random.default_rng(3)
    truth: Truth = []
    for _ in range(ticks):
        arena.orders.kind[:] = SHADED_CURVE
        arena.orders.storage_value[:] = generator.uniform(0.0, 0.1, arena.orders.storage_value.shape)
        arena.orders.shade[:] = generator.uniform(-0.3, 0.05, arena.orders.shade.shape)
        worth = arena.orders.storage_value
        truth = [[observe(arena, b, n).truthful_bid(worth[b, n]).blocks for n in range(arena.n_sites)] for b in (0, 1)]
        arena.step()
    return arena, truth


@pytest.mark.parametrize("mechanism", ["vcg", "uniform", "pay_as_bid"])
def test_recorded_bids_and_gains_are_those_of_the_auction(mechanism: Mechanism) -> None:
    arena, truth = played(mechanism)
    bids, now = arena.published_bids(), arena.scenario.history + arena.tick - 1
    assert bids is not None
    for b in (0, 1):
        capacity = float(arena.scenario.capacity[now, b]) * arena.rules.capacity_kw
        supply = [(share * capacity, arena.scenario.prices[now, b, 0] + adder) for share, adder in arena.rules.supply]
        blocks = [site[site[:, 0] > 0.0] for site in bids[b]]
        cleared = clear(blocks, supply, capacity, mechanism=mechanism)
        np.testing.assert_allclose(cleared.allocation, arena.outcome[b, :, WON], rtol=1e-12, atol=1e-9)
        result = best_response(blocks, supply, capacity, values=truth[b], mechanism=mechanism)
        np.testing.assert_allclose(result.gain, arena.gain[b], atol=1e-9)
    if mechanism != "vcg":
        assert arena.gain.max() > 0.1


def test_the_public_results_are_those_of_the_tick() -> None:
    arena, _ = played("uniform")
    seen = observe(arena, 1, 4).last
    assert seen is not None
    assert (seen.price_lo, seen.price_hi) == (arena.totals[1, PRICE_LO], arena.totals[1, PRICE_HI])
    assert seen.mean_price == pytest.approx(arena.outcome[1, :, PAYMENT].sum() / DT / arena.totals[1, VOLUME], rel=1e-12)
    now = arena.scenario.history + arena.tick - 1
    costs = [arena.scenario.prices[now, 1, 0] + adder for _, adder in arena.rules.supply]
    assert seen.margin_is_bid == (seen.price_lo not in costs)
    assert arena.auction[1, MARGIN_IS_BID] in (0.0, 1.0)
    assert arena.auction[1, MEAN_PRICE] == seen.mean_price


@pytest.mark.parametrize("delay", [1, 3])
def test_curves_are_the_others_bids_of_so_many_ticks_ago(delay: int) -> None:
    setup = load_setup(ticks=24)
    arena = Arena(setup.sites, MarketRules(curve_delay=delay), 1)
    arena.start(setup.scenario(0, np.arange(1)))
    arena.publish()
    expected = []
    for tick in range(6):
        seen = observe(arena, 0, 2).rivals_curve
        if tick < delay:
            assert seen is None
        else:
            assert seen is not None
            blocks = expected[tick - delay]
            assert seen.tolist() == blocks[np.argsort(-blocks[:, 1], kind="stable")].tolist()
        others = [observe(arena, 0, n).truthful_bid().blocks for n in range(arena.n_sites) if n != 2]
        expected.append(np.concatenate(others))
        arena.step()


def test_nothing_is_published_where_the_market_does_not() -> None:
    arena, _ = played("uniform", delay=None, ticks=5)
    assert observe(arena, 0, 0).rivals_curve is None
    assert arena.published_bids() is None


def test_nothing_is_known_before_the_first_tick() -> None:
    setup = load_setup(ticks=2)
    arena = setup.arena()
    arena.start(setup.scenario(0, np.arange(1)))
    arena.publish()
    seen = observe(arena, 0, 0)
    assert seen.last is None
    assert seen.rivals_curve is None
    assert np.isnan(arena.auction).all()


@pytest.mark.parametrize("delay", [0, -1, 1.5, True])
def test_a_delay_that_is_none(delay: float) -> None:
    with pytest.raises(MarketError, match="curve_delay"):
        MarketRules(curve_delay=delay)  # type: ignore[arg-type]
