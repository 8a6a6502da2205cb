"""A run folder's ``manifest.json``: what was played, with which code, and whether a run may be continued.

The manifest is written before the first match. Its *identity* (configuration but for the number of episodes, agents with their roles and
the hashes of their files, hash of the library's source) decides which runs are the same: results are a pure function of it and of the
episodes. It is the name under which each part of the rows is stored, so that neither can be exchanged for another. A run is only ever
extended, by more episodes; ``history`` says when and with what each of them was asked for. ``digest`` is the SHA-256 of all the rest.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gridpilot.agents.by_value import BY_VALUE
from gridpilot.documents import read_json, refuse_control_signs
from gridpilot.errors import TournamentError
from gridpilot.files import write_atomically
from gridpilot.provenance import agent_files, code_hash, sha256, source_of, versions
from gridpilot.tournament.config import EXECUTION_KEYS, EXTENSIBLE_KEYS, Inspection, TournamentConfig, agent_specs

__all__ = [
    "MANIFEST_NAME",
    "Manifest",
    "build_manifest",
    "differences",
    "identity_of",
    "open_run",
    "read_manifest",
    "run_id",
    "seal",
    "segments",
]

MANIFEST_NAME: Final = "manifest.json"
_FORMAT: Final = 2
_PACKAGES: Final = ("gridpilot", "numpy", "numba", "scipy", "pandas", "pyarrow", "arch")
_NOT_OF_AN_AGENT: Final = ("audit", "defaults")  # in its entry: the first is a judgement, the second tells where files are

Manifest = dict[str, Any]


def build_manifest(config: TournamentConfig, found: Inspection, matches: int) -> Manifest:
    """The manifest of a new run of ``matches`` matches, of what was ``found`` when its parts were built.

    Raises :class:`~gridpilot.errors.AgentError` for an agent given by a dotted path whose module cannot be found.
    """
    resolved = config.model_dump(mode="json", by_alias=True)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    made_with = {
        "versions": versions(_PACKAGES),
        "platform": platform.platform(),
        "git": _git(),
    }
    return seal(
        {
            "format": _FORMAT,
            "command": "tournament",
            "created": created,
            "config": resolved,
            "seed": config.seed,
            "episodes": _episodes(config),
            "matches": matches,
            "history": [{"created": created, "episodes": config.episodes, "chunk": config.chunk, **made_with}],
            "agents": {label: _entry(label, spec, found) for label, spec in agent_specs(config.agents).items()},
            "files": _market_files(resolved, found.market),
            "code": code_hash(),
            **made_with,
        }
    )


def seal(manifest: Mapping[str, Any]) -> Manifest:
    """The manifest with the digest of its contents."""
    content = {key: value for key, value in manifest.items() if key != "digest"}
    return {**content, "digest": _hash(content)}


def identity_of(manifest: Manifest) -> str:
    """64 hexadecimal digits that equal runs, and only they, share."""
    return _hash(_identity(manifest))


def run_id(manifest: Manifest) -> str:
    """The first ten digits of the identity."""
    return identity_of(manifest)[:10]


def segments(manifest: Manifest) -> list[tuple[range, int]]:
    """The episodes of a run in the order in which they were asked for, each time with the matches a chunk; chunks are cut within one."""
    first, cuts = manifest["episodes"]["first"], []
    for entry in manifest["history"]:
        cuts.append((range(first, first + entry["episodes"]), int(entry["chunk"])))
        first += entry["episodes"]
    return cuts


def open_run(folder: Path, manifest: Manifest) -> Manifest:
    """Start a run in ``folder``, or continue the one that is there; return the manifest that holds for it.

    Where ``manifest`` asks for more episodes than are there, the run is extended. Raises
    :class:`~gridpilot.errors.TournamentError` when the folder holds another run (naming the keys that differ) or other files, or cannot be
    written.
    """
    if (folder / MANIFEST_NAME).exists():
        existing = read_manifest(folder)
        differing = differences(existing, manifest)
        if differing:
            raise TournamentError(f"{folder} holds a run of another configuration, choose another out=: {differing}")
        more = manifest["episodes"]["count"] - existing["episodes"]["count"]
        if more <= 0:
            return existing
        manifest = seal(
            {
                **existing,
                "config": {**existing["config"], "episodes": manifest["config"]["episodes"]},
                "episodes": manifest["episodes"],
                "matches": manifest["matches"],
                "history": [*existing["history"], {**manifest["history"][0], "episodes": more}],
            }
        )
    elif folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise TournamentError(f"{folder} is not empty and holds no {MANIFEST_NAME}, expected a new folder or an earlier run's")
    write_atomically(folder / MANIFEST_NAME, (json.dumps(manifest, indent=2) + "\n").encode(), TournamentError)
    return manifest


def differences(existing: Manifest, manifest: Manifest) -> str:
    """What makes the second manifest that of another run, in words; empty where it is the same."""
    there, here = _flatten(_identity(existing)), _flatten(_identity(manifest))
    differing = [key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)]
    listed = "; ".join(_difference(key, there.get(key, "absent"), here.get(key, "absent")) for key in differing[:8])
    return listed + (f"; and {len(differing) - 8} more" if len(differing) > 8 else "")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run folder.

    Raises :class:`~gridpilot.errors.TournamentError` when there is none that can be read, or it is not as it was written.
    """
    path = folder / MANIFEST_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        state = "holds no " + MANIFEST_NAME if folder.is_dir() else "does not exist"
        raise TournamentError(f"{folder} {state}, expected the folder of a tournament run") from error
    except OSError as error:
        raise TournamentError(f"{path} cannot be read: {error}") from error
    manifest = read_json(text, str(path), TournamentError)
    refuse_control_signs(manifest, str(path), TournamentError)
    if not isinstance(manifest, dict) or manifest.get("command") != "tournament":
        raise TournamentError(f"{path} is not the manifest of a tournament")
    if manifest.get("format") != _FORMAT:
        found = manifest.get("format")
        raise TournamentError(f"{path} has format {found!r:.40}, expected {_FORMAT}: play the tournament again with this version")
    if manifest.get("digest") != seal(manifest)["digest"]:
        raise TournamentError(f"{path} has been edited since it was written: its contents do not have the digest that it states")
    return manifest


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _identity(manifest: Manifest) -> dict[str, Any]:
    apart = (*EXECUTION_KEYS, *EXTENSIBLE_KEYS, "agents")
    config = {key: value for key, value in manifest["config"].items() if key not in apart}
    agents = {}
    for label, agent in manifest["agents"].items():
        entry = {key: value for key, value in agent.items() if key not in _NOT_OF_AN_AGENT}
        if entry.get("target") == BY_VALUE:  # told by the digest beside it
            entry["params"] = {key: value for key, value in entry["params"].items() if key != "pickled"}
        agents[label] = {**entry, "source": (agent["source"] or {}).get("sha256")}
    return {**config, "agents": agents, "order": list(agents), "files": manifest["files"], "code": manifest["code"]}


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _difference(key: str, there: Any, here: Any) -> str:
    if key == "code":
        return "code (the library's source has changed since)"
    if key.endswith(".source") or key.startswith("files.") or ".files." in key or ".opened." in key:
        return f"{key} (the file has changed since)"
    return f"{key} is {there!r:.60} there and {here!r:.60} here"


