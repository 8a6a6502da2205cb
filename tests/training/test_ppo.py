"""Searches by PPO: what they begin at, that they are reproducible and go on where they stopped, and what comes of them."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.utils import obs_as_tensor

import gridpilot
from gridpilot import cli
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import MissingExtraError, PolicyError
from gridpilot.policies import Policy, load_policy
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.config import TRAINING, PpoConfig
from gridpilot.training.evaluation import played, profits
from gridpilot.training.markets import Field, specs_of
from gridpilot.training.run import Training
from gridpilot.training.sb3_learner import Learner
from gridpilot.training.vec_env import make_vec_env

PPO = {"markets": 8, "updates": 3, "batch": 32, "checkpoint_every": 1}
TINY: dict[str, Any] = {
    "algo": "ppo", "ticks": 24, "history": 24, "layers": [8], "ppo": PPO, "quiet": True,
    "evaluation": {"episodes": 0, "elsewhere": 0}, "tuning": {"episodes": 8, "every": 1, "against": ["truthful"]},
    "clone": {"markets": 8, "rounds": 2, "last_passes": 4, "batch": 64},
}  # fmt: skip


def no_advance(count: int, whose: str = "") -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def trained(market: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Training:
    seen = {"evaluation": {"episodes": 8, "elsewhere": 0, "against": ["truthful"]}}
    return gridpilot.train(tmp_path_factory.mktemp("searched") / "mine", market=market, **(TINY | seen))


def bits(policy: Policy) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in policy.arrays.items()}


def test_a_search_ends_in_a_folder_that_plays(trained: Training, tiny: MarketSetup) -> None:
    assert trained.folder is not None
    assert sorted(path.name for path in trained.folder.iterdir()) == [
        "CARD.md",
        "curve.json",
        "curve.png",
        "policy.json",
        "policy.safetensors",
    ]
    loaded = load_policy(trained.folder)
    assert bits(loaded) == bits(trained.policy)
    assert (loaded.layout.hold, loaded.layout.shading) == (6, 0)
    assert loaded.training["episodes"] == {"first": TRAINING, "count": 24}
    assert "stable-baselines3" in loaded.training["versions"]
    assert "Searched for from scratch by PPO (3 updates of 8 episodes, rewards over those of `truthful`)" in trained.card
    assert len(trained.curves[0]) == 3
    field = Field(tiny, "rotating", specs_of(["threshold"]))
    agent = AgentSpec("learned", {"policy": str(trained.folder)})
    np.testing.assert_allclose(profits(loaded, field, 12, 0, no_advance), profits(agent, field, 12, 0, no_advance), rtol=1e-6)


class Killed(BaseException):
    """The process ends here."""


def test_an_interrupted_search_goes_on_to_the_same_bits(
    trained: Training, market: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updated = Learner.updated

    def until_the_second(self: Learner) -> None:
        updated(self)
        if self.updates == 2:
            raise Killed

    out, checkpoint = tmp_path / "mine", tmp_path / "mine" / ".checkpoint-0.pt"
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index,union-attr]
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "updated", until_the_second)
        with pytest.raises(Killed):
            gridpilot.train(out, market=market, **TINY)
    assert checkpoint.exists()
    done: list[int] = []
    monkeypatch.setattr(Learner, "updated", lambda self: (done.append(self.updates), updated(self)))
    again = gridpilot.train(out, market=market, **TINY)
    assert done == [2]  # one update was left
    assert bits(again.policy) == bits(trained.policy)
    assert again.curves == trained.curves
    assert again.looks == trained.looks
    assert [look.update for look in again.looks[0]] == [1, 2, 3]
    assert not checkpoint.exists()
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index,union-attr]
    checkpoint.write_bytes(b"what is this")
    with pytest.raises(PolicyError, match=r"\.checkpoint-0\.pt is no checkpoint that can be gone on from"):
        gridpilot.train(out, market=market, **TINY)


def test_a_search_for_values_that_a_rule_bids_goes_on_to_the_same_bits(
    market: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid: dict[str, Any] = TINY | {"mechanism": "pay_as_bid", "market": market, "tuning": {"every": 0}}
    whole = gridpilot.train(tmp_path / "whole", **paid)
    assert (whole.policy.layout.bidding, whole.policy.layout.shading) == ("best_response", 0)
    updated = Learner.updated

    def until_the_first(self: Learner) -> None:
        updated(self)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "updated", until_the_first)
        with pytest.raises(Killed):
            gridpilot.train(tmp_path / "killed", **paid)
    again = gridpilot.train(tmp_path / "killed", **paid)
    assert bits(again.policy) == bits(whole.policy)
    assert again.curves == whole.curves


def test_another_training_does_not_go_on_from_a_checkpoint(tiny: MarketSetup, tmp_path: Path) -> None:
    settings = PpoConfig(**(_defaults() | PPO))
    env, layout = _search(tiny, settings)
    blank = {name: np.ones(shape, dtype=np.float32) for name, shape in layout.shapes().items()}
    learner = Learner(ALGORITHMS["ppo"], env, layout, settings, 0, blank, tmp_path / "c.pt", "one")
    learner.learn(no_advance)
    assert Learner.resumed(ALGORITHMS["ppo"], env, layout, settings, 0, tmp_path / "c.pt", "another") is None
    again = Learner.resumed(ALGORITHMS["ppo"], env, layout, settings, 0, tmp_path / "c.pt", "one")
    assert again is not None
    assert again.updates == 3
    # A policy of numpy gives what stable-baselines3's gives.
    rows = np.random.default_rng(0).normal(size=(50, layout.sizes[0])).astype(np.float32)
    with torch.no_grad():
        mean = learner.model.policy.get_distribution(obs_as_tensor(rows, torch.device("cpu"))).mode().numpy()
    np.testing.assert_allclose(Policy(layout, learner.arrays()).act(rows), mean, rtol=1e-5, atol=1e-6)


def _defaults() -> dict[str, Any]:
    from gridpilot.configuration import composed

    defaults: dict[str, Any] = composed("train")["ppo"]
    return defaults


def _search(setup: MarketSetup, settings: PpoConfig) -> Any:
    from gridpilot.market.encoding import n_fields
    from gridpilot.policies import Layout

    return make_vec_env(settings.markets, setup, hold=settings.hold, seat=0), Layout((n_fields(1), 8, 2), 1, hold=settings.hold)


def test_a_search_from_scratch_begins_where_the_battery_is_used(market: dict[str, Any]) -> None:
    begun = gridpilot.train(market=market, **(TINY | {"ppo": PPO | {"updates": 1, "learning_rate": 1e-9, "shading": 1}}))
    rows = np.random.default_rng(0).normal(size=(50, begun.policy.layout.sizes[0])).astype(np.float32)
    np.testing.assert_allclose(begun.policy.act(rows), np.tile([0.3, 0.0, -0.5], (50, 1)), atol=0.05)


def test_a_search_from_a_clone_begins_at_the_clone_and_shades_under_pay_as_bid(market: dict[str, Any]) -> None:
    still = {"ppo": PPO | {"updates": 1, "learning_rate": 1e-9}}
    paid = TINY | {"bidding_rule": "truthful"}
    clone = gridpilot.train(market=market, mechanism="pay_as_bid", **(paid | {"algo": "clone"}))
    begun = gridpilot.train(market=market, mechanism="pay_as_bid", init="clone", **(paid | still))
    assert clone.policy.layout.shading == 0
    assert begun.policy.layout.shading == 2
    rows = np.random.default_rng(0).normal(size=(50, begun.policy.layout.sizes[0])).astype(np.float32)
    assert np.ptp(clone.policy.act(rows)[:, 0]) > 0.01
    np.testing.assert_allclose(begun.policy.act(rows)[:, 2:], -0.5, atol=1e-6)
    assert "from a clone of `foresight` by PPO" in begun.card


def test_presets_follow_the_mechanism_unless_they_are_set() -> None:
    settings = PpoConfig(**_defaults())
    found = {name: (settings.shading_under(name), settings.gae_lambda_under(name)) for name in ("vcg", "uniform", "pay_as_bid")}
    assert found == {"vcg": (0, 1.0), "uniform": (0, 1.0), "pay_as_bid": (2, 0.95)}
    by_rule = settings.shading_under("pay_as_bid", "best_response"), settings.gae_lambda_under("pay_as_bid", "best_response")
    assert by_rule == (0, 1.0)
    set_ = settings.model_copy(update={"shading": 0, "gae_lambda": 0.5})
    assert (set_.shading_under("pay_as_bid"), set_.gae_lambda_under("vcg")) == (0, 0.5)


def test_a_search_climbs(tiny: MarketSetup, market: dict[str, Any]) -> None:
    # Paying as bid, who shades earns: from the truth the search has to find out.
    search = PPO | {"markets": 32, "updates": 8, "shading_start": 0.0, "learning_rate": 0.01}
    learned = gridpilot.train(market=market, mechanism="pay_as_bid", bidding_rule="truthful", seat=0, **(TINY | {"ppo": search}))
    curve = learned.curves[0]
    assert curve[-1] > curve[0]
    field = Field(load_setup(market, ticks=24, history=24, mechanism="pay_as_bid"), 0, specs_of(["truthful", "threshold"]))
    gain = played(learned.policy, field, np.arange(40), 0) - played(AgentSpec("truthful", {}), field, np.arange(40), 0)
    assert gain.mean() > 2.0 * gain.std() / 40**0.5


def test_without_stable_baselines3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(MissingExtraError, match=r"training a policy by PPO needs an optional dependency: .*\[rl\]"):
        gridpilot.train(tmp_path / "mine", **TINY)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["init=clone"], "init is 'clone', expected null for algo=clone"),
        (["algo=ppo", "ppo.hold=0"], "ppo.hold=0"),
        (["algo=ppo", "ppo.baseline=nobody"], "'nobody'"),
        (["algo=ppo", "ppo.storage_start=2"], "ppo.storage_start=2"),
        (["algo=a2c"], "algo='a2c'"),
        (["bidding_rule=nash"], "bidding_rule='nash'"),
        (["algo=ppo", "market.mechanism=pay_as_bid", "ppo.shading=2"], "2 shading factors and bidding_rule best_response"),
    ],
)
def test_what_cannot_be_searched_is_told_in_one_line(
    overrides: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "out=new", "ticks=6", "history=6", "ppo.markets=2", *overrides]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
    assert not Path("new").exists()
