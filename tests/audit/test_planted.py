"""Planted cheats and faults are named by the check they belong to, and honest agents pass."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gridpilot.audit.ask import audit
from gridpilot.audit.verdict import LAWS, Audit

from .planted.cheats import PLANTED
from .planted.honest import HONEST

FOLDER = Path(__file__).with_name("planted")
PATIENCE = 25.0  # s for a play: some of them never end
AT_A_TIME = 8

MODULES = {
    "reads_memory.ReadsMemory": "barrier",
    "patches_at_import.Innocent": "outside",
    "exits_at_import.Gone": "builds",
    "dies_when_built.Unborn": "builds",
}
CHEATS = {**{f"cheats.{name}": check for name, check in PLANTED.items()}, **MODULES}
GROUPS = [list(CHEATS)[first : first + AT_A_TIME] for first in range(0, len(CHEATS), AT_A_TIME)]
QUICK = (
    "cheats.PeeksByFrames",
    "cheats.PeeksByGarbage",
    "cheats.SeesRivalsBatteries",
    "cheats.SilencesRivals",
    "cheats.TwoAgentsInOne",
    "cheats.PatchesBids",
    "cheats.HasNoSeed",
    "cheats.Dies",
    "exits_at_import.Gone",
)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the planted agents is the working directory, as some of them write into it."""
    shutil.copytree(FOLDER, tmp_path / "planted", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path / "planted")


def told(result: Audit) -> str:
    return "\n".join(f"{verdict.check}: {verdict.outcome}: {verdict.found}" for verdict in result.verdicts)


def test_there_are_enough_of_both() -> None:
    assert len(CHEATS) >= 50
    assert len(HONEST) >= 20
    assert set(CHEATS.values()) == set(LAWS)


@pytest.mark.usefixtures("planted")
def test_the_short_form_names_what_matters_most() -> None:
    for result in audit([(name, {}) for name in QUICK], short=True, patience=PATIENCE):
        assert CHEATS[result.target] in result.failed, f"{result.target}\n{told(result)}"


@pytest.mark.usefixtures("planted")
def test_the_short_form_lets_honest_agents_pass() -> None:
    some = ("Bandit", "OnArrays", "Parametrised")
    for result in audit([(f"honest.{name}", params) for name, params in HONEST if name in some], short=True):
        assert result.passed, f"{result.target}\n{told(result)}"
        assert {verdict.outcome for verdict in result.verdicts} <= {"passed", "does not apply"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0].partition(".")[2])
def test_every_planted_cheat_and_fault_is_named(group: list[str]) -> None:
    for result in audit([(name, {}) for name in group], patience=PATIENCE):
        assert CHEATS[result.target] in result.failed, f"{result.target}\n{told(result)}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("half", [0, 1])
def test_every_honest_agent_passes(half: int) -> None:
    agents: list[tuple[str, dict[str, Any]]] = [(f"honest.{name}", params) for name, params in HONEST[half::2]]
    for result in audit(agents):
        assert result.passed, f"{result.target}\n{told(result)}"
        assert {verdict.outcome for verdict in result.verdicts} <= {"passed", "does not apply"}, told(result)
