"""A deployment folder: an agent as it was evaluated, with all that running it needs, every file under a hash.

    deployment.json   what was deployed, from which run, in spite of what, and the SHA-256 of every other file
    agent.yaml        target and parameters; a parameter that is the name of a file or folder here, ``policy/...``, stands for it
    policy/           the agent's own files: its source and what its parameters point to; first on ``sys.path`` when it is loaded
    site.yaml         the sites it was evaluated on, as in ``conf/site``
    risk.yaml         the limits that live operation holds it to
    evaluation.json   its figures in the tournament
    manifest.json     of the tournament

A folder is written whole or not at all, and never changed.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from gridpilot import __version__
from gridpilot.agents.registry import build_agent
from gridpilot.configuration import validate
from gridpilot.documents import read_json, read_yaml
from gridpilot.errors import DeploymentError, GridPilotError
from gridpilot.live.config import FINGERPRINT, RiskLimits
from gridpilot.live.deployment_files import check_name, read_file, verified
from gridpilot.market.site import Site
from gridpilot.provenance import code_hash
from gridpilot.setup import MarketConfig

__all__ = [
    "DEPLOYMENT_NAME",
    "FORMAT",
    "POLICY",
    "Deployment",
    "DeploymentRecord",
    "Override",
    "load_deployment",
    "remarks_on",
]

DEPLOYMENT_NAME: Final = "deployment.json"
POLICY: Final = "policy"
FORMAT: Final = 1
_PARTS: Final = ("agent.yaml", "site.yaml", "risk.yaml", "evaluation.json", "manifest.json")


class Override(BaseModel):
    """A check that failed, and was overridden by its code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str
    found: str


