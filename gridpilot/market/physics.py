"""What a tick's power is worth to a site, and what the site does with it: the kernels behind :mod:`gridpilot.market.plant`.

A site with machines, a battery and a thermostat-cooled hall maximises the tick's profit plus the worth of what it carries over,

    max  sum_c (r_c + kappa_c) x_c - boot_loss r_c started_c  +  v (eta_c b+ - b- / eta_d)  -  wear (b+ + b-)
    s.t. q + b- = P + w + b+,   P = sum x_c,   w = max(0, P - P_free) / COP <= w_max,   x_c <= x_c_previous + ramp_up

over what it does with ``q`` kW of grid power, all rates per hour. ``r_c`` is the revenue per machine kWh, ``v`` the storage value and
``kappa_c`` the commitment value. Every use of power is a block of constant marginal value, so the maximum is found by serving the blocks
in descending value: a concave curve ``V(q)`` of at most ``2 C + 3`` blocks, whose argmax is the same walk. Cooling makes a kW of
machines above ``P_free`` draw ``m = 1 + 1/COP`` kW; a discharging battery is a block that grid power may buy back.

Power that was won and is worth less than giving it back is given back, at ``floor = min(0, the cheapest supply step)``: nothing is
refunded where power costs something, and where takers are paid, the money goes back with it. No mechanism charges less than the cheapest
step for a kW, so that winning power and not drawing it never earns anything, and a truthful bid, which never wins a block worth less
than that step, gives nothing back. A bid is cut at what the plant can use, :func:`usable_kw`.
"""

from __future__ import annotations

import math
from typing import Any, Final

from gridpilot.market.compilation import inline_kernel
from gridpilot.market.units import DT

__all__ = [
    "apply_dispatch",
    "build_curve",
    "coefficient_of_performance",
    "default_commitment",
    "fill_up",
    "own_bid",
    "usable_kw",
]

MIN_COP: Final = 1.0  # cooling never gets worse than a heater in reverse, however hot it is outside
ROUNDING: Final = 2.0**-40  # relative, above what sums of a curve's blocks in any order differ by
RETURN: Final = 1.0 / 3.0  # share of ticks with power too dear for a class that are followed by one in which it is not

# What a block of the curve is, by its tag: c < C machines of class c that need no cooling, C + c the same with their cooling, 2 C charging,
# 2 C + 1 discharging.

# Columns of a site's ``context`` row, what dispatch needs to know of its curve.
COP: Final = 0
P_FREE: Final = 1  # kW of machines that need no cooling this tick
B_MAX: Final = 2  # kW the battery can discharge
N_CURVE: Final = 3  # blocks in the curve
PER_COP: Final = 4  # 1 / COP
PER_M: Final = 5  # 1 / m, kW of machines a kW of their draw carries where they are cooled
N_CONTEXT: Final = 6

# Columns of an ``outcome`` row: what a site got and did in a tick. Powers in kW, money in $ for the tick.
WON: Final = 0  # kW allocated by the auction
DRAWN: Final = 1  # kW taken from the grid: less than won where more of it would have been worth less than giving it back
MACHINES: Final = 2  # kW
COOLING: Final = 3  # kW
CHARGED: Final = 4  # kW at the terminals
DISCHARGED: Final = 5  # kW at the terminals
REVENUE: Final = 6  # $
PAYMENT: Final = 7  # $, what the auction charges and what giving power back at a negative price costs
WEAR: Final = 8  # $
PROFIT: Final = 9  # $, revenue - payment - wear
N_OUTCOME: Final = 10


@inline_kernel
def coefficient_of_performance(site: Any, ambient: float) -> float:
    """Heat moved per unit of cooling power at this ambient temperature (degC), at least MIN_COP."""
    cop: float = max(MIN_COP, site.cop - site.cop_slope * (ambient - site.cop_reference))
    return cop


@inline_kernel
def default_commitment(site: Any, class_kw: float, revenue: float, m: float, last_price: float, mean_price: float) -> float:
    """What having a class running is worth beyond the tick where nobody says otherwise, $/kWh.

    Its boot loss, while the last power was worth buying. Where it was not, a third of what stopping would lose if the next is: the boot
    loss, and the usual margin over the ticks that a kW of the class waits on average until the ramp has brought it back; never more
    than the boot loss.
    """
    boot: float = site.boot_loss * max(revenue, 0.0)
    if last_price * m < revenue or site.ramp_kw <= 0.0:
        return boot
    delay = 0.5 * max(math.ceil(class_kw / site.ramp_kw) - 1.0, 0.0)
    worth: float = min(boot, RETURN * (boot + delay * max(revenue - m * mean_price, 0.0)))
    return worth


