from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gridpilot.errors import AgentError, TournamentError
from gridpilot.tournament.config import validate_tournament
from gridpilot.tournament.manifest import (
    Manifest,
    build_manifest,
    identity_of,
    open_run,
    read_manifest,
    run_id,
    seal,
    segments,
)
from tests.tournament import synthetic
from tests.tournament.synthetic import configuration


def manifest(**changes: object) -> Manifest:
    settings = validate_tournament(configuration(**changes))
    return build_manifest(settings, synthetic.inspect(settings.spec()), 10)


def test_contents() -> None:
    made = manifest(episodes=5, first_episode=2)
    assert json.loads(json.dumps(made)) == made
    assert made["episodes"] == {"purpose": "evaluation", "first": 1002, "last": 1006, "count": 5, "evaluation_starts_at": 1000}
    assert made["agents"]["zero_intelligence"] == {
        "target": "zero_intelligence",
        "params": {},
        "role": "baseline",
        "source": None,
        "audit": None,
    }
    assert made["versions"]["python"] == sys.version.split()[0]
    assert made["versions"]["numpy"]
    assert made["seed"] == made["config"]["seed"] == 3
    assert len(made["code"]) == 64


def test_equal_runs_have_equal_names() -> None:
    name = run_id(manifest())
    assert run_id(manifest(backend="processes", workers=3, chunk=9, out="x", json=True, name="other")) == name
    for change in (
        {"seed": 4},
        {"agents": ["threshold"]},
        {"market": {"mechanism": "uniform"}},
        {"purpose": "tuning"},
    ):
        assert run_id(manifest(**change)) != name
    assert run_id(manifest(episodes=9)) == name
    assert run_id(manifest(agents=["threshold", "truthful"])) != name  # the order decides who sits where


