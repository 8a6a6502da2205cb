"""The flat, scale-free observation vector that every learner uses, and the running price levels it is relative to.

Prices are divided by the running size of the energy price (a day's exponential mean of its absolute value), product prices by their own
running mean, powers by the site's grid connection; what can be wild goes through asinh and is clipped at +-10. :func:`fields`
names every entry.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from gridpilot.market.auction import VOLUME
from gridpilot.market.compilation import inline_kernel, kernel, leaf_kernel, parallel_kernel
from gridpilot.market.physics import COP, N_CONTEXT, P_FREE, build_curve, own_bid
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK

__all__ = [
    "LAGS",
    "N_LEVELS",
    "Field",
    "encode_parallel",
    "encode_range",
    "encode_rows",
    "fields",
    "n_fields",
    "relative",
    "update_levels",
]

BOUND: Final = 10.0  # every entry lies in [-BOUND, BOUND]
HOUR: Final = 12  # ticks
LAGS: Final = (1, 2, 3, 6, 12, 36, 144)  # ticks, of the energy price
_N_LAGS: Final = len(LAGS)
_LAGS: Final = np.array(LAGS)

# Columns of ``levels (B, N_LEVELS)``: exponential means over a day (plain means before a day has passed).
MEAN: Final = 0  # $/kWh, of the energy price
SIZE: Final = 1  # $/kWh, of its absolute value, at least MIN_SIZE
SPREAD: Final = 2  # $/kWh, of its absolute deviation from the running mean, at least MIN_SIZE
HASH: Final = 3  # $ per PH/s h
TOKEN: Final = 4  # $ per million tokens
N_LEVELS: Final = 5
MIN_SIZE: Final = 1e-3  # $/kWh
_LEAST_PRICE: Final = 1e-12  # of a product, where none is sold: 0 over 0 would be nan

_DAY, _WEEK = (2.0 * np.pi / period * np.arange(TICKS_PER_WEEK) for period in (TICKS_PER_DAY, TICKS_PER_WEEK))
_CLOCK: Final = np.stack([np.sin(_DAY), np.cos(_DAY), np.sin(_WEEK), np.cos(_WEEK)], axis=1).astype(
    np.float32
)  # by tick of the week

_ONE, _LIMIT = np.float32(1.0), np.float32(BOUND)

_PUBLIC: Final = 17  # entries before the lags end and the site's begin, without the lags
_OWN: Final = 7


class Field(NamedTuple):
    """One entry of the vector."""

    name: str
    meaning: str


def n_fields(n_classes: int) -> int:
    """Length of the vector for the largest fleet of ``n_classes`` machine classes."""
    return _PUBLIC + _N_LAGS + _OWN + 2 * n_classes + 2 * (2 * n_classes + 3)


def fields(n_classes: int) -> list[Field]:
    """Name and meaning of every entry, in order; "price" stands for asinh(price / running size of the energy price)."""
    public = [
        ("day_sin", "sine of the time of day"),
        ("day_cos", "cosine of the time of day"),
        ("week_sin", "sine of the time of the week"),
        ("week_cos", "cosine of the time of the week"),
        ("energy", "energy price of this tick, price"),
        ("energy_score", "asinh of (energy price - running mean) / running mean deviation"),
        ("energy_hour", "mean energy price of the last 12 ticks, price"),
        ("energy_spread", "running mean deviation / running size"),
        ("hash", "asinh of 4 x (hash price / running mean - 1)"),
        ("token", "asinh of 4 x (token price / running mean - 1)"),
        ("capacity", "capacity of this tick / nominal, 2 c - 1"),
        ("capacity_change", "change of that share over the last hour"),
        ("ambient", "(ambient degC - 20) / 20"),
        ("last_price", "clearing price of the last tick, price"),
        ("last_scarcity", "clearing price of the last tick above its energy price, price"),
        ("last_volume", "volume of the last tick / nominal capacity, 2 c - 1"),
        ("scale", "log10 of the running size in $/kWh, + 2"),
    ]
    lags = [(f"energy_lag_{lag}", f"energy price {lag} ticks ago (the oldest known before that), price") for lag in LAGS]
    own = [
        ("charge", "state of charge, 0 = empty, 1 = full, of the usable range; 0 without a battery"),
        ("headroom", "(set point - hall temperature) / 10 degC"),
        ("free_heat", "asinh of machine power that needs no cooling / grid connection"),
        ("cooling_power", "machine kW a kW of cooling carries (COP) / 6"),
        ("last_won", "kW won in the last tick / grid connection"),
        ("last_paid", "average price paid in the last tick, price"),
        ("last_drawn", "share of the kW won in the last tick that was used"),
    ]
    per_class = [(f"running_{c}", f"power of machine class {c} / its capacity") for c in range(n_classes)]
    per_class += [(f"revenue_{c}", f"revenue of machine class {c} per kWh, price") for c in range(n_classes)]
    n_blocks = 2 * n_classes + 3
    curve = [
        (f"block_kw_{k}", f"block {k} of the site's value curve at the default storage value / grid connection")
        for k in range(n_blocks)
    ]
    curve += [(f"block_price_{k}", f"value of block {k}, price") for k in range(n_blocks)]
    return [Field(*entry) for entry in public + lags + own + per_class + curve]


@leaf_kernel
def update_levels(prices: Any, age: int, levels: Any) -> None:
    """Fold the prices ``(R, B, 3)``, rows ``age, age + 1, ...`` since the beginning, into ``levels (B, N_LEVELS)``; row 0 sets them."""
    for row in range(prices.shape[0]):
        weight = max(1.0 / (age + row + 1.0), 1.0 / TICKS_PER_DAY)
        for b in range(prices.shape[1]):
            energy = prices[row, b, 0]
            if age + row == 0:
                levels[b, 0], levels[b, 1], levels[b, 2] = energy, max(abs(energy), MIN_SIZE), max(0.5 * abs(energy), MIN_SIZE)
                levels[b, 3], levels[b, 4] = prices[row, b, 1], prices[row, b, 2]
            else:
                levels[b, 0] += weight * (energy - levels[b, 0])
                levels[b, 1] = max(levels[b, 1] + weight * (abs(energy) - levels[b, 1]), MIN_SIZE)
                levels[b, 2] = max(levels[b, 2] + weight * (abs(energy - levels[b, 0]) - levels[b, 2]), MIN_SIZE)
                levels[b, 3] += weight * (prices[row, b, 1] - levels[b, 3])
                levels[b, 4] += weight * (prices[row, b, 2] - levels[b, 4])


@inline_kernel
def relative(price: float, size: float) -> float:
    """Asinh of a price in units of the running size, within the bounds; by the logarithm and in single precision, like the vector."""
    x = np.float32(abs(price / size))
    asinh = math.log(x + math.sqrt(x * x + _ONE))
    return math.copysign(asinh if asinh < _LIMIT else _LIMIT, price)


@inline_kernel
def _bounded(x: float) -> float:
    return min(max(x, -BOUND), BOUND)


@kernel
def encode_range(
    first: int,
    last: int,
    plant: Any,  # (N,) PLANT
    class_kw: Any,  # (N, C)
    output: Any,  # (N, C)
    product: Any,  # (N, C)
    capacity_kw: float,
    prices: Any,  # (H + T, B, 3)
    ambient: Any,  # (H + T, B)
    capacity: Any,  # (H + T, B)
    now: int,  # row of this tick
    start: Any,  # (B,) tick of the week of row ``zero``
    zero: int,
    levels: Any,  # (B, N_LEVELS)
    machine_kw: Any,  # (B, N, C)
    storage: Any,  # (B, N, 2)
    last_price: Any,  # (B,)
    totals: Any,  # (B, N_TOTALS)
    outcome: Any,  # (B, N, N_OUTCOME)
    seats: Any,  # (B, S)
    out: Any,  # (B, S, D) float32
) -> None:
    """Encode what the given seats of each of the markets ``first`` to ``last - 1`` see."""
    n, n_blocks = len(plant), 2 * class_kw.shape[1] + 3
    scratch = (
        np.empty((n, n_blocks)), np.empty((n, n_blocks)), np.empty((n, n_blocks), dtype=np.int64), np.empty((n, N_CONTEXT)),
        np.empty((n_blocks, n)), np.empty((n_blocks, n)), np.empty(_PUBLIC + _N_LAGS, dtype=np.float32),
    )  # fmt: skip
    _encode(
        first, last, plant, class_kw, output, product, capacity_kw, prices, ambient[now], capacity[now], capacity[max(now - HOUR, 0)],
        now, start, zero, levels, machine_kw, storage, last_price, totals[:, VOLUME], outcome, seats, out, scratch,
    )  # fmt: skip


@leaf_kernel
def _encode(
    first: int, last: int, plant: Any, class_kw: Any, output: Any, product: Any, capacity_kw: float, prices: Any,
    ambient: Any,  # (B,)
    capacity: Any,  # (B,)
    capacity_before: Any,  # (B,) an hour ago
    now: int, start: Any, zero: int, levels: Any, machine_kw: Any, storage: Any, last_price: Any,
    volume: Any,  # (B,) kW
    outcome: Any, seats: Any, out: Any, scratch: tuple[Any, ...],
) -> None:  # fmt: skip
    curve_kw, curve_price, curve_tag, context, bid_kw, bid_price, public = scratch
    n_classes, n_blocks = class_kw.shape[1], curve_kw.shape[1]
    present, hour = prices[now], max(now - HOUR, 0)
    for b in range(first, last):
        size, energy = levels[b, 1], prices[now, b, 0]
        tick = (start[b] + now - zero) % TICKS_PER_WEEK
        for j in range(4):
            public[j] = _CLOCK[tick, j]
        public[4] = relative(energy, size)
        public[5] = relative(energy - levels[b, 0], levels[b, 2])
        mean = energy
        for row in range(hour, now):
            mean += prices[row, b, 0]
        public[6] = relative(mean / (now - hour + 1), size)
        public[7] = _bounded(levels[b, 2] / size)
        public[8] = relative(prices[now, b, 1] - levels[b, 3], max(0.25 * levels[b, 3], _LEAST_PRICE))
        public[9] = relative(prices[now, b, 2] - levels[b, 4], max(0.25 * levels[b, 4], _LEAST_PRICE))
        public[10] = 2.0 * capacity[b] - 1.0
        public[11] = capacity[b] - capacity_before[b]
        public[12] = _bounded((ambient[b] - 20.0) / 20.0)
        public[13] = relative(last_price[b], size)
        public[14] = relative(last_price[b] - prices[max(now - 1, 0), b, 0], size)
        public[15] = 2.0 * volume[b] / capacity_kw - 1.0 if capacity_kw > 0.0 else 0.0
        public[16] = _bounded(math.log10(size) + 2.0)
        for j in range(_N_LAGS):
            public[_PUBLIC + j] = relative(prices[max(now - _LAGS[j], 0), b, 0], size)
        for s in range(seats.shape[1]):
            i = seats[b, s]
            for j in range(_PUBLIC + _N_LAGS):
                out[b, s, j] = public[j]
            site, grid = plant[i], max(plant[i].grid_kw, 1e-9)
            build_curve(
                plant, class_kw, output, product, i, machine_kw, storage, present, b, ambient[b], last_price[b], levels[b, MEAN],
                levels[b, MEAN], machine_kw, True, curve_kw, curve_price, curve_tag, context,
            )  # fmt: skip
            used = own_bid(curve_kw, curve_price, context, i, site.grid_kw, bid_kw, bid_price)
            at = _PUBLIC + _N_LAGS
            usable = site.soc_max - site.soc_min
            out[b, s, at] = (storage[b, i, 0] - site.soc_min) / usable if usable > 0.0 else 0.0
            out[b, s, at + 1] = _bounded((site.set_point - storage[b, i, 1]) / 10.0)
            out[b, s, at + 2] = relative(context[i, P_FREE], grid)
            out[b, s, at + 3] = _bounded(context[i, COP] / 6.0)
            won = outcome[b, i, 0]
            out[b, s, at + 4] = _bounded(won / grid)
            out[b, s, at + 5] = relative(outcome[b, i, 7] * TICKS_PER_DAY / 24.0 / won, size) if won > 0.0 else 0.0
            out[b, s, at + 6] = outcome[b, i, 1] / won if won > 0.0 else 1.0
            at += _OWN
            for c in range(n_classes):
                out[b, s, at + c] = machine_kw[b, i, c] / class_kw[i, c] if class_kw[i, c] > 0.0 else 0.0
                revenue = prices[now, b, product[i, c]] * output[i, c]
                out[b, s, at + n_classes + c] = relative(revenue, size) if revenue != 0.0 else revenue
            at += 2 * n_classes
            value = 0.0
            for k in range(n_blocks):  # behind the last block there is no power, at that block's price
                if k < used:
                    value = relative(bid_price[k, i], size)
                out[b, s, at + k] = _bounded(bid_kw[k, i] / grid) if k < used else 0.0
                out[b, s, at + n_blocks + k] = value


@kernel
def encode_rows(
    plant: Any,  # (D,) PLANT
    class_kw: Any,  # (D, C)
    output: Any,  # (D, C)
    product: Any,  # (D, C)
    capacity_kw: float,
    site: Any,  # (M,) row of plant
    market: Any,  # (M,) row of what is public
    prices: Any,  # (h, P, 3) oldest first; the last row is this tick's
    ambient: Any,  # (P,)
    capacity: Any,  # (P,)
    capacity_before: Any,  # (P,) an hour ago
    week_tick: Any,  # (P,)
    levels: Any,  # (P, N_LEVELS)
    last_price: Any,  # (P,)
    volume: Any,  # (P,) kW sold in the last tick
    machine_kw: Any,  # (M, C)
    storage: Any,  # (M, 2)
    outcome: Any,  # (M, N_OUTCOME)
    out: Any,  # (M, D) float32
) -> None:
    """Encode what each of M seats sees that are spread over markets in any way: bit for bit what :func:`encode_range` gives."""
    d, n_classes = class_kw.shape
    n_blocks, first = 2 * n_classes + 3, max(len(prices) - LAGS[-1] - 1, 0)  # of the past nothing older is looked at
    scratch = (
        np.empty((d, n_blocks)), np.empty((d, n_blocks)), np.empty((d, n_blocks), dtype=np.int64), np.empty((d, N_CONTEXT)),
        np.empty((n_blocks, d)), np.empty((n_blocks, d)), np.empty(_PUBLIC + _N_LAGS, dtype=np.float32),
    )  # fmt: skip
    past, own_levels = np.empty((len(prices) - first, 1, 3)), np.empty((1, N_LEVELS))
    own_machines, own_storage, own_outcome = np.empty((1, d, n_classes)), np.empty((1, d, 2)), np.empty((1, d, outcome.shape[1]))
    seat, vector = np.empty((1, 1), dtype=np.int64), np.empty((1, 1, out.shape[1]), dtype=np.float32)
    now, shown = len(past) - 1, -1
    for m in range(len(site)):
        i, p = site[m], market[m]
        if p != shown:
            past[:, 0] = prices[first:, p]
            own_levels[0] = levels[p]
            shown = p
        seat[0, 0] = i
        own_machines[0, i], own_storage[0, i], own_outcome[0, i] = machine_kw[m], storage[m], outcome[m]
        _encode(
            0, 1, plant, class_kw, output, product, capacity_kw, past, ambient[p : p + 1], capacity[p : p + 1],
            capacity_before[p : p + 1], now, week_tick[p : p + 1], now, own_levels, own_machines, own_storage, last_price[p : p + 1],
            volume[p : p + 1], own_outcome, seat, vector, scratch,
        )  # fmt: skip
        out[m] = vector[0, 0]


@parallel_kernel
def encode_parallel(
    chunks: int, plant: Any, class_kw: Any, output: Any, product: Any, capacity_kw: float, prices: Any, ambient: Any, capacity: Any,
    now: int, start: Any, zero: int, levels: Any, machine_kw: Any, storage: Any, last_price: Any, totals: Any, outcome: Any,
    seats: Any, out: Any,
) -> None:  # fmt: skip
    """Encode all markets, ``chunks`` contiguous parts of them in parallel."""
    n = len(out)
    for c in numba.prange(chunks):
        encode_range(
            c * n // chunks, (c + 1) * n // chunks, plant, class_kw, output, product, capacity_kw, prices, ambient, capacity, now, start,
            zero, levels, machine_kw, storage, last_price, totals, outcome, seats, out,
        )  # fmt: skip
