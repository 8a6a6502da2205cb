"""Configuration files of somebody else's: settings are read, and nothing else happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gridpilot import configuration
from gridpilot.errors import ConfigError

SECRET = "planted-in-the-environment"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of configuration with one group, and a folder ``theirs`` beside it."""
    place = tmp_path / "kept"
    (place / "plant").mkdir(parents=True)
    (place / "__init__.py").write_text("")
    (place / "site.yaml").write_text("defaults: [{plant: small}, _self_]\nname: mine\n")
    (place / "plant" / "small.yaml").write_text("power: 3\n")
    (place / "plant" / "__init__.py").write_text("")
    (tmp_path / "theirs" / "plant").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("A_KEY", SECRET)
    return "kept"


def run(package: str, *argv: str) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []

    def main(config: dict[str, Any]) -> int:
        seen.append(config)
        return 0

    assert configuration.run("site", list(argv), main, package=package) == 0
    return seen[-1]


def theirs(text: str) -> list[str]:
    Path("theirs/plant/big.yaml").write_text(text)
    return ["--config-dir", "theirs", "plant=big"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "# @package _global_\nhydra: {callbacks: {a: {_target_: shutil.copy, src: payload, dst: precious}}}\n",
            "# @package _global_",
        ),
        ("hydra:\n  job: {env_set: {PATH: /nowhere}}\n", "key 'hydra'"),
        ("# @package hydra.callbacks\na: {_target_: os.system, command: 'touch ran'}\n", "# @package hydra.callbacks"),
        ("defaults: [{override /hydra/launcher: evil}]\npower: 1\n", "default 'override /hydra/launcher'"),
        ("defaults: ['/plant@_global_: small']\npower: 1\n", "default"),
        ("defaults: [{'/plant@hydra.callbacks': small}]\npower: 1\n", "default"),
        ("!!python/object/apply:os.system ['touch ran']\n", "is not YAML: could not determine a constructor"),
        ("power: &a [*a]\n", "refers to itself"),
        (
            "a0: &a0 [1,1,1,1,1,1,1,1]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
            "stands for more",
        ),
        ("[" * 3000, "nested deeper"),
    ],
)
@pytest.mark.parametrize("how", ["folder", "path"])
def test_what_speaks_to_hydra_is_refused(package: str, how: str, text: str, message: str) -> None:
    Path("payload").write_text("theirs")
    Path("precious").write_text("mine")
    argv = theirs(text)
    with pytest.raises(ConfigError) as told:
        run(package, *(argv if how == "folder" else ["plant=theirs/plant/big.yaml"]))
    assert message in str(told.value)
    assert "big" in str(told.value)
    assert "\n" not in str(told.value)
    assert Path("precious").read_text() == "mine"
    assert not Path("ran").exists()


def test_settings_are_read(package: str) -> None:
    assert run(package, *theirs("power: 5\nof: ${name}\n")) == {"name": "mine", "plant": {"power": 5, "of": "mine"}}
    assert run(package, "plant=theirs/plant/big.yaml", "name=other")["plant"] == {"power": 5, "of": "other"}
    assert run(package, *theirs("defaults: [small, _self_]\nheat: 2\n"))["plant"] == {"power": 3, "heat": 2}


@pytest.mark.parametrize(
    "value", ["${oc.env:A_KEY}", "x-${oc.env:A_KEY}", "${oc.env:A_KEY,default}", "${oc.decode:${oc.env:A_KEY}}"]
)
def test_no_variable_of_the_environment_is_read(package: str, value: str) -> None:
    for argv in ([f'name="{value}"'], theirs(f"power: '{value}'\n")):
        with pytest.raises(ConfigError, match="variables of the environment are not read") as told:
            run(package, *argv)
        assert SECRET not in json.dumps(str(told.value))
    assert OmegaConf.create({"a": "${oc.env:A_KEY}"}).a == SECRET  # by whoever uses the library that we use
