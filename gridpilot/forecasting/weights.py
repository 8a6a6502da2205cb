"""Online weights of an ensemble: Bernstein online aggregation per channel and horizon, and a guard that asks for evidence."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.market.compilation import kernel

__all__ = ["Aggregation"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MEMORY_DAYS: Final = 30.0  # after which a loss counts 1/e
ANCHOR: Final = 0.3  # prior weight of member 0
OVERLAP: Final = 0.5  # rows of a k-step forecast that tell as much as one independent row, over k
DOUBT: Final = 2.0  # squared t below which the combination is not used
FEW: Final = 12.0  # blocks at which a t counts for 0.7 of itself: with few of them it is large by chance
CERTAIN: Final = 1.0  # t above which a horizon lends to the next longer one
LENDER: Final = 6.0  # greatest t lent from
LENT: Final = 0.9  # share that is lent of what is above CERTAIN
HARD: Final = 0.01  # a weight below this is none


class _State(NamedTuple):
    """What is learned; R rows of origins, M members, of which 0 is the anchor."""

    forecasts: FloatArray  # (R, M, K, C) z; nan where a member had none
    combined: FloatArray  # (R, K, C) z, before the guard
    regret: FloatArray  # (M, K, C) discounted second-order regret of the combination against each member
    square: FloatArray  # (M, K, C) discounted squares of the same
    largest: FloatArray  # (M, K, C)
    weights: FloatArray  # (M, K, C) of the combination, a member at a time sums to 1
    block: FloatArray  # (K, C, 2) gain over the anchor in the block that runs, and its rows
    gain: FloatArray  # (K, C, 3) discounted sum of the blocks' gains, of their squares, and their number
    guard: FloatArray  # (K, C) share of the combination in the answer, the rest is the anchor's
    loss: FloatArray  # (M, K, C) running mean absolute error


class Aggregation:
    """Convex combinations of medians, learned from the absolute error (twice the pinball loss of the median) of earlier forecasts.

    Bernstein online aggregation (Wintenberger 2017, "Optimal learning with Bernstein online aggregation", Machine Learning 106) on the
    linearised loss finds the best convex combination, not only the best member; it is applied to each channel and horizon by itself, as in
    the CRPS learning of Berrisch and Ziel 2021 (Journal of Econometrics). Errors of k-step forecasts overlap, so k / 2 rows count as one in
    the variance that sets the learning rate; neighbouring horizons share their regrets.

    The guard: the combination's gain over the anchor is summed in blocks as long as the horizon; with t the ratio of the blocks' sum to the
    root of their sum of squares, times ``sqrt(n / (n + FEW))`` for n blocks, the share of the combination in the answer is the
    positive-part shrinkage ``1 - DOUBT / t^2`` (James and Stein 1961), 0 where it is negative: what has not been shown to be better
    than the anchor is not used. Long horizons have few blocks, so a horizon lends what its t is above CERTAIN to the next longer one,
    unless that one's own gain is negative. The constants are a compromise, found on simulated series: on random walks of 25 days
    nothing was lost beyond 0.3 %, near random walks lose little of what could be won.
    """

    def __init__(self, members: int, channels: int, knots: IntArray, steps_per_day: int) -> None:
        size, count = int(knots[-1]) + 1, len(knots)
        self.knots = knots
        self._keep = 1.0 - 1.0 / (MEMORY_DAYS * steps_per_day)
        self._rows = 0
        prior = np.full(members, (1.0 - ANCHOR) / max(1, members - 1))
        prior[0] = ANCHOR if members > 1 else 1.0
        self._prior = prior
        self._state = _State(
            forecasts=np.full((size, members, count, channels), np.nan),
            combined=np.zeros((size, count, channels)),
            regret=np.zeros((members, count, channels)),
            square=np.zeros((members, count, channels)),
            largest=np.zeros((members, count, channels)),
            weights=np.broadcast_to(prior[:, None, None], (members, count, channels)).copy(),
            block=np.zeros((count, channels, 2)),
            gain=np.zeros((count, channels, 3)),
            guard=np.zeros((count, channels)),
            loss=np.zeros((members, count, channels)),
        )

    def learn(self, z: FloatArray, held: BoolArray) -> None:
        """Take in ``z`` ``(C,)`` and judge what was forecast for it; channels that are ``held`` are not judged."""
        _learn(self._state, self.knots, self._prior, self._rows, z, held, self._keep)
        self._rows += 1

    def combine(self, forecasts: FloatArray) -> FloatArray:
        """Weights ``(M, K, C)``, guard included, that sum to 1 over M, for ``forecasts`` ``(M, K, C)`` of z; called after each ``learn``.

        A member whose forecast is nan is left out, its weight goes to the others in proportion.
        """
        result = np.empty(forecasts.shape)
        _combine(self._state, (self._rows - 1) % len(self._state.combined), forecasts, result)
        return result

    def recode(self, transform: Any) -> None:
        """Bring what was kept to a new scale of z."""
        self._state.forecasts[:] = transform(self._state.forecasts)
        self._state.combined[:] = transform(self._state.combined)


@kernel
def _learn(s: Any, knots: Any, prior: Any, rows: int, z: Any, held: Any, keep: float) -> None:
    size, members, count = len(s.forecasts), len(prior), len(knots)
    for c in range(len(z)):
        if held[c]:
            continue
        for k in range(count):
            ahead = knots[k]
            if rows < ahead:
                continue
            slot = (rows - ahead) % size
            f = s.combined[slot, k, c]
            sign = 1.0 if f > z[c] else (-1.0 if f < z[c] else 0.0)
            anchor = s.forecasts[slot, 0, k, c]
            for m in range(members):
                own = s.forecasts[slot, m, k, c]
                if np.isnan(own):
                    own = anchor
                regret = sign * (f - own)
                s.loss[m, k, c] += (abs(z[c] - own) - s.loss[m, k, c]) * max(1.0 - keep, 1.0 / (rows - ahead + 1))
                s.largest[m, k, c] = max(keep * s.largest[m, k, c], abs(regret))
                s.square[m, k, c] = keep * s.square[m, k, c] + regret * regret
                rate = _rate(s, m, k, c, ahead, members)
                s.regret[m, k, c] = keep * s.regret[m, k, c] + regret - rate * regret * regret
            gain = abs(z[c] - anchor) - abs(z[c] - f)
            s.block[k, c, 0] += gain
            s.block[k, c, 1] += 1.0
            if s.block[k, c, 1] >= ahead + 6:
                old = keep ** s.block[k, c, 1]
                s.gain[k, c, 0] = old * s.gain[k, c, 0] + s.block[k, c, 0]
                s.gain[k, c, 1] = old * s.gain[k, c, 1] + s.block[k, c, 0] ** 2
                s.gain[k, c, 2] = old * s.gain[k, c, 2] + 1.0
                s.block[k, c, 0], s.block[k, c, 1] = 0.0, 0.0
        lent = 0.0
        for k in range(count):
            t = 0.0
            if s.gain[k, c, 1] > 0.0:
                blocks = s.gain[k, c, 2]
                t = s.gain[k, c, 0] / np.sqrt(s.gain[k, c, 1]) * np.sqrt(blocks / (blocks + FEW))
            t += lent * min(max(0.5 + t, 0.0), 1.0)
            s.guard[k, c] = 1.0 - DOUBT / (t * t) if t > 0.0 and t * t > DOUBT else 0.0
            lent = LENT * (min(max(t, CERTAIN), LENDER) - CERTAIN)
        for k in range(count):
            highest = -np.inf
            for m in range(members):
                s.weights[m, k, c] = _exponent(s, m, k, c, knots, members)
                highest = max(highest, s.weights[m, k, c])
            mass = 0.0
            for m in range(members):
                s.weights[m, k, c] = prior[m] * np.exp(s.weights[m, k, c] - highest)
                mass += s.weights[m, k, c]
            kept = 0.0
            for m in range(members):
                s.weights[m, k, c] = s.weights[m, k, c] / mass
                if s.weights[m, k, c] < HARD:
                    s.weights[m, k, c] = 0.0
                kept += s.weights[m, k, c]
            for m in range(members):
                s.weights[m, k, c] /= kept


@kernel
def _rate(s: Any, m: int, k: int, c: int, ahead: int, members: int) -> float:
    overlap = max(1.0, OVERLAP * ahead)
    rate: float = np.sqrt(np.log(members + 1.0) / max(s.square[m, k, c] * overlap, 1e-300))
    ceiling: float = 0.5 / max(s.largest[m, k, c] * overlap, 1e-300)
    return min(rate, ceiling)


@kernel
def _exponent(s: Any, m: int, k: int, c: int, knots: Any, members: int) -> float:
    """Rate times regret, half of it the knot's own and a quarter each neighbour's."""
    total, weight = 0.0, 0.0
    for near in range(max(0, k - 1), min(len(knots), k + 2)):
        share = 2.0 if near == k else 1.0
        total += share * _rate(s, m, near, c, knots[near], members) * s.regret[m, near, c]
        weight += share
    exponent: float = total / weight
    return exponent


@kernel
def _combine(s: Any, slot: int, forecasts: Any, result: Any) -> None:
    members, count, channels = forecasts.shape
    for k in range(count):
        for c in range(channels):
            mass = 0.0
            for m in range(members):
                s.forecasts[slot, m, k, c] = forecasts[m, k, c]
                if not np.isnan(forecasts[m, k, c]):
                    mass += s.weights[m, k, c]
            s.combined[slot, k, c] = 0.0
            for m in range(members):
                share = 1.0 if m == 0 else 0.0
                if mass > 0.0:
                    share = 0.0 if np.isnan(forecasts[m, k, c]) else s.weights[m, k, c] / mass
                if share > 0.0:
                    s.combined[slot, k, c] += share * forecasts[m, k, c]
                result[m, k, c] = s.guard[k, c] * share + ((1.0 - s.guard[k, c]) if m == 0 else 0.0)
