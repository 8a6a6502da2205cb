"""Playing a configured tournament: into a run folder, matches that are there already left out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
from rich.console import Console

from gridpilot.columns import SafeConsole
from gridpilot.errors import TournamentError
from gridpilot.file_access import search_here_last
from gridpilot.files import RUNS, check_output, run_folder
from gridpilot.memory import check_memory
from gridpilot.presets import registered
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
from gridpilot.tournament.runner import Play, Runner
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES, Match, partition, schedule

__all__ = ["Inspect", "Judge", "Played", "default_workers", "play_configured", "play_tournament"]

# Low estimates of what they take in memory.
_BYTES_A_MATCH: Final = 200
_BYTES_A_ROW: Final = 400
_BYTES_A_TICK: Final = 80  # of a market: prices, weather, capacity, what was cleared
_BYTES_A_WORKER: Final = 100_000_000

Judge = Callable[[Mapping[str, Mapping[str, Any]], float], dict[str, dict[str, Any]]]
Inspect = Callable[[TournamentSpec], Inspection]


class Played(NamedTuple):
    """A tournament that has been played as far as it was asked for."""

    settings: TournamentConfig
    folder: Path
    manifest: Manifest
    rows: pd.DataFrame  # of the episodes that were asked for
    whole: bool  # whether these are all that the folder holds


def play_configured(config: Mapping[str, Any], console: Console | None = None) -> Played:
    """Play a composed configuration with its agents audited first; isolated agents' processes end with it."""
    from gridpilot.agents.isolation import end_idle
    from gridpilot.tournament.inspection import inspect_spec
    from gridpilot.tournament.play import play_chunk

    try:
        return play_tournament(config, play_chunk, inspect_spec, judge=audit_agents, console=console)
    finally:
        end_idle()


def play_tournament(
    config: Mapping[str, Any], play: Play, inspect: Inspect, *, judge: Judge | None = None, console: Console | None = None
) -> Played:
    """Play the tournament of a composed configuration.

    ``play``     plays matches, see :class:`~gridpilot.tournament.runner.Runner`.
    ``inspect``  looks at a specification before anything is written, and refuses one that cannot be played.
    ``judge``    audits the agents of a new run that are not the library's: their entries in the manifest and the deadline, to verdicts
                 by label.
    ``console``  takes progress and notes, by default stderr.

    Raises :class:`~gridpilot.errors.ConfigError` for a bad key, :class:`~gridpilot.errors.AgentError` for an agent that cannot be
    found, and :class:`~gridpilot.errors.TournamentError` for a folder that cannot be used or a run that cannot go on.
    """
    console = console or SafeConsole(stderr=True)
    settings = validate_tournament(config)
    check_output(Path(settings.out or RUNS), TournamentError, folder=True)
    ticks = settings.history + settings.ticks
    check_memory(ticks * _BYTES_A_TICK, f"tournament: ticks={settings.ticks:,} and history={settings.history:,}", TournamentError)
    spec = settings.spec()
    if any("." in agent["target"] for agent in spec.agents.values()):
        search_here_last()  # agents=[my_file.MyAgent] is a file in the current folder
    found = inspect(spec)
    _check_size(settings, found)
    manifest = build_manifest(settings, found, len(_matches(settings, found, settings.episode_numbers)))
    run = identity_of(manifest)
    folder = Path(settings.out) if settings.out else run_folder(_readable(settings), run_id(manifest))
    if judge is not None and not (folder / MANIFEST_NAME).exists():
        manifest = _judged(manifest, judge, settings.deadline, console)
    manifest = open_run(folder, manifest)
    chunks = _chunks(settings, found, manifest)
    for note in found.notes:
        _say(console, note)
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
    whole = settings.episodes == manifest["episodes"]["count"]
    return Played(settings, folder, manifest, rows[rows["episode"] < settings.episode_numbers.stop], whole)


def _check_size(settings: TournamentConfig, found: Inspection) -> None:
    """Refuse what would not fit into the memory before its matches are listed."""
    matches = len(_matches(settings, found, range(1)))
    rows = matches * found.seats
    needed = settings.episodes * (matches * _BYTES_A_MATCH + rows * _BYTES_A_ROW)
    what = f"tournament: episodes={settings.episodes:,}, with {matches:,} matches of {found.seats} seats each,"
    check_memory(needed, what, TournamentError)
    parts = -(-settings.episodes * matches // settings.chunk)
    workers = min(settings.workers or 1, parts) if settings.backend == "processes" else 1
    at_once = workers * min(settings.chunk, settings.episodes * matches)
    needed = at_once * (settings.history + settings.ticks) * _BYTES_A_TICK + (workers - 1) * _BYTES_A_WORKER
    check_memory(needed, f"tournament: workers={workers:,} with chunk={settings.chunk:,} matches at once in each", TournamentError)


def _readable(settings: TournamentConfig) -> str:
    """What a run is called by what is most often changed."""
    prices = next((name for name, preset in registered("prices").items() if preset == settings.prices), None)
    if prices is None:
        prices = (
            Path(settings.prices["file"]).stem
            if settings.prices.get("file")
            else str(settings.prices.get("name")).rpartition(".")[2]
        )
    return "-".join([settings.name, prices, str(settings.market.get("mechanism", "vcg")), f"seed{settings.seed}"])


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


def default_workers() -> int:
    """Processes used unless configured: two where there are as many processors, so that others can work beside."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
