"""One tick of B markets of N sites: curves, bids, clearing, dispatch, settlement; compiled, without a Python object in sight."""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from gridpilot.market.auction import SMALL, clear_small, truncate_supply
from gridpilot.market.compilation import inline_kernel, kernel, parallel_kernel
from gridpilot.market.margin import clear_large
from gridpilot.market.physics import N_CONTEXT, apply_dispatch, build_curve, own_bid

__all__ = ["NO_BID", "OWN_CURVE", "SHADED_CURVE", "STATED_BLOCKS", "step_parallel", "step_range"]

# How a seat bids, ``kind (B, N)``.
OWN_CURVE: Final = 0  # its true value curve
SHADED_CURVE: Final = 1  # the same, block k at price + shade_k |price|, made non-increasing
STATED_BLOCKS: Final = 2  # the blocks it states
NO_BID: Final = 3  # nothing


@kernel
def step_range(
    first: int,
    last: int,
    # the market
    plant: Any,  # (N,) PLANT
    class_kw: Any,  # (N, C)
    output: Any,  # (N, C)
    product: Any,  # (N, C)
    ladder: Any,  # (S, 2) share of the capacity, $/kWh over the energy price
    capacity_kw: float,
    reserve: float,
    mechanism: int,
    # the tick
    prices: Any,  # (B, 3)
    ambient: Any,  # (B,) degC
    capacity: Any,  # (B,) share of capacity_kw
    # the bids
    kind: Any,  # (B, N) int8
    storage_value: Any,  # (B, N) $/kWh, nan = battery idle
    commitment: Any,  # (B, N, C) $/kWh, nan = default
    shade: Any,  # (B, N, K)
    blocks: Any,  # (B, N, J, 2) kW, $/kWh
    # the state, in and out
    machine_kw: Any,  # (B, N, C)
    storage: Any,  # (B, N, 2) soc kWh, theta degC
    last_price: Any,  # (B,)
    # the results
    outcome: Any,  # (B, N, N_OUTCOME)
    totals: Any,  # (B, N_TOTALS)
    refused: Any,  # (B, N) bool: the seat's order was not acceptable and counts as no bid
) -> None:
    """Step markets ``first`` to ``last - 1`` by one tick."""
    n, n_classes = class_kw.shape
    n_blocks = 2 * n_classes + 3
    width = max(n_blocks, blocks.shape[2])
    curve_kw, curve_price = np.empty((n, n_blocks)), np.empty((n, n_blocks))
    curve_tag, context = np.empty((n, n_blocks), dtype=np.int64), np.empty((n, N_CONTEXT))
    bid_kw, bid_price = np.zeros((n, width)), np.zeros((n, width))
    work, index = np.empty(3 * n + n * width), np.empty(n + n * width, dtype=np.int64)
    allocation, payment, value = np.empty(n), np.empty(n), np.empty(n)
    supply, steps, running = np.empty_like(ladder), np.empty_like(ladder), np.empty(n_classes)
    default = np.full(n_classes, math.nan)
    for b in range(first, last):
        for i in range(n):
            what, v, kappa = kind[b, i], storage_value[b, i], commitment[b, i]
            refused[b, i] = not _acceptable(what, v, kappa, shade[b, i], blocks[b, i])
            if refused[b, i]:
                what, v, kappa = NO_BID, math.nan, default
            build_curve(
                plant[i], class_kw[i], output[i], product[i], machine_kw[b, i], storage[b, i, 0], storage[b, i, 1], prices[b], ambient[b],
                last_price[b], v, kappa, curve_kw[i], curve_price[i], curve_tag[i], context[i],
            )  # fmt: skip
            if what == STATED_BLOCKS:
                _stated_bid(blocks[b, i], plant[i].grid_kw, bid_kw[i], bid_price[i])
            elif what == NO_BID:
                bid_kw[i] = 0.0
            else:
                own_bid(curve_kw[i], curve_price[i], context[i], plant[i].grid_kw, bid_kw[i], bid_price[i])
                if what == SHADED_CURVE:
                    _shade(shade[b, i], bid_kw[i], bid_price[i])
        kw_now = capacity_kw * capacity[b]
        for s in range(len(ladder)):
            supply[s, 0], supply[s, 1] = ladder[s, 0] * kw_now, prices[b, 0] + ladder[s, 1]
        n_steps, total = truncate_supply(supply, kw_now, reserve, steps)
        if n <= SMALL:
            clear_small(bid_kw, bid_price, steps, n_steps, total, mechanism, allocation, payment, value, totals[b], work, index)
        else:
            clear_large(bid_kw, bid_price, steps, n_steps, total, mechanism, allocation, payment, value, totals[b])
        for i in range(n):
            apply_dispatch(
                allocation[i], payment[i], plant[i], output[i], product[i], prices[b], ambient[b], curve_kw[i], curve_tag[i], context[i],
                machine_kw[b, i], running, storage[b, i], outcome[b, i],
            )  # fmt: skip
        last_price[b] = public_price(totals[b, 3], totals[b, 4], prices[b, 0])


