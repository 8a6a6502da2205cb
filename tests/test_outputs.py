"""What a command is to write is looked at before the work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gridpilot.backtest import backtest_command
from gridpilot.cli import main
from gridpilot.hindsight import exploit_command
from gridpilot.prices import calibrate_command, simulate_command
from gridpilot.tournament import climatology_command, inspection, report_command

WORK = (
    (backtest_command, "backtest"),
    (calibrate_command, "fit_prices"),
    (simulate_command, "paths"),
    (climatology_command, "learn_climatology"),
    (inspection, "inspect_spec"),
    (report_command, "read_run"),
    (exploit_command, "read_played_run"),
)


@pytest.mark.parametrize(
    "argv",
    [
        ["backtest", "process=seasonal", "out=taken"],
        ["backtest", "process=seasonal", "out=taken/below"],
        ["backtest", "process=seasonal", "out=/dev/null"],
        ["climatology", "out=/dev/full"],
        ["climatology", "out=nowhere/c.yaml"],
        ["climatology", "out=folder"],
        ["calibrate", "taken", "--column", "a", "--out", "nowhere/c.yaml"],
        ["calibrate", "taken", "--column", "a", "--out", "a folder.yaml"],
        ["calibrate", "taken", "--column", "a", "--out", "picture.yaml"],
        ["simulate-prices", "out=pipe.csv"],
        ["simulate-prices", "out=nowhere/p.csv"],
        ["simulate-prices", "out='a folder.csv'"],
        ["tournament", "out=taken"],
        ["tournament", "out=/proc/run"],
        ["report", "taken", "--out", "/dev/full"],
        ["report", "taken", "--out", "folder"],
        ["exploit", "taken", "--out", "folder"],
        ["deploy", "taken", "--agent", "mpc", "--out", "taken/below"],
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def worked(*_: Any, **__: Any) -> None:
        raise AssertionError(f"{argv} worked first")

    for module, name in WORK:
        monkeypatch.setattr(module, name, worked)
    Path("taken").touch()
    for name in ("folder", "a folder.yaml", "a folder.csv", "picture.png"):
        Path(name).mkdir()
    os.mkfifo("pipe.csv")
    before = sorted(Path.cwd().rglob("*"))
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"gridpilot {argv[0]}: error: cannot write ")
    assert err.count("\n") == 1
    assert sorted(Path.cwd().rglob("*")) == before
