"""The interface of a forecaster: rows in, one at a time; mean, quantiles and joint scenarios out, whenever asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["CHANNELS", "LEVELS", "Forecast", "Forecaster", "Row"]

FloatArray = npt.NDArray[np.float64]

CHANNELS: Final = ("energy", "hash", "token")
LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


class Row(NamedTuple):
    """The prices of one step."""

    step: int  # number of the step, counted from a Monday 00:00: step % steps_per_day is the time of day. Gaps are steps left out
    prices: FloatArray  # (C,) any unit; nan where nothing is known


@dataclass(frozen=True)
class Forecast:
    """What is expected of the H steps after ``step``; C channels, Q = len(LEVELS) quantiles."""

    step: int  # of the last row known
    channels: tuple[str, ...]
    mean: FloatArray  # (H, C)
    quantiles: FloatArray  # (H, Q, C), non-decreasing along Q
    scenarios: FloatArray  # (S, H, C) equally likely joint paths; S = 0 unless asked for
    weights: dict[str, float] = field(default_factory=dict)  # of an ensemble's members, mean over channels and horizons
    notes: tuple[str, ...] = ()  # what went wrong and was survived: members left out, rows refused


class Forecaster(ABC):
    """Forecasts one stream of rows of ``channels``, ``steps_per_day`` steps a day."""

    name: ClassVar[str]

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> None:
        self.channels = tuple(channels)
        self.steps_per_day = steps_per_day

    @abstractmethod
    def update(self, row: Row) -> None:
        """Take in one row. Repeated and older rows, gaps and nan are survived and noted, never raised."""

    @abstractmethod
    def forecast(self, horizon: int, *, scenarios: int = 0) -> Forecast:
        """Forecast the coming ``horizon`` steps, with ``scenarios`` joint paths. Works from the first row on."""
