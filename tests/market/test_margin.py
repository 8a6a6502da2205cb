"""The two kernels that clear a market, called on the same markets: they must agree with each other and with the exact oracle."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from gridpilot.market.auction import MECHANISMS, N_TOTALS, SMALL, clear_small, truncate_supply
from gridpilot.market.clearing import Clearing, clear
from gridpilot.market.margin import clear_large

from .markets import KINDS, Market, random_market
from .oracle import exact_vcg
from .test_auction import assert_exact, bits, largest_price


def arrays(market: Market) -> tuple[np.ndarray, np.ndarray]:
    """Quantities and prices ``(K, N)`` of the bids, cut at the caps, prices of unused blocks as the last used."""
    bids = market["bids"]
    caps = market.get("caps") or [None] * len(bids)
    kw, price = np.zeros((2, len(bids), max(map(len, bids), default=0)))
    for i, (bid, cap) in enumerate(zip(bids, caps, strict=True)):
        room = math.inf if cap is None else cap
        for k, (q, p) in enumerate(bid):
            kw[i, k], price[i, k] = min(q, room), p
            room -= kw[i, k]
        price[i, len(bid) :] = bid[-1][1] if bid else 0.0
    return np.ascontiguousarray(kw.T), np.ascontiguousarray(price.T)


def run(market: Market, kernel: str, mechanism: str = "vcg", guess: float = math.inf) -> Clearing:
    return run_arrays(*arrays(market), market, kernel, mechanism, guess)


def run_arrays(
    kw: np.ndarray, price: np.ndarray, market: Market, kernel: str, mechanism: str = "vcg", guess: float = math.inf
) -> Clearing:
    k, n = kw.shape
    supply = np.array(market["supply"], dtype=float).reshape(1, -1, 2)
    steps = np.full((supply.shape[1] + 1, 4), math.nan)
    reserve = -math.inf if market.get("reserve") is None else float(market["reserve"])
    n_steps, total = truncate_supply(supply, 0, float(market["capacity"]), reserve, steps)
    results = np.full((3, n), math.nan)
    totals = np.full((2, N_TOTALS), math.nan)
    if kernel == "small":
        scratch = [
            np.empty(n),
            np.empty(n),
            np.empty(n),
            np.empty(n, dtype=np.int64),
            np.empty(n * k),
            np.empty(n * k, dtype=np.int64),
        ]
        used = np.full(n, k)
        clear_small(kw, price, used, steps, n_steps, total, guess, MECHANISMS[mechanism], *results, totals, 1, *scratch)
    else:
        clear_large(kw, price, steps, n_steps, total, MECHANISMS[mechanism], *results, totals, 1)
    assert np.isnan(totals[0]).all()  # writes its own row only
    return Clearing(*results, *(float(x) for x in totals[1]))


def assert_alike(a: Clearing, b: Clearing, market: Market) -> None:
    at_stake = largest_price(market)
    np.testing.assert_allclose(a.allocation, b.allocation, rtol=1e-12, atol=1e-14 * float(a.volume))
    for name in ("payment", "value"):
        error = np.abs(getattr(a, name) - getattr(b, name))
        assert (error <= 1e-10 * np.abs(getattr(a, name)) + 1e-12 * a.allocation * at_stake).all(), name
    assert (a.price_lo, a.price_hi) == (b.price_lo, b.price_hi)
    for name in ("welfare", "supply_cost"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-10, abs=1e-12 * float(a.volume) * at_stake)


def many(seed: int, n: int, shape: str) -> Market:
    """A market of n sites whose prices or sizes are as awkward as ``shape`` says."""
    r = random.Random(seed)
    price: Any = lambda: r.uniform(0.0, 0.3)  # noqa: E731
    kw: Any = lambda i: r.uniform(1.0, 300.0)  # noqa: E731
    if shape == "equal prices":
        price = lambda: 0.1  # noqa: E731
    elif shape == "few prices":
        price = lambda: r.choice([0.05, 0.1, 0.2])  # noqa: E731
    elif shape == "heavy tails":
        price = lambda: r.choice([-1.0, 1.0]) * math.exp(r.gauss(0.0, 8.0))  # noqa: E731
    elif shape == "one outlier":  # all others in a single bucket
        price = lambda: 1e9 if r.random() < 0.005 else r.uniform(0.0, 0.3)  # noqa: E731
    elif shape == "one giant":
        kw = lambda i: 1e5 if i == 0 else r.uniform(0.0, 1.0)  # noqa: E731
    elif shape == "many tiny":
        kw = lambda i: 10.0 ** r.uniform(-6.0, -3.0)  # noqa: E731
    bids = [[[kw(i), p] for p in sorted((price() for _ in range(r.randint(1, 5))), reverse=True)] for i in range(n)]
    demand = sum(q for bid in bids for q, _ in bid)
    supply = [[demand * share, cost] for share, cost in ((0.2, 0.01), (0.3, 0.04), (0.4, 0.1))]
    return {"bids": bids, "supply": supply, "capacity": demand * r.uniform(0.1, 0.9)}


SHAPES = ("plain", "equal prices", "few prices", "heavy tails", "one outlier", "one giant", "many tiny")


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("kind", KINDS)
def test_both_kernels_agree_with_the_exact_oracle(kind: str, mechanism: str) -> None:
    for seed in range(5000, 5080):
        market = random_market(seed, kind)
        exact = exact_vcg(market["bids"], market["supply"], market["capacity"], market["caps"], market["reserve"])
        for kernel in ("small", "large"):
            assert_exact(run(market, kernel, mechanism), exact, market, mechanism)


@pytest.mark.parametrize("kind", KINDS)
def test_both_kernels_agree_on_any_number_of_sites(kind: str) -> None:
    for n in (*range(1, 120, 7), SMALL, SMALL + 1, 120):
        market = random_market(n, kind, sites=(n, n))
        assert_alike(run(market, "small"), run(market, "large"), market)


@pytest.mark.parametrize("shape", SHAPES)
def test_awkward_large_markets(shape: str) -> None:
    for seed, n in enumerate((3, 60, 120, 400)):
        market = many(seed, n, shape)
        large = run(market, "large")
        assert_alike(run(market, "small"), large, market)
        assert bits(clear(**market)) == bits(large if n > SMALL else run(market, "small"))
        if n == 60:
            exact = exact_vcg(market["bids"], market["supply"], market["capacity"])
            assert_exact(large, exact, market)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_guess_of_the_margin_costs_time_only(shape: str) -> None:
    for seed in range(20):
        market = many(seed, 2 + seed, shape)
        expected = bits(run(market, "small"))
        prices = [p for bid in market["bids"] for _, p in bid]
        for guess in (-math.inf, min(prices), sorted(prices)[len(prices) // 2], max(prices), 2.0 * abs(max(prices)), math.nan):
            assert bits(run(market, "small", guess=guess)) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_the_order_of_many_sites_does_not_matter_to_the_bit(shape: str) -> None:
    market = many(9, 200, shape)
    order = random.Random(1).sample(range(200), 200)
    there = clear(**(market | {"bids": [market["bids"][i] for i in order]}))
    back = clear(**market)
    for name in ("allocation", "payment", "value"):
        assert getattr(there, name).tobytes() == getattr(back, name)[order].tobytes()
    assert (there.welfare, there.price_lo, there.price_hi) == (back.welfare, back.price_lo, back.price_hi)


@pytest.mark.parametrize("kernel", ["small", "large"])
def test_empty_blocks_do_not_count(kernel: str) -> None:
    # What a site does not ask for is 0 kW at a price that keeps the order; arenas and batches are full of it.
    for seed in range(30):
        market = random_market(seed, "plain", limits=False)
        kw, price = arrays(market)
        expected = bits(run(market, kernel))
        padded_kw, padded_price = np.zeros((2 * len(kw) + 1, kw.shape[1])), np.empty((2 * len(kw) + 1, kw.shape[1]))
        padded_kw[1::2], padded_price[1::2] = kw, price
        for first, after in (
            (9.0, price),
            (price[0], np.vstack([price[1:], price[-1:] - 9.0])),
        ):  # at the block before, at the next
            padded_price[0], padded_price[2::2] = first, after
            assert (np.diff(padded_price, axis=0) <= 0.0).all()
            assert bits(run_arrays(padded_kw, padded_price, market, kernel)) == expected


@pytest.mark.parametrize("mechanism", ["uniform", "vcg", "pay_as_bid"])
@pytest.mark.parametrize("kernel", ["small", "large"])
@pytest.mark.parametrize(
    ("bids", "supply", "expected"),
    [
        pytest.param([[[100.00000000000001, 2.0]]], [[100, 0.03], [50, 1.0]], (0.03, 1.0), id="of a step"),
        pytest.param([[[0.1, 2.0]], [[0.2, 1.0], [0.1, 0.5]]], [[0.3, 0.03]], (0.5, 1.0), id="of a block that loses"),
        pytest.param([[[0.3, 2.0]], [[0.4, 1.0]]], [[0.1, 0.03], [0.2, 0.03]], (1.0, 2.0), id="of a block that wins"),
        pytest.param([[[100.0, 2.0], [1e-10, 1.5], [5, 1.0]]], [[100.0, 0.03]], (1.5, 2.0), id="a small block is none"),
        pytest.param([[[1e-13, 2.0]], [[1e-13, 1.0]]], [[1.0000001e-13, 0.03]], (1.0, 1.0), id="nor is one of a small market"),
    ],
)  # fmt: skip
def test_a_residue_of_rounding_sets_no_price(
    bids: Any, supply: Any, expected: tuple[float, float], kernel: str, mechanism: str
) -> None:
    market: Market = {"bids": bids, "supply": supply, "capacity": math.inf}
    result = run(market, kernel, mechanism)
    assert (result.price_lo, result.price_hi) == expected
    if mechanism == "uniform":
        np.testing.assert_allclose(result.payment, expected[0] * result.allocation, rtol=1e-15)


def test_a_giant_collects_thousands_of_losing_levels() -> None:
    # Its payment walks chunk by chunk; its own losing blocks lie between.
    r = random.Random(0)
    tiny = [[[r.uniform(0.1, 1.0), r.uniform(0.0, 1.0)]] for _ in range(3000)]
    giant = [[900.0, 2.0], [50.0, 0.5], [50.0, 0.25]]
    market = {"bids": [giant, *tiny], "supply": [[900.0, 0.0]], "capacity": 900.0}
    result = run(market, "large")
    losers = sorted((p, q) for ((q, p),) in tiny)[::-1]
    left, payment = 900.0, 0.0
    for p, q in losers:
        payment += min(q, left) * p
        left -= min(q, left)
    assert left == 0.0
    assert result.payment[0] == pytest.approx(payment, rel=1e-12)
    assert run(market, "small").payment[0] == pytest.approx(payment, rel=1e-12)
