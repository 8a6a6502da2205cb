"""GARCH, GJR and EGARCH prices with Student-t innovations: their parameters, and the model that simulates them.

Each price has a deviation x from its norm which reverts to it, a slow and a transient part driven by one innovation,

    slow' = phi_slow slow + (1 - w) e',   fast' = phi_fast fast + w e',   x = slow + fast,   e = sqrt(h) eta

(an ARMA(2, 1); w = 0 is an AR(1)), with one of the conditional variances

    GARCH(1,1)  h' = omega + alpha e^2 + beta h                                     Bollerslev (1986)
    GJR         h' = omega + (alpha + gamma 1[e < 0]) e^2 + beta h                  Glosten, Jagannathan and Runkle (1993)
    EGARCH      ln h' = omega + alpha (|eta| - E|eta|) + gamma eta + beta ln h      Nelson (1991)

clamped to ``sd_bounds`` and stationary by construction (persistence < 1; omega follows from the unconditional sd).

Energy: y = location + spread x on an asinh scale, with profiles by hour of the day and weekday or weekend, interpolated between the
middles of the hours; the price is a monotone map of y: centre + scale sinh(y), or through the knots of ``marginal``, which a calibration
chooses so that the simulated distribution of prices is that of the data (Cario and Nelson 1996, "autoregressive to anything").
Products: level exp(x), so that log returns are GARCH-t; phi_slow close to 1 keeps long paths near their level.

The three prices are correlated by a Gaussian copula: ``correlation`` is that of the standard normal scores z of which the innovations are
eta = F^-1(Phi(z)), F the standardised Student-t of the price's own nu. (The linear correlation of the innovations is a little smaller.)
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gridpilot.configuration import validate
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_HOUR
from gridpilot.prices.base import SERIAL_BELOW, FloatArray, IntArray, PriceModel, check_request
from gridpilot.prices.kernels import KIND, SCORE_STEP, GarchArrays, simulate_parallel, simulate_serial, walk_states

__all__ = ["Dynamics", "EnergyConfig", "GarchConfig", "GarchPrices", "Marginal", "ProductConfig", "Profile", "student_quantiles"]

Dynamics = Literal["garch_t", "gjr_t", "egarch_t"]
Hours = Annotated[list[float], Field(min_length=24, max_length=24)]

# Of the stationary distribution. The clamp takes its time: the variance of a daily series forgets in a month, 8640 ticks.
_CHAINS, _DRAWS, _BURN_IN, _THINNING = 128, 32, 12288, 256
_TABLE = 2048  # knots of the energy map
_GREATEST_SCORE = 9.0  # beyond it lie 1e-19 of the normal distribution


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Profile(_Strict):
    """24 values by hour of the day, for Monday to Friday and for the weekend; they hold at the middles of the hours."""

    weekday: Hours
    weekend: Hours

    def by_tick(self) -> FloatArray:
        """The profile at every tick of the week, (2016,), interpolated linearly between the middles of the hours."""
        hours = np.array([*self.weekday * 5, *self.weekend * 2])
        middle = (np.arange(-1, 169) + 0.5) * TICKS_PER_HOUR
        tick = np.arange(7 * TICKS_PER_DAY) + 0.5
        return np.asarray(np.interp(tick, middle, np.r_[hours[-1], hours, hours[0]]))


class Marginal(_Strict):
    """A monotone map from the asinh scale to $/kWh, linear on the asinh scale between knots, constant beyond the outermost."""

    y: Annotated[list[float], Field(min_length=2)]  # increasing
    price: Annotated[list[float], Field(min_length=2)]  # $/kWh, non-decreasing

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        if len(self.y) != len(self.price):
            raise ValueError(f"marginal has {len(self.y)} y and {len(self.price)} prices, expected as many of one as of the other")
        if (np.diff(self.y) <= 0.0).any() or (np.diff(self.price) < 0.0).any():
            raise ValueError("marginal: y must increase and price must not decrease")
        return self


class DeviationConfig(_Strict):
    """The deviation of one price from its norm, by tick of five minutes."""

    dynamics: Dynamics | None = None  # of the variance; that of the whole model if left out
    phi_slow: Annotated[float, Field(ge=0.0, lt=1.0)]
    phi_fast: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    transient: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0  # w above
    sd: Annotated[float, Field(ge=0.0)]  # unconditional sd of an innovation; the clamp takes a little off it
    alpha: float
    gamma: float = 0.0
    beta: Annotated[float, Field(ge=0.0, lt=1.0)]
    nu: Annotated[float, Field(gt=2.05)]  # degrees of freedom; 1e6 and more is the normal distribution
    sd_bounds: tuple[float, float] = (0.05, 20.0)  # of the conditional sd, in units of ``sd``

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if not 0.0 < self.sd_bounds[0] <= 1.0 <= self.sd_bounds[1]:
            raise ValueError(f"sd_bounds are {self.sd_bounds}, expected 0 < lower <= 1 <= upper")
        return self

    def check(self, name: str, dynamics: Dynamics) -> None:
        """Raise ValueError where the variance under ``dynamics`` is negative or not stationary."""
        if dynamics == "egarch_t":
            return  # beta < 1 is all it needs
        if self.alpha < 0.0 or self.alpha + self.gamma < 0.0:
            raise ValueError(f"{name}: alpha {self.alpha} and alpha + gamma {self.alpha + self.gamma} must be >= 0")
        if dynamics == "garch_t" and self.gamma != 0.0:
            raise ValueError(f"{name}: gamma is {self.gamma}, but garch_t has none; use gjr_t")
        if self.alpha + 0.5 * self.gamma + self.beta >= 1.0:
            raise ValueError(
                f"{name}: persistence alpha + gamma/2 + beta is {self.alpha + 0.5 * self.gamma + self.beta:.6g}, expected less than 1"
            )


class EnergyConfig(DeviationConfig):
    """The energy price, $/kWh."""

    centre: float  # $/kWh
    scale: Annotated[float, Field(gt=0.0)]  # $/kWh
    location: Profile  # asinh units
    spread: Profile  # asinh units per unit of deviation, > 0
    marginal: Marginal | None = None
    floor: float = -1.0  # $/kWh
    cap: float = 5.0  # $/kWh

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if min(*self.spread.weekday, *self.spread.weekend) <= 0.0:
            raise ValueError("energy: every value of spread must be above 0")
        if not self.floor < self.cap:
            raise ValueError(f"energy: floor is {self.floor} and cap {self.cap}, expected floor < cap")
        return self

    def map(self) -> tuple[float, float, FloatArray]:
        """First knot, distance of knots, and $/kWh at the knots, of the map from the asinh scale to the price."""
        limits = np.arcsinh((np.array([self.floor, self.cap]) - self.centre) / self.scale)
        if self.marginal is None:
            y = np.linspace(limits[0], limits[1], _TABLE)
            price = np.sinh(y)
        else:
            knots = np.array(self.marginal.y)
            y = np.linspace(knots[0], knots[-1], _TABLE)
            price = np.sinh(np.interp(y, knots, np.arcsinh((np.array(self.marginal.price) - self.centre) / self.scale)))
        return float(y[0]), float(y[1] - y[0]), np.clip(self.centre + self.scale * price, self.floor, self.cap)


class ProductConfig(DeviationConfig):
    """A product's price: ``level`` times the exponential of a deviation."""

    level: Annotated[float, Field(gt=0.0)]  # $ per PH/s h or $ per million tokens


