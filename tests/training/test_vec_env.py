"""The environment that stable-baselines3 takes."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from gridpilot import cli
from gridpilot.agents.threshold import Threshold
from gridpilot.envs import MarketEnv, MarketVectorEnv
from gridpilot.errors import ConfigError, GridPilotError, MissingExtraError
from gridpilot.policies import load_policy
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.training import make_vec_env, make_vector_env
from gridpilot.training.config import TRAINING
from gridpilot.training.sb3_env import MarketVecEnv


@pytest.fixture(scope="module")
def short() -> MarketSetup:
    return load_setup(ticks=24, history=24)


def drawn(env: MarketVecEnv, steps: int) -> Any:
    return np.random.default_rng(1).uniform(-1.0, 1.0, (steps, *env.env.action_space.shape)).astype(np.float32)


def test_ppo_takes_it_in_three_lines(short: MarketSetup) -> None:
    env = make_vec_env(8, short)
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=16, n_epochs=1, device="cpu", seed=7)
    model.learn(64)
    assert model.num_timesteps == 64
    assert env.env.markets.roots.tolist() == [7] * 8  # the algorithm's seed is that of the days
    assert model.ep_info_buffer is not None
    assert {episode["l"] for episode in model.ep_info_buffer} == {4}


def test_it_is_the_vector_environment_to_the_last_bit(short: MarketSetup) -> None:
    env = make_vec_env(3, short, hold=4, shading=1, baseline=None)
    plain = MarketVectorEnv(3, short, action_version=2, hold=4, shading=1, reward="profit_and_stored", autoreset="disabled")
    played = drawn(env, 12)
    seen = env.reset()
    expected, _ = plain.reset(seed=0, options={"episode": TRAINING})
    assert np.array_equal(seen, expected)
    total = np.zeros(3)
    for i, action in enumerate(played):
        seen, reward, done, infos = env.step(action)
        expected, profit, _, _, _ = plain.step(action)
        total += profit
        assert np.array_equal(reward, profit.astype(np.float32))
        over = i % env.decisions == env.decisions - 1
        assert done.tolist() == [over] * 3
        if over:
            assert np.array_equal([info["terminal_observation"] for info in infos], expected)
            assert [info["episode"]["r"] for info in infos] == total.tolist()
            assert not any(info["TimeLimit.truncated"] for info in infos)
            expected, info = plain.reset()
            assert info["episode_number"].tolist() == [TRAINING + 3 * (i // 6 + 1) + b for b in range(3)]
            total[:] = 0.0
        else:
            assert infos == [{}, {}, {}]
        assert np.array_equal(seen, expected)


def test_no_day_of_training_is_one_that_is_judged(short: MarketSetup) -> None:
    env = make_vec_env(4, short, hold=24)
    env.reset()
    for _ in range(3):
        assert env.env.markets.episodes.min() >= TRAINING
        env.step(np.zeros((4, 2)))


def test_several_seats_of_a_market_learn_one_policy(short: MarketSetup) -> None:
    env = make_vec_env(3, short, seats=[0, 8, 5], hold=12, opponents=[Threshold, Threshold(), "mpc", {"name": "truthful"}])
    assert (env.num_envs, env.n_markets, env.decisions) == (9, 3, 2)
    played = drawn(env, 2)
    env.reset()
    first = env.step(played[0])[1]
    _, last, done, infos = env.step(played[1])
    assert done.all()
    np.testing.assert_allclose([info["episode"]["r"] for info in infos], first + last, rtol=1e-6)
    assert len({info["episode"]["profit"] for info in infos}) == 9
    assert env.env.markets.episodes.tolist() == [TRAINING + 3, TRAINING + 4, TRAINING + 5]
    PPO("MlpPolicy", env, n_steps=2, batch_size=9, n_epochs=1, device="cpu").learn(18)


def test_who_plays_like_the_baseline_earns_nothing_over_it(short: MarketSetup) -> None:
    # Orders that are left alone are the truth, in all ten seats of both worlds.
    env = make_vec_env(2, short, seats=range(10), hold=1, baseline="truthful", opponents=[], reward="profit")
    env.reset()
    orders = env.env.markets.arena.orders
    decode = env.env.markets._decode
    env.env.markets._decode = lambda: (decode(), orders.clear())[0]  # type: ignore[method-assign]
    assert not any(env.step(action)[1].any() for action in drawn(env, 5))


def test_stable_baselines3s_own_checks(short: MarketSetup) -> None:
    check_env(MarketEnv(short, action_version=2, hold=3, baseline="truthful"))
    env = make_vec_env(2, short, hold=12, bootstrap=True)
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(VecMonitor) == [False, False]
    assert env.get_attr("decisions", [1]) == [2]
    assert env.get_attr("render_mode") == [None, None]
    assert len(env.env_method("render")) == 2
    with pytest.raises(ValueError, match="the markets are one environment"):
        env.set_attr("x", 1, [0])
    normalised = VecNormalize(env)
    model = SAC("MlpPolicy", normalised, learning_starts=4, batch_size=4, buffer_size=32, device="cpu", seed=0)
    model.learn(8)
    assert model.num_timesteps == 8
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=4, return_episode_rewards=True)
    assert lengths == [2] * 4
    assert np.isfinite(rewards).all()
    env.close()


def test_the_lines_of_the_page_end_in_a_policy_that_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).resolve().parents[2] / "docs" / "learning.md").read_text(encoding="utf-8")
    (lines,) = [block for block in re.findall("```python\n(.*?)```", page, re.DOTALL) if "make_vec_env" in block]
    for shown, tiny in (("num_envs=256", "num_envs=4, ticks=24, history=24"), ("1_000_000", "16"), ("4096", "16")):
        assert lines.count(shown) == 1
        lines = lines.replace(shown, tiny)
    made: dict[str, Any] = {}
    exec(lines, made)
    assert made["model"].num_timesteps == 16
    assert cli.main(["policy", "import", "model.zip", "--out", "my_policy"]) == 0
    policy = load_policy("my_policy")
    rows = made["env"].reset()
    expected, _ = made["model"].predict(rows, deterministic=True)
    np.testing.assert_allclose(np.clip(policy.act(rows), -1.0, 1.0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_envs": 0}, "num_envs is 0, expected a whole number >= 1"),
        ({"seed": -1}, "seed is -1, expected a whole number >= 0"),
        ({"first_episode": 1.5}, "first_episode is 1.5"),
        ({"hold": 0}, "hold is 0"),
        ({"baseline": "nobody"}, "nobody"),
        ({"seat": 10}, "seat is 10"),
    ],
)
def test_bad_arguments_are_told(short: MarketSetup, options: Any, told: str) -> None:
    with pytest.raises(GridPilotError, match=told):
        make_vec_env(**({"num_envs": 2, "setup": short} | options))


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch, short: MarketSetup) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "gridpilot.training.sb3_env":
            raise ImportError("No module named 'stable_baselines3'")
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"an environment of stable-baselines3 needs an optional dependency: .*\[rl\]"):
        make_vec_env(2, short)


def test_a_setup_and_a_market_are_too_much(short: MarketSetup) -> None:
    with pytest.raises(ConfigError, match="setup and ticks are both given"):
        make_vec_env(2, short, ticks=3)


def test_the_environment_for_other_libraries_plays_the_same_days(short: MarketSetup) -> None:
    env, known = make_vector_env(3, short, hold=4, baseline=None), make_vec_env(3, short, hold=4, baseline=None)
    played = drawn(known, 7)
    seen, info = env.reset(seed=0)
    assert info["episode_number"].tolist() == [TRAINING, TRAINING + 1, TRAINING + 2]
    assert np.array_equal(seen, known.reset())
    for i, action in enumerate(played):
        seen, reward, ended, cut, info = env.step(action)
        expected, wanted, done, _ = known.step(action)
        assert np.array_equal(seen, expected)  # of the next day where one has ended
        assert np.array_equal(reward.astype(np.float32), wanted)
        assert (ended.tolist(), cut.tolist()) == (done.tolist(), [False] * 3)
        assert ended.all() == (i == 5)
    _, info = env.reset()
    assert info["episode_number"].tolist() == [TRAINING + 6, TRAINING + 7, TRAINING + 8]
    _, info = env.reset(seed=5)
    assert (info["root"].tolist(), int(info["episode_number"][0])) == ([5] * 3, TRAINING)


def test_an_end_may_be_told_as_a_time_limit_and_counting_begins_anywhere(short: MarketSetup) -> None:
    env = make_vector_env(2, short, hold=24, bootstrap=True, first_episode=40, seed=3)
    _, info = env.reset()
    assert (info["root"].tolist(), info["episode_number"].tolist()) == ([3, 3], [40, 41])
    _, _, ended, cut, info = env.step(np.zeros((2, 2), dtype=np.float32))
    assert (ended.tolist(), cut.tolist()) == ([False] * 2, [True] * 2)
    assert "final_obs" in info
    _, info = MarketVectorEnv(2, short, first_episode=7).reset(seed=[1, 2])
    assert info["episode_number"].tolist() == [7, 7]
    with pytest.raises(ConfigError, match="first_episode is -1, expected a whole number >= 0"):
        MarketVectorEnv(2, short, first_episode=-1)
