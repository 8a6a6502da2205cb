"""Series simulated by a price preset, with the best forecast its own model allows.

A GARCH model's price is a monotone map of the state's deviations, slow and transient. The path is drawn with the states kept
(``walk_states``, the same compiled recursion that every simulation uses), so what is known at a row is its exact state.

Without leverage (gamma = 0) the future deviation is distributed symmetrically around its mean ``phi_slow^h slow + phi_fast^h fast``: flip
every innovation to come, and the variances stay what they are. So the map of that mean is the conditional median, the forecast of least
absolute error, exactly and at every origin. Means and other quantiles, and medians under leverage, come from a thousand copies of the state
that are walked on with fresh random numbers, at some of the origins.

The state says a little more than the prices do (prices beyond a cap hide it), so this is an upper bound for any forecaster. The event's
bounded walk is its own state: there the copies start from the row's prices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.backtest.series import BestPossible, PriceSeries
from gridpilot.forecasting.base import QUANTILE_LEVELS
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK
from gridpilot.prices.base import CHANNELS, check_paths
from gridpilot.prices.garch import GarchPrices
from gridpilot.prices.kernels import GAMMA, PHI_FAST, PHI_SLOW, GarchArrays, walk_states
from gridpilot.prices.load import load_prices
from gridpilot.prices.mara_event import MaraEventConfig, MaraEventPrices

__all__ = ["simulate_preset"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PATHS: Final = 1000  # the median of so many raises the absolute error by about 0.1 %
ORIGINS: Final = 200
_STEP_MINUTES = 5
_MEDIAN = QUANTILE_LEVELS.index(0.5)


def simulate_preset(config: Mapping[str, Any], rows: int, seed: int, name: str = "") -> PriceSeries:
    """``rows`` five-minute prices of the model a ``conf/prices`` mapping describes, from a midnight.

    A GARCH path is another one than ``simulate-prices`` draws under the same seed, of the same law. Raises
    :class:`~gridpilot.errors.ConfigError` or :class:`~gridpilot.errors.PriceError` for a model that cannot be built or is too short.
    """
    model = load_prices(config)
    best: BestPossible | None = None
    if isinstance(model, GarchPrices):
        prices, weekday, best = _garch(model, rows, seed)
    else:
        paths, start = check_paths(model, *model.simulate(seed, [0], rows), rows, 1)
        prices, weekday = paths[:, 0], int(start[0]) // TICKS_PER_DAY
        if isinstance(model, MaraEventPrices):
            best = _BoundedWalk(model.config, prices, seed)
    digest = hashlib.sha256(np.ascontiguousarray(prices).tobytes()).hexdigest()
    return PriceSeries(
        f"prices {name or config.get('name', '')}, simulated with seed {seed}",
        CHANNELS,
        CHANNELS,
        _STEP_MINUTES,
        weekday * TICKS_PER_DAY,
        prices,
        np.ones(rows, dtype=np.bool_),
        None,
        digest,
        best=best,
    )


def _garch(model: GarchPrices, rows: int, seed: int) -> tuple[FloatArray, int, BestPossible]:
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    arrays = model.arrays
    weekday = model.config.weekday if model.config.weekday is not None else int(rng.integers(7))
    state = arrays.states[rng.integers(len(arrays.states), size=1)].copy()
    states = np.empty((rows, 9))
    walk_states(arrays, rng.integers(2**63, dtype=np.uint64), state, 1, 1, states)
    symmetric = not arrays.process[:, GAMMA].any()
    week = (weekday * TICKS_PER_DAY + np.arange(rows)) % TICKS_PER_WEEK
    return _prices(arrays, states, week), weekday, _GarchBest(arrays, states, week, seed, symmetric)


def _prices(arrays: GarchArrays, states: FloatArray, week: IntArray) -> FloatArray:
    """Prices ``(n, 3)`` in the states ``(n, 9)`` at ticks of the week ``(n,)``: what ``_simulate_block`` computes, in array form."""
    y = arrays.season[week, 0] + arrays.season[week, 1] * (states[:, 0] + states[:, 1])
    knots = arrays.table_start + arrays.table_step * np.arange(len(arrays.table))
    energy = np.interp(y, knots, arrays.table)
    hash_price = arrays.level[0] * np.exp(states[:, 3] + states[:, 4])
    return np.stack([energy, hash_price, arrays.level[1] * np.exp(states[:, 6] + states[:, 7])], axis=1)


def _summary(paths: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean ``(C,)`` and quantiles ``(Q, C)`` of ``(S, C)``."""
    return paths.mean(axis=0), np.quantile(paths, QUANTILE_LEVELS, axis=0)


