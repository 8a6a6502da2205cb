"""Gaussian process with a daily periodic and a Matern kernel on a thinned week, by scikit-learn.

The kernel is stationary and the inputs lie at fixed lags behind the last row, so that for given hyperparameters the posterior mean is a
fixed linear filter of the recent prices (Rasmussen and Williams 2006, equation 2.25): its weights are computed with a fit, and a forecast
is one product of matrix and vector. The posterior variance then depends on nothing but the horizon, which is why the band is made of past
errors on a running scale instead. Prices enter on an asinh scale about the week's median.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MissingExtraError
from gridpilot.forecasting.base import CHANNELS
from gridpilot.forecasting.fitted import FittedForecaster
from gridpilot.forecasting.wavelet import dense_knots, interpolate

__all__ = ["WIDEST", "GaussianProcess", "input_lags", "standardise"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DAYS: Final = 7  # of inputs
WIDEST: Final = 40.0  # on the asinh scale: beyond any price, and its sinh is finite
FINE_POINTS: Final = 60  # last steps the hyperparameters are fitted to, beside every hour


class _Data(NamedTuple):
    prices: FloatArray  # (T, C)
    lags: IntArray  # (L,)
    knots: IntArray  # (K,)
    day: int  # steps


class _Model(NamedTuple):
    weights: FloatArray  # (C, K, L) of the prices' asinh at the lags
    kernels: tuple[str, ...]  # (C,) as scikit-learn writes them


def input_lags(steps_per_day: int) -> IntArray:
    """Lags ``(L,)`` of the inputs, increasing from 0: the last steps, then every half hour of a day, every hour of a week."""
    hours = np.concatenate([np.arange(0.0, 24.0, 0.5), np.arange(24.0, 24.0 * DAYS)])
    steps = np.concatenate([[0, 1, 2, 3], np.rint(hours * steps_per_day / 24)]).astype(np.int64)
    return np.unique(steps)


def standardise(prices: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """asinh((p - centre) / unit) ``(T, C)``, and centre and unit ``(C,)``: linear for ordinary prices, logarithmic for spikes."""
    centre = np.median(prices, axis=0)
    distance = np.abs(prices - centre)
    unit = np.maximum(1.5 * np.median(distance, axis=0), 0.1 * distance.mean(axis=0))
    unit = np.maximum(unit, 1e-9 * np.abs(centre) + 1e-12)
    return np.arcsinh((prices - centre) / unit), centre, unit


class GaussianProcess(FittedForecaster):
    """Gaussian process; see the module. Raises :class:`~gridpilot.errors.MissingExtraError` without scikit-learn."""

    name = "gaussian_process"

    def __init__(
        self,
        channels: tuple[str, ...] = CHANNELS,
        steps_per_day: int = 288,
        *,
        refit_hours: float = 96.0,
        minimum_days: float = 3.0,
        history_days: float = 8.0,
    ) -> None:
        super().__init__(channels, steps_per_day, refit_hours=refit_hours, minimum_days=minimum_days, history_days=history_days)
        try:
            import sklearn.gaussian_process  # noqa: F401 - a missing one must show at construction
        except ImportError as error:
            raise MissingExtraError("the gaussian_process forecaster", "forecast") from error
        self._lags = input_lags(steps_per_day)
        self._knots = dense_knots(steps_per_day)

    def _data(self) -> _Data:
        return _Data(self._history.last(self._history.length).copy(), self._lags, self._knots, self.steps_per_day)

    @staticmethod
    def _model_of(data: _Data) -> _Model:
        z = standardise(data.prices[-DAYS * data.day :])[0]
        weights = np.empty((z.shape[1], len(data.knots), len(data.lags)))
        kernels = []
        for c in range(z.shape[1]):
            kernel = _fit_kernel(z[:, c], data.day)
            kernels.append(str(kernel))
            then, ahead = -data.lags[:, None] * 24.0 / data.day, data.knots[:, None] * 24.0 / data.day
            # The white part is in the kernel of the inputs with themselves, not in that of inputs with targets.
            weights[c] = np.linalg.solve(kernel(then), kernel(then, ahead)).T
        return _Model(weights, tuple(kernels))

    def _path(self, model: _Model, horizons: IntArray) -> FloatArray:
        recent = self._history.last(DAYS * self.steps_per_day)
        z, centre, unit = standardise(recent)
        inputs = z[np.maximum(len(z) - 1 - self._lags, 0)]
        mean = np.einsum("ckl,lc->kc", model.weights, inputs)
        return interpolate(centre + unit * np.sinh(np.clip(mean, -WIDEST, WIDEST)), self._knots, horizons)


def _fit_kernel(z: FloatArray, day: int) -> Any:
    """The fitted kernel of time in hours."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, ExpSineSquared, Matern, WhiteKernel
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn's own dependency

    daily = ConstantKernel(0.5, (1e-3, 10.0)) * ExpSineSquared(1.0, 24.0, (0.3, 5.0), "fixed") * RBF(24.0 * DAYS, "fixed")
    rough = ConstantKernel(0.5, (1e-3, 10.0)) * Matern(12.0, (0.2, 500.0), nu=0.5)
    kernel = daily + rough + WhiteKernel(0.02, (1e-4, 1.0))
    hour = max(1, day // 24)
    # Every hour of the week for the season, every step of the last hours for what happens within one.
    lags = np.union1d(np.arange(0, len(z), hour), np.arange(min(len(z), FINE_POINTS)))
    points, time = z[len(z) - 1 - lags], -lags[:, None] * 24.0 / day
    # More threads only get in each other's way at this size: measured, twelve times the CPU time on a busy machine.
    with threadpool_limits(1), warnings.catch_warnings():
        # A hyperparameter at its bound is an answer: a price without a season, or without noise.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=_few_steps).fit(time, points).kernel_


def _few_steps(loss: Callable[..., Any], start: FloatArray, bounds: FloatArray) -> tuple[FloatArray, float]:
    """Scikit-learn's own optimiser, stopped early: what the last digits of hyperparameters cost, no forecast gets back."""
    from scipy.optimize import minimize

    found = minimize(loss, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 12, "maxfun": 20})
    return found.x, float(found.fun)
