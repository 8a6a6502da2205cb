"""What others called an agent is run by no spreadsheet and by no terminal."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from gridpilot.columns import Column, Form, SafeConsole, console_for, fitted
from gridpilot.spreadsheets import as_text, csv_text
from gridpilot.tournament.report import render_report
from gridpilot.tournament.result import TournamentResult, run_tournament

SIGNS = "=+-@\t\r"
cells = st.text(st.sampled_from([*SIGNS, "\n", "a", "1", ".", "e", "'", "，", "＝"]), max_size=6)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@given(cells)
def test_no_text_begins_as_a_formula_does(cell: str) -> None:
    written = as_text(cell)
    assert written in (cell, f"'{cell}")
    assert not written.startswith(tuple(SIGNS)) or is_number(written)
    assert as_text(written) == written


@pytest.mark.parametrize("number", [-3, -2.5, True, None, float("-inf")])
def test_numbers_stay_numbers(number: Any) -> None:
    assert as_text(number) is number
    assert csv_text(pd.DataFrame({"x": [number, number]})) == pd.DataFrame({"x": [number, number]}).to_csv(index=False)


def test_headings_and_cells_of_every_text_column_are_quoted() -> None:
    table = pd.DataFrame(
        {"=A1": ["+x", None], "n": [-1.5, 2.0], "c": pd.Categorical(["@sum", "b"]), "s": pd.array(["-x", "y"], "string")}
    )
    rows = list(csv.reader(io.StringIO(csv_text(table))))
    assert rows == [["'=A1", "n", "c", "s"], ["'+x", "-1.5", "'@sum", "'-x"], ["", "2.0", "b", "y"]]


HOSTILE = ["[red]x[/red]", "[link=file:///etc/passwd]y[/link]", "\x1b]8;;http://x\x1b\\z", "\x1b[2J\x07", "a\u202eb", "\x9b31m"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_is_shown_what_a_name_is_and_does_nothing(name: str, terminal: bool) -> None:
    def printed(text: str) -> str:
        out = io.StringIO()
        console = SafeConsole(file=out, width=200, force_terminal=terminal, color_system="standard" if terminal else None)
        console.print(
            fitted(Text(text).plain, [Column("agent", (Form(text, [text, Text(text, style="red")]),), left=True)], [], 200)
        )
        table = Table(title=Text(text))
        table.add_row(Text(text))
        console.print(table)
        console.print(text, markup=False, highlight=False)
        return out.getvalue()

    shown = printed(name)
    assert "\x1b]" not in shown
    for sign in "\x07\x9b\u202e":
        assert sign not in shown
    plain = printed("plain")  # as many of rich's own codes
    assert shown.count("\x1b") == plain.count("\x1b")
    if name.startswith("["):
        assert name in shown


def test_consoles_of_commands_are_safe() -> None:
    assert isinstance(console_for(io.StringIO()), SafeConsole)
    places = [path for path in Path(__file__).parents[1].joinpath("gridpilot").rglob("*.py") if path.name != "columns.py"]
    assert len(places) > 100
    for path in places:
        assert " Console(" not in path.read_text(encoding="utf-8"), path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TournamentResult:
    folder = tmp_path_factory.mktemp("run") / "run"
    return run_tournament(["threshold"], episodes=2, ticks=12, history=24, lineups=["mixed"], quiet=True, out=folder)


@pytest.mark.parametrize("name", [*HOSTILE, "=1+1", "+patient", "-patient", "<script>alert(1)</script>", '"><img src=x>'])
def test_a_run_of_somebody_else_s_with_such_an_agent(run: TournamentResult, name: str) -> None:
    rows, manifest = run.rows.copy(), {**run.manifest, "agents": {**run.manifest["agents"]}}
    for column in rows.columns[rows.dtypes.map(lambda kind: kind.kind not in "biuf")]:
        rows[column] = rows[column].map(lambda cell: name if cell == "threshold" else cell)
    manifest["agents"][name] = manifest["agents"].pop("threshold")
    foreign = TournamentResult(run.folder, manifest, rows, whole=False)
    foreign.save("saved")
    for file in ("leaderboard", "pairs", "markets"):
        for line in csv.reader(io.StringIO(Path(f"saved/{file}.csv").read_text(encoding="utf-8"), newline="")):
            for cell in line:
                assert not cell.startswith(tuple(SIGNS)) or is_number(cell)
    assert name in Path("saved/leaderboard.csv").read_text(encoding="utf-8").replace('""', '"')
    shown = str(foreign)
    assert not any(sign in shown for sign in "\x1b\x07\x9b\u202e")
    report = render_report(rows, manifest)
    assert "<script>alert" not in report
    assert "<img" not in report
