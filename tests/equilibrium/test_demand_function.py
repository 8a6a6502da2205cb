"""Linear demand-function equilibrium: published figures, the equations it solves, limits, and where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.equilibrium.demand_function import best_slope, equilibrium_slopes, symmetric_slope
from gridpilot.errors import GameError


@pytest.mark.parametrize(
    ("buyers", "steepness", "beta", "slope"),
    [
        (3, 1.0, 0.0, 0.5),  # (n - 2) / (l (n - 1))
        (5, 0.5, 0.0, 1.5),
        (2, 1.0, 1.0, 0.618034),  # b^2 + b = 1
        (4, 2.0, 0.3, 0.368879),  # 6 b^2 - 1.4 b = .3
        (1, 2.0, 1.0, 1 / 3),  # a monopsonist: beta / (1 + l beta)
        (2, 1.0, 0.0, 0.0),
        (1, 1.0, 0.0, 0.0),
        (2, 1.0, 1e-90, 1e-45),
    ],
)
def test_symmetric_slopes(buyers: int, steepness: float, beta: float, slope: float) -> None:
    assert symmetric_slope(buyers, steepness, beta) == pytest.approx(slope, abs=1e-6 if slope > 1e-9 else 1e-57)
    assert equilibrium_slopes([steepness] * buyers, beta) == pytest.approx(
        [symmetric_slope(buyers, steepness, beta)] * buyers, rel=1e-12
    )


def test_three_unequal_buyers() -> None:
    assert equilibrium_slopes([1, 2, 4], 0.5) == pytest.approx([0.516147, 0.355291, 0.211454], abs=1e-6)


sizes = st.lists(st.floats(-6, 6).map(lambda e: 10.0**e), min_size=1, max_size=9)
slopes = st.one_of(st.just(0.0), st.floats(-9, 6).map(lambda e: 10.0**e))


@given(sizes, slopes, st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_buyer_answers_the_others(steepness: list[float], beta: float, flat: bool) -> None:
    if flat:
        steepness = [0.0, *steepness[1:]]
    found = equilibrium_slopes(steepness, beta)
    if beta == 0.0 and len(steepness) <= 2:
        assert (found == 0.0).all()
        return
    assert (found > 0.0).all()
    for i, l_i in enumerate(steepness):
        assert found[i] == pytest.approx(best_slope(beta + float(found.sum() - found[i]), l_i), rel=1e-11)


def test_the_iterated_best_slopes_end_there() -> None:
    steepness = np.array([1.0, 2.0, 4.0, 0.3])
    slope = 1.0 / steepness
    for _ in range(2000):
        residual = 0.2 + slope.sum() - slope
        slope = residual / (1.0 + steepness * residual)
    assert equilibrium_slopes(steepness, 0.2) == pytest.approx(slope, rel=1e-12)


def test_a_deviation_earns_less() -> None:
    # Three buyers, supply p = (sum of x)/beta; buyer 0 tries other slopes on both sides.
    a, steepness, beta = np.array([10.0, 9.0, 8.0]), np.array([1.0, 2.0, 4.0]), 0.5
    slope = equilibrium_slopes(steepness, beta)

    def surplus(b_0: float) -> float:
        b = np.array([b_0, *slope[1:]])
        price = float((a * b).sum() / (beta + b.sum()))
        x = b_0 * (a[0] - price)
        return float(a[0] * x - 0.5 * steepness[0] * x * x - price * x)

    assert all(surplus(slope[0] * factor) < surplus(slope[0]) for factor in (0.5, 0.9, 0.999, 1.001, 1.1, 2.0))


def test_order_and_units() -> None:
    assert equilibrium_slopes([4, 1, 2], 0.5) == pytest.approx(equilibrium_slopes([1, 2, 4], 0.5)[[2, 0, 1]], rel=1e-14)
    assert equilibrium_slopes([1e50, 2e50, 4e50], 0.5e-50) == pytest.approx(equilibrium_slopes([1, 2, 4], 0.5) * 1e-50, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: equilibrium_slopes([], 1), "at least one finite number"),
        (lambda: equilibrium_slopes([1, -1], 1), "none below 0"),
        (lambda: equilibrium_slopes([1, np.nan], 1), "finite"),
        (lambda: equilibrium_slopes([[1, 2]], 1), "expected a list"),
        (lambda: equilibrium_slopes(["a"], 1), "list of numbers"),
        (lambda: equilibrium_slopes([1, 2], -1), "beta is -1"),
        (lambda: equilibrium_slopes([0, 0, 1], 1), "with 2 zeros"),
        (lambda: equilibrium_slopes([1e-200, 1], 1), "1e+100"),
        (lambda: symmetric_slope(0, 1, 1), "buyers is 0"),
        (lambda: symmetric_slope(2, 0, 1), "expected more than 0"),
    ],
)
def test_what_has_no_slopes_is_refused(call: Any, part: str) -> None:
    with pytest.raises(GameError) as error:
        call()
    assert part in str(error.value)