@dataclass(frozen=True)
class _GarchBest:
    """See the module, and :class:`~gridpilot.backtest.series.BestPossible`."""

    arrays: GarchArrays
    states: FloatArray  # (n, 9)
    week: IntArray  # (n,)
    seed: int
    symmetric: bool  # no price has leverage
    origins: int | None = ORIGINS

    @property
    def what(self) -> str:
        paths = f"{PATHS} paths that start in the model's exact state, at {ORIGINS} origins at most"
        if self.symmetric:
            return f"the true conditional median, given the model's exact state; its bands from {paths}"
        return f"the true conditional median, from {paths}"

    def median(self, row: int, horizons: IntArray) -> FloatArray | None:
        if not self.symmetric:
            return None
        state = np.zeros((len(horizons), 9))
        for k, process in enumerate(self.arrays.process):
            for part, phi in ((0, PHI_SLOW), (1, PHI_FAST)):
                state[:, 3 * k + part] = process[phi] ** horizons * self.states[row, 3 * k + part]
        return _prices(self.arrays, state, (self.week[row] + horizons) % TICKS_PER_WEEK)

    def forecast(self, row: int, horizons: IntArray) -> tuple[FloatArray, FloatArray]:
        state = np.repeat(self.states[row : row + 1], PATHS, axis=0)
        out = np.empty((PATHS, 9))
        roots = np.random.SeedSequence((self.seed, row, 1)).generate_state(len(horizons), np.uint64)
        mean, quantiles = np.empty((len(horizons), 3)), np.empty((len(horizons), len(QUANTILE_LEVELS), 3))
        before = 0
        for k, horizon in enumerate(horizons):
            walk_states(self.arrays, roots[k], state, int(horizon) - before, 1, out)
            before = int(horizon)
            week = np.full(PATHS, (self.week[row] + before) % TICKS_PER_WEEK)
            mean[k], quantiles[k] = _summary(_prices(self.arrays, state, week))
        exact = self.median(row, horizons)
        if exact is not None:
            quantiles[:, _MEDIAN] = exact
            quantiles.sort(axis=1)
        return mean, quantiles


@dataclass(frozen=True)
class _BoundedWalk:
    """See the module, and :class:`~gridpilot.backtest.series.BestPossible`."""

    config: MaraEventConfig
    prices: FloatArray  # (n, 3)
    seed: int
    what: str = f"the true conditional median, from {PATHS} paths that start at the row's prices, at {ORIGINS} origins at most"
    origins: int | None = ORIGINS

    def forecast(self, row: int, horizons: IntArray) -> tuple[FloatArray, FloatArray]:
        walks = (self.config.energy, self.config.hash, self.config.token)
        step = np.array([walk.step for walk in walks])
        low, high = (np.array([end * walk.scale for end, walk in zip(ends, walks, strict=True)]) for ends in self._bounds())
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, row, 1)))
        paths = np.repeat(self.prices[row : row + 1], PATHS, axis=0)
        mean, quantiles = np.empty((len(horizons), 3)), np.empty((len(horizons), len(QUANTILE_LEVELS), 3))
        wanted = {int(horizon): k for k, horizon in enumerate(horizons)}
        for h in range(1, int(horizons[-1]) + 1):
            paths *= 1.0 + step * (2.0 * rng.random(paths.shape) - 1.0)
            np.clip(paths, low, high, out=paths)
            if h in wanted:
                mean[wanted[h]], quantiles[wanted[h]] = _summary(paths)
        return mean, quantiles

    def median(self, row: int, horizons: IntArray) -> FloatArray | None:
        return None  # the bounds and the asymmetry of factors leave only simulation

    def _bounds(self) -> tuple[list[float], list[float]]:
        walks = (self.config.energy, self.config.hash, self.config.token)
        return [walk.low for walk in walks], [walk.high for walk in walks]
