"""Agents of one's own are audited when a tournament begins, and the verdict goes where the results go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gridpilot.cli import main
from gridpilot.tournament.audits import audit_agents, failed_audits

MINE = """
import sys
from gridpilot import Agent
from gridpilot.market.arena import Arena

class Honest(Agent):
    def bid(self, observation):
        return observation.truthful_bid(0.05)

class Peeker(Agent):
    def bid(self, observation):
        frame = sys._getframe(0)
        while frame is not None:
            for value in frame.f_locals.values():
                arena = value if isinstance(value, Arena) else getattr(value, "arena", None)
                if isinstance(arena, Arena):
                    return observation.truthful_bid(float(arena.scenario.prices[-1, 0, 0]))
            frame = frame.f_back
        return observation.truthful_bid(0.05)
"""
SMALL = ["episodes=1", "ticks=6", "history=6", "lineups=[mixed]", "backend=serial", "out=run"]


def test_the_verdict_stands_in_manifest_leaderboard_and_report(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(MINE)
    command = ["tournament", "agents=[threshold,mine.Honest,mine.Peeker]", *SMALL]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "Peeker failed its audit (future" in told.err
    assert "gridpilot check mine.Peeker tells more" in told.err
    assert "Peeker†" in told.out
    assert "† Peeker failed its audit: future (with another future, tick 0, market 0, seat 0:" in told.out
    assert "Honest†" not in told.out

    manifest = json.loads(Path("run/manifest.json").read_text())
    audits = {label: entry["audit"] for label, entry in manifest["agents"].items()}
    assert audits["Honest"] == {"version": 1, "short": True, "passed": True, "failed": {}}
    assert not audits["Peeker"]["passed"]
    assert {"future", "barrier"} <= set(audits["Peeker"]["failed"])
    assert audits["threshold"] is None
    assert list(failed_audits(manifest)) == ["Peeker"]
    board = json.loads(Path("run/leaderboard.json").read_text())
    assert [agent["agent"] for agent in board["agents"] if agent["failed_checks"]] == ["Peeker"]
    assert "Peeker failed its audit: future" in Path("run/report.html").read_text()

    # Shown again it is not audited again, and the mark stays.
    assert main(command) == 0
    assert "failed its audit (" not in capsys.readouterr().err
    assert main(["report", "run"]) == 0
    assert "Peeker†" in capsys.readouterr().out
    assert main(["deploy", "run", "--agent", "Peeker", "--despite", "few_episodes"]) == 2
    assert "audit: failed: future" in capsys.readouterr().err


def test_the_librarys_own_agents_are_not_audited() -> None:
    library = {
        "threshold": {"target": "threshold", "params": {}},
        "it": {"target": "gridpilot.agents.truthful.Truthful", "params": {}},
    }
    assert audit_agents(library, 1.0) == {}
