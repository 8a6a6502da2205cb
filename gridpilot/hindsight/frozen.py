"""Playing one seat again against the bids its rivals made, whatever it does: what it could have earned for certain.

The rivals' bids are those of the match as cleared, and stay them: they do not react to a state that another play leaves behind. The seat's
own bid goes through the auctioneer and the plant of the match. Played with its own recorded bids it earns what it earned, bit for bit.

Plans that know the day are tried, and the best play counts, the recorded one among them:

* the duals of the optimum (:mod:`gridpilot.hindsight.programme`): before tick t a stored kWh is worth
  ``v_t + k (soc*_t - soc) / room``, the dual of the storage row and a pull towards the optimum's charge ``soc*_t`` of k in ``PULLS``
  $/kWh, and running power what the dual of the next start row says;
* foresight: the dynamic programme of :mod:`gridpilot.planning.dynamic_kernels` given the match's own prices.

Under VCG the seat bids its value curve, which is its best bid of the tick; else the exact best response to the bids of the tick
(:mod:`gridpilot.market.best_response`): x* (1 - 1e-9) kW, far above all others or, where it pays what it bids, just above R(x*-).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.hindsight.programme import Optimum
from gridpilot.hindsight.seat_day import SeatDay
from gridpilot.market.auction import N_TOTALS, PAY_AS_BID, PRICE_HI, PRICE_LO, SMALL, VCG, clear_small, truncate_supply
from gridpilot.market.clearing import check_mechanism, check_reserve, check_supply
from gridpilot.market.compilation import kernel
from gridpilot.market.encoding import MEAN
from gridpilot.market.margin import clear_large
from gridpilot.market.physics import N_CONTEXT, N_OUTCOME, PROFIT, apply_dispatch, build_curve, fill_up, own_bid
from gridpilot.market.step import public_price
from gridpilot.planning.dynamic_kernels import plan_one, slope_at

__all__ = ["CURVE", "RECORDED", "RESPONSE", "best_replay", "plans", "play_frozen", "replay", "replay_recorded"]

FloatArray = npt.NDArray[np.float64]

PULLS: Final = (0.02, 0.1)  # $/kWh
CELLS: Final = 20  # of the state of charge

RECORDED: Final = 0  # bids its recorded blocks
CURVE: Final = 1  # bids its value curve
RESPONSE: Final = 2  # bids the best response of the tick

NEARLY: Final = 1.0 - 1e-9  # of x*, which exactly may miss the end of its own step
ABOVE: Final = 1e-9  # $/kWh over R(x*-)


def best_replay(day: SeatDay, optimum: Optimum) -> tuple[float, str]:
    """The most that any play of the seat earned against the frozen bids, $, the match's own included, and the name of that play."""
    best, name = day.profit, "as played"
    for plan, (worth, commitment) in plans(day, optimum):
        profit = replay(day, worth, commitment)
        if profit > best:
            best, name = profit, plan
    return best, name


def plans(day: SeatDay, optimum: Optimum) -> Iterator[tuple[str, tuple[FloatArray, FloatArray]]]:
    """The plans that are tried: name, worth of a stored kWh ``(T, cells)`` at the centres of equal cells, commitment ``(T, C)``; $/kWh."""
    plant = day.arrays.plant[0]
    room = float(plant["soc_max"] - plant["soc_min"])
    centres = plant["soc_min"] + (np.arange(CELLS) + 0.5) / CELLS * room
    for pull in PULLS if room > 0.0 else (0.0,):
        towards = (optimum.soc[:-1, None] - centres) / room if room > 0.0 else np.zeros((1, CELLS))
        yield f"duals, pull {pull}", (optimum.storage_value[:, None] + pull * towards, optimum.commitment_value)
    yield "foresight", _foresight(day)


def replay(day: SeatDay, worth: FloatArray, commitment: FloatArray) -> float:
    """What the seat earns by a plan as :func:`plans` gives it, $, the change of charge included."""
    kappa = np.zeros((day.ticks, day.trace.arena.arrays.n_classes))
    kappa[:, : commitment.shape[1]] = commitment
    how = CURVE if check_mechanism(day.trace.arena.rules.mechanism) == VCG else RESPONSE
    return play_frozen(day, how, worth, kappa, np.zeros(day.ticks, dtype=np.bool_))


