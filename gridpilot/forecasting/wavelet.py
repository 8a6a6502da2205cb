"""Ridge regression of the coming changes on wavelet-denoised prices, their seasons, and the clock: direct, for each horizon its own.

Denoising is that of Donoho and Johnstone (1994), "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81(3): soft thresholds
sd sqrt(2 ln n) on the detail coefficients, with sd their median absolute deviation at the finest level / 0.6745. It is applied to the last
512 steps as they stand at each row, so nothing that comes later can leak into a regressor, as it does where a whole series is denoised.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.base import CHANNELS
from gridpilot.forecasting.fitted import FittedForecaster, PriceHistory

__all__ = ["RidgeModel", "WaveletRidge", "denoise", "dense_knots", "interpolate", "robust_ridge", "same_time"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WINDOW: Final = 512  # steps that are denoised
WAVELET: Final = "db2"
DEPTH: Final = 5  # levels of the decomposition
WIDEST: Final = 30.0  # greatest |change| over the running scale x sqrt(horizon) a fit believes
SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
EACH_DAY: Final = 48  # rows a day that a fit sees


def denoise(window: FloatArray) -> FloatArray:
    """``window`` ``(C, n)``, oldest first, with the small detail coefficients shrunk to nothing; of the same shape."""
    import pywt

    coefficients = pywt.wavedec(window, WAVELET, mode="symmetric", level=DEPTH, axis=-1)
    sd = np.median(np.abs(coefficients[-1]), axis=-1, keepdims=True) / 0.6745
    bound = sd * np.sqrt(2.0 * np.log(window.shape[-1]))
    shrunk = [coefficients[0]] + [np.sign(part) * np.maximum(np.abs(part) - bound, 0.0) for part in coefficients[1:]]
    out: FloatArray = pywt.waverec(shrunk, WAVELET, mode="symmetric", axis=-1)[:, : window.shape[-1]]
    return out


def dense_knots(steps_per_day: int) -> IntArray:
    """Horizons at which a direct model is fitted: some within the first hour, then every hour of a day, so that its course is kept."""
    hours = np.array([1 / 12, 1 / 6, 1 / 4, 1 / 2, *range(1, 25)])
    return np.unique(np.maximum(1, np.rint(hours * steps_per_day / 24)).astype(np.int64))


def interpolate(values: FloatArray, knots: IntArray, horizons: IntArray) -> FloatArray:
    """``values`` ``(K, C)`` at ``knots`` to ``(n, C)`` at ``horizons``, linear; constant beyond the last knot."""
    at = np.clip(np.searchsorted(knots, horizons, side="right") - 1, 0, len(knots) - 2)
    share = np.clip((horizons - knots[at]) / (knots[at + 1] - knots[at]), 0.0, 1.0)[:, None]
    out: FloatArray = values[at] + share * (values[at + 1] - values[at])
    return out


def same_time(prices: FloatArray, horizons: IntArray, day: int) -> FloatArray:
    """``(2, n, C)`` minus the last of ``prices`` ``(T, C)``: the price at each horizon's time of day yesterday, and its mean over 7 days.

    ``horizons`` are within a day. Where history is too short its first price stands in.
    """
    newest = len(prices) - 1
    days = np.arange(1, 8)[:, None] * day
    at = np.maximum(newest - days + horizons, 0)
    rows = prices[at] - prices[newest]
    return np.stack([rows[0], rows.mean(axis=0)])


def robust_ridge(x: FloatArray, y: FloatArray, ridge: float) -> FloatArray:
    """Coefficients ``(P,)`` of ``y`` ``(N,)`` on ``x`` ``(N, P)``, near those of least absolute errors: reweighted least squares.

    Errors beyond half their median weigh as in a sum of absolute values (Huber 1964): forecasts are judged by those, and prices spike.
    """
    weight, out = np.ones(len(y)), np.zeros(x.shape[1])
    for _ in range(4):
        gram = (x * weight[:, None]).T @ x
        gram[np.diag_indices_from(gram)] += ridge * weight.mean()
        out = np.asarray(np.linalg.solve(gram, (x * weight[:, None]).T @ y), dtype=np.float64)
        error = np.abs(y - x @ out)
        knee = 0.5 * np.median(error)
        if knee <= 0.0:
            break
        weight = knee / np.maximum(error, knee)
    return out


def _held_out_share(x: FloatArray, y: FloatArray, scale: FloatArray, ridge: float, split: int, gap: int) -> float:
    """What share of the predicted change to believe: the best on the rows from ``split`` on, of a fit to those ``gap`` before it."""
    if split - gap < 2 * x.shape[1]:
        return 0.0
    predicted = x[split:] @ robust_ridge(x[: split - gap], y[: split - gap], ridge)
    losses = [float(np.mean(np.abs(y[split:] - share * predicted) * scale[split:])) for share in SHARES]
    best = min(losses)
    # Less is believed where more would hardly be better.
    return next(share for share, loss in zip(SHARES, losses, strict=True) if loss <= best + 0.01 * losses[0])


class RidgeModel(NamedTuple):
    """Coefficients ``(K, P, C)`` for P regressors over their root mean squares ``size`` ``(K, P, C)``."""

    coefficients: FloatArray
    size: FloatArray


class _Data(NamedTuple):
    regressors: FloatArray  # (N, P - 2, C), price units
    season: FloatArray  # (N, K, 2, C) the two regressors of same_time
    scale: FloatArray  # (N, C)
    prices: FloatArray  # (T, C) the N rows are those at ``at``
    at: IntArray  # (N,)
    knots: IntArray  # (K,)
    ridge: float


class WaveletRidge(FittedForecaster):
    """Direct multi-horizon ridge regression on wavelet-denoised prices; see the module.

    ``ridge`` is the penalty in rows of each regressor's mean square.
    Raises :class:`~gridpilot.errors.MissingExtraError` without PyWavelets.
    """

    name = "wavelet"

    def __init__(
        self,
        channels: tuple[str, ...] = CHANNELS,
        steps_per_day: int = 288,
        *,
        refit_hours: float = 12.0,
        minimum_days: float = 3.0,
        history_days: float = 28.0,
        ridge: float = 30.0,
    ) -> None:
        super().__init__(channels, steps_per_day, refit_hours=refit_hours, minimum_days=minimum_days, history_days=history_days)
        try:
            import pywt  # noqa: F401 - a missing one must show at construction
        except ImportError as error:
            raise MissingExtraError("the wavelet forecaster", "forecast") from error
        if not ridge > 0.0:
            raise ForecastError(f"wavelet: ridge is {ridge!r}, expected a number above 0")
        self.ridge = float(ridge)
        self._knots = dense_knots(steps_per_day)
        self._lags = np.unique(
            np.maximum(1, np.rint(np.array([1 / 12, 1 / 4, 1 / 2, 1, 2, 3, 6, 12]) * steps_per_day / 24)).astype(int)
        )
        self._lags = self._lags[self._lags < WINDOW]
        self._each = max(1, steps_per_day // EACH_DAY)

    def _begin(self) -> None:
        count = len(self.channels)
        kept = round(self.history_days * self.steps_per_day / self._each)
        width = 1 + 2 * len(self._lags) + 9  # the denoised price, it and the price at the lags, clock
        self._rows = 0
        self._regressors = PriceHistory(width * count, kept)
        self._seasons = PriceHistory(len(self._knots) * 2 * count, kept)
        self._scales = PriceHistory(count, kept)

    def _observe(self, step: int, prices: FloatArray) -> None:
        self._now = self._regress(step)
        self._season = same_time(self._history.last(8 * self.steps_per_day), self._knots, self.steps_per_day)
        if self._rows % self._each == 0:
            self._regressors.append(self._now.reshape(-1))
            self._seasons.append(self._season.transpose(1, 0, 2).reshape(-1))
            self._scales.append(self._scale.value)
        self._rows += 1

    def _regress(self, step: int) -> FloatArray:
        """``(P - 2, C)`` regressors at the newest row, in the price's units and relative to it."""
        recent = self._history.last(WINDOW)
        newest = recent[-1]
        window = np.empty((len(newest), WINDOW))
        window[:, WINDOW - len(recent) :] = (recent - newest).T
        window[:, : WINDOW - len(recent)] = window[:, WINDOW - len(recent) : WINDOW - len(recent) + 1]
        smooth = denoise(window)
        day = 2.0 * np.pi * (step % self.steps_per_day) / self.steps_per_day
        week = 2.0 * np.pi * (step % (7 * self.steps_per_day)) / (7 * self.steps_per_day)
        angles = np.array([day, 2.0 * day, 3.0 * day, week])
        clock = np.concatenate([np.sin(angles), np.cos(angles), [1.0]])
        back = WINDOW - 1 - self._lags
        # The clock's regressors are in price units like the others: all are divided by the running scale in a fit.
        level = np.maximum(np.abs(self._history.last(self.steps_per_day)).mean(axis=0), 1e-12)
        return np.concatenate([smooth[:, -1:].T, smooth[:, back].T, window[:, back].T, clock[:, None] * level])

    def _data(self) -> _Data:
        kept, count = len(self._regressors), len(self.channels)
        newest = len(self._history) - 1 - (self._rows - 1) % self._each
        at = newest - self._each * np.arange(kept)[::-1]
        inside = at >= 0
        return _Data(
            self._regressors.last(kept).reshape(kept, -1, count)[inside].copy(),
            self._seasons.last(kept).reshape(kept, len(self._knots), 2, count)[inside].copy(),
            self._scales.last(kept)[inside].copy(),
            self._history.last(self._history.length).copy(),
            at[inside],
            self._knots,
            self.ridge,
        )

    @staticmethod
    def _model_of(data: _Data) -> RidgeModel:
        _, width, channels = data.regressors.shape
        coefficients = np.zeros((len(data.knots), width + 2, channels))
        size = np.ones_like(coefficients)
        for k, horizon in enumerate(data.knots.tolist()):
            known = int(np.searchsorted(data.at, len(data.prices) - horizon))  # rows whose outcome has come
            if known < EACH_DAY:
                continue
            for c in range(channels):
                scale = data.scale[:known, c]
                y = (data.prices[data.at[:known] + horizon, c] - data.prices[data.at[:known], c]) / scale
                x = np.concatenate([data.regressors[:known, :, c], data.season[:known, k, :, c]], axis=1) / scale[:, None]
                bound = WIDEST * np.sqrt(horizon)
                y, x = np.clip(y, -bound, bound), np.clip(x, -1e4, 1e4)
                rms = np.sqrt(np.mean(x * x, axis=0))
                rms[rms <= 0.0] = 1.0
                x = x / rms
                gap = min(known // 8, horizon // max(1, int(data.at[1] - data.at[0])))
                share = _held_out_share(x, y, scale, data.ridge, known - known // 4, gap)
                if share > 0.0:
                    coefficients[k, :, c] = share * robust_ridge(x, y, data.ridge)
                size[k, :, c] = rms
        return RidgeModel(coefficients, size)

    def _path(self, model: RidgeModel, horizons: IntArray) -> FloatArray:
        scale = self._scale.value
        common = np.broadcast_to(self._now, (len(self._knots), *self._now.shape))
        x = np.clip(np.concatenate([common, self._season.transpose(1, 0, 2)], axis=1) / scale, -1e4, 1e4) / model.size
        change = np.einsum("kpc,kpc->kc", x, model.coefficients)
        bound = WIDEST * np.sqrt(self._knots)[:, None]
        return self._last + interpolate(np.clip(change, -bound, bound) * scale, self._knots, horizons)
