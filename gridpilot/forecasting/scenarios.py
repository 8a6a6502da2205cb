"""Joint scenarios: paths whose marginals are the predicted quantiles, correlated across horizon and product.

The dependence is taken from the past by a block bootstrap: a scenario follows the standardised errors that one earlier forecast made at all
horizons and in all channels, a block of a day, so that errors last as long as they used to and prices move together as they used to. Only
the ranks of these errors are used (the Schaake shuffle of Clark et al. 2004, Journal of Hydrometeorology 5; ensemble copula coupling,
Schefzik, Thorarinsdottir and Gneiting 2013, Statistical Science 28): at each horizon the scenarios are the predicted distribution at
equally spaced levels, whatever the past looked like. Between knot horizons errors are joined by Brownian bridges, which keeps their
variance. While there are too few past errors, and for members that keep none, the errors are those of a random walk.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.forecasting.knots import knot_weights

__all__ = ["ErrorBlocks", "draw_scenarios"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BLOCKS: Final = 336  # kept: two weeks of one an hour
FEWEST: Final = 48  # blocks below which a random walk stands in


class ErrorBlocks:
    """Past forecasts' standardised errors at the knot horizons, a block ``(K, C)`` for each origin; the last ``BLOCKS`` are kept."""

    def __init__(self, knots: IntArray, channels: int, every: int) -> None:
        self.knots = knots
        self._every = every
        self._rows = 0
        size = int(knots[-1]) + 1
        self._open = np.zeros((size, len(knots), channels))  # of origins whose last error is not known yet, by row
        self._blocks = np.zeros((BLOCKS, len(knots), channels))
        self._count = 0

    def learn(self, errors: FloatArray) -> None:
        """Take in the errors ``(K, C)`` that became known with a row: of the forecast made k steps ago for each knot k."""
        rows, size = self._rows, len(self._open)
        slots = (rows - self.knots) % size
        self._open[slots, np.arange(len(self.knots))] = errors
        if rows >= self.knots[-1] and rows % self._every == 0:
            self._blocks[self._count % BLOCKS] = self._open[slots[-1]]
            self._count += 1
        self._rows += 1

    def blocks(self) -> FloatArray | None:
        """``(N, K, C)``, or None while there are too few."""
        return self._blocks[: min(self._count, BLOCKS)] if self._count >= FEWEST else None


def draw_scenarios(
    quantiles: FloatArray,
    levels: FloatArray,
    count: int,
    *,
    seed: int,
    knots: IntArray | None = None,
    blocks: FloatArray | None = None,
) -> FloatArray:
    """``(S, H, C)`` equally likely joint paths whose marginals are ``quantiles`` ``(H, Q, C)`` at ``levels`` ``(Q,)``.

    ``seed``    any integer; equal arguments give equal scenarios.
    ``knots``   ``(K,)`` horizons of the blocks, ``blocks`` ``(N, K, C)`` past errors in any unit; without them errors are a random walk's.

    With S = 1 the one scenario is the median. Beyond the outer levels the distribution goes on as a normal one.
    """
    horizon, _, channels = quantiles.shape
    if count == 0:
        return np.zeros((0, horizon, channels))
    rng = np.random.default_rng([int(seed < 0), abs(int(seed))])
    if blocks is None or knots is None:
        steps = np.arange(1, horizon + 1)[:, None]
        scores = np.cumsum(rng.standard_normal((count, horizon, channels)), axis=1) / np.sqrt(steps)
    else:
        scores = _join(_resample(blocks, count, rng), knots, horizon, rng)
    return _through(_ranked(scores), quantiles, levels)


def _resample(blocks: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Normal scores ``(S, K, C)`` of blocks drawn at random, each as often as the others as far as that goes."""
    order = np.concatenate([rng.permutation(len(blocks)) for _ in range(-(-count // len(blocks)))])[:count]
    # Ranks among all blocks, so that a few scenarios are not stretched over the whole distribution; ties fall at random.
    jitter = rng.uniform(size=blocks.shape)
    ranks = np.empty(blocks.shape)
    places = np.lexsort((jitter, blocks), axis=0)
    np.put_along_axis(
        ranks, places, np.broadcast_to(np.arange(len(blocks))[:, None, None], blocks.shape).astype(np.float64), axis=0
    )
    scores = _normal((ranks + 0.5) / len(blocks))
    return np.asarray(scores[order])


def _join(knot_scores: FloatArray, knots: IntArray, horizon: int, rng: np.random.Generator) -> FloatArray:
    """Scores ``(S, H, C)`` from those at the knots: straight lines plus Brownian bridges, so that the variance stays 1."""
    count, _, channels = knot_scores.shape
    below, share = knot_weights(knots, horizon)
    steps = np.arange(1, horizon + 1)
    low, high = knots[below], knots[below + 1]
    share = np.clip((steps - low) / (high - low), 0.0, 1.0)
    left, right = knot_scores[:, below], knot_scores[:, below + 1]
    line = left + share[:, None] * (right - left)
    # A bridge over each segment: a random walk minus the line between its ends, variance a (1 - a) times what the line lacks.
    agreement = np.mean(knot_scores[:, :-1] * knot_scores[:, 1:], axis=0)
    lacking = np.sqrt(np.clip(2.0 - 2.0 * agreement, 0.0, 2.0))[below]  # (H, C)
    noise = rng.standard_normal((count, int(knots[-1]) + 1, channels))
    walk = np.cumsum(noise, axis=1)
    capped = np.minimum(steps, int(knots[-1]))
    start, end = walk[:, low], walk[:, high]
    bridge = walk[:, capped] - start - share[:, None] * (end - start)
    return np.asarray(line + lacking * bridge / np.sqrt(high - low)[:, None])


def _ranked(scores: FloatArray) -> FloatArray:
    """Levels ``(s - 0.5) / S`` in the order of ``scores`` along their first axis."""
    places = np.argsort(np.argsort(scores, axis=0, kind="stable"), axis=0, kind="stable")
    return np.asarray((places + 0.5) / len(scores))


def _normal(levels: FloatArray) -> FloatArray:
    """Standard normal quantiles; few distinct levels, so each is computed once."""
    distinct, inverse = np.unique(levels, return_inverse=True)
    quantiles = np.array([NormalDist().inv_cdf(float(level)) for level in distinct])
    return np.asarray(quantiles[inverse].reshape(levels.shape))


def _through(levels: FloatArray, quantiles: FloatArray, known: FloatArray) -> FloatArray:
    """The predicted quantiles at ``levels`` ``(S, H, C)``: linear in the normal score, the outer pieces go on."""
    score, knots = _normal(levels), _normal(known)
    piece = np.clip(np.searchsorted(knots, score, side="right") - 1, 0, len(knots) - 2)  # (S, H, C)
    h, c = np.arange(quantiles.shape[0])[None, :, None], np.arange(quantiles.shape[2])[None, None, :]
    low, high = quantiles[h, piece, c], quantiles[h, piece + 1, c]
    part = (score - knots[piece]) / (knots[piece + 1] - knots[piece])
    return np.asarray(low + part * (high - low))
