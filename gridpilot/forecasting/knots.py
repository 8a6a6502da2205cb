"""Knot horizons: what is learned per horizon is learned at a few of them and interpolated between."""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.market.compilation import kernel

__all__ = ["KNOT_HOURS", "knot_steps", "knot_weights", "spread_knots"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

KNOT_HOURS: Final = (1 / 12, 1 / 6, 1 / 4, 1 / 2, 3 / 4, 1, 1.5, 2, 3, 4, 6, 9, 12, 16, 20, 24)


def knot_steps(steps_per_day: int) -> IntArray:
    """``(K,)`` increasing knot horizons in steps, the first 1 and the last a day."""
    steps = np.maximum(1, np.rint(np.array(KNOT_HOURS) * steps_per_day / 24)).astype(np.int64)
    return np.unique(np.append(steps, 1))


def knot_weights(knots: IntArray, horizon: int) -> tuple[IntArray, FloatArray]:
    """The knot below each horizon 1..H, ``(H,)``, and the share ``(H,)`` of the knot above it, linear in the logarithm of the horizon.

    Beyond the last knot the share is 1 (what was learned there goes on).
    """
    return _weights(knots.tobytes(), horizon)


@functools.lru_cache(maxsize=64)
def _weights(packed: bytes, horizon: int) -> tuple[IntArray, FloatArray]:
    knots = np.frombuffer(packed, dtype=np.int64)
    steps = np.arange(1, horizon + 1)
    below = np.clip(np.searchsorted(knots, steps, side="right") - 1, 0, len(knots) - 2)
    low, high = np.log(knots[below]), np.log(knots[below + 1])
    share = np.minimum((np.log(steps) - low) / (high - low), 1.0)
    below.setflags(write=False)
    share.setflags(write=False)
    return below, share


@kernel
def spread_knots(values: Any, below: Any, share: Any, out: Any) -> None:
    """Interpolate ``values`` ``(K, N)`` to ``out`` ``(H, N)``."""
    for h in range(len(below)):
        k = below[h]
        for n in range(values.shape[1]):
            out[h, n] = values[k, n] + share[h] * (values[k + 1, n] - values[k, n])
