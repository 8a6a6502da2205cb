"""A run folder's ``manifest.json``: what was played, with which code, and whether a run may be continued.

The manifest is written before the first match and never changed. Its *identity* (configuration, agents with the hash of their
source, hash of the library's source) decides which runs are the same: results are a pure function of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gridpilot.errors import AgentError, TournamentError
from gridpilot.provenance import agent_files, code_hash, sha256
from gridpilot.tournament.config import EXECUTION_KEYS, Inspection, TournamentConfig, agent_specs

__all__ = ["MANIFEST_NAME", "Manifest", "build_manifest", "open_run", "read_manifest", "run_id", "write_atomically"]

MANIFEST_NAME: Final = "manifest.json"
_FORMAT: Final = 1
_PACKAGES: Final = ("gridpilot", "numpy", "numba", "scipy", "pandas", "pyarrow", "arch")

Manifest = dict[str, Any]


def build_manifest(config: TournamentConfig, found: Inspection, matches: int) -> Manifest:
    """The manifest of a new run of ``matches`` matches, of what was ``found`` when its parts were built.

    Raises :class:`~gridpilot.errors.AgentError` for an agent given by a dotted path whose module cannot be found.
    """
    resolved = config.model_dump(mode="json", by_alias=True)
    episodes = config.episode_numbers
    agents = {}
    for label, spec in agent_specs(config.agents).items():
        source = _source(spec["target"])
        agents[label] = {**spec, "role": found.roles[label], "source": source, **_more_files(spec, source)}
    return {
        "format": _FORMAT,
        "command": "tournament",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": resolved,
        "seed": config.seed,
        "episodes": {
            "purpose": config.purpose,
            "first": episodes.start,
            "last": episodes.stop - 1,
            "count": len(episodes),
            "evaluation_starts_at": config.evaluation_offset,
        },
        "matches": matches,
        "chunk": config.chunk,
        "agents": agents,
        "files": _files(resolved),
        "code": code_hash(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "platform": platform.platform(),
        "git": _git(),
    }


def run_id(manifest: Manifest) -> str:
    """Ten hexadecimal digits that equal runs, and only they, share."""
    canonical = json.dumps(_identity(manifest), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def open_run(folder: Path, manifest: Manifest) -> Manifest:
    """Start a run in ``folder``, or continue the one that is there; return the manifest that holds for it.

    Raises :class:`~gridpilot.errors.TournamentError` when the folder holds another run (naming the keys that differ) or other
    files, or cannot be written.
    """
    if (folder / MANIFEST_NAME).exists():
        existing = read_manifest(folder)
        there, here = _flatten(_identity(existing)), _flatten(_identity(manifest))
        differing = [key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)]
        if differing:
            listed = "; ".join(_difference(key, there.get(key, "absent"), here.get(key, "absent")) for key in differing[:8])
            more = f"; and {len(differing) - 8} more" if len(differing) > 8 else ""
            raise TournamentError(f"{folder} holds a run of another configuration, choose another out=: {listed}{more}")
        return existing
    if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise TournamentError(f"{folder} is not empty and holds no {MANIFEST_NAME}, expected a new folder or an earlier run's")
    write_atomically(folder / MANIFEST_NAME, (json.dumps(manifest, indent=2) + "\n").encode())
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run folder. Raises :class:`~gridpilot.errors.TournamentError` when there is none that can be read."""
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        state = "holds no " + MANIFEST_NAME if folder.is_dir() else "does not exist"
        raise TournamentError(f"{folder} {state}, expected the folder of a tournament run") from error
    except (OSError, ValueError) as error:
        raise TournamentError(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT or manifest.get("command") != "tournament":
        raise TournamentError(f"{path} is not the manifest of a tournament of format {_FORMAT}")
    return manifest


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none, through a rename. Raises :class:`~gridpilot.errors.TournamentError`, for a full disk too."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # there may be nothing to remove, or no folder; the first error is the one to tell
            temporary.unlink()
        raise TournamentError(f"cannot write {path}: {error.strerror or error}; what was finished before is kept") from error


def _identity(manifest: Manifest) -> dict[str, Any]:
    config = {key: value for key, value in manifest["config"].items() if key not in (*EXECUTION_KEYS, "agents")}
    agents = {label: {**agent, "source": (agent["source"] or {}).get("sha256")} for label, agent in manifest["agents"].items()}
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
    if key.endswith(".source") or key.startswith("files.") or ".files." in key:
        return f"{key} (the file has changed since)"
    return f"{key} is {there!r:.60} there and {here!r:.60} here"


def _source(target: str) -> dict[str, str] | None:
    # Built-in agents are covered by the hash of the library's own source.
    module, _, _ = target.rpartition(".")
    if not module:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise AgentError(f"agents: {target}: module {module!r} cannot be found: {error}") from error
    if spec is None:
        raise AgentError(f"agents: {target}: no module {module!r} in the current folder or on the Python path")
    if spec.origin is None or not Path(spec.origin).is_file():
        return {"file": str(spec.origin), "sha256": ""}
    return {"file": spec.origin, "sha256": sha256(Path(spec.origin))}


def _more_files(spec: Mapping[str, Any], source: Mapping[str, str] | None) -> dict[str, dict[str, str]]:
    # What the agent imports from beside its source, and what its parameters point to, is as much a part of it.
    main = Path(source["file"]) if source and source["sha256"] else None
    found = agent_files(spec["target"], spec["params"], main)
    files = {name: sha256(path) for name, path in {**found.code, **found.data}.items() if path != main}
    return {"files": files} if files else {}


def _files(config: Mapping[str, Any]) -> dict[str, str]:
    # A replayed price file is part of what was played, not only its name. One that cannot be read is refused where it is opened.
    path = config["prices"].get("file")
    if path is None or not Path(path).is_file():
        return {}
    return {"prices.file": sha256(Path(path))}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


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
