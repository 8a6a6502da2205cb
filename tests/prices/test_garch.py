"""GARCH prices: reproducibility, closed-form moments, correlation, stationarity, and refusal of impossible parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gridpilot.errors import ConfigError
from gridpilot.presets import load_preset
from gridpilot.prices import load_prices
from gridpilot.prices.garch import GarchConfig, GarchPrices, student_quantiles
from tests.prices.examples import ONES, WILD, garch

MODELS = {"wild": load_prices(WILD), "ercot": load_prices("ercot"), "aemo_nsw": load_prices("aemo_nsw")}


def test_episodes_start_on_every_weekday_unless_one_is_named() -> None:
    start = MODELS["ercot"].simulate(0, range(500), 0)[1]
    assert set(start // 288) == set(range(7))
    prices = MODELS["wild"].simulate(0, range(4), 30)[0]
    named, start = load_prices({**WILD, "weekday": 6}).simulate(0, range(4), 30)
    assert set(start) == {6 * 288}
    assert np.array_equal(named, prices)  # WILD has no profile, so that the day changes nothing else


def test_a_constant_variance_ar1_has_its_textbook_moments() -> None:
    phi, sd = 0.9, 0.05
    prices = load_prices(garch(hash_={"phi_slow": phi, "sd": sd})).simulate(0, range(500), 600)[0]
    x = np.log(prices[:, :, 1] / 2.0)
    assert x.std() == pytest.approx(sd / math.sqrt(1.0 - phi**2), rel=0.02)
    assert np.mean(x[1:] * x[:-1]) / np.mean(x**2) == pytest.approx(phi, abs=0.01)
    assert np.mean((x / x.std()) ** 4) == pytest.approx(3.0, rel=0.03)


def test_slow_and_transient_parts_add_to_an_arma() -> None:
    """Cov(k) of (1-w)/(1-a L) e + w/(1-b L) e, summed from its moving-average weights."""
    slow, fast, w, sd = 0.95, 0.3, 0.4, 0.1
    prices = load_prices(garch(token={"phi_slow": slow, "phi_fast": fast, "transient": w, "sd": sd})).simulate(0, range(600), 600)[
        0
    ]
    x = np.log(prices[:, :, 2] / 0.3)
    weights = (1.0 - w) * slow ** np.arange(400) + w * fast ** np.arange(400)
    for lag in (0, 1, 5):
        expected = sd**2 * np.sum(weights[: 400 - lag] * weights[lag:])
        assert np.mean(x[lag:] * x[: len(x) - lag]) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("dynamics", "gamma"), [("garch_t", 0.0), ("gjr_t", 0.1)])
def test_unconditional_variance_and_kurtosis(dynamics: str, gamma: float) -> None:
    """Var = sd^2; for normal GARCH(1,1) kurtosis is 3 (1 - (a+b)^2) / (1 - (a+b)^2 - 2 a^2) (Bollerslev 1986)."""
    alpha, beta, sd = 0.1, 0.8, 0.02
    part = {"dynamics": dynamics, "alpha": alpha, "gamma": gamma, "beta": beta, "sd": sd, "sd_bounds": [1e-3, 1e3]}
    x = np.log(load_prices(garch(hash_=part)).simulate(0, range(1000), 1000)[0][:, :, 1] / 2.0)
    assert x.std() == pytest.approx(sd, rel=0.02)
    if gamma == 0.0:
        expected = 3.0 * (1.0 - (alpha + beta) ** 2) / (1.0 - (alpha + beta) ** 2 - 2.0 * alpha**2)
        assert np.mean((x / x.std()) ** 4) == pytest.approx(expected, rel=0.05)
    else:
        squares = x[1:] ** 2  # the news impact: after a fall the variance is higher
        assert squares[x[:-1] < -sd].mean() > 1.1 * squares[x[:-1] > sd].mean()


def test_egarch_has_its_log_variance() -> None:
    """With nu infinite and phi 0, ln h has mean ln sd^2 and variance (a^2 (1 - 2/pi) + g^2) / (1 - b^2), and E x^2 = sd^2 E e^(ln h)."""
    alpha, gamma, beta, sd = 0.2, -0.1, 0.9, 0.02
    part = {"dynamics": "egarch_t", "alpha": alpha, "gamma": gamma, "beta": beta, "sd": sd}
    model = load_prices(garch(hash_=part))
    assert isinstance(model, GarchPrices)
    log_variance = model.arrays.states[:, 5]
    assert log_variance.mean() == pytest.approx(math.log(sd**2), abs=0.05)
    expected = (alpha**2 * (1.0 - 2.0 / math.pi) + gamma**2) / (1.0 - beta**2)
    assert log_variance.var() == pytest.approx(expected, rel=0.1)
    x = np.log(model.simulate(0, range(500), 500)[0][:, :, 1] / 2.0)
    assert np.mean(x**2) == pytest.approx(np.mean(np.exp(log_variance)), rel=0.03)


def test_student_innovations() -> None:
    """Kurtosis of a Student-t is 3 + 6 / (nu - 4)."""
    x = np.log(load_prices(garch(hash_={"nu": 10.0, "sd": 0.1})).simulate(0, range(1000), 1000)[0][:, :, 1] / 2.0)
    assert x.std() == pytest.approx(0.1, rel=0.01)
    assert np.mean((x / x.std()) ** 4) == pytest.approx(4.0, rel=0.04)


@pytest.mark.parametrize("nu", [2.5, 4.0, 30.0])
def test_the_quantile_table_has_unit_variance(nu: float) -> None:
    scores = np.arange(-9.0, 9.0001, 1.0 / 64.0)
    half = student_quantiles(nu)
    eta = np.r_[-half[:0:-1], half]
    density = np.exp(-0.5 * scores**2) / math.sqrt(2.0 * math.pi) / 64.0
    assert np.sum(eta**2 * density) == pytest.approx(1.0, rel=0.01 if nu > 3.0 else 0.05)
    assert (np.diff(half) > 0.0).all()


def test_correlation_is_that_of_the_normal_scores() -> None:
    correlation = {"energy_hash": 0.6, "energy_token": -0.3, "hash_token": 0.2}
    x = load_prices(garch(correlation=correlation)).simulate(0, range(500), 500)[0].reshape(-1, 3).copy()
    x[:, 0] = np.arcsinh((x[:, 0] - 0.02) / 0.01)
    x[:, 1:] = np.log(x[:, 1:])
    np.testing.assert_allclose(np.corrcoef(x.T)[[0, 0, 1], [1, 2, 2]], [0.6, -0.3, 0.2], atol=0.01)


@pytest.mark.parametrize("name", ["wild", "ercot", "aemo_nsw"])
def test_paths_start_in_the_stationary_distribution(name: str) -> None:
    prices = MODELS[name].simulate(3, range(4000), 288 * 2)[0]
    first, last = prices[:144], prices[-144:]
    for channel in range(3):
        for level in (0.1, 0.5, 0.9):
            spread = np.ptp(np.quantile(prices[:, :, channel], [0.1, 0.9]))
            early, late = np.quantile(first[:, :, channel], level), np.quantile(last[:, :, channel], level)
            if name == "wild" or channel:  # a daily profile tells the halves of a day apart
                assert abs(early - late) < 0.08 * spread


def test_history_runs_on_into_the_episode() -> None:
    """Lag-1 autocorrelation across the seam is that of anywhere else."""
    prices = MODELS["wild"].simulate(0, range(3000), 20, history=20)[0][:, :, 1]
    seam = np.corrcoef(np.log(prices[19]), np.log(prices[20]))[0, 1]
    assert seam == pytest.approx(np.corrcoef(np.log(prices[9]), np.log(prices[10]))[0, 1], abs=0.01)
    assert seam > 0.98


def test_the_profile_belongs_to_the_hour_and_the_weekend() -> None:
    location = {"weekday": [float(h == 18) for h in range(24)], "weekend": [-2.0] * 24}
    config = garch(energy={"sd": 0.0})
    config["energy"]["location"] = location
    prices, start = load_prices(config).simulate(0, range(50), 288, history=288)
    tick = (start[None, :] - 288 + np.arange(576)[:, None]) % 2016
    energy = prices[:, :, 0]
    at_18 = (tick % 288 == 18 * 12 + 6) & (tick // 288 < 5)
    np.testing.assert_allclose(energy[at_18], 0.02 + 0.01 * math.sinh(1.0), rtol=0.06)
    deep_weekend = (tick // 288 >= 5) & (tick % 288 > 12) & (tick % 288 < 276)
    np.testing.assert_allclose(energy[deep_weekend], 0.02 + 0.01 * math.sinh(-2.0), rtol=1e-3)


@pytest.mark.parametrize(("name", "share"), [("ercot", (0.005, 0.02)), ("aemo_nsw", (0.15, 0.27))])
def test_shipped_energy_has_negative_prices_and_spikes(name: str, share: tuple[float, float]) -> None:
    energy = MODELS[name].simulate(0, range(2000), 288)[0][:, :, 0]
    assert share[0] < (energy < 0.0).mean() < share[1]
    assert energy.max() > 5.0 * np.median(energy)
    assert 0.01 < np.median(energy) < 0.06


def test_shipped_products_stand_at_their_level() -> None:
    prices = MODELS["ercot"].simulate(0, range(2000), 288)[0]
    assert np.median(prices[:, :, 1]) == pytest.approx(2.1, rel=0.05)
    assert np.median(prices[:, :, 2]) == pytest.approx(0.30, rel=0.02)


def test_the_energy_map_stays_within_floor_and_cap() -> None:
    config = garch(energy={"sd": 3.0, "floor": -0.05, "cap": 0.4})
    energy = load_prices(config).simulate(0, range(100), 300)[0][:, :, 0]
    assert energy.min() == pytest.approx(-0.05)
    assert energy.max() == pytest.approx(0.4)


def test_the_variance_is_clamped() -> None:
    part = {"alpha": 0.5, "beta": 0.45, "nu": 3.0, "sd": 0.01, "sd_bounds": [0.5, 2.0]}
    model = load_prices(garch(hash_=part))
    assert isinstance(model, GarchPrices)
    variance = model.arrays.states[:, 5]
    assert variance.min() >= (0.5 * 0.01) ** 2 * (1 - 1e-12)
    assert variance.max() <= (2.0 * 0.01) ** 2 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dynamics": "arch"}, "dynamics"),
        ({"enery": {}}, "enery"),
        ({"hash": {"level": "two"}}, "hash"),
        ({"hash_": {"alpha": 0.3, "beta": 0.7}}, "persistence"),
        ({"hash_": {"alpha": -0.1}}, "alpha"),
        ({"hash_": {"gamma": 0.1}}, "gjr_t"),
        ({"hash_": {"nu": 2.0}}, "nu"),
        ({"hash_": {"phi_slow": 1.0}}, "phi_slow"),
        ({"hash_": {"sd": math.nan}}, "sd"),
        ({"hash_": {"sd_bounds": [2.0, 3.0]}}, "sd_bounds"),
        ({"energy": {"floor": 1.0, "cap": 0.5}}, "floor"),
        ({"energy": {"spread": {**ONES, "weekday": [1.0] * 23}}}, "spread"),
        ({"energy": {"marginal": {"y": [0.0, 0.0], "price": [0.0, 1.0]}}}, "y must increase"),
        ({"correlation": {"energy_hash": 0.9, "energy_token": 0.9, "hash_token": -0.9}}, "positive definite"),
    ],
)
def test_impossible_parameters_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_prices(garch(**change))


def test_the_configuration_survives_a_round_trip() -> None:
    config = GarchConfig.model_validate({key: value for key, value in load_preset("prices", "ercot").items() if key != "name"})
    assert GarchConfig.model_validate(config.model_dump()) == config
