"""Composition of Hydra configurations, and what is said about a wrong one."""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as compose_with_hydra
from hydra import initialize_config_module
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from gridpilot.configuration import run, validate
from gridpilot.errors import ConfigError
from tests.test_structure import ROOT

PACKAGE = "tests.example_conf"


def compose(*argv: str, config: str = "experiment") -> list[dict[str, Any]]:
    """Every configuration the command's main is called with."""
    seen: list[dict[str, Any]] = []

    def main(values: dict[str, Any]) -> int:
        seen.append(values)
        return 0

    assert run(config, argv, main, package=PACKAGE) == 0
    return seen


def refused(*argv: str, config: str = "experiment") -> str:
    with pytest.raises(ConfigError) as caught:
        run(config, argv, lambda values: pytest.fail(f"called with {values}"), package=PACKAGE)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_composed_and_resolved() -> None:
    assert compose() == [
        {
            "plant": {"name": "small", "grid_kw": 100.0, "battery": {"energy_kwh": 10.0}, "profile": [0.5] * 24},
            "episodes": 2,
            "ticks": 288,
            "out": None,
            "agents": ["truthful"],
            "label": "small-288",
        }
    ]


def test_overrides_reach_nested_keys_lists_and_groups() -> None:
    (values,) = compose("plant=large", "plant.battery.energy_kwh=7", "agents=[truthful,my_file.MyAgent]", "+extra=1")
    assert values["plant"] == {"name": "large", "grid_kw": 1000.0, "battery": {"energy_kwh": 7}}
    assert values["agents"] == ["truthful", "my_file.MyAgent"]
    assert values["label"] == "large-288"
    assert values["extra"] == 1


def test_a_single_run_writes_nothing_and_stays_where_it_is() -> None:
    here = Path.cwd()

    def main(values: dict[str, Any]) -> int:
        assert Path.cwd() == here
        return 0

    run("experiment", [], main, package=PACKAGE)
    assert list(here.iterdir()) == []


def test_multirun_visits_every_combination_in_order_and_writes_nothing() -> None:
    seen = compose("-m", "episodes=1,2", "plant=small,large")
    assert [(values["episodes"], values["plant"]["name"]) for values in seen] == [
        (1, "small"),
        (1, "large"),
        (2, "small"),
        (2, "large"),
    ]
    assert list(Path.cwd().iterdir()) == []


def test_multirun_ends_at_the_first_failure() -> None:
    seen = []

    def main(values: dict[str, Any]) -> int:
        seen.append(values["episodes"])
        if values["episodes"] == 2:
            raise ZeroDivisionError("two")
        return 0

    with pytest.raises(ZeroDivisionError, match="two"):
        run("experiment", ["-m", "episodes=1,2,3"], main, package=PACKAGE)
    assert seen == [1, 2]


def test_the_largest_exit_code_is_returned() -> None:
    assert run("experiment", ["-m", "episodes=0,1,0"], lambda values: int(values["episodes"]), package=PACKAGE) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), ConfigError("from main"), ValueError("from main")])
def test_what_main_raises_comes_out_unchanged_and_in_silence(error: BaseException, capfd: pytest.CaptureFixture[str]) -> None:
    def main(values: dict[str, Any]) -> int:
        raise error

    with pytest.raises(type(error)) as caught:
        run("experiment", [], main, package=PACKAGE)
    assert caught.value is error
    assert capfd.readouterr() == ("", "")


def test_process_state_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    before = list(sys.argv)
    compose()
    refused("nothing=1")
    assert sys.argv == before
    assert os.environ["HYDRA_FULL_ERROR"] == "0"


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("episode=3", ["unknown key 'episode'", "'episode=3'", "did you mean episodes?"]),
        ("plant.battery.energy=3", ["unknown key 'plant.battery.energy'", "plant.battery.energy_kwh"]),
        ("zzz=3", ["unknown key 'zzz'", "known keys are", "episodes", "plant", "ticks"]),
        ("prices=ercot", ["unknown key 'prices'"]),
        ("plant=medium", ["plant=medium", "no such choice", "expected one of large, small"]),
        ("episodes", ["'episodes'", "cannot be read", "expected key=value"]),
        ("agents=[a", ["'agents=[a'", "cannot be read"]),
        ("episodes=1,2", ["episodes=1,2"]),
        ("label=${nowhere}", ["nowhere"]),
        ("~nothing", ["nothing"]),
    ],
)
def test_a_wrong_override_is_told_in_one_line(argument: str, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    message = refused(argument)
    for word in words:
        assert word in message
    assert capfd.readouterr() == ("", "")


def test_a_wrong_override_is_found_among_right_ones_and_in_multirun() -> None:
    assert "'episode'" in refused("-m", "plant=small,large", "ticks=1", "episode=1,2", "+new=1")


def test_keys_are_looked_for_in_the_choice_that_was_made(tmp_path: Path) -> None:
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "mine.yaml").write_text("name: mine\nhall_c: 5.0\n")
    message = refused("--config-dir", str(tmp_path), "plant=mine", "plant.hall_c=4", "plant.hal_c=3")
    assert "unknown key 'plant.hal_c'" in message
    assert "did you mean plant.hall_c?" in message


