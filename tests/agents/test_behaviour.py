"""What each baseline is for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.registry import build_agent
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import AgentError
from gridpilot.market.arena import Scenario
from gridpilot.market.observation import observe
from gridpilot.market.physics import CHARGED, DISCHARGED, PROFIT
from gridpilot.market.plant import value_curve
from gridpilot.market.site import Battery, MachineClass, Site

from .arenas import SITES, day_of_prices, episode, seated

SCARCE_DAY, LOW, HIGH = 96, 0.01, 0.13  # ticks a cycle, $/kWh


def test_truthful_bids_its_value_curve() -> None:
    arena, seating = seated([["truthful"] * 5], {"truthful": AgentSpec("truthful", {})})
    arena.start(day_of_prices(1))
    seating.reset(0, [0])
    agent = build_agent("truthful")
    while not arena.done:
        for seat, site in enumerate(SITES):
            observation = observe(arena, 0, seat)
            bid = agent.bid(observation)
            assert bid.storage_value is None
            assert bid.commitment_value is None
            expected = value_curve(
                site, observation.state, observation.prices, observation.ambient_c, observation.last_price,
                observation.default_storage_value,
            )  # fmt: skip
            np.testing.assert_array_equal(bid.blocks, expected)
        seating.bid()
        arena.step()


def cycles(cycles: int = 12) -> Scenario:
    """Half of each cycle power is cheap and plenty, half of it dear and scarce."""
    ticks, history = cycles * SCARCE_DAY, 3 * SCARCE_DAY
    dear = (np.arange(history + ticks) % SCARCE_DAY) >= SCARCE_DAY // 2
    prices = np.empty((history + ticks, 1, 3))
    prices[:, 0, 0] = np.where(dear, HIGH, LOW)
    prices[..., 1:] = 2.5
    shape = (history + ticks, 1)
    return Scenario(prices, np.full(shape, 15.0), np.where(dear, 0.4, 1.0)[:, None], np.zeros(1, dtype=np.int64), history)


def miners() -> tuple[Site, ...]:
    machines = MachineClass("air", "hash", 3.5, 140, 0.2)
    return tuple(Site(f"miner {i}", (machines,), battery=Battery(400.0, 1600.0)) for i in range(4))


def scarce(first: str, mechanism: str = "vcg") -> dict[str, np.ndarray]:
    agents = {name: AgentSpec(name, {}) for name in ("truthful", "threshold")}
    arena, seating = seated(
        [[first, "truthful", "truthful", "truthful"]], agents, miners(), capacity_kw=4000.0, mechanism=mechanism
    )
    return episode(arena, seating, cycles())


def test_threshold_buys_low_sells_high_and_beats_truthful_where_power_is_scarce() -> None:
    threshold, truthful = scarce("threshold"), scarce("truthful")
    outcome = threshold["outcome"][:, 0, 0]
    dear = (np.arange(len(outcome)) % SCARCE_DAY) >= SCARCE_DAY // 2
    charged, discharged = outcome[:, CHARGED], outcome[:, DISCHARGED]
    assert charged[~dear].sum() > 20.0 * charged[dear].sum()
    assert discharged[dear].sum() > 20.0 * discharged[~dear].sum()
    assert discharged.sum() > 1000.0
    assert outcome[:, PROFIT].sum() > 1.02 * truthful["outcome"][:, 0, 0, PROFIT].sum()
    assert (truthful["outcome"][..., [CHARGED, DISCHARGED]] == 0.0).all()


def test_zero_intelligence_never_bids_above_its_value_and_shades_by_half_of_its_limit_on_average() -> None:
    for limit in (1.0, 0.4, 0.0):
        arena, _ = seated([["truthful"] * 5], {"truthful": AgentSpec("truthful", {})})
        arena.start(day_of_prices(1))
        agent = build_agent("zero_intelligence", {"max_shade": limit})
        observation = observe(arena, 0, 1)
        agent.reset(SITES[1], observation.market, 11)
        true = observation.truthful_bid().blocks
        factors = []
        for _ in range(2000):
            blocks = agent.bid(observation).blocks
            np.testing.assert_array_equal(blocks[:, 0], true[:, 0])
            assert (blocks[:, 1] <= true[:, 1]).all()
            assert (blocks[:, 1] >= (1.0 - limit) * true[:, 1] - 1e-12).all()
            factors.append(1.0 - blocks[0, 1] / true[0, 1])
        assert np.mean(factors) == pytest.approx(0.5 * limit, abs=0.02)
        assert np.std(factors) == pytest.approx(limit / math.sqrt(12.0), abs=0.02)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("threshold", {"low": 0.9, "high": 0.3}, "low is 0.9 and high 0.3"),
        ("threshold", {"low": 0.0}, "low is 0.0"),
        ("threshold", {"high": 1.0}, "high 1.0"),
        ("threshold", {"gain": 0.0}, "gain is 0.0"),
        ("threshold", {"gain": math.nan}, "gain is nan"),
        ("zero_intelligence", {"max_shade": 1.5}, "max_shade is 1.5"),
        ("zero_intelligence", {"max_shade": math.nan}, "max_shade is nan"),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        build_agent(name, params)
