"""What members share that fit a model now and then: a history, a band from past errors, and what to do while there is no model.

A fit is a pure function from a :class:`FitTask` to a :class:`FitResult`. A fit that fails is a result too, with the reason in it: the old
model stays, and the reason is among the notes of every forecast until a fit succeeds. Where a fit runs is not decided here; see
:mod:`gridpilot.forecasting.refit`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import CHANNELS, Forecaster
from gridpilot.forecasting.error_band import ErrorBand, RunningScale

__all__ = ["FitResult", "FitTask", "FittedForecaster", "PriceHistory"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FitTask:
    """What a fit gets: copies of everything, so that it can run in another thread or process."""

    generation: int  # of the member's history: a fit of forgotten rows must not be installed
    step: int  # of the last row
    data: Any


@dataclass(frozen=True)
class FitResult:
    """What a fit gives: a model, or the reason why there is none."""

    generation: int
    step: int
    model: Any
    failure: str | None = None


class PriceHistory:
    """The last rows, oldest first, as one contiguous array."""

    def __init__(self, channels: int, length: int) -> None:
        self.length = length
        self._rows = np.zeros((2 * length, channels))
        self._end = 0

    def __len__(self) -> int:
        return min(self._end, self.length)

    def append(self, prices: FloatArray) -> None:
        """Take in ``prices`` ``(C,)``."""
        if self._end == len(self._rows):
            self._rows[: self.length] = self._rows[self.length :]
            self._end = self.length
        self._rows[self._end] = prices
        self._end += 1

    def last(self, count: int) -> FloatArray:
        """View of the last ``count`` rows, or of those there are, ``(n, C)``: copy what must outlive the next row."""
        return self._rows[max(0, self._end - min(count, self.length)) : self._end]


class FittedForecaster(Forecaster):
    """A member with a model that is fitted to its last ``history_days`` days, first after ``minimum_days``, then every ``refit_hours``.

    Until its first fit it is persistence with a band from its own past errors. A member implements ``_data`` (what a fit needs),
    ``_model_of`` (the fit, static and pure) and ``_path`` (the mean), and where it has something to add ``_begin``, ``_observe``,
    ``_knot_scales`` or the whole of ``_predict_fitted``.
    """

    own_band: ClassVar[bool] = False  # the model has quantiles of its own: no band of past errors is kept for it

    def __init__(
        self,
        channels: tuple[str, ...] = CHANNELS,
        steps_per_day: int = 288,
        *,
        refit_hours: float = 24.0,
        minimum_days: float = 2.0,
        history_days: float = 28.0,
    ) -> None:
        super().__init__(channels, steps_per_day)
        for key, value in (("refit_hours", refit_hours), ("minimum_days", minimum_days), ("history_days", history_days)):
            if not 0.0 < value < np.inf:
                raise ForecastError(f"{self.name}: {key} is {value!r}, expected a number above 0")
        if history_days < minimum_days:
            raise ForecastError(f"{self.name}: history_days is {history_days}, expected at least minimum_days, {minimum_days}")
        self.refit_hours = float(refit_hours)
        self.minimum_days = float(minimum_days)
        self.history_days = float(history_days)
        self.refit_every = min(self.refit_hours, 24.0 * self.minimum_days)
        self._generation = 0
        self._fitted: FitResult | None = None
        self._failure: str | None = None

    # A forecaster's hooks.

    def _start(self) -> None:
        self._generation += 1
        self._fitted = None
        self._failure = None
        self.refit_every = min(self.refit_hours, 24.0 * self.minimum_days)
        count = len(self.channels)
        self._step = 0
        self._history = PriceHistory(count, round(self.history_days * self.steps_per_day))
        self._scale = RunningScale(count, self.steps_per_day)
        self._band = ErrorBand(count, self.steps_per_day)
        self._begin()

    def _learn(self, step: int, prices: FloatArray) -> None:
        self._step = step
        self._history.append(prices)
        self._scale.learn(prices)
        self._observe(step, prices)
        knots = self._band.knots
        model = self.model
        plain = model is None or self.own_band
        means = np.broadcast_to(prices, (len(knots), len(prices))) if plain else self._path(model, knots)
        self._band.learn(prices, means, self._knot_scales(model))

    def _predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        model = self.model
        if model is not None:
            return self._predict_fitted(model, horizon)
        means = np.broadcast_to(self._last, (horizon, len(self.channels))).copy()
        return means, self._band.spread(means, self._knot_scales(None))

    def _training_data(self) -> FitTask | None:
        if len(self._history) < round(self.minimum_days * self.steps_per_day):
            return None
        return FitTask(self._generation, self._step, self._data())

    @classmethod
    def _fit(cls, data: FitTask) -> FitResult:
        try:
            return FitResult(data.generation, data.step, cls._model_of(data.data))
        except Exception as error:  # a library's fit may fail in any way; the result says which
            return FitResult(data.generation, data.step, None, f"{type(error).__name__}: {error}")

    def _install(self, model: FitResult) -> None:
        """Take up a fit. May be called from another thread: what readers see changes in a single assignment."""
        if model.generation != self._generation:
            return  # its rows have been forgotten since
        if model.failure is not None:
            kept = "the last model stays" if self.model is not None else "there is no model yet"
            self._failure = f"{self.name}: the fit after step {model.step} failed, {kept}: {model.failure}"
            return
        self._fitted = model
        self._failure = None
        self.refit_every = self.refit_hours

    def _notes(self) -> tuple[str, ...]:
        return () if self._failure is None else (self._failure,)

    @property
    def model(self) -> Any | None:
        """The model in use, if there is one. Read it once where it must not change in between."""
        fitted = self._fitted
        return fitted.model if fitted is not None and fitted.generation == self._generation else None

    # What a member implements.

    def _begin(self) -> None:
        """Forget everything learned beside the history."""

    def _observe(self, step: int, prices: FloatArray) -> None:
        """Learn from a row beside the history, which has it already."""

    @abstractmethod
    def _data(self) -> Any:
        """What a fit needs, copied."""

    @staticmethod
    @abstractmethod
    def _model_of(data: Any) -> Any:
        """The model fitted to ``data``; raises whatever it likes. Takes no time from a forecast where it runs in the background."""

    @abstractmethod
    def _path(self, model: Any, horizons: npt.NDArray[np.int64]) -> FloatArray:
        """Expected prices ``(n, C)`` at ``horizons`` ``(n,)`` steps after the last row, increasing, >= 1."""

    def _knot_scales(self, model: Any | None) -> FloatArray:
        """Scale ``(K, C)`` > 0 of the errors expected at the band's knots; a random walk's constants are the band's business."""
        return np.broadcast_to(self._scale.value, (len(self._band.knots), len(self.channels)))

    def _predict_fitted(self, model: Any, horizon: int) -> tuple[FloatArray, FloatArray]:
        means = self._path(model, np.arange(1, horizon + 1))
        return means, self._band.spread(means, self._knot_scales(model))
