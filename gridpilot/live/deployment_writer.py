"""Writing a deployment folder, whole or not at all; what is in it is told in :mod:`gridpilot.live.deployment`."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from gridpilot import __version__
from gridpilot.configuration import validate
from gridpilot.errors import DeploymentError
from gridpilot.files import beside, sync
from gridpilot.live.config import RiskLimits
from gridpilot.live.deployment import DEPLOYMENT_NAME, FORMAT, POLICY, DeploymentRecord
from gridpilot.market.site import Site
from gridpilot.provenance import code_hash

__all__ = ["pack_agent", "write_deployment"]

_KEY: Final = re.compile(rb"(?i)(?<![0-9a-f-])[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?![0-9a-f-])")


def write_deployment(
    folder: Path,
    record: Mapping[str, Any],
    *,
    agent: Mapping[str, Any],
    policy: Mapping[str, bytes],
    sites: tuple[Site, ...],
    risk: RiskLimits,
    evaluation: Mapping[str, Any],
    manifest: Mapping[str, Any],
    check: Callable[[Path], None],
) -> str:
    """Write a new deployment folder; returns its fingerprint, the SHA-256 of the record that holds all other hashes.

    ``record``  fields of :class:`DeploymentRecord` but ``format``, ``gridpilot``, ``code`` and ``files``.
    ``agent``   target and params, as :func:`pack_agent` returns them; ``policy`` the files below ``policy``, by their name there.
    ``check``   is given the folder, complete but under a temporary name beside its own, and raises what speaks against it.

    Raises :class:`~gridpilot.errors.DeploymentError` when ``folder`` exists or cannot be written, when something in it looks like a key,
    and what ``check`` raises; then nothing is left.
    """
    if folder.exists() or folder.is_symlink():
        raise DeploymentError(f"{folder} exists, and a deployment is never changed; choose another folder with --out")
    contents = {
        "agent.yaml": _to_yaml(dict(agent), f"{record['agent']}, as it was played; policy/... are files of this folder."),
        "site.yaml": _to_yaml(
            [_describe(site) for site in sites], "The sites of the evaluation, each in the form of a conf/site file."
        ),
        "risk.yaml": _to_yaml(
            risk.model_dump(mode="json"), "What live operation holds the agent to; explained in conf/live/base.yaml."
        ),
        "evaluation.json": _to_json(evaluation),
        "manifest.json": _to_json(manifest),
        **{f"{POLICY}/{name}": content for name, content in policy.items()},
    }
    for name, content in contents.items():
        _refuse_keys(name, content)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    fields = {"format": FORMAT, **record, "gridpilot": __version__, "code": code_hash(), "files": files}
    whole = validate(DeploymentRecord, fields, DEPLOYMENT_NAME)
    contents[DEPLOYMENT_NAME] = _to_json(whole.model_dump(mode="json"))
    with _new_folder(folder) as temporary:
        for name, content in contents.items():
            _write(temporary / name, content)
        check(temporary)
    return hashlib.sha256(contents[DEPLOYMENT_NAME]).hexdigest()


def pack_agent(target: str, params: Mapping[str, Any], data: Mapping[str, Path]) -> tuple[dict[str, Any], dict[str, Path]]:
    """An agent with the files its parameters point to moved into ``policy``: ``({target, params}, {name in policy: file})``.

    ``data`` gives the file of each parameter by its dotted path, or the files of a folder by that path, a slash and their names. Files and
    folders of one name are numbered. Raises
    :class:`~gridpilot.errors.DeploymentError` for a parameter that looks like a key.
    """
    names: dict[str, Path] = {}

    def pack(value: Any, key: str) -> Any:
        if key in data:
            return f"{POLICY}/{_name_for(data[key], names)}"
        inside = {name.removeprefix(f"{key}/"): path for name, path in data.items() if name.startswith(f"{key}/")}
        if inside:
            return f"{POLICY}/{_folder_for(inside, names)}"
        if isinstance(value, Mapping):
            return {name: pack(item, f"{key}.{name}" if key else str(name)) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [pack(item, f"{key}.{i}" if key else str(i)) for i, item in enumerate(value)]
        if isinstance(value, str) and _KEY.search(value.encode()):
            raise DeploymentError(f"the agent's parameter {key!r} has the form of an API key; keys belong into MARA_API_KEY alone")
        return value

    return {"target": target, "params": pack(params, "")}, names


def _describe(site: Site) -> dict[str, Any]:
    """A site as ``conf/site`` describes one."""
    return {
        "name": site.name,
        "fleet": {machines.name: machines.units for machines in site.fleet},
        "machines": {
            machines.name: {"product": machines.product, "unit_kw": machines.unit_kw, "output": machines.output}
            for machines in site.fleet
        },
        "grid_kw": site.grid_kw,
        "ramp_up_kw": site.ramp_up_kw,
        "boot_loss": site.boot_loss,
        "battery": dataclasses.asdict(site.battery),
        "cooling": dataclasses.asdict(site.cooling),
    }


def _name_for(file: Path, names: dict[str, Path]) -> str:
    name, number = file.name, 1
    while names.setdefault(name, file) != file:
        number += 1
        name = f"{file.stem}-{number}{file.suffix}"
    return name


def _folder_for(inside: Mapping[str, Path], names: dict[str, Path]) -> str:
    own = next(iter(inside.values())).absolute().parent.name
    name, number = own, 1
    while any(names.get(f"{name}/{file}", path) != path for file, path in inside.items()):
        number += 1
        name = f"{own}-{number}"
    names.update({f"{name}/{file}": path for file, path in inside.items()})
    return name


def _refuse_keys(name: str, content: bytes) -> None:
    found = _KEY.search(content)
    if found:
        line = content.count(b"\n", 0, found.start()) + 1
        raise DeploymentError(
            f"{name} would hold what has the form of an API key in line {line}; keys belong into MARA_API_KEY alone"
        )


def _to_json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _to_yaml(data: Any, comment: str) -> bytes:
    return f"# {comment}\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=130)}".encode()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sync(path)
    sync(path.parent)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder``, which takes its name at the end of the block, or is gone."""
    temporary = beside(folder)
    made = [parent for parent in folder.absolute().parents if not parent.exists()]
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(folder)
        sync(folder.parent)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):  # of another process's making, or in use by now
            for parent in made:
                parent.rmdir()
        if isinstance(error, OSError):
            raise DeploymentError(f"cannot write {folder}: {error.strerror or error}") from error
        raise
