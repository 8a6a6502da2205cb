"""The rolling origin: every row goes to the forecaster once, in order, and at every so many rows it is asked what comes next.

A forecaster is handed copies of single rows, so it cannot see the future; what it answers is only compared with the series afterwards.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.backtest.series import PriceSeries
from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.base import QUANTILE_LEVELS, Forecast, Forecaster, Row

__all__ = ["Fan", "MemberRun", "Origins", "naive_forecasts", "observed", "plan_origins", "run_best", "run_member"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEAST_ORIGINS: Final = 20
_AIM = 1000  # origins of a run that is not told how many: enough for the tests, quick for every member
_WARM_UP_DAYS = 14


@dataclass(frozen=True)
class Origins:
    """Where forecasts are made and how far they reach; O origins, K horizons."""

    rows: IntArray  # (O,) evenly spaced rows of the series
    every: int  # rows from an origin to the next
    horizons: IntArray  # (K,) steps, increasing
    fans: dict[str, int]  # name of a day worth a picture -> position in ``rows``

    @property
    def longest(self) -> int:
        """The greatest horizon, in steps."""
        return int(self.horizons[-1])


@dataclass(frozen=True)
class Fan:
    """A whole forecast: every step to the longest horizon."""

    mean: FloatArray  # (H, C)
    quantiles: FloatArray  # (H, Q, C)


@dataclass
class MemberRun:
    """What a forecaster answered, nan where it was not asked, and what that cost."""

    name: str
    mean: FloatArray  # (O, K, C)
    quantiles: FloatArray  # (O, K, Q, C)
    crps: FloatArray | None = None  # (O, K, C), of its scenarios where they were asked for
    fans: dict[str, Fan] = field(default_factory=dict)
    weights: list[tuple[int, dict[str, float]]] = field(default_factory=list)  # row of the origin, an ensemble's weights
    notes: Counter[str] = field(default_factory=Counter)  # what forecasts said went wrong -> number of origins
    update_us: FloatArray = field(default_factory=lambda: np.zeros(0))  # CPU of each update after the warm-up
    forecast_us: FloatArray = field(default_factory=lambda: np.zeros(0))  # CPU of each forecast
    cpu_s: float = 0.0  # of the whole process, refits on other threads included
    failed: str = ""  # why there are no answers
    missing_extra: bool = False  # it failed for want of an optional package


def plan_origins(
    series: PriceSeries, minutes: Sequence[float], *, warm_up_days: float | None = None, every: int | None = None
) -> Origins:
    """Choose the origins of a backtest.

    ``minutes``       horizons; those below a step become the first step, others are rounded to steps, those beyond the series are dropped.
    ``warm_up_days``  before the first origin; by default 14, at most half of the series.
    ``every``         rows between origins; by default about 1000 of them, spaced so that they move through the hours of the day.

    Raises :class:`~gridpilot.errors.ForecastError` where fewer than ``LEAST_ORIGINS`` origins are left.
    """
    day, n = series.steps_per_day, len(series.prices)
    half = n // 2
    warm_up = min(_WARM_UP_DAYS * day, half) if warm_up_days is None else round(warm_up_days * day)
    left = n - 1 - warm_up  # the first step of the last origin must lie in the series
    if left < LEAST_ORIGINS:
        raise ForecastError(
            f"{series.source} has {n} rows, {series.days:.1f} days; after {warm_up / day:.1f} days of warm-up (warm_up_days) "
            f"{max(left, 0)} are left, expected at least {LEAST_ORIGINS}"
        )
    if every is None:
        every = max(1, round(left / _AIM))
        while math.gcd(every, day) > 1:
            every += 1
    rows = np.arange(warm_up, n - 1, every, dtype=np.int64)
    if len(rows) < LEAST_ORIGINS:
        raise ForecastError(
            f"every={every} leaves {len(rows)} origins in {left} rows after the warm-up, expected at least {LEAST_ORIGINS}"
        )
    steps = np.unique([max(1, round(m / series.step_minutes)) for m in minutes])
    reachable = steps[steps <= n - 1 - rows[LEAST_ORIGINS - 1]]
    return Origins(rows, every, reachable.astype(np.int64), _fans(series, rows, int(reachable[-1])))


def _fans(series: PriceSeries, rows: IntArray, longest: int) -> dict[str, int]:
    """A calm and a wild day of the first channel: the tenth percentile and the greatest range of prices ahead of an origin."""
    price = series.prices[:, 0]
    whole = [i for i, row in enumerate(rows) if row + longest < len(price) and np.isfinite(price[row : row + longest + 1]).all()]
    if len(whole) < 2:
        return {}
    ranges = np.array([np.ptp(price[rows[i] : rows[i] + longest + 1]) for i in whole])
    order = np.argsort(ranges, kind="stable")
    return {"calm": whole[order[len(order) // 10]], "spiky": whole[order[-1]]}


def observed(series: PriceSeries, origins: Origins) -> FloatArray:
    """What came: ``(O, K, C)``, nan where nothing is known or the series has ended."""
    target = origins.rows[:, None] + origins.horizons[None, :]
    inside = target < len(series.prices)
    values = series.prices[np.minimum(target, len(series.prices) - 1)]
    return np.where(inside[:, :, None], values, np.nan)


def naive_forecasts(series: PriceSeries, origins: Origins) -> tuple[FloatArray, FloatArray]:
    """Last known price ``(O, C)``, and last known price at the target's time of day ``(O, K, C)``.

    The seasonal one looks back up to a week for a day on which the price is known, and takes the last price where there is none.
    """
    prices, day = series.prices, series.steps_per_day
    known = np.where(np.isfinite(prices), np.arange(len(prices))[:, None], -1)
    latest = np.maximum.accumulate(known, axis=0)[origins.rows]  # (O, C)
    last = np.where(latest >= 0, np.take_along_axis(prices, np.maximum(latest, 0), axis=0), np.nan)
    shape = (len(origins.rows), len(origins.horizons), prices.shape[1])
    seasonal = np.full(shape, np.nan)
    target = origins.rows[:, None] + origins.horizons[None, :]
    back = -(-origins.horizons // day) * day
    for days in range(7):
        row = target - back[None, :] - days * day
        found = np.where((row >= 0)[:, :, None], prices[np.maximum(row, 0)], np.nan)
        seasonal = np.where(np.isnan(seasonal), found, seasonal)
    return last, np.where(np.isnan(seasonal), last[:, None, :], seasonal)


def run_member(
    name: str,
    build: Callable[[], Forecaster],
    series: PriceSeries,
    origins: Origins,
    *,
    scenarios: int = 0,
    advance: Callable[[int], None] = lambda rows: None,
) -> MemberRun:
    """Take a forecaster through the series. Whatever it raises is recorded in ``failed``, with the row at which it happened.

    ``scenarios``  paths a forecast, from which its CRPS is computed; 0 for none.
    ``advance``    is told how many rows are done.
    """
    shape = (len(origins.rows), len(origins.horizons), series.prices.shape[1])
    run = MemberRun(name, np.full(shape, np.nan), np.full((*shape[:2], len(QUANTILE_LEVELS), shape[2]), np.nan))
    row = 0
    begun = time.process_time()
    try:
        forecaster = build()
        for row in _rows(series, forecaster, origins, run, scenarios):
            if row % 64 == 63:
                advance(64)
    except MissingExtraError as error:
        run.failed, run.missing_extra = str(error), True
    except Exception as error:  # a forecaster may fail in any way; it is scored as failed and the others go on
        run.failed = f"row {row + 1}: {type(error).__name__}: {' '.join(str(error).split())}"
    run.cpu_s = time.process_time() - begun
    return run


def _rows(series: PriceSeries, forecaster: Forecaster, origins: Origins, run: MemberRun, scenarios: int) -> Iterable[int]:
    position = {int(row): i for i, row in enumerate(origins.rows)}
    fans = {i: name for name, i in origins.fans.items()}
    truth = observed(series, origins) if scenarios else None
    updates: list[int] = []
    forecasts: list[int] = []
    for row in range(int(origins.rows[-1]) + 1):
        yield row
        if not series.present[row]:
            continue
        step = series.first_step + row
        given = Row(step, series.prices[row].copy())
        before = time.thread_time_ns()
        forecaster.update(given)
        if row >= origins.rows[0]:
            updates.append(time.thread_time_ns() - before)
        i = position.get(row)
        if i is None:
            continue
        before = time.thread_time_ns()
        forecast = forecaster.forecast(origins.longest)
        forecasts.append(time.thread_time_ns() - before)
        _check(forecast, step, origins.longest, series)
        knots = origins.horizons - 1
        run.mean[i], run.quantiles[i] = forecast.mean[knots], forecast.quantiles[knots]
        if i in fans:
            run.fans[fans[i]] = Fan(forecast.mean.copy(), forecast.quantiles.copy())
        if forecast.weights:
            run.weights.append((row, dict(forecast.weights)))
        run.notes.update(set(forecast.notes))
        if truth is not None:
            _score_scenarios(run, i, truth[i], forecaster.forecast(origins.longest, scenarios=scenarios).scenarios[:, knots])
    run.update_us, run.forecast_us = np.array(updates) / 1e3, np.array(forecasts) / 1e3


def _check(forecast: Forecast, step: int, horizon: int, series: PriceSeries) -> None:
    channels, levels = len(series.channels), len(QUANTILE_LEVELS)
    if forecast.step != step:
        raise ForecastError(f"the forecast starts from step {forecast.step}, expected {step}, that of the last row")
    if forecast.mean.shape != (horizon, channels) or forecast.quantiles.shape != (horizon, levels, channels):
        raise ForecastError(
            f"mean has shape {forecast.mean.shape} and quantiles {forecast.quantiles.shape}, expected "
            f"{(horizon, channels)} and {(horizon, levels, channels)}"
        )
    if not (np.isfinite(forecast.mean).all() and np.isfinite(forecast.quantiles).all()):
        raise ForecastError("the forecast holds values that are not finite")
    if (np.diff(forecast.quantiles, axis=1) < 0.0).any():
        raise ForecastError("quantiles decrease along their levels")


def _score_scenarios(run: MemberRun, i: int, truth: FloatArray, paths: FloatArray) -> None:
    import scoringrules

    if run.crps is None:
        run.crps = np.full(run.mean.shape, np.nan)
    run.crps[i] = scoringrules.crps_ensemble(truth, np.moveaxis(paths, 0, -1), backend="numpy")


def run_best(series: PriceSeries, origins: Origins, advance: Callable[[int], None] = lambda rows: None) -> MemberRun | None:
    """The best possible forecasts of a simulated series; None for a recorded one.

    Medians at every origin where the process tells them, the rest at as many origins as are worth their time, nan elsewhere.
    """
    if series.best is None:
        return None
    count = len(origins.rows)
    shape = (count, len(origins.horizons), series.prices.shape[1])
    run = MemberRun("best_possible", np.full(shape, np.nan), np.full((*shape[:2], len(QUANTILE_LEVELS), shape[2]), np.nan))
    asked = np.unique(np.linspace(0, count - 1, min(count, series.best.origins or count)).round().astype(np.int64))
    begun = time.process_time()
    for i, row in enumerate(origins.rows):
        exact = series.best.median(int(row), origins.horizons)
        if exact is not None:
            run.quantiles[i, :, QUANTILE_LEVELS.index(0.5)] = exact
    for i in asked:
        run.mean[i], run.quantiles[i] = series.best.forecast(int(origins.rows[i]), origins.horizons)
        advance(1)
    every = np.arange(1, origins.longest + 1)
    for name, i in origins.fans.items():
        run.fans[name] = Fan(*series.best.forecast(int(origins.rows[i]), every))
    run.notes[series.best.what] = len(asked)
    run.cpu_s = time.process_time() - begun
    return run
