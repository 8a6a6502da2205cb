"""Actions of learners, version 2: a few numbers in [-1, 1] that say what an order says, in units of the market at hand.

An action has ``2 + K`` entries:

=============  ===================================================================================================================
``a[0]``       storage value ``v = size x sinh(asinh 1 + 2.2 a)``, $/kWh stored, where size is the running size of the energy price
``a[1]``       commitment value of every machine class, ``1 + a`` times its boot loss
``a[2:]``      K shading factors, interpolated over the blocks from the first to the last: block k's price moves by factor x |price|
=============  ===================================================================================================================

The zero action values a stored kWh at the running size of the price and holds what runs for exactly its boot loss, and does not shade: a
sensible bidder, which no learner has to find first. The storage value reaches from -1.7 to 10.9 sizes. Entries beyond [-1, 1] are clipped;
an action that is not finite is refused by the market, as any order that is not.

Version 1, of ``GridPilot/Market-v0``, is decoded by its environments.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.market.compilation import inline_kernel, leaf_kernel
from gridpilot.market.encoding import SIZE
from gridpilot.market.step import OWN_CURVE, SHADED_CURVE

__all__ = ["ACTION_VERSION", "AT_ZERO", "N_PRICES_OF_TIME", "SPAN", "decode_rows", "storage_entry", "storage_value_of"]

FloatArray = npt.NDArray[np.float64]

ACTION_VERSION: Final = 2
N_PRICES_OF_TIME: Final = 2  # entries before the shading factors
AT_ZERO: Final = math.asinh(1.0)
SPAN: Final = 2.2


def storage_value_of(entry: npt.ArrayLike, size: npt.ArrayLike) -> FloatArray:
    """The storage value, $/kWh, of action entries in [-1, 1], where the running size of the price is ``size`` $/kWh; they broadcast."""
    value: FloatArray = np.asarray(size) * np.sinh(AT_ZERO + SPAN * np.clip(entry, -1.0, 1.0))
    return value


def storage_entry(value: npt.ArrayLike, size: npt.ArrayLike) -> FloatArray:
    """The action entry in [-1, 1] of a storage value, $/kWh: the inverse of :func:`storage_value_of`, clipped; nan of nan."""
    entry: FloatArray = np.clip((np.arcsinh(np.asarray(value) / size) - AT_ZERO) / SPAN, -1.0, 1.0)
    return entry


@leaf_kernel
def decode_rows(
    actions: Any,  # (M, 2 + K)
    row: Any,  # (M,) row of the orders
    site: Any,  # (M,) row of plant
    market: Any,  # (M,) row of prices and levels
    plant: Any,  # (D,) PLANT
    output: Any,  # (D, C)
    product: Any,  # (D, C)
    prices: Any,  # (P, 3)
    levels: Any,  # (P, N_LEVELS)
    kind: Any,  # (R,), out
    storage_value: Any,  # (R,), out
    commitment: Any,  # (R, C), out
    shade: Any,  # (R, W), out; left alone where K is 0
) -> None:
    """Write the orders that ``actions`` ask for."""
    factors, blocks = actions.shape[1] - N_PRICES_OF_TIME, shade.shape[1]
    for m in range(len(row)):
        r, i, p, action = row[m], site[m], market[m], actions[m]
        kind[r] = SHADED_CURVE if factors > 0 else OWN_CURVE
        finite = True
        for a in range(len(action)):
            finite = finite and math.isfinite(action[a])
        if not finite:
            storage_value[r] = math.inf  # which the arena refuses, and marks
            commitment[r] = math.nan
            if factors > 0:
                shade[r] = 0.0
            continue
        value = levels[p, SIZE] * math.sinh(AT_ZERO + SPAN * _clipped(action[0]))
        storage_value[r] = value if math.isfinite(value) else math.nan
        for c in range(commitment.shape[1]):
            revenue = prices[p, product[i, c]] * output[i, c]
            commitment[r, c] = max(0.0, (1.0 + _clipped(action[1])) * plant[i].boot_loss * revenue)
        for k in range(blocks if factors > 0 else 0):
            x = k * (factors - 1.0) / max(blocks - 1.0, 1.0)
            left = min(int(x), factors - 1)
            right = min(left + 1, factors - 1)
            low, high = _clipped(action[N_PRICES_OF_TIME + left]), _clipped(action[N_PRICES_OF_TIME + right])
            shade[r, k] = low + (x - left) * (high - low)


@inline_kernel
def _clipped(x: float) -> float:
    return min(max(x, -1.0), 1.0)
