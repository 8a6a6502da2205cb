"""What each bidder of a cleared market could have got with another bid, all others' bids given: exact, for the three mechanisms.

``T`` is the supply after capacity and reserve. ``L_-i`` are the other sites' blocks, cut at their caps, and *all* supply steps, in
descending price. The inverse residual supply ``R_i(x-)``, ``0 < x <= T``, is the price of the unit of ``L_-i`` just below position
``T - x``: what the dearest unit is worth to the others that ``x`` kW for site i take from them. It rises in steps. ``V_i`` is the integral
of the *true* blocks on ``[0, X_i]``, ``X_i = min(sum of the true blocks, cap, T)``; a deviation may not ask for more. Then

    VCG          best = max V(x) - integral_0^x R       (the truthful surplus)
    uniform      best = max V(x) - x R(x-)
    pay-as-bid   best = the same number, a supremum

    gain_i = max(0, best_i - (V_i(x_i) - payment_i)) at the bids submitted,   NashConv = sum of the gains

The uniform price is the highest losing one, and a bidder that gets ``x`` by "x at a high price and nothing else" pays ``R(x-)``. In
floating point a bid of ``x`` may miss its own step end; ``x (1 - 1e-9)`` does not. Between two break points of ``V`` and step ends of ``R``
the payoff is linear, and where ``V' <= R`` no more can be gained: the maximum is at one of the break points before.
Source: Ausubel, Cramton, Pycia, Rostek and Weretka, "Demand Reduction and Inefficiency in Multi-Unit Auctions" (2014), for the trade-off;
NashConv as in Lanctot et al., "A Unified Game-Theoretic Approach to Multiagent Reinforcement Learning" (2017).
"""

from __future__ import annotations

import math
from typing import Any, Final

from gridpilot.market.auction import VCG
from gridpilot.market.compilation import inline_kernel

__all__ = ["best_responses", "true_value"]

ROUNDING: Final = 2.0**-40  # share of an allocation that sums of blocks in another order may differ by


@inline_kernel
def true_value(true_kw: Any, true_price: Any, i: int, kw: float) -> float:
    """``V_i(kw)``, $/h: column i's true blocks, ``(K, N)`` each, integrated over ``kw``, or over all of them where that is less."""
    left, worth = kw, 0.0
    for k in range(true_kw.shape[0]):
        quantity = min(true_kw[k, i], left)
        worth += quantity * true_price[k, i]
        left -= quantity
    return worth


@inline_kernel
def best_responses(
    bid_kw: Any,  # (K, N) kW >= 0, as cleared: cut at the caps
    bid_price: Any,  # (K, N) $/kWh, non-increasing along K
    used: Any,  # (N,) int64, rows of them that count
    steps: Any,  # (S + 1, 4) from truncate_supply
    n_steps: int,
    total: float,  # kW, T
    mechanism: int,
    price_lo: float,  # $/kWh, highest losing price of the market as cleared
    allocation: Any,  # (N,) kW, as cleared
    true_kw: Any,  # (J, N) kW >= 0, cut at the caps
    true_price: Any,  # (J, N) $/kWh, non-increasing along J
    best: Any,  # (N,) $/h, out
    best_kw: Any,  # (N,) kW, out: the smallest x that attains it
    truthful: Any,  # (N,) $/h, out: max V - integral R, what the truth earns under VCG
    head: Any,  # (N,) int64 scratch: each site's next block
    before: Any,  # (N,) scratch: kW of the others' units collected so far
    first: Any,  # (N,) int64 scratch: the entry in which the others' units reach T
    part: Any,  # (N,) scratch: kW of it that lie above T
    entry_kw: Any,  # (K N + S,) scratch: the units around the margin, in descending price
    entry_price: Any,  # (K N + S,) scratch
    owner: Any,  # (K N + S,) int64 scratch: whose they are; -1 the supply's
) -> None:
    """Write every site's best payoff against the others' bids. One merge of all blocks serves all sites."""
    n = bid_kw.shape[1]
    # What costs more than every unmet true value and than the highest losing price is out of reach for everybody: it is counted whole.
    ceiling = price_lo
    for i in range(n):
        left = allocation[i]
        for k in range(true_kw.shape[0]):
            left -= true_kw[k, i]
            if left < -ROUNDING * allocation[i]:
                ceiling = max(ceiling, true_price[k, i])
                break
    above = 0.0
    for i in range(n):
        own, head[i], first[i], part[i] = 0.0, 0, -1, 0.0
        while head[i] < used[i] and (bid_kw[head[i], i] <= 0.0 or bid_price[head[i], i] > ceiling):
            own += bid_kw[head[i], i]
            head[i] += 1
        before[i] = -own
        above += own
    s = n_steps - 1
    while s >= 0 and steps[s, 1] > ceiling:
        above += steps[s, 0]
        s -= 1
    open_sites = 0
    for i in range(n):
        before[i] += above
        open_sites += before[i] < total

    m = 0
    while open_sites > 0:
        top, who = steps[s, 1] if s >= 0 else -math.inf, -1
        for i in range(n):
            if head[i] < used[i] and bid_price[head[i], i] > top:
                top, who = bid_price[head[i], i], i
        if top == -math.inf:
            break
        if who < 0:
            quantity = steps[s, 0]
            s -= 1
        else:
            quantity = bid_kw[head[who], who]
            head[who] += 1
            while head[who] < used[who] and bid_kw[head[who], who] <= 0.0:
                head[who] += 1
        entry_kw[m], entry_price[m], owner[m] = quantity, top, who
        for i in range(n):
            if i != who and before[i] < total:
                before[i] += quantity
                if before[i] >= total:
                    first[i], part[i] = m, quantity - (before[i] - total)
                    open_sites -= 1
        m += 1

    for i in range(n):
        j = first[i]
        if j < 0 and before[i] < total:  # rounding: all that there is does not quite reach T
            j = m - 1
            while j >= 0 and owner[j] == i:
                j -= 1
            part[i] = entry_kw[j] if j >= 0 else 0.0
        k, x, worth, cost, most, most_kw = 0, 0.0, 0.0, 0.0, 0.0, 0.0
        left_r = part[i] if j >= 0 else 0.0
        left_v = true_kw[0, i] if true_kw.shape[0] > 0 else 0.0
        while True:
            while left_v <= 0.0 and k < true_kw.shape[0]:
                k += 1
                if k < true_kw.shape[0]:
                    left_v = true_kw[k, i]
            while left_r <= 0.0 and j >= 0:
                j -= 1
                if j >= 0 and owner[j] != i:
                    left_r = entry_kw[j]
            if k >= true_kw.shape[0] or j < 0 or not true_price[k, i] > entry_price[j]:
                break
            take = min(left_v, left_r)
            x += take
            worth += take * true_price[k, i]
            cost += take * entry_price[j]
            left_v -= take
            left_r -= take
            payoff = worth - cost if mechanism == VCG else worth - x * entry_price[j]
            if payoff > most:
                most, most_kw = payoff, x
        best[i], best_kw[i], truthful[i] = most, most_kw, worth - cost
