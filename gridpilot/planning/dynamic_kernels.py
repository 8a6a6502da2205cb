"""The dynamic programme's kernels: backward over the value of stored energy, forward over the best path.

The state is the charge of the battery. Between ticks its worth is a concave function V, held as the mean slope of each of G equal cells
(the storage value, $/kWh). One tick's profit as a function of the change of charge, R, is concave and piecewise linear: charging buys power
at the price of the tick (and, at the connection's limit, displaces the least valuable machines), discharging saves buying it (and runs
machines that power at the price would not pay for). A backward step ``max_d R(d) + V(s + d)`` is a sup-convolution of two concave
functions, which is a merge of their slopes in descending order (Rockafellar 1970, Convex Analysis, section 16): exact, and linear in the
number of cells.

Machines are taken at their steady state: no ramp, the hall near its set point. Being on or off is a problem of two states per class of its
own: ``D``, what being on is worth more than being off, goes backwards as ``D = max(0, g + D') - max(0, g - loss + D')``, with g the
margin of a running kWh and loss the boot loss (both $/kWh).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import prange

from gridpilot.market.compilation import inline_kernel, kernel, leaf_kernel, parallel_kernel
from gridpilot.market.physics import (
    CHARGED,
    COOLING,
    DISCHARGED,
    N_CONTEXT,
    N_OUTCOME,
    PROFIT,
    apply_dispatch,
    build_curve,
    coefficient_of_performance,
    own_bid,
)
from gridpilot.market.units import DT, TICKS_PER_DAY

__all__ = [
    "backward",
    "commitment_step",
    "follow",
    "machine_blocks",
    "merge",
    "plan_one",
    "plan_parallel",
    "plan_range",
    "reward",
    "slope_at",
]

LARGEST: Final = 1e300  # $/kWh
TINY: Final = 1e-12  # kWh


@inline_kernel
def machine_blocks(
    plant: Any, class_kw: Any, output: Any, product: Any, i: int,
    hash_price: float, token_price: float, ambient: float,
    kw: Any, worth: Any,
) -> int:  # fmt: skip
    """Write what power is worth to the machines of site i, hall at its set point: blocks of draw kW and $/kWh, descending.

    ``kw`` and ``worth`` need 2 C + 1 entries. Returns the number of blocks.
    """
    site = plant[i]
    n = 0
    for c in range(site.n_classes):
        value = (hash_price if product[i, c] == 1 else token_price) * output[i, c]
        k = n
        while k > 0 and worth[k - 1] < value:
            kw[k], worth[k] = kw[k - 1], worth[k - 1]
            k -= 1
        kw[k], worth[k] = class_kw[i, c], value
        n += 1
    cop = coefficient_of_performance(site, ambient)
    m = 1.0 + 1.0 / cop
    # What the walls lose and, spread over a day, what the hall takes up from ambient to set point: without end where heat is no matter.
    warm = max(0.0, (site.loss + site.heat_rate / TICKS_PER_DAY) * (site.set_point - ambient))
    coolable = cop * site.cooling_kw
    k = 0
    while k < n:
        if warm <= 0.0:
            take = min(kw[k], coolable)
            coolable -= take
            if take <= 0.0:
                break
            kw[k], worth[k] = take * m, worth[k] / m
        elif kw[k] > warm:
            for j in range(n, k, -1):
                kw[j], worth[j] = kw[j - 1], worth[j - 1]
            n += 1
            kw[k], kw[k + 1] = warm, kw[k + 1] - warm
            warm = 0.0
        else:
            warm -= kw[k]
        k += 1
    return k


@inline_kernel
def reward(
    plant: Any, i: int, price: float, cap: float, hours: float, kw: Any, worth: Any, n: int,
    step_kwh: Any, step_value: Any, context: Any,
) -> int:  # fmt: skip
    """Write the profit of ``hours`` as a function of the change of charge: steps of kWh stored and $/kWh stored, descending.

    Power is worth ``worth`` to the machines, or ``price`` by not buying it, up to ``cap``. In the merged list of both the site stands at
    position ``cap``; charging moves it to the left, which costs what it passes, discharging to the right, which earns what it passes. So
    the steps, read from the left, give up charging at the limit bit by bit, and then discharge. Returns their number; ``context``
    gets the kWh of full charging, the number of charging steps, the profit $ at full charging and that without any change.
    """
    site = plant[i]
    first, last = max(0.0, cap - site.battery_kw), cap + site.battery_kw
    position, k, bought, steps, ceiling = 0.0, 0, False, 0, LARGEST
    base, full, total, charging = -price * cap, -price * cap - site.wear * (cap - first), 0.0, 0
    while position < last:
        if k < n and (bought or worth[k] > price):
            quantity, value = kw[k], worth[k]
            k += 1
        elif not bought:
            quantity, value, bought = cap, price, True
        else:
            break  # nothing more to run: the battery cannot give its all
        end = min(position + quantity, last)
        if position < first:
            full += value * (min(end, first) - position)
        if position < cap:
            base += value * (min(end, cap) - position)
            take = min(end, cap) - max(position, first)
            if take > 0.0:
                ceiling = (value + site.wear) / site.eta_c
                step_kwh[steps], step_value[steps] = take * hours * site.eta_c, ceiling
                total += step_kwh[steps]
                steps += 1
                charging = steps
        take = end - max(position, cap)
        if take > 0.0:
            # At prices far below zero charging and discharging at once would pay; the plant does not do it.
            ceiling = min(ceiling, site.eta_d * (value - site.wear))
            step_kwh[steps], step_value[steps] = take * hours * site.per_eta_d, ceiling
            steps += 1
        position = end
    context[0], context[1], context[2], context[3] = total, charging, full * hours, base * hours
    return steps


@inline_kernel
def merge(
    slope: Any,  # (J, G) $/kWh, non-increasing
    before: int,  # the row to write: what stored energy is worth before the tick
    after: int,  # the row to read: after it
    width: float,  # kWh, of a cell
    step_kwh: Any,
    step_value: Any,
    steps: int,
    skip: float,  # kWh of full charging
) -> float:
    """The backward step: merge the slopes of V and of the profit. Returns V(lowest charge) before, less V there after and full charging."""
    cells = slope.shape[1]
    lowest, cell, step, cell_left = 0.0, 0, 0, width
    step_left = step_kwh[0] if steps > 0 else 0.0
    for g in range(-1, cells):  # -1: what lies below the lowest charge
        need = skip if g < 0 else width
        area, whole = 0.0, need
        while need > TINY:
            if step < steps and (cell >= cells or step_value[step] >= slope[after, cell]):
                take = min(step_left, need)
                area += take * step_value[step]
                step_left -= take
                if step_left <= TINY:
                    step += 1
                    step_left = step_kwh[step] if step < steps else 0.0
            elif cell < cells:
                take = min(cell_left, need)
                area += take * slope[after, cell]
                cell_left -= take
                if cell_left <= TINY:
                    cell += 1
                    cell_left = width
            else:
                break  # rounding alone leaves less than was there
            need -= take
        if g < 0:
            lowest = area
        else:
            slope[before, g] = area / (whole - need) if need < whole else slope[before, g - 1]
    return lowest


@inline_kernel
def commitment_step(margin: float, loss: float, after: float) -> float:
    """What being on is worth before a tick, $/kWh per kW and tick, from what it is worth after it."""
    return max(0.0, margin + after) - max(0.0, margin - loss + after)


@inline_kernel
def backward(
    plant: Any, class_kw: Any, output: Any, product: Any, i: int,
    prices: Any,  # (P, H, 3) price paths: power, hash, token
    ambient: Any,  # (P, H) degC
    cap: Any,  # (P, H) kW
    p: int,  # the path
    t: int,  # the tick
    hours: float,  # length of the tick
    value: float,  # $, V at the lowest charge after the tick
    slope: Any,  # (J, G) $/kWh; tick t reads row (t + 1) % J and writes row t % J
    kw: Any, worth: Any,  # (2 C + 2,) scratch
    step_kwh: Any, step_value: Any,  # (2 C + 4,) scratch
    context: Any,  # (4,) scratch
) -> float:  # fmt: skip
    """Run V backwards through one tick; returns V at the lowest charge before it."""
    rows = slope.shape[0]
    width = (plant[i].soc_max - plant[i].soc_min) / slope.shape[1]
    n = machine_blocks(plant, class_kw, output, product, i, prices[p, t, 1], prices[p, t, 2], ambient[p, t], kw, worth)
    limit = min(cap[p, t], plant[i].grid_kw)
    steps = reward(plant, i, prices[p, t, 0], limit, hours, kw, worth, n, step_kwh, step_value, context)
    earned: float = context[3]
    if width > 0.0:
        earned = context[2] + merge(slope, t % rows, (t + 1) % rows, width, step_kwh, step_value, steps, context[0])
    return value + earned


@inline_kernel
def slope_at(slope: Any, row: int, soc: float, soc_min: float, width: float) -> float:
    """The storage value at a charge, $/kWh: linear between the centres of the cells. ``width`` is above 0."""
    cells = slope.shape[1]
    x = min(max((soc - soc_min) / width - 0.5, 0.0), cells - 1.0)
    g = min(int(x), cells - 2) if cells > 1 else 0
    value: float = slope[row, g] + (x - g) * (slope[row, min(g + 1, cells - 1)] - slope[row, g])
    return value


@kernel
def plan_range(
    start: int,  # the seats from start to stop - 1
    stop: int,
    plant: Any, class_kw: Any, output: Any, product: Any,
    site: Any,  # (M,) the site of each seat
    path: Any,  # (M,) the price path of each seat
    prices: Any,  # (P, H, 3) power, hash, token
    ambient: Any,  # (P, H) degC
    cap: Any,  # (P, H) kW
    first: int,  # tick before which the slopes are wanted first
    last: int,  # the tick behind the last one
    hours: float,  # length of a tick
    terminal: Any,  # (M, G) $/kWh, slopes at the end
    table: Any,  # (M, R, G) out: slopes before the ticks first, first + 1, ...
    value: Any,  # (M,) out: $, V at the lowest charge before tick first
) -> None:  # fmt: skip
    """What a stored kWh is worth before each of the first R ticks, for a range of seats."""
    slope, scratch = np.empty((2, terminal.shape[1])), _scratch(class_kw.shape[1])
    _plan_seats(
        start, stop, plant, class_kw, output, product, site, path, prices, ambient, cap, first, last, hours, terminal, table, value,
        slope, scratch,
    )  # fmt: skip


@kernel
def _scratch(n_classes: int) -> tuple[Any, ...]:
    """What :func:`backward` writes to: ``kw``, ``worth``, ``step_kwh``, ``step_value`` and ``context``."""
    n_blocks = 2 * n_classes + 2
    return np.empty(n_blocks), np.empty(n_blocks), np.empty(n_blocks + 2), np.empty(n_blocks + 2), np.empty(4)


@leaf_kernel
def _plan_seats(
    start: int, stop: int, plant: Any, class_kw: Any, output: Any, product: Any, site: Any, path: Any, prices: Any, ambient: Any, cap: Any,
    first: int, last: int, hours: float, terminal: Any, table: Any, value: Any,
    slope: Any,  # (2, G) scratch
    scratch: tuple[Any, ...],
) -> None:  # fmt: skip
    cells, rows = terminal.shape[1], table.shape[1]
    kw, worth, step_kwh, step_value, context = scratch
    for m in range(start, stop):
        value[m] = 0.0
        for t in range(last, first - 1, -1):
            if t < last:
                value[m] = backward(
                    plant, class_kw, output, product, site[m], prices, ambient, cap, path[m], t, hours, value[m], slope, kw, worth,
                    step_kwh, step_value, context,
                )  # fmt: skip
            else:
                for g in range(cells):
                    slope[t % 2, g] = terminal[m, g]
            if t - first < rows:
                for g in range(cells):
                    table[m, t - first, g] = slope[t % 2, g]


@parallel_kernel
def plan_parallel(
    threads: int, plant: Any, class_kw: Any, output: Any, product: Any, site: Any, path: Any, prices: Any, ambient: Any, cap: Any,
    first: int, last: int, hours: float, terminal: Any, table: Any, value: Any,
) -> None:  # fmt: skip
    """:func:`plan_range` over all seats, on numba's threads."""
    seats = len(site)
    for thread in prange(threads):
        plan_range(
            thread * seats // threads, (thread + 1) * seats // threads, plant, class_kw, output, product, site, path, prices, ambient,
            cap, first, last, hours, terminal, table, value,
        )  # fmt: skip


