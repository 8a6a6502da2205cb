from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from gridpilot import deploy
from gridpilot.errors import ConfigError, DeploymentError, TournamentError
from gridpilot.hindsight import exploit_command
from gridpilot.live.deployment import load_deployment
from gridpilot.tournament import tournament_command
from gridpilot.tournament.fitness import CODES
from gridpilot.tournament.manifest import Manifest, identity_of, read_manifest, run_id, seal
from gridpilot.tournament.runner import store_rows

# A module of its own name: the tests' process imports it from here, from copies, and from deployments.
OWN = """
from pathlib import Path

from gridpilot.agents.truthful import Truthful
from deploy_test_pkg import taste

class Mine(Truthful):
    def __init__(self, table="ercot", greed=1.0):
        self.table = Path(table).read_text() if table.endswith(".yaml") else table
        self.greed, self.taste = greed, taste.TASTE

class Seer(Truthful):
    clairvoyant = True
"""
FAULTY = """
from gridpilot import Agent

class Faulty(Agent):
    def bid(self, observation):
        if observation.tick == 3:
            raise ValueError("the third tick")
        return observation.truthful_bid()
"""
AGENTS = (
    "agents=[truthful,foresight,deploy_test_faulty.Faulty,deploy_test_bidder.Seer,"
    "{name: mpc, label: warm, climatologies: [data/hot.yaml]},"
    "{name: deploy_test_bidder.Mine, label: mine, table: data/hot.yaml, greed: 2.0}]"
)
MARKET = "market.sites=[{name: hydro, fleet: {hydro: 118}},{name: gpu, fleet: {gpu: 62}}]"
QUICK = ["tournament=quick", "backend=serial", "episodes=8", "ticks=24", "history=24", "deadline=60", "chunk=5", MARKET]


