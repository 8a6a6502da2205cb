"""Observations stay finite and inside the space whatever the prices are."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gridpilot.envs import MarketEnv
from gridpilot.market.units import DT
from gridpilot.prices.world import World
from gridpilot.setup import MarketSetup


class WildPrices:
    """Energy prices of every size and sign, products at a fixed price."""

    def __init__(self, size: float, hash_price: float, token_price: float) -> None:
        self.size, self.products = size, (hash_price, token_price)

    def simulate(self, root: int, episodes: npt.ArrayLike, ticks: int, *, history: int = 0) -> tuple[Any, Any]:
        n = len(np.atleast_1d(episodes))
        generator = np.random.default_rng(root)
        prices = np.empty((history + ticks, n, 3))
        prices[..., 0] = self.size * generator.standard_cauchy(prices.shape[:2])
        prices[..., 1:] = self.products
        return prices, np.zeros(n, dtype=np.int64)


@pytest.mark.parametrize("size", [0.0, 1e-9, 0.03, 1e6])
@pytest.mark.parametrize("products", [(2.1, 0.3), (0.0, 0.0), (1e6, 1e-9)])
def test_observations_stay_inside_the_space(setup: MarketSetup, size: float, products: tuple[float, float]) -> None:
    wild = dataclasses.replace(setup, world=World(WildPrices(size, *products), setup.world.weather, setup.world.capacity))
    env = MarketEnv(wild, seat=7)
    env.action_space.seed(1)
    observation, _ = env.reset(seed=1)
    for _ in range(setup.ticks):
        assert env.observation_space.contains(observation)
        observation, reward, _, _, info = env.step(env.action_space.sample())
        assert math.isfinite(reward)
        assert not info["refused"]
    assert env.observation_space.contains(observation)


def test_a_site_that_can_earn_nothing_is_rewarded_in_dollars(setup: MarketSetup) -> None:
    worthless = dataclasses.replace(setup, world=World(WildPrices(0.03, 2.1, 0.0), setup.world.weather, setup.world.capacity))
    env = MarketEnv(worthless, seat=6)  # tokens only
    env.reset(seed=0)
    rewards, profits = [], []
    for _ in range(setup.ticks):
        _, reward, _, _, info = env.step(np.full(11, 0.5, dtype=np.float32))
        rewards.append(reward)
        profits.append(info["profit"])
    assert rewards == profits
    assert any(profits)
    hash_site = MarketEnv(worthless, seat=0)
    assert hash_site.markets.rated[0] == pytest.approx(118 * 0.335 * 2.1)
    assert hash_site.markets.rated[0] * DT > 0.0


@pytest.mark.parametrize("n_sites", [1, 60])  # alone in the market; and more than the small auctioneer takes
def test_markets_of_other_sizes(setup: MarketSetup, n_sites: int) -> None:
    sites = (setup.sites * 6)[:n_sites]
    env = MarketEnv(dataclasses.replace(setup, sites=sites, ticks=1, history=0), seat=n_sites - 1)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.action_space.shape is not None
    observation, reward, _, truncated, info = env.step(np.zeros(env.action_space.shape, dtype=np.float32))
    assert env.observation_space.contains(observation)
    assert math.isfinite(reward)
    assert truncated
    assert info["won_kw"] > 0.0
