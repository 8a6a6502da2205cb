"""Finding and building forecasters: by the name of a ``conf/forecaster`` file, or from a mapping with a ``target``."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.base import CHANNELS, Forecaster

__all__ = ["build_forecaster", "find_forecaster", "registered"]


@functools.cache
def registered() -> dict[str, dict[str, Any]]:
    """The forecasters of ``conf/forecaster``: name -> ``target`` (dotted path of the class) and its parameters."""
    folder = resources.files("gridpilot.conf") / "forecaster"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def find_forecaster(name: str) -> type[Forecaster]:
    """The class behind a registered name or a dotted path like ``my_file.MyForecaster`` (looked up in the working directory too).

    Raises :class:`~gridpilot.errors.ForecastError` when there is none, naming what was looked for and where.
    """
    path = str(registered()[name]["target"]) if name in registered() else name
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        raise ForecastError(
            f"forecaster {name!r}: expected one of {', '.join(registered())}, or a dotted path such as my_file.Mine"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ForecastError(
                f"forecaster {name!r}: there is no module {module_name!r} in {Path.cwd()} or the installed packages"
            ) from error
        raise ForecastError(f"forecaster {name!r}: importing {module_name!r} failed: {error}") from error
    except MissingExtraError:
        raise
    except Exception as error:  # a user's file may fail in any way; the message says which
        raise ForecastError(f"forecaster {name!r}: importing {module_name!r} failed: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, Forecaster)):
        what = "has no such class" if found is None else "is not a subclass of gridpilot.forecasting.Forecaster"
        raise ForecastError(f"forecaster {name!r}: {module_name}.{class_name} {what}")
    return found


def build_forecaster(spec: str | Mapping[str, Any], channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> Forecaster:
    """The forecaster ``spec`` for a stream of ``channels`` with ``steps_per_day`` rows a day.

    ``spec`` is a registered name, a dotted path, or a mapping whose ``target`` is either and whose other keys are parameters, on top of
    those of a registered name's file.

    Raises :class:`~gridpilot.errors.ForecastError` for an unknown name or a parameter that the class does not take, naming what it takes,
    and :class:`~gridpilot.errors.MissingExtraError` when the forecaster needs a library that is not installed.
    """
    given = {"target": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("target", None)
    if not isinstance(name, str):
        raise ForecastError(
            f"forecaster {spec!r}: target is {name!r}, expected the name of a forecaster or a dotted path to a class"
        )
    found = find_forecaster(name)
    given = {**registered().get(name, {}), **given}
    given.pop("target", None)
    signature = inspect.signature(found)
    try:
        signature.bind(channels=channels, steps_per_day=steps_per_day, **given)
    except TypeError as error:
        takes = ", ".join(key for key in signature.parameters if key not in ("channels", "steps_per_day")) or "no parameters"
        raise ForecastError(f"forecaster {name!r}: {error}; {found.__name__} takes {takes}") from error
    try:
        return found(channels=channels, steps_per_day=steps_per_day, **given)
    except (ForecastError, MissingExtraError):
        raise
    except Exception as error:  # a constructor may fail in any way
        raise ForecastError(f"forecaster {name!r}: {found.__name__} failed to start: {type(error).__name__}: {error}") from error
