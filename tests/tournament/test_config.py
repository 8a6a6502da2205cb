from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

import gridpilot.conf
from gridpilot.errors import ConfigError
from gridpilot.tournament.config import EXECUTION_KEYS, TournamentConfig, agent_specs, validate_tournament
from tests.tournament.synthetic import configuration

GROUP = Path(str(gridpilot.conf.__file__)).parent / "tournament"


def test_episodes_are_numbered_by_purpose() -> None:
    evaluation = validate_tournament(configuration(episodes=5, first_episode=3))
    tuning = validate_tournament(configuration(episodes=5, first_episode=3, purpose="tuning"))
    assert list(evaluation.episode_numbers) == [1003, 1004, 1005, 1006, 1007]
    assert list(tuning.episode_numbers) == [3, 4, 5, 6, 7]
    assert validate_tournament(configuration(episodes=1000, purpose="tuning")).episode_numbers[-1] == 999
    with pytest.raises(ConfigError, match="tuning episodes 0 to 1000 reach into the evaluation episodes, which start at"):
        validate_tournament(configuration(episodes=1001, purpose="tuning"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episode": 3}, "unknown key 'episode'; did you mean episodes"),
        ({"episodes": 0}, "episodes=0: "),
        ({"episodes": "many"}, "episodes='many'"),
        ({"seed": -1}, "seed=-1"),
        ({"deadline": float("inf")}, "deadline=inf"),
        ({"isolation": "thread"}, "isolation='thread'"),
        ({"agent_memory_gib": 0.1}, "agent_memory_gib=0.1"),
        ({"backend": "ray"}, "backend='ray'"),
        ({"lineups": ["self"]}, "expected mixed, which is ranked"),
        ({"lineups": ["mixed", "mixed"]}, "each once"),
        ({"lineups": ["duel"]}, "lineups.0='duel'"),
        ({"name": "../up"}, "name='../up'"),
        ({"json": "yes"}, "json='yes'"),
        ({"agents": [5]}, "agents: 5 is not an agent"),
        ({"agents": ["my file.py"]}, "expected an agent's name or a dotted path like my_file.MyAgent"),
        ({"agents": [{"label": "x"}]}, "name is None"),
        ({"agents": [{"name": "threshold", "label": "a b"}]}, "label 'a b'"),
        ({"agents": ["threshold", "threshold"]}, "label 'threshold' is used twice"),
        ({"agents": [{"name": "truthful", "greed": 1}]}, "'truthful' is a frozen baseline"),
        ({"agents": [{"name": "threshold", "label": "truthful"}]}, "'truthful' is a frozen baseline"),
        ({"agents": ["my_file.truthful"]}, "'truthful' is a frozen baseline"),
    ],
)
def test_refusals_name_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        validate_tournament(configuration(**change))


def test_a_missing_key_is_named() -> None:
    config = configuration()
    del config["seed"]
    with pytest.raises(ConfigError, match="'seed' is missing"):
        validate_tournament(config)


def test_agents() -> None:
    specs = agent_specs(["my_file.MyAgent", {"name": "threshold", "label": "patient", "low": 0.2}, "zero_intelligence"])
    assert list(specs) == ["MyAgent", "patient", "zero_intelligence", "truthful"]
    assert specs["MyAgent"] == {"target": "my_file.MyAgent", "params": {}}
    assert specs["patient"] == {"target": "threshold", "params": {"low": 0.2}}
    assert list(agent_specs([])) == ["truthful", "zero_intelligence"]


def test_specification_is_what_playing_needs() -> None:
    spec = validate_tournament(configuration(market={"mechanism": "uniform"})).spec()
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert (spec.market, spec.seed, spec.ticks) == ({"mechanism": "uniform"}, 3, 288)


@pytest.mark.parametrize("name", ["default", "pay_as_bid", "quick", "thorough"])
def test_shipped_presets_are_valid(name: str) -> None:
    keys = yaml.safe_load((GROUP / "default.yaml").read_text())
    keys |= yaml.safe_load((GROUP / f"{name}.yaml").read_text())
    keys.pop("defaults", None)
    market = keys.pop("market", {})
    assert validate_tournament({**keys, "market": market, "prices": {}}).spec().market == market
    fields = {field.alias or key for key, field in TournamentConfig.model_fields.items()}
    assert set(keys) == fields - {"market", "prices"}
    assert set(EXECUTION_KEYS) <= fields
