"""Calibration: it finds what made a series, and refuses to call a bad fit good."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gridpilot.errors import CalibrationError
from gridpilot.prices import load_prices
from gridpilot.prices.calibrate import Calibration, calibrate
from gridpilot.prices.calibrate_fit import TwoScales, innovations, marginal_levels, two_scales
from gridpilot.prices.calibrate_series import RecordedSeries
from gridpilot.prices.calibrate_table import compare, statistics
from tests.prices.examples import garch

Array = np.ndarray


def series(values: Array, step: int = 1) -> RecordedSeries:
    """A series that begins on a Monday at midnight."""
    tick = np.arange(len(values)) * step
    return RecordedSeries("a test", values, step, tick % 288 // 12, tick // 288 % 7 >= 5, "a test", step <= 12, ())


def path(config: dict[str, Any], channel: int, ticks: int) -> Array:
    return np.ascontiguousarray(load_prices(config).simulate(11, [5], ticks)[0][:, 0, channel])


@pytest.fixture(scope="module")
def known() -> Calibration:
    """A product whose every parameter is known, 60 days of five minutes."""
    true = {"phi_slow": 0.98, "sd": 0.02, "alpha": 0.15, "beta": 0.75, "nu": 5.0}
    return calibrate(series(path(garch(token=true), 2, 17280)), "token", "garch_t", garch(), hold_out=False)


def test_known_parameters_are_found(known: Calibration) -> None:
    part = known.part
    assert part["phi_slow"] == pytest.approx(0.98, abs=0.01)
    assert part["transient"] < 0.1
    assert part["sd"] == pytest.approx(0.02, rel=0.1)
    assert part["alpha"] == pytest.approx(0.15, abs=0.04)
    assert part["alpha"] + part["beta"] == pytest.approx(0.9, abs=0.04)
    assert part["nu"] == pytest.approx(5.0, abs=1.0)
    assert known.good, known.comparison.disagreeing


def test_the_part_is_a_configuration(known: Calibration) -> None:
    prices = load_prices({**garch(), "token": known.part}).simulate(0, range(4), 10)[0]
    assert np.isfinite(prices).all()


@pytest.mark.parametrize("dynamics", ["gjr_t", "egarch_t"])
def test_asymmetry_is_found(dynamics: str) -> None:
    alpha, gamma, beta = (0.05, 0.2, 0.75) if dynamics == "gjr_t" else (0.2, -0.15, 0.9)
    true = {"dynamics": dynamics, "phi_slow": 0.9, "sd": 0.01, "alpha": alpha, "gamma": gamma, "beta": beta, "nu": 6.0}
    fitted = calibrate(series(path(garch(hash_=true), 1, 12000)), "hash", dynamics, garch(), hold_out=False)  # type: ignore[arg-type]
    assert fitted.part["gamma"] == pytest.approx(gamma, abs=0.06)
    assert fitted.part["beta"] == pytest.approx(beta, abs=0.06)
    assert fitted.part["dynamics"] == dynamics


def test_energy_with_a_daily_profile_spikes_and_negative_prices() -> None:
    rng = np.random.default_rng(3)
    hour = np.arange(180 * 24) % 24
    deviation = np.zeros(len(hour))
    for t in range(1, len(hour)):
        deviation[t] = 0.8 * deviation[t - 1] + 0.4 * rng.standard_t(4)
    price = 25.0 + 10.0 * np.sinh(np.sin(2.0 * np.pi * (hour - 12) / 24.0) + deviation)
    fitted = calibrate(series(price, step=12), "energy", "garch_t", garch(), factor=1e-3)
    assert fitted.good, [(row.name, row.reason) for row in fitted.comparison.rows if not row.agrees]
    assert fitted.held_out is not None
    assert (price < 0.0).mean() > 0.05
    rows = {row.name: row for row in fitted.comparison.rows}
    assert rows["share negative"].simulated == pytest.approx((price < 0.0).mean(), rel=0.25)
    of_six = fitted.simulated[:, np.arange(len(price)) % 24 == 18]
    assert np.median(of_six) == pytest.approx(np.median(price[hour == 18]), rel=0.1)
    assert fitted.part["floor"] == pytest.approx(price.min() / 1000.0)
    assert fitted.part["cap"] == pytest.approx(price.max() / 1000.0)


def test_explosive_variance_is_capped() -> None:
    rng = np.random.default_rng(0)
    e, h = np.empty(6000), 1.0
    for t in range(len(e)):
        e[t] = math.sqrt(h) * rng.standard_normal()
        h = min(0.02 + 0.45 * e[t] ** 2 + 0.6 * h, 1e4)  # persistence 1.05
    fitted = calibrate(series(np.exp(0.001 * np.cumsum(e))), "token", "garch_t", garch(), hold_out=False)
    assert fitted.fit.persistence > 0.98
    assert fitted.part["alpha"] + fitted.part["beta"] < 0.98 + 1e-9
    assert any("capped" in note for note in fitted.fit.notes)


@pytest.mark.parametrize("kind", ["trend", "break", "random walk"])
def test_a_fit_that_does_not_reproduce_its_data_is_not_good(kind: str) -> None:
    rng = np.random.default_rng(1)
    n = 3000
    values = {
        "trend": 1.0 + np.arange(n) / 50.0,
        "break": np.where(np.arange(n) < n // 2, 20.0, 200.0) + rng.standard_normal(n),
        "random walk": 30.0 + np.cumsum(rng.standard_normal(n)),
    }[kind]
    fitted = calibrate(series(values, step=12), "energy", "garch_t", garch(), factor=1e-3, hold_out=False)
    assert not fitted.good
    assert fitted.comparison.disagreeing


def test_averages_of_a_random_walk_are_recognised() -> None:
    walk = path(garch(token={"phi_slow": 0.99999, "sd": 0.002}), 2, 288 * 400).reshape(400, 288).mean(axis=1)
    fitted = calibrate(series(walk, step=288), "token", "garch_t", garch(), hold_out=False)
    assert fitted.sampling == "average"
    assert fitted.part["sd"] == pytest.approx(0.002, rel=0.15)


def test_a_product_must_be_positive() -> None:
    with pytest.raises(CalibrationError, match="0 in row 4"):
        calibrate(series(np.r_[1.0, 2.0, 3.0, 0.0, np.ones(300)]), "hash", "garch_t", garch())


def test_two_time_scales_are_found_and_refined() -> None:
    rng = np.random.default_rng(0)
    true = TwoScales(0.7, 0.95, 0.4, 1.0)
    w = true.transient()
    e = rng.standard_normal(200_000)
    slow = fast = 0.0
    x = np.empty(len(e))
    for t, shock in enumerate(e):
        slow, fast = 0.95 * slow + (1.0 - w) * shock, 0.4 * fast + w * shock
        x[t] = slow + fast
    found = two_scales(x, 1)
    assert found.rho_slow == pytest.approx(0.95, abs=0.01)
    assert found.share == pytest.approx(0.7, abs=0.05)
    np.testing.assert_allclose(innovations(x, true, integrated=False)[100:], e[101:], atol=1e-9)
    fine = true.after(3)
    assert fine.rho_slow**3 == pytest.approx(0.95)
    assert fine.rho_fast**3 == pytest.approx(0.4)


def test_levels_reach_half_an_observation_into_the_tails() -> None:
    levels = marginal_levels(10_000)
    assert levels[0] == pytest.approx(0.5 / 10_000)
    assert levels[-1] == pytest.approx(1.0 - 0.5 / 10_000)
    assert (np.diff(levels) > 0.0).all()


def test_statistics_of_a_known_series() -> None:
    x = np.tile([-1.0, 1.0, 1.0, 1.0], 500)
    sd, _, median, _, negative, lag1, lag12, squares, kurtosis = statistics(x)
    assert sd == pytest.approx(math.sqrt(0.75))
    assert (median, negative) == (1.0, 0.25)
    assert lag1 == pytest.approx(-1.0 / 3.0, abs=1e-3)
    assert lag12 == pytest.approx(1.0, abs=0.01)
    assert squares == pytest.approx(-1.0 / 3.0, abs=1e-3)
    assert kurtosis == pytest.approx(7.0 / 3.0)


def test_the_table_judges_each_row() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal(4000)
    same = rng.standard_normal((50, 4000))
    assert compare(real, same, "energy").good
    wide = compare(real, 1.5 * same, "energy")
    assert wide.disagreeing == ("sd", "1 % quantile", "99 % quantile")
    assert "allowed 25%" in wide.rows[0].reason
    assert compare(real, same + 1.0, "energy").disagreeing[0] == "1 % quantile"
    smooth = np.cumsum(same, axis=1) / 30.0
    assert "autocorrelation, lag 1" in compare(real, smooth, "energy").disagreeing
    real[2000] = 100.0  # one value that no path has
    spiked = {row.name: row for row in compare(real, same, "energy").rows}
    assert spiked["kurtosis"].agrees
    assert "one value decides" in spiked["kurtosis"].reason
    assert not spiked["sd"].agrees
