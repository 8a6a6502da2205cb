"""Under VCG no bid beats the truth within a tick: misreports in a market with negative prices, at fixed storage and commitment values."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.market.arena import Arena
from gridpilot.market.clearing import Mechanism
from gridpilot.market.physics import DRAWN, PROFIT, WON
from gridpilot.market.step import OWN_CURVE, STATED_BLOCKS
from gridpilot.market.units import DT
from gridpilot.setup import load_setup

BLOCKS = 5


def worth(arena: Arena, storage: np.ndarray) -> np.ndarray:
    """What the tick just played brought each seat, ``(B, N)`` $: profit, and the worth of what it carries over."""
    value = np.maximum(arena.orders.storage_value, arena.arrays.plant["lowest_value"])
    running = DT * (arena.orders.commitment * arena.machine_kw).sum(axis=2)
    gain: np.ndarray = arena.outcome[..., PROFIT] + running + value * (arena.storage[..., 0] - storage)
    return gain


def misreport(rng: np.random.Generator, energy: np.ndarray) -> np.ndarray:
    """Blocks ``(B, J, 2)``: anything, much at any price, or as much as there is at a price near that of energy."""
    markets = len(energy)
    kind = rng.integers(0, 3, (markets, 1))
    kw = np.where(kind == 0, rng.uniform(0.0, 400.0, (markets, BLOCKS)), rng.choice([0.0, 100.0, 2000.0], (markets, BLOCKS)))
    prices = rng.uniform(-0.3, 0.5, (markets, BLOCKS))
    near = energy[:, None] + rng.choice([-0.01, 0.0, 0.01, 0.03, 0.031], (markets, BLOCKS))
    return np.stack([kw, -np.sort(-np.where(kind == 2, near, prices), axis=1)], axis=2)


def gains(mechanism: Mechanism, markets: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each misreport, ``(T, B)``: what it gained, $, the energy price, and kW that were won and given back."""
    setup = load_setup(prices="aemo_nsw", mechanism=mechanism)
    scenario = setup.scenario(seed, np.arange(markets))
    honest, lying = setup.arena(markets), setup.arena(markets)
    lying.make_room(BLOCKS)
    for arena in (honest, lying):
        arena.start(scenario)
    rng, market = np.random.default_rng(seed), np.arange(markets)
    found, returned = [], []
    while not honest.done:
        energy = scenario.prices[scenario.history + honest.tick, :, 0]
        honest.orders.storage_value[:] = rng.uniform(-0.2, 0.3, honest.orders.storage_value.shape)
        honest.orders.commitment[:] = rng.uniform(0.0, 0.05, honest.orders.commitment.shape)
        lying.orders.storage_value[:], lying.orders.commitment[:] = honest.orders.storage_value, honest.orders.commitment
        seat = rng.integers(0, honest.n_sites, markets)
        lying.orders.kind[:] = OWN_CURVE
        lying.orders.kind[market, seat] = STATED_BLOCKS
        lying.orders.blocks[market, seat] = misreport(rng, energy)
        lying.machine_kw[:], lying.storage[:], lying.last_price[:] = honest.machine_kw, honest.storage, honest.last_price
        before = honest.storage[..., 0].copy()
        for arena in (honest, lying):
            arena.step()
            assert not arena.refused.any()
        found.append((worth(lying, before) - worth(honest, before))[market, seat])
        returned.append((lying.outcome[..., WON] - lying.outcome[..., DRAWN])[market, seat])
        np.testing.assert_allclose(honest.outcome[..., WON], honest.outcome[..., DRAWN], atol=1e-9)  # the truth gives nothing back
    return np.array(found), scenario.prices[scenario.history :, :, 0], np.array(returned)


def check_vcg(markets: int) -> None:
    gain, energy, returned = gains("vcg", markets)
    assert gain.max() <= 1e-9
    assert (energy < 0.0).mean() > 0.05  # what is tested is there:
    assert ((energy < 0.0) & (returned > 1.0)).sum() > 10 * markets / 70  # power won and given back at negative prices,
    assert ((energy > 0.0) & (returned > 1.0)).sum() > 10 * markets / 70  # and at positive ones,
    assert (gain < -1e-6).mean() > 0.3  # and misreports that cost their seat something


def test_thousands_of_misreports_gain_nothing() -> None:
    check_vcg(14)


@pytest.mark.slow
def test_twenty_thousand_misreports_gain_nothing() -> None:
    check_vcg(70)


@pytest.mark.parametrize("mechanism", ["uniform", "pay_as_bid"])
def test_under_other_mechanisms_some_do_gain(mechanism: Mechanism) -> None:
    gain, _, _ = gains(mechanism, 14)
    assert (gain > 1e-3).sum() > 10