class CorrelationConfig(_Strict):
    """Correlations of the normal scores of the innovations."""

    energy_hash: Annotated[float, Field(gt=-1.0, lt=1.0)] = 0.0
    energy_token: Annotated[float, Field(gt=-1.0, lt=1.0)] = 0.0
    hash_token: Annotated[float, Field(gt=-1.0, lt=1.0)] = 0.0

    def cholesky(self) -> FloatArray:
        """Lower factor, (3, 3). Raises ValueError where the three correlations contradict each other."""
        a, b, c = self.energy_hash, self.energy_token, self.hash_token
        try:
            return np.linalg.cholesky(np.array([[1.0, a, b], [a, 1.0, c], [b, c, 1.0]]))
        except np.linalg.LinAlgError:
            raise ValueError(
                f"correlations {a}, {b} and {c} contradict each other: their matrix is not positive definite"
            ) from None


class GarchConfig(_Strict):
    """What :class:`GarchPrices` takes."""

    dynamics: Dynamics = "garch_t"  # of the prices that name none of their own
    energy: EnergyConfig
    hash: ProductConfig
    token: ProductConfig
    correlation: CorrelationConfig = CorrelationConfig()
    weekday: Annotated[int, Field(ge=0, le=6)] | None = None  # on which episodes start, Monday = 0; None draws one
    calibration: dict[str, Any] = {}  # what a calibration notes about itself; not read

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.correlation.cholesky()
        for name, part in self.parts():
            part.check(name, part.dynamics or self.dynamics)
        return self

    def parts(self) -> list[tuple[str, DeviationConfig]]:
        """The three deviations by name, in the order of the channels."""
        return [("energy", self.energy), ("hash", self.hash), ("token", self.token)]


def student_quantiles(nu: float) -> FloatArray:
    """The standardised Student-t innovation (variance 1) at normal scores 0, 1/64, ..., 9: ``(577,)``. It is odd, so this is enough."""
    from scipy.special import ndtr, stdtrit  # imported late: it takes as long as the rest of this package

    scores = np.arange(0.0, _GREATEST_SCORE + SCORE_STEP / 2, SCORE_STEP)
    if nu >= 1e6:
        return scores
    quantiles = -stdtrit(nu, ndtr(-scores)) * math.sqrt((nu - 2.0) / nu)
    quantiles[0] = 0.0
    return np.asarray(quantiles, dtype=np.float64)