def test_a_missing_mandatory_value_is_named() -> None:
    assert "seed" in refused(config="incomplete")


@pytest.mark.parametrize(
    ("option", "words"), [("--nonsense", "unknown option '--nonsense'"), ("--config-dir", "'--config-dir' needs a value")]
)
def test_a_wrong_option_is_refused(option: str, words: str) -> None:
    assert words in refused(option)


def test_options_may_stand_anywhere() -> None:
    assert [values["episodes"] for values in compose("episodes=1,2", "-m", "ticks=5")] == [1, 2]


def test_cfg_job_prints_the_configuration_and_runs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    code = run("experiment", ["--cfg", "job", "ticks=7"], lambda values: pytest.fail("called"), package=PACKAGE)
    assert code == 0
    assert "ticks: 7" in capfd.readouterr().out


def test_help_describes_the_configuration(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("experiment", ["--help"], lambda values: pytest.fail("called"), package=PACKAGE) == 0
    out = capfd.readouterr().out
    assert "usage: gridpilot experiment [key=value ...]" in out
    assert "Count the ticks of a plant." in out
    assert "plant: large, small (default)" in out
    assert "ticks: 288" in out
    assert "profile: (24 values)" in out
    assert "--multirun" in out


def test_a_user_directory_adds_choices(tmp_path: Path) -> None:
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "mine.yaml").write_text("name: mine\ngrid_kw: 5.0\n")
    (values,) = compose("--config-dir", str(tmp_path), "plant=mine")
    assert values["plant"] == {"name": "mine", "grid_kw": 5.0}


def test_a_user_directory_that_does_not_exist_is_named() -> None:
    assert "/no/such/folder" in refused("--config-dir", "/no/such/folder")


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "mine.yaml").write_text("name: [mine\n")
    assert "mine.yaml" in refused("--config-dir", str(tmp_path), "plant=mine")


CONFIGURATIONS = sorted(path.stem for path in (ROOT / "conf").glob("*.yaml"))


@functools.cache
def groups_of(config: str) -> tuple[str, ...]:
    with initialize_config_module("gridpilot.conf", version_base=None):
        return tuple(compose_with_hydra(config, return_hydra_config=True).hydra.runtime.choices)


@pytest.mark.parametrize("config", CONFIGURATIONS)
def test_every_shipped_configuration_composes(config: str) -> None:
    """As shipped, and with every choice of each of its groups that no configuration before it has."""
    tried = {group for before in CONFIGURATIONS[: CONFIGURATIONS.index(config)] for group in groups_of(before)}
    files = [
        (group, path.stem)
        for group in groups_of(config)
        if group not in tried
        for path in sorted((ROOT / "conf" / group).glob("*.yaml"))
    ]
    for choice in [[], *([f"{group}={name}"] for group, name in files)]:
        seen: list[dict[str, Any]] = []
        assert run(config, choice, lambda values, seen=seen: seen.append(values) or 0) == 0, choice
        assert seen[0]


class Battery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    energy_kwh: float = Field(ge=0)


class Plant(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    battery: Battery
    spares: list[Battery] = []

    @field_validator("name")
    @classmethod
    def _lower(cls, name: str) -> str:
        if name != name.lower():
            raise ValueError("Names are lower case")
        return name


def test_validate_returns_the_model() -> None:
    plant = validate(Plant, {"name": "a", "battery": {"energy_kwh": 3}}, "plant.yaml")
    assert plant == Plant(name="a", battery=Battery(energy_kwh=3.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"battery": {"energy_kwh": -1}}, ["battery.energy_kwh=-1", "greater than or equal to 0"]),
        ({"battery": {"energy_kwh": "much"}}, ["battery.energy_kwh='much'", "number"]),
        ({"battery": {"energy_kwh": 1, "energy": 2}}, ["unknown key 'battery.energy'", "did you mean energy_kwh?"]),
        ({"spares": [{"energy_kwh": 1, "power": 2}]}, ["unknown key 'spares.0.power'"]),
        ({"battery": {}}, ["key 'battery.energy_kwh' is missing"]),
        ({"name": "A"}, ["name='A'", "names are lower case"]),
        ({"zzz": 1}, ["unknown key 'zzz'", "known keys are battery, name, spares"]),
        ({"name": ["x" * 200]}, ["...", "string"]),
        ({"name": 1, "zzz": 2}, ["name=1", "; unknown key 'zzz'"]),
    ],
)
def test_validate_names_key_value_and_expectation(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Plant, {"name": "a", "battery": {"energy_kwh": 3}} | change, "plant.yaml")
    message = str(caught.value)
    assert message.startswith("plant.yaml: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "value",
    ["Price [EUR/MWh]", "Preis €", "my run (1)", "Zürich", "a=b", "it's", 'a "b"', "a;b#c!", "<x>", "both '\"' (2)", "x\\ (1)"],
)
def test_a_value_that_needs_quotes_is_told_with_them_and_they_work(value: str) -> None:
    message = refused(f"label={value}")
    assert "quotes inside the quotes" in message
    (argument,) = shlex.split(message.rpartition("quotes: ")[2])
    assert compose(argument)[0]["label"] == value


