"""What is a bid, and what is refused as one."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpilot.errors import BidError, MarketError
from gridpilot.market.bids import Bid, check_blocks

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(st.tuples(FINITE.map(abs), FINITE), max_size=6))
def test_sorted_finite_blocks_are_taken_as_they_are(blocks: list[tuple[float, float]]) -> None:
    blocks.sort(key=lambda block: -block[1])
    array = check_blocks(blocks)
    assert array.shape == (len(blocks), 2)
    assert array.dtype == np.float64
    assert array.tolist() == [list(block) for block in blocks]


@pytest.mark.parametrize("empty", [[], (), np.zeros((0, 2)), np.zeros(0), [[]]])
def test_an_empty_bid_asks_for_nothing(empty: Any) -> None:
    assert Bid(empty).blocks.shape == (0, 2)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([(1, 1), (1, 1.0000001)], "block 1 has price 1.0000001 .* above block 0's 1.0, expected non-increasing"),
        ([(0, 1), (0, 2)], "block 1 has price 2.0"),
        ([(-1e-300, 1)], "block 0 has quantity -1e-300 kW, expected a finite number >= 0"),
        ([(math.nan, 1)], "block 0 has quantity nan"),
        ([(math.inf, 1)], "block 0 has quantity inf"),
        ([(1, 1), (1, -math.inf)], "block 1 has price -inf .* expected a finite number"),
        ([(1, math.nan)], "block 0 has price nan"),
        ([1, 2], r"expected? .*|got an array of shape \(2,\)"),
        (5, r"shape \(\)"),
        ([(1, 2, 3)], r"shape \(1, 3\)"),
        ([[[1, 2]]], r"shape \(1, 1, 2\)"),
        ([(1, 2), (3,)], "pairs of numbers"),
        ("blocks", "pairs of numbers"),
        ({"kw": 1}, "pairs of numbers"),
        pytest.param([(10**400, 1)], "pairs of numbers", id="an int beyond every float"),
        (None, "bid"),
    ],
)
def test_what_is_not_a_bid_is_refused(blocks: Any, message: str) -> None:
    with pytest.raises(BidError, match=message):
        Bid(blocks)
    with pytest.raises(BidError, match=r"^bids\[7\]: "):
        check_blocks(blocks, where="bids[7]")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "x", [1.0, 2.0], {}, pytest.param(10**400, id="big")])
def test_prices_of_time_are_finite_numbers(value: Any) -> None:
    with pytest.raises(BidError, match=r"storage_value is .*expected a finite number in \$/kWh"):
        Bid([], storage_value=value)
    with pytest.raises(BidError, match="commitment_value is"):
        Bid([], commitment_value=[0.0, value])


def test_commitment_values_are_not_negative() -> None:
    assert Bid([], commitment_value=0.25).commitment_value is not None
    with pytest.raises(BidError, match=r"commitment_value is -0\.5"):
        Bid([], commitment_value=[0.1, -0.5])


def test_a_bid_keeps_its_own_copy() -> None:
    blocks = np.array([[1.0, 2.0]])
    kappa = np.array([0.5])
    bid = Bid(blocks, 0.25, kappa)
    blocks[:] = math.nan
    kappa[:] = -1.0
    assert bid.blocks.tolist() == [[1.0, 2.0]]
    assert bid.commitment_value is not None
    assert bid.commitment_value.tolist() == [0.5]
    again = pickle.loads(pickle.dumps(bid))
    assert (again.blocks.tolist(), again.storage_value) == ([[1.0, 2.0]], 0.25)
    with pytest.raises(AttributeError):
        bid.storage_value = 1.0  # type: ignore[misc]


def test_bid_errors_are_market_errors() -> None:
    assert issubclass(BidError, MarketError)
