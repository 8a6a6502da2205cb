"""Looks during a search: on which days, what they decide, the curves they make, and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gridpilot
from gridpilot import cli
from gridpilot.agents.threshold import Threshold
from gridpilot.errors import ConfigError
from gridpilot.policies import Policy
from gridpilot.tournament.intervals import Estimate
from gridpilot.tournament.statistics import interquartile_mean
from gridpilot.training import tuning as module
from gridpilot.training.config import EVALUATION
from gridpilot.training.curve import described, interquartile_band
from gridpilot.training.run import Training
from gridpilot.training.tuning import Look, Tuning

pytest.importorskip("stable_baselines3")

PPO = {"markets": 8, "updates": 6, "batch": 32, "checkpoint_every": 1, "learning_rate": 0.01}
TINY: dict[str, Any] = {
    "algo": "ppo", "ticks": 12, "history": 12, "layers": [8], "ppo": PPO, "quiet": True,
    "evaluation": {"episodes": 0, "elsewhere": 0}, "clone": {"markets": 4, "rounds": 1, "last_passes": 1, "batch": 64},
}  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[Policy]]:
    """Bounds that the looks find one after the other, and the policies that they were asked of."""
    bounds: list[float] = []
    asked: list[Policy] = []

    def look(self: Tuning, policy: Policy, update: int) -> Look:
        asked.append(policy)
        return Look(
            update, {"truthful": Estimate(0.0), "mpc": Estimate(bounds[len(asked) - 1] + 9.0, bounds[len(asked) - 1], 99.0)}
        )

    monkeypatch.setattr(Tuning, "look", look)
    return bounds, asked


def bits(policy: Policy) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in policy.arrays.items()}


def test_the_best_look_is_kept_and_a_search_without_better_ones_ends(told: Any, market: dict[str, Any]) -> None:
    bounds, asked = told
    bounds += [-1.0, 3.0, 2.0, 2.5, 9.0, 9.0]
    made = gridpilot.train(market=market, **TINY, tuning={"every": 1, "patience": 2})
    assert len(asked) == len(made.curves[0]) == 4
    assert bits(made.policy) == bits(asked[1])
    assert bits(made.policy) != bits(asked[3])
    assert "(4 updates of 8 episodes, rewards over those of `truthful`), kept as it was after 2 of them, in seat" not in made.card
    assert "kept as it was after 2 of them" in made.card
    frame = made.curve
    assert frame["update"].tolist() == [1, 2, 3, 4]
    assert frame["over mpc_low"].tolist() == bounds[:4]
    assert frame["reward"].tolist() == list(made.curves[0])


def test_looks_come_every_so_often_and_at_the_end(told: Any, market: dict[str, Any]) -> None:
    bounds, asked = told
    bounds += [1.0, 2.0]
    made = gridpilot.train(market=market, **TINY, tuning={"every": 4})
    assert [look.update for look in made.looks[0]] == [4, 6]
    asked.clear()
    assert gridpilot.train(market=market, **TINY, tuning={"every": 0}).looks == {0: ()}
    assert asked == []


@pytest.mark.parametrize("algo", ["ppo", "clone"])
def test_of_several_seeds_the_highest_bound_is_kept(algo: str, told: Any, market: dict[str, Any]) -> None:
    bounds, asked = told
    bounds += [1.0, 3.0, 2.0]
    quick = TINY | {"algo": algo, "ppo": PPO | {"updates": 1}}
    best = gridpilot.train(market=market, seeds=[5, 9, 7], **quick, tuning={"every": 1})
    assert len(asked) == 3
    assert bits(best.policy) == bits(asked[1])
    assert "the best of 3 seeds on 200 other episodes" in best.card
    assert "seed 9 +0.0 over truthful, +12.0 [+3.0, +99.0] over mpc" in best.card
    assert sorted(best.curves) == ([5, 7, 9] if algo == "ppo" else [])


@pytest.fixture(scope="module")
def looked(market: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, list[int]]:
    """A search of two seeds, and the episodes that it was looked at on."""
    episodes: list[int] = []
    played = module.played

    def watched(bidder: Any, field: Any, numbers: Any, root: int) -> Any:
        episodes.extend(numbers.tolist())
        return played(bidder, field, numbers, root)

    search = TINY | {"ppo": PPO | {"updates": 3}, "tuning": {"episodes": 300, "every": 2, "against": ["truthful"]}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "played", watched)
        return gridpilot.train(tmp_path_factory.mktemp("looked") / "mine", market=market, seeds=[1, 2], **search), episodes


def test_no_look_is_at_days_that_are_judged_or_trained_on(looked: tuple[Training, list[int]]) -> None:
    made, episodes = looked
    assert set(episodes) == set(range(300))
    assert max(episodes) < EVALUATION
    assert len(episodes) == 300 * (4 + 1)  # two looks of each seed; the other is played once
    gain = made.looks[1][0].gains["truthful"]
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < gain.high


def test_the_folder_has_the_curves_and_their_picture(looked: tuple[Training, list[int]]) -> None:
    made, _ = looked
    assert made.folder is not None
    assert (made.folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((made.folder / "curve.json").read_text())
    assert found == json.loads(json.dumps(described(made.curves, made.looks)))
    assert found["seeds"]["1"]["reward"] == list(made.curves[1])
    assert [look["update"] for look in found["seeds"]["2"]["looks"]] == [2, 3]
    band = found["bands"]["gain over truthful"]
    assert band["update"] == [2.0, 3.0]
    first = [made.looks[seed][0].gains["truthful"].value for seed in (1, 2)]
    assert band["iqm"][0] == pytest.approx(np.mean(first))
    assert band["low"][0] == pytest.approx(min(first))


def test_the_band_is_of_the_interquartile_mean_and_covers_it() -> None:
    random = np.random.default_rng(5)
    scores = random.normal(2.0, 1.0, (20, 1, 200))  # 200 experiments of 20 runs
    middle, low, high = interquartile_band(scores)
    np.testing.assert_allclose(middle, [interquartile_mean(scores[:, 0, u]) for u in range(200)], rtol=1e-12)
    assert 0.87 < np.mean((low < 2.0) & (high > 2.0)) < 0.99
    one = interquartile_band(scores[:1])
    assert np.array_equal(one[0], scores[0, 0])
    assert np.array_equal(one[1], one[2])


def test_runs_are_drawn_within_their_task() -> None:
    # All runs of a task are alike: whatever is drawn, the mean is the same.
    scores = np.repeat(np.array([1.0, 2.0, 30.0, 400.0])[None, :, None], 5, axis=0)
    middle, low, high = interquartile_band(scores)
    assert middle == low == high == 16.0


def test_classes_instances_and_folders_are_rivals_from_python(looked: tuple[Training, list[int]], market: dict[str, Any]) -> None:
    folder = looked[0].folder
    assert folder is not None
    rivals = [Threshold, Threshold(), folder, "mpc", {"name": "truthful"}]
    with pytest.raises(ConfigError, match="the label 'Threshold' is used twice"):
        gridpilot.train(market=market, rivals=rivals, **TINY)
    quick = TINY | {"ppo": PPO | {"updates": 1}, "tuning": {"every": 1, "episodes": 8, "against": [folder, Threshold()]}}
    made = gridpilot.train(market=market, rivals=rivals[1:], **quick)
    assert list(made.looks[0][0].gains) == ["mine", "Threshold"]
    assert "Threshold, mine, mpc, truthful in the other seats" in made.card


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tensorboard=true"], "expected a search"),
        (["algo=ppo", "tensorboard=true"], "train: tensorboard=true needs an optional dependency: "),
        (["algo=ppo", "tuning.every=-1"], "tuning.every=-1"),
        (["algo=ppo", "tuning.against=[nobody]"], "'nobody'"),
        (["algo=ppo", "tuning.episodes=2000000"], "tuning.episodes=2000000"),
    ],
)
def test_what_does_not_go_is_told_in_one_line(
    overrides: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gridpilot.training.run.importlib.util.find_spec", lambda name: None)
    assert cli.main(["train", "out=new", "ticks=6", "history=6", *overrides]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not Path("new").exists()


def test_tensorboard_gets_the_looks(market: dict[str, Any], tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    search = TINY | {"ppo": PPO | {"updates": 2}, "tuning": {"every": 1, "episodes": 8, "against": ["truthful"]}}
    gridpilot.train(tmp_path / "mine", market=market, tensorboard=True, **search)
    (folder,) = (tmp_path / "mine" / "tensorboard").iterdir()
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    assert {"over truthful/gain", "over truthful/low", "rollout/ep_rew_mean", "train/value_loss"} <= set(events.Tags()["scalars"])
