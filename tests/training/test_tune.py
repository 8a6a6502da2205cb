"""Studies of settings: what spaces say, what is refused, that an interrupted one ends as one that was not."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpilot import cli
from gridpilot.configuration import composed
from gridpilot.errors import ConfigError, MissingExtraError, PolicyError
from gridpilot.policies import load_policy
from gridpilot.training import study as module
from gridpilot.training.config import TRAINING
from gridpilot.training.space import Dimension, dimensions

pytest.importorskip("stable_baselines3")
optuna = pytest.importorskip("optuna", reason="optuna is not installed: pip install -c constraints.txt -e '.[tune]'")

WORDS = [
    "algo=ppo", "seat=0", "ticks=12", "history=12", "layers=[4]", "ppo.markets=4", "ppo.updates=3", "tuning.every=1",
    "tuning.episodes=20", "tuning.against=[truthful]", "evaluation.episodes=4", "evaluation.against=[truthful]",
    "evaluation.elsewhere=0", "study.startup=2", "space.ppo.batch.choices=[16,32]", "rivals=[truthful]",
    "market.sites=[{name: hydro, fleet: {hydro: 118}},{name: gpu, fleet: {gpu: 62}}]", "ppo.baseline=null",
]  # fmt: skip


def tune(*words: str) -> int:
    return cli.main(["tune", *WORDS, *words])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of five trials at once."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    assert tune(f"out={folder}", "study.trials=5") == 0
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "cpu_seconds"} for row in csv.DictReader(file)]


def test_the_first_trial_is_as_the_settings_are_and_the_best_is_trained_with_another_seed(whole: Path) -> None:
    found = rows(whole)
    assert [row["trial"] for row in found] == ["0", "1", "2", "3", "4"]
    assert (found[0]["ppo.learning_rate"], found[0]["ppo.hold"], found[0]["ppo.log_std"]) == ("0.001", "6", "-1.5")
    assert len({row["ppo.learning_rate"] for row in found}) == 5
    assert {row["seed"] for row in found} == {"0"}
    complete = [row for row in found if row["state"] == "complete"]
    assert len(complete) >= 2
    assert all(float(row["objective"]) == float(row["over truthful_low"]) for row in complete)
    best = max(complete, key=lambda row: float(row["objective"]))
    trained = load_policy(whole / "policy").training
    assert trained["config"]["seed"] == 1
    assert trained["config"]["ppo"]["learning_rate"] == float(best["ppo.learning_rate"])
    assert trained["episodes"]["first"] == TRAINING


def test_an_interrupted_study_ends_as_one_that_was_not(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, train, count = tmp_path / "study", module.train_configured, 0

    def killed(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count in (1, 4):  # in the first trial, then in the third
            raise KeyboardInterrupt
        return train(*args, **kwargs)

    monkeypatch.setattr(module, "train_configured", killed)
    assert [tune(f"out={begun}", "study.trials=5") for _ in range(2)] == [130, 130]
    assert len(rows(begun)) == 2
    monkeypatch.setattr(module, "train_configured", train)
    capsys.readouterr()
    assert tune(f"out={begun}", "study.trials=5", "json=true") == 0
    told = json.loads(capsys.readouterr().out)
    assert rows(begun) == rows(whole)
    assert [trial["number"] for trial in told["trials"]] == [0, 1, 2, 3, 4]
    assert told["comparisons"][0]["against"] == "truthful"
    own = told["command"].replace(f"{begun}/policy", "OUT")
    assert own.startswith("gridpilot train algo=ppo seat=0 ")
    assert own.endswith(" seed=1 out=OUT")
    assert "study." not in own
    best = told["trials"][told["best"]]
    assert f"ppo.learning_rate={best['values']['ppo.learning_rate']}" in own
    for name in ("policy.safetensors", "curve.json"):
        assert (begun / "policy" / name).read_bytes() == (whole / "policy" / name).read_bytes()


def test_another_study_and_a_strange_folder_are_refused(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(f"out={whole}", "ppo.updates=4", "space.ppo.hold.choices=[2,6]") == 2
    assert "holds a study of another ppo, space, expected the same settings, or a new folder" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    assert tune(f"out={tmp_path / 'mine'}") == 2
    assert "is not empty and holds no study.journal" in capsys.readouterr().err
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "study.journal").write_text("{\n{\n")
    assert tune(f"out={tmp_path / 'torn'}") == 2
    assert "is no journal of a study that can be gone on from" in capsys.readouterr().err


def test_a_clone_is_tuned_by_a_look_at_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = tmp_path / "mine.yaml"
    space.write_text("clone:\n  passes: {low: 1, high: 3}\nlayers: {choices: [[4], [3, 3]]}\n")
    tiny = ["clone.markets=4", "clone.rounds=1", "clone.last_passes=1", "seat=1", "study.objective=mean", "study.pruner=halving"]
    words = [word for word in WORDS if not word.startswith(("algo", "space", "seat"))]
    code = cli.main(["tune", "algo=clone", *words, *tiny, f"space={space}", "study.trials=2", f"out={tmp_path / 'study'}"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    found = rows(tmp_path / "study")
    assert [row["objective"] for row in found] == [row["over truthful"] for row in found]
    assert found[0]["layers"] == "[4]"
    assert {row["update"] for row in found} == {"0"}
    assert "chosen  trial " in printed.out
    assert max(map(len, printed.out.split("chosen")[0].splitlines())) <= 80


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    return composed("train") | {"algo": "ppo"}


RANGE = {"low": 0.001, "high": 0.01}


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({}, "space is empty"),
        ({"ppo": {"lerning_rate": RANGE}}, "unknown key 'ppo.lerning_rate'; did you mean ppo.learning_rate or clone"),
        ({"seed": {"choices": [1, 2]}}, "unknown key 'seed'; known keys are clone.also"),
        (
            {"ppo": {"learning_rate": {"low": 0.01, "high": 0.001}}},
            "ppo.learning_rate: low is 0.01 and high 0.001, expected low below",
        ),
        ({"ppo": {"log_std": {"low": -1, "high": 1, "log": True}}}, "low below high, both above 0"),
        ({"ppo": {"learning_rate": {"low": 0.1, "hihg": 0.2}}}, "unknown key 'hihg'; did you mean high?"),
        ({"ppo": {"learning_rate": {"low": 0.1}}}, "ppo.learning_rate: high is None, expected a number"),
        ({"ppo": {"learning_rate": {**RANGE, "log": "yes"}}}, "log is 'yes', expected true or false"),
        ({"ppo": {"learning_rate": {"low": 0.1, "high": 2.0}}}, "ppo.learning_rate=2.0: input should be less than or equal to 1"),
        ({"ppo": {"hold": {"choices": [6]}}}, "expected choices alone, at least two and none twice"),
        ({"ppo": {"hold": {"choices": [6, "six"]}}}, "ppo.hold='six': input should be a valid integer"),
        ({"ppo": {"hold": 6}}, "space.ppo.hold is 6, expected {low: ..., high: ...} or {choices: [...]}"),
        (
            {"clone": {"rounds": {"low": 1, "high": 3}}},
            "space.clone.rounds is nothing that algo=ppo uses, expected keys of layers, ppo",
        ),
    ],
)
def test_bad_spaces_are_told_in_one_line(space: dict[str, Any], told: str, usual: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as found:
        dimensions(space, usual)
    assert told in str(found.value)
    assert "\n" not in str(found.value)


@given(st.floats(1e-6, 1e3), st.floats(1.001, 1e3), st.integers(0, 2**32 - 1))
def test_a_number_that_is_drawn_lies_in_its_range_and_is_short(low: float, ratio: float, seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    value = Dimension("x", low, low * ratio, log=True).suggested(study.ask())
    assert low <= value <= low * ratio
    assert value in (low, low * ratio) or value == float(f"{value:.3g}")


def test_what_is_missing_or_set_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["tune"]) == 2
    assert "tune: out is null, expected the folder of the study: out=FOLDER" in capsys.readouterr().err
    assert tune(f"out={tmp_path / 'a'}", "seeds=[1,2]") == 2
    assert "seeds is [1, 2], expected null" in capsys.readouterr().err
    assert tune(f"out={tmp_path / 'a'}", "study.pruner=never") == 2
    assert "study.pruner='never': input should be 'median' or 'halving'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"gridpilot tune needs an optional dependency: .*tune"):
        module.tune_configured(composed("tune", [*WORDS[:1], f"out={tmp_path / 'a'}"]), module.SafeConsole(quiet=True), [])
    assert not (tmp_path / "a").exists()


def test_a_study_in_which_nothing_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise PolicyError("policy: array holds nan")

    monkeypatch.setattr(module, "train_configured", broken)
    config = composed("tune", [f"out={tmp_path / 'a'}", "study.trials=2"])
    with pytest.raises(PolicyError, match=r"none of the 2 trials in .* came to its end"):
        module.tune_configured(config, module.SafeConsole(quiet=True), [])
    assert {row["state"] for row in rows(tmp_path / "a")} == {"failed"}
