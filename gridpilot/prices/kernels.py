"""The compiled recursion of the GARCH price models, over blocks of markets.

A market is one random stream and nine numbers of state. Blocks of 64 markets stay in the first-level cache; the loop over ticks runs
inside a block and writes one contiguous row of prices a tick. What a market does depends on its own stream alone, so neither the size
of the batch nor the number of threads can change a bit of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gridpilot.market.compilation import inline_kernel, kernel, leaf_kernel, parallel_kernel
from gridpilot.market.random import PRICE_STREAM, next_uint64, normal, seed_stream
from gridpilot.market.units import TICKS_PER_WEEK

__all__ = ["SCORE_STEP", "GarchArrays", "draw_start", "simulate_parallel", "simulate_serial", "walk_states"]

FloatArray = npt.NDArray[np.float64]

BLOCK = 64  # markets of a job
SCORE_STEP = 1.0 / 64.0  # between the knots of GarchArrays.quantile
_SCORES_PER_UNIT = 64.0
_DAYS, _TICKS_PER_DAY = np.uint64(7), 288


class GarchArrays(NamedTuple):
    """The three price processes as arrays; rows are energy, hash, token."""

    process: FloatArray  # (3, 11) parameters of the deviations, in the order of the constants KIND to TRANSIENT
    cholesky: FloatArray  # (3, 3) lower factor of the correlation of the normal scores
    quantile: FloatArray  # (3, Q) standardised innovation at normal scores 0, 1/64, ...; odd
    season: FloatArray  # (2016, 2) mean of energy on the asinh scale and scale of its deviation, by tick of the week
    table_start: float  # first knot of the map from asinh scale to energy price
    table_step: float
    table: FloatArray  # (M,) $/kWh at the knots
    level: FloatArray  # (2,) level of the hash and the token price
    states: FloatArray  # (S, 9) draws from the stationary distribution: slow, transient, variance for each price


# Columns of GarchArrays.process. Variances are logarithms under EGARCH.
KIND = 0  # 0 is GARCH and GJR, 1 is EGARCH
OMEGA = 1  # variance per tick
ALPHA = 2  # weight of the last squared innovation (EGARCH: of its size)
GAMMA = 3  # additional weight where that innovation was negative (EGARCH: of its sign)
BETA = 4  # weight of the last variance
MEAN_SIZE = 5  # E|eta| of the standardised innovation
LOW = 6  # least conditional variance
HIGH = 7  # greatest conditional variance
PHI_SLOW = 8  # what is left of the slow deviation after a tick
PHI_FAST = 9  # what is left of the transient deviation after a tick
TRANSIENT = 10  # share of an innovation that goes to the transient deviation


@leaf_kernel
def draw_start(state, weekday):  # type: ignore[no-untyped-def]
    """Tick of the week at which an episode starts: the midnight of ``weekday``, of a random one if that is negative."""
    day = np.int64(next_uint64(state) % _DAYS)  # always drawn, so that fixing the day leaves the prices' draws alone
    if weekday >= 0:
        day = weekday
    return day * _TICKS_PER_DAY


@inline_kernel
def _advance(process, quantile, product, x, i, score):  # type: ignore[no-untyped-def]
    """Move the deviation of one price of market ``i``, ``x[i, 3 product:]``, on by a tick driven by a standard normal ``score``."""
    size = abs(score) * _SCORES_PER_UNIT
    knot = np.int64(min(size, quantile.shape[1] - 2.0))
    eta = quantile[product, knot] + (size - knot) * (quantile[product, knot + 1] - quantile[product, knot])
    k = 3 * product
    h = x[i, k + 2]
    if process[product, KIND] == 0.0:
        e = math.sqrt(h) * eta
        weight = process[product, ALPHA]
        if score < 0.0:
            e = -e
            weight += process[product, GAMMA]
        h = process[product, OMEGA] + weight * e * e + process[product, BETA] * h
    else:
        e = math.exp(0.5 * h) * eta
        sign = eta
        if score < 0.0:
            e = -e
            sign = -eta
        shock = process[product, ALPHA] * (eta - process[product, MEAN_SIZE]) + process[product, GAMMA] * sign
        h = process[product, OMEGA] + shock + process[product, BETA] * h
    x[i, k + 2] = min(max(h, process[product, LOW]), process[product, HIGH])
    x[i, k] = process[product, PHI_SLOW] * x[i, k] + (1.0 - process[product, TRANSIENT]) * e
    x[i, k + 1] = process[product, PHI_FAST] * x[i, k + 1] + process[product, TRANSIENT] * e


@inline_kernel
def _advance_all(process, cholesky, quantile, streams, x, i, z):  # type: ignore[no-untyped-def]
    """Move all three prices of market ``i`` on by a tick; ``z`` (3,) is scratch."""
    for k in range(3):  # a loop, as code that stands here three times takes three times as long to compile
        z[k] = normal(streams[i])
    _advance(process, quantile, 0, x, i, z[0])
    _advance(process, quantile, 1, x, i, cholesky[1, 0] * z[0] + cholesky[1, 1] * z[1])
    _advance(process, quantile, 2, x, i, cholesky[2, 0] * z[0] + cholesky[2, 1] * z[1] + cholesky[2, 2] * z[2])


@kernel
def _simulate_block(a, root, episodes, first, last, history, weekday, prices, start):  # type: ignore[no-untyped-def]
    """Fill ``prices[:, first:last]`` (H + T, B, 3) and ``start[first:last]``."""
    n = last - first
    streams, x, week = np.empty((n, 4), dtype=np.uint64), np.empty((n, 9)), np.empty(n, dtype=np.int64)
    _simulate(a, root, episodes, first, history, weekday, prices, start, streams, x, week, np.empty(3))


@leaf_kernel
def _simulate(a, root, episodes, first, history, weekday, prices, start, streams, x, week, z):  # type: ignore[no-untyped-def]
    n = len(x)
    process, cholesky, quantile, season, table, level = a.process, a.cholesky, a.quantile, a.season, a.table, a.level
    n_states = np.uint64(len(a.states))
    for i in range(n):
        seed_stream(root, episodes[first + i], PRICE_STREAM, streams[i])
        start[first + i] = draw_start(streams[i], weekday)
        week[i] = (start[first + i] - history) % TICKS_PER_WEEK
        k = np.int64(next_uint64(streams[i]) % n_states)
        for j in range(x.shape[1]):
            x[i, j] = a.states[k, j]
    top = len(table) - 2.0
    table_start, knots_per_unit = a.table_start, 1.0 / a.table_step
    for t in range(len(prices)):
        for i in range(n):
            _advance_all(process, cholesky, quantile, streams, x, i, z)
            y = season[week[i], 0] + season[week[i], 1] * (x[i, 0] + x[i, 1])
            position = min(max((y - table_start) * knots_per_unit, 0.0), top + 1.0)
            knot = np.int64(min(position, top))
            prices[t, first + i, 0] = table[knot] + (position - knot) * (table[knot + 1] - table[knot])
            prices[t, first + i, 1] = level[0] * math.exp(x[i, 3] + x[i, 4])
            prices[t, first + i, 2] = level[1] * math.exp(x[i, 6] + x[i, 7])
            week[i] += 1
            if week[i] == TICKS_PER_WEEK:
                week[i] = 0


@kernel
def simulate_serial(a, root, episodes, history, weekday, prices, start):  # type: ignore[no-untyped-def]
    """Fill ``prices`` (H + T, B, 3) and ``start`` (B,) on the calling thread."""
    for first in range(0, len(episodes), BLOCK):
        _simulate_block(a, root, episodes, first, min(first + BLOCK, len(episodes)), history, weekday, prices, start)


@parallel_kernel
def simulate_parallel(a, root, episodes, history, weekday, prices, start):  # type: ignore[no-untyped-def]
    """As ``simulate_serial``, blocks of markets on all of numba's threads."""
    for block in numba.prange((len(episodes) + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        _simulate_block(a, root, episodes, first, min(first + BLOCK, len(episodes)), history, weekday, prices, start)


@kernel
def walk_states(a, root, x, burn_in, thinning, out):  # type: ignore[no-untyped-def]
    """Run the chains ``x`` (N, 9) for ``burn_in`` ticks, then take ``len(out) / N`` draws of each, ``thinning`` ticks apart."""
    _walk_on(a, root, x, burn_in, thinning, out, np.empty((len(x), 4), dtype=np.uint64), np.empty(3))


@leaf_kernel
def _walk_on(a, root, x, burn_in, thinning, out, streams, z):  # type: ignore[no-untyped-def]
    n = len(x)
    draws = len(out) // n
    process, cholesky, quantile = a.process, a.cholesky, a.quantile
    for i in range(n):
        seed_stream(root, i, PRICE_STREAM, streams[i])
        for d in range(draws):
            for _ in range(burn_in if d == 0 else thinning):
                _advance_all(process, cholesky, quantile, streams, x, i, z)
            for j in range(x.shape[1]):
                out[d * n + i, j] = x[i, j]
