"""Leagues: the game of a population, the same bits after a kill, what is refused, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridpilot import cli
from gridpilot.agents.seating import Seating
from gridpilot.columns import SafeConsole
from gridpilot.errors import ConfigError, TournamentError
from gridpilot.policies import load_policy
from gridpilot.presets import described
from gridpilot.progress import Progress
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.tournament.config import agent_specs
from gridpilot.tournament.intervals import Estimate
from gridpilot.training import league_folder, league_play, markets, psro
from gridpilot.training.league_config import LeagueConfig
from gridpilot.training.league_result import League
from gridpilot.training.markets import Field, begun, specs_of
from gridpilot.training.payoffs import equilibrium_of, gain_over, new_matches, payoff_tensor, play_matches
from gridpilot.training.vec_env import make_vec_env

pytest.importorskip("stable_baselines3")

TINY: dict[str, Any] = {
    "agents": ["zero_intelligence", "truthful"], "iterations": 2, "ticks": 24, "history": 24, "layers": [8], "quiet": True,
    "clone": {"markets": 8, "rounds": 2, "last_passes": 4, "batch": 64},
    "ppo": {"markets": 8, "updates": 2, "batch": 32, "checkpoint_every": 1},
    "tuning": {"episodes": 8, "every": 1}, "evaluation": {"episodes": 10},
}  # fmt: skip
TIMES = ("CARD.md", "cpu.json", "result.json", "exploitability.png")  # hold CPU seconds


def no_advance(count: int, whose: str = "") -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def played(market: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> League:
    return psro(tmp_path_factory.mktemp("league") / "whole", market=market, **TINY)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_population_grows_by_responses_to_its_equilibrium(played: League) -> None:
    assert [step.response for step in played.steps] == ["response-1", "response-2", None]
    assert [len(step.weights) for step in played.steps] == [2, 3, 4]
    for step in played.steps:
        assert sum(step.weights.values()) == pytest.approx(1.0)
        assert step.weights["zero_intelligence"] == 0.0  # it bids at random: dominated, whoever the others are
    assert played.weights is played.steps[-1].weights
    assert sorted(step.seconds for step in played.steps) == [step.seconds for step in played.steps]
    assert max(played.ratings.values()) <= 0.0
    assert played.ratings["zero_intelligence"] < -1.0
    frame = played.figures
    assert frame["response"].tolist()[:2] == ["response-1", "response-2"]
    assert (frame["gain_low"][:2] < frame["gain"][:2]).all()
    document = json.loads((played.folder / "result.json").read_text())
    assert [step["weights"] for step in document["steps"]] == [dict(step.weights) for step in played.steps]
    assert (played.folder / "exploitability.png").read_bytes().startswith(b"\x89PNG")


def test_responses_are_policies_that_know_what_they_answered(played: League) -> None:
    folder = played.folder / "iteration-002"
    figures = json.loads((folder / "iteration.json").read_text())
    step = played.steps[1]
    assert figures["weights"] == dict(step.weights)
    assert Estimate(**figures["gain"]) == step.gain
    policy = load_policy(folder / "policy")
    assert policy.training["rivals"] == {label: weight for label, weight in step.weights.items() if weight > 0.0}
    card = (folder / "policy" / "CARD.md").read_text()
    assert "all others play one of a mixture" in card
    assert "| truthful | 10 |" in card
    entry = dict(played.agents[-1])
    assert entry == {"name": "learned", "label": "response-2", "policy": str(folder / "policy")}
    assert specs_of([entry])["response-2"].target == "learned"


class Killed(BaseException):
    """As if the power had failed."""


def test_a_killed_league_goes_on_to_the_same_bytes(
    played: League, market: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "killed", []

    def killed(*arguments: Any, **options: Any) -> pd.DataFrame:
        calls.append(1)
        if len(calls) == 3:  # the second response is trained, and did not play yet
            shutil.copytree(next(out.glob(".iteration-002.*")), out / ".iteration-002.left")  # a kill cleans nothing up
            raise Killed
        return play_matches(*arguments, **options)

    monkeypatch.setattr(league_play, "play_matches", killed)
    with pytest.raises(Killed):
        psro(out, market=market, **TINY)
    names = {path.name for path in out.iterdir()}
    assert {"iteration-001", ".iteration-002.left", ".checkpoint-2.pt"} <= names
    assert "iteration-002" not in names
    psro(out, market=market, **TINY)
    whole, resumed = content(played.folder), content(out)
    assert list(whole) == list(resumed)  # nothing is left behind
    differing = [name for name in whole if whole[name] != resumed[name] and Path(name).name not in TIMES]
    assert differing == []
    assert "iteration-002/policy/policy.safetensors" in whole


def test_a_league_that_is_whole_is_read_and_more_iterations_go_on(
    played: League, market: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(league_play.Play, "iterate", None)
    again = psro(played.folder, market=market, **TINY)
    assert again == played
    fewer = psro(played.folder, market=market, **TINY | {"iterations": 1})
    assert fewer.steps[0] == played.steps[0]
    psro(played.folder, market=market, **TINY)  # the table of all of them again
    with pytest.raises(TournamentError, match=r"holds another league \(ticks was 24 and is 12\), expected a new folder"):
        psro(played.folder, market=market, **TINY | {"ticks": 12})
    monkeypatch.setattr(league_folder, "code_hash", lambda *rooms: "other" if "training" in rooms else "same")
    with pytest.raises(TournamentError, match=r"holds another league \(code was"):
        psro(played.folder, market=market, **TINY)
    monkeypatch.undo()
    with pytest.raises(TournamentError, match=r"clone\.rounds was 2 and is 3"):
        psro(played.folder, market=market, **TINY | {"clone": TINY["clone"] | {"rounds": 3}})


def test_damaged_folders_are_told_in_a_line(played: League, market: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(played.folder, out)
    (out / "iteration-001" / "cpu.json").write_text('{"seconds": NaN}')
    with pytest.raises(TournamentError, match=r"cpu\.json"):
        psro(out, market=market, **TINY)
    (out / "iteration-001" / "payoffs.parquet").write_bytes(b"PAR1")
    with pytest.raises(TournamentError, match="cannot be read, expected the payoffs of an iteration"):
        psro(out, market=market, **TINY)
    shutil.copy(out / "iteration-000" / "payoffs.parquet", out / "iteration-001" / "payoffs.parquet")
    with pytest.raises(TournamentError, match="expected all pairs of zero_intelligence, truthful, response-1, response-2 in 18"):
        psro(out, market=market, **TINY)


def test_the_tensor_is_what_the_matches_say(tiny: MarketSetup, market: dict[str, Any]) -> None:
    agents = {label: agent_specs(["truthful", "threshold"])[label] for label in ("truthful", "threshold")}
    prices = described("prices", "ercot")
    episodes = list(range(9))

    def rows(population: list[str], old: int) -> pd.DataFrame:
        matches = new_matches(population, old, 2, episodes)
        return play_matches(market, prices, agents, matches, seed=0, ticks=24, history=24, advance=no_advance)

    one = rows(["truthful"], 0)
    both = pd.concat([one, rows(["truthful", "threshold"], 1)], ignore_index=True)
    tensor = payoff_tensor(both, ["truthful", "threshold"], 9, "here")
    assert tensor.shape == (9, 2, 2)
    alone = payoff_tensor(one, ["truthful"], 9, "here")
    np.testing.assert_allclose(alone[:, 0, 0], tensor[:, 0, 0])
    swapped = payoff_tensor(both, ["threshold", "truthful"], 9, "here")
    np.testing.assert_array_equal(swapped, tensor[:, ::-1, ::-1])
    at = both[(both["episode"] == 4) & (both["lineup"] == "self") & (both["agent"] == "threshold")]
    assert tensor[4, 1, 1] == pytest.approx(at["profit"].mean() * 288 / 24)
    weights = equilibrium_of(tensor)
    value, gain, percent = gain_over(tensor, np.array([0.25, 0.75]), 1)
    hand = tensor.mean(axis=0) @ [0.25, 0.75]
    assert value.value == pytest.approx(hand @ [0.25, 0.75])
    assert gain.value == pytest.approx(hand[1] - hand @ [0.25, 0.75])
    assert percent.value == pytest.approx(100.0 * gain.value / value.value)  # type: ignore[operator]
    assert gain_over(tensor, weights, int(weights.argmax()))[1].value == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(TournamentError, match="expected all pairs of truthful, threshold in 8"):
        payoff_tensor(both, ["truthful", "threshold"], 8, "here")


def test_all_sites_play_a_mixture_by_drawing_for_themselves(
    played: League, market: dict[str, Any], tiny: MarketSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(league_play, "equilibrium_of", lambda tuned: np.full(2, 0.5))
    settings = json.loads((played.folder / "league.json").read_text())["settings"] | {"out": None, "json": False, "iterations": 1}
    agents = {label: {"target": label, "params": {}} for label in TINY["agents"]}
    progress = Progress("league", SafeConsole(stderr=True, quiet=True))
    play = league_play.Psro(LeagueConfig(**settings), tiny, agents, tmp_path, "a test", progress)
    play.iterate(0)
    rows = pd.read_parquet(tmp_path / "iteration-000" / "together.parquet")
    assert set(rows["lineup"]) == {"together"}
    assert len(rows) == 2 * TINY["evaluation"]["episodes"]
    assert set(rows["agent"]) == set(agents)
    assert play.together(0)[:, 0].mean() == pytest.approx(rows["profit"].mean() * 288 / 24)
    bounds = [found[:, 0].mean() for found in play.initially().values()]
    assert min(bounds) < play.together(0)[:, 0].mean() < max(bounds)


def test_a_mixture_draws_one_rival_for_all_other_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    rivals = specs_of(["truthful", "threshold", "zero_intelligence"])
    setup = load_setup(ticks=2, history=2)
    field = Field(setup, "rotating", rivals, (0.25, 0.75, 0.0))
    episodes = np.arange(400)
    env = make_vec_env(
        400, setup, seat="rotate", opponents=list(rivals.values()), lineup="mixture", weights=field.weights, first_episode=0
    )
    env.reset()
    drawn = env.env.markets._labels(["a", "b", "c"], drawn=True)
    assert all(len({*row} - {""}) == 1 and row.count("") == 1 for row in drawn)
    labels = [max(row) for row in drawn]
    assert labels.count("c") == 0
    assert abs(labels.count("b") / 400 - 0.75) < 4.0 * np.sqrt(0.25 * 0.75 / 400)
    seated: list[Any] = []

    def seating(arena: Any, agents: Any, names: Any) -> Any:
        seated.extend(names)
        return Seating(arena, agents, names)

    monkeypatch.setattr(markets, "Seating", seating)
    begun(field, 0, episodes)
    letters = dict(zip(rivals, "abc", strict=True)) | {"": ""}
    assert [[letters[label] for label in row] for row in seated] == drawn  # the same where nobody searches


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weights": [1.0]}, "weights are given with lineup='cycle', expected lineup='mixture'"),
        ({"lineup": "mixture", "weights": [1.0]}, "1 weights and 2 opponents, expected a weight for each"),
        ({"lineup": "mixture", "weights": [0.0, 0.0]}, "expected finite numbers >= 0"),
        ({"lineup": "mixture", "weights": [1.0, float("nan")]}, "expected finite numbers >= 0"),
    ],
)
def test_weights_that_are_none_are_refused(options: Any, told: str, tiny: MarketSetup) -> None:
    with pytest.raises(ConfigError, match=told):
        make_vec_env(2, tiny, seat=0, **options)


SHORT = ["league", "ticks=6", "history=6"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "out is null, expected the folder"),
        (["out=new", "agents=[foresight]"], "'foresight' is shown the future"),
        (["out=new", "agents=[{name: mpc, label: response-1}]"], "the label 'response-1' is that of a policy of a league"),
        (["out=new", "agents=[nobody]"], "nobody"),
        (["out=new", "agents=[]"], "agents"),
        (["out=new", "iterations=15"], "2 agents and 15 iterations, expected at most 16 strategies together"),
        (["out=new", "clone.teacher=truthful"], "expected an agent on arrays that writes storage values"),
        (["out=new", "ppo.lineup=draw"], "lineup"),
        (["out=file"], "it is a file, expected a folder"),
        (["out=full"], "full is not empty and holds no league.json"),
    ],
)
def test_what_cannot_be_played_is_told_in_a_line(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    assert cli.main([*SHORT, *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("gridpilot league: error: ")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_settings_that_are_unknown_are_told() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'iteration'; did you mean iterations"):
        psro("new", iteration=3)


def test_the_command_prints_tables_of_80_columns_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = [
        *SHORT, f"out={out}", "iterations=1", "layers=[8]", "search=false", "clone.markets=4", "clone.rounds=1", "clone.batch=64",
        "tuning.episodes=2", "evaluation.episodes=8",
    ]  # fmt: skip
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "PSRO" in printed
    assert "response-1" in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if str(tmp_path) not in line)
    assert cli.main([*words, "json=true"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["steps"] == json.loads((out / "result.json").read_text())["steps"]
    card = (out / "iteration-001" / "policy" / "CARD.md").read_text()
    assert "    gridpilot league ticks=6" in card
    assert "Cloned from `foresight` (DAgger, 1 rounds of 4 markets) in every seat in turn" in card
