"""Fitting a GARCH price model to an evenly spaced series of any step of five minutes or more.

1. Energy is put on an asinh scale, its profile by hour and weekday or weekend is taken off, and the rest divided by its sd in that
   hour; a product is taken in logarithms.
2. The variogram of what is left gives a slow and a transient part (sum of two exponentials), at the series' own step of k ticks. For
   energy it is the mean of the variograms on the asinh scale and of the prices: spikes are shorter than the asinh scale alone has it.
3. The innovations of that ARMA(2, 1) are fitted by GARCH, GJR or EGARCH with Student-t innovations (package arch, maximum likelihood).
   Where persistence exceeds ``PERSISTENCE_CAP``, beta is lowered to the cap and nu fitted again to the innovations standardised so.
4. From k ticks to one: a deviation that keeps phi of itself after k ticks keeps phi^(1/k) after one, and the weights of the two parts
   are solved for so that each keeps its share of the variance: every k-th tick has the autocorrelation that was fitted. Persistence goes
   to its k-th root and alpha to alpha / sqrt(k), as in the diffusion limit of GARCH (Nelson 1990), under which the stationary
   distribution of the variance does not depend on the step.
5. Energy: the map from the asinh scale to prices goes through the quantiles of a long simulation and those of the data, so that
   sampled prices have the distribution of the data, spikes and negative prices included, and never leave its range; the profiles are
   corrected a few times until the simulated median and middle 80 % of each hour are those of the data. Products: the sd
   is corrected until simulated log returns at the series' step have the sd of the data, and where their 1 and 99 % quantiles then
   differ by more than a tenth, the nu is taken that brings them closest.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import CalibrationError
from gridpilot.prices.calibrate_series import RecordedSeries
from gridpilot.prices.garch import Dynamics

__all__ = [
    "DeviationFit",
    "EnergyShape",
    "TwoScales",
    "by_cell",
    "check_moves",
    "fit_deviation",
    "fit_energy_shape",
    "marginal_levels",
    "two_scales",
]

FloatArray = npt.NDArray[np.float64]

PERSISTENCE_CAP = 0.98
_LONGEST_MEMORY = 7 * 288  # ticks; slower moves of energy than a week are the season's
_LEAST_NU = 2.5
_LEAST_MOVES, _LEAST_MOVING = 20, 0.05  # rows that move, and their share


class TwoScales(NamedTuple):
    """Autocovariance share rho_slow^j + (1 - share) rho_fast^j at lags of j rows."""

    share: float  # of the slow part in the variance
    rho_slow: float
    rho_fast: float
    variance: float

    def after(self, ticks: int) -> TwoScales:
        """The same process by steps of a ``ticks``-th of a row."""
        fast = self.rho_fast ** (1.0 / ticks) if self.rho_fast > 0.0 else 0.0
        return TwoScales(self.share, self.rho_slow ** (1.0 / ticks), fast, self.variance)

    def transient(self) -> float:
        """Weight w of the fast part in an innovation that gives the slow part its share of the variance."""
        low, high = 0.0, 1.0
        for _ in range(60):
            w = 0.5 * (low + high)
            cross = (1.0 - w) * w / (1.0 - self.rho_slow * self.rho_fast)
            slow = (1.0 - w) ** 2 / (1.0 - self.rho_slow**2) + cross
            fast = w**2 / (1.0 - self.rho_fast**2) + cross
            low, high = (w, high) if slow / (slow + fast) > self.share else (low, w)
        return 0.5 * (low + high)


class DeviationFit(NamedTuple):
    """Parameters of a deviation by tick, as :class:`gridpilot.prices.garch.DeviationConfig` takes them, and what was seen on the way."""

    parameters: dict[str, Any]
    persistence: float  # as arch estimated it, at the series' own step
    notes: tuple[str, ...]


class EnergyShape(NamedTuple):
    """The asinh scale of an energy price, and its profiles by weekday or weekend (row) and hour of the day (column), (2, 24)."""

    centre: float
    scale: float
    middle: FloatArray  # median
    width: FloatArray  # between the 10th and the 90th percentile
    spread: FloatArray  # root mean square about the median
    deviation: FloatArray  # (n,) what is left: (z - middle) / spread
    excess: FloatArray  # (n,) price less the median of its hour, without the outermost thousandths


def fit_energy_shape(series: RecordedSeries) -> EnergyShape:
    """Centre, scale and profiles of an energy series. Hours of the weekend lean on those of the whole week where they are few.

    Raises :class:`~gridpilot.errors.CalibrationError` where hardly a row moves beyond its profile, as in a tariff.
    """
    price = series.values
    check_moves(price, float(np.abs(price).max()), series.source, "")
    low, centre, high = np.quantile(price, [0.25, 0.5, 0.75])
    scale = float(high - low) / 1.349
    if scale <= 1e-9 * np.abs(price).max():  # more than half of the prices are equal
        scale = float(price.std()) / 3.0
    z = np.arcsinh((price - centre) / scale)
    hour, weekend = (series.hour, series.weekend.astype(np.int64)) if series.clocked else (np.zeros_like(series.hour),) * 2
    cells = by_cell(z, hour, weekend)
    middle, width = cells[0], np.maximum(cells[1], 0.05 * np.ptp(np.quantile(z, [0.1, 0.9])))
    residual = z - middle[weekend, hour]
    check_moves(residual, float(np.abs(z).max()), series.source, "beyond its daily profile")
    total = float(np.mean(residual**2))
    days = max(1.0, len(z) * series.step / 288.0)
    prior = len(z) / 24.0 * min(1.0, 7.0 / days)
    count = np.bincount(24 * weekend + hour, minlength=48)
    squares = np.bincount(24 * weekend + hour, weights=residual**2, minlength=48)
    spread = np.sqrt((squares + prior * total) / (count + prior)).reshape(2, 24)
    excess = price - (centre + scale * np.sinh(middle[weekend, hour]))
    excess = np.clip(excess, *np.quantile(excess, [0.001, 0.999]))
    return EnergyShape(float(centre), scale, middle, width, spread, residual / spread[weekend, hour], excess)


def check_moves(x: FloatArray, size: float, source: str, beyond: str) -> None:
    """Refuse a series ``(n,)`` that stands still in nearly every row; a move of rounding's size, of values up to ``size``, is none.

    Raises :class:`~gridpilot.errors.CalibrationError`.
    """
    moves = int((np.abs(np.diff(x)) > 1e-9 * size).sum())
    if moves < max(_LEAST_MOVES, _LEAST_MOVING * len(x)):
        raise CalibrationError(
            f"{source}: moves {f'{beyond} ' if beyond else ''}in {moves} of {len(x)} rows, "
            "there is nothing to fit (a tariff, or a constant?)"
        )


def by_cell(z: FloatArray, hour: npt.NDArray[np.int64], weekend: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Median and distance of the 10th and 90th percentile of ``z`` in each hour of weekdays and weekends, two (2, 24).

    A cell counts with its own rows plus a twentieth of an hour's share of all rows that are like the whole hour, an empty hour is like
    the whole series.
    """
    middle, width = np.empty((2, 24)), np.empty((2, 24))
    prior = 0.05 * len(z) / 24.0
    for h in range(24):
        of_hour = hour == h
        common = np.quantile(z[of_hour] if of_hour.any() else z, [0.1, 0.5, 0.9])
        for w in range(2):
            cell = z[of_hour & (weekend == w)]
            own = np.quantile(cell, [0.1, 0.5, 0.9]) if len(cell) else common
            own = (len(cell) * own + prior * common) / (len(cell) + prior)
            middle[w, h], width[w, h] = own[1], own[2] - own[0]
    return middle, width


