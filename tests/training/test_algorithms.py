"""The algorithms that remember: their policies play by numpy, equal seeds give equal bits, and an interrupted search goes on to them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gridpilot
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import ConfigError, MissingExtraError, PolicyError
from gridpilot.policies import load_policy
from gridpilot.setup import load_setup
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.evaluation import played
from gridpilot.training.markets import Field, specs_of
from gridpilot.training.sb3_learner import Learner

SEARCH = {"markets": 4, "updates": 3, "batch": 8, "gradient_steps": 2, "n_steps": 3, "buffer": 40, "checkpoint_every": 1}
TINY: dict[str, Any] = {
    "ticks": 24, "history": 24, "layers": [8], "off_policy": SEARCH, "quiet": True, "evaluation": {"episodes": 0, "elsewhere": 0},
}  # fmt: skip
OFF_POLICY = [name for name, algorithm in ALGORITHMS.items() if algorithm.section == "off_policy"]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("algo", OFF_POLICY)
def test_a_search_ends_in_a_folder_that_plays_and_goes_on_where_it_was_killed(
    algo: str, market: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updated, seen = Learner.updated, []

    def watched(self: Learner) -> None:
        updated(self)
        seen.append(self)

    def until_the_second(self: Learner) -> None:
        updated(self)
        if self.updates == 2:
            raise Killed

    monkeypatch.setattr(Learner, "updated", watched)
    whole = gridpilot.train(tmp_path / "whole", market=market, algo=algo, **TINY)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "updated", until_the_second)
        with pytest.raises(Killed):
            gridpilot.train(tmp_path / "killed", market=market, algo=algo, **TINY)
    before = len(seen)
    again = gridpilot.train(tmp_path / "killed", market=market, algo=algo, **TINY)
    assert len(seen) == before + 1  # one update was left
    for name, array in whole.policy.arrays.items():
        assert again.policy.arrays[name].tobytes() == array.tobytes()
    assert again.curves == whole.curves
    assert seen[0].model.replay_buffer.full  # of 10 decisions a market, where 12 were made

    policy = load_policy(tmp_path / "killed")
    assert (policy.layout.output, policy.layout.hold) == ("tanh", 6)
    assert f"Searched for from scratch by {algo.upper()} (3 updates of 4 episodes" in again.card
    rows = np.random.default_rng(0).normal(size=(50, policy.layout.sizes[0])).astype(np.float32)
    expected, _ = seen[-1].model.predict(rows, deterministic=True)
    np.testing.assert_allclose(policy.act(rows), expected, rtol=0.0, atol=1e-6)
    field = Field(load_setup(market, ticks=24, history=24), "rotating", specs_of(["threshold"]))
    agent = AgentSpec("learned", {"policy": str(tmp_path / "killed")})
    np.testing.assert_allclose(played(policy, field, np.arange(6), 0), played(agent, field, np.arange(6), 0), rtol=1e-6)


@pytest.mark.parametrize("algo", OFF_POLICY)
def test_a_search_begins_where_the_battery_is_used(algo: str, market: dict[str, Any]) -> None:
    still = SEARCH | {"updates": 1, "learning_rate": 1e-9, "shading": 1, "storage_start": 0.6}
    begun = gridpilot.train(market=market, algo=algo, **(TINY | {"off_policy": still}))
    rows = np.random.default_rng(0).normal(size=(50, begun.policy.layout.sizes[0])).astype(np.float32)
    np.testing.assert_allclose(begun.policy.act(rows), np.tile([0.6, 0.0, -0.5], (50, 1)), atol=0.05)


@pytest.mark.parametrize("algo", OFF_POLICY)
def test_the_actor_explores_by_itself_and_slower_than_critics_that_see_its_deviations(
    algo: str, market: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    updated, seen = Learner.updated, []

    def watched(self: Learner) -> None:
        updated(self)
        seen.append(self)

    monkeypatch.setattr(Learner, "updated", watched)
    units = {"learning_rate": 1e-6, "storage_start": 0.6, "log_std": -3.0, "actor_rate": 0.25, "action_unit": 0.2}
    settings = SEARCH | units | {"updates": 2}
    gridpilot.train(market=market, algo=algo, **(TINY | {"off_policy": settings}))
    model = seen[0].model
    remembered = model.replay_buffer.actions[: model.replay_buffer.pos, :, 0]
    assert np.abs(remembered - 0.6).max() < 0.3  # drawn evenly, most would be farther
    rates = [optimiser.param_groups[0]["lr"] for optimiser in (model.actor.optimizer, model.critic.optimizer)]
    assert rates[0] == pytest.approx(0.25 * rates[1])
    assert seen[0].env.scale > 1.0  # half an hour's reward is hundredths

    x = torch.randn(5, model.critic.q_networks[0][0].in_features)
    scaled = x / torch.tensor([1.0] * (x.shape[1] - 2) + [0.2, 0.2])
    for critic in (model.critic, model.critic_target):
        for network in critic.q_networks:
            expected = torch.nn.Sequential(*network)(scaled)
            torch.testing.assert_close(network(x), expected)


def test_a_damaged_checkpoint_is_told(market: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".checkpoint-0.pt").write_bytes(b"what is this")
    with pytest.raises(PolicyError, match=r"\.checkpoint-0\.pt is no checkpoint that can be gone on from"):
        gridpilot.train(tmp_path / "mine", market=market, algo="sac", **TINY)


def test_what_is_missing_and_what_does_not_go_together_is_told(market: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="init is 'clone', expected null for algo=sac: only ppo goes on from a policy"):
        gridpilot.train(market=market, algo="sac", init="clone", **TINY)
    with pytest.raises(ConfigError, match="expected each seed once"):
        gridpilot.train(market=market, algo="sac", seeds=[1, 1], **TINY)

    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(MissingExtraError, match=r"training a policy by TQC needs an optional dependency: .*\[rl\]"):
        gridpilot.train(market=market, algo="tqc", **TINY)


def test_the_packages_are_those_of_the_manifest(market: dict[str, Any]) -> None:
    made = gridpilot.train(market=market, algo="tqc", **(TINY | {"off_policy": SEARCH | {"updates": 1}}))
    assert {"stable-baselines3", "sb3-contrib"} <= set(made.policy.training["versions"])
    assert set(made.curves) == {0}
