"""A small tournament and a journal with an outage, made once for all tests of this room."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gridpilot.agents.seating import AgentSpec
from gridpilot.insight.opened import OpenedJournal, OpenedRun
from gridpilot.live.api import INVENTORIES
from gridpilot.live.replay_venue import ReplayVenue
from gridpilot.tournament.result import run_tournament
from tests.live.loops import run
from tests.live.worlds import walk

DAY = date(2025, 6, 21)
GAP = range(20, 32)  # rows that never came


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two short days of every agent whose reasons are told."""
    path = tmp_path_factory.mktemp("insight") / "run"
    agents = ["truthful", "threshold", "mpc", "zero_intelligence", "best_response"]
    run_tournament(agents, episodes=2, ticks=48, history=24, chunk=100, out=path, quiet=True)
    return path


@pytest.fixture(scope="session")
def opened(folder: Path) -> OpenedRun:
    return OpenedRun(folder)


@pytest.fixture(scope="session")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of an engine that sends, whose feed was away for an hour."""
    path, rows = tmp_path_factory.mktemp("insight") / "live.db", walk(45)
    run(
        ReplayVenue([row for i, row in enumerate(rows) if i not in GAP], INVENTORIES["documented"], 1_000_000),
        path,
        rows=33,
        risk={"max_change_kw": 300.0},  # so that some profit is left on the table
    )
    return path


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of an agent that learns and tells its reasons, over two sessions."""
    path, rows = tmp_path_factory.mktemp("insight") / "planned.db", walk(30)
    for start in (1, 13):
        venue = ReplayVenue(rows, INVENTORIES["documented"], 1_000_000, start=start)
        run(venue, path, rows=12, agents=[AgentSpec("threshold", {"gain": 0.2})])
    return path


@pytest.fixture(scope="session")
def live(journal: Path) -> OpenedJournal:
    return OpenedJournal(journal)
