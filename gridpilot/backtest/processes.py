"""Analytic price processes whose true conditional distribution is known: what a forecaster could at best achieve on them.

    y_t = level + sum_k a_k cos(2 pi k (t - d_k) / day) + x_t,     x_{t+1} = phi x_t + sd e_t,     e normal

so that y_{t+h} given y_t is normal with mean level + season(t + h) + phi^h x_t and variance sd^2 (1 - phi^2h) / (1 - phi^2). The
amplitudes of ``seasonal`` and ``near_random_walk`` are chosen so that the best possible skill against persistence is that of the
design's processes A (37 % at 1 h, 75 % at 6 h) and B (7 and 20 %).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.backtest.series import PriceSeries
from gridpilot.forecasting.base import QUANTILE_LEVELS

__all__ = ["PROCESSES", "Process", "simulate_process"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STEP_MINUTES: Final = 5
_DAY = 288
_SCORES = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])  # standard normal quantiles


@dataclass(frozen=True)
class Process:
    """Daily harmonics plus an AR(1)."""

    phi: float  # 1 is a random walk
    sd: float  # of an innovation
    level: float = 40.0
    harmonics: tuple[tuple[float, float], ...] = ()  # amplitude, and hour of the peak, of the daily, half-daily, ... wave

    def season(self, step: IntArray) -> FloatArray:
        """Level and daily profile at ``step``, counted from a midnight; same shape."""
        result = np.full(np.shape(step), self.level)
        for k, (amplitude, hour) in enumerate(self.harmonics, start=1):
            result += amplitude * np.cos(2.0 * np.pi * k * (step / _DAY - hour / 24.0))
        return result

    def deviations(self, rows: int, rng: np.random.Generator) -> FloatArray:
        """A path of x, ``(rows,)``, from its stationary distribution, or from 0 where it has none."""
        from scipy.signal import lfilter

        shock = self.sd * rng.standard_normal(rows)
        if rows:
            shock[0] = 0.0 if self.phi >= 1.0 else shock[0] / np.sqrt(1.0 - self.phi**2)
        return np.asarray(lfilter([1.0], [1.0, -self.phi], shock), dtype=np.float64)

    def spread(self, horizons: IntArray) -> FloatArray:
        """Standard deviation of x ``horizons`` steps ahead; same shape."""
        h = np.asarray(horizons, dtype=np.float64)
        growth = h if self.phi >= 1.0 else (1.0 - self.phi ** (2.0 * h)) / (1.0 - self.phi**2)
        return np.asarray(self.sd * np.sqrt(growth))


PROCESSES: Final[dict[str, Process]] = {
    "seasonal": Process(0.97, 1.0, harmonics=((12.5, 18.0), (6.5, 8.0))),
    "near_random_walk": Process(0.998, 1.0, harmonics=((3.7, 18.0), (2.9, 8.0))),
    "random_walk": Process(1.0, 0.5),
}


@dataclass(frozen=True)
class _Analytic:
    """The true conditional distribution; see :class:`~gridpilot.backtest.series.BestPossible`."""

    process: Process
    deviations: FloatArray  # (n,)
    what: str = "the true conditional mean and quantiles of the process, computed exactly"
    origins: int | None = None

    def forecast(self, row: int, horizons: IntArray) -> tuple[FloatArray, FloatArray]:
        mean = self.process.season(row + horizons) + self.process.phi**horizons * self.deviations[row]
        quantiles = mean[:, None] + self.process.spread(horizons)[:, None] * _SCORES
        return mean[:, None], quantiles[:, :, None]

    def median(self, row: int, horizons: IntArray) -> FloatArray | None:
        return None  # forecast tells it, at every origin


def simulate_process(name: str, rows: int, seed: int) -> PriceSeries:
    """``rows`` five-minute prices of the process ``name`` (a key of ``PROCESSES``), from a Monday midnight; one channel, no unit."""
    process = PROCESSES[name]
    x = process.deviations(rows, np.random.default_rng(np.random.SeedSequence(seed)))
    prices = (process.season(np.arange(rows)) + x)[:, None]
    digest = hashlib.sha256(prices.tobytes()).hexdigest()
    present = np.ones(rows, dtype=np.bool_)
    source = f"process {name}, seed {seed}"
    return PriceSeries(source, ("energy",), ("energy",), STEP_MINUTES, 0, prices, present, None, digest, best=_Analytic(process, x))
