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
from gridpilot.market.compilation import kernel, parallel_kernel
from gridpilot.market.margin import clear_large

__all__ = ["Clearing", "Mechanism", "clear", "clear_batch"]

Mechanism = Literal["vcg", "uniform", "pay_as_bid"]
FloatArray = npt.NDArray[np.float64]

_PARALLEL_FROM = 64  # markets; below it one thread is faster, and safe in forked processes


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
    blocks = [check_blocks(bid, where=f"bids[{i}]") for i, bid in enumerate(bids)]
    n = len(blocks)
    width = max((len(block) for block in blocks), default=0)
    kw, price = np.zeros((1, n, width)), np.zeros((1, n, width))
    for i, block in enumerate(blocks):
        kw[0, i, : len(block)], price[0, i, : len(block)] = block[:, 0], block[:, 1]
        if 0 < len(block) < width:
            price[0, i, len(block) :] = block[-1, 1]
    result = _clear_arrays(
        kw,
        price,
        check_supply(supply)[None],
        np.array([check_capacity(capacity)]),
        check_caps(caps, n)[None],
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

    ``bids``      ``(B, N, K, 2)`` blocks (kW, $/kWh), prices non-increasing along K; unused blocks have 0 kW
    ``supply``    ``(B, S, 2)`` or ``(S, 2)`` steps (kW, $/kWh), costs non-decreasing
    ``capacity``  ``(B,)`` or a number, kW;  ``caps``: ``(B, N)``, ``(N,)`` or a number, kW;  ``reserve``: ``(B,)`` or a number, $/kWh

    Raises :class:`~gridpilot.errors.BidError` or :class:`~gridpilot.errors.MarketError`, naming the first market and site that is wrong.
    """
    blocks = np.asarray(bids, dtype=np.float64)
    if blocks.ndim != 4 or blocks.shape[3] != 2:
        raise BidError(f"bids: expected an array of shape (B, N, K, 2), got {blocks.shape}")
    kw, price = np.ascontiguousarray(blocks[..., 0]), np.ascontiguousarray(blocks[..., 1])
    bad = ~np.isfinite(kw) | ~np.isfinite(price) | (kw < 0.0)
    bad[..., 1:] |= np.diff(price, axis=-1) > 0.0
    if bad.any():
        b, i, _ = np.argwhere(bad)[0]
        check_blocks(blocks[b, i], where=f"market {b}, bids[{i}]")
    n_markets, n = kw.shape[:2]
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
    return _clear_arrays(kw, price, steps, capacities, limits, reserves, check_mechanism(mechanism))


def _clear_arrays(
    kw: FloatArray,
    price: FloatArray,
    supply: FloatArray,
    capacity: FloatArray,
    caps: FloatArray,
    reserve: FloatArray,
    mechanism: int,
) -> Clearing:
    if np.isfinite(caps).any():
        before = np.cumsum(kw, axis=-1) - kw
        kw = np.clip(caps[..., None] - before, 0.0, kw)
    n_markets, n = kw.shape[:2]
    allocation, payment, value = np.empty((n_markets, n)), np.empty((n_markets, n)), np.empty((n_markets, n))
    totals = np.empty((n_markets, N_TOTALS))
    arguments = (kw, price, np.ascontiguousarray(supply), np.ascontiguousarray(capacity), np.ascontiguousarray(reserve), mechanism)
    if n_markets < _PARALLEL_FROM:
        clear_range(0, n_markets, *arguments, allocation, payment, value, totals)
    else:
        clear_parallel(numba.get_num_threads(), *arguments, allocation, payment, value, totals)
    return Clearing(allocation, payment, value, *np.ascontiguousarray(totals.T))


@kernel
def clear_range(
    first: int,
    last: int,
    kw: Any,  # (B, N, K)
    price: Any,  # (B, N, K)
    supply: Any,  # (B, S, 2)
    capacity: Any,  # (B,)
    reserve: Any,  # (B,)
    mechanism: int,
    allocation: Any,  # (B, N), out
    payment: Any,  # (B, N), out
    value: Any,  # (B, N), out
    totals: Any,  # (B, N_TOTALS), out
) -> None:
    """Clear markets ``first`` to ``last - 1``."""
    _, n, n_blocks = kw.shape
    steps = np.empty((supply.shape[1], 2))
    work, index = np.empty(3 * n + n * n_blocks), np.empty(n + n * n_blocks, dtype=np.int64)
    for b in range(first, last):
        n_steps, total = truncate_supply(supply[b], capacity[b], reserve[b], steps)
        if n <= SMALL:
            clear_small(
                kw[b], price[b], steps, n_steps, total, mechanism, allocation[b], payment[b], value[b], totals[b], work, index
            )  # fmt: skip
        else:
            clear_large(kw[b], price[b], steps, n_steps, total, mechanism, allocation[b], payment[b], value[b], totals[b])


@parallel_kernel
def clear_parallel(
    chunks: int,
    kw: Any,
    price: Any,
    supply: Any,
    capacity: Any,
    reserve: Any,
    mechanism: int,
    allocation: Any,
    payment: Any,
    value: Any,
    totals: Any,
) -> None:
    """Clear all markets, ``chunks`` contiguous parts of them in parallel."""
    n = len(kw)
    for c in numba.prange(chunks):
        clear_range(
            c * n // chunks, (c + 1) * n // chunks, kw, price, supply, capacity, reserve, mechanism, allocation, payment, value, totals
        )  # fmt: skip


def check_supply(supply: Any, *, where: str = "supply") -> FloatArray:
    """Return ``supply`` as ``(S, 2)`` steps (kW, $/kWh) of non-decreasing cost, or raise :class:`~gridpilot.errors.MarketError`."""
    try:
        steps = np.array(supply, dtype=np.float64)
    except (TypeError, ValueError) as error:
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
    return float(value)
