"""Stdout carries results alone, whatever the code of users prints, and wherever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gridpilot.cli import main
from gridpilot.stdout import results_only
from tests.test_structure import ROOT

AGENT = """
import atexit, ctypes, os, subprocess, sys, threading
from gridpilot import Agent
print("while it is imported")
kept = sys.stdout
atexit.register(print, "at the very end")

class Loud(Agent):
    def __init__(self):
        print("while it is built")
        try:
            subprocess.run(["echo", "from a process of its own"])
        except PermissionError:  # as where it is isolated
            pass
    def __del__(self):
        print("when it goes")
    def reset(self, site, market, seed):
        print("reset")
    def bid(self, observation):
        kept.write("by a reference to stdout\\n")
        os.write(1, b"to the descriptor\\n")
        ctypes.CDLL(None).puts(b"below Python")
        return observation.truthful_bid()
    def learn(self, outcome):
        sys.stdout.write("learnt\\n")

class Failing(Agent):
    def bid(self, observation):
        return self._deeper(observation)
    def _deeper(self, observation):
        raise ValueError("no luck")
"""

PARAMETERS = (
    ", ".join(f"{name}: {{opening: 3, step: 0.1, low: 0.5, high: 5, scale: 0.04}}" for name in ("energy", "hash", "token"))
    + ", begin: opening"
)

SHORT = ["tournament=quick", "episodes=1", "ticks=3", "history=12", "lineups=[mixed]", "chunk=2", "json=true"]


def gridpilot(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "gridpilot", *argv]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


@pytest.mark.parametrize("options", [["backend=serial"], ["backend=processes", "workers=2"], ["isolation=process"]])
def test_json_is_json_whatever_an_agent_prints(options: list[str]) -> None:
    Path("loud.py").write_text(textwrap.dedent(AGENT))
    done = gridpilot("tournament", *SHORT, "agents=[loud.Loud]", "out=run", *options)
    assert done.returncode == 0, done.stderr
    assert {agent["agent"] for agent in json.loads(done.stdout)["agents"]} == {"Loud", "truthful", "zero_intelligence"}
    if options != ["isolation=process"]:  # there it goes nowhere
        for words in ("while it is imported", "to the descriptor", "below Python", "by a reference", "learnt", "from a process"):
            assert words in done.stderr


def test_an_agent_s_exception_is_told_with_its_file_and_line() -> None:
    Path("loud.py").write_text(textwrap.dedent(AGENT))
    line = 1 + AGENT.splitlines().index('        raise ValueError("no luck")')
    for options in (["backend=serial", "out=a"], ["backend=processes", "out=b"], ["isolation=process", "out=c"]):
        done = gridpilot("tournament", *SHORT, "agents=[loud.Failing]", *options)
        (agent,) = (agent for agent in json.loads(done.stdout)["agents"] if agent["agent"] == "Failing")
        assert agent["first_error"] == f"tick 0: ValueError: no luck (loud.py:{line})"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\nraise RuntimeError('at import')\n", "importing 'bad' failed: RuntimeError: at import (bad.py:2)"),
        (
            "from gridpilot import Agent\nclass Bad(Agent):\n    bid = None\n    def __init__(self):\n        [][3]\n",
            "Bad failed to start: IndexError: list index out of range (bad.py:5)",
        ),
    ],
)
def test_what_fails_before_it_plays_is_told_with_its_file_and_line(
    source: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.py").write_text(source)
    sys.modules.pop("bad", None)
    assert main(["tournament", *SHORT, "agents=[bad.Bad]", "out=run"]) == 2
    assert words in capsys.readouterr().err


def test_price_models_and_forecasters_that_print_spoil_no_json() -> None:
    Path("mine.py").write_text(
        "from gridpilot.prices.mara_event import MaraEventPrices\n"
        "from gridpilot.forecasting.persistence import Persistence\n"
        "class Prices(MaraEventPrices):\n"
        "    def simulate(self, *arguments, **options):\n"
        "        print('simulating')\n"
        "        return super().simulate(*arguments, **options)\n"
        "class Member(Persistence):\n"
        "    def _predict(self, *arguments):\n"
        "        print('predicting')\n"
        "        return super()._predict(*arguments)\n"
    )
    done = gridpilot(
        "simulate-prices", "episodes=2", "ticks=3", "out=p.csv", "json=true", f"prices={{name: mine.Prices, {PARAMETERS}}}"
    )
    assert json.loads(done.stdout)["rows"] == 6, done.stderr
    assert done.stderr.count("simulating") == 1
    done = gridpilot("backtest", "process=seasonal", "days=2", "warm_up_days=1", "members=[persistence,mine.Member]", "json=true")
    assert "Member" in json.loads(done.stdout)["members"], done.stderr
    assert "predicting" in done.stderr


def test_another_stdout_is_kept_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    stdout = sys.stdout
    with results_only() as out:
        print("aside")
        print("result", file=out)
    assert sys.stdout is stdout
    assert capsys.readouterr() == ("result\n", "aside\n")