@kernel
def plan_one(
    plant: Any, class_kw: Any, output: Any, product: Any,
    prices: Any,  # (1, H, 3)
    ambient: Any,  # (1, H)
    cap: Any,  # (1, H)
    slope: Any,  # (H + 1, G) last row in: slopes at the end; out: slopes before each tick
    commitment: Any,  # (H + 1, 1, C) out: $/kWh, what being on is worth before each tick
) -> float:  # fmt: skip
    """The whole table of site 0: storage values and commitment values before each tick. Returns V at the lowest charge before tick 0."""
    value: float = _tabulate(plant, class_kw, output, product, prices, ambient, cap, slope, commitment, _scratch(class_kw.shape[1]))
    return value


@leaf_kernel
def _tabulate(
    plant: Any, class_kw: Any, output: Any, product: Any, prices: Any, ambient: Any, cap: Any, slope: Any, commitment: Any,
    scratch: tuple[Any, ...],
) -> float:  # fmt: skip
    horizon = prices.shape[1]
    kw, worth, step_kwh, step_value, context = scratch
    value, site = 0.0, plant[0]
    commitment[horizon] = 0.0
    for t in range(horizon - 1, -1, -1):
        value = backward(
            plant, class_kw, output, product, 0, prices, ambient, cap, 0, t, DT, value, slope, kw, worth, step_kwh, step_value, context
        )  # fmt: skip
        m = 1.0 + 1.0 / coefficient_of_performance(site, ambient[0, t])
        for c in range(site.n_classes):
            revenue = prices[0, t, product[0, c]] * output[0, c]
            commitment[t, 0, c] = commitment_step(revenue - prices[0, t, 0] * m, site.boot_loss * revenue, commitment[t + 1, 0, c])
    return value


