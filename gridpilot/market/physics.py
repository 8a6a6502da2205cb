"""What a tick's power is worth to a site, and what the site does with it: ``value_curve`` and ``dispatch``.

A site with machines, a battery and a thermostat-cooled hall maximises the tick's profit plus the worth of what it carries over,

    max  sum_c (r_c + kappa_c) x_c - boot_loss r_c started_c  +  v (eta_c b+ - b- / eta_d)  -  wear (b+ + b-)
    s.t. q + b- = P + w + b+,   P = sum x_c,   w = max(0, P - P_free) / COP <= w_max,   x_c <= x_c_previous + ramp_up

over what it does with ``q`` kW of grid power, all rates per hour. ``r_c`` is the revenue per machine kWh, ``v`` the storage value and
``kappa_c`` the commitment value. Every use of power is a block of constant marginal value, so the maximum is found by serving the blocks
in descending value: a concave curve ``V(q)`` of at most ``2 C + 3`` blocks, whose argmax is the same walk. Cooling makes a kW of
machines above ``P_free`` draw ``m = 1 + 1/COP`` kW; a discharging battery is a block that grid power may buy back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.market.compilation import inline_kernel
from gridpilot.market.site import Site, pack_sites
from gridpilot.market.units import DT

__all__ = ["Dispatch", "SiteState", "apply_dispatch", "build_curve", "dispatch", "own_bid", "value_curve"]

MIN_COP: Final = 1.0  # cooling never gets worse than a heater in reverse, however hot it is outside

# What a block of the curve is, by tag: 0 .. C-1 machines of that class in the free heat budget, COOLED + c the same with their cooling.
COOLED: Final = 1000
CHARGE: Final = 2000
DISCHARGE: Final = 2001

# Columns of a site's ``context`` row, what dispatch needs to know of its curve.
COP: Final = 0
P_FREE: Final = 1  # kW of machines that need no cooling this tick
B_MAX: Final = 2  # kW the battery can discharge
N_CURVE: Final = 3  # blocks in the curve
N_CONTEXT: Final = 4

# Columns of an ``outcome`` row: what a site got and did in a tick. Powers in kW, money in $ for the tick.
WON: Final = 0  # kW allocated by the auction
DRAWN: Final = 1  # kW taken from the grid: less than won where the bid asked for more than the plant can use
MACHINES: Final = 2  # kW
COOLING: Final = 3  # kW
CHARGED: Final = 4  # kW at the terminals
DISCHARGED: Final = 5  # kW at the terminals
REVENUE: Final = 6  # $
PAYMENT: Final = 7  # $
WEAR: Final = 8  # $
PROFIT: Final = 9  # $, revenue - payment - wear
N_OUTCOME: Final = 10


@inline_kernel
def build_curve(
    plant: Any,  # PLANT record of the site
    class_kw: Any,  # (C,) kW
    output: Any,  # (C,) units per kWh
    product: Any,  # (C,)
    machine_kw: Any,  # (C,) kW, power of each class in the last tick
    soc: float,  # kWh
    theta: float,  # degC
    prices: Any,  # (3,) energy, hash, token
    ambient: float,  # degC
    last_price: float,  # $/kWh, clearing price of the last tick
    storage_value: float,  # $/kWh, nan = the battery stands idle
    commitment: Any,  # (C,) $/kWh, nan = default
    kw: Any,  # (K,) kW, out
    price: Any,  # (K,) $/kWh, out, non-increasing
    tag: Any,  # (K,) int64, out
    context: Any,  # (N_CONTEXT,), out
) -> None:
    """Write the site's curve: blocks of descending value from ``b-max`` kW below zero grid power upwards. K >= 2 C + 3."""
    cop = max(MIN_COP, plant.cop - plant.cop_slope * (ambient - plant.cop_reference))
    m = 1.0 + 1.0 / cop
    p_free = max(0.0, (plant.set_point - theta) * plant.heat_capacity / DT + plant.loss * (theta - ambient))

    # Machines, continuing and started, sorted by value.
    n = 0
    for c in range(plant.n_classes):
        revenue = prices[product[c]] * output[c]
        kappa = commitment[c]
        if math.isnan(kappa):
            kappa = plant.boot_loss * revenue if last_price * m < revenue else 0.0
        running = min(machine_kw[c], class_kw[c])
        startable = min(plant.ramp_kw, class_kw[c] - running)
        if running > 0.0:
            n = _insert(kw, price, tag, n, running, revenue + kappa, c)
        if startable > 0.0:
            n = _insert(kw, price, tag, n, startable, revenue * (1.0 - plant.boot_loss) + kappa, c)

    # Heat: the first P_free kW need no cooling, the following draw m kW each, beyond the cooling's limit there are none.
    coolable, warm, i = cop * plant.cooling_kw, p_free, 0
    while i < n:
        if warm <= 0.0:
            take = min(kw[i], coolable)
            coolable -= take
            if take <= 0.0:
                break
            kw[i], price[i], tag[i] = take * m, price[i] / m, tag[i] + COOLED
        elif kw[i] > warm:  # split at P_free
            for j in range(n, i, -1):
                kw[j], price[j], tag[j] = kw[j - 1], price[j - 1], tag[j - 1]
            n += 1
            kw[i], kw[i + 1] = warm, kw[i + 1] - warm
            warm = 0.0
        else:
            warm -= kw[i]
        i += 1
    n = i

    # The battery, as a block that buys and a block that can be bought back.
    b_max = 0.0
    if not math.isnan(storage_value):
        spread = 1.0 / plant.eta_d - plant.eta_c
        v = max(storage_value, -2.0 * plant.wear / spread) if spread > 0.0 else storage_value
        b_max = max(0.0, min(plant.battery_kw, (soc - plant.soc_min) * plant.eta_d / DT))
        charge = max(0.0, min(plant.battery_kw, (plant.soc_max - soc) / (plant.eta_c * DT)))
        sell = v / plant.eta_d + plant.wear
        if b_max > 0.0:
            n = _insert(kw, price, tag, n, b_max, sell, DISCHARGE)
        if charge > 0.0:
            n = _insert(kw, price, tag, n, charge, min(plant.eta_c * v - plant.wear, sell), CHARGE)
    context[0], context[1], context[2], context[3] = cop, p_free, b_max, n


