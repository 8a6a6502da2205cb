"""The folder of a league: what it is known by, what an iteration leaves, and refusals of what is another's.

    league.json                     settings, hash of the code, versions: with all of it equal, the league is gone on with
    iteration-000/payoffs.parquet   what the agents that it begins with earned in their matches
    iteration-001/policy            the response to their equilibrium, as ``gridpilot train`` writes policies
    iteration-001/payoffs.parquet   what it added to the matches
    iteration-001/together.parquet  matches in which all seats play the mixture that the population then settles at
    iteration-001/iteration.json    the mixture that it was trained against, and what it gains over it
    iteration-001/cpu.json          CPU seconds; all else but the card of the policy is equal for equal settings, bit for bit

Where one policy plays itself, ``policy`` is what it has become, from ``iteration-000`` on, ``learner.pt`` what its search goes on from,
``exploiter`` the response to it alone, and ``iteration.json`` says whether that joined its opponents, and how often each was drawn.

A folder of an iteration is written whole or not at all.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gridpilot.documents import read_json
from gridpilot.errors import TournamentError
from gridpilot.files import write_atomically
from gridpilot.provenance import TRAINING_ROOMS, code_hash, versions
from gridpilot.training.league_config import LeagueConfig

__all__ = [
    "CPU",
    "EXPLOITER",
    "FIGURES",
    "LEARNER",
    "PAYOFFS",
    "POLICY",
    "TOGETHER",
    "identity_of",
    "name_of",
    "open_folder",
    "read_document",
    "seconds_of",
    "write_document",
]

FORMAT: Final = 1
IDENTITY: Final = "league.json"
PAYOFFS, TOGETHER, FIGURES, CPU = "payoffs.parquet", "together.parquet", "iteration.json", "cpu.json"
POLICY, EXPLOITER, LEARNER = "policy", "exploiter", "learner.pt"
_NOT_IDENTITY: Final = {"out", "json_", "iterations"}


def open_folder(out: Path, settings: LeagueConfig) -> None:
    """Make the folder that of a new league, or go on with the same one. Raises :class:`~gridpilot.errors.TournamentError` for another."""
    path, identity = out / IDENTITY, identity_of(settings)
    if path.exists():
        found = read_document(path)
        other = _difference(found, json.loads(json.dumps(identity)))
        if other:
            raise TournamentError(
                f"{out} holds another league ({other}), expected a new folder or the settings that it was begun with"
            )
    elif out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise TournamentError(f"{out} is not empty and holds no {IDENTITY}, expected a new folder or that of an earlier league")
    else:
        write_document(path, identity)
    for left in out.glob(".iteration-*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)


def identity_of(settings: LeagueConfig) -> dict[str, Any]:
    """What a league is known by: with all of it equal, it is gone on with."""
    return {
        "format": FORMAT,
        "settings": settings.model_dump(mode="json", by_alias=True, exclude=_NOT_IDENTITY),
        "code": code_hash(*TRAINING_ROOMS),
        "versions": versions(("gridpilot", "numpy", "numba", "torch", "stable-baselines3")),
    }


def _difference(found: Any, expected: Any, path: str = "") -> str:
    """The first key in which two documents differ, with both values; nothing where they are equal."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in sorted({*found, *expected}):
            told = _difference(found.get(key), expected.get(key), f"{path}.{key}" if path else str(key))
            if told:
                return told
        return ""
    return "" if found == expected else f"{path.removeprefix('settings.')} was {found!r:.60} and is {expected!r:.60}"


def name_of(number: int) -> str:
    """The folder of an iteration."""
    return f"iteration-{number:03d}"


def read_document(path: Path) -> Any:
    """What a JSON file holds. Raises :class:`~gridpilot.errors.TournamentError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TournamentError(f"cannot read {path}: {error.strerror or error}") from error
    return read_json(content, str(path), TournamentError)


def write_document(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole. Raises :class:`~gridpilot.errors.TournamentError`."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode(), TournamentError)


def seconds_of(out: Path, number: int) -> float:
    """CPU seconds of an iteration. Raises :class:`~gridpilot.errors.TournamentError` where they cannot be read."""
    path = out / name_of(number) / CPU
    found = read_document(path)
    seconds = found.get("seconds") if isinstance(found, Mapping) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.0 <= seconds < math.inf:
        raise TournamentError(f"{path} holds no CPU seconds, expected a file that gridpilot league wrote")
    return float(seconds)