def rewrite(manifest_of: Callable[[Manifest], object], rows_of: Callable[[pd.DataFrame], object] = lambda rows: None) -> None:
    """Make ``run`` what it would be with another manifest and other rows, which are changed in place."""
    manifest = read_manifest(Path("run"))
    manifest_of(manifest)
    Path("run/manifest.json").write_text(json.dumps(seal(manifest)))
    for path in sorted(Path("run/parts").iterdir()):
        rows = pd.read_parquet(path)
        rows_of(rows)
        store_rows(path, rows, identity_of(manifest))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a tournament was played: ``run``, and the files of its agents."""
    folder, before, path = tmp_path_factory.mktemp("home"), Path.cwd(), list(sys.path)
    os.chdir(folder)
    Path("data").mkdir()
    climatology = resources.files("gridpilot.conf") / "climatology" / "mara_event.yaml"
    Path("data/hot.yaml").write_bytes(climatology.read_bytes())
    Path("deploy_test_bidder.py").write_text(OWN)
    Path("deploy_test_faulty.py").write_text(FAULTY)
    Path("deploy_test_pkg").mkdir()
    Path("deploy_test_pkg/__init__.py").write_text("")
    Path("deploy_test_pkg/taste.py").write_text("from .grain import TASTE\n")
    Path("deploy_test_pkg/grain.py").write_text("TASTE = 'salt'\n")
    try:
        assert tournament_command.main([*QUICK, AGENTS, "out=run"]) == 0
        rewrite(lambda manifest: [agent.update(audit={"passed": True}) for agent in manifest["agents"].values() if agent["source"]])
        yield folder
    finally:
        os.chdir(before)
        sys.path[:] = path


@pytest.fixture
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``home`` to spoil, as the working directory."""
    here = Path.cwd() / "home"
    shutil.copytree(home, here)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(home)])
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    return here


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads what was written in this process, which takes a second less than in one of its own."""

    def load(folder: Path, _: Path) -> None:
        load_deployment(folder)

    monkeypatch.setattr(deploy, "_load_elsewhere", load)


def refused(*argv: str) -> str:
    with pytest.raises((DeploymentError, TournamentError, ConfigError)) as error:
        deploy.main(["run", *argv])
    assert not Path("deployments").exists()
    return str(error.value)


def test_an_agent_of_the_library(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["run", "--agent", "truthful", "--risk", "max_loss_per_day=500", "energy.high=50"]) == 0
    manifest = read_manifest(Path("run"))
    folder = Path("deployments") / f"truthful-{run_id(manifest)}"
    out = capsys.readouterr().out
    assert "truthful: 8 episodes of 24 ticks, 2 seats, run " in out
    assert out.count(" ok ") == len(CODES)
    assert "0 of 768 decisions" in out  # mixed: 8 episodes x 24 ticks x 2 seats; self: as many
    assert f"next     gridpilot live deployment={folder}  decides, and sends nothing" in out
    loaded = load_deployment(folder)
    assert loaded.agent == {"target": "truthful", "params": {}}
    assert (loaded.risk.max_loss_per_day, loaded.risk.energy.high, loaded.risk.energy.jump) == (500.0, 50.0, 3.0)
    assert [site.name for site in loaded.sites] == ["hydro", "gpu"]
    assert loaded.sites[1].fleet[0].units == 62
    assert f"hash     {loaded.fingerprint}  of the whole folder" in out
    assert f"deployment.fingerprint={loaded.fingerprint}  behind either" in out
    assert loaded.manifest == manifest
    assert loaded.record.source["code"] == manifest["code"] == loaded.record.code
    assert loaded.record.despite == loaded.warnings == ()
    assert "Nothing had to be copied" in (folder / "policy/NOTE.txt").read_text()


def test_the_evaluation_is_the_leaderboards(place: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["run", "--agent", "warm", "--out", "site", "--site", "gpu", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    board = json.loads(Path("run/leaderboard.json").read_text())
    (line,) = [agent for agent in board["agents"] if agent["agent"] == "warm"]
    loaded = load_deployment(Path("site"))
    assert made["evaluation"] == loaded.evaluation
    assert line.pop("failed_checks") == {}  # of its audit, for which a deployment has a code
    assert {key: loaded.evaluation[key] for key in line} == line
    assert (loaded.evaluation["episodes"], loaded.evaluation["winner_set"]) == (8, board["winner_set"])
    assert loaded.evaluation["profit"]["low"] < loaded.evaluation["profit"]["value"]
    sites = loaded.evaluation["sites"]
    assert sum(site["profit"] for site in sites.values()) / 2 == pytest.approx(line["profit"]["value"])
    assert loaded.evaluation["worst_site"]["profit"] == min(site["profit"] for site in sites.values())
    assert loaded.evaluation["worst_episode"]["profit"] == pytest.approx(line["cvar"])  # of six episodes
    assert [site.name for site in loaded.sites] == ["gpu"]
    assert (made["folder"], made["fingerprint"]) == ("site", loaded.fingerprint)
    assert made["next"] == "gridpilot live deployment=site"
    assert [check["code"] for check in made["checks"]] == list(CODES)


def test_a_file_parameter_comes_along(place: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deploy.main(["run", "--agent", "warm", "--out", "site"]) == 0
    described = yaml.safe_load(Path("site/agent.yaml").read_text())
    assert described["params"]["climatologies"] == ["policy/hot.yaml"]
    assert described["params"]["horizon"] == 288  # of conf/agent: what was played, whatever that file will say
    shutil.rmtree("data")
    folder = Path("site").absolute()
    monkeypatch.chdir("/")
    assert load_deployment(folder).agent["params"]["climatologies"] == [str(folder / "policy/hot.yaml")]


def test_an_agent_of_ones_own_comes_along_with_what_it_imports(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deploy.main(["run", "--agent", "mine", "--out", "site"]) == 0  # which loads it in a process of its own
    copied = sorted(path.relative_to("site/policy").as_posix() for path in Path("site/policy").rglob("*") if path.is_file())
    package = ["deploy_test_pkg/__init__.py", "deploy_test_pkg/grain.py", "deploy_test_pkg/taste.py"]
    assert copied == ["NOTE.txt", "deploy_test_bidder.py", *package, "hot.yaml"]
    folder = shutil.move("site", Path.cwd().parent / "moved")
    for path in (*place.glob("*.py"), place / "deploy_test_pkg/grain.py"):
        path.write_text("raise RuntimeError('not this one')\n")
    loaded = load_deployment(folder)
    module = sys.modules["deploy_test_bidder"]
    assert Path(str(module.__file__)) == folder / "policy/deploy_test_bidder.py"
    mine = module.Mine(**loaded.agent["params"])
    assert (mine.taste, mine.greed) == ("salt", 2.0)
    assert mine.table == (place / "data/hot.yaml").read_text()


def alter(where: Callable[[pd.DataFrame], Any], column: str, value: float) -> None:
    """Make the run one in which ``mine`` had other rows in the mixed line-up."""

    def change(rows: pd.DataFrame) -> None:
        chosen = (rows["agent"] == "mine") & where(rows)
        rows.loc[chosen, column] = rows.loc[chosen, column].dtype.type(value)

    rewrite(lambda manifest: None, change)


def first(rows: pd.DataFrame) -> Any:
    return (rows["lineup"] == "mixed") & (rows["episode"] == rows["episode"].min()) & (rows["site"] == "gpu")


def judge(verdict: dict[str, Any] | None) -> None:
    rewrite(lambda manifest: manifest["agents"]["mine"].update(audit=verdict))


SPOILT: dict[str, tuple[Callable[[], object], str]] = {
    # A part is half an episode here: the last one holds its self-play, which the ranking does without.
    "incomplete": (lambda: max(Path("run/parts").iterdir()).unlink(), "75 of 80 matches are finished"),
    "code": (lambda: rewrite(lambda manifest: manifest.update(code="0" * 64)), "0000000000 was played and [0-9a-f]{10} is here"),
    "source": (lambda: Path("deploy_test_bidder.py").write_text(OWN + "# better\n"), r"deploy_test_bidder\.py changed since"),
    "audit": (lambda: judge({"passed": False, "failed": {"future": "tick 3", "files": "writes a file"}}), "failed: future, files"),
    "few_episodes": (lambda: [path.unlink() for path in sorted(Path("run/parts").iterdir())[6:]], "3 complete, 8 are needed"),
    "timeouts": (lambda: alter(first, "timeouts", 2), r"16 of 768 decisions\."),
    "exceptions": (lambda: alter(first, "exceptions", 1), r"8 of 768 decisions"),
    "invalid_bids": (lambda: alter(first, "invalid_bids", 1), r"8 of 768 decisions"),
    "grid_limit": (lambda: alter(first, "drawn_kwh", 2000.001), r"at most 1,000\.0 of 1,000 kW, the mean of episode \d+ at gpu"),
    "daily_loss": (
        lambda: alter(first, "profit", -200.5),
        r"at worst a loss of 200\.5 \$, episode \d+ at gpu; a loss of 200 is allowed",
    ),
    "regret": (lambda: None, "not measured, which gridpilot exploit run --agent mine does"),
}
LIMITS = {"daily_loss": ["--risk", "max_loss_per_day=200"], "regret": ["--max-regret-percent", "5"]}


def test_every_code_is_tried() -> None:
    assert list(SPOILT) == list(CODES)


@pytest.mark.parametrize("code", SPOILT)
def test_what_speaks_against_an_agent_is_overridden_by_name_only(place: Path, quick: None, code: str) -> None:
    spoil, message = SPOILT[code]
    spoil()
    arguments = ["--agent", "mine", *LIMITS.get(code, [])]
    reason = refused(*arguments)
    assert re.match(f"mine is not deployed: .*{code}: {message}", reason)
    assert f"{code}: " in refused(*arguments, "--despite", ",".join(set(CODES) - {code}))
    named = reason.rpartition("--despite ")[2].partition(" deploys it all the same")[0]
    # A run that was ended early is both incomplete and, ended early enough, too short.
    assert named == {"few_episodes": "incomplete,few_episodes"}.get(code, code)
    assert deploy.main(["run", *arguments, "--despite", named, "--out", "site"]) == 0
    loaded = load_deployment(Path("site"))
    assert [override.code for override in loaded.record.despite] == named.split(",")
    assert any(warning.startswith(f"deployed despite {code}: ") for warning in loaded.warnings)


def test_regret_that_was_measured_is_shown_and_held_to_a_limit(
    place: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exploit_command.main(["run", "--agent", "mine", "--episodes", "2"]) == 0
    capsys.readouterr()
    assert deploy.main(["run", "--agent", "mine", "--out", "site", "--json", "--max-regret-percent", "100"]) == 0
    check = json.loads(capsys.readouterr().out)["checks"][-1]
    assert check["code"] == "regret"
    assert check["passed"]
    assert re.fullmatch(r"\d+\.\d to \d+\.\d % of the optimum, \d+ seat-days; 100 is allowed", check["found"])
    assert re.search(
        r"not deployed: regret: .* of the optimum, .*; 0 is allowed", refused("--agent", "mine", "--max-regret-percent", "0")
    )
    assert "regret: not measured" in refused("--agent", "warm", "--max-regret-percent", "100")
    with pytest.raises(SystemExit):
        deploy.main(["run", "--agent", "mine", "--max-regret-percent", "-1"])


def test_limits_may_be_reached(place: Path, quick: None) -> None:
    alter(first, "drawn_kwh", 2000.0)  # in 24 ticks, behind 1,000 kW
    alter(first, "profit", -200.0)
    assert deploy.main(["run", "--agent", "mine", "--out", "exact", "--risk", "max_loss_per_day=200"]) == 0
    alter(first, "profit", -1e6)
    assert deploy.main(["run", "--agent", "mine", "--out", "none"]) == 0


@pytest.mark.parametrize("name", ["data/hot.yaml", "deploy_test_pkg/grain.py"])
def test_all_files_of_an_agent_are_looked_at(place: Path, name: str) -> None:
    (place / name).write_text((place / name).read_text() + "\n# other\n")
    which = "table" if name.endswith("yaml") else name
    assert f"source: {which} changed since" in refused("--agent", "mine")


def test_a_real_failure(place: Path) -> None:
    reason = refused("--agent", "Faulty")
    assert "exceptions: 32 of 768 decisions, the first failure: " in reason  # one a seat, episode and match
    assert "the third tick" in reason


def test_files_that_are_gone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "data")
    Path("run").symlink_to("../run")
    assert "its parameter climatologies.0 is 'data/hot.yaml', and there is no such file" in refused("--agent", "warm")
    assert "data/deploy_test_bidder.py is gone, which has to be copied; run this where" in refused("--agent", "mine")
    monkeypatch.chdir(place)
    Path("deploy_test_bidder.py").unlink()
    assert "deploy_test_bidder.py is gone, which has to be copied" in refused("--agent", "mine")


@pytest.mark.parametrize("agent", ["foresight", "Seer"])
def test_the_clairvoyant_are_never_deployed(place: Path, agent: str) -> None:
    reason = refused("--agent", agent, "--despite", ",".join(CODES))
    assert "is clairvoyant, shown what only a simulated market can show" in reason


def test_what_does_not_run_on_its_own_is_refused(place: Path) -> None:
    # It opens a file that no parameter names, so nothing tells that it is needed until it is missed.
    text = OWN.replace("self.greed,", "Path('data/hot.yaml').read_text(); self.greed,")
    Path("deploy_test_bidder.py").write_text(text)
    reason = refused("--agent", "mine", "--despite", "source", "--out", "new/site")
    assert (
        "it does not run on its own: new/site: agent 'deploy_test_bidder.Mine': Mine failed to start: FileNotFoundError" in reason
    )
    assert not Path("new").exists()


def test_names_that_are_wrong(place: Path) -> None:
    assert "there is no agent 'wram'; did you mean warm?" in refused("--agent", "wram")
    assert "there is no such code; did you mean exceptions?" in refused("--agent", "mine", "--despite", "exception")
    assert "there is no such code; expected one of incomplete, code" in refused("--agent", "mine", "--despite", "x")
    assert "there was none; did you mean hydro?" in refused("--agent", "mine", "--site", "hydra")
    assert "unknown key 'max_loss_per_dy'; did you mean max_loss_per_day?" in refused(
        "--agent", "mine", "--risk", "max_loss_per_dy=3"
    )
    assert "fallback_after is 9, expected at most off_after, 6" in refused("--agent", "mine", "--risk", "fallback_after=9")
    for wrong in ("energy", "enrgy.high=3", "max_change_kw.high=3", "token=[1"):
        assert f"--risk {wrong}: " in refused("--agent", "mine", "--risk", wrong)
    with pytest.raises(TournamentError, match="nowhere does not exist, expected the folder of a tournament run"):
        deploy.main(["nowhere", "--agent", "mine"])


def test_what_was_not_needed_and_what_should_be_known(place: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--agent", "zero_intelligence", "--out", "a site", "--despite", "timeouts,code"]
    assert deploy.main(arguments) == 0
    out = capsys.readouterr().out
    assert "note     --despite timeouts,code was not needed" in out
    assert "note     max_loss_per_day is null: no loss, however large, switches the site off" in out
    assert "note     zero_intelligence is not in the winner set, which is " in out
    assert "gridpilot live 'deployment=a site'" in out
    with pytest.raises(DeploymentError, match="a site exists, and a deployment is never changed"):
        deploy.main(arguments)


def test_a_key_among_the_parameters_is_refused(place: Path) -> None:
    rewrite(lambda manifest: manifest["agents"]["mine"]["params"].update(greed="3f2504e0-4f89-41d3-9a0c-0305e82c3301"))
    reason = refused("--agent", "mine")
    assert "the agent's parameter 'greed' has the form of an API key" in reason
    assert "3f2504e0" not in reason


def test_what_was_not_audited_is_refused(place: Path, quick: None) -> None:
    judge(None)
    reason = refused("--agent", "mine")
    assert reason.endswith("audit: it was not audited. --despite audit deploys it all the same")
    assert deploy.main(["run", "--agent", "mine", "--despite", "audit", "--out", "site"]) == 0


LABELLED = "agents=[truthful,{name: foresight, label: honest},{name: truthful, label: foresight}]"


def test_a_label_neither_deploys_foresight_nor_holds_anybody_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert tournament_command.main([*QUICK, "episodes=1", "ticks=6", LABELLED, "out=run"]) == 0
    everything = ["--despite", ",".join(CODES)]
    assert "honest is clairvoyant" in refused("--agent", "honest", *everything)
    assert deploy.main(["run", "--agent", "foresight", *everything, "--out", "site"]) == 0
    assert load_deployment(Path("site")).agent["target"] == "truthful"


READERS = """
from pathlib import Path

