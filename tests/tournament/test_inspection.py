"""Roles come from classes, and no label changes them; files that agents read belong to the run."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridpilot.agents.isolation import end_idle
from gridpilot.errors import AgentError, ConfigError, TournamentError
from gridpilot.setup import load_preset
from gridpilot.tournament import tournament_command
from gridpilot.tournament.config import TournamentSpec, agent_specs
from gridpilot.tournament.inspection import assign_roles, inspect_spec
from gridpilot.tournament.play import play_chunk
from gridpilot.tournament.rows import check_rows
from gridpilot.tournament.runner import read_run
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES, ROLES, schedule
from gridpilot.tournament.statistics import rank

SEERS = """
from gridpilot.agents.foresight import Foresight
from gridpilot.agents.truthful import Truthful

class Mine(Foresight):
    pass

class Seer(Truthful):
    clairvoyant = True
"""
MARKET = {
    **load_preset("market", "default"),
    "sites": [{"name": "hydro", "fleet": {"hydro": 118}}, {"name": "gpu", "fleet": {"gpu": 62}}],
}


def spec(*agents: Any, **changes: Any) -> TournamentSpec:
    """Of two sites and ten ticks."""
    fields = {
        "market": MARKET,
        "prices": load_preset("prices", "ercot"),
        "agents": agent_specs(agents),
        "seed": 3,
        "ticks": 10,
        "history": 24,
        "deadline": 60.0,
    }
    return TournamentSpec(**(fields | changes))


@pytest.fixture
def seers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    Path("inspection_seers.py").write_text(SEERS)


MINE, SEER = "inspection_seers.Mine", "inspection_seers.Seer"


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        ([{"name": "foresight", "label": "oracle"}], {"oracle": "yardstick"}),
        ([{"name": "foresight", "replan": 12}], {"foresight": "yardstick"}),
        ([{"name": "truthful", "label": "foresight"}], {"foresight": "ranked"}),
        ([{"name": "truthful", "label": "honest"}, "threshold"], {"honest": "ranked", "threshold": "ranked"}),
        ([{"name": MINE, "label": "harmless"}], {"harmless": "yardstick"}),
        ([MINE, SEER], {"Mine": "clairvoyant", "Seer": "clairvoyant"}),
        (["foresight", MINE], {"foresight": "yardstick", "Mine": "clairvoyant"}),
        (["oracle_response", "foresight"], {"oracle_response": "clairvoyant", "foresight": "yardstick"}),
        (["oracle_response"], {"oracle_response": "yardstick"}),
        (
            [{"name": SEER, "label": "foresight"}, {"name": "foresight", "label": "x"}],
            {"foresight": "clairvoyant", "x": "yardstick"},
        ),
        (
            ["foresight", {"name": "foresight", "label": "often", "replan": 1}],
            {"foresight": "yardstick", "often": "clairvoyant"},
        ),
        (
            [{"name": "foresight", "label": "a", "replan": 1}, {"name": "foresight", "label": "b", "replan": 2}],
            {"a": "clairvoyant", "b": "clairvoyant"},
        ),
        ([{"name": "gridpilot.agents.foresight.Foresight", "label": "path"}, SEER], {"path": "yardstick", "Seer": "clairvoyant"}),
    ],
)
def test_roles_come_from_classes(seers: None, agents: list[Any], expected: dict[str, str]) -> None:
    assert assign_roles(agent_specs(agents)) == {**expected, "truthful": "reference", "zero_intelligence": "baseline"}


def test_a_label_neither_ranks_foresight_nor_hides_anybody(seers: None) -> None:
    tricky = spec({"name": "foresight", "label": "oracle"}, {"name": "truthful", "label": "foresight"}, SEER)
    found = inspect_spec(tricky)
    clairvoyant = [label for label, role in found.roles.items() if role in CLAIRVOYANT_ROLES]
    matches = schedule(list(tricky.agents), found.seats, range(2), clairvoyant=clairvoyant)
    rows = check_rows(play_chunk(tricky, matches), matches, where="test")
    assert dict(zip(rows["agent"], rows["role"], strict=True)) == found.roles
    board = rank(rows)
    assert sorted(agent.agent for agent in board.agents) == ["foresight", "truthful", "zero_intelligence"]
    by_name = {agent.agent: agent for agent in board.agents}
    assert by_name["foresight"].profit.value == pytest.approx(by_name["truthful"].profit.value, rel=0.05)
    assert set(rows.loc[rows["agent"].isin(["oracle", "Seer"]), "lineup"]) == {"alone"}
    assert by_name["foresight"].capture_percent.value == 0.0  # of what oracle gains, and it gains nothing


def test_a_class_that_sees_only_where_matches_are_played_is_found_out(seers: None) -> None:
    import inspection_seers

    matches = schedule(["truthful", "zero_intelligence", "Seer"], 2, [0], ["mixed"])  # as if it had told a lie before
    assert inspection_seers.Seer.clairvoyant
    with pytest.raises(TournamentError, match="'Seer' is clairvoyant and plays among the ranked, expected it alone only"):
        check_rows(play_chunk(spec(SEER), matches), matches, where="chunk 0")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    told = spec("foresight")
    return play_chunk(told, schedule(list(told.agents), 2, [0], clairvoyant=["foresight"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="role"), "column 'role' is missing"),
        (lambda rows: rows.replace({"role": {"baseline": "winner"}}), "'zero_intelligence' has the role 'winner', which it cannot"),
        (lambda rows: rows.replace({"role": {"baseline": "ranked"}}), "'zero_intelligence' has the role 'ranked', which it cannot"),
        (lambda rows: rows.replace({"agent": {"zero_intelligence": "x"}}), "'x' has the role 'baseline', which it cannot"),
        (
            lambda rows: rows.assign(role=rows["role"].where(rows.index > rows.index[rows["agent"] == "foresight"][0], "ranked")),
            "has the roles ",
        ),
    ],
)
def test_rows_whose_roles_cannot_be(rows: pd.DataFrame, change: Any, message: str) -> None:
    with pytest.raises(TournamentError, match=message):
        check_rows(change(rows), where="test")


def test_rows_without_roles_are_not_ranked(rows: pd.DataFrame) -> None:
    assert set(rows["role"]) <= set(ROLES)
    with pytest.raises(TournamentError, match="the rows do not say which role an agent has"):
        rank(rows.drop(columns="role"))


def test_the_spec_is_looked_at_before_anything_is_played() -> None:
    assert inspect_spec(spec()).seats == 2
    with pytest.raises(ConfigError, match="capacity_kw"):
        inspect_spec(spec(market={**MARKET, "capacity_kw": "much"}))
    with pytest.raises(AgentError, match="no module 'nowhere'"):
        inspect_spec(spec("nowhere.Agent"))


READER = """
from pathlib import Path

