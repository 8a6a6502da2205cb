"""``gridpilot tournament``: plays a configured tournament, prints the leaderboard and writes the run folder.

A run folder holds ``manifest.json``, ``parts/*.parquet`` (the rows), ``leaderboard.json`` and ``report.html``. Unless ``out`` names
it, its name ends in a hash of the configuration, the agents and the code: the same command continues a run that was ended early, or
shows a finished one again; whatever would change a number starts a new folder.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from gridpilot import configuration
from gridpilot.tournament.config import Inspection, TournamentSpec, validate_tournament
from gridpilot.tournament.manifest import build_manifest, open_run, run_id
from gridpilot.tournament.progress import Progress
from gridpilot.tournament.report_command import leaderboard_json, print_leaderboard, write_results
from gridpilot.tournament.runner import Play, Runner
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES, schedule
from gridpilot.tournament.statistics import rank

__all__ = ["default_workers", "main", "run_tournament"]


def main(argv: list[str]) -> int:
    """Run the command with Hydra overrides. Raises what :func:`run_tournament` raises."""

    def play_configured(config: dict[str, Any]) -> int:
        from gridpilot.tournament.inspection import inspect_spec
        from gridpilot.tournament.play import play_chunk

        return run_tournament(config, play_chunk, inspect_spec)

    return configuration.run("tournament", argv, play_configured)


def run_tournament(
    config: Mapping[str, Any], play: Play, inspect: Callable[[TournamentSpec], Inspection], *, console: Console | None = None
) -> int:
    """Play the tournament of a composed configuration; return 0.

    ``play``     plays matches, see :class:`~gridpilot.tournament.runner.Runner`.
    ``inspect``  looks at a specification before anything is written, and refuses one that cannot be played.
    ``console``  takes progress and notes, by default stderr; the result goes to stdout.

    Raises :class:`~gridpilot.errors.ConfigError` for a bad key, :class:`~gridpilot.errors.AgentError` for an agent that cannot be
    found, and :class:`~gridpilot.errors.TournamentError` for a folder that cannot be used or a run that cannot go on.
    """
    started = time.monotonic()
    console = console or Console(stderr=True)
    settings = validate_tournament(config)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # agents=[my_file.MyAgent] is a file in the current folder
    spec = settings.spec()
    found = inspect(spec)
    clairvoyant = [label for label, role in found.roles.items() if role in CLAIRVOYANT_ROLES]
    matches = schedule(list(spec.agents), found.seats, settings.episode_numbers, settings.lineups, clairvoyant=clairvoyant)
    manifest = build_manifest(settings, found, len(matches))
    folder = Path(settings.out) if settings.out else Path("runs") / f"{settings.name}-{run_id(manifest)}"
    manifest = open_run(folder, manifest)
    workers = settings.workers or default_workers()
    # Parts are numbered by chunk, so that a run goes on with the chunks it was begun with.
    runner = Runner(
        play, spec, folder, backend=settings.backend, workers=workers, chunk=int(manifest["chunk"]), progress=Progress(console)
    )
    try:
        rows = runner.run(matches)
    except KeyboardInterrupt:
        _say(
            console,
            f"interrupted: {runner.finished} of {len(matches)} matches are kept in {folder}; the same command goes on from there",
        )
        raise
    if runner.resumed:
        before = f"{runner.resumed} of {len(matches)} matches"
        _say(console, f"{before} had been played before; a new folder (out=...) plays all of them again")
    board = rank(rows)
    report = write_results(folder, rows, manifest, board)
    if settings.as_json:
        print(leaderboard_json(board, manifest))
        return 0
    print_leaderboard(board, manifest)
    print(f"rows    {folder / 'parts'}\nreport  {report}\n{len(matches):,} matches in {time.monotonic() - started:.1f} s")
    return 0


def default_workers() -> int:
    """Processes used unless configured: two where there are as many processors, so that others can work beside."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