from gridpilot.agents.truthful import Truthful

HERE = Path(__file__).parent

class Default(Truthful):
    def __init__(self, weights="data/default.txt"):
        self.weights = Path(weights).read_text()

class Beside(Truthful):
    def reset_batch(self, *arguments):
        self.weights = (HERE / "data" / "beside.txt").read_text()
        super().reset_batch(*arguments)

class Relative(Truthful):
    def reset_batch(self, *arguments):
        self.weights = Path("data/default.txt").read_text()
        super().reset_batch(*arguments)

class Fixed(Truthful):
    def __init__(self):
        self.weights = Path("{here}/data/beside.txt").read_text()

class Outside(Truthful):
    def __init__(self):
        self.weights = Path("{here}/../outside.txt").resolve().read_text()
"""
NAMES = ("Default", "Beside", "Relative", "Fixed", "Outside")


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    here = Path.cwd() / "readers"
    (here / "data").mkdir(parents=True)
    for path in (here / "data/default.txt", here / "data/beside.txt", here.parent / "outside.txt"):
        path.write_text(path.stem)
    (here / "deploy_test_readers.py").write_text(READERS.replace("{here}", str(here)))
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    sys.modules.pop("deploy_test_readers", None)
    agents = ",".join(f"deploy_test_readers.{name}" for name in NAMES)
    assert tournament_command.main([*QUICK, "episodes=1", "ticks=6", "lineups=[mixed]", f"agents=[{agents}]", "out=run"]) == 0
    return ["--despite", "few_episodes,audit"]


def test_files_that_an_agent_opens_come_along_or_are_refused(readers: list[str], tmp_path: Path) -> None:
    here = Path.cwd()
    for name in ("Default", "Beside"):
        assert deploy.main(["run", "--agent", name, *readers, "--out", name]) == 0
    assert yaml.safe_load(Path("Default/agent.yaml").read_text())["params"] == {"weights": "policy/default.txt"}
    assert Path("Default/policy/default.txt").read_text() == "default"
    assert Path("Beside/policy/data/beside.txt").read_text() == "beside"
    does_not = "it does not run on its own: "
    assert f"{does_not}Relative fails at once: tick 0: FileNotFoundError" in refused("--agent", "Relative", *readers)
    assert f"{does_not}Fixed reads {here}/data/beside.txt, which is no part of the deployment" in refused(
        "--agent", "Fixed", *readers
    )
    assert f"Outside reads {here.parent}/outside.txt, which lies outside of {here} and is named by none" in refused(
        "--agent", "Outside", *readers
    )
    Path("data/beside.txt").write_text("trained again")
    assert "source: data/beside.txt changed since" in refused("--agent", "Beside", *readers)
    Path("data/beside.txt").unlink()
    assert "data/beside.txt is gone, which it reads" in refused("--agent", "Beside", *readers)
    Path("data/default.txt").write_text("trained again")
    assert "source: weights changed since" in refused("--agent", "Default", *readers)
