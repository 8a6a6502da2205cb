"""Cases worked out in textbooks, to the cent: allocations and payments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from gridpilot.market.clearing import Mechanism
from gridpilot.validation.row import Figure, Result, exact
from gridpilot.validation.study import Study

__all__ = ["CONGESTION", "COUNTERFLOW", "CURVES", "MULTI_UNIT", "RESERVE", "SECOND_PRICE"]

KRISHNA: Final = ((50, 47, 40, 32, 15, 5), (42, 28, 20, 12, 7, 3), (45, 35, 24, 14, 9, 6))
AUSUBEL: Final = ((123, 113, 103), (75, 5, 3), (125, 125, 49), (85, 65, 7), (45, 25, 5))
LETTERS: Final = "ABCDE"


def units(values: Sequence[float]) -> list[tuple[float, float]]:
    """A bid for one unit at each of the ``values``."""
    return [(1.0, value) for value in values]


def _each(what: str, expected: Sequence[float], found: Any) -> Iterator[Figure]:
    for i, value in enumerate(expected):
        yield exact(f"{what} of {LETTERS[i]}", value, found[i])


def _second_price(study: Study) -> Iterator[Figure]:
    # The winner pays the best losing bid where it pays a price of others, and its own where it pays that.
    for mechanism, paid in (("vcg", 8.0), ("uniform", 8.0), ("pay_as_bid", 10.0)):
        found = study.clear([units([10]), units([8]), units([5])], [(1, 0)], _mechanism(mechanism))
        yield exact(f"bids 10, 8, 5 for one unit, {mechanism}: the winner pays", paid, found.payment[0])
        yield exact(f"bids 10, 8, 5 for one unit, {mechanism}: losers pay", 0.0, found.payment[1:].sum())


def _multi_unit(study: Study) -> Iterator[Figure]:
    paid = {"vcg": (72, 32, 60), "uniform": (96, 32, 64), "pay_as_bid": (137, 42, 80)}
    for mechanism, payments in paid.items():
        found = study.clear([units(values) for values in KRISHNA], [(6, 0)], _mechanism(mechanism))
        if mechanism == "vcg":
            yield from _each("six units: allocation", (3, 1, 2), found.allocation)
        yield from _each(f"six units, {mechanism}: payment", payments, found.payment)
    found = study.clear([units(values) for values in AUSUBEL], [(5, 0)], "vcg")
    yield from _each("five units: allocation", (3, 0, 2, 0, 0), found.allocation)
    yield from _each("five units, vcg: payment", (225, 0, 160, 0, 0), found.payment)


def _curves(study: Study) -> Iterator[Figure]:
    # The cheap 800 kW are used whole and 300 of the dearer 400. Without A, B takes 500 of the cheap ones: A's presence costs
    # 500 kW x 0.03 of cheap supply that moves to A at no loss to B, and 300 x 0.08 + 300 x 0.03 in all.
    found = study.clear([[(600, 0.20)], [(500, 0.12)]], [(800, 0.03), (400, 0.08)], "vcg")
    yield from _each("two supply steps: allocation", (600, 500), found.allocation)
    yield from _each("two supply steps, vcg: payment", (33, 30), found.payment)
    uniform = study.clear([[(600, 0.20)], [(500, 0.12)]], [(800, 0.03), (400, 0.08)], "uniform")
    yield from _each("two supply steps, uniform: payment", (48, 40), uniform.payment)


def _reserve(study: Study) -> Iterator[Figure]:
    found = study.clear([units([10, 7]), units([5])], [(3, 1)], "vcg", reserve=6.0)
    yield from _each("three units at cost 1, reserve 6: allocation", (2, 0), found.allocation)
    yield from _each("three units at cost 1, reserve 6: payment", (12, 0), found.payment)


def _congestion(study: Study) -> Iterator[Figure]:
    bids = [[(600, 0.20), (200, 0.10)], [(500, 0.15), (300, 0.09)], [(400, 0.12)]]
    found = study.clear(bids, [(1000, 0.05)], "vcg")
    yield from _each("1 MW for 2 MW of bids: allocation", (600, 400, 0), found.allocation)
    yield from _each("1 MW for 2 MW of bids, vcg: payment", (72, 48, 0), found.payment)


def _counterflow(study: Study) -> Iterator[Figure]:
    # A ring of three equal lines: |x_1 - x_2| / 3 flows between the buyers, so one alone gets 30 kW: 30 x 0.15 = 4.5.
    # With both it is 2 x 100 x 0.15 = 30, and each pays 4.5 - (30 - 20).
    ring = [{"from": a, "to": b, "x": 1.0, "limit": limit} for a, b, limit in ((0, 1, 1e3), (0, 2, 1e3), (1, 2, 10.0))]
    found = study.clear_network(
        bids=[[[100, 0.20]], [[100, 0.20]]], supply=[[300, 0.05]], n_buses=3, lines=ring, site_bus=[1, 2], supply_bus=0
    )
    yield from _each("ring of three buses, line of 10 kW: allocation", (100, 100), found.allocation)
    yield from _each("ring of three buses, vcg: payment", (-5.5, -5.5), found.payment)
    yield exact("ring of three buses, vcg: what the seller earns", -21.0, found.payment.sum() - found.supply_cost)


def _mechanism(name: str) -> Mechanism:
    assert name in ("vcg", "uniform", "pay_as_bid")
    return name  # type: ignore[return-value]  # one of the three


SECOND_PRICE = Result("second_price", "Vickrey 1961", _second_price)
MULTI_UNIT = Result("multi_unit", "Krishna, Auction Theory, ch. 12; Ausubel 2004", _multi_unit)
CURVES = Result("supply_steps", "by hand: W without i less the others' share of W (Clarke 1971)", _curves)
RESERVE = Result("reserve", "by hand: a reserve is a supply cost", _reserve)
CONGESTION = Result("congestion", "by hand: the best losing bids that are not the winner's own", _congestion)
COUNTERFLOW = Result("counterflow", "by hand: flows of a ring, Clarke 1971", _counterflow)
