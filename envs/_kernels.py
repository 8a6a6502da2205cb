"""What an environment does around the arena's step, compiled: actions to orders, outcomes to rewards."""

from __future__ import annotations

import math
from typing import Any, Final

import numba

from gridpilot.market.auction import PRICE_HI, PRICE_LO
from gridpilot.market.compilation import leaf_kernel, parallel_kernel
from gridpilot.market.encoding import MEAN, SIZE
from gridpilot.market.physics import PAYMENT, PROFIT, REVENUE, WEAR, WON, coefficient_of_performance, default_commitment
from gridpilot.market.step import SHADED_CURVE

__all__ = [
    "N_PRICES_OF_TIME",
    "RESULTS",
    "STORAGE_SPAN",
    "decode_parallel",
    "decode_range",
    "settle",
]

N_PRICES_OF_TIME: Final = 2  # entries of an action before the shading factors: storage value, commitment value
STORAGE_SPAN: Final = 2.0  # running price sizes that the storage value moves by at +-1

# Rows of ``results (R, B, S)``: the reward, and what ``info`` carries; money in $ of the tick.
RESULTS: Final = ("reward", "profit", "revenue", "payment", "wear", "won_kw", "clearing_price", "price_lo", "price_hi", "soc")


@leaf_kernel
def decode_range(
    first: int,
    last: int,
    actions: Any,  # (B, S, 2 + K) in [-1, 1]; beyond it is clipped, nan and inf refuse the seat
    seats: Any,  # (B, S)
    plant: Any,  # (N,) PLANT
    class_kw: Any,  # (N, C)
    output: Any,  # (N, C)
    product: Any,  # (N, C)
    prices: Any,  # (H + T, B, 3)
    ambient: Any,  # (H + T, B)
    now: int,  # row of this tick
    last_price: Any,  # (B,)
    levels: Any,  # (B, N_LEVELS)
    kind: Any,  # (B, N), out
    storage_value: Any,  # (B, N), out
    commitment: Any,  # (B, N, C), out
    shade: Any,  # (B, N, K), out
) -> None:
    """Write the orders that ``actions`` ask for, of markets ``first`` to ``last - 1``."""
    width = actions.shape[2]
    for b in range(first, last):
        for s in range(seats.shape[1]):
            i, action = seats[b, s], actions[b, s]
            kind[b, i] = SHADED_CURVE
            commitment[b, i] = math.nan
            finite = True
            for a in range(width):
                finite = finite and math.isfinite(action[a])
            if not finite:
                storage_value[b, i] = math.nan
                shade[b, i] = math.nan  # which the arena refuses, and marks
                continue
            storage_value[b, i] = levels[b, MEAN] + STORAGE_SPAN * _clipped(action[0]) * levels[b, SIZE]
            push = _clipped(action[1])
            if push != 0.0:  # at zero the arena's own default stands
                site = plant[i]
                m = 1.0 + 1.0 / coefficient_of_performance(site, ambient[now, b])
                for c in range(output.shape[1]):
                    revenue = prices[now, b, product[i, c]] * output[i, c]
                    default = default_commitment(site, class_kw[i, c], revenue, m, last_price[b], levels[b, MEAN])
                    commitment[b, i, c] = max(0.0, default + push * site.boot_loss * revenue)
            for k in range(width - N_PRICES_OF_TIME):
                shade[b, i, k] = _clipped(action[N_PRICES_OF_TIME + k])


@leaf_kernel
def _clipped(x: float) -> float:
    return min(max(x, -1.0), 1.0)


@parallel_kernel
def decode_parallel(
    chunks: int, actions: Any, seats: Any, plant: Any, class_kw: Any, output: Any, product: Any, prices: Any, ambient: Any, now: int,
    last_price: Any, levels: Any, kind: Any, storage_value: Any, commitment: Any, shade: Any,
) -> None:  # fmt: skip
    """Decode all markets, ``chunks`` contiguous parts of them in parallel."""
    n = len(actions)
    for c in numba.prange(chunks):
        decode_range(
            c * n // chunks, (c + 1) * n // chunks, actions, seats, plant, class_kw, output, product, prices, ambient, now,
            last_price, levels, kind, storage_value, commitment, shade,
        )  # fmt: skip


@leaf_kernel
def settle(
    outcome: Any,  # (B, N, N_OUTCOME)
    totals: Any,  # (B, N_TOTALS)
    storage: Any,  # (B, N, 2)
    last_price: Any,  # (B,)
    arena_refused: Any,  # (B, N)
    seats: Any,  # (B, S)
    rated: Any,  # (N,) $/h
    results: Any,  # (len(RESULTS), B, S), out
    refused: Any,  # (B, S), out
) -> None:
    """Collect what the tick brought to the learners' seats."""
    for b in range(seats.shape[0]):
        for s in range(seats.shape[1]):
            i = seats[b, s]
            row = outcome[b, i]
            results[0, b, s] = row[PROFIT] / rated[i]
            results[1, b, s] = row[PROFIT]
            results[2, b, s] = row[REVENUE]
            results[3, b, s] = row[PAYMENT]
            results[4, b, s] = row[WEAR]
            results[5, b, s] = row[WON]
            results[6, b, s] = last_price[b]
            results[7, b, s] = totals[b, PRICE_LO]
            results[8, b, s] = totals[b, PRICE_HI]
            results[9, b, s] = storage[b, i, 0]
            refused[b, s] = arena_refused[b, i]