def _mean_size(quantile: FloatArray) -> float:
    """E|eta| by the trapezoid rule over the normal density."""
    scores = np.arange(len(quantile)) * SCORE_STEP
    return float(2.0 * np.sum(quantile * np.exp(-0.5 * scores**2)) / math.sqrt(2.0 * math.pi) * SCORE_STEP)


def stationary_factor(phi_slow: float, phi_fast: float, transient: float) -> float:
    """Variance of the deviation over that of its innovations."""
    slow, fast = 1.0 - transient, transient
    cross = 2.0 * slow * fast / (1.0 - phi_slow * phi_fast)
    return slow * slow / (1.0 - phi_slow**2) + cross + fast * fast / (1.0 - phi_fast**2)


class GarchPrices(PriceModel):
    """Simulates a :class:`GarchConfig`, whose fields are the ``parameters``.

    The stationary distribution from which paths start is a table of 4096 states, run up on first use from fixed seeds. Raises
    :class:`~gridpilot.errors.ConfigError` for parameters that are missing, unknown or out of range, naming each.
    """

    def __init__(self, **parameters: Any) -> None:
        self.config = validate(GarchConfig, parameters, "prices")
        self._arrays: GarchArrays | None = None

    @property
    def arrays(self) -> GarchArrays:
        """What the kernels read."""
        if self._arrays is None:
            self._arrays = _stationary(_pack(self.config), self.config)
        return self._arrays

    def replace_map(self, start: float, step: float, table: FloatArray) -> None:
        """Use another map from the asinh scale to the energy price: its first knot, their distance, and the price at each."""
        self._arrays = self.arrays._replace(table_start=start, table_step=step, table=table)

    def simulate(self, root: int, episodes: npt.ArrayLike, ticks: int, *, history: int = 0) -> tuple[FloatArray, IntArray]:
        """Draw price paths; see :class:`~gridpilot.prices.base.PriceModel`."""
        seed, numbers, ticks, history = check_request(root, episodes, ticks, history)
        prices = np.empty((history + ticks, len(numbers), 3))
        start = np.empty(len(numbers), dtype=np.int64)
        weekday = -1 if self.config.weekday is None else self.config.weekday
        run = simulate_serial if len(numbers) < SERIAL_BELOW else simulate_parallel
        run(self.arrays, seed, numbers, history, weekday, prices, start)
        return prices, start


def _pack(config: GarchConfig) -> GarchArrays:
    quantile = np.array([student_quantiles(part.nu) for _, part in config.parts()])
    table_start, table_step, table = config.energy.map()
    return GarchArrays(
        process=np.array(
            [_process(part, part.dynamics or config.dynamics, row) for (_, part), row in zip(config.parts(), quantile, strict=True)]
        ),
        cholesky=np.ascontiguousarray(config.correlation.cholesky()),
        quantile=quantile,
        season=np.ascontiguousarray(np.stack([config.energy.location.by_tick(), config.energy.spread.by_tick()], axis=1)),
        table_start=table_start,
        table_step=table_step,
        table=table,
        level=np.array([config.hash.level, config.token.level]),
        states=np.zeros((1, 9)),
    )


def _process(part: DeviationConfig, dynamics: Dynamics, quantile: FloatArray) -> list[float]:
    """One row of :attr:`GarchArrays.process`."""
    variance = max(part.sd**2, 1e-300)
    low, high = variance * part.sd_bounds[0] ** 2, variance * part.sd_bounds[1] ** 2
    if dynamics == "egarch_t":
        kind, omega = 1.0, math.log(variance) * (1.0 - part.beta)
        low, high = math.log(low), math.log(high)
    else:
        kind, omega = 0.0, variance * (1.0 - part.alpha - 0.5 * part.gamma - part.beta)
    shape = [kind, omega, part.alpha, part.gamma, part.beta, _mean_size(quantile), low, high]
    return [*shape, part.phi_slow, part.phi_fast, part.transient]


def _stationary(arrays: GarchArrays, config: GarchConfig) -> GarchArrays:
    """Fill ``states``: chains that start from normal deviations of the right variance are run until the variance has settled."""
    generator = np.random.Generator(np.random.SFC64(0))
    x = np.zeros((_CHAINS, 9))
    for k, (_, part) in enumerate(config.parts()):
        slow_sd = part.sd * (1.0 - part.transient) / math.sqrt(1.0 - part.phi_slow**2)
        x[:, 3 * k] = slow_sd * generator.standard_normal(_CHAINS)
        variance = max(part.sd**2, 1e-300)
        x[:, 3 * k + 2] = math.log(variance) if arrays.process[k, KIND] else variance
    states = np.empty((_CHAINS * _DRAWS, 9))
    walk_states(arrays, np.uint64(0), x, _BURN_IN, _THINNING, states)
    return arrays._replace(states=states)
