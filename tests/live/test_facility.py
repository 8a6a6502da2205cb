"""From bids to machines: the API's golden states, exact optima of profit, and the limit of a shared connection."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpilot.live.api import INVENTORIES, KWH_PER_UNIT, PriceRow
from gridpilot.live.knapsack import best_counts
from gridpilot.live.observer import Observer
from gridpilot.market.bids import Bid
from tests.live.worlds import START, facility, walk

GOLDEN = [
    (
        "documented", (0, 0, 10, 30, 5), (0.7337426310656494, 1.5059658003406857, 0.8509377397734911),
        325_000, 388_859.1471706461, 238_466.35509633605,
    ),
    ("live", (0, 200, 0, 0, 0), (1.2695072872530706, 1.382032767339416, 1.0), 1_000_000, 2_764_065.5346788317, 1_269_507.2872530706),
    (
        "live", (10, 2, 30, 4, 4), (1.2695072872530706, 1.382032767339416, 1.5723370784071644),
        396_662, 286_501.9880028668, 503_565.2995763775,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("inventory", "counts", "raw", "power", "revenue", "cost"), GOLDEN)
def test_recorded_states_of_the_api(
    inventory: str, counts: tuple[int, ...], raw: tuple[float, float, float], power: int, revenue: float, cost: float
) -> None:
    row = PriceRow(datetime(2025, 6, 21, 20, 30, tzinfo=UTC), *raw)
    site = facility(inventory)
    assert site.total_w([counts]) == power
    assert site.totals([counts], row.prices) == (pytest.approx(revenue, rel=1e-9), pytest.approx(cost, rel=1e-9))


@pytest.mark.parametrize("inventory", ["documented", "live"])
def test_a_truthful_bid_runs_the_exact_optimum_of_profit(inventory: str) -> None:
    one, kinds = facility(inventory), INVENTORIES[inventory].types  # type: ignore[index]
    rng = np.random.default_rng(7)
    for energy, hashing, token in rng.uniform([0.1, 1.0, 0.5], [12.0, 5.0, 5.0], size=(300, 3)):
        row = PriceRow(START, float(energy), float(hashing), float(token))
        observer = Observer(one, 10)
        observer.add([row])
        observer.start()
        allocation = one.allocate([observer.observe(0).truthful_bid()], row.prices, [one.cap_w])
        raw = [
            kind.output * price - kind.power * row.energy
            for kind, price in zip(kinds, (*(row.hash,) * 3, *(row.token,) * 2), strict=True)
        ]
        best = best_counts(raw, [kind.power for kind in kinds], [1_000_000 // kind.power for kind in kinds], 1_000_000)
        assert sum(n * v for n, v in zip(allocation.counts[0], raw, strict=True)) == pytest.approx(
            sum(n * v for n, v in zip(best, raw, strict=True)), rel=1e-9
        )


blocks = st.lists(st.tuples(st.floats(0.0, 1500.0), st.floats(-1e4, 1e6)), max_size=6).map(
    lambda pairs: sorted(pairs, key=lambda pair: -pair[1])
)


@given(st.lists(blocks, min_size=3, max_size=3), st.integers(0, 2_000_000), st.floats(0.01, 50.0))
def test_sites_together_never_exceed_their_connection(bids: list[list[tuple[float, float]]], cap_w: int, energy: float) -> None:
    three = facility("live", 900_000, 500_000, 1_000_000, cap_w=cap_w)
    row = PriceRow(START, energy, 2.0, 2.0)
    allocation = three.allocate([Bid(each) for each in bids], row.prices, [900_000, 500_000, 1_000_000])
    assert three.total_w(allocation.counts) <= cap_w
    for i, (site, counts) in enumerate(zip(three.sites, allocation.counts, strict=True)):
        assert three.power_w(i, counts) <= min(round(site.grid_kw * 1000), math.floor(allocation.won_kw[i] * 1000 + 1e-3))
        # Nothing runs at a loss, whatever the bid said.
        for n, value in zip(counts, three._values(i, row.prices, None), strict=True):
            assert n == 0 or value > 0.0


def test_a_scarce_connection_goes_to_who_values_it_more_and_costs_what_the_others_lose() -> None:
    two = facility("live", 600_000, 600_000, cap_w=600_000)
    row = PriceRow(START, 1.0, 3.0, 3.0)
    high, low = Bid([(600.0, 9e4)]), Bid([(600.0, 5e4)])
    allocation = two.allocate([low, high], row.prices, [600_000, 600_000])
    assert allocation.won_kw == (0.0, 600.0)
    assert allocation.counts[0] == (0, 0, 0, 0, 0)
    assert allocation.payment[1] == pytest.approx(600.0 * 5e4 / 12.0)  # Vickrey: the bid that went without
    assert allocation.price == 5e4


def test_a_limit_below_what_was_won_holds() -> None:
    one, row = facility("live"), walk(1)[0]
    assert one.total_w(one.allocate([Bid([(1000.0, 1e6)])], row.prices, [123_456]).counts) <= 123_456


def test_alternatives_bound_every_single_class() -> None:
    one = facility("documented")
    for row in walk(50):
        alternatives = one.alternatives(row.prices)
        assert alternatives["off"] == 0.0
        assert alternatives["best"] >= max(alternatives.values()) - 1e-6
        assert row.energy * KWH_PER_UNIT == row.prices[0]
