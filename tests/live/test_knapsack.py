"""The knapsack against a dynamic programme over every watt, written another way."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpilot.live.api import INVENTORIES
from gridpilot.live.knapsack import MOST_LOOKED_AT, best_counts, pack


def optimum(values: Sequence[float], powers: Sequence[int], units: Sequence[int], limit: int) -> float:
    """Greatest worth within ``limit``, by binary splitting into 0-1 items and a table over the room."""
    grain = gcd(*powers)
    table = np.zeros(limit // grain + 1)
    for value, power, count in zip(values, powers, units, strict=True):
        left, size = min(count, limit // power), 1
        while left > 0 and value > 0.0:
            take = min(size, left)
            left, size, width = left - take, 2 * size, take * power // grain
            table[width:] = np.maximum(table[width:], table[: len(table) - width] + take * value)
    return float(table[-1])


items = st.lists(st.tuples(st.floats(-5, 20), st.integers(1, 40), st.integers(0, 12)), min_size=1, max_size=5)


@given(items, st.integers(0, 300))
def test_no_other_choice_is_worth_more(kinds: list[tuple[float, int, int]], limit: int) -> None:
    values, powers, units = (list(column) for column in zip(*kinds, strict=True))
    counts = best_counts(values, powers, units, limit)
    assert all(0 <= n <= most for n, most in zip(counts, units, strict=True))
    assert sum(n * p for n, p in zip(counts, powers, strict=True)) <= limit
    worth = sum(n * v for n, v in zip(counts, values, strict=True))
    assert worth == pytest.approx(optimum(values, powers, units, limit), rel=1e-12, abs=1e-12)
    assert all(n == 0 for n, v in zip(counts, values, strict=True) if v <= 0.0)


@pytest.mark.parametrize("limit", [-5, 0, 2])
def test_without_room_everything_is_off(limit: int) -> None:
    assert best_counts([1.0, 2.0], [3, 5], [4, 4], limit) == (0, 0)


def test_tied_classes_stay_cheap() -> None:
    # Equal worth a watt in every class: without the memory of rooms this would take longer than the suite.
    powers = [3333, 5000, 10000, 3500, 15000]
    values = [power * 2.0 for power in powers]
    counts = best_counts(values, powers, [300, 200, 100, 285, 66], 998_769)
    assert sum(n * p for n, p in zip(counts, powers, strict=True)) == 998_769 - _gap(powers, 998_769)


@given(items, st.integers(0, 300), st.integers(1, 40))
def test_a_search_cut_short_loses_no_more_than_it_says(kinds: list[tuple[float, int, int]], limit: int, most: int) -> None:
    values, powers, units = (list(column) for column in zip(*kinds, strict=True))
    counts, loss = pack(values, powers, units, limit, most=most)
    assert all(0 <= n <= there for n, there in zip(counts, units, strict=True))
    assert sum(n * p for n, p in zip(counts, powers, strict=True)) <= limit
    worth, best = sum(n * v for n, v in zip(counts, values, strict=True)), optimum(values, powers, units, limit)
    assert worth >= best - loss - 1e-9
    assert loss <= max(values) + 1e-9 or loss == 0.0  # of one machine, and no more


def test_tied_primes_of_gigawatts_end() -> None:
    # No sum of these reaches the limit, all are worth the same a watt: an exact search would take hours and all of the memory.
    powers = [100_003, 100_019, 100_043, 100_049, 100_057]
    values = [power * 1e-4 for power in powers]
    limit = 9_999_999_967
    counts, loss = pack(values, powers, [limit // power for power in powers], limit)
    drawn = sum(n * p for n, p in zip(counts, powers, strict=True))
    assert limit - max(powers) < drawn <= limit
    assert 0.0 <= loss < max(values)
    assert (counts, loss) == pack(values, powers, [limit // power for power in powers], limit)
    assert MOST_LOOKED_AT <= 250_000


def _gap(powers: Sequence[int], limit: int) -> int:
    reachable = np.zeros(limit + 1, dtype=np.bool_)
    reachable[0] = True
    for power in powers:  # each class alone could fill the limit, so that the counts do not bind
        for start in range(power, limit + 1, power):
            reachable[start : start + power] |= reachable[start - power : start][: len(reachable[start : start + power])]
    return limit - int(np.flatnonzero(reachable)[-1])


@pytest.mark.parametrize("inventory", ["documented", "live"])
@pytest.mark.parametrize("limit", [1_000_000, 998_500, 500_000])
def test_the_apis_inventories(inventory: str, limit: int) -> None:
    _against_the_table(inventory, limit, 12, seed=limit)


@pytest.mark.slow
@pytest.mark.parametrize("inventory", ["documented", "live"])
def test_ten_thousand_prices(inventory: str) -> None:
    _against_the_table(inventory, 1_000_000, 10_000, seed=1)


def _against_the_table(inventory: str, limit: int, n: int, seed: int) -> None:
    types = INVENTORIES[inventory].types  # type: ignore[index]
    rng = np.random.default_rng(seed)
    powers, units = [kind.power for kind in types], [limit // kind.power for kind in types]
    for energy, hashing, token in rng.uniform([0.1, 1.0, 0.5], [12.0, 5.0, 5.0], size=(n, 3)):
        prices = [hashing, hashing, hashing, token, token]
        values = [kind.output * price - kind.power * energy for kind, price in zip(types, prices, strict=True)]
        counts = best_counts(values, powers, units, limit)
        assert sum(count * power for count, power in zip(counts, powers, strict=True)) <= limit
        worth = sum(count * value for count, value in zip(counts, values, strict=True))
        assert worth == pytest.approx(optimum(values, powers, units, limit), rel=1e-9, abs=1e-6)
