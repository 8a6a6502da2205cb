"""From nothing to a policy: a tiny clone, its folder, and the road on to a tournament and a deployment."""

from __future__ import annotations

import builtins
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gridpilot
from gridpilot import cli, deploy
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import AgentError, ConfigError, MissingExtraError, PolicyError
from gridpilot.live.deployment import load_deployment
from gridpilot.market.action import storage_value_of
from gridpilot.market.encoding import n_fields
from gridpilot.policies import load_policy
from gridpilot.policies.policy import Layout, Policy
from gridpilot.setup import load_setup
from gridpilot.tournament.intervals import Estimate
from gridpilot.tournament.manifest import read_manifest
from gridpilot.training.card import CardFacts, write_card
from gridpilot.training.config import TRAINING, evaluation_episodes, training_episodes
from gridpilot.training.evaluation import Comparison, profits
from gridpilot.training.markets import Field, begun, seats_of, specs_of
from gridpilot.training.network import Network
from gridpilot.training.run import Training

pytest.importorskip("torch")

MARKET = {"sites": [{"name": "hydro", "fleet": {"hydro": 118}}, {"name": "gpu", "fleet": {"gpu": 62}}]}
CLONE = {"markets": 8, "rounds": 2, "last_passes": 4, "batch": 64}
EVALUATE = {"episodes": 8, "elsewhere": 0, "against": ["truthful"]}
TINY = {"ticks": 24, "history": 24, "layers": [8], "clone": CLONE, "evaluation": EVALUATE}


def no_advance(count: int, whose: str = "") -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def market() -> dict[str, Any]:
    from gridpilot.presets import described

    return described("market", "default") | MARKET


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, market: dict[str, Any]) -> Training:
    return gridpilot.train(tmp_path_factory.mktemp("trained") / "mine", market=market, quiet=True, **TINY)


def test_training_gives_a_policy_its_card_and_figures(trained: Training) -> None:
    assert trained.folder is not None
    loaded = load_policy(trained.folder)
    assert {name: array.tobytes() for name, array in loaded.arrays.items()} == {
        n: a.tobytes() for n, a in trained.policy.arrays.items()
    }
    assert loaded.layout.sizes[1:] == (8, 2)
    assert loaded.training["episodes"] == {"first": TRAINING, "count": 16}
    assert (trained.folder / "CARD.md").read_text(encoding="utf-8") == trained.card
    (row,) = trained.figures.to_dict("records")
    assert row["where"], row["against"] == ("as trained", "truthful")
    assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    assert f"{row['gain']:+.1f} [{row['gain_low']:+.1f}, {row['gain_high']:+.1f}]" in trained.card


def test_equal_seeds_give_equal_bits_and_others_do_not(trained: Training, market: dict[str, Any]) -> None:
    quick = TINY | {"evaluation": {"episodes": 0, "elsewhere": 0}}
    again, other = (gridpilot.train(market=market, quiet=True, seed=seed, **quick) for seed in (0, 1))
    for name, array in trained.policy.arrays.items():
        assert again.policy.arrays[name].tobytes() == array.tobytes()
    assert other.policy.arrays["layers.0.weight"].tobytes() != trained.policy.arrays["layers.0.weight"].tobytes()
    assert again.folder is None
    assert "Not measured." in again.card


def test_what_is_imitated_is_the_mean_in_money() -> None:
    layout = Layout((n_fields(1), 4, 2), 1)
    network = Network(layout, np.random.default_rng(0).normal(size=(64, n_fields(1))).astype(np.float32), seed=0)
    entries = np.tile(np.array([-0.4, 0.6], dtype=np.float32), 32)  # of one observation, so that nothing tells them apart
    inputs = np.zeros((64, n_fields(1)), dtype=np.float32)
    network.fit(inputs, entries, np.linspace(0.05, 0.0, 201).tolist(), 64, worth=True)
    found = Policy(layout, network.arrays()).act(network.mean[None])[0, 0]
    expected = storage_value_of(entries, 1.0).mean()
    assert storage_value_of(found, 1.0) == pytest.approx(expected, rel=1e-3)
    assert storage_value_of(entries.mean(), 1.0) < 0.8 * expected


def test_who_plans_as_well_is_among_the_rivals_of_a_clone(trained: Training, market: dict[str, Any]) -> None:
    assert "a label every 6 ticks, mpc among the rivals)" in trained.card
    with pytest.raises(AgentError, match="nobody"):
        gridpilot.train(market=market, quiet=True, **(TINY | {"clone": CLONE | {"also": ["nobody"]}}))


