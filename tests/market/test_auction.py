"""The auctioneer against the textbook, an exact oracle, an independent linear programme, and the theorems of the mechanism."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.errors import BidError, MarketError
from gridpilot.market.clearing import Clearing, clear, clear_batch

from .markets import KINDS, TEXTBOOK, Market, markets, random_market, truncated_kw
from .oracle import ExactClearing, exact_vcg, oracle_vcg

MECHANISMS = ("vcg", "uniform", "pay_as_bid")


def cleared(market: Market, mechanism: Any = "vcg") -> Clearing:
    return clear(**market, mechanism=mechanism)


def largest_price(market: Market) -> float:
    prices = [abs(p) for blocks in [*market["bids"], market["supply"]] for _, p in blocks]
    return max([*prices, abs(market.get("reserve") or 0.0)])


def bits(result: Clearing) -> tuple[Any, ...]:
    rates = (result.welfare, result.supply_cost, result.volume, result.price_lo, result.price_hi)
    return (result.allocation.tobytes(), result.payment.tobytes(), result.value.tobytes(), *(float(rate).hex() for rate in rates))


def assert_exact(result: Clearing, exact: ExactClearing, market: Market, mechanism: str = "vcg") -> None:
    """Agreement to 1e-9 of each figure itself, whatever else is in the market; prices to the bit."""
    at_stake = largest_price(market)

    def close(name: str, got: float, expected: Fraction, noise: float = 0.0) -> None:
        error = abs(Fraction(float(got)) - expected)
        assert error <= Fraction(1e-9) * abs(expected) + Fraction(noise), f"{name}: {got!r}, expected {float(expected)!r}"

    for i, x in enumerate(exact.allocation):
        close(f"allocation[{i}]", result.allocation[i], x, 1e-15 * float(exact.volume))
        noise = 1e-13 * float(x) * at_stake
        close(f"value[{i}]", result.value[i], exact.value[i], noise)
        close(f"payment[{i}]", result.payment[i], exact.payment(mechanism)[i], noise)
    money = float(sum(abs(v) for v in exact.value) + abs(exact.supply_cost))
    close("welfare", result.welfare, exact.welfare, 1e-12 * money)
    close("supply_cost", result.supply_cost, exact.supply_cost, 1e-13 * float(exact.volume) * at_stake)
    close("volume", result.volume, exact.volume)
    assert (None if result.price_lo == -math.inf else Fraction(result.price_lo)) == exact.price_lo
    assert (None if result.price_hi == math.inf else Fraction(result.price_hi)) == exact.price_hi


def by_oracle(market: Market) -> ExactClearing:
    return exact_vcg(market["bids"], market["supply"], market["capacity"], market.get("caps"), market.get("reserve"))


# --- what must come out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "market", "mechanism", "allocation", "payment", "welfare"), TEXTBOOK, ids=[case[0] for case in TEXTBOOK]
)
def test_textbook_cases(
    name: str, market: Market, mechanism: str, allocation: list[float], payment: list[float], welfare: float
) -> None:
    result = cleared(market, mechanism)
    np.testing.assert_allclose(result.allocation, allocation, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.payment, payment, rtol=0, atol=1e-9)
    assert result.welfare == pytest.approx(welfare, abs=1e-9)


def test_reducing_demand_pays_under_a_uniform_price_and_not_under_vcg() -> None:
    truthful, reduced = [[1, 10], [1, 10]], [[1, 10]]
    surplus = {m: [20 - 16, 10] if m == "uniform" else [12, 10] for m in ("uniform", "vcg")}
    for mechanism, (honest, shrunk) in surplus.items():
        for bid, expected in ((truthful, honest), (reduced, shrunk)):
            result = clear([bid, [[1, 8]]], [[2, 0]], 2, mechanism=mechanism)  # type: ignore[arg-type]
            assert 10 * result.allocation[0] - result.payment[0] == pytest.approx(expected, abs=1e-12)


def test_shading_pays_where_the_bid_is_paid() -> None:
    honest = clear([[[1, 10]], [[1, 8]]], [[1, 0]], mechanism="pay_as_bid")
    shaded = clear([[[1, 8.5]], [[1, 8]]], [[1, 0]], mechanism="pay_as_bid")
    assert 10 - honest.payment[0] == 0
    assert 10 - shaded.payment[0] == 1.5


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_exact_oracle(kind: str, mechanism: str) -> None:
    @given(markets(kind))
    @settings(max_examples=120)
    def run(market: Market) -> None:
        assert_exact(cleared(market, mechanism), by_oracle(market), market, mechanism)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_exact_oracle_on_thousands(kind: str, mechanism: str) -> None:
    for seed in range(10_000, 14_000):
        market = random_market(seed, kind, sites=(1, 12))
        assert_exact(cleared(market, mechanism), by_oracle(market), market, mechanism)


@pytest.mark.parametrize("kind", ["ties", "plain", "scaled"])
def test_agrees_with_linear_programmes_with_and_without_each_bidder(kind: str) -> None:
    for seed in range(30):
        market = random_market(seed, kind, sites=(1, 6))
        result = cleared(market)
        oracle = oracle_vcg(market["bids"], market["supply"], market["capacity"], market["caps"], market["reserve"])
        scale = 1e-9 * max(abs(oracle["welfare"]), float(np.abs(result.value).sum()))
        assert result.welfare == pytest.approx(oracle["welfare"], rel=1e-9, abs=scale)
        np.testing.assert_allclose(result.surplus, oracle["surplus"], rtol=1e-9, atol=scale)


def bidless(**change: Any) -> Market:
    return {"bids": [[[5, 9]], []], "supply": [[4, 1], [4, 2]], "capacity": 8} | change


@pytest.mark.parametrize(
    ("market", "allocation", "payment", "band"),
    [
        pytest.param(bidless(bids=[]), [], [], (-math.inf, 1.0), id="no sites"),
        pytest.param(bidless(bids=[[], []]), [0, 0], [0, 0], (-math.inf, 1.0), id="nobody asks"),
        pytest.param(bidless(bids=[[[0, 9]], [[0, 3], [0, 1]]]), [0, 0], [0, 0], (-math.inf, 1.0), id="zero quantities"),
        pytest.param(bidless(supply=[]), [0, 0], [0, 0], (9.0, math.inf), id="no supply"),
        pytest.param(bidless(supply=[[0, 1]]), [0, 0], [0, 0], (9.0, math.inf), id="empty supply"),
        pytest.param(bidless(capacity=0), [0, 0], [0, 0], (9.0, math.inf), id="no capacity"),
        pytest.param(bidless(capacity=2.5), [2.5, 0], [2.5, 0], (9.0, 9.0), id="capacity within a step"),
        pytest.param(bidless(capacity=5), [5, 0], [6, 0], (2.0, 9.0), id="capacity met exactly"),
        pytest.param(bidless(caps=[3, None]), [3, 0], [3, 0], (1.0, 1.0), id="cap"),
        pytest.param(bidless(caps=[0, 0]), [0, 0], [0, 0], (-math.inf, 1.0), id="caps of zero"),
        pytest.param(bidless(reserve=1.5), [5, 0], [8, 0], (2.0, 2.0), id="reserve between the steps"),
        pytest.param(bidless(reserve=9), [5, 0], [45, 0], (9.0, 9.0), id="reserve at the bid: served"),
        pytest.param(bidless(reserve=10), [0, 0], [0, 0], (9.0, 10.0), id="reserve above the bid"),
        pytest.param(bidless(supply=[[4, -3], [4, -1]]), [5, 0], [-13, 0], (-1.0, -1.0), id="paid to take"),
        pytest.param(bidless(bids=[[[5, -2]], []], supply=[[9, -3]], capacity=9), [5, 0], [-15, 0], (-3.0, -3.0), id="negative bid"),
        pytest.param(bidless(bids=[[[6, 2]], [[6, 2]]]), [4, 4], [8, 8], (2.0, 2.0), id="tie at the dearest cost: pro rata, whole volume"),
        pytest.param(bidless(bids=[[[9, 7]], [[3, 7]]], capacity=6), [4.5, 1.5], [15.5, 10.5], (7.0, 7.0), id="tie: pro rata"),
    ],
)  # fmt: skip
def test_edges(market: Market, allocation: list[float], payment: list[float], band: tuple[float, float]) -> None:
    result = cleared(market)
    np.testing.assert_allclose(result.allocation, allocation, rtol=0, atol=1e-12)
    assert_exact(result, by_oracle(market), market)
    if payment:
        np.testing.assert_allclose(result.payment, payment, rtol=0, atol=1e-12)
    assert (result.price_lo, result.price_hi) == band


def test_tiny_sites_beside_a_giant_pay_their_share_to_full_precision() -> None:
    # Both once lost the tiny quantity in the rounding of the giant one.
    unused = clear([[[1e-6, 10]]], [[1e9, 3]])
    assert unused.payment[0] == pytest.approx(3e-6, rel=1e-12)
    assert unused.supply_cost == pytest.approx(3e-6, rel=1e-12)
    beside = clear([[[1e9, 5]], [[1e-6, 10]]], [[1e9, 0]])
    assert beside.payment[1] == pytest.approx(5e-6, rel=1e-12)
    capped = clear([[[1e-6, 10], [1e9, 5], [7, 4]]], [[1e9, 0]], caps=[2e-6])
    assert capped.allocation[0] == 2e-6


def test_who_gets_nothing_pays_nothing_to_the_bit() -> None:
    # All that is lost at the level is one site's own; the two sums of it differ in the last bit.
    result = clear([[[0.3, 0.3], [1.1, 0.3], [0.1, 0.3], [0.1, 0.1]], [[1.1, 0.2]]], [[1, 0.2]], 0.0)
    assert result.payment.tolist() == [0.0, 0.0]
    assert_exact(result, exact_vcg([[[0.3, 0.3], [1.1, 0.3], [0.1, 0.3]], [[1.1, 0.2]]], [[1, 0.2]], 0), {"bids": [], "supply": []})


# --- theorems -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_laws_of_one_clearing(kind: str) -> None:
    @given(markets(kind))
    @settings(max_examples=60)
    def run(market: Market) -> None:
        vcg, uniform, pay = (cleared(market, mechanism) for mechanism in MECHANISMS)
        at_stake = largest_price(market)
        noise = 1e-12 * vcg.allocation * at_stake
        assert (vcg.surplus >= -noise).all()  # individual rationality
        # What a site makes the supply cost: steps from the others' volume up to the volume, dearest last.
        caused = [supply_cost(market, vcg.volume) - supply_cost(market, vcg.volume - x) for x in vcg.allocation]
        total_noise = 1e-12 * vcg.volume * at_stake
        assert (vcg.payment >= np.array(caused) - total_noise).all()
        assert vcg.payment.sum() >= vcg.supply_cost - total_noise
        assert (vcg.payment <= uniform.payment + noise).all()
        assert (uniform.payment <= pay.payment + noise).all()
        np.testing.assert_array_equal(vcg.allocation, uniform.allocation)
        np.testing.assert_array_equal(vcg.allocation, pay.allocation)
        assert vcg.volume <= market["capacity"] * (1 + 1e-15)
        caps = market.get("caps") or [None] * len(market["bids"])
        asked = np.array([truncated_kw(bid, cap) for bid, cap in zip(market["bids"], caps, strict=True)])
        assert (vcg.allocation <= asked * (1 + 1e-15)).all()
        assert vcg.price_lo <= vcg.price_hi

    run()


def supply_cost(market: Market, volume: float) -> float:
    left, cost = max(volume, 0.0), 0.0
    for kw, price in market["supply"]:
        taken = min(kw, left)
        cost += taken * max(price, -math.inf if market.get("reserve") is None else market["reserve"])
        left -= taken
    return cost


@pytest.mark.parametrize("kind", KINDS)
def test_no_misreport_profits_under_vcg(kind: str) -> None:
    @given(markets(kind), st.integers(0, 2**32))
    @settings(max_examples=100)
    def run(market: Market, seed: int) -> None:
        r = random.Random(seed)
        i = r.randrange(len(market["bids"]))
        true = market["bids"][i]
        lie = misreport(r, true, market)
        honest = cleared(market)
        lying = cleared(market | {"bids": [*market["bids"][:i], lie, *market["bids"][i + 1 :]]})
        gain = worth(true, lying.allocation[i]) - lying.payment[i] - honest.surplus[i]
        assert gain <= 1e-12 * (lying.allocation[i] + honest.allocation[i]) * largest_price(market)

    run()


def misreport(r: random.Random, true: list[list[float]], market: Market) -> list[list[float]]:
    others = [p for blocks in [*market["bids"], market["supply"]] for _, p in blocks] or [1.0]
    prices = sorted((r.choice([p * r.uniform(0.5, 1.5), r.choice(others)]) for _, p in true), reverse=True)
    return [[q * r.choice([0.0, 0.5, 1.0, 2.0]), p] for (q, _), p in zip(true, prices, strict=True)]


def worth(blocks: list[list[float]], x: float) -> float:
    """What x kW are worth by ``blocks``; power beyond them is worth nothing, or harms where the last value is negative."""
    total, left = 0.0, x
    for q, p in blocks:
        total += min(q, left) * p
        left -= min(q, left)
    return total + left * min(0.0, blocks[-1][1] if blocks else 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_bidding_more_never_gets_less(kind: str) -> None:
    @given(markets(kind), st.integers(0, 2**32))
    @settings(max_examples=60)
    def run(market: Market, seed: int) -> None:
        r = random.Random(seed)
        i, rise = r.randrange(len(market["bids"])), r.choice([0.5, 1.0, r.random()]) * (largest_price(market) or 1.0)
        higher = [[q, p + rise] for q, p in market["bids"][i]]
        before = cleared(market).allocation[i]
        after = cleared(market | {"bids": [*market["bids"][:i], higher, *market["bids"][i + 1 :]]}).allocation[i]
        assert after >= before * (1 - 1e-15)

    run()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sites", [(2, 8), (49, 60)], ids=["small", "large"])
def test_the_order_of_sites_does_not_matter_to_the_bit(kind: str, sites: tuple[int, int]) -> None:
    for seed in range(40 if sites[0] == 2 else 8):
        market = random_market(seed, kind, sites=sites)
        n = len(market["bids"])
        order = random.Random(seed).sample(range(n), n)
        moved = market | {"bids": [market["bids"][i] for i in order]}
        if market["caps"] is not None:
            moved["caps"] = [market["caps"][i] for i in order]
        for mechanism in MECHANISMS:
            there, back = cleared(moved, mechanism), cleared(market, mechanism)
            expected = Clearing(
                back.allocation[order], back.payment[order], back.value[order], back.welfare, back.supply_cost, back.volume,
                back.price_lo, back.price_hi,
            )  # fmt: skip
            assert bits(there) == bits(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("kw", "money"), [(2.0**-7, 1.0), (1.0, 2.0**11), (2.0**5, 2.0**-3)], ids=["power", "money", "both"])
def test_powers_of_two_scale_to_the_bit(kind: str, kw: float, money: float) -> None:
    for seed in range(40):
        market = random_market(seed, kind)
        scaled: Market = {
            "bids": [[[q * kw, p * money] for q, p in bid] for bid in market["bids"]],
            "supply": [[q * kw, p * money] for q, p in market["supply"]],
            "capacity": market["capacity"] * kw,
            "caps": None if market["caps"] is None else [None if cap is None else cap * kw for cap in market["caps"]],
            "reserve": None if market["reserve"] is None else market["reserve"] * money,
        }
        for mechanism in MECHANISMS:
            a, b = cleared(market, mechanism), cleared(scaled, mechanism)
            np.testing.assert_array_equal(b.allocation, a.allocation * kw)
            np.testing.assert_array_equal(b.payment, a.payment * (kw * money))
            np.testing.assert_array_equal(b.value, a.value * (kw * money))
            assert (b.welfare, b.supply_cost, b.volume) == (a.welfare * kw * money, a.supply_cost * kw * money, a.volume * kw)
            assert (b.price_lo, b.price_hi) == (a.price_lo * money, a.price_hi * money)


@given(markets("plain", limits=False), st.floats(-1.0, 1.0))
def test_a_shift_of_all_prices_moves_payments_by_as_much(market: Market, shift: float) -> None:
    moved = market | {key: [[q, p + shift] for q, p in market[key]] for key in ("supply",)}
    moved["bids"] = [[[q, p + shift] for q, p in bid] for bid in market["bids"]]
    a, b = cleared(market), cleared(moved)
    np.testing.assert_allclose(b.allocation, a.allocation, atol=1e-9)
    np.testing.assert_allclose(b.payment, a.payment + shift * a.allocation, atol=1e-9)
    np.testing.assert_allclose(b.surplus, a.surplus, atol=1e-9)


@given(markets("plain", limits=False), st.integers(0, 2**32))
def test_splitting_a_bidder_never_lowers_what_it_pays(market: Market, seed: int) -> None:
    r = random.Random(seed)
    i, share = r.randrange(len(market["bids"])), [r.random() for _ in range(5)]
    halves = [
        [[q * (f if half else 1 - f), p] for (q, p), f in zip(market["bids"][i], share, strict=False)] for half in (True, False)
    ]
    split = cleared(market | {"bids": [*market["bids"][:i], *market["bids"][i + 1 :], *halves]})
    assert split.payment[-2:].sum() >= cleared(market).payment[i] - 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_bidder_more_never_lowers_the_sellers_profit(kind: str) -> None:
    @given(markets(kind))
    @settings(max_examples=60)
    def run(market: Market) -> None:
        fewer = market | {"bids": market["bids"][:-1]}
        if market["caps"] is not None:
            fewer["caps"] = market["caps"][:-1]
        more, less = cleared(market), cleared(fewer)
        noise = 1e-12 * (more.volume + less.volume) * largest_price(market)
        assert more.payment.sum() - more.supply_cost >= less.payment.sum() - less.supply_cost - noise

    run()


# --- batches ------------------------------------------------------------------------------------------------------------------


def batch(n_markets: int, n_sites: int, kind: str = "ties") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Markets of one shape as arrays, with zero blocks, ties and limits."""
    r = random.Random(n_markets)
    bids, supply = np.zeros((n_markets, n_sites, 4, 2)), np.zeros((n_markets, 3, 2))
    for b in range(n_markets):
        kw, price = KINDS[kind](r)
        for rows in [*bids[b], supply[b]]:
            rows[:, 0] = [kw() for _ in rows]
            rows[:, 1] = sorted((price() for _ in rows), reverse=len(rows) == 4)  # supply has 3 steps, of rising cost
    capacity = np.array([r.choice([math.inf, 1.0, 4.0]) for _ in range(n_markets)])
    caps = np.array([[r.choice([math.inf, 1.5]) for _ in range(n_sites)] for _ in range(n_markets)])
    return bids, supply, capacity, caps, np.array([r.choice([-math.inf, 0.75]) for _ in range(n_markets)])


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(("n_markets", "n_sites"), [(7, 5), (130, 5), (66, 50)], ids=["serial", "parallel", "parallel, many sites"])
def test_a_batch_clears_each_market_as_alone_to_the_bit(n_markets: int, n_sites: int, mechanism: Any) -> None:
    for kind in ("ties", "plain"):
        bids, supply, capacity, caps, reserve = batch(n_markets, n_sites, kind)
        together = clear_batch(bids, supply, capacity, caps=caps, reserve=reserve, mechanism=mechanism)
        before = numba.get_num_threads()
        numba.set_num_threads(1)
        one_thread = clear_batch(bids, supply, capacity, caps=caps, reserve=reserve, mechanism=mechanism)
        numba.set_num_threads(before)
        for name in ("allocation", "payment", "value", "welfare", "supply_cost", "volume", "price_lo", "price_hi"):
            assert getattr(together, name).tobytes() == getattr(one_thread, name).tobytes()
        for b in range(0, n_markets, 1 if n_markets < 10 else 13):
            alone = clear(bids[b], supply[b], capacity[b], caps=caps[b], reserve=reserve[b], mechanism=mechanism)
            row = Clearing(
                together.allocation[b], together.payment[b], together.value[b],
                *(getattr(together, name)[b] for name in ("welfare", "supply_cost", "volume", "price_lo", "price_hi")),
            )  # fmt: skip
            assert bits(row) == bits(alone)