class DeploymentRecord(BaseModel):
    """``deployment.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    created: str  # ISO 8601, UTC
    agent: str  # its label in the tournament
    run: str  # id of the tournament's run
    source: dict[str, Any]  # of the run: folder's name, SHA-256 of its configuration, code, versions, commit
    gridpilot: str  # version that wrote the folder
    code: str  # SHA-256 of that library's code
    despite: tuple[Override, ...]
    notes: tuple[str, ...]
    files: dict[str, str]  # path below the folder: SHA-256


@dataclass(frozen=True)
class Deployment:
    """A folder that has been read, verified and found to run."""

    folder: Path  # absolute
    label: str  # of the agent in its tournament
    agent: Mapping[str, Any]  # target and params, with absolute paths: build_agent(agent["target"], agent["params"])
    risk: RiskLimits
    sites: tuple[Site, ...]  # that it was evaluated on
    evaluation: Mapping[str, Any]
    manifest: Mapping[str, Any]  # of the tournament
    record: DeploymentRecord
    fingerprint: str  # SHA-256 of deployment.json, and so of everything
    warnings: tuple[str, ...]  # what whoever runs it should know: overridden checks, another version of the library


def load_deployment(folder: Path, fingerprint: str | None = None) -> Deployment:
    """Read a deployment folder, verify every file and build its agent once.

    ``fingerprint``  that it must have, 64 hexadecimal digits; with another nothing of it is run.

    The agent's own source, where it has some, is imported from the folder: ``policy`` goes first on ``sys.path``, modules of these
    names from elsewhere are forgotten, and this process writes no bytecode from then on, as it would change the folder.

    Raises :class:`~gridpilot.errors.DeploymentError` for another fingerprint, a file that is missing, changed or not part of the
    deployment, a format that is not known, contents that make no sense, and an agent that cannot be built or is clairvoyant.
    """
    folder = folder.absolute()
    text = _text(folder)
    found = hashlib.sha256(text).hexdigest()
    if fingerprint is not None and found != _digits(fingerprint):
        raise DeploymentError(f"{folder} has the fingerprint {found}, expected {_digits(fingerprint)}: it is another deployment")
    record = _record(folder, text)
    contents = _contents(folder, record.files)
    try:
        agent = _agent(folder, contents)
        _import_from(folder / POLICY, [name for name in contents if name.startswith(f"{POLICY}/") and name.endswith(".py")])
        clairvoyant = build_agent(agent["target"], agent["params"]).clairvoyant
        risk = validate(RiskLimits, _parsed(contents, "risk.yaml", dict), "risk.yaml")
        sites = _sites(_parsed(contents, "site.yaml", list))
        evaluation, manifest = _parsed(contents, "evaluation.json", dict), _parsed(contents, "manifest.json", dict)
    except GridPilotError as error:
        raise DeploymentError(f"{folder}: {error}") from error
    if clairvoyant:
        raise DeploymentError(f"{folder}: the agent {record.agent!r} is clairvoyant, shown what only a simulated market can show")
    return Deployment(
        folder=folder,
        label=record.agent,
        agent=agent,
        risk=risk,
        sites=sites,
        evaluation=evaluation,
        manifest=manifest,
        record=record,
        fingerprint=found,
        warnings=_warnings(record),
    )


def remarks_on(risk: RiskLimits) -> list[str]:
    """What whoever deploys or runs these limits should know of those that are not set."""
    if risk.max_loss_per_day is not None:
        return []
    return ["max_loss_per_day is null: no loss, however large, switches the site off"]


def _digits(fingerprint: str) -> str:
    digits = fingerprint.lower()
    if not re.fullmatch("[0-9a-f]{64}", digits):  # of a part of it others can be made
        raise DeploymentError(
            f"{FINGERPRINT} is {fingerprint!r:.80}, expected all 64 hexadecimal digits that gridpilot deploy told"
        )
    return digits


def _record(folder: Path, text: bytes) -> DeploymentRecord:
    where = folder / DEPLOYMENT_NAME
    data = read_json(text, str(where), DeploymentError)
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise DeploymentError(f"{where} has format {found!r:.40}, expected {FORMAT}, which gridpilot {__version__} reads")
    try:
        record = validate(DeploymentRecord, data, str(where))
    except GridPilotError as error:
        raise DeploymentError(str(error)) from error
    for name in record.files:
        check_name(name, where)
    for name in _PARTS:
        if name not in record.files:
            raise DeploymentError(f"{where} does not list {name}, expected the SHA-256 of every file")
    return record


def _contents(folder: Path, files: Mapping[str, str]) -> dict[str, bytes]:
    try:
        return verified(folder, DEPLOYMENT_NAME, files)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DeploymentError(f"{error.filename} is missing, it was part of the deployment") from error
    except OSError as error:
        raise DeploymentError(f"{error.filename or folder} cannot be read: {error.strerror}") from error


def _text(folder: Path) -> bytes:
    try:
        return read_file(folder, DEPLOYMENT_NAME)
    except (FileNotFoundError, NotADirectoryError) as error:
        state = f"holds no {DEPLOYMENT_NAME}" if folder.is_dir() else "is no folder" if folder.exists() else "does not exist"
        raise DeploymentError(f"{folder} {state}, expected a folder written by gridpilot deploy") from error
    except OSError as error:
        raise DeploymentError(f"{folder / DEPLOYMENT_NAME} cannot be read: {error.strerror}") from error


def _agent(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Any]:
    described = _parsed(contents, "agent.yaml", dict)
    if (
        set(described) != {"target", "params"}
        or not isinstance(described["target"], str)
        or not isinstance(described["params"], dict)
    ):
        raise DeploymentError("agent.yaml is not a target with its params")

    def resolve(value: Any) -> Any:
        match value:
            case dict():
                return {key: resolve(item) for key, item in value.items()}
            case list():
                return [resolve(item) for item in value]
            case str() if value.startswith(f"{POLICY}/") and any(
                name == value or name.startswith(f"{value}/") for name in contents
            ):
                return str(folder / value)
        return value

    return {"target": described["target"], "params": resolve(described["params"])}


def _import_from(policy: Path, files: list[str]) -> None:
    """See to it that the modules of ``files`` come from ``policy``, now and later."""
    if not files:
        return
    own = {PurePosixPath(name).parts[1].removesuffix(".py") for name in files}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in own and not str(getattr(module, "__file__", None)).startswith(f"{policy}{os.sep}"):
            del sys.modules[name]
    from gridpilot.live.compiled_elsewhere import compile_elsewhere

    compile_elsewhere(policy)
    while str(policy) in sys.path:
        sys.path.remove(str(policy))
    sys.path.insert(0, str(policy))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()


def _sites(described: list[Any]) -> tuple[Site, ...]:
    # Sites are read as those of a market are; the market itself has no part in it.
    return validate(MarketConfig, {"capacity_kw": 0.0, "supply": [], "sites": described}, "site.yaml").build_sites()


def _parsed(contents: Mapping[str, bytes], name: str, kind: type[Any]) -> Any:
    data = (read_yaml if name.endswith(".yaml") else read_json)(contents[name], name, DeploymentError)
    if not isinstance(data, kind):
        raise DeploymentError(f"{name} holds {data!r:.60}, expected a {kind.__name__}")
    return data


def _warnings(record: DeploymentRecord) -> tuple[str, ...]:
    warnings = [f"deployed despite {override.code}: {override.found}" for override in record.despite]
    if code_hash() != record.code:
        warnings.append(
            f"the library's code (gridpilot {__version__}) is not that of the deployment (gridpilot {record.gridpilot}, "
            f"{record.code[:10]}): decisions may differ from those evaluated"
        )
    return tuple(warnings)
