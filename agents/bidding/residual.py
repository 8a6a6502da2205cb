"""The supply that is left to a site, as far as it can be told from what is public, and what a bid gets of it."""

from __future__ import annotations

import math
from typing import Any

from gridpilot.market.auction import PAY_AS_BID
from gridpilot.market.compilation import inline_kernel

__all__ = ["expect_rivals", "payoff", "units_beyond"]


@inline_kernel
def expect_rivals(curves: Any, m: int, delay: int, last_price: float, last_kw: float, rivals: Any) -> int:
    """Write what the rivals are expected to bid, in descending price; return the number of blocks."""
    asked, above = 0, 0.0
    while asked < curves.shape[1] and curves[m, asked, 0] > 0.0:
        rivals[asked, 0], rivals[asked, 1] = curves[m, asked, 0], curves[m, asked, 1]
        if rivals[asked, 1] >= last_price:
            above += rivals[asked, 0]
        asked += 1
    if asked == 0 and last_kw > 0.0:  # nothing is to be seen but the volume; nan before the first tick
        rivals[0, 0], rivals[0, 1] = last_kw, math.inf
        asked = 1
    elif delay > 1 and above > 0.0 and last_kw > 0.0:
        for k in range(asked):
            rivals[k, 0] *= last_kw / above
    return asked


@inline_kernel
def units_beyond(rivals: Any, asked: int, steps: Any, n_steps: int, total: float, units: Any) -> int:
    """Write rivals' blocks and supply steps from position ``total`` upwards, cheapest first; return their number."""
    k, s, position, n = 0, n_steps - 1, 0.0, 0
    while position < total and (k < asked or s >= 0):
        if k < asked and (s < 0 or rivals[k, 1] >= steps[s, 1]):
            kw, price = rivals[k, 0], rivals[k, 1]
            k += 1
        else:
            kw, price = steps[s, 0], steps[s, 1]
            s -= 1
        units[n, 0], units[n, 1] = min(kw, total - position), price
        position += kw
        n += 1
    for j in range(n // 2):
        kw, price = units[j, 0], units[j, 1]
        units[j, 0], units[j, 1] = units[n - 1 - j, 0], units[n - 1 - j, 1]
        units[n - 1 - j, 0], units[n - 1 - j, 1] = kw, price
    return n


@inline_kernel
def payoff(true: Any, m: int, bid_price: Any, units: Any, count: int, mechanism: int) -> float:
    """What seat m earns, $/h, that bids its true blocks at ``bid_price (K,)``, non-increasing, for ``units (count, 2)``, cheapest first.

    It wins while it bids more than the next unit's price. Under a uniform price all pay the highest losing one: that of the dearest unit
    displaced, or of the seat's own next block.
    """
    worth, paid, x, price, j, left = 0.0, 0.0, 0.0, 0.0, 0, 0.0
    if count > 0:
        left = units[0, 0]
    for k in range(true.shape[1]):
        wanted = true[m, k, 0]
        while wanted > 0.0 and j < count and bid_price[k] > units[j, 1]:
            take = min(wanted, left)
            worth += take * true[m, k, 1]
            paid += take * bid_price[k]
            x += take
            wanted -= take
            left -= take
            price = units[j, 1]
            if left <= 0.0:
                j += 1
                if j < count:
                    left = units[j, 0]
        if wanted > 0.0:
            if x > 0.0:
                price = max(price, bid_price[k])
            break
    return worth - (paid if mechanism == PAY_AS_BID else x * price)
