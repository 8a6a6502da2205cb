"""A policy as a folder that holds data alone: nothing of it is ever executed.

    policy.safetensors  the arrays of :meth:`~gridpilot.policies.policy.Layout.shapes`, float32
    policy.json         format, layout, SHA-256 of the former, and the manifest of its training
    CARD.md             what it was trained on, whom it beats by how much, and where it fails; for people, and not read

A folder is read whole or refused in a line: the weights must have the digest that ``policy.json`` states, and no file may hold more than it
should. Whoever can write the folder can put other numbers into it: a deployment holds both files to digests of its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import safetensors
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field

from gridpilot.configuration import validate
from gridpilot.documents import read_json, refuse_control_signs
from gridpilot.errors import ConfigError, PolicyError
from gridpilot.files import check_output, write_atomically
from gridpilot.policies.policy import Layout, Policy
from gridpilot.provenance import POLICY_FILES

__all__ = ["CARD", "DESCRIPTION", "FORMAT", "WEIGHTS", "find_policy", "load_policy", "save_policy", "shipped"]

FORMAT: Final = 1
DESCRIPTION, WEIGHTS = POLICY_FILES
CARD: Final = "CARD.md"

LIBRARY: Final = "library:"  # which no folder is called by accident

_SHIPPED: Final = Path(__file__).resolve().parent / "shipped"
_LARGEST: Final = {WEIGHTS: 1 << 28, DESCRIPTION: 1 << 20}  # bytes
_OTHERS: Final = (
    (b"PK\x03\x04", "a zip archive, as torch.save and stable-baselines3 write"),
    (b"\x80", "a pickle"),
    (b"\x93NUMPY", "a numpy file"),
)
_Text = Annotated[str, Field(max_length=40)]
_Count = Annotated[int, Field(strict=True)]


class _Description(BaseModel):
    """``policy.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal[1]
    sizes: Annotated[list[_Count], Field(max_length=64)]
    classes: _Count
    activation: _Text
    clip: float
    hold: _Count
    mechanism: _Text
    observation_version: _Count
    action_version: _Count
    output: _Text = "linear"  # which descriptions did not always state
    bidding: _Text | None = None  # nor this
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    training: dict[str, Any]


def save_policy(policy: Policy, folder: Path | str, card: str) -> Path:
    """Write ``policy`` to ``folder``, which is made where there is none, its files one by one and whole; returns the folder.

    The description comes last, so that a folder that was half written is refused. Raises :class:`~gridpilot.errors.PolicyError` for one
    that cannot be written.
    """
    place = Path(folder)
    check_output(place, PolicyError, folder=True)
    weights = safetensors.numpy.save({name: np.ascontiguousarray(policy.arrays[name]) for name in policy.layout.shapes()})
    described = {
        "format": FORMAT,
        **dataclasses.asdict(policy.layout),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "training": dict(policy.training),
    }
    write_atomically(place / WEIGHTS, weights, PolicyError)
    write_atomically(place / CARD, card.encode(), PolicyError)
    write_atomically(place / DESCRIPTION, (json.dumps(described, indent=2, allow_nan=False) + "\n").encode(), PolicyError)
    return place


def load_policy(folder: Path | str) -> Policy:
    """The policy in ``folder``, or one that comes with the library, ``library:NAME``.

    Raises :class:`~gridpilot.errors.PolicyError`, in one line, for whatever is not as :func:`save_policy` writes it: a file that is
    missing, too large, of another format, cut or longer than it should be, of another digest, version or shape, or not of finite numbers.
    """
    place = find_policy(folder)
    where = place / DESCRIPTION
    data = read_json(_read(place, DESCRIPTION), str(where), PolicyError)
    refuse_control_signs(data, str(where), PolicyError)
    found = data.get("format") if isinstance(data, Mapping) else None
    if found != FORMAT or isinstance(found, bool):
        raise PolicyError(f"{where} has format {found!r:.40}, expected {FORMAT}")
    try:
        described = validate(_Description, data, str(where))
    except ConfigError as error:
        raise PolicyError(str(error)) from error
    weights = _read(place, WEIGHTS)
    file = place / WEIGHTS
    for start, what in _OTHERS:
        if weights.startswith(start):
            raise PolicyError(f"{file} is {what}, expected a safetensors file, which holds numbers alone")
    digest = hashlib.sha256(weights).hexdigest()
    if digest != described.sha256:
        raise PolicyError(
            f"{file} has the SHA-256 {digest[:16]}..., expected {described.sha256[:16]}..., which {DESCRIPTION} states"
        )
    try:
        arrays = safetensors.numpy.load(weights)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise PolicyError(f"{file} is no safetensors file of numpy's types: {' '.join(str(error).split()):.200}") from error
    fields = described.model_dump(exclude={"format", "sha256", "training"})
    try:
        return Policy(Layout(**{**fields, "sizes": tuple(described.sizes)}), arrays, described.training)
    except PolicyError as error:
        raise PolicyError(f"{place}: {error}") from error


def shipped() -> list[str]:
    """Names of the policies that come with the library, ``library:...``."""
    return sorted(f"{LIBRARY}{path.parent.name}" for path in _SHIPPED.glob(f"*/{DESCRIPTION}"))


def find_policy(name: Path | str) -> Path:
    """The folder of a policy: ``library:NAME`` is one that comes with the library, all else a path.

    Raises :class:`~gridpilot.errors.PolicyError` where there is none.
    """
    expected = f"expected a folder that gridpilot train wrote, or {', '.join(shipped())}"
    if not isinstance(name, str | Path) or not str(name):
        raise PolicyError(f"policy is {name!r:.80}, {expected}")
    if str(name) in shipped():
        return _SHIPPED / str(name).removeprefix(LIBRARY)
    path = Path(name)
    if not path.is_dir():
        raise PolicyError(f"policy {str(name)!r:.200} {'is a file' if path.exists() else 'does not exist'}, {expected}")
    return path


def _read(place: Path, name: str) -> bytes:
    path = place / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would keep us waiting
        with open(descriptor, "rb") as file:
            if not path.is_file():
                raise PolicyError(f"{path} is no regular file")
            content = file.read(_LARGEST[name] + 1)
    except FileNotFoundError as error:
        raise PolicyError(f"{path} is missing, expected a folder that gridpilot train wrote") from error
    except OSError as error:
        raise PolicyError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST[name]:
        raise PolicyError(f"{path} has more than {_LARGEST[name]:,} bytes, expected a file that gridpilot train wrote")
    return content