import numpy as np

from gridpilot import Agent

HERE = Path(__file__).parent

class Reader(Agent):
    shade = 1.0

    def take(self, path):
        self.shade = float(np.load(path)["shade"])

    def bid(self, observation):
        bid = observation.truthful_bid()
        return type(bid)(tuple((kw, self.shade * price) for kw, price in bid.blocks), bid.storage_value, bid.commitment_value)

class Default(Reader):
    def __init__(self, weights="weights.npz"):
        self.take(weights)

class Built(Reader):
    def __init__(self):
        self.take(HERE / "weights.npz")

class Reset(Reader):
    def reset(self, site, market, seed):
        self.take(HERE / "data" / f"{site.name}.npz")

class First(Reader):
    def bid(self, observation):
        if not observation.tick:
            self.take("weights.npz")
        return super().bid(observation)

class Late(Reader):
    def bid(self, observation):
        if observation.tick == 5:
            self.take("weights.npz")
        return super().bid(observation)

class Written(Reader):
    def bid(self, observation):
        if observation.tick == 5:
            Path("notes.txt").write_text("x")
            Path("notes.txt").read_text()
        return super().bid(observation)
"""


def train(name: str, shade: float) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    np.savez(name, shade=shade)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.delitem(sys.modules, "inspection_readers", raising=False)
    Path("inspection_readers.py").write_text(READER)
    for name in ("weights.npz", "data/hydro.npz", "data/gpu.npz"):
        train(name, 1.0)


OPENED = {
    "Default": ["weights.npz"],
    "Built": ["weights.npz"],
    "Reset": ["data/gpu.npz", "data/hydro.npz"],
    "First": ["weights.npz"],
    "Late": [],
}


def read_by(name: str) -> list[str]:
    found = inspect_spec(spec(f"inspection_readers.{name}"))
    return [path.relative_to(Path.cwd()).as_posix() for path in found.opened[name] if path.suffix != ".py"]


@pytest.mark.parametrize("name", OPENED)
def test_files_read_while_an_agent_is_built_and_reset_are_noticed(readers: None, name: str) -> None:
    assert read_by(name) == read_by(name) == OPENED[name]


def test_isolated_agents_play_the_same_and_their_files_are_noticed(readers: None) -> None:
    names = ("Late", "Written")
    played = []
    for memory_gib in (2.0, None):
        asked = spec(*(f"inspection_readers.{name}" for name in names), memory_gib=memory_gib)
        found = inspect_spec(asked)
        matches = schedule(list(asked.agents), found.seats, [0], ["mixed"])
        played.append((found, play_chunk(replace(asked, files=found.readable, roles=found.roles), matches)))
        end_idle()
        assert ("inspection_readers" in sys.modules) == (memory_gib is None)
    (isolated, rows), (local, expected) = played
    assert isolated == local
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
    assert rows.loc[rows["agent"] == "Late", "exceptions"].tolist() == [1, 1]


def test_a_file_that_nothing_knew_of_cannot_be_opened_in_play(readers: None) -> None:
    asked = spec("inspection_readers.Late", "inspection_readers.Written", "inspection_readers.First")
    found = inspect_spec(spec("inspection_readers.Late", "inspection_readers.Written"))
    matches = schedule(list(asked.agents), 2, [0], ["mixed"])
    rows = play_chunk(replace(asked, files=found.readable), matches)
    failed = {
        agent: rows.loc[rows["agent"] == agent, ["timeouts", "exceptions", "invalid_bids"]].sum().tolist() for agent in asked.agents
    }
    # Once a seat and match, at the tick that wants to read; the agent of nobody's knowledge fails the same way in its first.
    assert failed == {
        "Late": [0, 2, 0],
        "Written": [0, 0, 0],
        "First": [0, 2, 0],
        "truthful": [0, 0, 0],
        "zero_intelligence": [0, 0, 0],
    }
    (message,) = set(rows.loc[rows["agent"] == "Late", "first_error"])
    assert message == (
        f"tick 5: PermissionError: {Path.cwd() / 'weights.npz'} is opened during play and is no part of the run; "
        "name it by a parameter, or open it in __init__ or reset (inspection_readers.py:14)"
    )
    known = play_chunk(replace(asked, files=frozenset([str(Path.cwd() / "weights.npz")])), matches)
    assert not known[["timeouts", "exceptions", "invalid_bids"]].to_numpy().any()


QUICK = ["tournament=quick", "backend=serial", "episodes=1", "ticks=6", "history=0", "deadline=60", "lineups=[mixed]"]
SITES = "market.sites=[{name: hydro, fleet: {hydro: 118}},{name: gpu, fleet: {gpu: 62}}]"


@pytest.mark.parametrize(("name", "file"), [("Default", "weights.npz"), ("Built", "weights.npz"), ("Reset", "data/gpu.npz")])
def test_a_policy_that_was_retrained_is_another_run(
    readers: None, name: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*QUICK, SITES, f"agents=[inspection_readers.{name}]"]
    assert tournament_command.main(command) == 0
    assert tournament_command.main(command) == 0
    assert "had been played before" in capsys.readouterr().err
    (first,) = Path("runs").iterdir()
    train(file, 0.01)
    assert tournament_command.main(command) == 0
    assert "had been played before" not in capsys.readouterr().err
    (second,) = set(Path("runs").iterdir()) - {first}
    profits = [rows.loc[rows["agent"] == name, "profit"].tolist() for _, rows in map(read_run, (first, second))]
    assert profits[0] != profits[1]
    with pytest.raises(
        TournamentError, match=rf"agents\.{name}\.(files\.weights|opened\.{re.escape(file)}) \(the file has changed"
    ):
        tournament_command.main([*command, f"out={first}"])
