"""The auctioneer: one divisible good, concave bids, convex supply; VCG, uniform-price or pay-as-bid, with every payment at once.

Each supply step is treated as a dummy bidder that buys back its own capacity at its cost. Then the market is a multi-unit Vickrey
auction of a fixed supply, and site i pays the value of the best ``x_i`` units among the *losing* ones that are not its own: losing
blocks and used supply steps alike (Vickrey 1961; Clarke 1971; Groves 1973; Krishna, Auction Theory, ch. 12). That equals
``W(N without i) - (W(N) - V_i(x_i))`` without the cancellation of that expression and without solving anything again.

Blocks are walked in descending price, one price level at a time: the level's blocks share what is left pro rata, supply steps come
after them (maximum volume), and what a level loses is collected by everybody who won and does not own it. Sums across sites are
kept in twice the working precision, so that results do not depend, to the bit, on the order of the sites.

Up to :data:`SMALL` sites are merged from their sorted lists (here); larger markets find the blocks around the margin first
(:mod:`gridpilot.market.margin`).
"""

from __future__ import annotations

import math
from typing import Any, Final

from gridpilot.market.compilation import inline_kernel

__all__ = ["MECHANISMS", "PAY_AS_BID", "UNIFORM", "VCG", "clear_small", "truncate_supply"]

VCG: Final = 0
UNIFORM: Final = 1
PAY_AS_BID: Final = 2
MECHANISMS: Final = {"vcg": VCG, "uniform": UNIFORM, "pay_as_bid": PAY_AS_BID}

SMALL: Final = 48  # sites; above it the margin is found first

# Share of what is served that rounding may leave over or take too much: a site's quantities are differences of its total, up to 32 of them
# and each rounded by half an epsilon of it. Where that is all that a level wins or loses, its price is neither the lowest winning nor
# the highest losing one.
RESIDUE: Final = 16.0 * 2.0**-52

# Market-wide results of a clearing, by position in a ``totals`` row.
WELFARE: Final = 0  # $/h, value of what was allocated minus the cost of the supply used
SUPPLY_COST: Final = 1  # $/h
VOLUME: Final = 2  # kW
PRICE_LO: Final = 3  # $/kWh, the highest losing price; -inf where nothing loses
PRICE_HI: Final = 4  # $/kWh, the lowest winning price; +inf where nothing can win
N_TOTALS: Final = 5


@inline_kernel
def two_sum(high: float, low: float, x: float) -> tuple[float, float]:
    """Add ``x`` to the double-double ``high + low`` (Knuth's two-sum; Dekker 1971)."""
    total = high + x
    rest = total - high
    return total, low + ((high - (total - rest)) + (x - rest))


@inline_kernel
def renormalise(high: float, low: float) -> tuple[float, float]:
    """The double-double of the same sum whose high part is the sum rounded: one form, in whatever order it was added up."""
    total = high + low
    return total, low - (total - high)


@inline_kernel
def truncate_supply(supply: Any, a: int, capacity: float, reserve: float, steps: Any) -> tuple[int, float]:
    """Write supply ``a`` of ``(A, S, 2)``, cut at ``capacity`` and floored at ``reserve``, to ``steps``; return its length and kW.

    A row of ``steps (S + 1, 4)`` holds kW, $/kWh, and the kW of all cheaper steps as a double-double; the row after the last step
    holds the kW of all. What is left is taken as the difference of such sums, which is exact where it has to be: at zero.
    """
    n, high, low = 0, 0.0, 0.0
    for s in range(supply.shape[1]):
        kw, left = supply[a, s, 0], (capacity - high) - low
        if not (kw > 0.0 and left > 0.0):
            continue
        steps[n, 0], steps[n, 1] = min(kw, left), max(supply[a, s, 1], reserve)
        steps[n, 2], steps[n, 3] = high, low
        n += 1
        if kw >= left:
            high, low = capacity, 0.0
            break
        high, low = two_sum(high, low, kw)
    steps[n, 0], steps[n, 1], steps[n, 2], steps[n, 3] = 0.0, math.inf, high, low
    return n, high + low


