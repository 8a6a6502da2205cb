"""Calibration: fit a series, simulate the fit, compare the two, and refuse to call it good where they disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gridpilot.errors import CalibrationError, GridPilotError
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK
from gridpilot.prices.calibrate_fit import DeviationFit, by_cell, check_moves, fit_deviation, fit_energy_shape, marginal_levels
from gridpilot.prices.calibrate_series import RecordedSeries
from gridpilot.prices.calibrate_table import Comparison, compare
from gridpilot.prices.garch import Dynamics, GarchPrices

__all__ = ["Calibration", "Target", "calibrate", "simulate_rows"]

FloatArray = npt.NDArray[np.float64]
Target = Literal["energy", "hash", "token"]
Sampling = Literal["point", "average"]

_SEED = 20_240_601
_LONGEST_RUN = 16_000_000  # ticks simulated for a comparison
_SHORT_RUN, _SHORT_PATHS = 2_000_000, 512  # ticks and paths simulated for one step of a search
_TAILS = (2.5, 3.0, 4.0, 6.0, 10.0, 30.0)  # degrees of freedom that are tried
_MAP_PATHS = 512  # weeks simulated for a correction of the map to prices; four times as many for the last
_CORRECTIONS, _DAMPING = 4, 0.7  # of the profiles
_CHANNEL = {"energy": 0, "hash": 1, "token": 2}


@dataclass(frozen=True)
class Calibration:
    """A fitted price, how it compares with its data, and how a fit without the last third compares with that third."""

    target: Target
    part: dict[str, Any]  # the ``energy``, ``hash`` or ``token`` part of a conf/prices file
    fit: DeviationFit
    comparison: Comparison
    held_out: Comparison | None  # None where the series is too short to be split
    real: FloatArray  # (n,) the series in its own unit
    simulated: FloatArray  # (paths, n) in the series' unit, at its step
    sampling: Sampling

    @property
    def good(self) -> bool:
        """Whether every row of the comparison agrees."""
        return self.comparison.good


def calibrate(
    series: RecordedSeries,
    target: Target,
    dynamics: Dynamics,
    others: Mapping[str, Any],
    *,
    factor: float = 1.0,
    level: float | None = None,
    half_life_days: float = 30.0,
    sampling: Sampling | None = None,
    hold_out: bool = True,
) -> Calibration:
    """Fit ``series`` as the ``target`` price.

    ``others``          a conf/prices mapping of the GARCH family from which the other two prices are taken.
    ``factor``          of the series' unit to the market's ($/kWh, $ per PH/s h, $ per million tokens).
    ``level``           of a product, in the market's unit; the median of the last tenth of the series by default.
    ``half_life_days``  of a product's return to its level.
    ``sampling``        whether a row of the series is the price at one time or an average since the row above. By default energy is
                        taken as point prices, and a product as averages where the autocorrelation of its log returns at lag 1 is
                        nearer to 1/4 than to 0, which averages of a random walk have (Working 1960).

    Raises :class:`~gridpilot.errors.CalibrationError` where there is nothing to fit; a poor fit is returned, with ``good`` false.
    """
    if sampling is None:
        sampling = "average" if target != "energy" and _looks_averaged(series.values) else "point"
    options = {"factor": factor, "level": level, "half_life_days": half_life_days, "sampling": sampling}
    part, fit = _fit(series, target, dynamics, others, **options)
    simulated = simulate_rows({**others, target: part}, target, len(series.values), series.step, sampling) / factor
    comparison = compare(series.values, simulated, target)
    held_out = None
    split = 2 * len(series.values) // 3
    if hold_out and split >= 200 and len(series.values) - split >= 100:
        training, rest = series.part(0, split), series.values[split:]
        try:
            early, _ = _fit(training, target, dynamics, others, **options)
            simulated_rest = simulate_rows({**others, target: early}, target, len(rest), series.step, sampling) / factor
            held_out = compare(rest, simulated_rest, target)
        except GridPilotError as error:  # the whole series can be fitted, and its verdict does not need this
            fit = fit._replace(notes=(*fit.notes, f"no fit without the last third: {error}"))
    return Calibration(target, part, fit, comparison, held_out, series.values, simulated, sampling)


def _fit(
    series: RecordedSeries, target: Target, dynamics: Dynamics, others: Mapping[str, Any], **options: Any
) -> tuple[dict[str, Any], DeviationFit]:
    if target == "energy":
        return _fit_energy(series, dynamics, others, options["factor"])
    return _fit_product(series, target, dynamics, others, **options)


def _fit_energy(
    series: RecordedSeries, dynamics: Dynamics, others: Mapping[str, Any], factor: float
) -> tuple[dict[str, Any], DeviationFit]:
    shape = fit_energy_shape(series)
    fit = fit_deviation(shape.deviation, series.step, dynamics, series.source, also=shape.excess)
    price = series.values * factor
    part: dict[str, Any] = {
        "centre": shape.centre * factor,
        "scale": shape.scale * factor,
        "floor": float(price.min()),
        "cap": float(price.max()),
        "location": _profile(shape.middle),
        "spread": _profile(shape.spread),
        **fit.parameters,
    }
    levels = marginal_levels(len(price))
    quantiles = np.quantile(price, levels)
    quantiles[0], quantiles[-1] = price.min(), price.max()
    location, spread = shape.middle, shape.spread
    for correction in range(_CORRECTIONS + 1):
        part["location"], part["spread"] = _profile(location), _profile(spread)
        y, hour, weekend = _asinh_paths({**others, "energy": part}, _MAP_PATHS * (1 if correction < _CORRECTIONS else 4))
        knots = np.quantile(y, levels)
        keep = np.r_[True, np.diff(knots) > 1e-9]
        part["marginal"] = {"y": knots[keep].tolist(), "price": quantiles[keep].tolist()}
        if correction < _CORRECTIONS and series.clocked:
            mapped = np.interp(y, knots, np.arcsinh((quantiles / factor - shape.centre) / shape.scale))
            middle, width = by_cell(mapped, hour, weekend)
            location = location + _DAMPING * (shape.middle - middle)
            spread = spread * np.clip(shape.width / np.maximum(width, 1e-9), 0.5, 2.0) ** _DAMPING
    return part, fit


def _asinh_paths(config: Mapping[str, Any], paths: int) -> tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Simulated energy on the asinh scale before its map, and each value's hour and weekend, all (n,)."""
    wide = 100.0  # asinh units; through a map that changes nothing the model shows y itself
    energy = {**config["energy"], "marginal": None, "centre": 0.0, "scale": 1.0, "floor": -wide, "cap": wide}
    model = _model({**config, "energy": energy})
    model.replace_map(-wide, wide / 1000.0, np.linspace(-wide, wide, 2001))
    prices, start = model.simulate(_SEED, np.arange(paths), TICKS_PER_WEEK)
    tick = (start[None, :] + np.arange(TICKS_PER_WEEK)[:, None]) % TICKS_PER_WEEK
    return prices[:, :, 0].ravel(), (tick % TICKS_PER_DAY // 12).ravel(), (tick // TICKS_PER_DAY >= 5).astype(np.int64).ravel()


def _profile(values: FloatArray) -> dict[str, list[float]]:
    return {"weekday": values[0].tolist(), "weekend": values[1].tolist()}


def _fit_product(
    series: RecordedSeries,
    target: Target,
    dynamics: Dynamics,
    others: Mapping[str, Any],
    *,
    factor: float,
    level: float | None,
    half_life_days: float,
    sampling: Sampling,
) -> tuple[dict[str, Any], DeviationFit]:
    if (series.values <= 0.0).any():
        row = int(np.flatnonzero(series.values <= 0.0)[0])
        raise CalibrationError(f"{series.source} is {series.values[row]:g} in row {row + 1}; a product's price is above 0")
    x = np.log(series.values)
    check_moves(x, float(np.abs(x).max()), series.source, "")
    returns = np.diff(x)
    check_moves(returns, float(np.abs(returns).max()), series.source, "other than by one factor")
    fit = fit_deviation(x, series.step, dynamics, series.source, product=True, half_life_days=half_life_days)
    recent = float(np.median(series.values[-max(1, len(x) // 10) :])) * factor
    part = {"level": recent if level is None else level, **fit.parameters}
    best: tuple[float, dict[str, Any]] | None = None
    for nu in (part["nu"], *(nu for nu in _TAILS if nu != part["nu"])):
        candidate = _match_sd({**part, "nu": nu}, target, others, series.step, sampling, float(returns.std()))
        widths = [
            np.ptp(np.quantile(r, [0.01, 0.99])) for r in (_returns(candidate, target, others, series.step, sampling), returns)
        ]
        miss = abs(math.log(max(widths[0], 1e-12) / max(widths[1], 1e-12)))
        if best is None or miss < best[0]:
            best = miss, candidate
        if best[0] < 0.1:
            break
    assert best is not None
    return best[1], fit


def _match_sd(
    part: dict[str, Any], target: Target, others: Mapping[str, Any], step: int, sampling: Sampling, goal: float
) -> dict[str, Any]:
    for _ in range(3):
        part = {**part, "sd": part["sd"] * goal / float(_returns(part, target, others, step, sampling).std())}
    return part


def _returns(part: dict[str, Any], target: Target, others: Mapping[str, Any], step: int, sampling: Sampling) -> FloatArray:
    """Simulated log returns at the series' step, of many short paths."""
    model = _model({**others, target: part})
    rows = max(_SHORT_RUN // (_SHORT_PATHS * step), 12)
    prices = model.simulate(_SEED, np.arange(_SHORT_PATHS), rows * step)[0][:, :, _CHANNEL[target]]
    sampled = prices[step - 1 :: step] if sampling == "point" else prices.reshape(rows, step, _SHORT_PATHS).mean(axis=1)
    return np.diff(np.log(sampled), axis=0).ravel()


def _model(config: Mapping[str, Any]) -> GarchPrices:
    return GarchPrices(**{key: value for key, value in config.items() if key != "name"})


def _looks_averaged(values: FloatArray) -> bool:
    if (values <= 0.0).any():
        return False
    returns = np.diff(np.log(values))
    return 0.125 < float(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.375


def simulate_rows(
    config: Mapping[str, Any], target: Target, rows: int, step: int, sampling: Sampling, *, paths: int = 200
) -> FloatArray:
    """Simulate ``target`` at steps of ``step`` ticks: ``(paths, rows)`` in the market's unit, fewer paths where they would be long."""
    model = _model(config)
    paths = int(min(max(_LONGEST_RUN // (rows * step), 4), paths))
    result = np.empty((paths, rows))
    for path in range(paths):  # one at a time: a daily series of some years is half a million ticks long
        prices = model.simulate(_SEED, np.array([path + 1000]), rows * step)[0][:, 0, _CHANNEL[target]]
        result[path] = prices[step - 1 :: step] if sampling == "point" else prices.reshape(rows, step).mean(axis=1)
    return result
