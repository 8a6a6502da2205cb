from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from gridpilot.backtest import presets
from gridpilot.backtest.presets import simulate_preset
from gridpilot.backtest.processes import PROCESSES, simulate_process
from gridpilot.backtest.rolling import plan_origins, run_best
from gridpilot.prices.load import load_prices
from gridpilot.setup import load_preset


@pytest.mark.parametrize(
    ("name", "one_hour", "six_hours"), [("seasonal", 0.37, 0.76), ("near_random_walk", 0.068, 0.2), ("random_walk", 0, 0)]
)
def test_the_processes_leave_as_much_to_win_as_the_design_says(name: str, one_hour: float, six_hours: float) -> None:
    series = simulate_process(name, 1000 * 288, seed=1)
    price = series.prices[:, 0]
    assert series.best is not None
    for steps, expected in ((12, one_hour), (72, six_hours)):
        rows = np.arange(0, len(price) - steps, 23)
        best = np.array([series.best.forecast(row, np.array([steps]))[0][0, 0] for row in rows])
        won = 1.0 - np.abs(best - price[rows + steps]).mean() / np.abs(price[rows] - price[rows + steps]).mean()
        assert won == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_the_true_quantiles_of_a_process_cover_what_they_say(name: str) -> None:
    series = simulate_process(name, 60 * 288, seed=2)
    origins = plan_origins(series, [5, 60, 360], every=5)
    run = run_best(series, origins)
    assert run is not None
    truth = series.prices[np.minimum(origins.rows[:, None] + origins.horizons, len(series.prices) - 1), 0]
    inside = (truth >= run.quantiles[:, :, 0, 0]) & (truth <= run.quantiles[:, :, 4, 0])
    assert inside.mean(axis=0) == pytest.approx(np.full(3, 0.9), abs=0.04)


def test_equal_seeds_give_equal_series() -> None:
    config = load_preset("prices", "ercot")
    for simulate in (
        lambda rows, seed: simulate_process("seasonal", rows, seed),
        lambda rows, seed: simulate_preset(config, rows, seed),
    ):
        one, again, other = simulate(400, 3), simulate(400, 3), simulate(400, 4)
        assert one.sha256 == again.sha256 != other.sha256
        assert np.array_equal(one.prices, again.prices)


def without_noise(config: dict[str, Any]) -> dict[str, Any]:
    for product in ("energy", "hash", "token"):
        config[product]["sd"] = 0.0
    return config


def test_a_path_without_noise_is_that_of_the_simulator() -> None:
    """The map from state to price, and the clock, are the price model's own."""
    config = {**without_noise(load_preset("prices", "ercot")), "weekday": 4}
    series = simulate_preset(config, 2016, 0)
    prices, start = load_prices(config).simulate(0, [0], 2016)
    assert series.first_step == int(start[0])
    assert np.allclose(series.prices, prices[:, 0], rtol=1e-9)


@pytest.mark.parametrize("name", ["aemo_nsw"])
def test_a_path_has_the_distribution_of_the_simulator(name: str) -> None:
    config = load_preset("prices", name)
    own = np.concatenate([simulate_preset(config, 30 * 288, seed).prices for seed in range(6)])
    theirs = load_prices(config).simulate(0, np.arange(240), 288)[0].reshape(-1, 3)
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    scale = np.quantile(theirs, 0.9, axis=0) - np.quantile(theirs, 0.1, axis=0)
    gap = np.abs(np.quantile(own, levels, axis=0) - np.quantile(theirs, levels, axis=0)) / scale
    assert gap[:, 0].max() < 0.12
    assert gap[:, 2].max() < 0.12
    assert gap[:, 1].max() < 1.0  # hash wanders for weeks: six paths pin it down only roughly


def test_the_best_possible_of_a_garch_preset_is_its_conditional_distribution() -> None:
    """With constant normal variance the log of the hash price is an AR(1): median and spread are known in closed form."""
    config = load_preset("prices", "ercot")
    config["hash"] |= {"phi_slow": 0.99, "phi_fast": 0.0, "transient": 0.0, "sd": 0.01, "alpha": 0.0, "beta": 0.0, "nu": 1e6}
    series = simulate_preset(config, 500, 5)
    assert series.best is not None
    horizons = np.array([1, 12, 72])
    level, row = config["hash"]["level"], 321
    x = np.log(series.prices[row, 1] / level)
    _, quantiles = series.best.forecast(row, horizons)
    median = np.log(quantiles[:, 2, 1] / level)
    width = np.log(quantiles[:, 4, 1] / quantiles[:, 0, 1])
    sd = 0.01 * np.sqrt((1.0 - 0.99 ** (2 * horizons)) / (1.0 - 0.99**2))
    assert median == pytest.approx(0.99**horizons * x, abs=1e-12)
    assert width == pytest.approx(2 * 1.645 * sd, rel=0.15)


@pytest.mark.parametrize("name", ["ercot", "aemo_nsw"])
def test_the_exact_median_is_that_of_the_paths(name: str) -> None:
    series = simulate_preset(load_preset("prices", name), 700, 2)
    assert series.best is not None
    horizons = np.array([1, 12, 100])
    by_paths = dataclasses.replace(series.best, symmetric=False)  # type: ignore[type-var]
    for row in (300, 400, 500):
        exact = series.best.median(row, horizons)
        _, quantiles = by_paths.forecast(row, horizons)
        assert exact is not None
        assert by_paths.median(row, horizons) is None
        # Half of the paths lie below it, give or take four standard errors: 0.05 / 0.45 of the way to the next quantiles is generous.
        spread = quantiles[:, 3] - quantiles[:, 1]
        assert (np.abs(exact - quantiles[:, 2]) < 0.16 * spread + 1e-9).all()


def test_the_best_possible_of_the_event_starts_from_the_price() -> None:
    config = load_preset("prices", "mara_event")
    series = simulate_preset(config, 600, 1)
    assert series.best is not None
    mean, quantiles = series.best.forecast(300, np.array([1, 6]))
    step = np.array([config[name]["step"] for name in ("energy", "hash", "token")])
    high = np.array([config[name]["high"] * config[name]["scale"] for name in ("energy", "hash", "token")])
    assert (np.abs(mean[0] / series.prices[300] - 1.0) < step).all()
    assert (quantiles <= high + 1e-12).all()
    assert (np.diff(quantiles, axis=1) >= 0.0).all()


def test_the_best_possible_beats_persistence_on_a_preset() -> None:
    series = simulate_preset(load_preset("prices", "ercot"), 40 * 288, 0)
    origins = plan_origins(series, [60, 360], every=7)
    run = run_best(series, origins)
    assert run is not None
    assert np.isfinite(run.mean[:, 0, 0]).sum() == presets.ORIGINS
    rows = origins.rows[:-12]
    assert np.isfinite(run.quantiles[:, :, 2]).all()
    truth = series.prices[rows[:, None] + origins.horizons, 0]
    error = np.abs(run.quantiles[:-12, :, 2, 0] - truth).mean(axis=0)
    assert (error < np.abs(series.prices[rows, 0][:, None] - truth).mean(axis=0)).all()
