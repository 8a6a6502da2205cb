"""Weather, capacity, and the world they make with the prices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gridpilot.prices import CapacityConfig, WeatherConfig, World, load_prices
from tests.prices.examples import WILD, garch

WORLD = World(load_prices(WILD))


@settings(max_examples=20)
@given(root=st.integers(0, 2**64 - 1), first=st.integers(0, 2**40), size=st.integers(1, 150), ticks=st.integers(0, 60))
def test_an_episode_is_the_same_alone_in_a_batch_and_longer(root: int, first: int, size: int, ticks: int) -> None:
    batch = WORLD.simulate(root, np.arange(first, first + size), ticks + 9, history=11)
    alone = WORLD.simulate(root, [first + size - 1], ticks, history=11)
    for name in ("prices", "ambient", "capacity"):
        assert np.array_equal(getattr(batch, name)[: 11 + ticks, -1:], getattr(alone, name)), name
    assert batch.start[-1] == alone.start[0]


def test_shapes() -> None:
    scenario = WORLD.simulate(0, range(5), 7, history=3)
    assert scenario.prices.shape == (10, 5, 3)
    assert scenario.ambient.shape == scenario.capacity.shape == (10, 5)
    assert scenario.start.shape == (5,)
    assert scenario.history == 3


def test_weather_does_not_depend_on_the_price_model() -> None:
    other = World(load_prices(garch())).simulate(0, range(5), 20)
    ours = WORLD.simulate(0, range(5), 20)
    assert np.array_equal(ours.ambient, other.ambient)
    assert np.array_equal(ours.capacity, other.capacity)
    assert not np.array_equal(ours.prices, other.prices)


def test_weather_has_its_daily_curve_and_its_autocorrelation() -> None:
    weather = WeatherConfig(mean=20.0, amplitude=8.0, peak_hour=15.0, sd=2.0, phi=0.99)
    ambient = World(load_prices(garch()), weather).simulate(0, range(4000), 288, history=0).ambient
    day = ambient.mean(axis=1)
    assert day.argmax() == pytest.approx(15 * 12, abs=6)
    assert day.max() - day.min() == pytest.approx(16.0, abs=0.4)
    noise = ambient - day[:, None]
    assert noise[0].std() == pytest.approx(2.0, rel=0.05)
    assert noise[-1].std() == pytest.approx(2.0, rel=0.05)
    assert np.mean(noise[1:] * noise[:-1]) / np.mean(noise**2) == pytest.approx(0.99, abs=0.002)


def test_capacity_dips_in_the_evening() -> None:
    capacity = WORLD.simulate(0, range(3000), 288, history=0).capacity
    assert capacity.min() >= 0.05
    assert capacity.max() <= 1.0
    mean = capacity.mean(axis=1)
    evening = np.arange(288) // 6
    evening = (evening >= 33) & (evening < 43)  # 16:30 to 21:30
    assert mean[evening].max() < 0.45
    assert mean[~evening].min() > 0.85


def test_outages_come_once_a_day_last_an_hour_and_take_a_fifth() -> None:
    config = CapacityConfig(sd=0.0, dip=0.0, base=1.0)
    capacity = World(load_prices(garch()), capacity=config).simulate(0, range(5000), 288, history=0).capacity
    out = capacity < 0.9
    np.testing.assert_allclose(np.unique(capacity), [0.8, 1.0])
    begins = (out[1:] & ~out[:-1]).sum() / (5000 * 287 / 288)
    assert begins == pytest.approx(1.0, rel=0.05)
    assert out.sum() / (out[1:] & ~out[:-1]).sum() == pytest.approx(12.0, rel=0.05)
    assert out[0].mean() == pytest.approx(1.0 / 24.0, abs=0.01)


def test_no_noise_and_no_outages_leave_the_base() -> None:
    config = CapacityConfig(sd=0.0, dip=0.0, outages_per_day=0.0)
    assert (World(load_prices(garch()), capacity=config).simulate(0, [0], 300).capacity == 0.95).all()


@pytest.mark.parametrize(
    "bad", [{"low": 0.9, "high": 0.5}, {"dip_start": 20.0, "dip_end": 10.0}, {"outages_per_day": 30.0}, {"phi": 1.0}, {"outage": 1}]
)
def test_impossible_capacity_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        CapacityConfig(**bad)  # type: ignore[arg-type]
