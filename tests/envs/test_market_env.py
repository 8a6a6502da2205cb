"""The scalar environment: checkers, actions, rewards, episodes, bad input."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.envs import MarketEnv
from gridpilot.envs._market import SeatedMarkets
from gridpilot.errors import AgentError, BidError, ConfigError
from gridpilot.market.encoding import MEAN, SIZE
from gridpilot.market.physics import PROFIT, WON
from gridpilot.market.units import DT
from gridpilot.setup import MarketSetup
from tests.envs.play import draw_actions, play

ID = "gridpilot.envs:GridPilot/Market-v0"


def zeros(env: MarketEnv) -> Any:
    return np.zeros(env.action_space.shape, dtype=np.float32)


def test_gymnasiums_checker() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(ID, ticks=24, history=40).unwrapped)


def test_stable_baselines3s_checker(setup: MarketSetup) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(MarketEnv(setup), warn=True)


def test_make_by_id_ends_at_the_horizon_only(setup: MarketSetup) -> None:
    env = gymnasium.make(ID, setup=setup, seat=2)
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    env.reset(seed=1)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(setup.ticks)]
    assert ends == [(False, False)] * (setup.ticks - 1) + [(False, True)]


def test_observations_stay_inside_the_space_over_ten_days_of_random_actions(whole_day: MarketSetup) -> None:
    for seat in (1, 8):
        env = MarketEnv(whole_day, seat=seat, opponents=["threshold", "zero_intelligence"])
        env.action_space.seed(seat)
        env.reset(seed=seat)
        for _ in range(5):
            observation, _ = env.reset()
            over = False
            while not over:
                assert env.observation_space.contains(observation)
                observation, reward, _, over, info = env.step(env.action_space.sample())
                assert math.isfinite(reward)
                assert not info["refused"]
            assert env.observation_space.contains(observation)


def test_equal_seeds_give_bitwise_equal_episodes_and_others_do_not(setup: MarketSetup) -> None:
    first, second = MarketEnv(setup), MarketEnv(setup)
    actions = draw_actions(setup.ticks, len(zeros(first)))[:, 0]
    second.reset(seed=99)  # what happened before must not matter
    second.step(zeros(second))
    a, b, c = play(first, actions, seed=5), play(second, actions, seed=5), play(second, actions, seed=6)
    assert np.array_equal(a[0], b[0])
    assert np.array_equal(a[1], b[1])
    assert a[2] == b[2]
    assert not np.array_equal(a[0], c[0])


def test_resets_count_episodes_and_options_pick_them(setup: MarketSetup) -> None:
    env = MarketEnv(setup)
    numbers = [env.reset(seed=4)[1]["episode_number"], env.reset()[1]["episode_number"], env.reset()[1]["episode_number"]]
    assert numbers == [0, 1, 2]
    third, info = env.reset(options={"episode": 2})
    assert info == {**info, "episode_number": 2, "root": 4}
    env.reset(seed=4)
    env.reset()
    assert np.array_equal(env.reset()[0], third)
    assert env.reset(options={"episode": 7})[1]["episode_number"] == 7
    assert env.reset()[1]["episode_number"] == 8


def test_a_first_reset_without_a_seed_draws_one() -> None:
    roots = {MarketEnv(ticks=2, history=2).reset()[1]["root"] for _ in range(3)}
    assert len(roots) == 3


def test_rewards_are_dollars_over_the_rated_hourly_value(whole_day: MarketSetup) -> None:
    env = MarketEnv(whole_day, seat=5)
    actions = draw_actions(288, len(zeros(env)), seed=1)[:, 0] * 0.3
    _, rewards, infos = play(env, actions, seed=2)
    profit = np.array([info["profit"] for info in infos])
    rated = whole_day.sites[5].rated_value(*whole_day.reference_prices)
    assert np.allclose(rewards * rated, profit, rtol=1e-12, atol=0.0)
    assert np.allclose(profit, [info["revenue"] - info["payment"] - info["wear"] for info in infos], rtol=0.0, atol=1e-9)
    assert 0.0 < rewards.sum() < 288 * DT  # a day's reward is below the hours it could have earned the rated value in
    for info in infos:
        assert info["price_lo"] <= info["price_hi"]
        assert info["clearing_price"] in (info["price_lo"], info["price_hi"]) or math.isinf(info["price_lo"])


def test_the_zero_action_is_the_truthful_bid_at_the_default_storage_value(whole_day: MarketSetup) -> None:
    env = MarketEnv(whole_day, seat=3)
    _, _, infos = play(env, [zeros(env)] * 288, seed=8)
    arena = whole_day.arena()
    specs = {name: AgentSpec(name, {}) for name in ("truthful", "threshold", "tests.envs.bidders.DefaultStorage")}
    others = ["truthful", "threshold"] * 5
    seating = Seating(arena, specs, [[*others[:3], "tests.envs.bidders.DefaultStorage", *others[3:9]]])
    arena.start(whole_day.scenario(8, [0]))
    seating.reset(8, [0])
    outcome = []
    while not arena.done:
        seating.bid()
        arena.step()
        seating.learn()
        outcome.append(arena.outcome[0, 3].copy())
    assert seating.failures.sum() == 0
    assert sum(info["won_kw"] for info in infos) > 0.0
    assert np.allclose([info["won_kw"] for info in infos], np.array(outcome)[:, WON], rtol=0.0, atol=1e-9)
    assert np.allclose([info["profit"] for info in infos], np.array(outcome)[:, PROFIT], rtol=0.0, atol=1e-9)


def test_what_an_action_means(setup: MarketSetup) -> None:
    env = MarketEnv(setup, seat=8)
    env.reset(seed=0)
    arena, action = env.markets.arena, zeros(env)
    action[:3] = 0.5, -1.0, 0.25
    mean, size = arena.levels[0, [MEAN, SIZE]]
    env.step(action)
    orders = arena.orders
    assert orders.storage_value[0, 8] == mean + 2.0 * 0.5 * size
    assert orders.commitment[0, 8].tolist() == [0.0] * arena.arrays.n_classes
    assert orders.shade[0, 8].tolist() == [0.25] + [0.0] * (arena.arrays.n_blocks - 1)
    clipped = action * 0 + np.float32(1e30)
    env.step(clipped)
    assert orders.shade[0, 8].tolist() == [1.0] * arena.arrays.n_blocks


def test_the_commitment_value_starts_from_the_sites_own_default(whole_day: MarketSetup) -> None:
    # An action that moves it by next to nothing writes the default out instead of leaving it to the arena.
    env = MarketEnv(whole_day, seat=4)
    still, touched = zeros(env), zeros(env)
    touched[1] = 1e-30
    left = play(env, [still] * 288, seed=3)[2]
    written = play(env, [touched] * 288, seed=3)[2]
    assert left == written
    more = zeros(env)
    more[1] = 1.0
    assert play(env, [more] * 288, seed=3)[2] != left


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_action_that_is_not_finite_is_refused_and_the_episode_goes_on(setup: MarketSetup, bad: float) -> None:
    env = MarketEnv(setup)
    env.reset(seed=1)
    action = zeros(env)
    action[3] = bad
    observation, _, _, _, info = env.step(action)
    assert info["refused"]
    assert info["won_kw"] == 0.0
    assert env.observation_space.contains(observation)
    info = env.step(zeros(env))[4]
    assert not info["refused"]
    assert info["won_kw"] > 0.0


@pytest.mark.parametrize("action", [np.zeros(3, np.float32), 0.0, "up", None, [[0.0]], ["a"] * 11, np.zeros((1, 11))])
def test_an_action_of_another_form_is_an_error(setup: MarketSetup, action: Any) -> None:
    env = MarketEnv(setup)
    env.reset(seed=1)
    with pytest.raises(BidError, match=r"action: has shape .* expected an array of numbers of shape \(11,\)"):
        env.step(action)


def test_stepping_outside_an_episode_is_an_error(setup: MarketSetup) -> None:
    env = MarketEnv(setup)
    with pytest.raises(ResetNeeded):
        env.step(zeros(env))
    play(env, [zeros(env)] * setup.ticks, seed=0)
    with pytest.raises(ResetNeeded):
        env.step(zeros(env))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seat": 10}, ConfigError, "seat is 10, expected a whole number from 0 to 9"),
        ({"seat": "rotate"}, ConfigError, "seat is 'rotate'"),
        ({"render_mode": "human"}, ConfigError, "render_mode is 'human', expected one of ansi, rgb_array"),
        ({"opponents": "nobody"}, AgentError, "nobody"),
        ({"opponents": [3]}, AgentError, r"opponents\[0\] is 3"),
        ({"opponents": []}, AgentError, "opponents is empty"),
        ({"market": "nowhere"}, ConfigError, "nowhere"),
        ({"setup": "default"}, ConfigError, "setup is 'default'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MarketEnv(**arguments)


def test_a_setup_and_its_parts_exclude_each_other(setup: MarketSetup) -> None:
    with pytest.raises(ConfigError, match="setup and ticks are both given"):
        MarketEnv(setup, ticks=3)


@pytest.mark.parametrize("episode", [-1, 1.5, "first", [0, 1]])
def test_a_bad_episode_number_is_named(setup: MarketSetup, episode: Any) -> None:
    with pytest.raises(ConfigError, match=r"options\['episode'\]"):
        MarketEnv(setup).reset(seed=0, options={"episode": episode})


def test_opponents_that_raise_do_not_break_the_episode(setup: MarketSetup) -> None:
    env = MarketEnv(setup, opponents=["tests.envs.bidders.Raises", "truthful"])
    observations, _, infos = play(env, [zeros(env)] * setup.ticks, seed=0)
    assert np.isfinite(observations).all()
    assert not any(info["refused"] for info in infos)
    failures = env.markets.seating.failures[0].sum(axis=1)
    assert failures[0] == setup.ticks - 2
    assert failures[1] == 0
    assert "no bid today" in env.markets.seating.first_error[0, 0]


def test_a_python_opponent_plays_the_same_as_a_compiled_one(setup: MarketSetup) -> None:
    # Compiled agents and those asked one by one share one arena: zero actions against zero-action bidders in Python and by action.
    every = SeatedMarkets(setup, np.arange(10)[None])
    every.reset(4, None, None)
    env = MarketEnv(setup, seat=8, opponents="tests.envs.bidders.DefaultStorage")
    _, _, infos = play(env, [zeros(env)] * setup.ticks, seed=4)
    for info in infos:
        every.play()
        assert info["profit"] == pytest.approx(every.results[1, 0, 8], rel=0.0, abs=1e-9)


def _pickled(env: MarketEnv) -> MarketEnv:
    return pickle.loads(pickle.dumps(env))  # type: ignore[no-any-return]


def _cloudpickled(env: MarketEnv) -> MarketEnv:
    return cloudpickle.loads(cloudpickle.dumps(env))  # type: ignore[no-any-return]


@pytest.mark.parametrize("copied", [_pickled, _cloudpickled, copy.deepcopy])
def test_a_copy_goes_on_as_the_original(setup: MarketSetup, copied: Any) -> None:
    env = MarketEnv(setup, render_mode="rgb_array", opponents=["zero_intelligence", "tests.envs.bidders.DefaultStorage"])
    env.reset(seed=3)
    env.step(zeros(env))
    env.render()
    twin = copied(env)
    for _ in range(setup.ticks - 1):
        (a, x, *_), (b, y, *_) = env.step(zeros(env)), twin.step(zeros(twin))
        assert np.array_equal(a, b)
        assert x == y
    assert np.array_equal(env.reset()[0], twin.reset()[0])


def test_environments_of_one_process_do_not_disturb_each_other(setup: MarketSetup) -> None:
    actions = draw_actions(setup.ticks, 11)[:, 0]
    alone = play(MarketEnv(setup), actions, seed=1)[0]
    one, other = MarketEnv(setup), MarketEnv(setup, seat=2)
    one.reset(seed=1)
    other.reset(seed=2)
    for tick, action in enumerate(actions):
        observation = one.step(action)[0]
        other.step(-action)
        assert np.array_equal(observation, alone[tick + 1])
    one.close()
    other.close()


@pytest.mark.slow
def test_ppo_learns_two_iterations(setup: MarketSetup) -> None:
    ppo = pytest.importorskip("stable_baselines3").PPO
    model = ppo("MlpPolicy", MarketEnv(setup), n_steps=48, batch_size=24, n_epochs=1, device="cpu", seed=0)
    model.learn(96)
    assert model.num_timesteps == 96
    assert len(model.ep_info_buffer) == 4
    assert all(episode["l"] == setup.ticks for episode in model.ep_info_buffer)
