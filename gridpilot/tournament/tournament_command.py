"""``gridpilot tournament``: plays a configured tournament, prints the leaderboard and writes the run folder.

A run folder holds ``manifest.json``, ``parts/*.parquet`` (the rows), ``leaderboard.json`` and ``report.html``. Unless ``out`` names
it, its name ends in a hash of the configuration, the agents and the code: the same command continues a run that was ended early, or
shows a finished one again; with more episodes it extends the run, with fewer it shows the first of them; whatever would change a number
starts a new folder.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from gridpilot import configuration
from gridpilot.columns import SafeConsole
from gridpilot.stdout import results_only
from gridpilot.sweep import Found
from gridpilot.tournament.leaderboard import money, percent
from gridpilot.tournament.report_command import leaderboard_json, print_leaderboard, write_results
from gridpilot.tournament.rows import MATCH_KEY
from gridpilot.tournament.run import Inspect, Judge, Played, play_configured, play_tournament
from gridpilot.tournament.runner import Play
from gridpilot.tournament.schedule import REFERENCE
from gridpilot.tournament.statistics import Leaderboard, rank

__all__ = ["main", "run_tournament"]


def main(argv: list[str]) -> int:
    """Run the command with Hydra overrides. Raises what :func:`~gridpilot.tournament.run.play_tournament` raises."""

    def play_and_show(config: dict[str, Any]) -> Found:
        started, console = time.monotonic(), SafeConsole(stderr=True)
        with results_only() as out:
            return _show(play_configured(config, console), started, console, out)

    return configuration.run("tournament", argv, play_and_show)


def run_tournament(
    config: Mapping[str, Any], play: Play, inspect: Inspect, *, judge: Judge | None = None, console: Console | None = None
) -> int:
    """Play a tournament as :func:`~gridpilot.tournament.run.play_tournament` does, and show it on stdout; return 0."""
    started, console = time.monotonic(), console or SafeConsole(stderr=True)
    with results_only() as out:
        return _show(play_tournament(config, play, inspect, judge=judge, console=console), started, console, out).code


def _show(played: Played, started: float, console: Console, out: TextIO) -> Found:
    """Rank what was asked for. The run's own files are those of all its episodes."""
    settings, folder, manifest, rows, whole = played
    board = rank(rows)
    if whole:
        report = f"report  {write_results(folder, rows, manifest, board)}\n"
    else:
        report, count = "", manifest["episodes"]["count"]
        text = f"these are the first {settings.episodes} of the {count} episodes of {folder}, whose files stay as they are"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if settings.as_json:
        print(leaderboard_json(board, manifest), file=out)
        return _found(board, folder)
    print_leaderboard(board, manifest, out)
    matches = len(rows.drop_duplicates(MATCH_KEY))
    print(f"rows    {folder / 'parts'}\n{report}{matches:,} matches in {time.monotonic() - started:.1f} s", file=out)
    return _found(board, folder)


def _found(board: Leaderboard, folder: Path) -> Found:
    """What the table of a sweep says: the best, what each earns, the market, and where the run lies."""
    best = board.agents[0]
    market = next(market for market in board.markets if market.lineup == "mixed")
    return Found(
        {
            "best": best.agent,
            f"vs {REFERENCE}, %": percent(best.gain_percent.value),
            **{f"{agent.agent}, $": money(agent.profit.value) for agent in board.agents},
            "price, $/MWh": "–" if market.mean_price is None else f"{1000.0 * market.mean_price:.2f}",
            "failures": f"{sum(agent.failures for agent in board.agents):,}",
            "folder": str(folder),
        }
    )
