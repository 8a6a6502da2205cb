"""The scripts of docs/other-libraries.md, run on a tiny market to policies that play; they need the extra ``[recipes]``."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gridpilot import cli
from gridpilot.agents.seating import AgentSpec
from gridpilot.policies import load_policy
from gridpilot.setup import load_setup
from gridpilot.tournament.inspection import play_a_tick

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    ("MARKETS, DAYS, DECISIONS = 256, 24, 48", "MARKETS, DAYS, DECISIONS = 4, 2, 4"),
    ("(MARKETS", "(MARKETS, ticks=24, history=24"),
)


@pytest.mark.parametrize("library", ["skrl", "torchrl"])
def test_the_script_of_the_page_ends_in_a_policy_that_plays(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(importlib.util.find_spec(name) is None for name in (library, "onnxscript")):
        pytest.skip(f"{library} is not installed: pip install -c constraints.txt -e '.[rl,onnx,recipes]'")
    page = (ROOT / "docs" / "other-libraries.md").read_text(encoding="utf-8")
    (script,) = [block for block in re.findall("```python\n(.*?)```", page, re.DOTALL) if f"from {library}." in block]
    for shown, tiny in TINY:
        assert shown in script
        script = script.replace(shown, tiny, 1)
    monkeypatch.chdir(tmp_path)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert cli.main(["policy", "import", f"{library}.onnx", "--out", "mine"]) == 0
    layout = load_policy("mine").layout
    assert (layout.sizes, layout.clip, layout.hold) == ((55, 64, 64, 2), 5.0, 6)
    assert play_a_tick(load_setup(ticks=4, history=4), AgentSpec("learned", {"policy": "mine"})) == ""