def replay_recorded(day: SeatDay) -> float:
    """What the seat earns by the bids and values that it gave in the match, $: ``day.profit``, bit for bit."""
    trace, b, i = day.trace, day.market, day.seat
    refused = trace.refused[:, b, i]
    worth = np.where(refused, np.nan, trace.storage_value[:, b, i])  # who is refused has told its plant nothing either
    return play_frozen(day, RECORDED, worth[:, None], trace.commitment[:, b, i], refused)


def _foresight(day: SeatDay) -> tuple[FloatArray, FloatArray]:
    """The dynamic programme against the prices of the match; commitment values of one boot loss, as the agent ``foresight`` has them."""
    arena, plant = day.trace.arena, day.arrays.plant[0]
    ticks = slice(arena.scenario.history, arena.scenario.history + day.ticks)
    prices = arena.scenario.prices[ticks, day.market].copy()
    prices[:, 0] = day.trace.price[:, day.market]
    slope, commitment = np.zeros((day.ticks + 1, CELLS)), np.empty((day.ticks + 1, 1, day.arrays.n_classes))
    slope[-1] = max(day.end_value, 0.0)
    plan_one(*day.arrays, prices[None], day.ambient[None], np.full((1, day.ticks), np.inf), slope, commitment)
    return slope[1:], np.maximum(plant["boot_loss"] * day.revenue, 0.0)


def play_frozen(day: SeatDay, how: int, worth: FloatArray, commitment: FloatArray, refused: npt.NDArray[np.bool_]) -> float:
    """What the seat earns, $, the change of charge included, if it bids by rule ``how``: RECORDED, CURVE or RESPONSE.

    ``worth (T, G)``       of a stored kWh at the centres of G equal cells of charge, $/kWh; nan leaves the battery alone
    ``commitment (T, C)``  $/kWh, C as of the market; nan takes the default
    ``refused (T,)``       ticks in which the commitment values do not count
    """
    trace, b = day.trace, day.market
    arena, scenario, rules = trace.arena, trace.arena.scenario, trace.arena.rules
    ticks = slice(scenario.history, scenario.history + day.ticks)
    plant = day.arrays.plant[0]
    profit, soc = _replay(
        *arena.arrays, check_supply(rules.supply), rules.capacity_kw, check_reserve(rules.reserve), check_mechanism(rules.mechanism),
        scenario.prices[ticks, b], day.ambient, scenario.capacity[ticks, b], trace.levels[:, b, MEAN], trace.bids[:, b], day.seat,
        float(trace.before[0, b]), trace.storage[0, b, day.seat], how, worth, commitment, refused,
        day.supply.kw, day.supply.price, day.supply.start,
    )  # fmt: skip
    return float(profit + (soc - plant["soc_start"]) * plant["eta_d"] * trace.levels[-1, b, MEAN])


