"""GARCH(1,1) with Student-t innovations as the scale of a band around the last price; reusable as the scale of others.

    h' = omega + alpha e^2 + beta h,   e the change of the price in a step                          Bollerslev (1986, 1987)

Parameters are fitted by arch now and then, the recursion runs with every row. The variance of the change in n steps is the sum of the
expected variances, n v + (h' - v)(1 - r^n)/(1 - r), with r = alpha + beta and v = omega/(1 - r). Fits to electricity prices like to end
at r = 1, where v is infinite: r is capped, omega follows from the variance of the sample, and h is clamped.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import CHANNELS
from gridpilot.forecasting.fitted import FittedForecaster
from gridpilot.market.compilation import kernel

__all__ = ["Garch", "GarchParameters", "change_variance", "fit_garch", "run_garch"]

FloatArray = npt.NDArray[np.float64]

PERSISTENCE: Final = 0.995  # greatest alpha + beta
CLAMP: Final = (1e-3, 400.0)  # of h, in units of the unconditional variance
LONGEST_FIT: Final = 6000  # changes; more of them cost time and change little


class GarchParameters(NamedTuple):
    """Of one channel; variances are those of a step's change, price units squared."""

    omega: float
    alpha: float
    beta: float
    nu: float  # degrees of freedom; not used by the recursion

    @property
    def variance(self) -> float:
        """The unconditional variance of a step's change."""
        return self.omega / (1.0 - self.alpha - self.beta)


@kernel
def run_garch(changes, h, omega, alpha, beta, low, high):  # type: ignore[no-untyped-def]
    """The variance expected of the next change after ``changes`` ``(n,)``, ``h`` being that of the first of them."""
    for e in changes:
        h = min(max(omega + alpha * e * e + beta * h, low), high)
    return h


def change_variance(parameters: GarchParameters, h: float, horizons: FloatArray) -> FloatArray:
    """Variance of the price's change in each of ``horizons`` steps, ``h`` being expected of the next one's."""
    r, v = parameters.alpha + parameters.beta, parameters.variance
    out: FloatArray = horizons * v + (h - v) * (1.0 - r**horizons) / (1.0 - r)
    return out


def fit_garch(changes: FloatArray) -> GarchParameters:
    """Fit by maximum likelihood to ``changes`` ``(n,)`` of a price.

    Raises :class:`~gridpilot.errors.ForecastError` where the optimiser did not converge. A price that (almost) never moved has a constant
    variance, that of its largest move.
    """
    from arch import arch_model

    changes = changes[-LONGEST_FIT:]
    unit = float(np.sqrt(np.mean(changes**2)))
    if unit <= 0.0 or not np.isfinite(unit) or np.count_nonzero(changes) < 50:
        return GarchParameters(max(unit * unit, 1e-24), 0.0, 0.0, 100.0)
    # One spike must not set the scale on which the optimiser works; nor must it decide the fit.
    robust = float(np.mean(np.minimum(np.abs(changes), 5.0 * np.mean(np.abs(changes))))) * 1.25
    z = np.clip(changes / robust, -50.0, 50.0)
    fit = arch_model(z, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(disp="off", show_warning=False)
    alpha, beta, nu = (float(fit.params[key]) for key in ("alpha[1]", "beta[1]", "nu"))
    if fit.convergence_flag != 0 or not np.isfinite([alpha, beta, nu]).all():
        raise ForecastError(f"garch: arch did not converge (flag {fit.convergence_flag}: {fit.optimization_result.message})")
    total = alpha + beta
    if total > PERSISTENCE:
        alpha, beta = alpha * PERSISTENCE / total, beta * PERSISTENCE / total
    return GarchParameters(float(np.mean(z**2)) * robust**2 * (1.0 - alpha - beta), alpha, beta, nu)


class Garch(FittedForecaster):
    """Persistence with a band whose width follows a GARCH(1,1)-t variance; the band's shape by horizon is that of past errors."""

    name = "garch"

    def __init__(
        self,
        channels: tuple[str, ...] = CHANNELS,
        steps_per_day: int = 288,
        *,
        refit_hours: float = 24.0,
        minimum_days: float = 2.0,
        history_days: float = 21.0,
    ) -> None:
        super().__init__(channels, steps_per_day, refit_hours=refit_hours, minimum_days=minimum_days, history_days=history_days)
        try:
            import arch  # noqa: F401 - a missing one must show at construction, not at the first fit
        except ImportError as error:  # a core dependency, so there is no extra to name
            raise ForecastError("garch: the package arch cannot be imported, expected arch >= 8") from error

    def variance(self, horizons: npt.ArrayLike) -> FloatArray | None:
        """Variance ``(n, C)`` of the prices' change in ``horizons`` ``(n,)`` steps from now; None before the first fit."""
        model = self.model
        steps = np.asarray(horizons, dtype=np.float64)
        return None if model is None else self._variance(model, steps)

    def _begin(self) -> None:
        self._tracked: Any = None  # the model whose recursion _h is
        self._h = np.zeros(len(self.channels))

    def _observe(self, step: int, prices: FloatArray) -> None:
        model = self.model
        if model is None:
            return
        self._h = self._advance(model, self._h, self._history.last(2)) if model is self._tracked else self._replay(model)
        self._tracked = model

    def _advance(self, model: tuple[GarchParameters, ...], h: FloatArray, prices: FloatArray) -> FloatArray:
        changes = np.diff(prices, axis=0)
        out = np.empty(len(model))
        for c, p in enumerate(model):
            low, high = CLAMP[0] * p.variance, CLAMP[1] * p.variance
            out[c] = run_garch(np.ascontiguousarray(changes[:, c]), h[c], p.omega, p.alpha, p.beta, low, high)
        return out

    def _replay(self, model: tuple[GarchParameters, ...]) -> FloatArray:
        return self._advance(model, np.array([p.variance for p in model]), self._history.last(self._history.length))

    def _variance(self, model: tuple[GarchParameters, ...], horizons: FloatArray) -> FloatArray:
        # A model that was installed since the last row has not been tracked yet.
        h = self._h if model is self._tracked else self._replay(model)
        return np.stack([change_variance(p, float(h[c]), horizons) for c, p in enumerate(model)], axis=1)

    def _data(self) -> FloatArray:
        return np.diff(self._history.last(self._history.length), axis=0)

    @staticmethod
    def _model_of(data: FloatArray) -> tuple[GarchParameters, ...]:
        return tuple(fit_garch(np.ascontiguousarray(data[:, c])) for c in range(data.shape[1]))

    def _path(self, model: Any, horizons: npt.NDArray[np.int64]) -> FloatArray:
        return np.broadcast_to(self._last, (len(horizons), len(self._last))).copy()

    def _knot_scales(self, model: Any | None) -> FloatArray:
        if model is None:
            return super()._knot_scales(model)
        knots = self._band.knots.astype(np.float64)
        # Per step, as the running scale is: errors from before and after the first fit share one band.
        out: FloatArray = np.sqrt(self._variance(model, knots) / knots[:, None]) + 1e-6 * np.abs(self._last) + 1e-12
        return out
