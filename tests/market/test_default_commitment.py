"""Is the default commitment value what having machines run is worth? Whole episodes in which one seat at a time does otherwise.

``pytest -m slow -s tests/market/test_default_commitment.py`` prints the figures: the deviating seats' profit over all episodes and seats,
in % of what they earn without deviating, with 95 % intervals over episodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gridpilot.market.arena import Arena, Scenario
from gridpilot.market.physics import PROFIT
from gridpilot.market.step import SHADED_CURVE
from gridpilot.setup import load_setup

pytestmark = pytest.mark.slow

EPISODES, SEED = 40, 20260
Rule = Callable[[Arena], Any]  # commitment values (B, N, C); nan is the default


def default(arena: Arena) -> Any:
    return math.nan


def boot_loss(arena: Arena) -> Any:
    """Always the boot loss."""
    prices = arena.scenario.prices[arena.scenario.history + arena.tick]
    return arena.arrays.plant["boot_loss"][:, None] * prices[:, arena.arrays.product] * arena.arrays.output


def nothing_when_dear(arena: Arena) -> Any:
    """The boot loss while the last power was worth buying, and nothing where it was not."""
    now, plant = arena.scenario.history + arena.tick, arena.arrays.plant
    cop = np.maximum(1.0, plant["cop"] - plant["cop_slope"] * (arena.scenario.ambient[now][:, None] - plant["cop_reference"]))
    revenue = arena.scenario.prices[now][:, arena.arrays.product] * arena.arrays.output
    bought = arena.last_price[:, None, None] * (1.0 + 1.0 / cop)[:, :, None] < revenue
    return np.where(bought, boot_loss(arena), 0.0)


def profits(prices: str, product_price: float, rule: Rule = default, shade: float = 0.0, rivals: Rule = default) -> np.ndarray:
    """Profit of the deviating seat, ``(episodes, seats)`` $: every seat of every episode deviates in a market of its own."""
    setup = load_setup(prices=prices)
    n = len(setup.sites)
    each, market, seat = np.repeat(np.arange(EPISODES), n), np.arange(EPISODES * n), np.tile(np.arange(n), EPISODES)
    drawn = setup.scenario(SEED, np.arange(EPISODES))
    drawn.prices[..., 1:] *= product_price
    scenario = Scenario(drawn.prices[:, each], drawn.ambient[:, each], drawn.capacity[:, each], drawn.start[each], drawn.history)
    arena = setup.arena(len(each))
    arena.start(scenario)
    arena.orders.kind[market, seat] = SHADED_CURVE
    arena.orders.shade[market, seat] = shade
    total = np.zeros(len(each))
    while not arena.done:
        arena.orders.commitment[:] = rivals(arena)
        arena.orders.commitment[market, seat] = np.broadcast_to(rule(arena), arena.orders.commitment.shape)[market, seat]
        arena.step()
        total += arena.outcome[market, seat, PROFIT]
    return total.reshape(EPISODES, n)


def gain(other: np.ndarray, usual: np.ndarray) -> tuple[float, float, float]:
    """Gain of ``other`` over ``usual``, %, and its interval: a ratio of means over episodes, by the delta method and Student's t."""
    a, b = other.sum(axis=1), usual.sum(axis=1)
    ratio = a.sum() / b.sum()
    half = stats.t.ppf(0.975, len(a) - 1) * np.std(a - ratio * b, ddof=1) / math.sqrt(len(a)) / abs(b.mean())
    return 100.0 * (ratio - 1.0), 100.0 * (ratio - 1.0 - half), 100.0 * (ratio - 1.0 + half)


@pytest.mark.parametrize("prices", ["ercot", "aemo_nsw", "mara_event"])
def test_scaling_the_truth_gains_next_to_nothing(prices: str) -> None:
    truth = profits(prices, 1.0)
    found = {factor: gain(profits(prices, 1.0, shade=factor - 1.0), truth) for factor in (0.9, 0.95, 1.05, 1.1)}
    for factor, (mean, low, high) in found.items():
        print(f"\n{prices}: truth x {factor}: {mean:+.3f} % [{low:+.3f}, {high:+.3f}]", end="")
    assert max(mean for mean, _, _ in found.values()) <= 0.1


@pytest.mark.parametrize(
    ("prices", "product_price"), [("ercot", 1.0), ("aemo_nsw", 1.0), ("mara_event", 1.0), ("ercot", 0.4), ("aemo_nsw", 0.4)]
)
def test_the_default_earns_more_than_nothing_after_a_dear_tick(prices: str, product_price: float) -> None:
    usual = profits(prices, product_price, nothing_when_dear, rivals=nothing_when_dear)
    mean, low, high = gain(profits(prices, product_price, rivals=nothing_when_dear), usual)
    print(f"\n{prices}, product prices x {product_price}: {mean:+.3f} % [{low:+.3f}, {high:+.3f}]", end="")
    assert low > 0.0


@pytest.mark.parametrize("prices", ["ercot", "aemo_nsw"])
def test_where_revenue_is_near_the_price_it_earns_more_than_always_holding(prices: str) -> None:
    usual = profits(prices, 0.4)
    mean, low, high = gain(profits(prices, 0.4, boot_loss), usual)
    print(f"\n{prices}, product prices x 0.4: {mean:+.3f} % [{low:+.3f}, {high:+.3f}]", end="")
    assert high < 0.0
