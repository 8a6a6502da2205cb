"""Sweeps: composed together before any is run, one output each, one table at the end."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from gridpilot.cli import main
from gridpilot.configuration import run
from gridpilot.errors import ConfigError
from gridpilot.sweep import Found

PACKAGE = "tests.example_conf"
PATHS = ["simulate-prices", "episodes=1", "ticks=5"]
FIGURE = 1234567.891


def sweep(*argv: str, found: Any = None, config: str = "experiment") -> int:
    def one(values: dict[str, Any]) -> int | Found:
        figure = FIGURE * values["episodes"]
        return found or Found(
            {"best": "threshold", "profit, $": f"{figure:,.3f}", "folder": f"runs/{'long-' * 8}{values['episodes']}"}
        )

    return run(config, ["-m", *argv], one, package=PACKAGE)


@pytest.mark.parametrize(
    "given",
    [
        ["-m", "seed=0,1", "out=p.csv"],
        ["seed=0,1", "--multirun", "prices=ercot,mara_event", "out=./p.csv"],
        ["-m", "prices=ercot,mara_event"],
        ["-m", "seed=0,1,2", "out=p.csv,./p.csv,q.csv"],
    ],
)
def test_two_runs_never_write_to_one_output_and_the_name_that_is_suggested_works(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*PATHS, *given]) == 2
    err = capsys.readouterr().err
    assert err.startswith("gridpilot simulate-prices: error: ")
    assert "runs would write to out=" in err
    assert err.count("\n") == 1
    assert list(Path.cwd().iterdir()) == []
    (out,) = shlex.split(err.rpartition("such as ")[2])
    others = [argument for argument in given if not argument.startswith("out=")]
    assert main([*PATHS, *others, out]) == 0
    runs = 4 if "prices=ercot,mara_event" in given and "seed=0,1" in given else 3 if "seed=0,1,2" in given else 2
    assert len(list(Path.cwd().iterdir())) == runs


def test_a_bad_value_anywhere_is_told_before_any_is_run() -> None:
    with pytest.raises(ConfigError, match="medium"):
        run("experiment", ["-m", "plant=small,medium"], lambda _: pytest.fail("ran"), package=PACKAGE)


@pytest.mark.parametrize("columns", [24, 40, 60, 80, 120])
def test_a_table_with_a_row_a_cell_fits_and_no_figure_is_cut(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert sweep("episodes=1,2", "plant=small,large", "ticks=7") == 0
    out = capsys.readouterr().out
    assert "4 runs" in out
    assert "ticks" not in out
    rows = [line.split() for line in out.splitlines() if re.match(r" *[12] ", line)]
    assert [row[:2] for row in rows] == [["1", "small"], ["1", "large"], ["2", "small"], ["2", "large"]]
    assert all(len(line) <= columns for line in out.splitlines())
    assert "…" not in "".join(cell for row in rows for cell in row if any(map(str.isdigit, cell)) and not cell.startswith("runs/"))
    if columns >= 60:
        assert [row[3] for row in rows] == [f"{FIGURE * episodes:,.3f}" for episodes in (1, 1, 2, 2)]
    if columns >= 120:
        assert [row[4][:20] for row in rows] == ["runs/long-long-long-"] * 4


def test_exit_codes_are_shown_where_one_is_not_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("experiment", ["-m", "episodes=0,1"], lambda values: int(values["episodes"]), package=PACKAGE) == 1
    assert [line.split() for line in capsys.readouterr().out.splitlines() if re.match(r" *[01] ", line)] == [["0", "0"], ["1", "1"]]


def test_what_was_found_before_a_failure_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def one(values: dict[str, Any]) -> Found:
        if values["episodes"] == 3:
            raise ConfigError("three")
        return Found({"figure": "7.5"})

    with pytest.raises(ConfigError, match="three"):
        run("experiment", ["-m", "episodes=1,2,3,4"], one, package=PACKAGE)
    assert [line.split() for line in capsys.readouterr().out.splitlines() if re.match(r" *\d ", line)][1:] == [
        ["1", "7.5"],
        ["2", "7.5"],
    ]


def test_json_of_a_sweep_is_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PATHS, "-m", "seed=3,4", "out=p-${seed}.csv", "json=true"]) == 0
    out, err = capsys.readouterr()
    first, second = json.loads(out)
    assert first["result"] == {"out": "p-3.csv", "rows": 5, "episodes": 1, "ticks": 5}
    assert "seed=4" in second["overrides"]
    assert "run 2 of 2: seed=4" in err
