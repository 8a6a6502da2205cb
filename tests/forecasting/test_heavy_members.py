"""Members that fit a model: they find what is there to find, and survive what a stream may bring."""

from __future__ import annotations

import builtins
import pickle
from typing import Any

import numpy as np
import pytest

from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.base import QUANTILE_LEVELS, Forecaster, Row
from gridpilot.forecasting.boosting import LightGBMQuantiles, XGBoostQuantiles
from gridpilot.forecasting.error_band import ErrorBand, RunningScale
from gridpilot.forecasting.fitted import FittedForecaster
from gridpilot.forecasting.garch import Garch, GarchParameters, change_variance, fit_garch, run_garch
from gridpilot.forecasting.gaussian_process import GaussianProcess
from gridpilot.forecasting.prophet_member import ProphetForecaster
from gridpilot.forecasting.wavelet import WaveletRidge, denoise, interpolate, robust_ridge, same_time
from tests.forecasting.series import FITTED

Array = np.ndarray

DAY = 24
CHANNELS = ("energy", "hash")
# Small enough to fit in a blink, in the second week.
FEW_FITS = {"minimum_days": 8.0, "refit_hours": 240.0}
SMALL: dict[type[FittedForecaster], dict[str, Any]] = {
    Garch: {"minimum_days": 2.0},
    WaveletRidge: {},
    LightGBMQuantiles: {"rounds": 15},
    XGBoostQuantiles: {"rounds": 15},
    GaussianProcess: {"minimum_days": 7.0},
    ProphetForecaster: {"minimum_days": 7.0},
}
MISSING = {
    WaveletRidge: "pywt",
    LightGBMQuantiles: "lightgbm",
    XGBoostQuantiles: "xgboost",
    GaussianProcess: "sklearn",
    ProphetForecaster: "prophet",
}


def seasonal(days: int, day: int = DAY, seed: int = 0, noise: float = 0.1) -> Array:
    """Two channels with a strong daily course, negative prices among those of the first."""
    rng = np.random.default_rng(seed)
    angle = 2.0 * np.pi * np.arange(days * day) / day
    course = np.sin(angle) + 0.4 * np.cos(2.0 * angle)
    error = np.zeros((len(angle), 2))
    for t in range(1, len(angle)):
        error[t] = 0.9 ** (24 / day) * error[t - 1] + noise * rng.standard_normal(2)
    return np.stack([0.5 + course, 5.0 + 0.5 * course], axis=1) + error


def fed(member: Forecaster, prices: Array, start: int = 0) -> Forecaster:
    for step, row in enumerate(prices, start):
        member.update(Row(step, row))
    return member


