"""Whatever the rows are: an answer with finite, ordered quantiles and an honest band, never an exception."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.forecasting.base import Row
from tests.forecasting.series import LIGHT, build, check, feed, random_walk, seasonal, three

each_member = pytest.mark.parametrize("name", LIGHT)
H = 48


@each_member
def test_rows_repeated_reordered_and_missing(name: str) -> None:
    prices = three(150)
    order = [t for t in range(150) if t % 11 and not 60 <= t < 75]
    order += [140, 140, 20]
    member = build(name, 3)
    for t in order:
        member.update(Row(t, prices[t]))
    forecast = member.forecast(H, scenarios=3)
    check(forecast, H, 3, 3)
    assert forecast.step == 149
    assert any("gap" in note for note in forecast.notes)
    assert any("older" in note for note in forecast.notes)
    assert not any("failed" in note for note in forecast.notes)


@each_member
def test_nan_prices(name: str) -> None:
    prices = three(150)
    prices[np.random.default_rng(0).uniform(size=prices.shape) < 0.3] = np.nan
    prices[:5, 1] = np.nan
    forecast = feed(build(name, 3), prices).forecast(H)
    check(forecast, H, 3)
    assert any("price missing" in note for note in forecast.notes)
    assert not any("failed" in note for note in forecast.notes)


@each_member
@pytest.mark.parametrize("value", [0.0, -1e-9])
def test_a_constant_series_is_forecast_exactly(name: str, value: float) -> None:
    forecast = feed(build(name), np.full((200, 1), value)).forecast(H)
    check(forecast, H, 1)
    np.testing.assert_allclose(forecast.quantiles[:, 2], value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(forecast.mean, value, rtol=0.05, atol=1e-6)


@each_member
def test_ten_rows_give_a_wide_band(name: str) -> None:
    prices = random_walk(200, 4)
    forecast = feed(build(name), prices[:10]).forecast(H)
    check(forecast, H, 1)
    inside = (prices[10 : 10 + H] >= forecast.quantiles[:, 0]) & (prices[10 : 10 + H] <= forecast.quantiles[:, 4])
    assert inside.mean() > 0.9
    width = forecast.quantiles[:, 4] - forecast.quantiles[:, 0]
    assert width[-1] > width[0] > 1.0


@each_member
def test_spikes_of_twenty_thousand_do_not_stay(name: str) -> None:
    prices = seasonal(500)
    prices[[100, 101, 230, 420]] = 20_000.0
    member = feed(build(name), prices[:421])
    check(member.forecast(H, scenarios=3), H, 1, 3)
    feed(member, prices[421:], 421)
    forecast = member.forecast(H)
    check(forecast, H, 1)
    repeated = name == "seasonal_naive"  # with one day known, it repeats the spike of that day
    assert (np.abs(forecast.quantiles[:, 2] - 40.0) < 60.0).mean() >= (0.9 if repeated else 1.0)
    assert repeated or (forecast.quantiles[:, [1, 3]] < 1000.0).all()


@each_member
def test_prices_that_change_sign(name: str) -> None:
    rng = np.random.default_rng(5)
    prices = np.where(rng.uniform(size=(300, 1)) < 0.5, -30.0, 30.0) + rng.standard_normal((300, 1))
    forecast = feed(build(name), prices).forecast(H)
    check(forecast, H, 1)
    assert (forecast.quantiles[:, 4] - forecast.quantiles[:, 0] > 30.0).all()
    assert (np.abs(forecast.quantiles[:, 2]) < 100.0).all()


@each_member
@pytest.mark.parametrize("scale", [1e-12, 1e13])
def test_huge_and_small_scales(name: str, scale: float) -> None:
    prices = scale * seasonal(300)
    forecast = feed(build(name), prices).forecast(H)
    check(forecast, H, 1)
    assert (forecast.quantiles[:, 4] < 1e4 * scale).all()


@each_member
def test_a_level_that_jumps_a_thousandfold(name: str) -> None:
    prices = np.concatenate([random_walk(200, 1), 1e5 + random_walk(200, 2)])
    forecast = feed(build(name), prices).forecast(H)
    check(forecast, H, 1)
    np.testing.assert_allclose(forecast.quantiles[0, 2], 1e5, rtol=0.1)


@each_member
def test_a_gap_of_a_week_and_a_longer_one(name: str) -> None:
    prices = seasonal(60)
    member = feed(build(name, steps_per_day=24), prices)
    feed(member, prices, 60 + 7 * 24)
    forecast = member.forecast(H)
    check(forecast, H, 1)
    assert member.rows == 120 + 7 * 24
    feed(member, prices, 2000)
    fresh = feed(build(name, steps_per_day=24), prices, 2000)
    np.testing.assert_array_equal(member.forecast(H).quantiles, fresh.forecast(H).quantiles)


@each_member
def test_rows_that_are_no_rows(name: str) -> None:
    member = feed(build(name), random_walk(20))
    before = member.forecast(H).quantiles
    odd: list[Any] = [None, 3, "row", (1,), (20.5, [1.0]), (math.inf, [1.0]), ("x", [1.0]), (19, [1.0])]
    for row in odd:
        member.update(row)
    np.testing.assert_array_equal(member.forecast(H).quantiles, before)
    member.update(Row(20, np.array([1.0, 2.0])))
    member.update(Row(21, "nothing"))  # type: ignore[arg-type]
    check(member.forecast(H), H, 1)


PRICE = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(-100.0, 100.0), st.sampled_from([0.0, 20_000.0, -1000.0, 1e-300])
)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(LIGHT),
    rows=st.lists(st.tuples(st.integers(0, 90), PRICE), min_size=1, max_size=60),
    calm=st.integers(0, 40),
)
def test_any_prices_in_any_order(name: str, rows: list[tuple[int, float]], calm: int) -> None:
    member = build(name, steps_per_day=24)
    for t in range(calm):
        member.update(Row(t - calm, np.array([30.0 + t % 5])))
    for step, price in rows:
        member.update(Row(step, np.array([price])))
    forecast = member.forecast(30, scenarios=2)
    check(forecast, 30, 1, 2)
    assert not any("failed" in note or "could not" in note or "wide band" in note for note in forecast.notes), forecast.notes


def test_memory_is_bounded() -> None:
    member = build("ensemble", steps_per_day=24)
    prices = seasonal(24 * 40)
    feed(member, prices[: 24 * 30])
    size = len(pickle.dumps(member))
    feed(member, prices[24 * 30 :], 24 * 30)
    assert len(pickle.dumps(member)) <= 1.02 * size
