"""Finding and building forecasters: by the name of a ``conf/forecaster`` file, or from a mapping with a ``target``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot import presets
from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import CHANNELS, Forecaster

__all__ = ["build_forecaster", "find_forecaster", "registered"]

PUBLIC = "gridpilot.forecasting.Forecaster"


def registered() -> dict[str, dict[str, Any]]:
    """The forecasters of ``conf/forecaster``: name -> ``target`` (dotted path of the class) and its parameters."""
    return presets.registered("forecaster")


def find_forecaster(name: str) -> type[Forecaster]:
    """The class behind a registered name or a dotted path like ``my_file.MyForecaster`` (looked up in the working directory too).

    Raises :class:`~gridpilot.errors.ForecastError` when there is none, naming what was looked for and where.
    """
    return presets.find("forecaster", name, Forecaster, ForecastError, PUBLIC)  # type: ignore[type-abstract]


def build_forecaster(spec: str | Mapping[str, Any], channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> Forecaster:
    """The forecaster ``spec`` for a stream of ``channels`` with ``steps_per_day`` rows a day.

    ``spec`` is a registered name, a dotted path, or a mapping whose ``target`` is either and whose other keys are parameters, on top of
    those of a registered name's file.

    Raises :class:`~gridpilot.errors.ForecastError` for an unknown name or a parameter that the class does not take, naming what it takes,
    and :class:`~gridpilot.errors.MissingExtraError` when the forecaster needs a library that is not installed.
    """
    given: dict[str, Any] = {"target": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("target", None)
    if not isinstance(name, str):
        raise ForecastError(
            f"forecaster {spec!r}: target is {name!r}, expected the name of a forecaster or a dotted path to a class"
        )
    fixed = {"channels": channels, "steps_per_day": steps_per_day}
    return presets.build("forecaster", name, given, Forecaster, ForecastError, PUBLIC, **fixed)  # type: ignore[type-abstract]
