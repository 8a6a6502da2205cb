"""One tick of B markets of N sites: curves, bids, clearing, dispatch, settlement; compiled, without a Python object in sight."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from gridpilot.market.auction import PRICE_HI, PRICE_LO, SMALL, SUPPLY_COST, WELFARE, clear_small, truncate_supply
from gridpilot.market.best_response import best_responses, true_value
from gridpilot.market.compilation import inline_kernel, kernel, leaf_kernel, parallel_kernel
from gridpilot.market.encoding import MEAN
from gridpilot.market.margin import clear_large
from gridpilot.market.physics import N_CONTEXT, apply_dispatch, build_curve, fill_up, own_bid, usable_kw

__all__ = ["NO_BID", "OWN_CURVE", "SHADED_CURVE", "STATED_BLOCKS", "Record", "step_parallel", "step_range"]

# How a seat bids, ``kind (B, N)``.
OWN_CURVE: Final = 0  # its true value curve
SHADED_CURVE: Final = 1  # the same, block k at price + shade_k |price|, made non-increasing
STATED_BLOCKS: Final = 2  # the blocks it states, cut at what the plant can use
NO_BID: Final = 3  # nothing

MAX_FLOAT: Final = float(np.finfo(np.float64).max)


class Record(NamedTuple):
    """What a step writes down besides its results, for those who ask: an array without rows is left alone, and costs nothing."""

    gain: Any  # (B, N) $/h, what the best response to the others' bids would have got beyond the bid made; see best_response.py
    bids: Any  # (B, N, W, 2) kW and $/kWh, as cleared; 0 kW behind the last block


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
    levels: Any,  # (B, N_LEVELS), in: running price levels of the tick
    # the results
    outcome: Any,  # (B, N, N_OUTCOME)
    totals: Any,  # (B, N_TOTALS)
    refused: Any,  # (B, N) bool: the seat's order was not acceptable and counts as no bid
    record: Record,
) -> None:
    """Step markets ``first`` to ``last - 1`` by one tick."""
    n, n_classes = class_kw.shape
    n_blocks = 2 * n_classes + 3
    width = max(n_blocks, blocks.shape[2])
    scratch = _Scratch(
        np.empty((n, n_blocks)), np.empty((n, n_blocks)), np.empty((n, n_blocks), dtype=np.int64), np.empty((n, N_CONTEXT)),
        np.zeros((width, n)), np.zeros((width, n)), np.empty(n, dtype=np.int64),
        np.empty((1, *ladder.shape)), np.empty((len(ladder) + 1, 4)), np.empty(n), np.empty(n), np.empty(n),
        np.empty(n), np.empty(n), np.empty(n), np.empty(n, dtype=np.int64), np.empty(n * width), np.empty(n * width, dtype=np.int64),
        np.zeros(2 * n_classes + 2),
        np.empty((n_blocks, n)), np.empty((n_blocks, n)), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n, dtype=np.int64),
        np.empty(n), np.empty(n * width + len(ladder)), np.empty(n * width + len(ladder)),
        np.empty(n * width + len(ladder), dtype=np.int64),
    )  # fmt: skip
    _step(
        first, last, plant, class_kw, output, product, ladder, capacity_kw, reserve, mechanism, prices, ambient, capacity,
        kind, storage_value, commitment, shade, blocks, machine_kw, storage, last_price, levels, outcome, totals, refused,
        record, scratch,
    )  # fmt: skip


class _Scratch(NamedTuple):
    """What a step of one market after the other needs and leaves behind; K = 2 C + 3, W = max(K, J), S supply steps."""

    curve_kw: Any  # (N, K)
    curve_price: Any  # (N, K)
    curve_tag: Any  # (N, K) int64
    context: Any  # (N, N_CONTEXT)
    bid_kw: Any  # (W, N)
    bid_price: Any  # (W, N)
    used: Any  # (N,) int64, blocks of each bid
    supply: Any  # (1, S, 2)
    steps: Any  # (S + 1, 4)
    allocation: Any  # (N,)
    payment: Any  # (N,)
    value: Any  # (N,)
    front: Any  # (N,) and the following: as in clear_small
    need: Any
    own: Any
    head: Any
    level: Any
    owner: Any
    use: Any  # (2 C + 2,) as in apply_dispatch
    true_kw: Any  # (K, N) and the following: as in best_responses
    true_price: Any  # (K, N)
    best: Any  # (N,)
    best_kw: Any
    truthful: Any
    before: Any
    first: Any
    part: Any
    entry_kw: Any  # (W N + S,)
    entry_price: Any
    whose: Any


@leaf_kernel
def _step(
    first: int, last: int, plant: Any, class_kw: Any, output: Any, product: Any, ladder: Any, capacity_kw: float, reserve: float,
    mechanism: int, prices: Any, ambient: Any, capacity: Any, kind: Any, storage_value: Any, commitment: Any, shade: Any, blocks: Any,
    machine_kw: Any, storage: Any, last_price: Any, levels: Any, outcome: Any, totals: Any, refused: Any, record: Record, scratch: _Scratch,
) -> None:  # fmt: skip
    (
        curve_kw, curve_price, curve_tag, context, bid_kw, bid_price, used, supply, steps, allocation, payment, value,
        front, need, own, head, level, owner, use, _, _, _, _, _, _, _, _, _, _, _,
    ) = scratch  # fmt: skip
    n, width = len(used), len(bid_kw)
    for b in range(first, last):
        for i in range(n):
            what, v = kind[b, i], storage_value[b, i]
            bad = not _acceptable(what, v, commitment, shade, blocks, b, i)
            refused[b, i] = bad
            if bad:
                what, v = NO_BID, math.nan
            build_curve(
                plant, class_kw, output, product, i, machine_kw, storage, prices, b, ambient[b], last_price[b], levels[b, MEAN], v,
                commitment, bad, curve_kw, curve_price, curve_tag, context,
            )  # fmt: skip
            if what == STATED_BLOCKS:
                used[i] = _stated_bid(blocks, b, i, usable_kw(curve_kw, context, i, plant[i].grid_kw), bid_kw, bid_price)
            elif what == NO_BID:
                used[i] = 0
            else:
                used[i] = own_bid(curve_kw, curve_price, context, i, plant[i].grid_kw, bid_kw, bid_price)
                if what == SHADED_CURVE:
                    _shade(shade, b, i, used[i], bid_price)
        kw_now = capacity_kw * capacity[b]
        for s in range(len(ladder)):
            supply[0, s, 0], supply[0, s, 1] = ladder[s, 0] * kw_now, prices[b, 0] + ladder[s, 1]
        n_steps, total = truncate_supply(supply, 0, kw_now, reserve, steps)
        if n <= SMALL:
            clear_small(
                bid_kw, bid_price, used, steps, n_steps, total, last_price[b], mechanism, allocation, payment, value, totals, b,
                front, need, own, head, level, owner,
            )  # fmt: skip
        else:
            for i in range(n):
                fill_up(bid_kw, bid_price, i, used[i], width)
            clear_large(bid_kw, bid_price, steps, n_steps, total, mechanism, allocation, payment, value, totals, b)
        if record.gain.shape[0] > 0:
            _record_gains(b, plant, n_steps, total, mechanism, totals[b, PRICE_LO], record.gain, scratch)
        if record.bids.shape[0] > 0:
            for i in range(n):
                for k in range(width):
                    record.bids[b, i, k, 0] = bid_kw[k, i] if k < used[i] else 0.0
                    record.bids[b, i, k, 1] = bid_price[k, i] if k < used[i] else 0.0
        floor, returned = min(0.0, steps[0, 1]), 0.0
        for i in range(n):
            returned += apply_dispatch(
                allocation[i], payment[i], floor, plant, output, product, i, prices, b, ambient[b], curve_kw, curve_price, curve_tag,
                context, machine_kw, storage, use, outcome,
            )  # fmt: skip
        totals[b, SUPPLY_COST] -= floor * returned  # what the sites hand on, and what the grid takes for it
        totals[b, WELFARE] += floor * returned
        last_price[b] = public_price(totals[b, PRICE_LO], totals[b, PRICE_HI], prices[b, 0])


@leaf_kernel
def _record_gains(
    b: int, plant: Any, n_steps: int, total: float, mechanism: int, price_lo: float, gain: Any, scratch: _Scratch
) -> None:
    """Write market b's gains, $/h, from what its clearing has left in ``scratch``."""
    true_kw, true_price, allocation = scratch.true_kw, scratch.true_price, scratch.allocation
    n = allocation.shape[0]
    for i in range(n):
        told = own_bid(scratch.curve_kw, scratch.curve_price, scratch.context, i, plant[i].grid_kw, true_kw, true_price)
        fill_up(true_kw, true_price, i, told, true_kw.shape[0])
    best_responses(
        scratch.bid_kw, scratch.bid_price, scratch.used, scratch.steps, n_steps, total, mechanism, price_lo, allocation, true_kw,
        true_price, scratch.best, scratch.best_kw, scratch.truthful, scratch.head, scratch.before, scratch.first, scratch.part,
        scratch.entry_kw, scratch.entry_price, scratch.whose,
    )  # fmt: skip
    for i in range(n):
        gain[b, i] = max(0.0, scratch.best[i] - (true_value(true_kw, true_price, i, allocation[i]) - scratch.payment[i]))


