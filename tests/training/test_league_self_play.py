"""Self-play: who is drawn as an opponent, who joins them, the same bytes after a kill, and what all sites come to together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridpilot import cli
from gridpilot.columns import SafeConsole
from gridpilot.configuration import composed, validate
from gridpilot.errors import PolicyError, TournamentError
from gridpilot.market.encoding import n_fields
from gridpilot.policies import Layout, Policy, load_policy
from gridpilot.progress import Progress
from gridpilot.setup import MarketSetup
from gridpilot.tournament.intervals import Estimate, mean
from gridpilot.training import self_play
from gridpilot.training.config import TRAINING
from gridpilot.training.league_config import LeagueConfig
from gridpilot.training.league_result import League
from gridpilot.training.league_self_play import SelfPlay
from gridpilot.training.markets import Field, specs_of
from gridpilot.training.network import Network
from gridpilot.training.payoffs import priorities
from gridpilot.training.response import best_response
from gridpilot.training.together import alike, compared, mixed_matches
from gridpilot.training.tuning import Look, Tuning
from gridpilot.training.vec_env import make_vec_env

pytest.importorskip("stable_baselines3")

TINY: dict[str, Any] = {
    "agents": ["truthful"], "iterations": 2, "ticks": 24, "history": 24, "layers": [8], "quiet": True, "search": False,
    "clone": {"markets": 4, "rounds": 1, "last_passes": 2, "batch": 64}, "ppo": {"batch": 32, "checkpoint_every": 1},
    "self_play": {"markets": 2, "against": 2, "updates": 2, "begin_among": "truthful", "exploit_every": 1},
    "tuning": {"episodes": 8, "every": 1}, "evaluation": {"episodes": 9},
}  # fmt: skip
TIMES = ("CARD.md", "cpu.json", "result.json", "exploitability.png")  # hold CPU seconds


@pytest.fixture(scope="module")
def played(market: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> League:
    return self_play(tmp_path_factory.mktemp("league") / "whole", market=market, **TINY)


def play_of(league: League, folder: Path, tiny: MarketSetup, market: dict[str, Any]) -> SelfPlay:
    config = composed("league") | {key: value for key, value in TINY.items() if key not in ("quiet", "clone", "ppo", "self_play")}
    config["self_play"] |= {"exploit_every": 1}
    config |= {"method": "self_play", "market": market, "tuning": TINY["tuning"] | {"patience": 0}}
    config |= {"evaluation": TINY["evaluation"] | {"seed": 0}}
    settings = validate(LeagueConfig, config, "league")
    agents = {"truthful": {"target": "truthful", "params": {}}}
    return SelfPlay(settings, tiny, agents, folder, "a test", Progress("league", SafeConsole(stderr=True, quiet=True)))


def test_an_opponent_that_does_well_is_drawn_more_often() -> None:
    # 4 episodes of 3 strategies: 0 earns more than 1 among 1s in one of them, more than 2 among 2s in three; it ties with itself.
    payoff = np.zeros((4, 3, 3))
    payoff[:, 1, 1], payoff[:, 0, 1] = 10.0, [11.0, 9.0, 9.0, 9.0]
    payoff[:, 2, 2], payoff[:, 0, 2] = 10.0, [11.0, 11.0, 11.0, 9.0]
    wanted = np.array([0.75**2, 0.25**2, 0.5**2])
    np.testing.assert_allclose(priorities(payoff, 0, [1, 2, 0], 2.0), wanted / wanted.sum(), rtol=1e-14)
    np.testing.assert_array_equal(priorities(payoff, 0, [1, 2, 0], 0.0), np.full(3, 1.0 / 3.0))
    payoff[:, 0, 1:] = 11.0
    np.testing.assert_array_equal(priorities(payoff, 0, [1, 2], 2.0), [0.5, 0.5])  # who beats them all


def test_one_policy_plays_itself_its_past_and_its_exploiters(played: League) -> None:
    assert list(played.weights) == ["truthful", "policy-0", "policy-1", "exploiter-1", "policy-2", "exploiter-2"]
    assert [step.weights[f"policy-{step.number}"] for step in played.steps] == [1.0, 1.0, 1.0]
    assert [step.response for step in played.steps] == [None, "exploiter-1", "exploiter-2"]
    assert [sorted(step.drawn)[-1:] for step in played.steps[:2]] == [[], ["policy-0"]]
    assert {"policy-0", "policy-1"} <= set(played.steps[2].drawn)
    assert sum(played.steps[2].drawn.values()) == pytest.approx(1.0)
    policies = [load_policy(played.folder / f"iteration-00{n}" / "policy") for n in range(3)]
    assert [policy.layout.hold for policy in policies] == [1, 6, 6]
    weights = [policy.arrays["layers.0.weight"] for policy in policies]
    assert 0.0 < np.abs(weights[1] - weights[0]).max() < 0.1  # it went on from where it was
    assert 0.0 < np.abs(weights[2] - weights[1]).max() < 0.1
    assert policies[2].training["rivals"] == played.steps[2].drawn
    card = (played.folder / "iteration-002" / "policy" / "CARD.md").read_text()
    assert "then by PPO in all seats at once (4 updates of 4 episodes, 2 of them against itself)" in card


def test_an_exploiter_joins_the_opponents_if_it_gains(
    played: League, tiny: MarketSetup, market: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(played.folder, tmp_path / "copy")
    play = play_of(played, tmp_path / "copy", tiny, market)
    tuned = np.random.default_rng(0).normal(size=(8, 4, 4))
    for gain, joins in ((100.0, True), (0.0, False), (-100.0, False)):
        tuned[:, 3, 2] = tuned[:, 2, 2] + gain + 0.1 * np.arange(8) - 0.35  # exploiter-1 among all who play policy-1
        assert play.note(1, tuned)["joins"] is joins
    figures = tmp_path / "copy" / "iteration-001" / "iteration.json"
    kept = json.loads(figures.read_text())
    own = mean(play.payoff(1)[0][:, 3, 2] - play.payoff(1)[0][:, 2, 2])
    assert kept["joins"] is (own.low is not None and own.low > 0.0)
    for joins in (True, False):
        figures.write_text(json.dumps(kept | {"joins": joins}))
        assert ("exploiter-1" in play.drawn(2)) is joins
    figures.write_text(json.dumps(kept | {"joins": "perhaps"}))
    with pytest.raises(TournamentError, match="does not say whether the exploiter joins"):
        play.drawn(2)


@pytest.mark.parametrize("clones_gain", [-1.0, 1.0])
def test_a_response_begins_at_the_policy_that_it_answers_where_a_clone_earns_less(
    clones_gain: float, played: League, tiny: MarketSetup, market: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = played.folder / "iteration-001" / "policy"
    incumbent, settings = load_policy(path), play_of(played, played.folder, tiny, market).settings
    field = Field(tiny, "rotating", specs_of([{"name": "learned", "label": "policy-1", "policy": str(path)}]), (1.0,))
    monkeypatch.setattr(Tuning, "look", lambda self, policy, at: Look(at, {"policy-1": Estimate(2.0 if at else clones_gain)}))
    few = {"markets": 4, "updates": 1, "from_policy": settings.ppo.from_policy.model_copy(update={"learning_rate": 1e-9})}
    found = best_response(
        field, settings.clone.model_copy(update={"markets": 4, "rounds": 1, "last_passes": 1}), settings.ppo.model_copy(update=few),
        Tuning(field, field.rivals, settings.looks, 0), seed=0, layers=(8,), checkpoint=None, identity="",
        progress=Progress("league", SafeConsole(stderr=True, quiet=True)), incumbent=("policy-1", incumbent),
    )  # fmt: skip
    same = all(np.allclose(array, found.policy.arrays[name], atol=1e-6) for name, array in incumbent.arrays.items())
    assert same is (clones_gain < 0.0)
    assert ("as it earned less, searched for from policy-1" in found.how) is same


def test_only_shading_that_was_never_searched_for_is_set() -> None:
    layout = Layout((n_fields(1), 8, 4), 1)
    fresh = Network(layout, np.ones((2, layout.sizes[0]), dtype=np.float32), 0)
    again = Network.of(Policy(layout, fresh.arrays()))
    assert all(np.array_equal(array, again.arrays()[name]) for name, array in fresh.arrays().items())
    arrays = fresh.arrays()
    arrays["layers.1.weight"][3] = 0.1
    network = Network.of(Policy(layout, arrays))
    network.shading_starts_at(-0.5)
    assert network.arrays()["layers.1.bias"][1:].tolist() == [0.0, -0.5, 0.0]


class Killed(BaseException):
    """As if the power had failed."""


def test_a_killed_league_goes_on_to_the_same_bytes(
    played: League, market: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridpilot.training.sb3_learner import Learner

    updated, out = Learner.updated, tmp_path / "killed"

    def until_the_third(self: Learner) -> None:
        updated(self)
        if self.updates == 3:  # of four: in the middle of the second iteration
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "updated", until_the_third)
        with pytest.raises(Killed):
            self_play(out, market=market, **TINY)
    assert (out / ".learner-2.pt").exists()
    done: list[int] = []
    monkeypatch.setattr(Learner, "updated", lambda self: (updated(self), done.append(self.updates)))
    self_play(out, market=market, **TINY)
    assert done == [4]

    def content(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    whole, resumed = content(played.folder), content(out)
    assert list(whole) == list(resumed)
    assert [name for name in whole if whole[name] != resumed[name] and Path(name).name not in TIMES] == []
    assert {"iteration-001/learner.pt", "iteration-002/policy/policy.safetensors"} <= set(whole)
    (out / "iteration-002" / "learner.pt").write_bytes(b"what is this")
    with pytest.raises(PolicyError, match=r"\.learner-3\.pt is no checkpoint that can be gone on from"):
        self_play(out, market=market, **TINY | {"iterations": 3})
    with pytest.raises(TournamentError, match="holds another league"):
        self_play(out, market=market, **TINY | {"agents": ["threshold"]})


def test_markets_of_two_kinds_are_one_environment(tiny: MarketSetup) -> None:
    from gridpilot.training.joint_env import JointVecEnv

    def parts() -> list[Any]:
        return [make_vec_env(3, tiny, seats=range(2), opponents=()), make_vec_env(2, tiny, seats=[0])]

    env = JointVecEnv(parts(), 0, TRAINING)
    first, second = parts()
    assert (env.num_envs, env.n_markets, env.decisions) == (8, 5, 4)
    actions = np.linspace(-0.5, 0.5, 16, dtype=np.float32).reshape(8, 2)
    begun = env.reset()
    for start in (TRAINING, TRAINING + 5):  # of the second episodes the first observations come with the end of the first
        first.start_at(0, start)
        second.start_at(0, start + 3)
        seen = np.concatenate([first.reset(), second.reset()])
        np.testing.assert_array_equal(begun, seen)
        for _ in range(4):
            env.step_async(actions)
            begun, rewards, over, infos = env.step_wait()
            for part, own in ((first, actions[:6]), (second, actions[6:])):
                part.step_async(own)
            theirs = [part.step_wait() for part in (first, second)]
            np.testing.assert_array_equal(rewards, np.concatenate([one[1] for one in theirs]))
        assert over.all()
        assert [info["episode"]["r"] for info in infos] == [info["episode"]["r"] for one in theirs for info in one[3]]
    env.start_at(0, TRAINING + 10)  # where a search that was interrupted goes on
    np.testing.assert_array_equal(env.reset(), begun)


def test_what_all_sites_come_to(played: League) -> None:
    rows = pd.DataFrame(
        {
            "episode": [7, 7, 9, 9], "profit": [1.0, 3.0, 2.0, 4.0], "market_revenue": [10.0, 10.0, 20.0, 20.0],
            "market_welfare": [30.0, 30.0, 40.0, 40.0], "ticks": [144] * 4,
        }
    )  # fmt: skip
    np.testing.assert_allclose(alike(rows), [[4.0, 20.0, 60.0], [6.0, 40.0, 80.0]])  # half a day
    found = compared("a", np.array([[4.0, 1.0, 2.0]] * 9), {"b": np.array([[5.0, 1.0, 2.0]] * 9)})
    assert (found.profit.value, found.over["b"].value, found.percent["b"].value) == (4.0, -1.0, -20.0)
    (truthful,) = played.initially
    assert truthful.over["truthful"].value == 0.0
    assert truthful.profit.value == pytest.approx(played.payoff[0][0].value)
    last = played.steps[-1].together
    assert last.profit.value == pytest.approx(played.steps[-1].value.value)  # all play it, as of its payoff
    assert last.over["truthful"].value == pytest.approx(last.profit.value - truthful.profit.value)  # type: ignore[operator]
    matches = mixed_matches({"a": 0.25, "b": 0.75}, 10, range(200))
    seats = [label for match in matches for label in match.seats]
    assert abs(seats.count("b") / len(seats) - 0.75) < 4.0 * (0.25 * 0.75 / len(seats)) ** 0.5
    assert matches[:3] == mixed_matches({"a": 0.25, "b": 0.75}, 10, range(3))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["method=selfplay"], "method='selfplay'"),
        (["agents=[{name: mpc, label: policy-3}]"], "the label 'policy-3' is that of a policy of a league"),
        (["self_play.begin_among=nobody"], "nobody"),
        (["self_play.markets=0"], "self_play.markets=0"),
        (["self_play.priority=-1"], "self_play.priority=-1"),
    ],
)
def test_what_cannot_be_played_is_told_in_a_line(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["league", "method=self_play", "ticks=6", "history=6", "out=new", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_the_tables_fit_80_columns(played: League) -> None:
    import io

    from gridpilot.training.league_command import tables

    console = SafeConsole(file=io.StringIO(), width=80)
    for table in tables(played, 80):
        console.print(table)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert "drawn in the" in printed
    assert "after 2" in printed
    assert "…" not in printed
