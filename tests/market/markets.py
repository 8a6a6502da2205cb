"""Markets for the tests of the auction: the textbook cases of the design page, and random ones of many kinds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

__all__ = ["KINDS", "TEXTBOOK", "markets", "random_market", "truncated_kw"]

Market = dict[str, Any]


def units(*bids: tuple[float, ...]) -> list[list[list[float]]]:
    """One kW a block."""
    return [[[1.0, float(value)] for value in bid] for bid in bids]


KRISHNA = {
    "bids": units((50, 47, 40, 32, 15, 5), (42, 28, 20, 12, 7, 3), (45, 35, 24, 14, 9, 6)),
    "supply": [[6, 0]],
    "capacity": 6,
}
REDUCED = {"bids": [units((10,))[0], units((8,))[0]], "supply": [[2, 0]], "capacity": 2}
TRUTHFUL = {"bids": units((10, 10), (8,)), "supply": [[2, 0]], "capacity": 2}
CONGESTION = {
    "bids": [[[600, 0.20], [200, 0.10]], [[500, 0.15], [300, 0.09]], [[400, 0.12]]],
    "supply": [[1000, 0.05]],
    "capacity": 1000,
}
STEPS = {"bids": [[[600, 0.20]], [[500, 0.12]]], "supply": [[800, 0.03], [400, 0.08]], "capacity": 1200}

# name, market, mechanism, allocation, payment, welfare
TEXTBOOK: list[tuple[str, Market, str, list[float], list[float], float]] = [
    ("Vickrey", {"bids": units((10,), (8,), (5,)), "supply": [[1, 0]], "capacity": 1}, "vcg", [1, 0, 0], [8, 0, 0], 10),
    ("Krishna", KRISHNA, "vcg", [3, 1, 2], [72, 32, 60], 259),
    ("Krishna, uniform price", KRISHNA, "uniform", [3, 1, 2], [96, 32, 64], 259),
    ("Krishna, pay as bid", KRISHNA, "pay_as_bid", [3, 1, 2], [137, 42, 80], 259),
    (
        "Ausubel 2004",
        {
            "bids": units((123, 113, 103), (75, 5, 3), (125, 125, 49), (85, 65, 7), (45, 25, 5)),
            "supply": [[5, 0]],
            "capacity": 5,
        },
        "vcg",
        [3, 0, 2, 0, 0],
        [225, 0, 160, 0, 0],
        589,
    ),
    ("demand reduction, truthful", TRUTHFUL, "uniform", [2, 0], [16, 0], 20),
    ("demand reduction, one unit", REDUCED, "uniform", [1, 1], [0, 0], 18),
    ("demand reduction, Vickrey", TRUTHFUL, "vcg", [2, 0], [8, 0], 20),
    ("congestion", CONGESTION, "vcg", [600, 400, 0], [72, 48, 0], 130),
    ("supply steps", STEPS, "vcg", [600, 500], [33, 30], 132),
    (
        "reserve",
        {"bids": [[[1, 10], [1, 7]], [[1, 5]]], "supply": [[3, 1]], "capacity": 3, "reserve": 6},
        "vcg",
        [2, 0],
        [12, 0],
        5,
    ),
]

Draw = Callable[[], float]


def _ties(r: random.Random) -> tuple[Draw, Draw]:
    return lambda: r.choice([0.0, 0.5, 1.0, 1.0, 2.0, 3.0]), lambda: r.choice([-1.0, 0.0, 0.5, 1.0, 2.0])


def _decimals(r: random.Random) -> tuple[Draw, Draw]:
    return lambda: r.choice([0.1, 0.2, 0.3, 0.7, 1.1]), lambda: r.choice([0.05, 0.1, 0.15, 0.2, 0.3, -0.1])


def _plain(r: random.Random) -> tuple[Draw, Draw]:
    return lambda: r.uniform(0.0, 300.0), lambda: r.uniform(-0.05, 0.3)


def _scaled(r: random.Random) -> tuple[Draw, Draw]:
    kw, price = 10.0 ** r.uniform(-6.0, 9.0), 10.0 ** r.uniform(-6.0, 9.0)
    return lambda: r.uniform(0.0, kw), lambda: r.uniform(-0.2, 1.0) * price


def _wild(r: random.Random) -> tuple[Draw, Draw]:
    return lambda: 10.0 ** r.uniform(-6.0, 9.0), lambda: r.choice([-1.0, 1.0, 1.0, 1.0]) * 10.0 ** r.uniform(-6.0, 9.0)


# Names of how quantities and prices are drawn. "wild" mixes all magnitudes in one market; "ties" and "decimals" meet exact boundaries.
KINDS: dict[str, Callable[[random.Random], tuple[Draw, Draw]]] = {
    "ties": _ties,
    "decimals": _decimals,
    "plain": _plain,
    "scaled": _scaled,
    "wild": _wild,
}


def random_market(seed: int, kind: str, *, sites: tuple[int, int] = (1, 8), limits: bool = True) -> Market:
    """A market of between ``sites`` sites; with ``limits`` also capacities, caps, a reserve, empty bids and empty supply."""
    r = random.Random(seed)
    kw, price = KINDS[kind](r)
    n = r.randint(*sites)
    low = 0 if limits else 1
    bids = [[[kw(), p] for p in sorted((price() for _ in range(r.randint(low, 5))), reverse=True)] for _ in range(n)]
    supply = [[kw(), p] for p in sorted(price() for _ in range(r.randint(low, 4)))]
    total = sum(q for q, _ in supply)
    market: Market = {"bids": bids, "supply": supply, "capacity": total * r.uniform(0.3, 1.0)}
    if limits:
        market["capacity"] = r.choice([total, 2.0 * total, math.inf, 0.0, total * r.random(), total * r.random()])
        market["caps"] = r.choice([None, [r.choice([None, kw(), 0.0]) for _ in range(n)]])
        market["reserve"] = r.choice([None, None, price()])
    return market


@st.composite
def markets(draw: st.DrawFn, kind: str, **options: Any) -> Market:
    """Random markets of a kind, the seed chosen by hypothesis."""
    return random_market(draw(st.integers(0, 2**32)), kind, **options)


def truncated_kw(blocks: list[list[float]], cap: float | None) -> float:
    """What the blocks ask for within the cap, kW."""
    asked = math.fsum(q for q, _ in blocks)
    return asked if cap is None else min(asked, cap)
