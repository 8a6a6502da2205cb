"""Whole machines within a power limit: the bounded knapsack, solved exactly within a budget, and within a bound beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from gridpilot.live.api import Counts

__all__ = ["MOST_LOOKED_AT", "Packing", "best_counts", "pack"]

MOST_LOOKED_AT: Final = 250_000
"""Counts of a class that are looked at, about a second; the APIs' own inventories take at most ten thousand at 1 MW. A number of counts
rather than a time, so that a replay comes to the same machines."""

TIE: Final = 1.0 + 1e-12  # what is worth more by less than this is a tie: machines are not moved about for rounding


class Packing(NamedTuple):
    """Machines within a limit."""

    counts: Counts
    loss: float  # at most so much less worth than the best there are; 0 where they are the best


def best_counts(values: Sequence[float], powers: Sequence[int], units: Sequence[int], limit: int) -> Counts:
    """The counts of :func:`pack`.

    >>> best_counts([3.0, 2.0], [4, 3], [9, 9], 10)
    (1, 2)
    """
    return pack(values, powers, units, limit).counts


def pack(
    values: Sequence[float], powers: Sequence[int], units: Sequence[int], limit: int, *, most: int = MOST_LOOKED_AT
) -> Packing:
    """Machines of each class that are worth the most together: maximise sum n v, with sum n p <= ``limit`` and 0 <= n <= ``units``.

    ``values (C,)`` of a machine, in any unit; classes worth nothing or less stay off. ``powers (C,)`` and ``limit`` in W, whole numbers,
    ``powers`` > 0. Among equal optima the classes worth most a watt come first.

    Depth-first branch and bound (Horowitz and Sahni 1974, https://doi.org/10.1145/321812.321823): classes in descending value a watt,
    counts from the greatest down, bounded by filling up with fractions of machines. That bound falls with the count, so the first count
    that cannot win ends the loop; a room that was reached before with as much gained is not searched again, which keeps tied classes cheap.

    The search ends after ``most`` counts with the best found so far. The first counts that it comes to fill up greedily, so that even then
    less than one machine's worth is lost (Dantzig 1957, https://doi.org/10.1287/opre.5.2.266): :attr:`Packing.loss` bounds it by what
    fractions of machines would be worth.
    """
    order = sorted((c for c in range(len(values)) if values[c] > 0.0), key=lambda c: (-values[c] / powers[c], c))
    depth = len(order)
    v, p, u = [values[c] for c in order], [powers[c] for c in order], [units[c] for c in order]
    seen: list[dict[int, float]] = [{} for _ in order]
    chosen, best, best_value = [0] * depth, [0] * depth, 0.0
    looked_at, most = 0, max(most, depth)  # enough to fill up once

    def bound(k: int, room: int) -> float:
        total = 0.0
        for j in range(k, depth):
            if u[j] * p[j] >= room:
                return total + v[j] * (room / p[j])
            total += u[j] * v[j]
            room -= u[j] * p[j]
        return total

    def search(k: int, room: int, gained: float) -> None:
        nonlocal best_value, looked_at
        if gained > best_value * TIE:
            best_value = gained
            best[:k], best[k:] = chosen[:k], [0] * (depth - k)
        if k == depth or seen[k].get(room, -1.0) >= gained:
            return
        seen[k][room] = gained
        for count in range(min(u[k], room // p[k]), -1, -1):
            if looked_at >= most and best_value > 0.0:
                return
            looked_at += 1
            rest = room - count * p[k]
            if gained + count * v[k] + bound(k + 1, rest) <= best_value * TIE:
                break
            chosen[k] = count
            search(k + 1, rest, gained + count * v[k])

    search(0, max(limit, 0), 0.0)
    counts = [0] * len(values)
    for c, count in zip(order, best, strict=True):
        counts[c] = count
    cut = looked_at >= most
    return Packing(tuple(counts), max(0.0, bound(0, max(limit, 0)) - best_value) if cut else 0.0)
