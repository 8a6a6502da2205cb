"""Finding and building forecasters, see :mod:`gridpilot.presets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gridpilot import presets
from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import CHANNELS, Forecaster

__all__ = ["FORECASTER", "build_forecaster"]

FORECASTER: Final = presets.Kind("forecaster", Forecaster, ForecastError, "gridpilot.forecasting.Forecaster")  # type: ignore[type-abstract]


def build_forecaster(spec: str | Mapping[str, Any], channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> Forecaster:
    """The forecaster that ``spec`` names, for a stream of ``channels`` with ``steps_per_day`` rows a day.

    ``spec`` is a name of ``conf/forecaster``, a dotted path, or a mapping with either as ``name`` and parameters, which go on top of those
    of its file.

    Raises :class:`~gridpilot.errors.ForecastError` for an unknown name or a parameter that the class does not take, naming what it takes,
    and :class:`~gridpilot.errors.MissingExtraError` when the forecaster needs a library that is not installed.
    """
    return presets.build(FORECASTER, spec, channels=channels, steps_per_day=steps_per_day)