@kernel
def _replay(
    plant: Any,  # (N,)
    class_kw: Any,  # (N, C)
    output: Any,  # (N, C)
    product: Any,  # (N, C)
    ladder: Any,  # (S, 2)
    capacity_kw: float,
    reserve: float,
    mechanism: int,
    prices: Any,  # (T, 3)
    ambient: Any,  # (T,)
    capacity: Any,  # (T,)
    mean: Any,  # (T,) running mean of the energy price
    bids: Any,  # (T, N, W, 2) as cleared
    seat: int,
    last_price: float,
    start: Any,  # (2,) soc kWh, hall degC
    how: int,
    worth: Any,  # (T, G) $/kWh stored at the centres of G equal cells; nan: battery idle
    commitment: Any,  # (T, C) $/kWh; nan: default
    refused: Any,  # (T,) whether the seat's order was refused
    supply_kw: Any,  # (K,) R(x-), see Segments
    supply_price: Any,
    supply_start: Any,
) -> tuple[float, float]:
    """Profit, $, without the change of charge, and the charge at the end, kWh."""
    ticks, n, recorded, _ = bids.shape
    n_classes = class_kw.shape[1]
    n_blocks = 2 * n_classes + 3
    width = max(recorded, n_blocks)
    curve_kw, curve_price, curve_tag = np.empty((n, n_blocks)), np.empty((n, n_blocks)), np.empty((n, n_blocks), dtype=np.int64)
    context, use, outcome = np.empty((n, N_CONTEXT)), np.zeros(2 * n_classes + 2), np.zeros((1, n, N_OUTCOME))
    bid_kw, bid_price, used = np.zeros((width, n)), np.zeros((width, n)), np.empty(n, dtype=np.int64)
    supply, steps = np.empty((1, *ladder.shape)), np.empty((len(ladder) + 1, 4))
    allocation, payment, value, totals = np.empty(n), np.empty(n), np.empty(n), np.empty((1, N_TOTALS))
    front, need, own = np.empty(n), np.empty(n), np.empty(n)
    head, level, owner = np.empty(n, dtype=np.int64), np.empty(n * width), np.empty(n * width, dtype=np.int64)
    machine_kw, storage, kappa = np.zeros((1, n, n_classes)), np.zeros((1, n, 2)), np.empty((1, n, n_classes))
    now = np.empty((1, 3))
    storage[0, seat] = start
    cell = (plant[seat].soc_max - plant[seat].soc_min) / worth.shape[1]
    profit = 0.0
    for t in range(ticks):
        now[0] = prices[t]
        kappa[0, seat] = commitment[t]
        v = slope_at(worth, t, storage[0, seat, 0], plant[seat].soc_min, cell) if cell > 0.0 else worth[t, 0]
        build_curve(
            plant, class_kw, output, product, seat, machine_kw, storage, now, 0, ambient[t], last_price, mean[t], v, kappa, refused[t],
            curve_kw, curve_price, curve_tag, context,
        )  # fmt: skip
        for i in range(n):
            used[i] = 0
            if i != seat or how == RECORDED:
                while used[i] < recorded and bids[t, i, used[i], 0] > 0.0:
                    bid_kw[used[i], i], bid_price[used[i], i] = bids[t, i, used[i], 0], bids[t, i, used[i], 1]
                    used[i] += 1
        if how != RECORDED:
            used[seat] = own_bid(curve_kw, curve_price, context, seat, plant[seat].grid_kw, bid_kw, bid_price)
            if how == RESPONSE:
                kw, price = _best_response(
                    bid_kw, bid_price, seat, used[seat], supply_kw, supply_price, supply_start[t], supply_start[t + 1]
                )
                used[seat] = 1 if kw > 0.0 else 0
                if mechanism != PAY_AS_BID:
                    for i in range(n):
                        if i != seat and used[i] > 0:
                            price = max(price, bid_price[0, i])
                    price += 1.0
                bid_kw[0, seat], bid_price[0, seat] = kw * NEARLY, price + ABOVE
        kw_now = capacity_kw * capacity[t]
        for s in range(len(ladder)):
            supply[0, s, 0], supply[0, s, 1] = ladder[s, 0] * kw_now, prices[t, 0] + ladder[s, 1]
        n_steps, total = truncate_supply(supply, 0, kw_now, reserve, steps)
        if n <= SMALL:
            clear_small(
                bid_kw, bid_price, used, steps, n_steps, total, last_price, mechanism, allocation, payment, value, totals, 0,
                front, need, own, head, level, owner,
            )  # fmt: skip
        else:
            for i in range(n):
                fill_up(bid_kw, bid_price, i, used[i], width)
            clear_large(bid_kw, bid_price, steps, n_steps, total, mechanism, allocation, payment, value, totals, 0)
        apply_dispatch(
            allocation[seat], payment[seat], min(0.0, steps[0, 1]), plant, output, product, seat, now, 0, ambient[t], curve_kw,
            curve_price, curve_tag, context, machine_kw, storage, use, outcome,
        )  # fmt: skip
        profit += outcome[0, seat, PROFIT]
        last_price = public_price(totals[0, PRICE_LO], totals[0, PRICE_HI], prices[t, 0])
    return profit, storage[0, seat, 0]


@kernel
def _best_response(
    true_kw: Any, true_price: Any, seat: int, blocks: int, supply_kw: Any, supply_price: Any, first: int, last: int
) -> tuple[float, float]:
    """x* kW and R(x*-) that maximise ``V(x) - x R(x-)``; the smallest such x, 0 where nothing gains."""
    k, j, x, worth, most, most_kw, most_price = 0, first, 0.0, 0.0, 0.0, 0.0, 0.0
    left_v = true_kw[0, seat] if blocks > 0 else 0.0
    left_r = supply_kw[first] if last > first else 0.0
    while k < blocks and j < last and true_price[k, seat] > supply_price[j]:
        take = min(left_v, left_r)
        x += take
        worth += take * true_price[k, seat]
        left_v -= take
        left_r -= take
        if worth - x * supply_price[j] > most:
            most, most_kw, most_price = worth - x * supply_price[j], x, supply_price[j]
        if left_v <= 0.0:
            k += 1
            left_v = true_kw[k, seat] if k < blocks else 0.0
        if left_r <= 0.0:
            j += 1
            left_r = supply_kw[j] if j < last else 0.0
    return most_kw, most_price
