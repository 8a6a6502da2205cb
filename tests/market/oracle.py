"""Two independent answers to what the single-node auction must return; nothing here imports gridpilot.

``exact_vcg``    the definition in rational arithmetic: fill blocks in merit order, and solve again without each bidder.
``oracle_vcg``   n+1 linear programmes (scipy's HiGHS), each polished to the exact optimum by weak duality: with D the dual function
                 of the balance row, W = min over prices of D(price), D is convex and piecewise linear with its kinks at the blocks'
                 prices, so that an exact descent from the solver's dual price ends at W itself.

A market is ``bids`` (a list of ``(kW, $/kWh)`` blocks for every site, prices non-increasing), ``supply`` (a list of
``(kW, $/kWh)`` steps, costs non-decreasing), ``capacity`` kW, ``caps`` (kW or None for every site) and ``reserve`` $/kWh or None.
Floats are taken at their exact binary value; ints and Fractions are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import linprog

__all__ = ["ExactClearing", "exact_vcg", "oracle_vcg"]

RESIDUE = Fraction(16, 2**52)  # of what is served

Number = int | float | Fraction
Blocks = Sequence[Sequence[Number]]
ExactBlocks = list[tuple[Fraction, Fraction]]


@dataclass(frozen=True)
class ExactClearing:
    """The exact clearing of one market; money in $/h, power in kW, prices in $/kWh (None where unbounded)."""

    allocation: tuple[Fraction, ...]
    value: tuple[Fraction, ...]
    surplus: tuple[Fraction, ...]  # W(N) - W(N without i): what VCG leaves to i; the same under every tie rule
    welfare: Fraction
    supply_cost: Fraction
    volume: Fraction
    price_lo: Fraction | None
    price_hi: Fraction | None

    def payment(self, mechanism: str) -> tuple[Fraction, ...]:
        """$/h by site under ``"vcg"``, ``"uniform"`` (at price_lo) or ``"pay_as_bid"``."""
        if mechanism == "vcg":
            return tuple(v - s for v, s in zip(self.value, self.surplus, strict=True))
        if mechanism == "uniform":
            price = self.price_lo if self.price_lo is not None else Fraction(0)  # then nothing is sold
            return tuple(price * x for x in self.allocation)
        if mechanism == "pay_as_bid":
            return self.value
        raise ValueError(mechanism)


def exact_vcg(
    bids: Sequence[Blocks],
    supply: Blocks,
    capacity: Number,
    caps: Sequence[Number | None] | None = None,
    reserve: Number | None = None,
) -> ExactClearing:
    """Clear in rational arithmetic. Ties: a block at exactly the supply cost is served, then pro rata within equal price."""
    sites, steps = _truncated(bids, supply, capacity, caps, reserve)
    share, used = _fill(sites, steps)
    allocation = tuple(_total(q * share[v] for q, v in blocks) for blocks in sites)
    value = tuple(_total(q * share[v] * v for q, v in blocks) for blocks in sites)
    supply_cost = _total(s * c for s, c in used)
    welfare = _total(value) - supply_cost
    surplus = tuple(welfare - _merit_order_welfare(sites[:i] + sites[i + 1 :], steps) for i in range(len(sites)))
    price_lo, price_hi = _price_band(sites, steps)
    return ExactClearing(allocation, value, surplus, welfare, supply_cost, _total(allocation), price_lo, price_hi)


def oracle_vcg(
    bids: Sequence[Blocks],
    supply: Blocks,
    capacity: Number,
    caps: Sequence[Number | None] | None = None,
    reserve: Number | None = None,
) -> dict[str, Any]:
    """``{"welfare": W(N), "surplus": (N,) W(N) - W(N without i), "welfare_without": (N,)}`` by n+1 linear programmes, $/h.

    Differences are taken before rounding, so that small surpluses beside a large welfare keep their relative accuracy.
    """
    sites, steps = _truncated(bids, supply, capacity, caps, reserve)
    welfare = _programme_welfare(sites, steps)
    without = [_programme_welfare(sites[:i] + sites[i + 1 :], steps) for i in range(len(sites))]
    return {
        "welfare": float(welfare),
        "surplus": np.array([float(welfare - w) for w in without]),
        "welfare_without": np.array([float(w) for w in without]),
    }


def _truncated(
    bids: Sequence[Blocks], supply: Blocks, capacity: Number, caps: Sequence[Number | None] | None, reserve: Number | None
) -> tuple[list[ExactBlocks], ExactBlocks]:
    limits = [None] * len(bids) if caps is None else list(caps)
    sites = [_cut(blocks, cap) for blocks, cap in zip(bids, limits, strict=True)]
    steps = _cut(supply, capacity)
    if reserve is not None:
        steps = [(s, max(c, Fraction(reserve))) for s, c in steps]
    return sites, steps


def _cut(blocks: Blocks, limit: Number | None) -> ExactBlocks:
    """The first ``limit`` kW of ``blocks``, without the empty ones."""
    room = None if limit is None or (isinstance(limit, float) and math.isinf(limit)) else Fraction(limit)
    kept = []
    for kw, price in blocks:
        quantity = Fraction(kw) if room is None else min(Fraction(kw), room)
        if room is not None:
            room -= quantity
        if quantity > 0:
            kept.append((quantity, Fraction(price)))
    return kept


def _fill(sites: list[ExactBlocks], steps: ExactBlocks) -> tuple[dict[Fraction, Fraction], ExactBlocks]:
    """The filled share of the blocks of each price, and the used part of every supply step, in merit order."""
    left = [s for s, _ in steps]
    share = {}
    for price in sorted({v for blocks in sites for _, v in blocks}, reverse=True):
        wanted = _total(q for blocks in sites for q, v in blocks if v == price)
        rest = wanted
        for k, (_, cost) in enumerate(steps):
            if cost <= price:  # equality serves: maximum volume
                taken = min(rest, left[k])
                left[k] -= taken
                rest -= taken
        share[price] = (wanted - rest) / wanted
    return share, [(s - r, c) for (s, c), r in zip(steps, left, strict=True)]


def _merit_order_welfare(sites: list[ExactBlocks], steps: ExactBlocks) -> Fraction:
    share, used = _fill(sites, steps)
    return _total(q * share[v] * v for blocks in sites for q, v in blocks) - _total(s * c for s, c in used)


def _price_band(sites: list[ExactBlocks], steps: ExactBlocks) -> tuple[Fraction | None, Fraction | None]:
    """Highest losing and lowest winning price when every supply step bids to buy itself back at its cost.

    What wins or loses no more than ``RESIDUE`` of what is served is a rounding error of the quantities, and sets no price.
    """
    total = _total(s for s, _ in steps)
    level: dict[Fraction, Fraction] = {}
    demand: dict[Fraction, Fraction] = {}
    for blocks in [*sites, steps]:
        for quantity, price in blocks:
            level[price] = level.get(price, Fraction(0)) + quantity
            demand[price] = demand.get(price, Fraction(0)) + (quantity if blocks is not steps else 0)
    price_lo = price_hi = None
    filled = served = Fraction(0)
    for price in sorted(level, reverse=True):
        if total - filled > RESIDUE * min(served, total):
            price_hi = price
        filled += level[price]
        served += demand[price]
        if filled - total > RESIDUE * min(served, total) and price_lo is None:
            price_lo = price
    return price_lo, price_hi


def _programme_welfare(sites: list[ExactBlocks], steps: ExactBlocks) -> Fraction:
    """Maximal value minus cost: the linear programme, then the exact minimum of its dual function near the solver's dual price."""
    buyers = [block for blocks in sites for block in blocks]
    if not buyers or not steps:
        return Fraction(0)
    quantity = _power_of_two(max(q for q, _ in [*buyers, *steps]))
    price = _power_of_two(max(abs(v) for _, v in [*buyers, *steps]) or Fraction(1))
    objective = np.array([float(-v / price) for _, v in buyers] + [float(c / price) for _, c in steps])
    balance = np.array([[1.0] * len(buyers) + [-1.0] * len(steps)])
    bounds = [(0.0, float(q / quantity)) for q, _ in [*buyers, *steps]]
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10, "presolve": False}
    result = linprog(objective, A_eq=balance, b_eq=[0.0], bounds=bounds, method="highs-ds", options=options)
    if result.status != 0:
        raise RuntimeError(f"linprog: {result.message}")
    welfare = _least_dual(buyers, steps, -float(result.eqlin.marginals[0]) * float(price))
    error = abs(Fraction(-result.fun) - welfare / quantity / price)  # in the units the solver's tolerances are meant in
    if error > Fraction(len(objective), 10**9):
        raise RuntimeError(f"linprog finds {-result.fun!r}, its dual {float(welfare / quantity / price)!r}")
    return welfare


def _least_dual(buyers: ExactBlocks, steps: ExactBlocks, start: float) -> Fraction:
    """min over p of sum q max(v - p, 0) + sum s max(p - c, 0), by descent over its kinks from the one nearest to ``start``."""
    kinks = sorted({v for _, v in [*buyers, *steps]})

    def dual(k: int) -> Fraction:
        p = kinks[k]
        return _total(q * (v - p) for q, v in buyers if v > p) + _total(s * (p - c) for s, c in steps if c < p)

    k = min(range(len(kinks)), key=lambda j: abs(float(kinks[j]) - start))
    best = dual(k)
    for step in (-1, 1):
        while 0 <= k + step < len(kinks) and (lower := dual(k + step)) <= best:  # equality: a flat piece may lie between
            k, best = k + step, lower
    return best


def _total(numbers: Iterable[Fraction]) -> Fraction:
    return sum(numbers, Fraction(0))


def _power_of_two(x: Fraction) -> Fraction:
    return Fraction(2) ** math.frexp(float(x))[1]