@inline_kernel
def public_price(price_lo: float, price_hi: float, energy: float) -> float:
    """The price everybody sees: the highest losing one; where nothing lost the lowest winning one; else the energy price."""
    if price_lo > -math.inf:
        return price_lo
    return price_hi if price_hi < math.inf else energy


@inline_kernel
def _acceptable(what: int, storage_value: float, commitment: Any, shade: Any, blocks: Any, b: int, i: int) -> bool:
    """Whether seat i's order can be carried out: no infinite or negative price of time, no nan, quantities >= 0, prices non-increasing."""
    good = (what >= OWN_CURVE) & (what <= NO_BID) & (abs(storage_value) != math.inf)
    for c in range(commitment.shape[2]):
        good &= not ((commitment[b, i, c] < 0.0) | (commitment[b, i, c] == math.inf))
    if what == SHADED_CURVE:
        for k in range(shade.shape[2]):
            good = good and math.isfinite(shade[b, i, k])
    elif what == STATED_BLOCKS:
        ceiling = MAX_FLOAT
        for k in range(blocks.shape[2]):
            if blocks[b, i, k, 0] != 0.0:
                good = good and 0.0 < blocks[b, i, k, 0] < math.inf and -math.inf < blocks[b, i, k, 1] <= ceiling
                ceiling = blocks[b, i, k, 1]
    return good


