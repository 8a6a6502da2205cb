"""Best responses against an oracle that is written from the definition, in exact fractions, and against the auctioneer itself."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.equilibrium.best_response import best_response, best_response_batch
from gridpilot.errors import BidError, MarketError
from gridpilot.market.clearing import Mechanism, clear

MECHANISMS: tuple[Mechanism, ...] = ("vcg", "uniform", "pay_as_bid")

Blocks = list[tuple[float, float]]


def oracle(market: dict[str, Any], truth: list[Blocks], i: int, mechanism: str) -> tuple[Fraction, Fraction]:
    """The best payoff and the smallest quantity that attains it, by the definition and in exact arithmetic."""
    caps = market.get("caps") or [None] * len(market["bids"])
    floor = market.get("reserve")
    room, steps = Fraction(market.get("capacity", 10**9)), []
    for kw, cost in market["supply"]:
        taken = min(Fraction(kw), room)
        steps.append((taken, Fraction(cost if floor is None else max(cost, floor))))
        room -= taken
    total = sum((kw for kw, _ in steps), Fraction(0))

    def cut(blocks: Blocks, cap: float | None) -> list[tuple[Fraction, Fraction]]:
        left, kept = Fraction(10**9) if cap is None else Fraction(cap), []
        for kw, price in blocks:
            kept.append((min(Fraction(kw), left), Fraction(price)))
            left -= kept[-1][0]
        return kept

    others = [block for j, bid in enumerate(market["bids"]) if j != i for block in cut(bid, caps[j])] + steps
    others.sort(key=lambda block: -block[1])
    bounds, position = [], Fraction(0)
    for kw, price in others:
        bounds.append((position, position + kw, price))
        position += kw

    def residual(x: Fraction) -> Fraction:
        """R(x-): the price of the unit that begins at position T - x."""
        return next(price for low, high, price in bounds if low <= total - x < high)

    true = cut(truth[i], caps[i])
    most = min(sum((kw for kw, _ in true), Fraction(0)), total)
    points, x = set(), Fraction(0)
    for kw, _ in true:
        x += kw
        points.add(min(x, most))
    points |= {total - edge for low, high, _ in bounds for edge in (low, high)}
    candidates = sorted(x for x in points if 0 < x <= most)

    def value(x: Fraction) -> Fraction:
        worth, left = Fraction(0), x
        for kw, price in true:
            worth += min(kw, left) * price
            left -= min(kw, left)
        return worth

    best, best_x, cost, before = Fraction(0), Fraction(0), Fraction(0), Fraction(0)
    for x in candidates:
        cost += (x - before) * residual(x)
        before = x
        payoff = value(x) - (cost if mechanism == "vcg" else x * residual(x))
        if payoff > best:
            best, best_x = payoff, x
    return best, best_x


def a_block(largest: int) -> st.SearchStrategy[tuple[float, float]]:
    # Few distinct numbers, so that ties and step ends that meet are common; decimals, so that sums of them round.
    return st.tuples(st.integers(0, largest).map(lambda n: n / 10), st.integers(-3, 12).map(lambda n: n / 10))


def bids(largest: int = 30) -> st.SearchStrategy[Blocks]:
    return st.lists(a_block(largest), max_size=4).map(lambda blocks: sorted(blocks, key=lambda block: -block[1]))


@st.composite
def markets(draw: st.DrawFn) -> tuple[dict[str, Any], list[Blocks]]:
    n = draw(st.integers(1, 5))
    market: dict[str, Any] = {
        "bids": [draw(bids()) for _ in range(n)],
        "supply": sorted(draw(st.lists(a_block(60), min_size=1, max_size=4)), key=lambda step: step[1]),
    }
    if draw(st.booleans()):
        market["capacity"] = draw(st.integers(0, 100)) / 10
    if draw(st.booleans()):
        market["caps"] = [draw(st.one_of(st.none(), st.integers(0, 40).map(lambda n: n / 10))) for _ in range(n)]
    if draw(st.booleans()):
        market["reserve"] = draw(st.integers(-2, 6)) / 10
    truth = market["bids"] if draw(st.booleans()) else [draw(bids()) for _ in range(n)]
    return market, truth


@pytest.mark.parametrize("mechanism", MECHANISMS)
@settings(max_examples=150, deadline=None)
@given(markets())
def test_equals_the_definition(mechanism: Mechanism, drawn: tuple[dict[str, Any], list[Blocks]]) -> None:
    market, truth = drawn
    result = best_response(**market, values=truth, mechanism=mechanism)
    for i in range(len(market["bids"])):
        best, _ = oracle(market, truth, i, mechanism)
        assert result.best[i] == pytest.approx(float(best), abs=1e-12)
        surplus, _ = oracle(market, truth, i, "vcg")
        assert result.truthful_surplus[i] == pytest.approx(float(surplus), abs=1e-12)
        assert result.gain[i] == pytest.approx(max(0.0, float(best) - result.payoff[i]), abs=1e-12)
    assert result.nashconv == pytest.approx(result.gain.sum(), abs=1e-12)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@settings(max_examples=100, deadline=None)
@given(markets(), st.data())
def test_no_bid_tried_gets_more(mechanism: Mechanism, drawn: tuple[dict[str, Any], list[Blocks]], data: st.DataObject) -> None:
    market, truth = drawn
    result = best_response(**market, values=truth, mechanism=mechanism)
    i = data.draw(st.integers(0, len(truth) - 1))
    tried = data.draw(bids())
    caps = market.get("caps") or [None] * len(truth)
    most = min(sum(kw for kw, _ in truth[i]), math.inf if caps[i] is None else caps[i])
    cleared = clear(
        **{**market, "bids": [tried if j == i else bid for j, bid in enumerate(market["bids"])],
           "caps": [most if j == i else cap for j, cap in enumerate(caps)]},
        mechanism=mechanism,
    )  # fmt: skip
    payoff = worth(truth[i], cleared.allocation[i]) - cleared.payment[i]
    # Power beyond what the truth would ever buy may be paid for; it is never worth more than what V says.
    assert payoff <= result.best[i] + 1e-9


@settings(max_examples=100, deadline=None)
@given(markets())
def test_is_attained_under_a_uniform_price(drawn: tuple[dict[str, Any], list[Blocks]]) -> None:
    market, truth = drawn
    result = best_response(**market, values=truth, mechanism="uniform")
    for i in range(len(truth)):
        x = result.best_x[i] * (1.0 - 1e-9)
        only = [*market["bids"][:i], [(x, 1e3)] if x > 0.0 else [], *market["bids"][i + 1 :]]
        cleared = clear(**{**market, "bids": only}, mechanism="uniform")
        assert worth(truth[i], cleared.allocation[i]) - cleared.payment[i] == pytest.approx(result.best[i], abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(markets())
def test_under_vcg_the_truth_is_a_best_response(drawn: tuple[dict[str, Any], list[Blocks]]) -> None:
    market, truth = drawn
    told = best_response(**{**market, "bids": truth}, mechanism="vcg")
    assert told.gain == pytest.approx(0.0, abs=1e-9)
    assert told.payoff == pytest.approx(told.truthful_surplus, abs=1e-9)


def worth(blocks: Blocks, kw: float) -> float:
    total = 0.0
    for quantity, price in blocks:
        total += min(quantity, kw) * price
        kw -= min(quantity, kw)
    return total


def test_demand_reduction_by_hand() -> None:
    result = best_response([[(2, 10)], [(1, 8)]], [(2, 0)], mechanism="uniform")
    assert (result.payoff[0], result.best[0], result.best_x[0], result.gain[0]) == (4.0, 10.0, 1.0, 6.0)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("n", [8, 60])
def test_a_batch_is_its_markets(mechanism: Mechanism, n: int) -> None:
    generator = np.random.default_rng(7)
    b, k = 70, 5
    blocks = np.stack([generator.uniform(0.0, 300.0, (b, n, k)), -np.sort(-generator.uniform(0.0, 0.3, (b, n, k)), axis=2)], axis=3)
    values = blocks.copy()
    values[..., 1] *= generator.uniform(0.8, 1.5, (b, n, 1))
    supply = np.stack(
        [np.tile([600.0 * n / 8, 250.0, 150.0], (b, 1)), np.sort(generator.uniform(0.02, 0.2, (b, 3)), axis=1)], axis=2
    )
    together = best_response_batch(blocks, supply, values=values, mechanism=mechanism)
    for m in (0, 1, 69):
        alone = best_response(list(blocks[m]), supply[m], values=list(values[m]), mechanism=mechanism)
        for field in ("payoff", "best", "best_x", "gain", "truthful_surplus"):
            assert np.array_equal(getattr(together, field)[m], getattr(alone, field)), field
        truth = [[(float(q), float(p)) for q, p in site] for site in values[m]]
        market = {"bids": [[(float(q), float(p)) for q, p in site] for site in blocks[m]], "supply": supply[m].tolist()}
        for i in (0, 3, n - 1):
            assert alone.best[i] == pytest.approx(float(oracle(market, truth, i, mechanism)[0]), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"values": [[(1.0, 5.0)]]}, MarketError, "1 lists of blocks, expected 2"),
        ({"values": [[(1.0, 5.0)], [(1.0, math.nan)]]}, BidError, "values[1]: block 0 has price nan"),
        ({"bids": [[(1.0, 5.0), (1.0, 6.0)], []]}, BidError, "bids[0]: block 1 has price 6.0"),
        ({"mechanism": "second_price"}, MarketError, "expected one of vcg"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], error: type[MarketError], words: str) -> None:
    market: dict[str, Any] = {"bids": [[(1.0, 5.0)], [(1.0, 4.0)]], "supply": [(1.0, 0.0)]}
    with pytest.raises(error, match=words.replace("[", r"\[").replace("]", r"\]")):
        best_response(**{**market, **change})


def test_a_wrong_market_of_a_batch_is_named() -> None:
    blocks = np.ones((3, 2, 1, 2))
    values = blocks.copy()
    values[2, 1, 0, 0] = -1.0
    with pytest.raises(BidError, match=r"market 2, values\[1\]: block 0 has quantity -1.0"):
        best_response_batch(blocks, [(1.0, 0.0)], values=values)
