"""What power would have cost one seat of a match that was played: its inverse residual supply, tick by tick, from the bids as cleared.

``R(x-)`` is defined in :mod:`gridpilot.market.best_response`: what the dearest unit is worth to the others that x kW for this seat take
from them. It rises in steps, here segments of kW and $/kWh. With D the sum of the others' bids and T the supply, the unit just below
position ``T - x`` from the top of the others' blocks and all supply steps is the one just above position ``D + x`` from the bottom.

What x kW cost a seat at least is then, whatever it bids (rates per hour),

    VCG                      integral_0^x R          exactly that, and the segments are that as they are
    uniform, pay-as-bid      x R(x-)                 and :meth:`Segments.hull` is the greatest convex function below it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.market.auction import truncate_supply
from gridpilot.market.clearing import check_reserve, check_supply
from gridpilot.market.compilation import kernel
from gridpilot.tournament.replay import Trace

__all__ = ["Segments", "residual_supply"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segments:
    """A rising step function of kW in each of T ticks: tick t has the segments ``start[t]`` to ``start[t + 1] - 1``, cheapest first."""

    kw: FloatArray  # (K,) kW > 0
    price: FloatArray  # (K,) $/kWh, rising within a tick
    start: npt.NDArray[np.int64]  # (T + 1,)

    @property
    def tick(self) -> npt.NDArray[np.int64]:
        """The tick of each segment, ``(K,)``."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def hull(self) -> Segments:
        """The slopes of the lower convex hull of (0, 0) and all (x_k, x_k R_k), x_k where segment k ends: below x R(x-) everywhere."""
        return _compressed(_hull, self.kw, self.price, self.start)


def residual_supply(trace: Trace, market: int, seat: int) -> Segments:
    """The inverse residual supply of ``seat`` in match ``market`` of the trace, for 0 < x <= min(grid connection, T), in each tick.

    A tick in which nothing can be had has no segments.
    """
    arena = trace.arena
    scenario, rules = arena.scenario, arena.rules
    ticks = slice(scenario.history, scenario.history + len(trace.bids))
    return _compressed(
        _residual_supply,
        trace.bids[:, market], seat, float(arena.arrays.plant["grid_kw"][seat]), check_supply(rules.supply), rules.capacity_kw,
        check_reserve(rules.reserve), scenario.prices[ticks, market, 0], scenario.capacity[ticks, market],
    )  # fmt: skip


def _compressed(function: Any, *arguments: Any) -> Segments:
    kw, price, used = function(*arguments)
    there = np.arange(kw.shape[1]) < used[:, None]
    return Segments(kw[there], price[there], np.concatenate([[0], np.cumsum(used)]))


@kernel
def _residual_supply(
    bids: Any,  # (T, N, W, 2) kW, $/kWh as cleared
    seat: int,
    grid_kw: float,
    ladder: Any,  # (S, 2) share of the capacity, $/kWh over the energy price
    capacity_kw: float,
    reserve: float,  # $/kWh
    energy: Any,  # (T,) $/kWh
    capacity: Any,  # (T,) share of capacity_kw
) -> tuple[Any, Any, Any]:
    ticks, n, width, _ = bids.shape
    most = n * width + len(ladder)
    kw, price, used = np.empty((ticks, most)), np.empty((ticks, most)), np.zeros(ticks, dtype=np.int64)
    entry_kw, entry_price = np.empty(most), np.empty(most)
    supply, steps = np.empty((1, *ladder.shape)), np.empty((len(ladder) + 1, 4))
    for t in range(ticks):
        now = capacity_kw * capacity[t]
        for s in range(len(ladder)):
            supply[0, s, 0], supply[0, s, 1] = ladder[s, 0] * now, energy[t] + ladder[s, 1]
        m, total = truncate_supply(supply, 0, now, reserve, steps)
        for s in range(m):
            entry_kw[s], entry_price[s] = steps[s, 0], steps[s, 1]
        skip = 0.0  # D
        for i in range(n):
            for k in range(width):
                if i != seat and bids[t, i, k, 0] > 0.0:
                    entry_kw[m], entry_price[m] = bids[t, i, k, 0], bids[t, i, k, 1]
                    skip += entry_kw[m]
                    m += 1
        left, k = min(grid_kw, total), 0
        for j in np.argsort(entry_price[:m]):
            if not left > 0.0:
                break
            dropped = min(skip, entry_kw[j])
            skip -= dropped
            take = min(entry_kw[j] - dropped, left)
            if take > 0.0:
                left -= take
                k = _append(kw[t], price[t], k, take, entry_price[j])
        if k > 0 and left > 0.0:  # rounding: all that there is does not quite reach T
            kw[t, k - 1] += left
        used[t] = k
    return kw, price, used


@kernel
def _hull(kw: Any, price: Any, start: Any) -> tuple[Any, Any, Any]:
    """Lower convex hull by a monotone chain (Andrew 1979, Information Processing Letters 9, 216-219)."""
    ticks = len(start) - 1
    most = 0
    for t in range(ticks):
        most = max(most, start[t + 1] - start[t])
    length, slope, used = np.empty((ticks, most)), np.empty((ticks, most)), np.zeros(ticks, dtype=np.int64)
    for t in range(ticks):
        x, k = 0.0, 0
        for j in range(start[t], start[t + 1]):
            before = x * price[j - 1] if j > start[t] else 0.0
            x += kw[j]
            take, rise = kw[j], x * price[j] - before
            while k > 0 and rise <= slope[t, k - 1] * take:  # the point before lies on or above the line past it
                k -= 1
                take += length[t, k]
                rise += length[t, k] * slope[t, k]
            length[t, k], slope[t, k] = take, rise / take
            k += 1
        used[t] = k
    return length, slope, used


@kernel
def _append(kw: Any, price: Any, k: int, quantity: float, at: float) -> int:
    """Add a segment, or lengthen the last one where it has the same price; returns their number."""
    if k > 0 and price[k - 1] == at:
        kw[k - 1] += quantity
        return k
    kw[k], price[k] = quantity, at
    return k + 1
