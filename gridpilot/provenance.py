"""What results came from: the library's code, and the files behind an agent. Tournaments record it, deployments are held to it."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final, NamedTuple

from gridpilot.errors import AgentError
from gridpilot.file_access import is_installed

__all__ = ["POLICY_FILES", "TRAINING_ROOMS", "AgentFiles", "agent_files", "code_hash", "sha256", "source_of", "versions"]

_ROOMS: Final = (
    "market",
    "prices",
    "forecasting",
    "planning",
    "equilibrium",
    "policies",
    "risk",
    "agents",
    "presets.py",
    "setup.py",
    "tournament/play.py",
    "tournament/schedule.py",
    "conf/agent",
    "conf/bidding",
    "conf/climatology",
    "conf/forecaster",
    "conf/planner",
    "conf/storage",
)  # what rows depend on; markets, prices and sites are recorded as they are composed
TRAINING_ROOMS: Final = ("training", "envs")
"""What policies depend on besides what rows do."""
_SUFFIXES: Final = (".py", ".yaml", ".json", ".safetensors")
POLICY_FILES: Final = ("policy.json", "policy.safetensors")
"""What a folder that holds a learned policy is known by, and is read of it."""
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_FILE: Final = re.compile(r"/|\.(ya?ml|json|toml|txt|csv|parquet|zip|np[yz]|pth?|pkl|joblib|onnx)$")
_OURS: Final = "gridpilot"


class AgentFiles(NamedTuple):
    """The files behind an agent that are neither the library's nor an installed package's."""

    root: Path  # the folder that its code is imported from
    code: dict[str, Path]  # by path below ``root``: "my_file.py", "mine/bidder.py"
    data: dict[str, Path]  # by the parameter that names it: "climatologies.0"; "policy/policy.json", where it names their folder
    opened: dict[str, Path]  # others that it reads while it is built and reset, by path below ``root`` or, elsewhere, in full
    absent: dict[str, str]  # parameters that look like the path of a file, and there is none


def code_hash(*more: str) -> str:
    """SHA-256 of the library's source and presets that rows depend on, and of ``more`` of its rooms, where results depend on those too."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for room in (*_ROOMS, *more):
        place = root / room
        found = sorted(path for path in place.rglob("*") if path.suffix in _SUFFIXES) if place.is_dir() else [place]
        for path in found:
            if path.is_file():
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def source_of(target: str) -> Path | None:
    """The file of an agent's module; ``None`` for a registered name, which is the library's.

    Nothing is imported. Raises :class:`~gridpilot.errors.AgentError` when there is no such module.
    """
    module, _, _ = target.rpartition(".")
    if not module:
        return None
    package, *inside = module.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except ValueError as error:  # of a module that was made up, such as __main__
        raise AgentError(f"agents: {target}: module {module!r} cannot be found: {error}") from error
    for name in inside:  # find_spec of a dotted name would import the packages around it
        package = f"{package}.{name}"
        spec = PathFinder.find_spec(package, spec.submodule_search_locations or []) if spec else None
    if spec is None:
        raise AgentError(f"agents: {target}: no module {module!r} in the current folder or on the Python path")
    return Path(str(spec.origin))


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises ``OSError``."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The version of Python and of each package; None where it is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def agent_files(target: str, params: Mapping[str, Any], source: Path | None, opened: Iterable[Path] = ()) -> AgentFiles:
    """The files that an agent consists of besides the library.

    ``target``  its name or dotted path; ``source`` is the file of that path's module, ``None`` for a registered name.
    ``params``  the strings among them that name a file, relative to the working directory, or the folder of a learned policy, make
                ``data``; a string like
                ``my_file.MyPlanner`` whose module lies beside the agent's source, or in the working directory, counts as code.
    ``opened``  files that it was seen to read; those that are among the former are left out.

    Code is followed through its import statements, as far as they lead to files in the folder they are imported from. Nothing is
    imported. Raises ``OSError`` for a file that cannot be read.
    """
    root, modules = Path.cwd(), []
    module = target.rpartition(".")[0]
    if source is not None and module.partition(".")[0] != _OURS and not is_installed(source):
        depth = len(module.split(".")) + (source.name == "__init__.py")
        root = source.absolute().parents[depth - 1]
        modules.append(module)
    data: dict[str, Path] = {}
    absent: dict[str, str] = {}
    for key, text in _strings(params):
        if ("/" in text or "." in text) and os.path.isfile(text):  # unlike Path.is_file it takes text of any length
            data[key] = Path(text)
        elif text and os.path.isfile(os.path.join(text, POLICY_FILES[0])):
            data |= {f"{key}/{name}": Path(text) / name for name in POLICY_FILES}
        elif _FILE.search(text):
            absent[key] = text
        elif _DOTTED.fullmatch(text):
            modules.append(text.rpartition(".")[0])
    code = _sources(root, modules)
    known = {path.resolve() for path in (*code.values(), *data.values(), *([source] if source else []))}
    others = {_shown(path, root): path for path in opened if path.resolve() not in known}
    return AgentFiles(root, code, data, dict(sorted(others.items())), absent)


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string of nested mappings and lists, with its dotted path."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _strings(item, f"{key}.{i}" if key else str(i))


def _sources(root: Path, modules: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        for path in _files_of(root, waiting.pop()):
            name = path.relative_to(root).as_posix()
            if name not in found:
                found[name] = path
                waiting += _imports(path, name)
    return dict(sorted(found.items()))


def _files_of(root: Path, module: str) -> Iterator[Path]:
    """The files below ``root`` that importing ``module`` runs; what follows the last of them may be a name within it."""
    first, *_ = parts = module.split(".")
    if first == _OURS or first in sys.stdlib_module_names:
        return
    place = root
    for part in parts:
        place = place / part
        if (place / "__init__.py").is_file():
            yield place / "__init__.py"
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")
            return
        elif not place.is_dir():
            return


def _imports(path: Path, name: str) -> Iterator[str]:
    package = name.removesuffix(".py").split("/")[:-1]  # that relative imports start from
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # importing it tells what is wrong with it
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                above = package[: len(package) - level + 1] if level else []
                stem = ".".join([*above, *([base] if base else [])])
                yield from (f"{stem}.{alias.name}" if stem else alias.name for alias in names)
