"""``gridpilot tournament``: plays a configured tournament, prints the leaderboard and writes the run folder.

A run folder holds ``manifest.json``, ``parts/*.parquet`` (the rows), ``leaderboard.json`` and ``report.html``. Unless ``out`` names
it, its name ends in a hash of the configuration, the agents and the code: the same command continues a run that was ended early, or
shows a finished one again; with more episodes it extends the run, with fewer it shows the first of them; whatever would change a number
starts a new folder.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from gridpilot import configuration
from gridpilot.errors import TournamentError
from gridpilot.progress import Progress
from gridpilot.tournament.audits import audit_agents, failed_audits, with_audits
from gridpilot.tournament.config import Inspection, TournamentConfig, TournamentSpec, validate_tournament
from gridpilot.tournament.manifest import (
    MANIFEST_NAME,
    Manifest,
    build_manifest,
    differences,
    identity_of,
    open_run,
    run_id,
    segments,
)
from gridpilot.tournament.report_command import leaderboard_json, print_leaderboard, write_results
from gridpilot.tournament.rows import MATCH_KEY
from gridpilot.tournament.runner import Play, Runner
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES, Match, partition, schedule
from gridpilot.tournament.statistics import rank

__all__ = ["default_workers", "main", "run_tournament"]

Judge = Callable[[Mapping[str, Mapping[str, Any]], float], dict[str, dict[str, Any]]]


def main(argv: list[str]) -> int:
    """Run the command with Hydra overrides. Raises what :func:`run_tournament` raises."""

    def play_configured(config: dict[str, Any]) -> int:
        from gridpilot.agents.isolation import end_idle
        from gridpilot.tournament.inspection import inspect_spec
        from gridpilot.tournament.play import play_chunk

        try:
            return run_tournament(config, play_chunk, inspect_spec, judge=audit_agents)
        finally:
            end_idle()

    return configuration.run("tournament", argv, play_configured)


def run_tournament(
    config: Mapping[str, Any],
    play: Play,
    inspect: Callable[[TournamentSpec], Inspection],
    *,
    judge: Judge | None = None,
    console: Console | None = None,
) -> int:
    """Play the tournament of a composed configuration; return 0.

    ``play``     plays matches, see :class:`~gridpilot.tournament.runner.Runner`.
    ``inspect``  looks at a specification before anything is written, and refuses one that cannot be played.
    ``judge``    audits the agents of a new run that are not the library's: their entries in the manifest and the deadline, to verdicts
                 by label.
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
    manifest = build_manifest(settings, found, len(_matches(settings, found, settings.episode_numbers)))
    run = identity_of(manifest)
    folder = Path(settings.out) if settings.out else Path("runs") / f"{settings.name}-{run_id(manifest)}"
    if judge is not None and not (folder / MANIFEST_NAME).exists():
        manifest = _judged(manifest, judge, settings.deadline, console)
    manifest = open_run(folder, manifest)
    chunks = _chunks(settings, found, manifest)
    spec = dataclasses.replace(spec, files=found.readable, roles=found.roles if spec.memory_gib is not None else None)
    workers = settings.workers or default_workers()
    runner = Runner(
        play, spec, folder, run=run, backend=settings.backend, workers=workers, progress=Progress("tournament", console)
    )
    due = sum(map(len, chunks))
    try:
        rows = runner.run(chunks)
    except KeyboardInterrupt:
        _say(console, f"interrupted: {runner.finished} of {due} matches are kept in {folder}; the same command goes on from there")
        raise
    changed = differences(manifest, build_manifest(settings, found, due)) if runner.finished > runner.resumed else ""
    if changed:
        raise TournamentError(f"something changed while the tournament was played, take {folder} away and play it again: {changed}")
    if runner.resumed:
        _say(console, f"{runner.resumed} of {due} matches had been played before; a new folder (out=...) plays all of them again")
    return _show(settings, folder, manifest, rows, started, console)


def _judged(manifest: Manifest, judge: Judge, deadline: float, console: Console) -> Manifest:
    manifest = with_audits(manifest, judge(manifest["agents"], deadline))
    for label, failed in failed_audits(manifest).items():
        _say(
            console,
            f"{label} failed its audit ({', '.join(failed)}): gridpilot check {manifest['agents'][label]['target']} tells more",
        )
    return manifest


def _matches(settings: TournamentConfig, found: Inspection, episodes: Sequence[int]) -> list[Match]:
    clairvoyant = [label for label, role in found.roles.items() if role in CLAIRVOYANT_ROLES]
    return schedule(list(found.roles), found.seats, episodes, settings.lineups, clairvoyant=clairvoyant)


def _chunks(settings: TournamentConfig, found: Inspection, manifest: Manifest) -> list[tuple[Match, ...]]:
    """The chunks that hold the episodes asked for, cut as the run was begun and extended, so that parts keep their numbers."""
    cuts = segments(manifest)
    chunks = [chunk for episodes, size in cuts for chunk in partition(_matches(settings, found, episodes), size)]
    return [chunk for chunk in chunks if chunk[0].episode in settings.episode_numbers]


def _show(
    settings: TournamentConfig, folder: Path, manifest: Manifest, rows: pd.DataFrame, started: float, console: Console
) -> int:
    """Rank what was asked for. The run's own files are those of all its episodes."""
    count = manifest["episodes"]["count"]
    rows = rows[rows["episode"] < settings.episode_numbers.stop]
    board = rank(rows)
    if settings.episodes == count:
        report = f"report  {write_results(folder, rows, manifest, board)}\n"
    else:
        report = ""
        _say(console, f"these are the first {settings.episodes} of the {count} episodes of {folder}, whose files stay as they are")
    if settings.as_json:
        print(leaderboard_json(board, manifest))
        return 0
    print_leaderboard(board, manifest)
    matches = len(rows.drop_duplicates(MATCH_KEY))
    print(f"rows    {folder / 'parts'}\n{report}{matches:,} matches in {time.monotonic() - started:.1f} s")
    return 0


def default_workers() -> int:
    """Processes used unless configured: two where there are as many processors, so that others can work beside."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