@inline_kernel
def clear_small(
    kw: Any,  # (K, N) kW >= 0, already cut at the caps
    price: Any,  # (K, N) $/kWh, non-increasing along K
    used: Any,  # (N,) int64, rows of them that count
    steps: Any,  # (S + 1, 4) kW > 0, $/kWh non-decreasing, kW of the cheaper ones: from truncate_supply
    n_steps: int,
    total: float,  # kW, sum of the steps
    guess: float,  # $/kWh, where the margin may be, inf if nobody knows; only the time taken depends on it
    mechanism: int,
    allocation: Any,  # (N,) kW, out
    payment: Any,  # (N,) $/h, out
    value: Any,  # (N,) $/h, out: V_i(x_i)
    totals: Any,  # (B, N_TOTALS), out
    b: int,  # the market's row of them
    front: Any,  # (N,) scratch: price of each site's next block
    need: Any,  # (N,) scratch: kW of losing units still to be collected
    own: Any,  # (N,) scratch: kW lost at this level by the site itself
    head: Any,  # (N,) int64 scratch: each site's next block
    level: Any,  # (N K,) scratch: kW of the level's blocks
    owner: Any,  # (N K,) int64 scratch: whose they are
) -> None:
    """Clear one market by merging the sites' sorted blocks: O(levels x N)."""
    n = kw.shape[1]
    filled, rest = _accept_to_margin(kw, price, used, steps, n_steps, total, guess, allocation, value, head)
    for i in range(n):
        own[i], need[i], payment[i] = 0.0, 0.0, 0.0
        head[i] = _next_block(kw, used, i, head[i])
        front[i] = price[head[i], i] if head[i] < used[i] else -math.inf

    price_hi, price_lo, supply_cost = math.inf, -math.inf, 0.0
    s, any_lost, lost_kw, open_needs = n_steps - 1, False, 0.0, max(n, 1)
    who, top = _highest(front, n)
    while open_needs > 0:
        p = max(top, steps[s, 1]) if s >= 0 else top
        if p == -math.inf:
            break
        # Gather the level: every block, and every supply step, of price p.
        m, high, low = 0, 0.0, 0.0
        while top == p:
            quantity = kw[head[who], who]
            level[m], owner[m] = quantity, who
            m += 1
            high, low = two_sum(high, low, quantity)
            head[who] = _next_block(kw, used, who, head[who] + 1)
            front[who] = price[head[who], who] if head[who] < used[who] else -math.inf
            who, top = _highest(front, n)
        demand, offered = high + low, 0.0
        roof, roof_rest = steps[s + 1, 2], steps[s + 1, 3]  # kW of the steps that cost no more than the level
        while s >= 0 and steps[s, 1] == p:
            offered += steps[s, 0]
            s -= 1
        # Serve it from what is left. What finds no room among the cheaper steps is lost, and so are all levels below it.
        left = max((roof - filled) + (roof_rest - rest), 0.0)
        if left > RESIDUE * min(filled, total):
            price_hi = p
        share = 1.0 if demand <= left else left / demand
        filled, rest = two_sum(filled, rest + low, high)
        filled, rest = renormalise(filled, rest)
        lost = demand + offered
        if not any_lost:
            lost = min(max((filled - steps[s + 1, 2]) + (rest - steps[s + 1, 3]), 0.0), lost)
        sold = offered if demand > left else lost
        lost_share = min(((filled - roof) + (rest - roof_rest)) / demand, 1.0) if demand > left else 0.0
        for j in range(m):
            won = share * level[j]
            allocation[owner[j]] += won
            value[owner[j]] += won * p
            own[owner[j]] += lost_share * level[j]
        supply_cost += sold * p
        if lost > 0.0:
            lost_kw += lost
            if price_lo == -math.inf and lost_kw > RESIDUE * min(filled, total):
                price_lo = p
                if mechanism != VCG:
                    break
            if not any_lost:
                any_lost = True
                for i in range(n):
                    need[i] = allocation[i]
            open_needs = 0
            for i in range(n):
                others = max(lost - own[i], 0.0)
                take = need[i] if need[i] < others else others
                payment[i] += take * p
                need[i] -= take
                open_needs += need[i] > 0.0
        for j in range(m):
            own[owner[j]] = 0.0
    while s >= 0:  # cheaper than everything that lost: used whole
        supply_cost += steps[s, 0] * steps[s, 1]
        s -= 1
    settle_totals(mechanism, allocation, payment, value, supply_cost, price_lo, price_hi, totals, b)


