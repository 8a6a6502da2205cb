"""Policies of stable-baselines3 as folders of plain data. Nothing in the file is executed: of its pickles only tensors are read."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PolicyError
from gridpilot.market.encoding import n_fields
from gridpilot.policies.policy import Layout, Policy
from gridpilot.training.network import require_torch

__all__ = ["classes_for", "import_policy"]

Array32 = npt.NDArray[np.float32]

_WEIGHTS: Final = "policy.pth"
_SETTINGS: Final = "data"
_LARGEST: Final = 1 << 28  # bytes of a member, unpacked
_MOST_CLASSES: Final = 100
_ACTORS: Final = (  # where the hidden layers are, the last one where it has a name of its own, and what follows it
    ("mlp_extractor.policy_net.", ("action_net",), "linear"),  # PPO, A2C
    ("actor.latent_pi.", ("actor.mu",), "tanh"),  # SAC, TQC
    ("actor.mu.", (), "tanh"),  # TD3
)
_CLIP: Final = 5.0  # of our own standardisation
_BOUND: Final = 10.0  # of observations, which nothing else clips
_ACTIVATIONS: Final = {"Tanh": "tanh", "ReLU": "relu"}


def import_policy(file: Path, *, hold: int, mechanism: str = "vcg") -> Policy:
    """The mean of the actor of a PPO, A2C, SAC, TD3 or TQC with an ``MlpPolicy``, saved to a zip by stable-baselines3's ``save``.

    ``hold``       ticks that a decision was held for in training, which the file does not tell
    ``mechanism``  that it was trained for

    A feature extractor of our own training keeps its standardisation; without one observations are taken as they are, so that a model
    trained under ``VecNormalize`` would not play as it was trained. Raises :class:`~gridpilot.errors.MissingExtraError` without torch, and
    :class:`~gridpilot.errors.PolicyError` in one line for whatever is no such file.
    """
    torch = require_torch()
    settings, weights = _members(file)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of pickles that torch.save does not write
            state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise PolicyError(f"{file}: {_WEIGHTS} holds something else than tensors, or is damaged") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise PolicyError(f"{file}: {_WEIGHTS} is no table of tensors")
    prefix, last, output = next((actor for actor in _ACTORS if any(name.startswith(actor[0]) for name in state)), _ACTORS[0])
    layer = re.compile(rf"{re.escape(prefix)}(\d+)\.weight")
    numbers = sorted(int(match[1]) for match in map(layer.fullmatch, state) if match)
    names = [*(f"{prefix}{number}" for number in numbers), *last]
    missing = [f"{name}.{part}" for name in names for part in ("weight", "bias") if f"{name}.{part}" not in state]
    if missing or not names:
        told = missing[0] if missing else prefix
        raise PolicyError(f"{file} has no {told}, expected a PPO, A2C, SAC, TD3 or TQC of stable-baselines3 with an MlpPolicy")
    arrays: dict[str, Array32] = {}
    for i, name in enumerate(names):
        for part in ("weight", "bias"):
            arrays[f"layers.{i}.{part}"] = np.array(state[f"{name}.{part}"].float().numpy(), dtype=np.float32)
    sizes = (arrays["layers.0.weight"].shape[-1], *(len(arrays[f"layers.{i}.bias"]) for i in range(len(names))))
    classes = classes_for(sizes[0], file)
    extractor = "features_extractor" if output == "linear" else "actor.features_extractor"
    ours = all(f"{extractor}.{part}" in state for part in ("mean", "std"))
    for part, blank in (("mean", np.zeros), ("std", np.ones)):
        own = state[f"{extractor}.{part}"].float().numpy() if ours else blank(sizes[0])
        arrays[part] = np.array(own, dtype=np.float32)
    layout = Layout(
        sizes, classes, activation=_activation(settings, file, output), clip=_CLIP if ours else _BOUND, hold=hold,
        mechanism=mechanism, output=output,
    )  # fmt: skip
    origin = {"imported": {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}}
    try:
        return Policy(layout, arrays, origin)
    except PolicyError as error:
        raise PolicyError(f"{file}: {error}") from error


def classes_for(width: int, file: Path) -> int:
    """The machine classes of observations of ``width`` entries. Raises :class:`~gridpilot.errors.PolicyError` where there are none."""
    classes = next((c for c in range(1, _MOST_CLASSES + 1) if n_fields(c) == width), None)
    if classes is None:
        raise PolicyError(f"{file}: its policy takes {width} entries, expected the observation of a market, as {n_fields(3)}")
    return classes


def _members(file: Path) -> tuple[dict[str, Any], bytes]:
    """The settings and the weights, as bytes."""
    try:
        with zipfile.ZipFile(file) as archive:
            for name in (_SETTINGS, _WEIGHTS):
                if archive.getinfo(name).file_size > _LARGEST:
                    raise PolicyError(f"{file}: {name} has more than {_LARGEST:,} bytes")
            settings, weights = json.loads(archive.read(_SETTINGS)), archive.read(_WEIGHTS)
    except KeyError as error:
        raise PolicyError(f"{file} is no model of stable-baselines3: {error.args[0]}") from error
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:
        raise PolicyError(f"{file} is no zip file as stable-baselines3 saves it") from error
    except OSError as error:
        raise PolicyError(f"{file} cannot be read: {error.strerror}") from error
    if not isinstance(settings, dict):
        raise PolicyError(f"{file}: {_SETTINGS} is no table of settings")
    return settings, weights


def _activation(settings: dict[str, Any], file: Path, output: str) -> str:
    """The activation, by what the settings tell of the policy in words; by default tanh of PPO and A2C, ReLU of the others."""
    words = settings.get("policy_kwargs")
    told = words if isinstance(words, dict) else {}
    if told.get("squash_output") or settings.get("use_sde"):
        raise PolicyError(f"{file}: its actions are squashed or state-dependent noise explores, expected a plain MlpPolicy")
    name = str(told.get("activation_fn", "Tanh" if output == "linear" else "ReLU")).strip("<>'").rpartition(".")[2]
    if name not in _ACTIVATIONS:
        raise PolicyError(f"{file}: its activation is {name:.60}, expected one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]