def _episodes(config: TournamentConfig) -> dict[str, Any]:
    numbers = config.episode_numbers
    return {
        "purpose": config.purpose,
        "first": numbers.start,
        "last": numbers.stop - 1,
        "count": len(numbers),
        "evaluation_starts_at": config.evaluation_offset,
    }


def _entry(label: str, spec: Mapping[str, Any], found: Inspection) -> dict[str, Any]:
    """What identifies an agent: what it imports from beside its source, and the files that it reads, are as much a part of it."""
    source = source_of(spec["target"])
    defaults = found.defaults.get(label, {})
    files = agent_files(spec["target"], {**defaults, **spec["params"]}, source, found.opened.get(label, ()))
    hashes = {
        "files": _hashes((name, path) for name, path in (*files.code.items(), *files.data.items()) if path != source),
        "opened": _hashes(files.opened.items()),
    }
    return {
        **spec,
        "role": found.roles[label],
        # The library's agents are covered by the hash of its source.
        "source": None if source is None else {"file": _here(source), "sha256": sha256(source) if source.is_file() else ""},
        **{key: value for key, value in {**hashes, "defaults": defaults}.items() if value},
        "audit": None,
    }


def _hashes(files: Iterable[tuple[str, Path]]) -> dict[str, str]:
    return {name: sha256(path) for name, path in files if path.is_file()}


def _market_files(config: Mapping[str, Any], opened: Iterable[Path]) -> dict[str, str]:
    # A replayed price file is part of what was played, not only its name. One that cannot be read is refused where it is opened.
    files = agent_files("", {key: config[key] for key in ("prices", "market")}, None, opened)
    return _hashes((*files.code.items(), *files.data.items(), *files.opened.items()))


def _here(path: Path) -> str:
    """A path below the working directory without it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _git() -> dict[str, Any] | None:
    # The commit of this library; None where it is not a tracked file of a repository, as when installed from a wheel.
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None
