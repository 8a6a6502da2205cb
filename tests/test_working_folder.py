"""Code in the working folder is run where somebody names it, and never in place of a library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gridpilot.agents.registry import agent_class
from gridpilot.errors import AgentError

HOSTILE = 'open("RAN", "w").write("x")\nraise ImportError("taken over")\n'
MODULES = ("uuid", "sqlite3", "uvicorn", "prometheus_client", "lightgbm", "statistics", "yaml", "fractions")


@pytest.mark.parametrize("start", [["-m", "gridpilot"], ["-c", "import sys; from gridpilot.cli import main; sys.exit(main())"]])
@pytest.mark.parametrize(
    "command",
    [
        ["live", "agent=truthful", "live=simulated", "live.rows=1", "live.journal=j.db"],
        ["tournament", "agents=[truthful]", "episodes=1", "ticks=6", "history=6", "lineups=[mixed]", "backend=serial", "out=run"],
    ],
)
def test_no_file_here_takes_a_librarys_place(start: list[str], command: list[str]) -> None:
    if start[0] == "-c":
        start = ["-P", *start]  # as the installed command is, which has its own folder first
    for name in MODULES:
        Path(f"{name}.py").write_text(HOSTILE)
    done = subprocess.run([sys.executable, *start, *command], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    assert not Path("RAN").exists()


def test_a_file_here_is_found_by_its_dotted_path_after_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    agent = "from gridpilot import Agent\nclass Mine(Agent):\n    def bid(self, observation):\n        return observation.truthful_bid()\n"
    Path("only_here_1.py").write_text(agent)
    Path("fractions.py").write_text(agent)
    assert agent_class("only_here_1.Mine", {}).__module__ == "only_here_1"
    with pytest.raises(AgentError, match=r"'fractions' has no 'Mine' \(.*fractions\.py; a file of yours needs a name"):
        agent_class("fractions.Mine", {})
    assert sys.path[-1] == str(Path.cwd())
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    Path("only_here_2.py").write_text(agent)
    assert agent_class("only_here_2.Mine", {}).__module__ == "only_here_2"