@inline_kernel
def _insert(kw: Any, price: Any, tag: Any, n: int, quantity: float, value: float, what: int) -> int:
    """Put a block behind all blocks of at least its value; return the new length."""
    i = n
    while i > 0 and price[i - 1] < value:
        kw[i], price[i], tag[i] = kw[i - 1], price[i - 1], tag[i - 1]
        i -= 1
    kw[i], price[i], tag[i] = quantity, value, what
    return n + 1


@inline_kernel
def own_bid(kw: Any, price: Any, context: Any, grid_kw: float, bid_kw: Any, bid_price: Any) -> None:
    """The truthful bid: the curve without its first ``b-max`` kW, cut at the grid connection; unused blocks get 0 kW."""
    n, skip, room, m = int(context[3]), context[2], grid_kw, 0
    for k in range(n):
        quantity = kw[k]
        if skip > 0.0:
            dropped = min(skip, quantity)
            skip -= dropped
            quantity -= dropped
        quantity = min(quantity, room)
        if quantity > 0.0:
            room -= quantity
            bid_kw[m], bid_price[m] = quantity, price[k]
            m += 1
    floor = bid_price[m - 1] if m > 0 else 0.0
    for k in range(m, len(bid_kw)):
        bid_kw[k], bid_price[k] = 0.0, floor


@inline_kernel
def apply_dispatch(
    won_kw: float,
    payment: float,  # $/h
    plant: Any,
    output: Any,  # (C,)
    product: Any,  # (C,)
    prices: Any,  # (3,)
    ambient: float,
    kw: Any,  # (K,) the curve
    tag: Any,  # (K,)
    context: Any,  # (N_CONTEXT,)
    machine_kw: Any,  # (C,) kW, in: last tick, out: this tick
    running: Any,  # (C,) scratch
    storage: Any,  # (2,) soc kWh and theta degC, in and out
    outcome: Any,  # (N_OUTCOME,), out
) -> None:
    """Use ``won_kw`` of grid power as the curve says; earn, pay, and move the state on by one tick."""
    cop, p_free, b_max = context[0], context[1], context[2]
    m = 1.0 + 1.0 / cop
    running[:] = 0.0
    left, charged, bought_back, machines, draw = won_kw + b_max, 0.0, 0.0, 0.0, 0.0
    for k in range(int(context[3])):
        if left <= 0.0:
            break
        take = min(kw[k], left)
        left -= take
        draw += take
        what = tag[k]
        if what == CHARGE:
            charged += take
        elif what == DISCHARGE:
            bought_back += take
        else:
            power = take
            if what >= COOLED:
                what -= COOLED
                power = take / m
            running[what] += power
            machines += power
    discharged = b_max - bought_back
    cooling = max(0.0, machines - p_free) / cop
    revenue = 0.0
    for c in range(plant.n_classes):
        started = max(0.0, running[c] - machine_kw[c])
        revenue += prices[product[c]] * output[c] * (running[c] - plant.boot_loss * started)
        machine_kw[c] = running[c]
    soc, theta = storage[0], storage[1]
    soc += DT * (plant.eta_c * charged - discharged / plant.eta_d)
    storage[0] = min(max(soc, plant.soc_min), plant.soc_max)
    heat = machines - cop * cooling - plant.loss * (theta - ambient)
    storage[1] = min(theta + DT / plant.heat_capacity * heat, max(theta, plant.set_point, ambient))
    outcome[0] = won_kw
    outcome[1] = max(0.0, draw - b_max)
    outcome[2] = machines
    outcome[3] = cooling
    outcome[4] = charged
    outcome[5] = discharged
    outcome[6] = DT * revenue
    outcome[7] = DT * payment
    outcome[8] = DT * plant.wear * (charged + discharged)
    outcome[9] = outcome[6] - outcome[7] - outcome[8]