@kernel
def follow(
    plant: Any, class_kw: Any, output: Any, product: Any,
    prices: Any,  # (1, H, 3)
    ambient: Any,  # (1, H)
    cap: Any,  # (1, H)
    slope: Any,  # (H + 1, G)
    commitment: Any,  # (H + 1, 1, C)
    machine_kw: Any,  # (1, 1, C) kW, in: now; out: at the end
    storage: Any,  # (1, 1, 2) kWh and degC, in: now; out: at the end
    path: Any,  # (H, 6 + C) out: columns below, then kW of each class
) -> float:  # fmt: skip
    """Let the plant itself follow the plan, buying at the outlook's prices; returns its profit, $."""
    n_classes = class_kw.shape[1]
    n_blocks = 2 * n_classes + 3
    scratch = (
        np.empty((1, n_blocks)), np.empty((1, n_blocks)), np.empty((1, n_blocks), np.int64), np.empty((n_blocks, 1)),
        np.empty((n_blocks, 1)), np.empty((1, N_CONTEXT)), np.zeros(2 * n_classes + 2), np.empty((1, 1, N_OUTCOME)),
        np.empty((1, 1, n_classes)),
    )  # fmt: skip
    profit: float = _follow(
        plant, class_kw, output, product, prices, ambient, cap, slope, commitment, machine_kw, storage, path, scratch
    )  # fmt: skip
    return profit