@inline_kernel
def build_curve(
    plant: Any,  # (N,) PLANT
    class_kw: Any,  # (N, C) kW
    output: Any,  # (N, C) units per kWh
    product: Any,  # (N, C)
    i: int,  # the site
    machine_kw: Any,  # (B, N, C) kW, power of each class in the last tick
    storage: Any,  # (B, N, 2) soc kWh, theta degC
    prices: Any,  # (B, 3) energy, hash, token
    b: int,  # the market
    ambient: float,  # degC
    last_price: float,  # $/kWh, clearing price of the last tick
    mean_price: float,  # $/kWh, running mean of the energy price
    storage_value: float,  # $/kWh, nan = the battery stands idle
    commitment: Any,  # (B, N, C) $/kWh, nan = default
    defaults: bool,  # whether to take the default commitment values in any case
    kw: Any,  # (N, K) kW, out
    price: Any,  # (N, K) $/kWh, out, non-increasing
    tag: Any,  # (N, K) int64, out
    context: Any,  # (N, N_CONTEXT), out
) -> None:
    """Write the site's curve: blocks of descending value from ``b-max`` kW below zero grid power upwards. K >= 2 C + 3."""
    site, n_classes = plant[i], class_kw.shape[1]
    soc, theta = storage[b, i, 0], storage[b, i, 1]
    cop = coefficient_of_performance(site, ambient)
    per_cop = 1.0 / cop
    m = 1.0 + per_cop
    per_m = 1.0 / m
    p_free = max(0.0, (site.set_point - theta) * site.heat_rate + site.loss * (theta - ambient))

    # Machines, continuing and started, sorted by value; a place further down than they will stand, for the one that heat may split.
    n = 1
    for c in range(site.n_classes):
        revenue = prices[b, product[i, c]] * output[i, c]
        kappa = commitment[b, i, c]
        if defaults or math.isnan(kappa):
            kappa = default_commitment(site, class_kw[i, c], revenue, m, last_price, mean_price)
        running = min(machine_kw[b, i, c], class_kw[i, c])
        startable = min(site.ramp_kw, class_kw[i, c] - running)
        if running > 0.0:
            n = _insert(kw, price, tag, i, 1, n, running, revenue + kappa, c)
        if startable > 0.0:
            n = _insert(kw, price, tag, i, 1, n, startable, revenue * (1.0 - site.boot_loss) + kappa, c)

    # Heat: the first P_free kW need no cooling, the following draw m kW each, beyond the cooling's limit there are none.
    coolable, warm, machines = cop * site.cooling_kw, p_free, n
    n = 0
    for k in range(1, machines):
        left, value, what = kw[i, k], price[i, k], tag[i, k]
        if warm > 0.0:
            take = min(left, warm)
            warm -= take
            left -= take
            kw[i, n], price[i, n], tag[i, n] = take, value, what
            n += 1
        if left > 0.0:
            take = min(left, coolable)
            coolable -= take
            if take <= 0.0:
                break
            kw[i, n], price[i, n], tag[i, n] = take * m, value * per_m, what + n_classes
            n += 1

    # The battery, as a block that buys and a block that can be bought back.
    b_max = 0.0
    if not math.isnan(storage_value):
        v = max(storage_value, site.lowest_value)
        b_max = max(0.0, min(site.battery_kw, (soc - site.soc_min) * site.discharge_rate))
        charge = max(0.0, min(site.battery_kw, (site.soc_max - soc) * site.charge_rate))
        sell = v * site.per_eta_d + site.wear
        if b_max > 0.0:
            n = _insert(kw, price, tag, i, 0, n, b_max, sell, 2 * n_classes + 1)
        if charge > 0.0:
            n = _insert(kw, price, tag, i, 0, n, charge, min(site.eta_c * v - site.wear, sell), 2 * n_classes)
    context[i, COP], context[i, P_FREE], context[i, B_MAX] = cop, p_free, b_max
    context[i, N_CURVE], context[i, PER_COP], context[i, PER_M] = n, per_cop, per_m


@inline_kernel
def _insert(kw: Any, price: Any, tag: Any, i: int, first: int, n: int, quantity: float, value: float, what: int) -> int:
    """Put a block behind all blocks of at least its value that stand in places ``first`` to ``n - 1``; return n + 1."""
    k = n
    while k > first and price[i, k - 1] < value:
        kw[i, k], price[i, k], tag[i, k] = kw[i, k - 1], price[i, k - 1], tag[i, k - 1]
        k -= 1
    kw[i, k], price[i, k], tag[i, k] = quantity, value, what
    return n + 1