def test_quotes_for_a_home_folder_and_in_a_list() -> None:
    (argument,) = shlex.split(refused("out=~/my.csv").rpartition("quotes: ")[2])
    assert compose(argument)[0]["out"] == str(Path.home() / "my.csv")
    (argument,) = shlex.split(refused("agents=[a (1), b €]").rpartition("quotes: ")[2])
    assert compose(argument)[0]["agents"] == ["a (1)", "b €"]


def test_a_value_with_a_comma_is_told_what_it_can_mean() -> None:
    message = refused("label=Price, EUR")
    assert "-m" in message
    as_list, as_text = (shlex.split(text)[0] for text in re.findall(r"'label=[^']*'", message)[1:])
    assert compose(as_list)[0]["label"] == ["Price", "EUR"]
    assert compose(as_text)[0]["label"] == "Price, EUR"


def test_long_values_and_long_lists_of_keys_are_cut() -> None:
    assert len(refused(f"label={'(' * 20_000}")) < 1000
    assert len(refused(f"{'x' * 20_000}=3")) < 1000
    keys = {f"key_{i}": Field(default=0.0) for i in range(2000)}
    wide = create_model("Wide", __config__=ConfigDict(extra="forbid"), **{name: (float, field) for name, field in keys.items()})  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=r"known keys are .* and 1980 more$") as caught:
        validate(wide, {"zzz": 1}, "wide.yaml")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["it's", "a (1), [b]", "ü ñ €", "=x", "plain"])
def test_a_user_directory_may_have_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name / "plant").mkdir(parents=True)
    (tmp_path / name / "plant" / "mine.yaml").write_text("name: mine\ngrid_kw: 5.0\n")
    (values,) = compose("--config-dir", str(tmp_path / name), "plant=mine")
    assert values["plant"]["grid_kw"] == 5.0
    assert [values["ticks"] for values in compose(f"--config-dir={tmp_path / name}", "plant=mine", "-m", "ticks=1,2")] == [1, 2]
    assert "did you mean episodes?" in refused(f"--config-dir={tmp_path / name}", "plant=mine", "episode=3")


@pytest.mark.parametrize("given", ["nowhere", "", "a_file"])
def test_a_user_directory_that_is_none_is_named(given: str) -> None:
    Path("a_file").touch()
    message = refused("--config-dir", given, "plant=mine")
    assert f"--config-dir {given!r}: " in message
    assert "expected a folder" in message


def test_a_choice_may_be_a_file_given_by_its_path(tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (elsewhere / "my plant.v2.yaml").write_text("name: mine\ngrid_kw: 5.0\n")
    Path("small.yaml").write_text("name: not the library's\ngrid_kw: 6.0\n")
    (values,) = compose(f"plant={elsewhere / 'my plant.v2.yaml'}", "plant.grid_kw=7")
    assert values["plant"] == {"name": "mine", "grid_kw": 7}
    assert compose("plant=small.yaml")[0]["plant"]["name"] == "not the library's"
    assert [values["plant"]["name"] for values in compose("-m", f"plant=small,small.yaml,{elsewhere / 'my plant.v2.yaml'}")] == [
        "small",
        "not the library's",
        "mine",
    ]


def test_a_file_by_its_path_may_build_on_the_package_s(tmp_path: Path) -> None:
    Path("mine.yml").write_text("defaults:\n  - large\n  - _self_\nname: larger\n")
    (values,) = compose("plant=./mine.yml")
    assert values["plant"] == {"name": "larger", "grid_kw": 1000.0, "battery": {"energy_kwh": 10.0}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["plant: mine.yaml cannot be read: No such file or directory"]),
        (b"name: [mine", ["plant: mine.yaml is not YAML"]),
        (b"- a list", ["plant: mine.yaml holds list, expected a mapping"]),
        (b"", ["holds NoneType"]),
        (b"\xff\xfe\x00", ["plant: mine.yaml is not YAML"]),
    ],
)
def test_a_file_by_its_path_that_cannot_be_used_is_named(content: bytes | None, words: list[str]) -> None:
    if content is not None:
        Path("mine.yaml").write_bytes(content)
    message = refused("plant=mine.yaml")
    for word in words:
        assert word in message
