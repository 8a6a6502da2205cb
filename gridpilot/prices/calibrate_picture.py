"""The picture of a calibration: paths, quantiles, autocorrelation and the daily profile, real beside simulated."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gridpilot.prices.calibrate import Calibration
from gridpilot.prices.calibrate_series import RecordedSeries

__all__ = ["draw"]

FloatArray = npt.NDArray[np.float64]

_REAL, _SIMULATED = "#1f4e79", "#d9722e"
_LONGEST_EXCERPT = 4 * 7 * 288  # ticks of an intraday series


def draw(calibration: Calibration, series: RecordedSeries, unit: str, out: IO[bytes]) -> None:
    """Write a PNG of ``calibration`` to ``out``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 8.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 3, height_ratios=[1.0, 1.0, 1.35])
    verdict = "good" if calibration.good else f"not good: {', '.join(calibration.comparison.disagreeing)}"
    figure.suptitle(f"{series.source}: {calibration.fit.parameters['dynamics']} fit, {verdict}", fontsize=12, x=0.01, ha="left")
    energy = calibration.target == "energy"
    rows = len(calibration.real)
    excerpt = min(rows, _LONGEST_EXCERPT // series.step) if series.step < 288 else rows
    begin = (rows - excerpt) // 2
    days = np.arange(excerpt) * series.step / 288.0
    top = figure.add_subplot(grid[0, :])
    below = figure.add_subplot(grid[1, :], sharex=top, sharey=top if energy else None)
    for axes, values, colour, label in (
        (top, calibration.real[begin : begin + excerpt], _REAL, "real"),
        (
            below,
            calibration.simulated[0, begin : begin + excerpt],
            _SIMULATED,
            "simulated" if energy else "simulated, at its level",
        ),
    ):
        axes.plot(days, values, color=colour, linewidth=0.8)
        axes.set_ylabel(f"{label}\n{unit}")
        axes.grid(alpha=0.25)
    top.tick_params(labelbottom=False)
    below.set_xlabel(
        "days" if excerpt == rows else f"days (the middle {excerpt * series.step / 288:.0f} of {rows * series.step / 288:.0f})"
    )
    if energy:
        _asinh_axis(top, calibration.real, "y")
    real, simulated = calibration.real, calibration.simulated
    if not energy:
        real, simulated = np.diff(np.log(real)), np.diff(np.log(simulated), axis=1)
    _quantiles(figure.add_subplot(grid[2, 0]), real, simulated, energy=energy, unit=unit)
    _autocorrelations(figure.add_subplot(grid[2, 1]), real, simulated, energy=energy)
    last = figure.add_subplot(grid[2, 2])
    if energy and series.clocked:
        _daily_profile(last, series, calibration.simulated, unit)
    else:
        _density(last, real, simulated, energy=energy, unit=unit)
    figure.savefig(out, dpi=110, format="png")


def _asinh_axis(axes: Any, values: FloatArray, *which: str) -> None:
    low, high = np.quantile(values, [0.25, 0.75])
    width = max(float(high - low), 1e-9 * float(np.abs(values).max()))
    ticks = [sign * 10.0**power for power in range(-6, 7) for sign in (-1.0, 1.0) if width < 10.0**power]
    inside = [tick for tick in sorted([0.0, *ticks]) if values.min() - width <= tick <= values.max() + width]
    for name in which:
        getattr(axes, f"set_{name}scale")("asinh", linear_width=width)
        getattr(axes, f"set_{name}ticks")(inside, [f"{tick:g}" for tick in inside])
        getattr(axes, f"{name}axis").set_minor_locator(_no_ticks())


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _quantiles(axes: Any, real: FloatArray, simulated: FloatArray, *, energy: bool, unit: str) -> None:
    levels = (np.arange(len(real)) + 0.5) / len(real)
    levels = levels[np.unique(np.r_[np.arange(0, len(real), max(1, len(real) // 400)), :20, len(real) - 20 : len(real)])]
    of_real, of_simulated = np.quantile(real, levels), np.quantile(simulated.ravel(), levels)
    ends = [min(of_real.min(), of_simulated.min()), max(of_real.max(), of_simulated.max())]
    axes.plot(ends, ends, color="0.6", linewidth=1.0)
    axes.plot(of_real, of_simulated, ".", color=_SIMULATED, markersize=4)
    if energy:
        _asinh_axis(axes, real, "x", "y")
    what = unit if energy else "log return"
    axes.set(title="Quantiles", xlabel=f"real, {what}", ylabel=f"simulated, {what}")
    axes.grid(alpha=0.25)


def _autocorrelations(axes: Any, real: FloatArray, simulated: FloatArray, *, energy: bool) -> None:
    lags = np.arange(1, min(len(real) // 4, 49 if energy else 25))
    by_path = np.array([_autocorrelation(path, lags) for path in simulated])
    axes.fill_between(
        lags, *np.quantile(by_path, [0.01, 0.99], axis=0), color=_SIMULATED, alpha=0.2, linewidth=0, label="98 % of simulated paths"
    )
    axes.plot(lags, np.median(by_path, axis=0), color=_SIMULATED, label="simulated, median")
    axes.plot(lags, _autocorrelation(real, lags), color=_REAL, label="real")
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.set(title="Autocorrelation" if energy else "Autocorrelation of log returns", xlabel="lag, rows of the series")
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.25)


def _autocorrelation(x: FloatArray, lags: npt.NDArray[np.int64]) -> FloatArray:
    centred = x - x.mean()
    total = float(np.sum(centred**2)) or 1.0
    return np.array([np.sum(centred[lag:] * centred[:-lag]) / total for lag in lags])


def _daily_profile(axes: Any, series: RecordedSeries, simulated: FloatArray, unit: str) -> None:
    """Median and the middle 80 % by hour of the day. A simulated path starts at midnight."""
    hour = (np.arange(simulated.shape[1]) * series.step // 12) % 24
    for of_hour, values, colour, label in ((series.hour, series.values, _REAL, "real"), (hour, simulated, _SIMULATED, "simulated")):
        hours = np.unique(of_hour)
        bands = np.array([np.quantile(values[..., of_hour == h], [0.1, 0.5, 0.9]) for h in hours])
        axes.fill_between(hours, bands[:, 0], bands[:, 2], color=colour, alpha=0.18, linewidth=0)
        axes.plot(hours, bands[:, 1], color=colour, label=f"{label}, median and middle 80 %")
    axes.set(title="Hour of the day", xlabel="hour", ylabel=unit, xticks=[0, 6, 12, 18, 23])
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.25)


def _density(axes: Any, real: FloatArray, simulated: FloatArray, *, energy: bool, unit: str) -> None:
    ends = np.quantile(real, [0.005, 0.995])
    bins = np.linspace(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1.0, 41)
    for values, colour, label, fill in ((real, _REAL, "real", 0.35), (simulated.ravel(), _SIMULATED, "simulated", 0.0)):
        weights = np.full(len(values), 1.0 / len(values))
        kind = "stepfilled" if fill else "step"
        axes.hist(values, bins=bins, weights=weights, histtype=kind, color=colour, alpha=0.5 if fill else 1.0, label=label)
    axes.set(title="Distribution", xlabel=unit if energy else "log return", ylabel="share")
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.25)