@inline_kernel
def own_bid(kw: Any, price: Any, context: Any, i: int, grid_kw: float, bid_kw: Any, bid_price: Any) -> int:
    """The truthful bid: the curve without its first ``b-max`` kW, cut at the grid connection. Returns its number of blocks.

    Reads row i of ``kw``, ``price (N, K)`` and ``context``, writes column i of ``bid_kw`` and ``bid_price (K, N)``.
    """
    n, skip, room, m = int(context[i, N_CURVE]), context[i, B_MAX], grid_kw, 0
    for k in range(n):
        quantity = kw[i, k]
        dropped = min(skip, quantity)
        skip -= dropped
        quantity = min(quantity - dropped, room)
        if quantity > 0.0:
            room -= quantity
            bid_kw[m, i], bid_price[m, i] = quantity, price[i, k]
            m += 1
    return m


@inline_kernel
def usable_kw(kw: Any, context: Any, i: int, grid_kw: float) -> float:
    """The most grid power that the plant can use with its curve in row i of ``kw (N, K)``, kW, and what rounding may add.

    Without that its own curve, stated block by block, would lose the last bit of its last block.
    """
    total: float = -context[i, B_MAX]
    for k in range(int(context[i, N_CURVE])):
        total += kw[i, k]
    return max(0.0, min(total * (1.0 + ROUNDING), grid_kw))


@inline_kernel
def fill_up(bid_kw: Any, bid_price: Any, i: int, used: int, rows: int) -> None:
    """Give column i's blocks from ``used`` to ``rows - 1`` no quantity, and the price of the last one used."""
    floor = bid_price[used - 1, i] if used > 0 else 0.0
    for k in range(used, rows):
        bid_kw[k, i], bid_price[k, i] = 0.0, floor


@inline_kernel
def apply_dispatch(
    won_kw: float,
    payment: float,  # $/h
    floor: float,  # $/kWh, what power given back is worth, <= 0
    plant: Any,  # (N,)
    output: Any,  # (N, C)
    product: Any,  # (N, C)
    i: int,  # the site
    prices: Any,  # (B, 3)
    b: int,  # the market
    ambient: float,
    kw: Any,  # (N, K) the curve
    price: Any,  # (N, K)
    tag: Any,  # (N, K)
    context: Any,  # (N, N_CONTEXT)
    machine_kw: Any,  # (B, N, C) kW, in: last tick, out: this tick
    storage: Any,  # (B, N, 2) soc kWh and theta degC, in and out
    use: Any,  # (2 C + 2,) scratch, kW by tag; zero before and after
    outcome: Any,  # (B, N, N_OUTCOME), out
) -> float:
    """Use ``won_kw`` of grid power as the curve says; earn, pay, and move the state on by one tick. Returns the kW given back."""
    site, n_classes = plant[i], output.shape[1]
    b_max = context[i, B_MAX]
    left, draw, returned = won_kw + b_max, 0.0, 0.0
    for k in range(int(context[i, N_CURVE])):
        if price[i, k] < floor:  # the battery's own power has to go somewhere, the grid's does not
            returned += max(left - max(b_max - draw, 0.0), 0.0)
            left = min(left, max(b_max - draw, 0.0))
        take = min(kw[i, k], left)
        left -= take
        draw += take
        use[tag[i, k]] += take
    charged, discharged = use[2 * n_classes], b_max - use[2 * n_classes + 1]
    use[2 * n_classes], use[2 * n_classes + 1] = 0.0, 0.0
    machines, revenue = 0.0, 0.0
    for c in range(site.n_classes):
        power = use[c] + use[n_classes + c] * context[i, PER_M]
        started = max(0.0, power - machine_kw[b, i, c])
        revenue += prices[b, product[i, c]] * output[i, c] * (power - site.boot_loss * started)
        machines += power
        machine_kw[b, i, c] = power
        use[c], use[n_classes + c] = 0.0, 0.0
    cooling = max(0.0, machines - context[i, P_FREE]) * context[i, PER_COP]
    soc, theta = storage[b, i, 0], storage[b, i, 1]
    soc += DT * (site.eta_c * charged - discharged * site.per_eta_d)
    storage[b, i, 0] = min(max(soc, site.soc_min), site.soc_max)
    heat = machines - context[i, COP] * cooling - site.loss * (theta - ambient)
    storage[b, i, 1] = min(theta + site.warming * heat, max(theta, site.set_point, ambient))
    wear = DT * site.wear * (charged + discharged)
    outcome[b, i, WON], outcome[b, i, DRAWN] = won_kw, max(0.0, draw - b_max)
    outcome[b, i, MACHINES], outcome[b, i, COOLING] = machines, cooling
    outcome[b, i, CHARGED], outcome[b, i, DISCHARGED] = charged, discharged
    payment -= floor * returned
    outcome[b, i, REVENUE], outcome[b, i, PAYMENT], outcome[b, i, WEAR] = DT * revenue, DT * payment, wear
    outcome[b, i, PROFIT] = DT * revenue - DT * payment - wear
    return returned