@inline_kernel
def _next_block(kw: Any, used: Any, i: int, k: int) -> int:
    while k < used[i] and kw[k, i] <= 0.0:
        k += 1
    return k


@inline_kernel
def _highest(front: Any, n: int) -> tuple[int, float]:
    """The first site with the highest price, and that price."""
    who, top = 0, -math.inf
    for i in range(n):
        if front[i] > top:
            who, top = i, front[i]
    return who, top


@inline_kernel
def _accept_to_margin(
    kw: Any, price: Any, used: Any, steps: Any, n_steps: int, total: float, guess: float, allocation: Any, value: Any, head: Any
) -> tuple[float, float]:  # fmt: skip
    """Serve whole blocks from the top for as long as there is room, or nearly; return their kW as a double-double."""
    room = total * (1.0 - 2.0 * RESIDUE)  # more than a residue is left for the lowest winning price
    # Whatever bids above the dearest supply step wins whole, if there is room for all of it: the ordinary case. Where there is not,
    # look twice for a higher price above which there is room for all, and nearly no room is left (regula falsi, from the guess).
    floor = steps[n_steps - 1, 1] if n_steps > 0 else math.inf
    low, low_kw, high, high_kw, tries = floor, 0.0, floor, 0.0, 0
    while True:
        filled, rest = _accept_above(floor, kw, price, used, allocation, value, head)
        fits = filled + rest < room
        if tries == 3 or (fits and (tries != 1 or filled + rest > 0.8 * total)):
            break
        if fits:
            high, high_kw = floor, filled + rest
        else:
            low, low_kw = floor, filled + rest
        if tries == 0:
            for i in range(kw.shape[1]):
                first = _next_block(kw, used, i, 0)
                if first < used[i]:
                    high = max(high, price[first, i])
        tries += 1
        if tries == 3:
            floor = high
        elif tries == 1 and low < guess < high:
            floor = guess
        else:
            floor = high - (high - low) * (0.9 * total - high_kw) / (low_kw - high_kw)
    filled, rest = renormalise(filled, rest)
    return filled, rest


@inline_kernel
def _accept_above(floor: float, kw: Any, price: Any, used: Any, allocation: Any, value: Any, head: Any) -> tuple[float, float]:
    """Give every block of a price above ``floor`` its whole quantity; return the sum as a double-double.

    ``head (N,)`` becomes the number of those blocks.
    """
    high, low = 0.0, 0.0
    for i in range(kw.shape[1]):
        sum_kw, rest, worth, k = 0.0, 0.0, 0.0, 0
        while k < used[i] and price[k, i] > floor:
            quantity = kw[k, i]
            total = sum_kw + quantity
            back = total - sum_kw
            rest += (sum_kw - (total - back)) + (quantity - back)
            sum_kw = total
            worth += quantity * price[k, i]
            k += 1
        allocation[i], value[i], head[i] = sum_kw, worth, k
        high, low = two_sum(high, low + rest, sum_kw)
    return high, low


@inline_kernel
def settle_totals(
    mechanism: int, allocation: Any, payment: Any, value: Any, supply_cost: float, price_lo: float, price_hi: float, totals: Any, b: int
) -> None:  # fmt: skip
    """Write the market-wide results, and the payments of the mechanisms that need only them."""
    volume, volume_rest, worth, worth_rest = 0.0, 0.0, 0.0, 0.0
    for i in range(allocation.shape[0]):
        volume, volume_rest = two_sum(volume, volume_rest, allocation[i])
        worth, worth_rest = two_sum(worth, worth_rest, value[i])
        if mechanism == UNIFORM:
            payment[i] = allocation[i] * price_lo if allocation[i] > 0.0 else 0.0
        elif mechanism == PAY_AS_BID:
            payment[i] = value[i]
    worth, worth_rest = renormalise(worth, worth_rest)
    totals[b, WELFARE] = (worth - supply_cost) + worth_rest
    totals[b, SUPPLY_COST] = supply_cost
    totals[b, VOLUME] = volume + volume_rest
    totals[b, PRICE_LO] = price_lo
    totals[b, PRICE_HI] = price_hi
