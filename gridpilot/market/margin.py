"""Clearing of large markets: find the blocks around the margin by a histogram of prices, sort only those, and walk them.

The mass of all blocks and supply steps is summed into buckets of equal price width. Every bucket before the one in which the supply runs
out wins whole; of the losing ones only so many matter as the largest demand can collect. What lies between is sorted, and the level walk of
:mod:`gridpilot.market.auction` settles it. O(N K) and a sort of the window; O(N K log(N K)) when all prices fall into one bucket.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from gridpilot.market.auction import RESIDUE, VCG, renormalise, settle_totals, two_sum
from gridpilot.market.compilation import kernel, leaf_kernel

__all__ = ["clear_large"]

_BUCKETS: Final = 1024
_CHUNK: Final = 32  # losing levels whose mass and value are also known as one sum


@kernel
def clear_large(
    kw: Any,
    price: Any,
    steps: Any,
    n_steps: int,
    total: float,
    mechanism: int,
    allocation: Any,
    payment: Any,
    value: Any,
    totals: Any,
    b: int,
) -> None:
    """Clear one market of many sites; arguments and results as :func:`gridpilot.market.auction.clear_small`."""
    n_blocks, n = kw.shape
    top, scale = _price_scale(kw, price, steps, n_steps)
    mass, most = _histogram(kw, price, steps, n_steps, top, scale)
    first, last = _window(mass, total, most)

    # Accept what lies above the window, gather what lies in it.
    size = 0
    for bucket in range(first, last + 1):
        size += int(mass[_BUCKETS + bucket])
    window_price, window_kw, window_owner = np.empty(size), np.empty(size), np.empty(size, dtype=np.int64)
    filled, rest, m = 0.0, 0.0, 0
    for i in range(n):
        x, v = 0.0, 0.0
        for k in range(n_blocks):
            q, p = kw[k, i], price[k, i]
            if q <= 0.0:
                continue
            bucket = _bucket(p, top, scale)
            if bucket > last:
                break
            if bucket < first:
                x += q
                v += q * p
                filled, rest = two_sum(filled, rest, q)
            else:
                window_price[m], window_kw[m], window_owner[m] = p, q, i
                m += 1
        allocation[i], value[i], payment[i] = x, v, 0.0
    supply_cost, n_cheaper = 0.0, n_steps  # steps that cost no more than the coming level
    for s in range(n_steps):
        bucket = _bucket(steps[s, 1], top, scale)
        if bucket < first:
            n_cheaper -= 1
        elif bucket > last:
            supply_cost += steps[s, 0] * steps[s, 1]
        else:
            window_price[m], window_kw[m], window_owner[m] = steps[s, 1], steps[s, 0], -1
            m += 1
    order = np.argsort(-window_price[:m], kind="mergesort")  # stable: a site's blocks of one price stay in order

    # Walk the window's levels: serve from what is left, and list what loses.
    filled, rest = renormalise(filled, rest)
    lost_price, lost_kw, lost_share = np.empty(m), np.empty(m), np.empty(m)
    n_lost, lost_so_far, price_hi, price_lo = 0, 0.0, math.inf, -math.inf
    j = 0
    while j < m:
        p, start, high, low, offered = window_price[order[j]], j, 0.0, 0.0, 0.0
        roof, roof_rest = steps[n_cheaper, 2], steps[n_cheaper, 3]
        while j < m and window_price[order[j]] == p:
            if window_owner[order[j]] >= 0:
                high, low = two_sum(high, low, window_kw[order[j]])
            else:
                offered += window_kw[order[j]]
                n_cheaper -= 1
            j += 1
        demand, left = high + low, max((roof - filled) + (roof_rest - rest), 0.0)
        if left > RESIDUE * min(filled, total):
            price_hi = p
        share = 1.0 if demand <= left else left / demand
        filled, rest = two_sum(filled, rest + low, high)
        filled, rest = renormalise(filled, rest)
        lost = demand + offered
        if n_lost == 0:
            lost = min(max((filled - steps[n_cheaper, 2]) + (rest - steps[n_cheaper, 3]), 0.0), lost)
        if share > 0.0:
            for e in range(start, j):
                i = window_owner[order[e]]
                if i >= 0:
                    allocation[i] += share * window_kw[order[e]]
                    value[i] += share * window_kw[order[e]] * p
        used = offered if demand > left else lost
        supply_cost += used * p
        if lost > 0.0:
            lost_so_far += lost
            if price_lo == -math.inf and lost_so_far > RESIDUE * min(filled, total):
                price_lo = p
            lost_price[n_lost], lost_kw[n_lost], lost_share[n_lost] = p, lost, 0.0
            if demand > left:
                lost_share[n_lost] = min(((filled - roof) + (rest - roof_rest)) / demand, 1.0)
            n_lost += 1
    if n_lost > 0 and mechanism == VCG:
        _vickrey_payments(kw, price, allocation, lost_price[:n_lost], lost_kw[:n_lost], lost_share[0], payment)
    settle_totals(mechanism, allocation, payment, value, supply_cost, price_lo, price_hi, totals, b)


@leaf_kernel
def _price_scale(kw: Any, price: Any, steps: Any, n_steps: int) -> tuple[float, float]:
    """Highest price of all, and buckets per $/kWh."""
    top, bottom = -math.inf, math.inf
    if n_steps > 0:
        top, bottom = steps[n_steps - 1, 1], steps[0, 1]
    n_blocks, n = kw.shape
    for i in range(n):
        for k in range(n_blocks):
            if kw[k, i] > 0.0:
                top = max(top, price[k, i])
                break
        for k in range(n_blocks - 1, -1, -1):
            if kw[k, i] > 0.0:
                bottom = min(bottom, price[k, i])
                break
    return top, (_BUCKETS / (top - bottom) if top > bottom else 0.0)


@leaf_kernel
def _bucket(p: float, top: float, scale: float) -> int:
    return min(int((top - p) * scale), _BUCKETS - 1)


@kernel
def _histogram(kw: Any, price: Any, steps: Any, n_steps: int, top: float, scale: float) -> tuple[Any, float]:
    """Mass (first half) and number (second half) of entries by bucket, and the largest demand of a site, kW."""
    mass = np.zeros(2 * _BUCKETS)
    most = 0.0
    n_blocks, n = kw.shape
    for i in range(n):
        demand = 0.0
        for k in range(n_blocks):
            q = kw[k, i]
            if q > 0.0:
                bucket = _bucket(price[k, i], top, scale)
                mass[bucket] += q
                mass[_BUCKETS + bucket] += 1.0
                demand += q
        most = max(most, demand)
    for s in range(n_steps):
        bucket = _bucket(steps[s, 1], top, scale)
        mass[bucket] += steps[s, 0]
        mass[_BUCKETS + bucket] += 1.0
    return mass, most


@leaf_kernel
def _window(mass: Any, total: float, most: float) -> tuple[int, int]:
    """First bucket that may not win whole, and the last one that a payment can reach; rounding errs towards a larger window."""
    first, cumulative = 0, mass[0]
    while first < _BUCKETS - 1 and cumulative < total * (1.0 - 1e-9):
        first += 1
        cumulative += mass[first]
    last = first
    while last < _BUCKETS - 1 and cumulative - total < most * (1.0 + 1e-9) + total * 1e-9:
        last += 1
        cumulative += mass[last]
    return first, last


@kernel
def _vickrey_payments(
    kw: Any, price: Any, allocation: Any, lost_price: Any, lost_kw: Any, first_share: float, payment: Any
) -> None:
    """What each winner pays: the value of the best units that lost, without its own. ``first_share`` of the first level's blocks lost."""
    n_blocks, n = kw.shape
    n_lost = len(lost_price)
    n_chunks = n_lost // _CHUNK
    chunk_kw, chunk_value = np.zeros(n_chunks), np.zeros(n_chunks)
    for c in range(n_chunks):
        for j in range(c * _CHUNK, (c + 1) * _CHUNK):
            chunk_kw[c] += lost_kw[j]
            chunk_value[c] += lost_kw[j] * lost_price[j]
    for i in range(n):
        need = allocation[i]
        if need <= 0.0:
            continue
        k = 0
        while k < n_blocks and (price[k, i] > lost_price[0] or kw[k, i] <= 0.0):
            k += 1
        pay, j = 0.0, 0
        while need > 0.0 and j < n_lost:
            while k < n_blocks and kw[k, i] <= 0.0:
                k += 1
            c = j // _CHUNK
            whole = j % _CHUNK == 0 and c < n_chunks and need > chunk_kw[c]
            if whole and (k >= n_blocks or price[k, i] < lost_price[j + _CHUNK - 1]):  # and none of it is i's own
                pay += chunk_value[c]
                need -= chunk_kw[c]
                j += _CHUNK
                continue
            own = 0.0
            while k < n_blocks and (price[k, i] >= lost_price[j] or kw[k, i] <= 0.0):
                own += kw[k, i] * (first_share if j == 0 else 1.0)
                k += 1
            take = min(need, max(lost_kw[j] - own, 0.0))
            pay += take * lost_price[j]
            need -= take
            j += 1
        payment[i] = pay
