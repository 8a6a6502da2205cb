"""The batched environment: equal to the scalar one market by market, with its own resets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from gridpilot import Agent, Bid, Observation
from gridpilot.agents.threshold import Threshold
from gridpilot.envs import MarketEnv, MarketVectorEnv, parallel_env
from gridpilot.errors import AgentError, BidError, ConfigError
from gridpilot.setup import MarketSetup, load_setup
from tests.envs.play import digest, draw_actions, play

ID = "gridpilot.envs:GridPilot/Market-v0"
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("n", [1, 3, 70])  # 70 markets run on the parallel kernels
def test_every_market_is_the_scalar_environment_bit_for_bit(setup: MarketSetup, n: int) -> None:
    opponents = ["threshold", "zero_intelligence", "truthful"]
    envs = MarketVectorEnv(n, setup, seat=5, opponents=opponents)
    actions = draw_actions(setup.ticks, 11, n=n)
    observations, rewards, infos = [envs.reset(seed=12)[0]], [], []
    for action in actions:
        observation, reward, _, truncated, info = envs.step(action)
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
    assert truncated.all()
    for b in {0, n // 2, n - 1}:
        env = MarketEnv(setup, seat=5, opponents=opponents)
        alone = play(env, actions[:, b], seed=12, options={"episode": b})
        assert np.array_equal(np.array(observations)[:, b], alone[0])
        assert np.array_equal(np.array(rewards)[:, b], alone[1])
        for tick, info in enumerate(alone[2]):
            assert info == {key: infos[tick][key][b] for key in info}


@pytest.mark.parametrize("n", [3, 70])
def test_each_of_several_learners_in_a_market_is_a_row(setup: MarketSetup, n: int) -> None:
    task: Any = {"action_version": 2, "hold": 6, "baseline": "truthful", "reward": "profit_and_stored"}
    envs = MarketVectorEnv(n, setup, seats=[8, 2], opponents=["threshold"], autoreset="disabled", **task)
    assert (envs.num_envs, envs.observation_space.shape) == (2 * n, (2 * n, 55))
    actions = draw_actions(4, 2, n=2 * n)
    seen, info = envs.reset(seed=5)
    assert info["episode_number"].tolist() == np.repeat(np.arange(n), 2).tolist()
    together = [(seen, np.zeros(2 * n)), *((step[0], step[1]) for step in map(envs.step, actions))]
    b = n - 1
    alone = parallel_env(setup=setup, seats=[8, 2], opponents=["threshold"], **task)
    observations, _ = alone.reset(seed=5, options={"episode": b})
    for i, action in enumerate([None, *actions]):
        rewards = {"site_8": 0.0, "site_2": 0.0}
        if action is not None:
            observations, rewards, *_ = alone.step({"site_8": action[2 * b], "site_2": action[2 * b + 1]})
        for row, agent in ((2 * b, "site_8"), (2 * b + 1, "site_2")):
            assert np.array_equal(together[i][0][row], observations[agent])
            assert together[i][1][row] == rewards[agent]
    mask = np.ones(2 * n, dtype=np.bool_)
    _, info = envs.reset(options={"reset_mask": mask})
    assert info["episode_number"].tolist() == np.repeat(np.arange(n, 2 * n), 2).tolist()
    mask[1] = False
    with pytest.raises(ConfigError, match=f"leaves out 1 of {n} markets"):
        envs.reset(options={"reset_mask": mask})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seats": []}, "expected at least one seat and none twice"),
        ({"seats": [1, 1]}, "expected at least one seat and none twice"),
        ({"seats": "12"}, "expected at least one seat and none twice"),
        ({"seats": [1, 10]}, "seat is 10"),
        ({"seats": [1], "seat": 3}, "seat=3 and seats are both given"),
    ],
)
def test_seats_that_are_none_are_told(setup: MarketSetup, options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MarketVectorEnv(2, setup, **options)


@pytest.mark.parametrize("n", [13, 70])
def test_rotating_seats(setup: MarketSetup, n: int) -> None:
    envs = MarketVectorEnv(n, setup, seat="rotate")
    actions = draw_actions(setup.ticks, 11, n=n)
    observations = [envs.reset(seed=2)[0], *(envs.step(action)[0] for action in actions)]
    for b in (4, 12):
        alone = play(MarketEnv(setup, seat=b % 10), actions[:, b], seed=2, options={"episode": b})
        assert np.array_equal(np.array(observations)[:, b], alone[0])


def test_python_opponents_play_in_every_market(setup: MarketSetup) -> None:
    opponents = ["tests.envs.bidders.DefaultStorage", "tests.envs.bidders.Raises"]
    envs = MarketVectorEnv(2, setup, opponents=opponents)
    actions = draw_actions(setup.ticks, 11, n=2)
    observations = [envs.reset(seed=2)[0], *(envs.step(action)[0] for action in actions)]
    alone = play(MarketEnv(setup, opponents=opponents), actions[:, 1], seed=2, options={"episode": 1})
    assert np.array_equal(np.array(observations)[:, 1], alone[0])


def test_another_process_gives_the_same_bits() -> None:
    program = "from tests.envs.play import digest; print(digest())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_gymnasiums_processes_give_the_same_bits(context: str) -> None:
    arguments: dict[str, Any] = {"ticks": 6, "history": 10}
    envs = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="async", vector_kwargs={"context": context}, **arguments)
    try:
        actions = draw_actions(6, 11, n=2)
        observations = [envs.reset(seed=3)[0].copy(), *(envs.step(action)[0].copy() for action in actions)]
    finally:
        envs.close()
    for b in range(2):  # which seeds its environments seed, seed + 1, ...
        alone = play(MarketEnv(**arguments), actions[:, b], seed=3 + b)
        assert np.array_equal(np.array(observations)[:, b], alone[0])


def test_make_vec_gives_the_batched_environment(setup: MarketSetup) -> None:
    envs = gymnasium.make_vec(ID, num_envs=4096, vectorization_mode="vector_entry_point", setup=setup)
    assert isinstance(envs, MarketVectorEnv)
    assert isinstance(envs.metadata["autoreset_mode"], AutoresetMode)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == envs.observation_space.shape == (4096, *envs.single_observation_space.shape)
    assert envs.observation_space.contains(observations)
    observations, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert envs.observation_space.contains(observations)
    assert rewards.shape == terminated.shape == truncated.shape == (4096,)
    assert not terminated.any()
    assert not truncated.any()


def test_next_step_autoreset(setup: MarketSetup) -> None:
    envs = MarketVectorEnv(3, setup)
    action = np.zeros(envs.action_space.shape, dtype=np.float32)
    assert envs.reset(seed=1)[1]["episode_number"].tolist() == [0, 1, 2]
    for _ in range(setup.ticks):
        _, _, terminated, truncated, _ = envs.step(action)
    assert not terminated.any()
    assert truncated.all()
    first, rewards, _, truncated, info = envs.step(action + np.nan)  # ignored
    assert rewards.tolist() == [0.0] * 3
    assert not truncated.any()
    assert info["episode_number"].tolist() == [3, 4, 5]
    assert np.array_equal(first, MarketVectorEnv(3, setup).reset(seed=1, options={"episode": 3})[0])
    assert np.array_equal(first[::-1], MarketVectorEnv(3, setup).reset(seed=1, options={"episode": [5, 4, 3]})[0])


def test_same_step_autoreset(setup: MarketSetup) -> None:
    envs = MarketVectorEnv(2, setup, autoreset="same_step")
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    plain = MarketVectorEnv(2, setup)
    action = np.zeros(envs.action_space.shape, dtype=np.float32)
    envs.reset(seed=1)
    plain.reset(seed=1)
    for _ in range(setup.ticks):
        observations, rewards, _, truncated, info = envs.step(action)
        last, expected, *_ = plain.step(action)
    assert truncated.all()
    assert np.array_equal(rewards, expected)
    assert np.array_equal(info["final_obs"], last)
    assert np.array_equal(info["final_info"]["profit"], rewards * envs.markets.rated[8])
    assert np.array_equal(observations, plain.step(action)[0])
    assert info["episode_number"].tolist() == [2, 3]


def test_disabled_autoreset(setup: MarketSetup) -> None:
    envs = MarketVectorEnv(2, setup, autoreset="disabled")
    action = np.zeros(envs.action_space.shape, dtype=np.float32)
    envs.reset(seed=1)
    for _ in range(setup.ticks):
        envs.step(action)
    with pytest.raises(ResetNeeded):
        envs.step(action)
    assert envs.reset()[1]["episode_number"].tolist() == [2, 3]


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_gymnasiums_statistics_count_whole_episodes(setup: MarketSetup, autoreset: Any) -> None:
    envs: VectorEnv[Any, Any, Any] = RecordEpisodeStatistics(MarketVectorEnv(2, setup, autoreset=autoreset))
    action = np.zeros(envs.action_space.shape, dtype=np.float32)
    envs.reset(seed=1)
    lengths = []
    for _ in range(2 * setup.ticks + 1):
        info = envs.step(action)[4]
        if "episode" in info:
            lengths.append(info["episode"]["l"].tolist())
    assert lengths == [[setup.ticks] * 2] * 2


def test_refused_actions_are_marked_where_they_are(setup: MarketSetup) -> None:
    envs = MarketVectorEnv(3, setup)
    envs.reset(seed=0)
    action = np.zeros(envs.action_space.shape, dtype=np.float32)
    action[1, 0] = np.nan
    info = envs.step(action)[4]
    assert info["refused"].tolist() == [False, True, False]
    assert info["won_kw"][1] == 0.0
    assert (info["won_kw"][[0, 2]] > 0.0).all()


def test_what_step_returns_is_the_callers(setup: MarketSetup) -> None:
    envs = MarketVectorEnv(2, setup)
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    action = np.zeros(envs.action_space.shape, dtype=np.float32)
    _, rewards, _, _, info = envs.step(action)
    profit, reward = info["profit"].copy(), rewards.copy()
    envs.step(action + 1)
    assert np.array_equal(first, kept)
    assert np.array_equal(info["profit"], profit)
    assert np.array_equal(rewards, reward)


def test_pickling_in_mid_episode(setup: MarketSetup) -> None:
    envs = MarketVectorEnv(3, setup)
    envs.reset(seed=0)
    actions = draw_actions(3, 11, n=3)
    envs.step(actions[0])
    twin = cloudpickle.loads(cloudpickle.dumps(envs))
    for action in actions[1:]:
        assert np.array_equal(envs.step(action)[0], twin.step(action)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"num_envs": 2.5}, "num_envs is 2.5"),
        ({"autoreset": "never"}, "autoreset is 'never', expected one of next_step, same_step, disabled"),
        ({"seat": -1}, "seat is -1"),
    ],
)
def test_bad_arguments_are_named(setup: MarketSetup, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MarketVectorEnv(setup=setup, **arguments)


def test_actions_of_another_shape_are_an_error(setup: MarketSetup) -> None:
    envs = MarketVectorEnv(2, setup)
    envs.reset(seed=0)
    with pytest.raises(BidError, match=r"actions: has shape \(11,\).*expected an array of numbers of shape \(2, 11\)"):
        envs.step(np.zeros(11, dtype=np.float32))


def test_a_list_of_seeds_is_environments_one_by_one() -> None:
    setup, seeds = load_setup(ticks=6), [5, 3, 5, 11]
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 6, len(seeds), 11))
    vector = MarketVectorEnv(len(seeds), setup, opponents=["zero_intelligence", "threshold"], autoreset="disabled")
    singles = [MarketEnv(setup, opponents=["zero_intelligence", "threshold"]) for _ in seeds]
    for episode, given in enumerate((seeds, None, [7, None, None, 2])):
        observations, info = vector.reset(seed=given)
        alone = [env.reset(seed=None if given is None else given[b]) for b, env in enumerate(singles)]
        assert info["root"].tolist() == [one["root"] for _, one in alone]
        assert info["episode_number"].tolist() == [one["episode_number"] for _, one in alone]
        np.testing.assert_array_equal(observations, np.stack([one for one, _ in alone]))
        for action in actions[episode]:
            observations, rewards, *_ = vector.step(action)
            alone = [env.step(action[b])[:2] for b, env in enumerate(singles)]  # type: ignore[misc]
            np.testing.assert_array_equal(observations, np.stack([one for one, _ in alone]))
            assert rewards.tolist() == [reward for _, reward in alone]
    assert [vector.reset(seed=9)[1]["episode_number"].tolist(), vector.reset()[1]["episode_number"].tolist()] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
    ]


@pytest.mark.parametrize("seed", [[1, 2, 3], [1, -1], [1, "2"], [], -4])
def test_seeds_that_are_none_are_refused(seed: Any) -> None:
    env = MarketVectorEnv(2, load_setup(ticks=3))
    with pytest.raises((ConfigError, gymnasium.error.Error), match=r"seed|Seed"):
        env.reset(seed=seed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reset_mask": np.array([True, False])}, "leaves out 1 of 2 markets"),
        ({"reset_mask": np.array([False, False])}, "leaves out 2 of 2 markets"),
        ({"reset_mask": np.array([True])}, "expected a truth value for each of 2 markets"),
        ({"reset_mask": [1, 1]}, "expected a truth value"),
        ({"episodes": 3}, "unknown option 'episodes' of reset; did you mean episode?"),
        ({"low": 0.0, "high": 1.0}, "unknown option 'low' of reset; known options are episode, reset_mask"),
        ([("episode", 3)], "expected a mapping"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused_and_nothing_moves(options: Any, words: str) -> None:
    env = MarketVectorEnv(2, load_setup(ticks=6), autoreset="disabled")
    env.reset(seed=1)
    env.step(np.zeros((2, 11)))
    before = env.markets.observe()
    with pytest.raises(ConfigError, match=re.escape(words)):
        env.reset(options=options)
    assert env.markets.arena.tick == 1
    np.testing.assert_array_equal(env.markets.observe(), before)
    if isinstance(options, dict) and "reset_mask" not in options:
        with pytest.raises(ConfigError, match=re.escape(words)):
            MarketEnv(load_setup(ticks=6)).reset(options=options)


def test_a_mask_of_all_markets_begins_the_next_episodes() -> None:
    env = MarketVectorEnv(2, load_setup(ticks=2), autoreset="disabled")
    env.reset(seed=1)
    env.step(np.zeros((2, 11)))
    _, _, terminated, truncated, _ = env.step(np.zeros((2, 11)))
    _, info = env.reset(options={"reset_mask": terminated | truncated})
    assert info["episode_number"].tolist() == [2, 3]


class Eager(Agent):
    def __init__(self, price: float = 0.2) -> None:
        self.price = price

    def bid(self, observation: Observation) -> Bid:
        return Bid([(observation.site.grid_kw, self.price)])


def test_opponents_are_names_classes_and_instances() -> None:
    setup = load_setup(ticks=4)

    def played(opponents: Any) -> bytes:
        env = MarketVectorEnv(2, setup, opponents=opponents)
        env.reset(seed=4)
        return b"".join(np.concatenate([part.ravel() for part in env.step(np.zeros((2, 11)))[:2]]).tobytes() for _ in range(4))

    assert played(Eager) == played([Eager]) == played(Eager()) == played([Eager(), Eager]) != played(Eager(price=0.01))
    assert played("threshold") == played([Threshold]) == played(Threshold())
    mixed = MarketEnv(setup, opponents=["truthful", Eager, Eager(price=0.1)])
    assert sorted(mixed.markets.seating.first_error) == []
    with pytest.raises(AgentError, match=r"opponents\[1\] is 3, expected the name of an agent, a class or an instance of one"):
        MarketEnv(setup, opponents=["truthful", 3])  # type: ignore[list-item]
    with pytest.raises(AgentError, match="is no agent"):
        MarketEnv(setup, opponents=dict)  # type: ignore[arg-type]
