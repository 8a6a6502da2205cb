"""``gridpilot report RUN``: ranks a tournament's rows again and writes the report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TextIO

import pandas as pd

from gridpilot.columns import console_for
from gridpilot.errors import TournamentError
from gridpilot.files import check_output, write_atomically
from gridpilot.tournament.audits import failed_audits
from gridpilot.tournament.leaderboard import render, to_json
from gridpilot.tournament.manifest import Manifest
from gridpilot.tournament.report import render_report
from gridpilot.tournament.runner import read_run
from gridpilot.tournament.statistics import Leaderboard, rank

__all__ = ["leaderboard_json", "main", "print_leaderboard", "write_results"]


def main(argv: list[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.TournamentError` when RUN is no run, was edited or holds no complete episode."""
    parser = argparse.ArgumentParser(prog="gridpilot report", description="Rank a tournament's rows and write its HTML report.")
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a tournament, as printed at its end")
    parser.add_argument("--out", metavar="FILE", type=Path, help="the report; by default RUN/report.html")
    parser.add_argument("--json", action="store_true", help="print the leaderboard as JSON")
    arguments = parser.parse_args(argv)
    if arguments.out is not None:
        check_output(arguments.out, TournamentError, new_folders=True)
    manifest, rows = read_run(arguments.run)
    board = rank(rows)
    out = write_results(arguments.run, rows, manifest, board, report=arguments.out)
    if arguments.json:
        print(leaderboard_json(board, manifest))
    else:
        print_leaderboard(board, manifest)
        print(f"report  {out}")
    return 0


def write_results(folder: Path, rows: pd.DataFrame, manifest: Manifest, board: Leaderboard, *, report: Path | None = None) -> Path:
    """Write ``leaderboard.json`` into ``folder`` and the report, by default beside it; return the report's path."""
    report = report or folder / "report.html"
    write_atomically(folder / "leaderboard.json", (leaderboard_json(board, manifest) + "\n").encode(), TournamentError)
    write_atomically(report, render_report(rows, manifest, board).encode(), TournamentError)
    return report


def leaderboard_json(board: Leaderboard, manifest: Manifest) -> str:
    """The leaderboard as JSON, with what identifies the run."""
    mechanism = manifest["config"]["market"].get("mechanism")
    run = {"name": manifest["config"]["name"], "mechanism": mechanism, "seed": manifest["seed"]}
    return to_json(board, run, failed_audits(manifest))


def print_leaderboard(board: Leaderboard, manifest: Manifest, out: TextIO | None = None) -> None:
    """Print the leaderboard to ``out``, by default stdout, as wide as the terminal; 100 columns where there is none."""
    console = console_for(out or sys.stdout)
    mechanism = str(manifest["config"]["market"].get("mechanism", ""))
    console.print(render(board, width=console.width, mechanism=mechanism, suspects=failed_audits(manifest)))