@inline_kernel
def public_price(price_lo: float, price_hi: float, energy: float) -> float:
    """The price everybody sees: the highest losing one; where nothing lost the lowest winning one; else the energy price."""
    if price_lo > -math.inf:
        return price_lo
    return price_hi if price_hi < math.inf else energy


@inline_kernel
def _acceptable(what: int, storage_value: float, commitment: Any, shade: Any, blocks: Any) -> bool:
    """Whether an order can be carried out: no infinite or negative prices of time, no nan, quantities >= 0, prices non-increasing."""
    if math.isinf(storage_value):
        return False
    for c in range(len(commitment)):
        if commitment[c] < 0.0 or math.isinf(commitment[c]):
            return False
    if what == SHADED_CURVE:
        for k in range(len(shade)):
            if not math.isfinite(shade[k]):
                return False
    elif what == STATED_BLOCKS:
        ceiling = math.inf
        for k in range(len(blocks)):
            if blocks[k, 0] == 0.0:
                continue
            if not (0.0 < blocks[k, 0] < math.inf and -math.inf < blocks[k, 1] <= ceiling):
                return False
            ceiling = blocks[k, 1]
    return OWN_CURVE <= what <= NO_BID


@inline_kernel
def _shade(shade: Any, bid_kw: Any, bid_price: Any) -> None:
    """Move the price of block k by ``shade[k]`` times its size; a block that would rise above its predecessor is held at it."""
    ceiling = math.inf
    for k in range(len(shade)):
        ceiling = min(ceiling, bid_price[k] + shade[k] * abs(bid_price[k]))
        bid_price[k] = ceiling


@inline_kernel
def _stated_bid(blocks: Any, grid_kw: float, bid_kw: Any, bid_price: Any) -> None:
    """Copy stated blocks, cut at the grid connection."""
    room = grid_kw
    for k in range(len(blocks)):
        quantity = min(blocks[k, 0], room)
        room -= quantity
        bid_kw[k], bid_price[k] = quantity, blocks[k, 1]
    for k in range(len(blocks), len(bid_kw)):
        bid_kw[k] = 0.0


@parallel_kernel
def step_parallel(
    chunks: int, plant: Any, class_kw: Any, output: Any, product: Any, ladder: Any, capacity_kw: float, reserve: float, mechanism: int,
    prices: Any, ambient: Any, capacity: Any, kind: Any, storage_value: Any, commitment: Any, shade: Any, blocks: Any,
    machine_kw: Any, storage: Any, last_price: Any, outcome: Any, totals: Any, refused: Any,
) -> None:  # fmt: skip
    """Step all markets, ``chunks`` contiguous parts of them in parallel."""
    n = len(prices)
    for c in numba.prange(chunks):
        step_range(
            c * n // chunks, (c + 1) * n // chunks, plant, class_kw, output, product, ladder, capacity_kw, reserve, mechanism,
            prices, ambient, capacity, kind, storage_value, commitment, shade, blocks, machine_kw, storage, last_price, outcome, totals,
            refused,
        )  # fmt: skip