def test_the_learner_holds_what_runs_for_exactly_its_boot_loss(trained: Training) -> None:
    rows = np.random.default_rng(0).normal(size=(50, trained.policy.layout.sizes[0])).astype(np.float32)
    actions = trained.policy.act(rows)
    assert (actions[:, 1] == 0.0).all()
    assert np.unique(actions[:, 0]).size > 10


def test_a_clone_comes_near_its_teacher(market: dict[str, Any]) -> None:
    # Of a storage value that is a function of what is seen, here that of the planner mpc.
    made = gridpilot.train(
        market=market,
        quiet=True,
        **(TINY | {"clone": CLONE | {"teacher": "mpc", "markets": 32, "rounds": 4, "last_passes": 40}}),
    )
    field = Field(load_setup(market, ticks=24, history=24), "rotating", specs_of(["truthful"]))
    teacher, idle = (profits(AgentSpec(name, {}), field, 40, 0, no_advance) for name in ("mpc", "truthful"))
    clone = profits(made.policy, field, 40, 0, no_advance)
    assert np.abs(clone - teacher).mean() < 0.5 * np.abs(idle - teacher).mean()


def test_no_episode_is_trained_and_judged_on() -> None:
    assert training_episodes(0, 3).tolist() == [TRAINING, TRAINING + 1, TRAINING + 2]
    assert evaluation_episodes(3).tolist() == [1_000_000, 1_000_001, 1_000_002]
    assert evaluation_episodes(2000).max() < TRAINING
    assert len(set(training_episodes(0, 8)) & set(training_episodes(8, 8))) == 0
    with pytest.raises(ConfigError, match="expected at most 999,000,000, where training begins"):
        evaluation_episodes(TRAINING)


def test_the_learner_and_its_rivals_sit_where_they_should(market: dict[str, Any]) -> None:
    field = Field(load_setup("default", ticks=4, history=4), "rotating", specs_of(["truthful", "threshold"]))
    assert seats_of(field, np.array([7, 10, 13])).ravel().tolist() == [7, 0, 3]
    assert seats_of(field._replace(seat=8), np.array([7, 10])).ravel().tolist() == [8, 8]
    with pytest.raises(ConfigError, match="seat=10, expected rotating or one of 0 to 9"):
        seats_of(field._replace(seat=10), np.array([7]))
    arena, seating, seats = begun(field, 0, np.array([3, 4]))
    seating.bid()
    assert np.isnan(arena.orders.storage_value[0, 1]) != np.isnan(
        arena.orders.storage_value[0, 2]
    )  # threshold values, truthful does not
    assert seats.ravel().tolist() == [3, 4]


def test_a_policy_earns_the_same_by_itself_and_as_an_agent(trained: Training, market: dict[str, Any]) -> None:
    field = Field(load_setup(market, ticks=24, history=24), "rotating", specs_of(["threshold"]))
    agent = AgentSpec("learned", {"policy": str(trained.folder)})
    np.testing.assert_allclose(
        profits(trained.policy, field, 12, 0, no_advance), profits(agent, field, 12, 0, no_advance), rtol=1e-6
    )