def small(member: type[FittedForecaster], **more: Any) -> FittedForecaster:
    return member(CHANNELS, DAY, **{**FEW_FITS, **SMALL.get(member, {}), **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fitted() -> dict[type[FittedForecaster], bytes]:
    """Each member after 20 days and two fits."""
    return {member: pickle.dumps(fed(small(member), seasonal(20))) for member in FITTED}


@pytest.mark.parametrize("member", FITTED)
def test_before_the_first_fit_it_is_persistence_with_a_band(member: type[FittedForecaster]) -> None:
    forecaster = small(member)
    prices = seasonal(3)
    forecaster.update(Row(0, prices[0]))
    first = forecaster.forecast(30)
    assert np.array_equal(first.mean, np.broadcast_to(prices[0], (30, 2)))
    fed(forecaster, prices[1:40], 1)
    found = forecaster.forecast(30)
    assert forecaster.model is None
    assert np.array_equal(found.quantiles[:, 2], np.broadcast_to(prices[39], (30, 2)))
    width = found.quantiles[:, 4] - found.quantiles[:, 0]
    assert (width > 0.0).all()
    assert (width[5] > width[0]).all()
    assert found.notes == ()


@pytest.mark.parametrize("member", SMALL)
def test_a_fitted_member_beats_persistence_where_there_is_a_season(
    member: type[FittedForecaster], fitted: dict[type[FittedForecaster], bytes]
) -> None:
    forecaster: FittedForecaster = pickle.loads(fitted[member])
    assert forecaster.model is not None
    more = seasonal(26)
    errors, plain, inside = [], [], []
    for step in range(20 * DAY, 25 * DAY):
        forecaster.update(Row(step, more[step]))
        found = forecaster.forecast(12)
        assert found.notes == ()
        assert (np.diff(found.quantiles, axis=1) >= 0.0).all()
        truth = more[step + 12]
        errors.append(np.abs(truth - found.quantiles[-1, 2]))
        plain.append(np.abs(truth - more[step]))
        inside.append((truth >= found.quantiles[-1, 0]) & (truth <= found.quantiles[-1, 4]))
    skill = 1.0 - np.mean(errors, axis=0) / np.mean(plain, axis=0)
    if member is Garch:
        assert skill == pytest.approx(0.0)
    else:
        assert (skill > 0.5).all(), skill
    assert 0.7 <= np.mean(inside) <= 1.0


@pytest.mark.parametrize("member", FITTED)
def test_equal_rows_give_equal_forecasts_and_asking_changes_nothing(
    member: type[FittedForecaster], fitted: dict[type[FittedForecaster], bytes]
) -> None:
    again = fed(small(member), seasonal(20))
    stored = pickle.loads(fitted[member])
    stored.forecast(3)
    for horizon in (1, 30, 60):
        one, other = again.forecast(horizon), stored.forecast(horizon)
        assert np.array_equal(one.quantiles, other.quantiles)
        assert np.array_equal(one.mean, other.mean)
    assert one.quantiles.shape == (60, len(QUANTILE_LEVELS), 2)


@pytest.mark.parametrize("member", FITTED)
@pytest.mark.parametrize("case", ["constant", "spike", "zero then alive"])
def test_hard_series(member: type[FittedForecaster], case: str) -> None:
    prices = np.full((10 * DAY, 2), 0.03)
    if case == "spike":
        prices = 0.02 + 0.01 * seasonal(10)
        prices[-3, 0], prices[-30, 1] = 20.0, -20.0
    elif case == "zero then alive":
        prices = np.concatenate([np.zeros((6 * DAY, 2)), seasonal(4)])
    forecaster = fed(small(member), prices)
    found = forecaster.forecast(DAY)
    assert not any("wide band instead" in note or "learning failed" in note for note in found.notes), found.notes
    assert np.isfinite(found.quantiles).all()
    assert np.abs(found.quantiles).max() < 1e4
    if case == "constant":
        assert np.allclose(found.mean, 0.03)


@pytest.mark.parametrize("member", FITTED)
def test_after_a_gap_of_weeks_it_begins_anew(member: type[FittedForecaster], fitted: dict[type[FittedForecaster], bytes]) -> None:
    forecaster: FittedForecaster = pickle.loads(fitted[member])
    forecaster.update(Row(60 * DAY, np.array([3.0, 4.0])))
    found = forecaster.forecast(5)
    assert forecaster.model is None
    assert np.array_equal(found.mean, np.broadcast_to([3.0, 4.0], (5, 2)))
    assert any("forgotten" in note for note in found.notes)


@pytest.mark.parametrize(("member", "library"), MISSING.items())
def test_a_missing_library_is_named_at_construction(
    member: type[FittedForecaster], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == library:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"\[forecast\]"):
        member()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"refit_hours": 0.0}, "refit_hours is 0.0"),
        ({"minimum_days": float("nan")}, "minimum_days is nan"),
        ({"minimum_days": 30.0, "history_days": 20.0}, "at least minimum_days"),
    ],
)
def test_parameters_are_checked(more: dict[str, float], message: str) -> None:
    with pytest.raises(ForecastError, match=message):
        Garch(**more)
    with pytest.raises(ForecastError, match=r"ridge is 0\.0"):
        WaveletRidge(ridge=0.0)


# GARCH.


