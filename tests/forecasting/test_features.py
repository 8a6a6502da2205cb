"""The feature pipeline: what its features are, and that no row of them knows the future."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.features import FeaturePipeline, features
from gridpilot.forecasting.features_table import as_page, table

Array = np.ndarray
PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"
HOURLY = 24  # the fewest steps a day there are: a window of a week is 169 rows


def stream(channels: int, values: list[float]) -> Array:
    return np.array(values[: len(values) // channels * channels]).reshape(-1, channels)


# Ordinary prices, spikes, zeros, repeats and signs, in no order.
PRICE = st.one_of(
    st.floats(-0.1, 0.3),
    st.sampled_from([0.0, 0.02, 0.02, -0.05, 20.0, -1.0, 1e-12, 1e9]),
    st.floats(-1e18, 1e18, allow_nan=False),
)
SERIES = st.integers(1, 3).flatmap(lambda c: st.lists(PRICE, min_size=c, max_size=90).map(lambda values: stream(c, values)))
NAMES = ("energy", "hash", "token")


def walk(rows: int, channels: int = 3, seed: int = 0) -> Array:
    return (
        np.exp(0.05 * np.random.default_rng(seed).standard_normal((rows, channels)).cumsum(axis=0))
        - np.array([1.2, 0.0, 0.0])[:channels]
    )


@settings(max_examples=30)
@given(SERIES, st.integers(0, 10_000))
def test_streaming_and_batch_are_bitwise_equal(prices: Array, start: int) -> None:
    channels = NAMES[: prices.shape[1]]
    steps = start + np.arange(len(prices))
    pipeline = FeaturePipeline(channels, HOURLY)
    streamed = np.array([pipeline.update(int(step), row) for step, row in zip(steps, prices, strict=True)])
    assert np.array_equal(streamed, features(steps, prices, channels, HOURLY))
    assert np.isfinite(streamed).all()


@settings(max_examples=30)
@given(SERIES, st.data())
def test_the_future_changes_no_feature_of_the_past(prices: Array, data: st.DataObject) -> None:
    channels = NAMES[: prices.shape[1]]
    cut = data.draw(st.integers(0, len(prices)))
    other = prices.copy()
    other[cut:] = data.draw(st.floats(-50.0, 50.0)) - 3.0 * other[cut:]
    steps = np.arange(len(prices))
    assert np.array_equal(features(steps, prices, channels, HOURLY)[:cut], features(steps, other, channels, HOURLY)[:cut])


def test_the_present_does_change_the_features() -> None:
    prices = walk(300)
    other = prices.copy()
    other[-1] *= 1.1
    before, after = (features(np.arange(300), rows, NAMES, HOURLY) for rows in (prices, other))
    assert np.array_equal(before[:-1], after[:-1])
    assert (before[-1] != after[-1]).mean() > 0.5


@pytest.mark.parametrize("steps_per_day", [24, 96])
def test_what_is_older_than_a_week_does_not_matter(steps_per_day: int) -> None:
    length = 7 * steps_per_day + 1
    prices = walk(2 * length + 40)  # far enough for the history to be moved to the front
    steps = np.arange(len(prices))
    late = FeaturePipeline(NAMES, steps_per_day)
    for step in steps[-length:]:
        newest = late.update(int(step), prices[step])
    early = FeaturePipeline(NAMES, steps_per_day)
    for step in steps:
        oldest = early.update(int(step), prices[step])
    assert np.array_equal(newest, oldest)


@pytest.mark.parametrize(
    "prices",
    [
        np.zeros((40, 3)),
        np.full((40, 3), 0.03),
        np.full((40, 3), -5.0),
        np.repeat([[0.02, 1.0, 1.0], [20.0, -1e15, 1e15]], [30, 10], axis=0),
        np.tile([[1e-300, 5e-324, 0.0], [-1e-300, 0.0, 0.0]], (20, 1)),
        np.array([[np.nan, np.inf, 1.0], [0.02, 1.0, -np.inf], [np.nan, np.nan, np.nan]]),
        np.full((3, 3), 1e300),
    ],
    ids=["zero", "constant", "negative", "spike", "tiny", "not finite", "huge"],
)
def test_always_finite(prices: Array) -> None:
    found = features(np.arange(len(prices)), prices, NAMES, HOURLY)
    assert np.isfinite(found).all()
    assert (np.abs(found) < 1e6).all()


def test_the_first_row_is_a_price_that_always_stood() -> None:
    once = features([5], [[0.03, 2.0, 0.3]], NAMES, HOURLY)[0]
    later = features(np.arange(5 - 200, 6), np.tile([0.03, 2.0, 0.3], (201, 1)), NAMES, HOURLY)[-1]
    assert np.allclose(once, later, atol=1e-12)


def test_scale_free() -> None:
    prices = walk(400, 1)
    of_price = np.array(["_level_order" in name for name in FeaturePipeline(("energy",), HOURLY).names])
    plain, scaled = (features(np.arange(400), unit * prices, ("energy",), HOURLY) for unit in (1.0, 1024.0))
    assert np.allclose(plain[:, ~of_price], scaled[:, ~of_price], rtol=1e-12, atol=1e-12)
    assert np.allclose(scaled[:, of_price] - plain[:, of_price], np.log10(1024.0))


def by_name(prices: Array, steps_per_day: int = 48) -> dict[str, float]:
    pipeline = FeaturePipeline(NAMES, steps_per_day)
    newest = pipeline.features(np.arange(len(prices)), prices)[-1]
    return dict(zip(pipeline.names, newest.tolist(), strict=True))


def oracle(prices: Array, day: int) -> dict[str, float]:
    """A sample of the table's formulas, written out in numpy for the newest row of a long enough history."""
    import pywt
    import talib

    week = prices[-7 * day - 1 :]
    u = week / np.abs(week).mean(axis=0)
    x, y = u[:, 0], u[:, 1]
    d, e = np.diff(x), np.diff(y)
    last_day, p = x[-day - 1 :], week[:, 0]
    today = d[-day:]
    spikes = np.abs(x - x.mean()) > 3.0 * x.std() + 1e-9
    since = (np.flatnonzero(spikes[::-1])[0] if spikes.any() else 7 * day) * 24.0 / day
    same = x[::-day][:8]
    details = pywt.wavedec(x[-128:], "db2", mode="symmetric", level=5)[:0:-1]
    energy = np.array([float(part @ part) for part in details])
    upper, _, lower = talib.BBANDS(x[-64:].copy(), 20, 2.0, 2.0)
    spread = x - y
    hour = day // 24
    step = len(prices) - 1
    profile = np.mean([x[-1 - k * day + 3 * hour] for k in range(1, 8)]) - x[-1]
    return {
        "day_sin_2": np.sin(4.0 * np.pi * (step % day) / day),
        "week_cos_1": np.cos(2.0 * np.pi * (step % (7 * day)) / (7 * day)),
        "hour": step % day * 24.0 / day,
        "weekend": float(step // day % 7 >= 5),
        "energy_price": x[-1],
        "energy_level_order": np.log10(np.abs(p).mean()),
        "energy_lag_3": x[-4],
        "energy_lag_48h": x[-1 - 2 * day],
        "energy_return_2": (p[-1] - p[-3]) / np.abs(p[-3:]).mean(),
        "energy_return_7d": (p[-1] - p[0]) / np.abs(p).mean(),
        "energy_asinh_return_24h": np.arcsinh(4.0 * x[-1]) - np.arcsinh(4.0 * x[-1 - day]),
        "energy_above_mean_24h": x[-1] - last_day.mean(),
        "energy_score_24h": (x[-1] - last_day.mean()) / last_day.std(),
        "energy_volatility_24h": np.sqrt(np.mean(today**2)),
        "energy_volatility_ratio_24h_7d": np.sqrt(np.mean(today**2) / np.mean(d**2)),
        "energy_jump_share": np.clip(1.0 - np.pi / 2.0 * np.mean(np.abs(today * d[-day - 1 : -1])) / np.mean(today**2), 0.0, 1.0),
        "energy_upside_share": np.sum(today[today > 0.0] ** 2) / np.sum(today**2),
        "energy_change_skewness": np.mean(today**3) / np.mean(today**2) ** 1.5,
        "energy_change_kurtosis": np.mean(today**4) / np.mean(today**2) ** 2,
        "energy_change_autocorrelation": np.sum(today * d[-day - 1 : -1]) / np.sum(today**2),
        "energy_variance_ratio": np.mean((x[-day:] - x[-day - hour : -hour]) ** 2) / (hour * np.mean(today**2)),
        "energy_seasonality": np.corrcoef(x[day:], x[:-day])[0, 1],
        "energy_range_24h": np.ptp(last_day),
        "energy_position_24h": (x[-1] - last_day.min()) / np.ptp(last_day),
        "energy_spread_order_24h": np.log10(np.ptp(last_day)),
        "energy_rank_24h": (np.sum(last_day < x[-1]) + 0.5 * np.sum(last_day == x[-1])) / (day + 1),
        "energy_rank_same_time": (np.sum(same < x[-1]) + 0.5 * np.sum(same == x[-1])) / 8,
        "energy_efficiency_24h": abs(x[-1] - x[-1 - day]) / np.abs(today).sum(),
        "energy_slope_24h": np.polyfit(np.arange(day + 1) * 24.0 / day, last_day, 1)[0],
        "energy_spike_share": spikes[-day - 1 :].mean(),
        "energy_since_spike": np.log1p(since),
        "energy_negative_share_24h": (last_day < 0.0).mean(),
        "energy_unchanged_share": (today == 0.0).mean(),
        "energy_yesterday_3h": x[-1 - day + 3 * hour] - x[-1 - day],
        "energy_last_week_6h": x[6 * hour] - x[0],
        "energy_profile_3h": profile,
        "energy_rsi_14": talib.RSI(x[-64:].copy(), 14)[-1],
        "energy_rsi_42": talib.RSI(x[-128:].copy(), 42)[-1],
        "energy_macd": talib.MACD(x[-128:].copy(), 12, 26, 9)[0][-1],
        "energy_macd_histogram": talib.MACD(x[-128:].copy(), 12, 26, 9)[2][-1],
        "energy_bollinger_position_20": (x[-1] - lower[-1]) / (upper[-1] - lower[-1]),
        "energy_bollinger_width_20": upper[-1] - lower[-1],
        "energy_wavelet_energy_2": energy[1] / energy.sum(),
        "energy_wavelet_detail": np.sqrt(energy.sum() / sum(len(part) for part in details)),
        "energy_over_hash": x[-1] / (abs(x[-1]) + abs(y[-1])),
        "energy_hash_spread_score": (spread[-1] - spread[-day - 1 :].mean()) / spread[-day - 1 :].std(),
        "energy_hash_correlation_24h": np.corrcoef(today, e[-day:])[0, 1],
        "energy_hash_correlation_7d": np.corrcoef(d, e)[0, 1],
        "energy_hash_lead": np.corrcoef(today, e[-day - 1 : -1])[0, 1],
        "energy_hash_lag": np.corrcoef(d[-day - 1 : -1], e[-day:])[0, 1],
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_formulas(seed: int) -> None:
    day = 48
    prices = walk(9 * day + 17, seed=seed)
    prices[-20 - 30 * seed, 0] += 5.0  # a spike
    prices[-9:-6, 0] = prices[-9, 0]
    expected = oracle(prices, day)
    names = FeaturePipeline(NAMES, day).names
    found = features(np.arange(len(prices)), prices, NAMES, day)[-1]
    got = {name: float(found[names.index(name)]) for name in expected}
    assert got == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_indicators_of_a_market_that_says_something() -> None:
    rising = np.tile(1.0 + 0.01 * np.arange(200.0)[:, None], (1, 3))
    found = by_name(rising)
    assert found["energy_rsi_14"] == pytest.approx(100.0)
    assert found["hash_macd"] > 0.0
    assert found["energy_run"] == 48.0
    assert found["energy_negative"] == 0.0
    assert by_name(-rising)["energy_negative"] == 1.0
    still = np.ones((130, 3))
    still[-1, 2] = 9.0
    found = by_name(still)
    assert found["hash_rsi_14"] == 50.0
    assert found["hash_bollinger_position_60"] == 0.5
    assert found["token_spike"] == 1.0
    assert found["token_turbulent"] == 1.0
    assert found["energy_turbulent"] == 0.0


def test_there_are_enough_features_with_names_of_their_own() -> None:
    for channels in (("energy",), NAMES, ("a", "b", "c", "d")):
        rows = table(channels)
        names = [row.name for row in rows]
        assert len(names) >= 102
        assert len(set(names)) == len(names)
        assert all(row.formula and row.window and row.unit for row in rows)
        assert not any("{" in name for name in names)
        assert features([0], [[1.0] * len(channels)], channels, HOURLY).shape == (1, len(names))


def test_the_page_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == as_page(), "run python -m gridpilot.forecasting.features_table > docs/features.md"


def test_a_pickled_pipeline_goes_on_as_the_original() -> None:
    pipeline = FeaturePipeline(NAMES, HOURLY)
    prices = walk(60)
    for step in range(50):
        pipeline.update(step, prices[step])
    copy = pickle.loads(pickle.dumps(pipeline))
    for step in range(50, 60):
        assert np.array_equal(pipeline.update(step, prices[step]), copy.update(step, prices[step]))
    pipeline.reset()
    assert np.array_equal(pipeline.update(0, prices[0]), FeaturePipeline(NAMES, HOURLY).update(0, prices[0]))


@pytest.mark.parametrize("library", ["talib", "pywt"])
def test_a_missing_library_is_named_at_construction(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == library:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"feature pipeline.*\[forecast\]"):
        FeaturePipeline()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ForecastError, match=r"shape \(2,\), expected \(3,\)"):
        FeaturePipeline().update(0, [1.0, 2.0])
    with pytest.raises(ForecastError, match=r"expected \(2, 3\)"):
        features([0, 1], np.ones((2, 2)))
    with pytest.raises(ForecastError, match="multiple of 24"):
        FeaturePipeline(("energy",), 25)
