"""Gradient-boosted quantiles of the coming changes, by LightGBM or XGBoost, on the feature pipeline.

One model serves all horizons of a channel: the horizon, the clock at the target, and what the price did at that time of day before are
features beside those of the pipeline. The target is the change from the last price over the running scale and over its usual size at
that horizon, so that hours and minutes weigh alike. A quarter of the rows is held out to find which share of the predicted median to
believe at each horizon (on a random walk: none) and how much wider the band must be; the quantiles follow. Both libraries run on one
thread and are deterministic.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MissingExtraError
from gridpilot.forecasting.base import CHANNELS, QUANTILE_LEVELS
from gridpilot.forecasting.features import FeaturePipeline
from gridpilot.forecasting.fitted import FittedForecaster, PriceHistory
from gridpilot.forecasting.wavelet import SHARES, dense_knots, interpolate, same_time

__all__ = ["BoostedQuantiles", "LightGBMQuantiles", "XGBoostQuantiles", "selected"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

EACH_DAY: Final = 48  # rows a day that a fit sees, each at a few horizons drawn at random
DRAWN: Final = 6
WIDEST: Final = 30.0  # greatest |change| over running scale and sqrt(horizon) a fit believes
# What a mean is made of: the quantile function linear between the levels and constant beyond the outermost.
MEAN_WEIGHTS: Final = np.array([0.15, 0.225, 0.25, 0.225, 0.15])

# Of the pipeline's features those that say something a few trees can use.
OF_CHANNEL: Final = (
    "price",
    "return_1",
    "return_3",
    "return_30min",
    "return_1h",
    "return_3h",
    "return_6h",
    "return_12h",
    "return_24h",
    "return_7d",
    "above_mean_1h",
    "above_mean_6h",
    "score_24h",
    "score_7d",
    "volatility_1h",
    "volatility_24h",
    "volatility_ratio_1h_24h",
    "volatility_ratio_24h_7d",
    "variance_ratio",
    "seasonality",
    "position_6h",
    "position_24h",
    "rank_24h",
    "rank_same_time",
    "slope_3h",
    "spike",
    "since_spike",
    "negative",
    "since_negative",
    "run",
    "profile",
    "rsi_14",
    "macd_histogram",
    "bollinger_position_20",
    "bollinger_width_60",
    "wavelet_energy_1",
    "wavelet_entropy",
    "wavelet_detail",
)


def selected(names: tuple[str, ...], channel: str) -> IntArray:
    """Positions in ``names`` of the features a model of ``channel`` gets."""
    wanted = {f"{channel}_{name}" for name in OF_CHANNEL} | {"weekend"}
    return np.array([i for i, name in enumerate(names) if name in wanted], dtype=np.int64)


class _Data(NamedTuple):
    features: npt.NDArray[np.float32]  # (N, S, C)
    season: FloatArray  # (N, K, 2, C) changes to the prices of same_time
    scale: FloatArray  # (N, C)
    steps: IntArray  # (N,)
    prices: FloatArray  # (T, C) the N rows are those at ``at``
    at: IntArray  # (N,)
    knots: IntArray  # (K,)
    day: int  # steps
    settings: dict[str, Any]


class _Model(NamedTuple):
    boosters: tuple[Any, ...]  # (C,) what _boost returned
    size: FloatArray  # (K, C) usual size of the target
    share: FloatArray  # (K, C) of the predicted median to believe
    factor: FloatArray  # (K, C) of the band's width


def _at_horizons(features: npt.NDArray[Any], season: FloatArray, step: IntArray, horizon: IntArray, day: int) -> FloatArray:
    """Rows ``(n, S + 8)`` of what a model sees: ``features`` ``(n, S)``, ``season`` ``(n, 2)`` over the scale, and horizon and clock."""
    time = 2.0 * np.pi * ((step + horizon) % day) / day
    weekend = ((step + horizon) // day % 7 >= 5).astype(np.float64)
    clock = [np.log(horizon), np.sin(time), np.cos(time), np.sin(2.0 * time), np.cos(2.0 * time), weekend]
    out: FloatArray = np.column_stack([features, np.clip(season, -1e6, 1e6), *clock])
    return out


class BoostedQuantiles(FittedForecaster):
    """What the two variants share; see the module. ``rounds`` trees of each quantile, ``rate`` the learning rate."""

    own_band: ClassVar[bool] = True

    def __init__(
        self,
        channels: tuple[str, ...] = CHANNELS,
        steps_per_day: int = 288,
        *,
        refit_hours: float = 48.0,
        minimum_days: float = 4.0,
        history_days: float = 28.0,
        rounds: int = 60,
        rate: float = 0.08,
        leaves: int = 12,
    ) -> None:
        super().__init__(channels, steps_per_day, refit_hours=refit_hours, minimum_days=minimum_days, history_days=history_days)
        self._require()
        self._settings = {"rounds": int(rounds), "rate": float(rate), "leaves": int(leaves)}
        self._pipeline = FeaturePipeline(self.channels, steps_per_day)
        self._chosen = np.stack([selected(self._pipeline.names, channel) for channel in self.channels], axis=1)  # (S, C)
        self._knots = dense_knots(steps_per_day)
        self._each = max(1, steps_per_day // EACH_DAY)

    @staticmethod
    @abstractmethod
    def _require() -> None:
        """Import the library, or raise MissingExtraError."""

    @staticmethod
    @abstractmethod
    def _boost(x: FloatArray, y: FloatArray, levels: tuple[float, ...], settings: dict[str, Any]) -> Any:
        """Fit ``y`` ``(n,)`` on ``x`` ``(n, F)``; what comes back must pickle."""

    @staticmethod
    @abstractmethod
    def _quantiles(booster: Any, x: FloatArray) -> FloatArray:
        """``(n, Q)``."""

    def _begin(self) -> None:
        count = len(self.channels)
        kept = round(self.history_days * self.steps_per_day / self._each)
        self._pipeline.reset()
        self._rows = 0
        self._kept = PriceHistory(self._chosen.size + len(self._knots) * 2 * count + count, kept)

    def _observe(self, step: int, prices: FloatArray) -> None:
        self._now = self._pipeline.update(step, prices)[self._chosen]
        if self._rows % self._each == 0:
            self._kept.append(np.concatenate([self._now.reshape(-1), self._season().reshape(-1), self._scale.value]))
        self._rows += 1

    def _season(self) -> FloatArray:
        """``(K, 2, C)``."""
        return same_time(self._history.last(8 * self.steps_per_day), self._knots, self.steps_per_day).transpose(1, 0, 2)

    def _data(self) -> _Data:
        kept, count, knots = len(self._kept), len(self.channels), len(self._knots)
        newest = len(self._history) - 1 - (self._rows - 1) % self._each
        at = newest - self._each * np.arange(kept)[::-1]
        inside = at >= 0
        rows = self._kept.last(kept)[inside]
        wide = self._chosen.size
        return _Data(
            rows[:, :wide].reshape(-1, *self._chosen.shape).astype(np.float32),
            rows[:, wide:-count].reshape(-1, knots, 2, count).copy(),
            rows[:, -count:].copy(),
            self._step - (len(self._history) - 1 - at[inside]),
            self._history.last(self._history.length).copy(),
            at[inside],
            self._knots,
            self.steps_per_day,
            self._settings,
        )

    @classmethod
    def _model_of(cls, data: _Data) -> _Model:
        rng = np.random.default_rng(int(data.steps[-1]) & 0xFFFFFFFF)
        count, channels = len(data.at), data.prices.shape[1]
        rows = np.repeat(np.arange(count), DRAWN)
        drawn = rng.integers(0, len(data.knots), len(rows))
        known = data.at[rows] + data.knots[drawn] < len(data.prices)
        rows, drawn = rows[known], drawn[known]
        horizon = data.knots[drawn]
        boosters = []
        sizes, shares, factors = (np.ones((len(data.knots), channels)) for _ in range(3))
        for c in range(channels):
            scale = data.scale[rows, c]
            change = data.prices[data.at[rows] + horizon, c] - data.prices[data.at[rows], c]
            y = np.clip(change / scale / np.sqrt(horizon), -WIDEST, WIDEST)
            total = np.bincount(drawn, np.abs(y), len(data.knots)) + np.mean(np.abs(y)) + 1e-9
            sizes[:, c] = total / (np.bincount(drawn, minlength=len(data.knots)) + 1.0)
            y = y / sizes[drawn, c]
            x = _at_horizons(
                data.features[rows, :, c], data.season[rows, drawn, :, c] / scale[:, None], data.steps[rows], horizon, data.day
            )
            shares[:, c], factors[:, c] = cls._held_out(x, y, scale * np.sqrt(horizon), rows, drawn, data)
            boosters.append(cls._boost(x, y, QUANTILE_LEVELS, data.settings))
        return _Model(tuple(boosters), sizes, shares, factors)

    @classmethod
    def _held_out(
        cls, x: FloatArray, y: FloatArray, weight: FloatArray, rows: IntArray, drawn: IntArray, data: _Data
    ) -> tuple[FloatArray, FloatArray]:
        """Share of the median to believe and factor of the band's width, ``(K,)`` each.

        They are the best on the last quarter of rows after a fit to those whose outcome came before it: quantiles that boosting has fitted
        are too narrow for what it has not seen.
        """
        share, factor = np.zeros(len(data.knots)), np.full(len(data.knots), 1.2)
        split = int(rows[-1]) * 3 // 4
        train = data.at[rows] + data.knots[drawn] < data.at[split]
        test = rows >= split
        if train.sum() < 200 or test.sum() < 100:
            return share, factor
        low, predicted, high = np.sort(cls._quantiles(cls._boost(x[train], y[train], (0.05, 0.5, 0.95), data.settings), x[test])).T
        y, weight, place = y[test], weight[test], drawn[test]
        for k in range(len(data.knots)):
            near = np.abs(place - k) <= 2  # neighbouring knots are judged together: few rows fall on each
            if near.sum() < 20:
                continue
            losses = [float(np.sum((np.abs(y - part * predicted) * weight)[near])) for part in SHARES]
            share[k] = next(part for part, loss in zip(SHARES, losses, strict=True) if loss <= min(losses) + 0.01 * losses[0])
            error = y[near] - share[k] * predicted[near]
            side = np.where(error > 0.0, (high - predicted)[near], (predicted - low)[near])
            factor[k] = np.clip(np.quantile(np.abs(error) / np.maximum(side, 1e-3), 0.9), 0.8, 3.0)
        return share, factor

    def _path(self, model: _Model, horizons: IntArray) -> FloatArray:
        return interpolate(self._at_knots(model) @ MEAN_WEIGHTS, self._knots, horizons) + self._last

    def _predict_fitted(self, model: _Model, horizon: int) -> tuple[FloatArray, FloatArray]:
        changes = self._at_knots(model)  # (K, C, Q)
        steps = np.arange(1, horizon + 1)
        flat = interpolate(changes.reshape(len(self._knots), -1), self._knots, steps)
        quantiles = flat.reshape(horizon, len(self.channels), len(QUANTILE_LEVELS)).transpose(0, 2, 1) + self._last
        return np.einsum("hqc,q->hc", quantiles, MEAN_WEIGHTS), quantiles

    def _at_knots(self, model: _Model) -> FloatArray:
        """Quantiles of the change ``(K, C, Q)`` at the knots, sorted."""
        season, scale = self._season(), self._scale.value
        step = np.full(len(self._knots), self._step)
        out = np.empty((len(self._knots), len(self.channels), len(QUANTILE_LEVELS)))
        for c, booster in enumerate(model.boosters):
            features = np.broadcast_to(self._now[:, c].astype(np.float32), (len(self._knots), len(self._now)))
            x = _at_horizons(features, season[:, :, c] / scale[c], step, self._knots, self.steps_per_day)
            found = np.sort(self._quantiles(booster, x), axis=1)
            median = found[:, 2:3]
            found = model.share[:, c, None] * median + model.factor[:, c, None] * (found - median)
            out[:, c] = found * (model.size[:, c] * scale[c] * np.sqrt(self._knots))[:, None]
        return out


class LightGBMQuantiles(BoostedQuantiles):
    """LightGBM, one booster a quantile. Raises :class:`~gridpilot.errors.MissingExtraError` without it."""

    name = "lightgbm"

    @staticmethod
    def _require() -> None:
        try:
            import lightgbm  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the lightgbm forecaster", "forecast") from error

    @staticmethod
    def _boost(x: FloatArray, y: FloatArray, levels: tuple[float, ...], settings: dict[str, Any]) -> Any:
        import lightgbm

        parameters = {
            "objective": "quantile",
            "learning_rate": settings["rate"],
            "num_leaves": settings["leaves"],
            "min_data_in_leaf": 40,
            "max_bin": 63,
            "feature_fraction": 0.5,
            "seed": 0,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        rows = lightgbm.Dataset(x, params=parameters)  # binned once for all levels
        boosters = []
        for level in levels:
            rows.set_label(y)
            boosters.append(lightgbm.train({**parameters, "alpha": level}, rows, settings["rounds"]))
        return tuple(boosters)

    @staticmethod
    def _quantiles(booster: Any, x: FloatArray) -> FloatArray:
        return np.column_stack([part.predict(x, num_threads=1) for part in booster])


class XGBoostQuantiles(BoostedQuantiles):
    """XGBoost, one booster for all quantiles. Raises :class:`~gridpilot.errors.MissingExtraError` without it."""

    name = "xgboost"

    @staticmethod
    def _require() -> None:
        try:
            import xgboost  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the xgboost forecaster", "forecast") from error

    @staticmethod
    def _boost(x: FloatArray, y: FloatArray, levels: tuple[float, ...], settings: dict[str, Any]) -> Any:
        import xgboost

        parameters = {
            "objective": "reg:quantileerror",
            "quantile_alpha": list(levels),
            "learning_rate": settings["rate"],
            "max_leaves": settings["leaves"],
            "grow_policy": "lossguide",
            "max_depth": 0,
            "tree_method": "hist",
            "max_bin": 64,
            "colsample_bytree": 0.5,
            "seed": 0,
            "nthread": 1,
            "verbosity": 0,
        }
        rows = xgboost.QuantileDMatrix(x, y, max_bin=64, nthread=1)
        return xgboost.train(parameters, rows, settings["rounds"])

    @staticmethod
    def _quantiles(booster: Any, x: FloatArray) -> FloatArray:
        found: FloatArray = np.asarray(booster.inplace_predict(x), dtype=np.float64)
        return found.reshape(len(x), -1)