def garch_changes(rows: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    h, out = 1.0, np.empty(rows)
    for t in range(rows):
        out[t] = np.sqrt(h) * rng.standard_normal()
        h = 0.05 + 0.15 * out[t] ** 2 + 0.8 * h
    return out


def test_garch_finds_the_parameters_that_made_a_series() -> None:
    found = fit_garch(0.01 * garch_changes(6000))
    assert found.alpha == pytest.approx(0.15, abs=0.04)
    assert found.alpha + found.beta == pytest.approx(0.95, abs=0.04)
    assert found.variance == pytest.approx(1e-4, rel=0.25)


def test_garch_variance_of_a_sum_is_the_sum_of_variances() -> None:
    parameters = GarchParameters(0.05, 0.15, 0.8, 5.0)
    h, total, expected = 4.0, 0.0, []
    for _ in range(50):
        total += h
        expected.append(total)
        h = 0.05 + 0.95 * h
    assert change_variance(parameters, 4.0, np.arange(1.0, 51.0)) == pytest.approx(np.array(expected))
    assert run_garch(np.array([2.0, -1.0]), 1.0, 0.05, 0.15, 0.8, 0.0, 9.0) == pytest.approx(0.05 + 0.15 + 0.8 * 1.45)
    assert run_garch(np.array([200.0]), 1.0, 0.05, 0.15, 0.8, 0.0, 9.0) == 9.0


def test_garch_widens_the_band_after_a_storm() -> None:
    changes = np.concatenate([garch_changes(30 * DAY, 3), np.full(6, 4.0) * [1, -1, 1, -1, 1, -1]])
    prices = 100.0 + np.cumsum(changes)[:, None] * [1.0, 0.1]
    forecaster = small(Garch)
    fed(forecaster, prices[:-6])
    calm = forecaster.forecast(1).quantiles[0, 4] - forecaster.forecast(1).quantiles[0, 0]
    fed(forecaster, prices[-6:], len(prices) - 6)
    storm = forecaster.forecast(1).quantiles[0, 4] - forecaster.forecast(1).quantiles[0, 0]
    assert (storm > 1.3 * calm).all()
    assert isinstance(forecaster, Garch)
    variance = forecaster.variance([1, 24])
    assert variance is not None
    assert (variance[1] > variance[0]).all()


def test_a_price_that_never_moves_has_parameters_too() -> None:
    assert fit_garch(np.zeros(500)).variance > 0.0


# What they share.


def test_the_band_covers_what_it_says_and_is_symmetric_to_nothing() -> None:
    rng = np.random.default_rng(0)
    band, scale = ErrorBand(1, 96), RunningScale(1, 96)
    price, inside, seen = np.zeros(1), 0, 0
    previous = band.spread(np.zeros((1, 1)), np.ones((len(band.knots), 1)))[0]
    for t in range(20 * 96):
        price = price + rng.standard_normal(1) ** 2 - 1.0
        if t > 10 * 96:
            inside += int(previous[0, 0] <= price[0] <= previous[4, 0])
            seen += 1
        scale.learn(price)
        scales = np.broadcast_to(scale.value, (len(band.knots), 1))
        band.learn(price, np.broadcast_to(price, (len(band.knots), 1)), scales)
        previous = band.spread(price[None], scales)[0]
    assert 0.86 <= inside / seen <= 0.94
    assert previous[4] - previous[2] > 1.5 * (previous[2] - previous[0])  # the changes are skewed, so is the band


def test_denoising_keeps_a_smooth_course_and_loses_noise() -> None:
    rng = np.random.default_rng(0)
    smooth = np.sin(np.arange(512) / 60.0)[None]
    noise = 0.1 * rng.standard_normal((1, 512))
    assert np.abs(denoise(smooth + noise) - smooth).std() < 0.6 * noise.std()
    assert np.allclose(denoise(np.ones((2, 512))), 1.0)


def test_robust_ridge_is_not_led_by_spikes() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2))
    y = x @ [1.0, -2.0] + 0.1 * rng.standard_normal(400)
    y[::20] += 50.0
    assert robust_ridge(x, y, 1e-3) == pytest.approx([1.0, -2.0], abs=0.05)


def test_interpolation_and_seasons() -> None:
    values = np.array([[1.0], [3.0], [9.0]])
    found = interpolate(values, np.array([1, 3, 6]), np.array([1, 2, 3, 5, 6, 50]))
    assert found[:, 0] == pytest.approx([1.0, 2.0, 3.0, 7.0, 9.0, 9.0])
    prices = np.arange(20 * 4, dtype=np.float64)[:, None]
    yesterday, mean = same_time(prices, np.array([1, 4]), 4)
    assert yesterday[:, 0] == pytest.approx([-3.0, 0.0])
    assert mean[:, 0] == pytest.approx([np.mean(-4.0 * np.arange(1, 8) + 1), np.mean(-4.0 * np.arange(1, 8) + 4)])


@pytest.mark.slow
@pytest.mark.parametrize("member", FITTED)
def test_five_minute_prices_with_the_default_parameters(member: type[FittedForecaster]) -> None:
    prices = seasonal(20, 288, noise=0.03)
    forecaster = member(CHANNELS, 288)
    errors, plain, inside = [], [], []
    for step in range(19 * 288):
        forecaster.update(Row(step, prices[step]))
        if step > 12 * 288 and step % 29 == 0:
            found = forecaster.forecast(72)
            truth = prices[step + 72]
            errors.append(np.abs(truth - found.quantiles[-1, 2]))
            plain.append(np.abs(truth - prices[step]))
            inside.append((truth >= found.quantiles[-1, 0]) & (truth <= found.quantiles[-1, 4]))
    skill = 1.0 - np.mean(errors) / np.mean(plain)
    assert skill == pytest.approx(0.0) if member is Garch else skill > 0.6
    assert 0.8 <= np.mean(inside) <= 0.99
