"""What a decision means and what it is paid: action version 2, hold, stored energy, twins, and opponents that are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from gridpilot.agents.base import Agent
from gridpilot.agents.seating import AgentSpec
from gridpilot.agents.threshold import Threshold
from gridpilot.envs import MarketEnv, MarketParallelEnv, MarketVectorEnv
from gridpilot.errors import AgentError, ConfigError, PolicyError
from gridpilot.market.arena import stored_value
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation
from gridpilot.market.physics import PROFIT
from gridpilot.policies import save_policy
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.training.markets import Field, begun, specs_of
from tests.policies.made_up import made_up


@pytest.fixture(scope="module")
def short() -> MarketSetup:
    return load_setup(ticks=12, history=24)


def actions(steps: int, *shape: int) -> Any:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (steps, *shape)).astype(np.float32)


def rewards(env: MarketVectorEnv, played: Any, seed: int = 0) -> Any:
    env.reset(seed=seed)
    return np.array([env.step(action)[1] for action in played])


def test_an_id_of_its_own_has_actions_of_version_2(short: MarketSetup) -> None:
    one = gymnasium.make("GridPilot/Learner-v0", setup=short, shading=2)
    assert one.action_space.shape == (4,)
    many = gymnasium.make_vec("GridPilot/Learner-v0", num_envs=3, vectorization_mode="vector_entry_point", setup=short, shading=2)
    assert many.action_space.shape == (3, 4)
    assert MarketParallelEnv(short, action_version=2).action_space("site_0").shape == (2,)
    played = actions(12, 3, 4)
    many.reset(seed=5)
    one.reset(seed=5)
    for action in played:
        assert one.step(action[0])[1] == many.step(action)[1][0]
    assert gymnasium.make("GridPilot/Market-v0", setup=short).action_space.shape == (11,)


def test_a_storage_value_of_version_2_is_that_of_the_order(short: MarketSetup) -> None:
    env = MarketVectorEnv(2, short, action_version=2)
    env.reset(seed=0)
    size = env.markets.arena.levels[:, 1].copy()
    env.step(np.array([[0.3, 0.0], [-1.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(
        env.markets.arena.orders.storage_value[:, 8], size * np.sinh(np.arcsinh(1.0) + 2.2 * np.float32([0.3, -1.0])), rtol=1e-6
    )


@pytest.mark.parametrize("mechanism", ["pay_as_bid", "uniform"])
def test_a_rule_bids_for_a_learner_as_for_the_agent_that_plays_its_policy(mechanism: Any, tmp_path: Path) -> None:
    # A policy that does not look, so that what is compared is the bids alone.
    folder = save_policy(made_up(scale=0.0, bidding="best_response"), tmp_path / "mine", "# Policy\n")
    setup = load_setup(ticks=12, history=24, mechanism=mechanism)
    options: Any = {"action_version": 2, "opponents": ["threshold", "best_response"]}
    env, alone = (MarketVectorEnv(3, setup, bidding=bidding, **options) for bidding in ("best_response", None))
    played = np.zeros((12, 3, 2))
    found, others = rewards(env, played), rewards(alone, played)
    rivals = specs_of(["threshold", "best_response"])
    arena, seating, _ = begun(Field(setup, 8, rivals), 0, np.arange(3), AgentSpec("learned", {"policy": str(folder)}))
    expected = np.zeros((12, 3))
    for tick in range(12):
        seating.bid()
        arena.step()
        seating.learn()
        expected[tick] = arena.outcome[:, 8, PROFIT]
    assert np.array_equal(found, expected / env.markets.rated[8])
    assert not np.array_equal(found, others)
    env.reset(seed=0)
    assert env.step(np.array([[np.nan, 0.0], [0.0, 0.0], [0.0, np.inf]]))[4]["refused"].tolist() == [True, False, True]
    assert not env.step(np.zeros((3, 2)))[4]["refused"].any()


def test_a_decision_that_is_held_is_the_same_decision_every_tick(short: MarketSetup) -> None:
    each, held = (MarketVectorEnv(4, short, action_version=2, hold=hold, autoreset="disabled") for hold in (1, 5))
    played = actions(3, 4, 2)  # of 5, 5 and 2 ticks
    held.reset(seed=1)
    each.reset(seed=1)
    for i, action in enumerate(played):
        observation, reward, _, over, info = held.step(action)
        parts = [each.step(action) for _ in range(5 if i < 2 else 2)]
        np.testing.assert_allclose(reward, sum(part[1] for part in parts), rtol=1e-12)
        np.testing.assert_allclose(info["payment"], sum(part[4]["payment"] for part in parts), rtol=1e-12)
        assert np.array_equal(info["soc"], parts[-1][4]["soc"])
        assert np.array_equal(observation, parts[-1][0])
        assert over.all() == (i == 2) == parts[-1][3].all()


def test_a_refusal_in_any_tick_of_a_decision_is_told_and_pictures_have_all_ticks(short: MarketSetup) -> None:
    env = MarketEnv(short, action_version=2, hold=6, render_mode="ansi")
    env.reset(seed=0)
    assert env.step(np.array([np.nan, 0.0]))[4]["refused"]
    assert not env.step(np.zeros(2))[4]["refused"]
    assert env._trace is not None
    assert np.isfinite(env._trace.soc).all()


def test_what_is_stored_at_the_end_is_paid(short: MarketSetup) -> None:
    plain, paid = (MarketVectorEnv(3, short, action_version=2, reward=reward) for reward in ("profit", "profit_and_stored"))  # type: ignore[arg-type]
    played = np.full((12, 3, 2), [0.9, 0.0])  # charges
    before, after = rewards(plain, played), rewards(paid, played)
    assert np.array_equal(before[:-1], after[:-1])
    arena = paid.markets.arena
    plant = arena.arrays.plant[8]
    worth = (arena.storage[:, 8, 0] - plant["soc_start"]) * plant["eta_d"] * arena.levels[:, 0]
    assert (worth > 0.0).all()
    np.testing.assert_allclose((after - before)[-1], worth / paid.markets.rated[8], rtol=1e-12)


def test_marking_to_market_pays_the_same_in_all_and_what_is_charged_at_once(short: MarketSetup) -> None:
    options: Any = {"action_version": 2, "hold": 2, "baseline": "threshold"}
    at_the_end, marked = (MarketVectorEnv(3, short, reward=reward, **options) for reward in ("profit_and_stored", "marked"))
    played = np.full((6, 3, 2), [0.9, 0.0])  # charges
    for _ in range(2):  # the second episode owes nothing to the first
        late, now = rewards(at_the_end, played), rewards(marked, played)
        np.testing.assert_allclose(now.sum(0), late.sum(0), rtol=1e-9)
        assert (now[0] > late[0]).all()


@pytest.mark.parametrize("baseline", ["truthful", "mpc"])
def test_a_twin_is_the_same_world_with_the_baseline_in_the_seat(short: MarketSetup, baseline: str) -> None:
    options: Any = {"action_version": 2, "reward": "profit_and_stored", "opponents": ["threshold", "zero_intelligence"]}
    alone, against = MarketVectorEnv(3, short, **options), MarketVectorEnv(3, short, baseline=baseline, **options)
    played = actions(12, 3, 2)
    difference = rewards(alone, played) - rewards(against, played)
    # By the training's own evaluation of the baseline in the same seat of the same episodes.
    rivals = specs_of(["threshold", "zero_intelligence"])
    arena, seating, _ = begun(Field(short, 8, rivals), 0, np.arange(3), AgentSpec(baseline, {}))
    expected = np.zeros((12, 3))
    for tick in range(12):
        seating.bid()
        arena.step()
        seating.learn()
        expected[tick] = arena.outcome[:, 8, PROFIT]
    expected[-1] += stored_value(arena)[:, 8]
    np.testing.assert_allclose(difference, expected / against.markets.rated[8], rtol=1e-9, atol=1e-12)


def test_the_baselines_own_decisions_are_worth_nothing(short: MarketSetup) -> None:
    env = MarketVectorEnv(4, short, baseline="truthful")  # the zero action of version 1 is the truthful bid
    np.testing.assert_allclose(rewards(env, np.zeros((12, 4, 11))), 0.0, atol=1e-12)


def test_opponents_are_drawn_by_the_episode_and_not_by_the_batch(short: MarketSetup) -> None:
    few, many = (
        MarketVectorEnv(n, short, opponents=["truthful", "threshold", "zero_intelligence"], lineup="draw", action_version=2)
        for n in (2, 6)
    )

    def labels(env: MarketVectorEnv) -> list[list[str]]:
        return env.markets._labels(list(env.markets._specs), drawn=True)

    few.reset(seed=3)
    first = labels(few)
    few.reset()
    second = labels(few)
    many.reset(seed=3)
    assert labels(many)[:4] == first + second
    assert first[0] != first[1]
    assert first[0][8] == ""
    assert len({label for row in labels(many) for label in row}) == 4
    played = actions(12, 6, 2)
    assert np.array_equal(rewards(few, played[:, :2], 3), rewards(many, played, 3)[:, :2])


def test_a_policy_is_an_opponent_by_its_folder_and_by_name(short: MarketSetup, tmp_path: Path) -> None:
    folder = save_policy(made_up(), tmp_path / "mine", "# Policy\n")
    zero = np.zeros((12, 2, 11))
    by_path, by_mapping, by_name = (
        rewards(MarketVectorEnv(2, short, opponents=given), zero)
        for given in (folder, [{"name": "learned", "policy": str(folder)}], "learned")
    )
    assert np.array_equal(by_path, by_mapping)
    assert not np.array_equal(by_path, by_name)
    with pytest.raises(PolicyError, match="does not exist, expected a folder"):
        MarketVectorEnv(2, short, opponents=tmp_path / "yours")


class Broken(Agent):
    def bid(self, observation: Observation) -> Bid:
        raise RuntimeError("out of ideas")


def test_a_baseline_that_fails_is_told(short: MarketSetup) -> None:
    env = MarketVectorEnv(1, short, baseline=Broken, hold=12)
    env.reset(seed=0)
    with pytest.raises(AgentError, match=r"the baseline failed in market 0, seat 8: tick 0: .*out of ideas"):
        env.step(np.zeros((1, 11)))
    assert MarketVectorEnv(1, short, baseline=Threshold()).markets.task.hold == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"action_version": 3}, "action_version is 3, expected one of 1, 2"),
        ({"hold": 0}, "hold is 0, expected a whole number from 1 to 100,000"),
        ({"hold": True}, "hold is True"),
        ({"action_version": 2, "shading": 65}, "shading is 65, expected a whole number from 0 to 64"),
        ({"shading": 2}, "shading is 2, expected action_version=2"),
        ({"action_version": 2, "bidding": "nash"}, "bidding is 'nash', expected one of None, best_response"),
        ({"bidding": "best_response"}, "bidding is 'best_response', expected action_version=2 and shading=0"),
        ({"action_version": 2, "bidding": "best_response", "shading": 2}, "expected action_version=2 and shading=0"),
        ({"reward": "money"}, "reward is 'money', expected one of profit, profit_and_stored, marked"),
        ({"lineup": "random"}, "lineup is 'random', expected one of cycle, draw, mixture"),
        ({"holds": 3}, "unknown argument 'holds'; did you mean hold"),
    ],
)
def test_other_options_are_refused(short: MarketSetup, options: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        MarketVectorEnv(2, short, **options)
