"""Prophet: trend, daily and weekly season of the last weeks, with what the last price was off carried on.

Prophet (Taylor and Letham 2018, "Forecasting at scale", The American Statistician 72(1)) explains a series by the clock alone: its forecast
for the next five minutes ignores the last price, and is four times as wrong as that. So the last price's residual is added, times the
share of residuals that is found to be left after each horizon. It is fitted to hourly means on an asinh scale, so that no spike is taken
for a season; its forecast is tabulated with the fit.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.base import CHANNELS, LONGEST_DAYS
from gridpilot.forecasting.fitted import FittedForecaster
from gridpilot.forecasting.gaussian_process import WIDEST, standardise

__all__ = ["ProphetForecaster"]

FloatArray = npt.NDArray[np.float64]

WEEK: Final = 168  # hours
CUT: Final = 6.0  # mean distances from the median: what is beyond is no season


class _Data(NamedTuple):
    hourly: FloatArray  # (N, C) means of whole hours
    last_hour: int  # number of the last of them, from a Monday 00:00
    ahead: int  # hours to tabulate


class _Model(NamedTuple):
    table: FloatArray  # (A, C) expected asinh((p - centre) / unit) at the middles of the hours from ``first_hour`` on
    first_hour: int
    left: FloatArray  # (25, C) share of a residual left after 0, 1, ..., 24 h
    centre: FloatArray  # (C,)
    unit: FloatArray  # (C,)


class ProphetForecaster(FittedForecaster):
    """Prophet; see the module. Raises :class:`~gridpilot.errors.MissingExtraError` without it."""

    name = "prophet"

    def __init__(
        self,
        channels: tuple[str, ...] = CHANNELS,
        steps_per_day: int = 288,
        *,
        refit_hours: float = 24.0,
        minimum_days: float = 4.0,
        history_days: float = 28.0,
    ) -> None:
        super().__init__(channels, steps_per_day, refit_hours=refit_hours, minimum_days=minimum_days, history_days=history_days)
        try:
            with _quiet():
                import prophet  # noqa: F401 - a missing one must show at construction
        except ImportError as error:
            raise MissingExtraError("the prophet forecaster", "forecast") from error

    def _data(self) -> _Data:
        hour = self.steps_per_day // 24
        end = (self._step + 1) // hour  # hours before this one are whole
        recent = self._history.last(self._history.length)
        recent = recent[: len(recent) - (self._step + 1 - end * hour)]
        recent = recent[len(recent) % hour :]
        ahead = 24 * LONGEST_DAYS + round(self.refit_hours) + 2
        return _Data(recent.reshape(-1, hour, len(self.channels)).mean(axis=1), end - 1, ahead)

    @staticmethod
    def _model_of(data: _Data) -> _Model:
        z, centre, unit = standardise(data.hourly)
        fitted = [_fit_channel(z[:, c], data.last_hour, data.ahead) for c in range(z.shape[1])]
        table, left = (np.stack(part, axis=1) for part in zip(*fitted, strict=True))
        return _Model(table, data.last_hour, left, centre, unit)

    def _path(self, model: _Model, horizons: npt.NDArray[np.int64]) -> FloatArray:
        steps = np.concatenate([[0], horizons])
        hours = (self._step + steps + 0.5) * 24.0 / self.steps_per_day - 0.5 - model.first_hour
        # Past the table's end, where fits keep failing, its last week goes on.
        beyond = np.maximum(np.ceil((hours - (len(model.table) - 1)) / WEEK), 0.0)
        hours = np.maximum(hours - beyond * WEEK, 0.0)
        later = steps * 24.0 / self.steps_per_day
        out = np.empty((len(horizons), len(self.channels)))
        for c in range(len(self.channels)):
            clock = np.interp(hours, np.arange(len(model.table)), model.table[:, c])
            left = np.interp(later, np.arange(len(model.left)), model.left[:, c])
            now = np.arcsinh((self._last[c] - model.centre[c]) / model.unit[c])
            out[:, c] = clock[1:] + left[1:] * (now - clock[0])
        return model.centre + model.unit * np.sinh(np.clip(out, -WIDEST, WIDEST))


def _fit_channel(hourly: FloatArray, last_hour: int, ahead: int) -> tuple[FloatArray, FloatArray]:
    """Expected values from the last hour on ``(ahead,)``, and what is left of a residual ``(25,)``."""
    middle = np.median(hourly)
    reach = CUT * np.mean(np.abs(hourly - middle))
    if reach <= 0.0:  # a price that stands still; Prophet's optimiser would divide by its range
        return np.full(ahead, middle), np.ones(25)
    import pandas as pd

    with _quiet():
        from prophet import Prophet

        weekly = 3 if len(hourly) >= 2 * WEEK else False  # one week says nothing about weeks
        model = Prophet(
            growth="flat", daily_seasonality=4, weekly_seasonality=weekly, yearly_seasonality=False, uncertainty_samples=0
        )
        # Any Monday will do as the first: the clock is what counts.
        first = (last_hour - len(hourly) + 1) % WEEK
        times = pd.Timestamp("2024-01-01") + pd.to_timedelta(first + np.arange(len(hourly) - 1 + ahead), unit="h")
        model.fit(pd.DataFrame({"ds": times[: len(hourly)], "y": np.clip(hourly, middle - reach, middle + reach)}), seed=0)
        expected = model.predict(pd.DataFrame({"ds": times}))["yhat"].to_numpy()
    if not np.isfinite(expected).all():
        raise ForecastError("prophet: the fit gave values that are not finite")
    residual = np.clip(hourly - expected[: len(hourly)], -reach, reach)
    total = float(residual @ residual)
    left = np.ones(25)
    for k in range(1, 25):
        pairs = len(residual) - k
        left[k] = np.clip(float(residual[k:] @ residual[:-k]) / max(total * pairs / len(residual), 1e-300), 0.0, 1.0)
    return expected[len(hourly) - 1 :], np.minimum.accumulate(left)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Prophet and cmdstanpy from logging every fit, and from warning of what pandas will change for them."""
    loggers = [logging.getLogger(name) for name in ("prophet", "prophet.plot", "cmdstanpy")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True  # a level would not last: cmdstanpy sets its own when first used
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
