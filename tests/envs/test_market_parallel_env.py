"""The PettingZoo environment: its checkers, and the same market as the others."""

from __future__ import annotations

import warnings
from typing import Any

import cloudpickle
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from pettingzoo.test import parallel_api_test, parallel_seed_test

from gridpilot.envs import MarketEnv, MarketParallelEnv, parallel_env
from gridpilot.errors import BidError, ConfigError
from gridpilot.market.auction import SUPPLY_COST
from gridpilot.market.units import DT
from gridpilot.setup import MarketSetup
from tests.envs.play import draw_actions, play


def zeros(env: MarketParallelEnv) -> dict[str, Any]:
    return {agent: np.zeros(env.action_space(agent).shape, dtype=np.float32) for agent in env.agents}


def test_pettingzoos_checkers(setup: MarketSetup) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(parallel_env(setup=setup), num_cycles=60)
        parallel_api_test(parallel_env(setup=setup, seats=[2, 7]), num_cycles=60)
        parallel_seed_test(lambda: parallel_env(setup=setup), num_cycles=60)


def test_every_seat_is_an_agent(setup: MarketSetup) -> None:
    env = parallel_env(setup=setup)
    assert env.possible_agents == [f"site_{i}" for i in range(10)]
    observations, _ = env.reset(seed=0)
    over = False
    while not over:
        observations, rewards, terminated, truncated, infos = env.step({a: env.action_space(a).sample() for a in env.agents})
        assert set(observations) == set(rewards) == set(infos) == set(env.possible_agents)
        for agent, observation in observations.items():
            assert env.observation_space(agent).contains(observation)
        assert not any(terminated.values())
        over = all(truncated.values())
    assert env.agents == []
    assert env.state().shape == env.state_space.shape
    with pytest.raises(ResetNeeded):
        env.step({})
    assert env.reset()[1]["site_3"]["episode_number"] == 1


def test_seats_beside_opponents_are_the_scalar_environment_bit_for_bit(setup: MarketSetup) -> None:
    env, alone = parallel_env(setup=setup, seats=[8]), MarketEnv(setup, seat=8)
    actions = draw_actions(setup.ticks, 11)[:, 0]
    observations, rewards, infos = play(alone, actions, seed=6)
    assert np.array_equal(env.reset(seed=6)[0]["site_8"], observations[0])
    for tick, action in enumerate(actions):
        observation, reward, _, truncated, info = env.step({"site_8": action})
        assert np.array_equal(observation["site_8"], observations[tick + 1])
        assert reward["site_8"] == rewards[tick]
        assert info["site_8"] == infos[tick]
    assert truncated == {"site_8": True}


def test_all_seats_together_pay_for_the_supply(setup: MarketSetup) -> None:
    env = parallel_env(setup=setup)
    env.reset(seed=1)
    paid, cost, won = 0.0, 0.0, 0.0
    while env.agents:
        infos = env.step(zeros(env))[4]
        paid += sum(info["payment"] for info in infos.values())
        won += sum(info["won_kw"] for info in infos.values())
        cost += DT * env.markets.arena.totals[0, SUPPLY_COST]
    assert won > 0.0
    assert paid >= cost - 1e-9


def test_a_refused_agent_touches_nobody_else(setup: MarketSetup) -> None:
    env = parallel_env(setup=setup)
    env.reset(seed=1)
    actions = zeros(env)
    actions["site_4"] = actions["site_4"] + np.nan
    infos = env.step(actions)[4]
    assert [agent for agent, info in infos.items() if info["refused"]] == ["site_4"]
    assert infos["site_4"]["won_kw"] == 0.0


def test_bad_actions_are_named(setup: MarketSetup) -> None:
    env = parallel_env(setup=setup, seats=[0, 1])
    env.reset(seed=1)
    with pytest.raises(BidError, match="site_1 missing or unknown"):
        env.step({"site_0": np.zeros(11)})
    with pytest.raises(BidError, match="site_7 missing or unknown"):
        env.step({**zeros(env), "site_7": np.zeros(11)})
    with pytest.raises(BidError, match=r"action of site_1: has shape \(2,\)"):
        env.step({"site_0": np.zeros(11), "site_1": np.zeros(2)})


@pytest.mark.parametrize("seats", [[], [1, 1], [10], [0.5]])
def test_bad_seats_are_named(setup: MarketSetup, seats: Any) -> None:
    with pytest.raises(ConfigError, match="seat"):
        parallel_env(setup=setup, seats=seats)


def test_pickling_in_mid_episode(setup: MarketSetup) -> None:
    env = parallel_env(setup=setup)
    env.reset(seed=0)
    env.step(zeros(env))
    twin = cloudpickle.loads(cloudpickle.dumps(env))
    a, b = env.step(zeros(env)), twin.step(zeros(twin))
    assert a[1] == b[1]
    assert all(np.array_equal(a[0][agent], b[0][agent]) for agent in env.agents)