@pytest.fixture(scope="module")
def home(trained: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained policy in it."""
    folder = tmp_path_factory.mktemp("home")
    assert trained.folder is not None
    trained.folder.rename(folder / "mine")
    return folder


PLAY = ["tournament", "tournament=quick", "backend=serial", "episodes=8", "ticks=24", "history=24", "chunk=50", "lineups=[mixed]",
        "agents=[{name: learned, policy: mine}]", "market.sites=[{name: hydro, fleet: {hydro: 118}},{name: gpu, fleet: {gpu: 62}}]",
        "out=run"]  # fmt: skip


def test_the_road_from_a_folder_through_a_tournament_to_live(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert cli.main(PLAY) == 0
    files = read_manifest(Path("run"))["agents"]["learned"]["files"]
    assert sorted(files) == ["policy/policy.json", "policy/policy.safetensors"]  # and so the run is another one with other weights
    assert deploy.main(["run", "--agent", "learned", "--out", "out"]) == 0
    deployment = load_deployment(Path("out"))
    assert deployment.agent["params"]["policy"] == str(home / "out" / "policy" / "mine")
    assert (home / "out/policy/mine/policy.safetensors").read_bytes() == Path("mine/policy.safetensors").read_bytes()
    command = [
        "live",
        "deployment=out",
        "live=simulated",
        "live.rows=6",
        "live.mode=shadow",
        "live.journal=live.db",
        "live.table=false",
    ]
    done = subprocess.run([sys.executable, "-m", "gridpilot", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = Path("mine/policy.json").read_text()
    Path("mine/policy.json").write_text(text.replace('"hold": 1', '"hold": 2'))
    capsys.readouterr()
    try:
        assert cli.main(PLAY) == 2
        assert "agents.learned.files.policy/policy.json (the file has changed since)" in capsys.readouterr().err
    finally:
        Path("mine/policy.json").write_text(text)


def test_playing_a_policy_needs_no_torch(home: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from gridpilot.agents.registry import build_agent\n"
        "from gridpilot.agents.seating import AgentSpec\n"
        "from gridpilot.setup import load_setup\n"
        "from gridpilot.tournament.inspection import play_a_tick\n"
        "print(repr(play_a_tick(load_setup(ticks=4, history=4), AgentSpec('learned', {}))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=home, capture_output=True, text=True, check=True)
    assert done.stdout == "''\n"


def test_training_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "torch":
            raise ImportError("No module named 'torch'")
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingExtraError, match=r"training a policy needs an optional dependency: .* -c constraints.txt -e '.\[rl\]'"
    ):
        gridpilot.train(tmp_path / "mine", quiet=True, **TINY)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "out is null, expected the folder that the policy is written to: out=FOLDER"),
        (["out=full"], "full is not empty and holds no policy.json"),
        (["out=file"], "cannot write file: it is a file, expected a folder"),
        (["out=new", "seat=12"], "seat=12, expected rotating or one of 0 to 9"),
        (["out=new", "rivals=[nobody]"], "'nobody'"),
        (["out=new", "clone.teacher=truthful"], "teacher is 'truthful', expected an agent on arrays that writes storage values"),
        (["out=new", "clone.roundz=3"], "unknown key 'clone.roundz'"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(
    overrides: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/letter.txt").write_text("dear diary")
    Path("file").write_text("")
    assert cli.main(["train", *overrides]) == 2
    message = capsys.readouterr().err
    assert message.startswith("gridpilot train: error: ")
    assert told in message
    assert message.count("\n") == 1
    assert not Path("new").exists()


def test_unknown_settings_and_folders_are_refused_from_python(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown setting 'clones'; did you mean clone"):
        gridpilot.train(clones={})
    (tmp_path / "file").write_text("")
    with pytest.raises(PolicyError, match="it is a file"):
        gridpilot.train(tmp_path / "file", **TINY)


def test_a_market_without_batteries_has_nothing_to_teach(market: dict[str, Any]) -> None:
    bare = market | {"sites": [{"name": "gpu", "fleet": {"gpu": 62}, "battery": {"power_kw": 0.0, "energy_kwh": 0.0}}]}
    with pytest.raises(AgentError, match="the teacher values no storage, expected a seat with a battery"):
        gridpilot.train(market=bare, quiet=True, **TINY)


def test_the_command_prints_a_table_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    sizes = ["ticks=24", "history=24", "layers=[8]", "clone.markets=8", "clone.rounds=2", "evaluation.episodes=8"]
    command = ["train", "out=mine", *sizes, "evaluation.elsewhere=8", "evaluation.against=[truthful]"]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines()[:-2])) <= 80
    assert "mechanism=uniform" in shown
    assert "prices=aemo_nsw" in shown
    assert "next    gridpilot tournament 'agents=[mpc,{name: learned, policy: mine}]'" in shown
    card = Path("mine/CARD.md").read_text(encoding="utf-8")
    assert "    gridpilot train out=mine ticks=24 history=24 'layers=[8]' clone.markets=8 clone.rounds=2\n" in card
    assert cli.main([*command, "evaluation.elsewhere=0", "json=true"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == "mine"
    assert [row["against"] for row in told["comparisons"]] == ["truthful"]


def test_the_card_says_where_it_fails(trained: Training) -> None:
    facts = CardFacts("gridpilot train out=mine", "every seat", "Cloned from `foresight`", 16, 0, 12.0)
    better = Comparison("as trained", "mpc", 8, Estimate(9.0), Estimate(1.0, 0.5, 1.5), Estimate(0.1, 0.05, 0.15))
    worse = dataclasses.replace(
        better, where="prices=aemo_nsw", gain=Estimate(-2.0, -3.0, -1.0), percent=Estimate(None, reason="no_base")
    )
    unclear = dataclasses.replace(better, where="mechanism=uniform", gain=Estimate(0.1, -0.3, 0.5))
    card = write_card(trained.policy, facts, [better], [worse, unclear])
    assert "| as trained | mpc | 8 | +1.0 [+0.5, +1.5] | +0.10 [+0.05, +0.15] |" in card
    assert "- prices=aemo_nsw: it earns less than `mpc`, -2.0 [-3.0, -1.0] $." in card
    assert "- mechanism=uniform: not shown to earn more than `mpc`, +0.1 [-0.3, +0.5] $." in card
    assert "Nowhere that was measured." in write_card(trained.policy, facts, [better], [])
