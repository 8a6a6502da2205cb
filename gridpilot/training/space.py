"""What a study varies: ranges and choices of keys of ``conf/train.yaml``, written as that file nests them."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gridpilot.configuration import validate
from gridpilot.errors import ConfigError
from gridpilot.suggestions import did_you_mean, listed
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.config import TrainConfig

__all__ = ["Dimension", "dimensions", "looked_up", "with_values"]

_TUNABLE: Final = ("layers", "clone", "ppo", "off_policy")
_PARTS: Final = ("low", "high", "log", "choices")
_DIGITS: Final = 3  # of a number that is drawn, so that a command line repeats it


@dataclass(frozen=True)
class Dimension:
    """What one key may be: a number from ``low`` to ``high``, both whole or not, on a logarithmic scale with ``log``; or a choice."""

    key: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    def ends(self) -> tuple[Any, ...]:
        """Values that all others lie between, or all of them."""
        return self.choices or (self.low, self.high)

    def suggested(self, trial: Any) -> Any:
        """The value that an Optuna ``trial`` is to try."""
        if self.choices:
            return json.loads(trial.suggest_categorical(self.key, [json.dumps(choice) for choice in self.choices]))
        assert self.low is not None
        assert self.high is not None
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.key, self.low, self.high, log=self.log)
        drawn = trial.suggest_float(self.key, self.low, self.high, log=self.log)
        return min(max(float(f"{drawn:.{_DIGITS}g}"), float(self.low)), float(self.high))

    def parameter(self, value: Any) -> Any:
        """What Optuna calls ``value``; ``None`` where it is not in the space."""
        if self.choices:
            return json.dumps(value) if value in self.choices else None
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        return value if numeric and self.low is not None and self.high is not None and self.low <= value <= self.high else None


def dimensions(space: Mapping[str, Any], config: Mapping[str, Any]) -> list[Dimension]:
    """The dimensions of ``space``, sorted by key, of a training as ``config`` says.

    Raises :class:`~gridpilot.errors.ConfigError` with one line for a key that there is not, that this training does not use, or whose range
    or choices it does not take.
    """
    known = sorted(key for key in _keys(config) if key.partition(".")[0] in _TUNABLE)
    found = [_dimension(key, leaf, known) for key, leaf in _leaves(space)]
    if not found:
        raise ConfigError(
            "tune: space is empty, expected keys of the training, as {ppo: {learning_rate: {low: 0.001, high: 0.01}}}"
        )
    algo, init = str(config.get("algo")), config.get("init")
    used = {"layers", "clone" if "clone" in (algo, init) else "", ALGORITHMS[algo].section if algo in ALGORITHMS else "clone"}
    for one in found:
        section = one.key.partition(".")[0]
        if section not in used:
            raise ConfigError(
                f"tune: space.{one.key} is nothing that algo={algo} uses, expected keys of {listed(sorted(used - {''}))}"
            )
        for value in one.ends():
            try:
                validate(TrainConfig, with_values(config, {one.key: value}), "")
            except ConfigError as error:
                raise ConfigError(f"tune: space: {str(error).removeprefix(': ')}") from error
    return sorted(found, key=lambda one: one.key)


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``config`` with ``values`` by dotted key."""
    changed = copy.deepcopy(dict(config))
    for key, value in values.items():
        *path, last = key.split(".")
        inner = changed
        for part in path:
            inner = inner[part]
        inner[last] = value
    return changed


def looked_up(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key."""
    found: Any = config
    for part in key.split("."):
        found = found[part]
    return found


def _keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, Mapping) and f"{prefix}{key}" in _TUNABLE:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _leaves(space: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in space.items():
        if isinstance(value, Mapping) and not set(_PARTS).intersection(value) and not prefix:
            yield from _leaves(value, f"{key}.")
        else:
            yield f"{prefix}{key}", value


def _dimension(key: str, leaf: Any, known: list[str]) -> Dimension:
    where = f"tune: space.{key}"
    if key not in known:
        raise ConfigError(
            f"tune: space has an unknown key {key!r:.80}; {did_you_mean(key, known) or 'known keys are ' + listed(known)}"
        )
    if not isinstance(leaf, Mapping):
        raise ConfigError(f"{where} is {leaf!r:.80}, expected {{low: ..., high: ...}} or {{choices: [...]}}")
    for part in leaf:
        if part not in _PARTS:
            raise ConfigError(
                f"{where} has an unknown key {part!r:.60}; {did_you_mean(part, _PARTS) or 'known are ' + ', '.join(_PARTS)}"
            )
    if "choices" in leaf:
        choices = leaf["choices"]
        if len(leaf) > 1 or not isinstance(choices, list) or len(choices) < 2 or any(choices.count(one) > 1 for one in choices):
            raise ConfigError(f"{where} is {dict(leaf)!r:.120}, expected choices alone, at least two and none twice")
        return Dimension(key, choices=tuple(choices))
    low, high = (_number(leaf.get(name), f"{where}: {name}") for name in ("low", "high"))
    log = leaf.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log is {log!r:.60}, expected true or false")
    if not low < high or (log and low <= 0):
        raise ConfigError(f"{where}: low is {low} and high {high}, expected low below high{', both above 0' if log else ''}")
    return Dimension(key, low, high, log)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where} is {value!r:.60}, expected a number")
    return value