@leaf_kernel
def _follow(
    plant: Any, class_kw: Any, output: Any, product: Any, prices: Any, ambient: Any, cap: Any, slope: Any, commitment: Any,
    machine_kw: Any, storage: Any, path: Any, scratch: tuple[Any, ...],
) -> float:  # fmt: skip
    kw, price, tag, bid_kw, bid_price, context, use, outcome, kappa = scratch
    horizon, n_classes = prices.shape[1], class_kw.shape[1]
    width = (plant[0].soc_max - plant[0].soc_min) / slope.shape[1]
    profit = 0.0
    for t in range(horizon):
        value = slope_at(slope, t + 1, storage[0, 0, 0], plant[0].soc_min, width) if width > 0.0 else math.nan
        for c in range(n_classes):
            kappa[0, 0, c] = commitment[t + 1, 0, c]
        now = prices[:, t]
        power = now[0, 0]
        build_curve(
            plant, class_kw, output, product, 0, machine_kw, storage, now, 0, ambient[0, t], power, power, value, kappa, False,
            kw, price, tag, context,
        )  # fmt: skip
        used = own_bid(kw, price, context, 0, min(cap[0, t], plant[0].grid_kw), bid_kw, bid_price)
        bought = 0.0
        for k in range(used):
            if bid_price[k, 0] > power:
                bought += bid_kw[k, 0]
        apply_dispatch(
            bought, bought * power, min(0.0, power), plant, output, product, 0, now, 0, ambient[0, t], kw, price, tag, context,
            machine_kw, storage, use, outcome,
        )  # fmt: skip
        profit += outcome[0, 0, PROFIT]
        path[t, 0], path[t, 1], path[t, 2] = bought, outcome[0, 0, COOLING], outcome[0, 0, CHARGED]
        path[t, 3], path[t, 4], path[t, 5] = outcome[0, 0, DISCHARGED], storage[0, 0, 0], storage[0, 0, 1]
        for c in range(n_classes):
            path[t, 6 + c] = machine_kw[0, 0, c]
    return profit
