"""Models of stable-baselines3 become folders that are played; whatever else is refused, and never run."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TQC
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

from gridpilot import cli
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import PolicyError
from gridpilot.policies import load_policy
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.tournament.inspection import play_a_tick
from gridpilot.training import make_vec_env
from gridpilot.training.sb3_import import import_policy


@pytest.fixture(scope="module")
def short() -> MarketSetup:
    return load_setup(ticks=6, history=12)


@pytest.fixture(scope="module")
def saved(short: MarketSetup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("models") / "model.zip"
    PPO("MlpPolicy", make_vec_env(2, short, shading=1), n_steps=2, batch_size=4, device="cpu", seed=0).save(file)
    return file


def observations(n: int) -> Any:
    return np.random.default_rng(0).uniform(-10.0, 10.0, (40, n)).astype(np.float32)


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_it_decides_as_the_model_does(algorithm: Any, short: MarketSetup, tmp_path: Path) -> None:
    kwargs = {"net_arch": [12, 9], "activation_fn": torch.nn.ReLU}
    model = algorithm("MlpPolicy", make_vec_env(2, short), n_steps=32, policy_kwargs=kwargs, device="cpu", seed=0)
    with torch.no_grad():
        model.policy.action_net.weight *= 100.0  # from near 0, as it begins
    model.save(tmp_path / "model.zip")
    policy = import_policy(tmp_path / "model.zip", hold=4)
    assert policy.layout.sizes == (55, 12, 9, 2)
    assert (policy.layout.activation, policy.layout.hold) == ("relu", 4)
    rows = observations(55)
    expected, _ = model.predict(rows, deterministic=True)
    np.testing.assert_allclose(np.clip(policy.act(rows), -1.0, 1.0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algorithm", [SAC, TD3, TQC])
def test_actors_whose_actions_are_squashed_decide_as_the_model_does(algorithm: Any, short: MarketSetup, tmp_path: Path) -> None:
    model = algorithm("MlpPolicy", make_vec_env(2, short), buffer_size=4, policy_kwargs={"net_arch": [12, 9]}, device="cpu", seed=0)
    model.save(tmp_path / "model.zip")
    policy = import_policy(tmp_path / "model.zip", hold=4)
    assert policy.layout.sizes == (55, 12, 9, 2)
    assert (policy.layout.activation, policy.layout.output) == ("relu", "tanh")
    rows = observations(55)
    expected, _ = model.predict(rows, deterministic=True)
    np.testing.assert_allclose(policy.act(rows), expected, rtol=1e-4, atol=1e-5)


def test_the_command_writes_a_folder_that_plays(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["policy", "import", str(saved), "--out", "mine", "--hold", "3", "--mechanism", "uniform"]) == 0
    assert "next    gridpilot tournament 'agents=[mpc,{name: learned, policy: mine}]'" in capsys.readouterr().out
    policy = load_policy("mine")
    assert (policy.layout.hold, policy.layout.mechanism, policy.layout.shading) == (3, "uniform", 1)
    assert policy.training["imported"]["file"] == "model.zip"
    assert "Not measured." in Path("mine/CARD.md").read_text()
    assert play_a_tick(load_setup(ticks=4, history=4), AgentSpec("learned", {"policy": "mine"})) == ""
    assert cli.main(["policy", "import", str(saved), "--out", "mine", "--hold", "0"]) == 2
    assert "--hold is 0, expected at least 1 tick" in capsys.readouterr().err


def test_a_rule_that_bid_in_training_bids_in_play(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    env = make_vec_env(2, load_setup(ticks=6, history=12, mechanism="pay_as_bid"), bidding="best_response")
    PPO("MlpPolicy", env, n_steps=2, batch_size=4, device="cpu", seed=0).learn(4).save("model.zip")
    command = ["policy", "import", "model.zip", "--out", "mine", "--mechanism", "pay_as_bid", "--bidding", "best_response"]
    assert cli.main(command) == 0
    assert load_policy("mine").layout.bidding == "best_response"
    capsys.readouterr()
    assert cli.main(["policy", "import", str(saved), "--out", "yours", "--bidding", "best_response"]) == 2
    assert "gives 1 shading factors, expected none with bidding best_response" in capsys.readouterr().err
    assert not Path("yours").exists()


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was_run"),)


def _with(member: str, content: bytes) -> Callable[[Path, Path], None]:
    def write(source: Path, target: Path) -> None:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                new.writestr(name, content if name == member else old.read(name))

    return write


def _without(member: str) -> Callable[[Path, Path], None]:
    def write(source: Path, target: Path) -> None:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                if name != member:
                    new.writestr(name, old.read(name))

    return write


def _text(source: Path, target: Path) -> None:
    target.write_text("dear diary")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_text, "is no zip file as stable-baselines3 saves it"),
        (_without("policy.pth"), "is no model of stable-baselines3"),
        (_with("data", b"[1]"), "data is no table of settings"),
        (_with("data", b"{"), "is no zip file as"),
        (
            _with("data", b'{"policy_kwargs": {"activation_fn": "<class \'torch.nn.modules.activation.ELU\'>"}}'),
            "its activation is ELU",
        ),
        (_with("data", b'{"use_sde": true}'), "state-dependent noise"),
        (_with("policy.pth", b"nothing"), "holds something else than tensors, or is damaged"),
        (_with("policy.pth", pickle.dumps(Hostile())), "holds something else than tensors, or is damaged"),
        (_with("policy.pth", pickle.dumps({}, protocol=2)), "policy"),
    ],
)
def test_other_files_are_refused_and_never_run(
    change: Callable[[Path, Path], None], told: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change(saved, Path("changed.zip"))
    with pytest.raises(PolicyError, match=told) as found:
        import_policy(Path("changed.zip"), hold=6)
    assert "\n" not in str(found.value)
    assert not Path("was_run").exists()


def test_a_file_that_is_missing_and_another_algorithm_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        import_policy(tmp_path / "none.zip", hold=6)
    DQN("MlpPolicy", "CartPole-v1", buffer_size=4, device="cpu").save(tmp_path / "dqn.zip")
    with pytest.raises(PolicyError, match="expected a PPO, A2C, SAC, TD3 or TQC of stable-baselines3 with an MlpPolicy"):
        import_policy(tmp_path / "dqn.zip", hold=6)


def test_a_model_of_another_environment_is_refused(tmp_path: Path) -> None:
    PPO("MlpPolicy", "Pendulum-v1", n_steps=2, batch_size=2, device="cpu").save(tmp_path / "pendulum.zip")
    with pytest.raises(PolicyError, match="its policy takes 3 entries, expected the observation of a market"):
        import_policy(tmp_path / "pendulum.zip", hold=6)