def two_scales(x: FloatArray, step: int, *, longest_memory: float = _LONGEST_MEMORY, also: FloatArray | None = None) -> TwoScales:
    """Fit the variogram of ``x`` (n,), rows ``step`` ticks apart, by two exponentials of at most ``longest_memory`` ticks.

    ``also`` (n,) is another scale of the same series; the mean of both variograms, in units of their variances, is fitted then.
    """
    from scipy.optimize import least_squares

    longest = max(4, min(len(x) // 4, round(2 * 288 / step) if step < 144 else 20))
    lags = np.unique(np.round(np.geomspace(1, longest, 30)).astype(np.int64))
    half = _half_variogram(x, lags)
    if also is not None:
        half = 0.5 * (half + _half_variogram(also, lags) * float(x.var() / also.var()))
    memory = max(2.0, longest_memory / step)

    def rho(log_time: float) -> float:
        return math.exp(-math.exp(-log_time))

    def residuals(p: FloatArray) -> Any:
        slow, fast = np.exp(p[:2])
        model = slow * (1.0 - rho(p[2]) ** lags) + fast * (1.0 - rho(p[3]) ** lags)
        return (model / half - 1.0) / lags**0.25  # the shortest lags are known best and matter most

    top = math.log(half.max()) + 3.0
    best = None
    for slow_time, fast_time in ((0.5 * memory, 0.7), (0.1 * memory, 2.0), (3.0, 0.3)):
        begin = [
            math.log(half[-1]),
            math.log(half[0]),
            math.log(min(max(slow_time, 1.2), 0.9 * memory)),
            math.log(min(fast_time, 0.4 * memory)),
        ]
        bounds = (
            [top - 40.0, top - 40.0, math.log(0.5), math.log(0.2)],
            [top + 5.0, top, math.log(memory), math.log(0.5 * memory)],
        )
        fit = least_squares(residuals, begin, bounds=bounds)
        best = fit if best is None or fit.cost < best.cost else best
    assert best is not None
    slow, fast = math.exp(best.x[0]), math.exp(best.x[1])
    rates = [rho(best.x[2]), rho(best.x[3])]
    if rates[1] > rates[0]:
        slow, fast, rates = fast, slow, rates[::-1]
    return TwoScales(slow / (slow + fast), rates[0], 0.0 if rates[1] < 0.02 else rates[1], slow + fast)


def _half_variogram(x: FloatArray, lags: npt.NDArray[np.int64]) -> FloatArray:
    return np.array([0.5 * np.mean((x[lag:] - x[:-lag]) ** 2) for lag in lags])


def innovations(x: FloatArray, scales: TwoScales, *, integrated: bool) -> FloatArray:
    """The innovations e of the ARMA(2, 1) whose values are ``x``; of its differences' where ``integrated`` (slow part a random walk)."""
    from scipy.signal import lfilter

    w, fast = scales.transient(), scales.rho_fast
    slow = 1.0 if integrated else scales.rho_slow
    moving = min((1.0 - w) * fast + w * slow, 0.995)
    e = lfilter([1.0, -(slow + fast), slow * fast], [1.0, -moving], x - (x[0] if integrated else 0.0))
    return np.asarray(e[1:], dtype=np.float64)


def fit_deviation(
    x: FloatArray,
    step: int,
    dynamics: Dynamics,
    source: str,
    *,
    product: bool = False,
    half_life_days: float = 0.0,
    also: FloatArray | None = None,
) -> DeviationFit:
    """Fit the deviation ``x`` (n,) of a series whose rows are ``step`` ticks apart; ``also`` as in :func:`two_scales`.

    A product's deviation keeps at least half of itself for no longer than ``half_life_days``. Raises
    :class:`~gridpilot.errors.CalibrationError` where there is nothing to fit.
    """
    memory = half_life_days * 288.0 / math.log(2.0) if product else float(_LONGEST_MEMORY)
    scales = two_scales(x, step, longest_memory=memory, also=also)
    # A product's level mostly wanders without return. Then the slow part's memory is at its bound, which is there for the sake of
    # simulated paths, and its innovations are those of a random walk.
    wanders = product and -step / math.log(scales.rho_slow) > 0.5 * memory
    e = innovations(x - x.mean(), scales, integrated=wanders)
    sd = float(e.std())
    if not sd > 0.0:
        raise CalibrationError(f"{source}: nothing moves beyond its profile, there is nothing to fit")
    fitted, persistence, notes = _garch(e / sd, dynamics, source)
    fine = scales.after(step)
    w = fine.transient()
    rate = fitted["beta"] if dynamics == "egarch_t" else fitted["alpha"] + 0.5 * fitted["gamma"] + fitted["beta"]
    fine_rate = rate ** (1.0 / step) if rate > 0.0 else 0.0
    alpha, gamma = fitted["alpha"] / math.sqrt(step), fitted["gamma"] / math.sqrt(step)
    beta = fine_rate if dynamics == "egarch_t" else fine_rate - alpha - 0.5 * gamma
    if beta < 0.0:
        alpha, gamma, beta = alpha * fine_rate / (fine_rate - beta), gamma * fine_rate / (fine_rate - beta), 0.0
    unit = TwoScales(fine.share, fine.rho_slow, fine.rho_fast, 1.0)
    parameters = {
        "dynamics": dynamics,
        "phi_slow": fine.rho_slow,
        "phi_fast": fine.rho_fast,
        "transient": w,
        "sd": sd / math.sqrt(step) if product else math.sqrt(scales.variance / _variance_factor(unit, w)),
        "alpha": alpha,
        "gamma": gamma,
        "beta": beta,
        "nu": fitted["nu"],
        "sd_bounds": fitted["sd_bounds"],
    }
    return DeviationFit(parameters, persistence, notes)


def _variance_factor(scales: TwoScales, w: float) -> float:
    cross = 2.0 * (1.0 - w) * w / (1.0 - scales.rho_slow * scales.rho_fast)
    return (1.0 - w) ** 2 / (1.0 - scales.rho_slow**2) + cross + w * w / (1.0 - scales.rho_fast**2)


def _garch(e: FloatArray, dynamics: Dynamics, source: str) -> tuple[dict[str, Any], float, tuple[str, ...]]:
    """Fit standardised innovations: alpha, gamma, beta, nu and sd_bounds; the persistence as estimated; notes."""
    from arch.univariate import EGARCH, GARCH, StudentsT, ZeroMean

    volatility = EGARCH(1, 1, 1) if dynamics == "egarch_t" else GARCH(1, 1 if dynamics == "gjr_t" else 0, 1)
    model = ZeroMean(e, volatility=volatility, distribution=StudentsT(), rescale=False)
    result = model.fit(disp="off", show_warning=False)
    values = dict(result.params)
    if not all(math.isfinite(float(v)) for v in values.values()):
        raise CalibrationError(f"{source}: the {dynamics} fit did not converge: {values}")
    notes: list[str] = [] if result.convergence_flag == 0 else ["the likelihood's optimiser stopped early"]
    alpha, gamma, beta = float(values["alpha[1]"]), float(values.get("gamma[1]", 0.0)), float(values["beta[1]"])
    egarch = dynamics == "egarch_t"
    persistence = beta if egarch else alpha + 0.5 * gamma + beta
    if persistence > PERSISTENCE_CAP:
        notes.append(f"persistence {persistence:.4f} is capped at {PERSISTENCE_CAP}")
        beta = PERSISTENCE_CAP if egarch else PERSISTENCE_CAP - alpha - 0.5 * gamma
        if beta < 0.0:
            alpha, gamma, beta = (x * PERSISTENCE_CAP / (PERSISTENCE_CAP - beta) for x in (alpha, gamma, 0.0))
    sd = _conditional_sd(e, alpha, gamma, beta, egarch=egarch)
    bounds = np.quantile(sd, [0.001, 0.999])
    fitted = {
        "alpha": alpha,
        "gamma": gamma,
        "beta": beta,
        "nu": _student_nu(e / sd),
        "sd_bounds": [float(min(max(bounds[0], 0.02), 0.9)), float(min(max(bounds[1], 1.5), 30.0))],
    }
    return fitted, persistence, tuple(notes)


def _conditional_sd(e: FloatArray, alpha: float, gamma: float, beta: float, *, egarch: bool) -> FloatArray:
    """Conditional sd of the innovations under the fitted recursion with unconditional variance 1."""
    sd = np.empty(len(e))
    h = 0.0 if egarch else 1.0
    for t, value in enumerate(e.tolist()):
        if egarch:
            sd[t] = math.exp(0.5 * h)
            eta = value / sd[t]
            h = min(max(alpha * (abs(eta) - 0.7979) + gamma * eta + beta * h, -12.0), 12.0)
        else:
            sd[t] = math.sqrt(h)
            h = 1.0 - alpha - 0.5 * gamma - beta + (alpha + (gamma if value < 0.0 else 0.0)) * value * value + beta * h
    return sd


def _student_nu(eta: FloatArray) -> float:
    """Degrees of freedom of standardised innovations by maximum likelihood; their scale is free, so that outliers cannot set it."""
    from scipy.stats import t

    nu, _, _ = t.fit(eta, floc=0.0)
    return float(min(max(nu, _LEAST_NU), 100.0))


def marginal_levels(n: int) -> FloatArray:
    """Probabilities at which a map's knots lie: dense in the tails of a sample of ``n``, down to half an observation."""
    tail = np.geomspace(0.5 / n, 0.02, max(4, round(3.0 * math.log2(0.04 * n)))) if n > 100 else np.array([0.5 / n])
    body = np.linspace(0.03, 0.97, 33)
    return np.concatenate([tail, body, 1.0 - tail[::-1]])
