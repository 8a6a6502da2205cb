"""Clearing markets from Python: one market as lists, or thousands as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
import numpy.typing as npt

from gridpilot.errors import BidError, MarketError
from gridpilot.market.auction import MECHANISMS, N_TOTALS, SMALL, clear_small, truncate_supply
from gridpilot.market.bids import check_blocks
from gridpilot.market.compilation import inline_kernel, kernel, parallel_kernel
from gridpilot.market.margin import clear_large

__all__ = ["Clearing", "Mechanism", "clear", "clear_batch"]

Mechanism = Literal["vcg", "uniform", "pay_as_bid"]
FloatArray = npt.NDArray[np.float64]

PARALLEL_FROM = 64  # markets; below it one thread is faster, and safe in forked processes


@dataclass(frozen=True)
class Clearing:
    """What an auction decided. For a batch every field has a leading market axis. Rates are per hour: times ``dt`` for a tick."""

    allocation: FloatArray  # (N,) kW
    payment: FloatArray  # (N,) $/h
    value: FloatArray  # (N,) $/h, each site's own bid integrated over its allocation
    welfare: Any  # $/h, values minus supply cost
    supply_cost: Any  # $/h
    volume: Any  # kW
    price_lo: Any  # $/kWh, the highest losing price; -inf where nothing loses
    price_hi: Any  # $/kWh, the lowest winning price; inf where nothing can win

    @property
    def surplus(self) -> FloatArray:
        """Value minus payment, $/h; ``(N,)``."""
        return self.value - self.payment


def clear(
    bids: Sequence[Any],
    supply: Any,
    capacity: float = math.inf,
    *,
    caps: Sequence[float | None] | None = None,
    reserve: float | None = None,
    mechanism: Mechanism = "vcg",
) -> Clearing:
    """Clear one market.

    ``bids``      for each of N sites a list of ``(kW, $/kWh)`` blocks, prices non-increasing; an empty list asks for nothing
    ``supply``    list of ``(kW, $/kWh)`` steps, costs non-decreasing, cut at ``capacity`` kW
    ``caps``      the most each site may get, kW; ``None`` for no cap
    ``reserve``   replaces every lower supply cost, $/kWh, in welfare and in payments

    Raises :class:`~gridpilot.errors.BidError` for a malformed bid and :class:`~gridpilot.errors.MarketError` for anything else.

    >>> vickrey = clear([[(1, 10)], [(1, 8)], [(1, 5)]], supply=[(1, 0)])
    >>> vickrey.allocation.tolist(), vickrey.payment.tolist()
    ([1.0, 0.0, 0.0], [8.0, 0.0, 0.0])
    """
    lists = [check_blocks(bid, where=f"bids[{i}]") for i, bid in enumerate(bids)]
    blocks = np.zeros((1, len(lists), max(map(len, lists), default=0), 2))
    for i, block in enumerate(lists):
        blocks[0, i, : len(block)] = block
        blocks[0, i, len(block) :, 1] = block[-1, 1] if len(block) else 0.0
    result = _clear_arrays(
        blocks,
        check_supply(supply)[None],
        np.array([check_capacity(capacity)]),
        check_caps(caps, len(lists))[None],
        np.array([check_reserve(reserve)]),
        check_mechanism(mechanism),
    )
    return Clearing(
        allocation=result.allocation[0],
        payment=result.payment[0],
        value=result.value[0],
        **{name: float(getattr(result, name)[0]) for name in ("welfare", "supply_cost", "volume", "price_lo", "price_hi")},
    )


def clear_batch(
    bids: Any,
    supply: Any,
    capacity: Any = math.inf,
    *,
    caps: Any = math.inf,
    reserve: Any = -math.inf,
    mechanism: Mechanism = "vcg",
) -> Clearing:
    """Clear B markets of N sites at once.

    ``bids``      ``(B, N, K, 2)`` blocks (kW, $/kWh), prices non-increasing along K; fill up with blocks of 0 kW
    ``supply``    ``(B, S, 2)`` or ``(S, 2)`` steps (kW, $/kWh), costs non-decreasing
    ``capacity``  ``(B,)`` or a number, kW;  ``caps``: ``(B, N)``, ``(N,)`` or a number, kW;  ``reserve``: ``(B,)`` or a number, $/kWh

    Raises :class:`~gridpilot.errors.BidError` or :class:`~gridpilot.errors.MarketError`, naming the first market and site that is wrong.
    """
    blocks = check_block_array(bids)
    markets = check_markets(blocks.shape[0], blocks.shape[1], supply, capacity, caps, reserve)
    return _clear_arrays(blocks, *markets, check_mechanism(mechanism))


def _clear_arrays(
    blocks: FloatArray, supply: FloatArray, capacity: FloatArray, caps: FloatArray, reserve: FloatArray, mechanism: int
) -> Clearing:
    n_markets, n = blocks.shape[:2]
    allocation, payment, value = np.empty((n_markets, n)), np.empty((n_markets, n)), np.empty((n_markets, n))
    totals, bad = np.empty((n_markets, N_TOTALS)), np.full(n_markets, -1)
    markets = [np.ascontiguousarray(array) for array in (blocks, supply, capacity, caps, reserve)]
    if n_markets < PARALLEL_FROM:
        clear_range(0, n_markets, *markets, mechanism, allocation, payment, value, totals, bad)
    else:
        clear_parallel(numba.get_num_threads(), *markets, mechanism, allocation, payment, value, totals, bad)
    if bad.max(initial=-1) >= 0:
        b = int(np.argmax(bad >= 0))
        check_blocks(blocks[b, bad[b]], where=f"market {b}, bids[{bad[b]}]")
    return Clearing(allocation, payment, value, *np.ascontiguousarray(totals.T))


@kernel
def clear_range(
    first: int,
    last: int,
    blocks: Any,  # (B, N, K, 2)
    supply: Any,  # (B, S, 2)
    capacity: Any,  # (B,)
    caps: Any,  # (B, N)
    reserve: Any,  # (B,)
    mechanism: int,
    allocation: Any,  # (B, N), out
    payment: Any,  # (B, N), out
    value: Any,  # (B, N), out
    totals: Any,  # (B, N_TOTALS), out
    bad: Any,  # (B,), out: a site whose bid is refused, where there is one; the market is not cleared then
) -> None:
    """Clear markets ``first`` to ``last - 1``."""
    _, n, n_blocks, _ = blocks.shape
    kw, price, steps = np.empty((n_blocks, n)), np.empty((n_blocks, n)), np.empty((supply.shape[1] + 1, 4))
    won, paid, worth = np.empty(n), np.empty(n), np.empty(n)
    used = np.full(n, n_blocks)
    front, need, own, level = np.empty(n), np.empty(n), np.empty(n), np.empty(n * n_blocks)
    head, owner = np.empty(n, dtype=np.int64), np.empty(n * n_blocks, dtype=np.int64)
    for b in range(first, last):
        bad[b] = take_blocks(blocks, caps, b, kw, price)
        if bad[b] >= 0:
            continue
        n_steps, total = truncate_supply(supply, b, capacity[b], reserve[b], steps)
        if n <= SMALL:
            clear_small(
                kw, price, used, steps, n_steps, total, math.inf, mechanism, won, paid, worth, totals, b,
                front, need, own, head, level, owner,
            )  # fmt: skip
        else:
            clear_large(kw, price, steps, n_steps, total, mechanism, won, paid, worth, totals, b)
        for i in range(n):
            allocation[b, i], payment[b, i], value[b, i] = won[i], paid[i], worth[i]


@inline_kernel
def take_blocks(blocks: Any, caps: Any, b: int, kw: Any, price: Any) -> int:
    """Copy market b's blocks ``(B, N, K, 2)`` to ``kw`` and ``price (K, N)``, cut at the caps.

    Returns the first site whose blocks are not finite, >= 0 kW and non-increasing, or -1.
    """
    refused = -1
    for i in range(blocks.shape[1]):
        room, ceiling, good = caps[b, i], math.inf, 1
        for k in range(blocks.shape[2]):
            quantity, p = blocks[b, i, k, 0], blocks[b, i, k, 1]
            good &= (quantity >= 0.0) & (quantity < math.inf) & (p > -math.inf) & (p < math.inf) & (p <= ceiling)
            ceiling = p
            kw[k, i], price[k, i] = min(quantity, room), p
            room -= kw[k, i]
        if good == 0 and refused < 0:
            refused = i
    return refused


@parallel_kernel
def clear_parallel(
    chunks: int, blocks: Any, supply: Any, capacity: Any, caps: Any, reserve: Any, mechanism: int,
    allocation: Any, payment: Any, value: Any, totals: Any, bad: Any,
) -> None:  # fmt: skip
    """Clear all markets, ``chunks`` contiguous parts of them in parallel."""
    n = len(blocks)
    for c in numba.prange(chunks):
        clear_range(
            c * n // chunks, (c + 1) * n // chunks, blocks, supply, capacity, caps, reserve, mechanism,
            allocation, payment, value, totals, bad,
        )  # fmt: skip


def check_block_array(blocks: Any, name: str = "bids") -> FloatArray:
    """Return ``blocks`` as an array ``(B, N, K, 2)``, or raise :class:`~gridpilot.errors.BidError`. What it holds the kernels check."""
    array = np.asarray(blocks, dtype=np.float64)
    if array.ndim != 4 or array.shape[3] != 2:
        raise BidError(f"{name}: expected an array of shape (B, N, K, 2), got {array.shape}")
    return array


def check_markets(
    n_markets: int, n: int, supply: Any, capacity: Any, caps: Any, reserve: Any
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return supply ``(B, S, 2)``, capacity ``(B,)``, caps ``(B, N)`` and reserve ``(B,)`` of a batch.

    Raises :class:`~gridpilot.errors.MarketError`, naming the first market that is wrong.
    """
    steps = np.asarray(supply, dtype=np.float64)
    if steps.ndim == 2:
        check_supply(steps)
        steps = np.broadcast_to(steps, (n_markets, *steps.shape))
    elif steps.ndim != 3 or len(steps) != n_markets:
        raise MarketError(f"supply: expected an array of shape (S, 2) or ({n_markets}, S, 2), got {steps.shape}")
    else:
        wrong = (
            ~np.isfinite(steps).all(axis=(1, 2))
            | (steps[..., 0] < 0.0).any(axis=1)
            | (np.diff(steps[..., 1], axis=1) < 0.0).any(axis=1)
        )
        if wrong.any():
            check_supply(steps[np.argmax(wrong)], where=f"market {np.argmax(wrong)}, supply")
    capacities = np.broadcast_to(np.asarray(capacity, dtype=np.float64), n_markets)
    limits = np.broadcast_to(np.asarray(caps, dtype=np.float64), (n_markets, n))
    reserves = np.broadcast_to(np.asarray(reserve, dtype=np.float64), n_markets)
    for name, array in (("capacity", capacities), ("caps", limits)):
        if not (array >= 0.0).all():
            raise MarketError(f"{name}: {array[~(array >= 0.0)][0]} kW in a batch, expected numbers >= 0")
    if np.isnan(reserves).any():
        raise MarketError("reserve: nan in a batch, expected numbers in $/kWh")
    return steps, capacities, limits, reserves