@inline_kernel
def _shade(shade: Any, b: int, i: int, used: int, bid_price: Any) -> None:
    """Move the price of block k by ``shade[k]`` times its size; a block that would rise above its predecessor is held at it."""
    ceiling = math.inf
    for k in range(used):
        ceiling = min(ceiling, bid_price[k, i] + shade[b, i, k] * abs(bid_price[k, i]))
        bid_price[k, i] = ceiling


@inline_kernel
def _stated_bid(blocks: Any, b: int, i: int, usable: float, bid_kw: Any, bid_price: Any) -> int:
    """Copy stated blocks, cut at what the plant can use, kW. Returns their number."""
    room, m = usable, 0
    for k in range(blocks.shape[2]):
        quantity = min(blocks[b, i, k, 0], room)
        if quantity > 0.0:
            room -= quantity
            bid_kw[m, i], bid_price[m, i] = quantity, blocks[b, i, k, 1]
            m += 1
    return m


@parallel_kernel
def step_parallel(
    chunks: int, plant: Any, class_kw: Any, output: Any, product: Any, ladder: Any, capacity_kw: float, reserve: float, mechanism: int,
    prices: Any, ambient: Any, capacity: Any, kind: Any, storage_value: Any, commitment: Any, shade: Any, blocks: Any,
    machine_kw: Any, storage: Any, last_price: Any, levels: Any, outcome: Any, totals: Any, refused: Any, record: Record,
) -> None:  # fmt: skip
    """Step all markets, ``chunks`` contiguous parts of them in parallel."""
    n = len(prices)
    for c in numba.prange(chunks):
        step_range(
            c * n // chunks, (c + 1) * n // chunks, plant, class_kw, output, product, ladder, capacity_kw, reserve, mechanism,
            prices, ambient, capacity, kind, storage_value, commitment, shade, blocks, machine_kw, storage, last_price, levels, outcome,
            totals, refused, record,
        )  # fmt: skip