@dataclass(frozen=True)
class SiteState:
    """What a plant carries from tick to tick."""

    soc_kwh: float  # kWh stored
    theta_c: float  # degC, hall
    machine_kw: npt.NDArray[np.float64]  # (C,) kW, power of each machine class in the last tick


@dataclass(frozen=True)
class Dispatch:
    """What a plant does with its power in one tick: kW each."""

    grid_kw: float
    machine_kw: npt.NDArray[np.float64]  # (C,)
    cooling_kw: float
    charge_kw: float
    discharge_kw: float
    revenue: float  # $ of the tick
    wear: float  # $ of the tick
    state: SiteState  # after the tick


def value_curve(
    site: Site,
    state: SiteState,
    prices: Any,
    ambient_c: float,
    last_price: float,
    storage_value: float | None = None,
    commitment_value: Any = None,
) -> npt.NDArray[np.float64]:
    """What grid power is worth to ``site`` this tick: ``(k, 2)`` blocks of kW and $/kWh, non-increasing, k <= 2 C + 3.

    ``prices``            ``(3,)`` energy $/kWh, hash $ per PH/s h, token $ per million
    ``last_price``        clearing price of the last tick, $/kWh: decides the default commitment value
    ``storage_value``     $/kWh stored; ``None`` leaves the battery alone. Below ``-2 wear / (1/eta_d - eta_c)`` it counts as that.
    ``commitment_value``  ``(C,)`` $/kWh >= 0; ``None`` is ``boot_loss r`` while ``last_price m < r``, else 0
    """
    _, kw, price, _, context = _curve(site, state, prices, ambient_c, last_price, storage_value, commitment_value)
    blocks = np.zeros((2, len(kw)))
    own_bid(kw, price, context, site.grid_kw, blocks[0], blocks[1])
    return np.ascontiguousarray(blocks[:, blocks[0] > 0.0].T)


def dispatch(
    site: Site,
    state: SiteState,
    grid_kw: float,
    prices: Any,
    ambient_c: float,
    last_price: float,
    storage_value: float | None = None,
    commitment_value: Any = None,
) -> Dispatch:
    """The best use of ``grid_kw`` of grid power, the argmax behind :func:`value_curve` (same arguments)."""
    arrays, kw, _, tag, context = _curve(site, state, prices, ambient_c, last_price, storage_value, commitment_value)
    machine_kw, storage, outcome = state.machine_kw.copy(), np.array([state.soc_kwh, state.theta_c]), np.empty(N_OUTCOME)
    apply_dispatch(
        grid_kw, 0.0, arrays.plant[0], arrays.output[0], arrays.product[0], np.asarray(prices, dtype=np.float64), ambient_c, kw, tag,
        context, machine_kw, np.empty_like(machine_kw), storage, outcome,
    )  # fmt: skip
    after = SiteState(float(storage[0]), float(storage[1]), machine_kw)
    row = outcome.tolist()
    return Dispatch(row[DRAWN], machine_kw, row[COOLING], row[CHARGED], row[DISCHARGED], row[REVENUE], row[WEAR], after)


def _curve(
    site: Site,
    state: SiteState,
    prices: Any,
    ambient_c: float,
    last_price: float,
    storage_value: float | None,
    commitment_value: Any,
) -> Any:
    arrays = pack_sites([site])
    k = arrays.n_blocks
    kw, price, tag, context = np.empty(k), np.empty(k), np.empty(k, dtype=np.int64), np.empty(N_CONTEXT)
    commitment = np.full(arrays.n_classes, math.nan)
    if commitment_value is not None:
        commitment[: len(site.fleet)] = commitment_value
    build_curve(
        arrays.plant[0], arrays.class_kw[0], arrays.output[0], arrays.product[0], state.machine_kw, state.soc_kwh, state.theta_c,
        np.asarray(prices, dtype=np.float64), ambient_c, last_price, math.nan if storage_value is None else storage_value, commitment,
        kw, price, tag, context,
    )  # fmt: skip
    return arrays, kw, price, tag, context