def test_a_users_agent_is_identified_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "own_bidder.py"
    file.write_text("raise RuntimeError('hashing must not import')\n")
    made = manifest(agents=["own_bidder.Mine"])
    assert made["agents"]["Mine"]["source"] == {"file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    open_run(tmp_path / "run", made)
    file.write_text("class Mine: pass\n")
    with pytest.raises(TournamentError, match=r"agents\.Mine\.source \(the file has changed since\)"):
        open_run(tmp_path / "run", manifest(agents=["own_bidder.Mine"]))
    with pytest.raises(AgentError, match="no module 'absent_file'"):
        manifest(agents=["absent_file.Mine"])
    with pytest.raises(AgentError, match=r"no module 'absent_package\.file'"):
        manifest(agents=["absent_package.file.Mine"])


def test_a_replayed_file_is_part_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("time,lmp\n")
    prices = {"name": "replay", "file": str(tmp_path / "prices.csv")}
    open_run(tmp_path / "run", manifest(prices=prices))
    (tmp_path / "prices.csv").write_text("time,lmp\n1,2\n")
    with pytest.raises(TournamentError, match=r"files\.prices\.file \(the file has changed since\)"):
        open_run(tmp_path / "run", manifest(prices=prices))


def test_a_price_model_of_the_users_own_is_part_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_model.py").write_text("import own_noise\n")
    (tmp_path / "own_noise.py").write_text("SD = 1.0\n")
    prices = {"name": "own_model.Mine", "evening": 0.2}
    open_run(tmp_path / "run", manifest(prices=prices))
    (tmp_path / "own_noise.py").write_text("SD = 2.0\n")
    with pytest.raises(TournamentError, match=r"own_noise\.py \(the file has changed since\)"):
        open_run(tmp_path / "run", manifest(prices=prices))


def test_a_folder_belongs_to_one_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    first = open_run(folder, manifest())
    assert read_manifest(folder) == first
    again = open_run(folder, manifest(chunk=99, workers=2))
    assert [entry["chunk"] for entry in again["history"]] == [7]  # parts are numbered by the chunks the run was begun with
    with pytest.raises(
        TournamentError, match=r"holds a run of another configuration.*seed is 3 there and 4 here; ticks is 288 there and 9 here"
    ):
        open_run(folder, manifest(seed=4, ticks=9))
    with pytest.raises(TournamentError, match=r"market\.mechanism is 'vcg' there and 'uniform' here"):
        open_run(folder, manifest(market={"mechanism": "uniform"}))
    changed = manifest()
    changed["code"] = "0" * 64
    with pytest.raises(TournamentError, match=r"code \(the library's source has changed since\)"):
        open_run(folder, changed)


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(TournamentError, match="does not exist, expected the folder of a tournament run"):
        read_manifest(tmp_path / "nowhere")
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(TournamentError, match=r"is not empty and holds no manifest\.json"):
        open_run(tmp_path, manifest())
    with pytest.raises(TournamentError, match=r"holds no manifest\.json, expected"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{half")
    with pytest.raises(TournamentError, match="is not JSON"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(TournamentError, match="not the manifest of a tournament"):
        read_manifest(tmp_path)


def test_more_episodes_extend_a_run(tmp_path: Path) -> None:
    first = open_run(tmp_path, manifest(episodes=3, chunk=7))
    longer = open_run(tmp_path, manifest(episodes=8, chunk=5))
    assert read_manifest(tmp_path) == longer
    assert identity_of(longer) == identity_of(first)
    assert segments(longer) == [(range(1000, 1003), 7), (range(1003, 1008), 5)]
    assert (longer["episodes"]["count"], longer["episodes"]["last"], longer["config"]["episodes"]) == (8, 1007, 8)
    assert longer["history"][0] == first["history"][0]
    assert (longer["created"], longer["config"]["chunk"]) == (first["created"], 7)
    assert open_run(tmp_path, manifest(episodes=2)) == longer  # no run is ever shortened
    assert read_manifest(tmp_path) == longer
    with pytest.raises(TournamentError, match="first_episode is 0 there and 1 here"):
        open_run(tmp_path, manifest(episodes=9, first_episode=1))


def _with(manifest: Manifest, *keys: str, value: object) -> Manifest:
    *path, last = keys
    place: dict[str, Any] = json.loads(json.dumps(manifest))
    whole = place
    for key in path:
        place = place[key]
    place[last] = value
    return whole


EDITS: list[tuple[tuple[str, ...], object]] = [
    (("config", "market", "mechanism"), "uniform"),
    (("agents", "threshold", "role"), "baseline"),
    (("agents", "threshold", "audit"), {"passed": True}),
    (("episodes", "purpose"), "tuning"),
    (("versions", "numpy"), "9.9"),
    (("git",), None),
    (("matches",), 3),
    (("digest",), "0" * 64),
]


@pytest.mark.parametrize(("keys", "value"), EDITS, ids=[keys[-1] for keys, _ in EDITS])
def test_an_edited_manifest_is_noticed(tmp_path: Path, keys: tuple[str, ...], value: object) -> None:
    edited = _with(open_run(tmp_path, {**seal({**manifest(), "git": {"dirty": False}})}), *keys, value=value)
    (tmp_path / "manifest.json").write_text(json.dumps(edited))
    with pytest.raises(TournamentError, match=r"manifest\.json has been edited since it was written"):
        read_manifest(tmp_path)
    with pytest.raises(TournamentError, match=r"manifest\.json has been edited since it was written"):
        open_run(tmp_path, manifest())


def test_a_manifest_of_another_layout_is_the_same(tmp_path: Path) -> None:
    made = open_run(tmp_path, manifest())
    (tmp_path / "manifest.json").write_text(json.dumps(dict(reversed(made.items())), separators=(",", ":")))
    assert read_manifest(tmp_path) == made


def test_earlier_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest(), "format": 1}))
    with pytest.raises(TournamentError, match="has format 1, expected 2: play the tournament again with this version"):
        read_manifest(tmp_path)