def test_a_batch_shares_what_is_given_once() -> None:
    bids, supply, *_ = batch(3, 4)
    shared = clear_batch(bids, supply[0], 2.0, caps=np.array([1.0, 2.0, 3.0, 4.0]), reserve=0.25)
    for b in range(3):
        alone = clear(bids[b], supply[0], 2.0, caps=[1.0, 2.0, 3.0, 4.0], reserve=0.25)
        np.testing.assert_array_equal(shared.payment[b], alone.payment)
    assert clear_batch(np.zeros((0, 3, 2, 2)), supply[0]).payment.shape == (0, 3)


# --- bad input ----------------------------------------------------------------------------------------------------------------

GOOD: Market = {"bids": [[[1, 2], [1, 1]], []], "supply": [[1, 0], [1, 3]], "capacity": 2}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bids": [[], [[1, 1], [1, 2]]]}, BidError, r"bids\[1\]: block 1 has price 2.0 .* above block 0's 1.0"),
        ({"bids": [[[math.nan, 1]]]}, BidError, r"bids\[0\]: block 0 has quantity nan"),
        ({"bids": [[[1, math.inf]]]}, BidError, r"bids\[0\]: block 0 has price inf"),
        ({"bids": [[[-1e-9, 1]]]}, BidError, r"bids\[0\]: block 0 has quantity -1e-09 kW, expected"),
        ({"bids": [[[1, 2, 3]]]}, BidError, r"bids\[0\]: .*pairs"),
        ({"bids": [["ab"]]}, BidError, r"bids\[0\]: "),
        ({"bids": [[[1, 1], [2]]]}, BidError, r"bids\[0\]: "),
        ({"supply": [[1, 2], [1, 1]]}, MarketError, r"supply: step 1 costs 1.0 .* below step 0's 2.0"),
        ({"supply": [[-1, 2]]}, MarketError, r"supply: step 0 has quantity -1.0"),
        ({"supply": [[1, math.nan]]}, MarketError, r"supply: step 0 has cost nan"),
        ({"supply": [1, 2, 3]}, MarketError, r"supply: expected"),
        ({"capacity": -1}, MarketError, r"capacity: -1.0 kW, expected"),
        ({"capacity": math.nan}, MarketError, r"capacity: nan kW, expected"),
        ({"capacity": "10"}, MarketError, r"capacity: '10', expected"),
        pytest.param({"capacity": 10**400}, MarketError, r"capacity: 1000.*expected", id="capacity beyond every float"),
        pytest.param({"supply": [[10**400, 1]]}, MarketError, r"supply: expected", id="supply beyond every float"),
        ({"capacity": True}, MarketError, r"capacity: True, expected"),
        ({"caps": [1]}, MarketError, r"caps: expected a list of 2"),
        ({"caps": [1, -1]}, MarketError, r"caps\[1\]: -1.0 kW"),
        ({"caps": [1, math.nan]}, MarketError, r"caps\[1\]: nan kW"),
        ({"caps": [1, "x"]}, MarketError, r"caps\[1\]: 'x'"),
        ({"reserve": math.nan}, MarketError, r"reserve: nan"),
        ({"reserve": math.inf}, MarketError, r"reserve: inf"),
        ({"mechanism": "first_price"}, MarketError, r"mechanism: 'first_price', expected one of vcg, uniform, pay_as_bid"),
    ],
)
def test_what_is_not_a_market_is_refused(change: Market, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        clear(**(GOOD | change))


def test_a_bad_batch_names_the_market() -> None:
    bids, supply, *_ = batch(4, 3)
    wrong = bids.copy()
    wrong[2, 1, :, 1] = [1, 2, 3, 4]
    with pytest.raises(BidError, match=r"market 2, bids\[1\]: block 1 has price 2.0"):
        clear_batch(wrong, supply)
    dear_first = supply.copy()
    dear_first[3, :, 1] = [3, 2, 1]
    with pytest.raises(MarketError, match="market 3, supply: step 1 costs"):
        clear_batch(bids, dear_first)
    for arguments in ({"capacity": -1.0}, {"caps": math.nan}, {"reserve": math.nan}, {"mechanism": "x"}):
        with pytest.raises(MarketError):
            clear_batch(bids, supply, **arguments)
    for bad_bids, bad_supply in ((bids[0], supply), (bids, supply[:2]), (bids, supply[0, 0])):
        with pytest.raises(MarketError):
            clear_batch(bad_bids, bad_supply)
