"""The interface of a forecaster: rows in, one at a time; mean, quantiles and joint scenarios out, whenever asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError
from gridpilot.forecasting.scenarios import draw_scenarios
from gridpilot.forecasting.stream import CleanRow, Stream
from gridpilot.market.units import CHANNELS

__all__ = ["CHANNELS", "QUANTILE_LEVELS", "Forecast", "Forecaster", "Row"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

QUANTILE_LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
LONGEST_DAYS: Final = 7  # greatest horizon


class Row(NamedTuple):
    """The prices of one step."""

    step: int  # number of the step, counted from a Monday 00:00: step % steps_per_day is the time of day. Gaps are steps left out
    prices: FloatArray  # (C,) any unit; nan where nothing is known


@dataclass(frozen=True)
class Forecast:
    """What is expected of the H steps after ``step``; C channels, Q = len(QUANTILE_LEVELS) quantiles."""

    step: int  # of the last row known
    channels: tuple[str, ...]
    mean: FloatArray  # (H, C)
    quantiles: FloatArray  # (H, Q, C), non-decreasing along Q
    scenarios: FloatArray  # (S, H, C) equally likely joint paths; S = 0 unless asked for
    weights: dict[str, float] = field(default_factory=dict)  # of an ensemble's members, mean over channels and horizons
    notes: tuple[str, ...] = ()  # what went wrong and was survived: members left out, rows refused


class Forecaster(ABC):
    """Forecasts one stream of rows of ``channels``, ``steps_per_day`` steps a day (a multiple of 24, at most 1440).

    A member implements three hooks: ``_start`` (forget everything), ``_learn`` (a clean row) and ``_predict``; its constructor only keeps
    parameters, all that is learned is made in ``_start``. Cleaning, notes, scenarios and what to do when a hook fails are done here. An
    ensemble, which has cleaned its rows, calls ``learn`` and ``predict`` instead of ``update`` and ``forecast``.

    A heavy member fits a model now and then. It sets ``refit_every`` (hours of steps between fits) and implements three more hooks:
    ``_training_data`` (a copy of what a fit needs, or None while there is too little), ``_fit`` (static and pure: data in, model out,
    as slow as it likes) and ``_install`` (take the model, fast). ``schedule`` is called when a fit is due; None fits on the spot,
    anything else may run ``_fit`` elsewhere and ``_install`` its result later (see :mod:`gridpilot.forecasting.refit`).
    """

    name: ClassVar[str]
    refit_every: float = 0.0  # hours; 0 never: the member learns row by row
    schedule: Callable[[Forecaster], None] | None = None

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> None:
        self.channels = tuple(channels)
        if not self.channels:
            raise ForecastError("channels is empty, expected at least one name")
        if isinstance(steps_per_day, bool) or not isinstance(steps_per_day, (int, np.integer)) or not 24 <= steps_per_day <= 1440:
            raise ForecastError(f"steps_per_day is {steps_per_day!r}, expected a whole number from 24 to 1440")
        if steps_per_day % 24:
            raise ForecastError(f"steps_per_day is {steps_per_day}, expected a multiple of 24")
        self.steps_per_day = int(steps_per_day)
        self.held: BoolArray = np.zeros(len(self.channels), dtype=np.bool_)  # (C,) of the row being learned: price not observed
        self.rows = 0  # learned since the last start
        self._stream = Stream(self.channels, self.steps_per_day)
        self._last = np.zeros(len(self.channels))
        self._move = np.zeros(len(self.channels))  # running mean of |change|, for the band when _predict fails
        self._since_fit = 0

    # What a user calls.

    def update(self, row: Row) -> None:
        """Take in one row. Repeated and older rows, gaps and nan are survived and noted, never raised.

        The newest row is learned from when the next one comes or a forecast is asked for, so that a correction of it still counts.
        """
        for clean in self._stream.take(row):
            self._try_learn(clean)

    def forecast(self, horizon: int, *, scenarios: int = 0) -> Forecast:
        """Forecast the coming ``horizon`` steps, with ``scenarios`` joint paths. Works from the first row on.

        Asking changes nothing: equal rows give equal forecasts, scenarios included. Raises :class:`~gridpilot.errors.ForecastError` before
        the first row, and for a horizon below 1 or over ``LONGEST_DAYS`` days.
        """
        self._check(horizon, scenarios)
        for clean in self._stream.flush():
            self._try_learn(clean)
        step = self._stream.last_step
        if step is None or self.rows == 0:
            raise ForecastError(f"{self.name}: forecast asked for before the first row")
        failure: tuple[str, ...] = ()
        try:
            mean, quantiles = self.predict(horizon)
        except Exception as error:  # a member may fail in any way; the loop it serves must go on
            failure = (f"{self.name}: {type(error).__name__}: {error}; last prices with a wide band instead",)
            mean, quantiles = self._plain(horizon)
        paths = self._scenarios(step, scenarios, quantiles)
        return Forecast(
            step, self.channels, mean, quantiles, paths, self._weights(), (*self._stream.notes(), *self._notes(), *failure)
        )

    # What an ensemble calls: rows are clean already, and failures are its business.

    def learn(self, row: CleanRow) -> None:
        """Learn from the row after the last one. Raises what the member raises."""
        if row.restart or self.rows == 0:
            self.rows = 0
            self._since_fit = 0
            self._last = row.prices
            self._move = np.zeros(len(self.channels))
            self._start()
        self.rows += 1
        self._move += (np.abs(row.prices - self._last) - self._move) / min(self.rows, self.steps_per_day)
        self._last = row.prices
        self.held = row.held
        self._learn(row.step, row.prices)
        if self.refit_every > 0.0:
            self._since_fit += 1
            if self._since_fit >= self.refit_every * self.steps_per_day / 24:
                self._since_fit = 0
                (self.schedule or Forecaster.refit)(self)

    def predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        """Mean ``(H, C)`` and quantiles ``(H, Q, C)``, finite and sorted. Raises what the member raises, or ForecastError if not finite."""
        mean, quantiles = self._predict(horizon)
        if not (np.isfinite(mean).all() and np.isfinite(quantiles).all()):
            raise ForecastError(f"{self.name}: the forecast holds values that are not finite")
        return mean, np.sort(quantiles, axis=1)

    def median(self, horizon: int) -> FloatArray:
        """The medians alone ``(H, C)``, finite; what an ensemble asks for at each row. Raises as ``predict`` does."""
        path = self._median(horizon)
        if not np.isfinite(path).all():
            raise ForecastError(f"{self.name}: the forecast holds values that are not finite")
        return path

    def refit(self) -> None:
        """Fit the member's model on the spot, if it has one and data enough."""
        data = self._training_data()
        if data is not None:
            self._install(self._fit(data))

    # What a member implements.

    @abstractmethod
    def _start(self) -> None:
        """Forget everything learned; called before the first row and after a gap too long to fill."""

    @abstractmethod
    def _learn(self, step: int, prices: FloatArray) -> None:
        """Learn from a row ``prices`` ``(C,)``, finite; steps are consecutive. ``self.held`` ``(C,)`` says which prices only stand in.

        ``prices`` must not be changed, and is never changed by others: it may be kept.
        """

    @abstractmethod
    def _predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        """Mean ``(H, C)`` and quantiles ``(H, Q, C)`` after the last row; changes nothing."""

    def _median(self, horizon: int) -> FloatArray:
        """For members whose medians cost less than all quantiles."""
        return self.predict(horizon)[1][:, QUANTILE_LEVELS.index(0.5)]

    def _training_data(self) -> Any | None:
        return None

    @staticmethod
    def _fit(data: Any) -> Any:
        raise NotImplementedError

    def _install(self, model: Any) -> None:
        raise NotImplementedError

    def _notes(self) -> tuple[str, ...]:
        """What a member itself has to report with each forecast."""
        return ()

    def _weights(self) -> dict[str, float]:
        return {}

    def _scenarios(self, step: int, count: int, quantiles: FloatArray) -> FloatArray:
        """``(S, H, C)`` joint paths whose marginals are ``quantiles``."""
        return draw_scenarios(quantiles, np.array(QUANTILE_LEVELS), count, seed=step)

    # Private to this class.

    def _check(self, horizon: int, scenarios: int) -> None:
        longest = LONGEST_DAYS * self.steps_per_day
        if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or not 1 <= horizon <= longest:
            raise ForecastError(f"{self.name}: horizon is {horizon!r}, expected a whole number of steps from 1 to {longest}")
        if isinstance(scenarios, bool) or not isinstance(scenarios, (int, np.integer)) or scenarios < 0:
            raise ForecastError(f"{self.name}: scenarios is {scenarios!r}, expected a whole number >= 0")

    def _try_learn(self, row: CleanRow) -> None:
        try:
            self.learn(row)
        except Exception as error:  # a member may fail in any way; the loop it serves must go on
            self._stream.note(f"{self.name}: learning failed: {type(error).__name__}: {error}", row.step)

    def _plain(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        """The last prices, and three normal bands of a random walk with the mean |change| seen: wide, and always there."""
        spread = np.sqrt(np.arange(1, horizon + 1))[:, None] * np.maximum(self._move, 0.01 * np.abs(self._last))
        scores = 3.0 * np.array([-1.645, -0.674, 0.0, 0.674, 1.645])
        mean = np.broadcast_to(self._last, (horizon, len(self.channels))).copy()
        return mean, mean[:, None, :] + scores[:, None] * spread[:, None, :]