def check_supply(supply: Any, *, where: str = "supply") -> FloatArray:
    """Return ``supply`` as ``(S, 2)`` steps (kW, $/kWh) of non-decreasing cost, or raise :class:`~gridpilot.errors.MarketError`."""
    try:
        steps = np.array(supply, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise MarketError(f"{where}: expected a list of [kW, $/kWh] steps of numbers, got {supply!r:.100}") from error
    if steps.size == 0 and steps.ndim <= 2:
        return np.zeros((0, 2))
    if steps.ndim != 2 or steps.shape[1] != 2:
        raise MarketError(f"{where}: expected a list of [kW, $/kWh] steps, got an array of shape {steps.shape}")
    for s, (kw, cost) in enumerate(steps):
        if not math.isfinite(kw) or kw < 0.0:
            raise MarketError(f"{where}: step {s} has quantity {kw} kW, expected a finite number >= 0")
        if not math.isfinite(cost):
            raise MarketError(f"{where}: step {s} has cost {cost} $/kWh, expected a finite number")
        if s and cost < steps[s - 1, 1]:
            raise MarketError(
                f"{where}: step {s} costs {cost} $/kWh, below step {s - 1}'s {steps[s - 1, 1]}, expected non-decreasing costs"
            )
    return steps


def check_capacity(capacity: Any) -> float:
    """Return ``capacity`` in kW, or raise :class:`~gridpilot.errors.MarketError`."""
    value = _number(capacity, "capacity", "kW")
    if not value >= 0.0:
        raise MarketError(f"capacity: {value} kW, expected a number >= 0")
    return value


def check_caps(caps: Any, n: int) -> FloatArray:
    """Return the N caps in kW, ``inf`` for none, or raise :class:`~gridpilot.errors.MarketError`."""
    if caps is None:
        return np.full(n, np.inf)
    if not isinstance(caps, Sequence | np.ndarray) or isinstance(caps, str) or len(caps) != n:
        raise MarketError(f"caps: expected a list of {n} numbers or nulls, one a site, got {caps!r:.100}")
    limits = np.array([math.inf if cap is None else _number(cap, f"caps[{i}]", "kW") for i, cap in enumerate(caps)])
    for i, cap in enumerate(limits):
        if not cap >= 0.0:
            raise MarketError(f"caps[{i}]: {cap} kW, expected a number >= 0 or null")
    return limits


def check_reserve(reserve: Any) -> float:
    """Return the reserve price in $/kWh, ``-inf`` for none, or raise :class:`~gridpilot.errors.MarketError`."""
    if reserve is None:
        return -math.inf
    value = _number(reserve, "reserve", "$/kWh")
    if math.isnan(value) or value == math.inf:
        raise MarketError(f"reserve: {value} $/kWh, expected a finite number or null")
    return value


def check_mechanism(mechanism: Any) -> int:
    """Return the kernels' number of a mechanism, or raise :class:`~gridpilot.errors.MarketError`."""
    if mechanism not in MECHANISMS:
        raise MarketError(f"mechanism: {mechanism!r}, expected one of {', '.join(MECHANISMS)}")
    return MECHANISMS[mechanism]


def _number(value: Any, name: str, unit: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise MarketError(f"{name}: {value!r}, expected a number in {unit}")
    try:
        return float(value)
    except OverflowError as error:  # an int beyond every float
        raise MarketError(f"{name}: {value!r:.60}, expected a number in {unit} below 1e308") from error
