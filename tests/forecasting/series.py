"""Series to forecast, and members to forecast them with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MissingExtraError
from gridpilot.forecasting.base import CHANNELS, QUANTILE_LEVELS, Forecast, Forecaster, Row
from gridpilot.forecasting.fitted import FittedForecaster
from gridpilot.forecasting.persistence import Persistence
from gridpilot.forecasting.registry import FORECASTER, build_forecaster
from gridpilot.presets import find, names

FloatArray = npt.NDArray[np.float64]

DAY = 288
# Every registered forecaster is tested because it is registered: those that learn row by row, and those that fit a model now and then.
CLASSES = {name: find(FORECASTER, name) for name in names("forecaster")}
LIGHT = tuple(name for name, member in CLASSES.items() if not issubclass(member, FittedForecaster))
FITTED = tuple(member for member in CLASSES.values() if issubclass(member, FittedForecaster))
THREE = ("energy", "hash", "token")


class NeedsExtra(Persistence):
    """Needs a library that nobody has."""

    name = "needs_extra"

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = DAY) -> None:
        raise MissingExtraError("the member", "forecast")


def autoregression(rows: int, phi: float, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    x = np.empty(rows)
    x[0] = rng.standard_normal() / np.sqrt(max(1.0 - phi * phi, 1e-3))
    noise = rng.standard_normal(rows)
    for t in range(1, rows):
        x[t] = phi * x[t - 1] + noise[t]
    return x


def season(rows: int, amplitude: float, day: int = DAY) -> FloatArray:
    angle = 2.0 * np.pi * np.arange(rows) / day
    return 40.0 + amplitude * (np.sin(angle) + 0.5 * np.cos(2.0 * angle))


def seasonal(rows: int, seed: int = 0) -> FloatArray:
    """Process A of the design: a strong daily profile and an autoregression, ``(rows, 1)``."""
    return (season(rows, 12.0) + autoregression(rows, 0.97, seed))[:, None]


def random_walk(rows: int, seed: int = 0, tails: float | None = None) -> FloatArray:
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal(rows) if tails is None else rng.standard_t(tails, rows)
    return 50.0 + np.cumsum(steps)[:, None]


def three(rows: int, seed: int = 0) -> FloatArray:
    """Energy, hash and token: seasonal with spikes and negative prices, and two positive walks, ``(rows, 3)``."""
    rng = np.random.default_rng(seed)
    energy = (seasonal(rows, seed)[:, 0] - 30.0) / 1000.0
    energy[rng.uniform(size=rows) < 0.005] += 2.0
    walks = np.exp(np.cumsum(0.003 * rng.standard_normal((rows, 2)), axis=0)) * np.array([2.0, 0.3])
    return np.column_stack([energy, walks])


def build(name: str, channels: int = 1, steps_per_day: int = DAY, **params: object) -> Forecaster:
    names = THREE if channels == 3 else tuple(f"c{i}" for i in range(channels))
    return build_forecaster({"name": name, **params}, names, steps_per_day)


def feed(forecaster: Forecaster, prices: FloatArray, first: int = 0) -> Forecaster:
    for t, row in enumerate(prices):
        forecaster.update(Row(first + t, row))
    return forecaster


def check(forecast: Forecast, horizon: int, channels: int, scenarios: int = 0) -> None:
    """What every forecast keeps, whatever the rows were."""
    assert forecast.mean.shape == (horizon, channels)
    assert forecast.quantiles.shape == (horizon, len(QUANTILE_LEVELS), channels)
    assert forecast.scenarios.shape == (scenarios, horizon, channels)
    for values in (forecast.mean, forecast.quantiles, forecast.scenarios):
        assert np.isfinite(values).all()
    assert (np.diff(forecast.quantiles, axis=1) >= 0.0).all()


def rolling(
    forecaster: Forecaster, prices: FloatArray, warm: int, horizons: list[int], every: int = 3
) -> tuple[FloatArray, FloatArray]:
    """Skill of the median against persistence and coverage of the 90 % band, ``(len(horizons),)`` each, of channel 0."""
    horizon, rows = max(horizons), len(prices)
    index = np.array(horizons) - 1
    own, naive, inside = [], [], []
    for t in range(rows - horizon):
        forecaster.update(Row(t, prices[t]))
        if t >= warm and t % every == 0:
            quantiles = forecaster.forecast(horizon).quantiles[index, :, 0]
            truth = prices[t + 1 + index, 0]
            own.append(np.abs(truth - quantiles[:, 2]))
            naive.append(np.abs(truth - prices[t, 0]))
            inside.append((truth >= quantiles[:, 0]) & (truth <= quantiles[:, 4]))
    return 1.0 - np.mean(own, axis=0) / np.mean(naive, axis=0), np.mean(inside, axis=0)
