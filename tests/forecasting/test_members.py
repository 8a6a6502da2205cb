"""The light members: the laws every one keeps, and what each is good at."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import QUANTILE_LEVELS, Forecaster, Row
from gridpilot.forecasting.conformal import Bands
from gridpilot.forecasting.knots import knot_steps, knot_weights
from gridpilot.forecasting.persistence import Persistence
from gridpilot.forecasting.registry import FORECASTER, build_forecaster
from gridpilot.forecasting.scenarios import ErrorBlocks, draw_scenarios
from gridpilot.forecasting.transform import AsinhScale
from gridpilot.presets import find
from tests.forecasting.series import DAY, LIGHT, build, check, feed, random_walk, rolling, season, seasonal, three

each_member = pytest.mark.parametrize("name", LIGHT)


@each_member
def test_forecasts_from_the_first_row(name: str) -> None:
    member = build(name, 3)
    with pytest.raises(ForecastError, match="before the first row"):
        member.forecast(5)
    for t, row in enumerate(three(40)):
        member.update(Row(t, row))
        if t < 3 or t % 13 == 0:
            forecast = member.forecast(300, scenarios=2)
            check(forecast, 300, 3, 2)
            assert forecast.step == t
            assert forecast.notes == ()
            assert (forecast.quantiles[:, 4] > forecast.quantiles[:, 0]).all()


@each_member
def test_equal_rows_give_equal_forecasts_and_asking_changes_nothing(name: str) -> None:
    prices = three(80)
    asked, silent = build(name, 3), build(name, 3)
    for t, row in enumerate(prices):
        asked.update(Row(t, row))
        asked.forecast(30, scenarios=2)
        silent.update(Row(t, row))
    for left, right in ((asked.forecast(30, scenarios=5), silent.forecast(30, scenarios=5)),):
        np.testing.assert_array_equal(left.mean, right.mean)
        np.testing.assert_array_equal(left.quantiles, right.quantiles)
        np.testing.assert_array_equal(left.scenarios, right.scenarios)
    np.testing.assert_array_equal(asked.forecast(30).quantiles, asked.forecast(50).quantiles[:30])


@each_member
def test_a_pickled_member_goes_on_identically(name: str) -> None:
    prices = three(320)
    member = feed(build(name, 3), prices[:300])
    copy: Forecaster = pickle.loads(pickle.dumps(member))
    feed(member, prices[300:], 300)
    feed(copy, prices[300:], 300)
    left, right = member.forecast(40, scenarios=3), copy.forecast(40, scenarios=3)
    np.testing.assert_array_equal(left.quantiles, right.quantiles)
    np.testing.assert_array_equal(left.scenarios, right.scenarios)


@each_member
def test_the_unit_of_the_prices_does_not_matter(name: str) -> None:
    prices = seasonal(310)
    forecast = feed(build(name), prices).forecast(60)
    scaled = feed(build(name), 1e4 * prices).forecast(60)
    np.testing.assert_allclose(scaled.quantiles, 1e4 * forecast.quantiles, rtol=1e-5)


@each_member
def test_a_week_more_on_the_clock_does_not_matter(name: str) -> None:
    prices = seasonal(310)
    early, late = feed(build(name), prices, 5), feed(build(name), prices, 5 + 7 * DAY)
    # Sines of larger angles round differently; nothing else may differ.
    np.testing.assert_allclose(early.forecast(60).quantiles, late.forecast(60).quantiles, rtol=1e-6)


@each_member
def test_channels_do_not_disturb_one_another(name: str) -> None:
    prices = three(300)
    together = feed(build(name, 3), prices).forecast(20)
    alone = feed(build(name), prices[:, 1:2]).forecast(20)
    np.testing.assert_allclose(together.quantiles[:, :, 1:2], alone.quantiles, rtol=1e-9)


@each_member
@pytest.mark.parametrize("steps_per_day", [24, 96])
def test_other_steps_a_day(name: str, steps_per_day: int) -> None:
    prices = season(3 * steps_per_day, 5.0, steps_per_day)[:, None]
    member = feed(build(name, 1, steps_per_day), prices)
    check(member.forecast(7 * steps_per_day), 7 * steps_per_day, 1)


@pytest.mark.parametrize("name", ["rls", "harmonic_ar", "seasonal_naive", "kalman"])
def test_a_clean_daily_profile_is_foreseen(name: str) -> None:
    rows = 4 * DAY + 60
    path = season(rows + 144, 12.0)
    forecast = feed(build(name), path[:rows, None]).forecast(144)
    naive = np.abs(path[rows:] - path[rows - 1]).mean()
    assert np.abs(path[rows:] - forecast.quantiles[:, 2, 0]).mean() < 0.5 * naive


def test_least_squares_is_near_the_best_on_process_a() -> None:
    skill, inside = rolling(build("rls"), seasonal(15 * DAY, 3), 6 * DAY, [12, 72], every=8)
    assert skill[0] > 0.24
    assert skill[1] > 0.6
    assert ((inside > 0.85) & (inside < 0.95)).all()


@pytest.mark.parametrize("tails", [None, 2.5])
def test_bands_of_persistence_cover_on_random_walks(tails: float | None) -> None:
    _, inside = rolling(build("persistence"), random_walk(18 * DAY, 1, tails), 5 * DAY, [1, 3, 12, 36], every=8)
    assert ((inside > 0.86) & (inside < 0.94)).all()


def test_bands_breathe_with_volatility() -> None:
    rng = np.random.default_rng(0)
    loud = (np.arange(12 * DAY) // 144) % 2 == 1
    prices = 50.0 + np.cumsum(rng.standard_normal(12 * DAY) * np.where(loud, 1.0, 0.1))[:, None]
    member = feed(build("persistence"), prices[: 11 * DAY + 60])
    calm = member.forecast(3).quantiles
    feed(member, prices[11 * DAY + 60 : 11 * DAY + 240], 11 * DAY + 60)
    wild = member.forecast(3).quantiles
    assert (wild[:, 4] - wild[:, 0] > 3.0 * (calm[:, 4] - calm[:, 0])).all()


def test_the_seasonal_naive_repeats_the_median_of_three_days() -> None:
    prices = season(8 * DAY, 12.0)[:, None]
    prices[7 * DAY : 8 * DAY] += 20.0  # one odd day does not repeat itself
    forecast = feed(build("seasonal_naive"), prices).forecast(DAY)
    np.testing.assert_allclose(forecast.quantiles[200:, 2, 0], season(DAY, 12.0)[200:], atol=0.2)


def test_a_failing_member_answers_with_the_last_price_and_a_wide_band() -> None:
    member = feed(build("persistence"), random_walk(50))
    member._predict = lambda horizon: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    forecast = member.forecast(10, scenarios=4)
    check(forecast, 10, 1, 4)
    assert "ZeroDivisionError" in forecast.notes[-1]
    assert forecast.quantiles[0, 4, 0] - forecast.quantiles[0, 0, 0] > 3.0


@pytest.mark.parametrize("horizon", [0, -1, 7 * DAY + 1, 2.5, True])
def test_impossible_horizons_are_refused(horizon: int) -> None:
    member = feed(build("persistence"), random_walk(3))
    with pytest.raises(ForecastError, match="horizon is"):
        member.forecast(horizon)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("oracle", "expected one of"),
        ("no_such_module.Mine", "no module"),
        ("gridpilot.forecasting.base.Row", "not a subclass"),
        ("gridpilot.forecasting.base.Missing", "has no 'Missing'"),
        ({"name": "rls", "memory": 3}, "takes memory_days, shrinkage"),
        ({"name": "rls", "memory_days": -1.0}, "memory_days is -1.0"),
        ({"memory_days": 1.0}, "name is None"),
    ],
)
def test_what_cannot_be_built_is_named(spec: str | dict[str, object], message: str) -> None:
    with pytest.raises(ForecastError, match=message):
        build_forecaster(spec)


def test_steps_per_day_and_channels_are_checked() -> None:
    with pytest.raises(ForecastError, match="steps_per_day is 100"):
        Persistence(("energy",), 100)
    with pytest.raises(ForecastError, match="channels is empty"):
        Persistence((), 288)


@each_member
def test_a_registered_forecaster_has_a_class_of_its_name(name: str) -> None:
    assert find(FORECASTER, name).name == name


@pytest.mark.parametrize("steps_per_day", [24, 96, 288, 1440])
def test_knots_run_from_a_step_to_a_day(steps_per_day: int) -> None:
    knots = knot_steps(steps_per_day)
    assert (knots[0], knots[-1]) == (1, steps_per_day)
    assert (np.diff(knots) > 0).all()
    below, share = knot_weights(knots, 2 * steps_per_day)
    assert ((share >= 0.0) & (share <= 1.0)).all()
    at_knots = below[knots - 1] + share[knots - 1]
    np.testing.assert_allclose(at_knots, np.arange(len(knots)), atol=1e-12)


def test_the_scale_encodes_and_decodes_and_ignores_spikes() -> None:
    rng = np.random.default_rng(1)
    prices = 30.0 + rng.standard_normal((500, 1))
    scale, spiked = AsinhScale(1, DAY), AsinhScale(1, DAY)
    for t, row in enumerate(prices):
        scale.learn(row)
        spiked.learn(row + (20_000.0 if t % 50 == 7 else 0.0))
    np.testing.assert_allclose(spiked.scale, scale.scale, rtol=0.2)
    values = np.array([[-1000.0], [0.0], [30.0], [20_000.0]])
    np.testing.assert_allclose(scale.decode(scale.encode(values)), values, rtol=1e-9, atol=1e-9)


def test_bands_keep_coverage_where_the_distribution_shifts() -> None:
    rng = np.random.default_rng(2)
    knots = np.array([1, 2])
    bands = Bands(1, knots, DAY)
    inside, held = [], np.zeros(1, dtype=np.bool_)
    z, offsets = np.zeros(1), None
    for t in range(4000):
        z = rng.standard_normal(1) * (1.0 if t < 2000 else 4.0) + (0.0 if t < 3000 else 3.0)
        if offsets is not None and t > 500:
            inside.append(offsets[0, 0, 0] <= z[0] <= offsets[0, 0, -1])
        bands.learn(t, z, held)
        offsets = bands.issue(t, z, np.zeros((2, 1)))
    assert 0.88 < np.mean(inside) < 0.92


def test_half_a_day_of_spikes_does_not_wind_up_the_bands_of_the_day_ahead() -> None:
    widths = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        z = np.zeros(27 * DAY)
        for t in range(1, len(z)):
            z[t] = 0.97 * z[t - 1] + 0.1 * rng.standard_normal()
        z[25 * DAY : 25 * DAY + DAY // 2] += 5.0  # a hundred times the usual price, on the asinh scale
        bands, held, width = Bands(1, np.array([1, 72, DAY]), DAY), np.zeros(1, dtype=np.bool_), []
        for t, value in enumerate(z[:, None]):
            bands.learn(t, value, held)
            offsets = bands.issue(t, value, np.zeros((3, 1)))
            width.append(offsets[-1, 0, -1] - offsets[-1, 0, 0])
        widths.append(np.mean(width[26 * DAY + DAY // 2 :]) / np.median(width[18 * DAY : 25 * DAY]))
    # Spikes were one part in fifty of what was seen: the bands are wider for it, by less than their own width.
    assert 1.0 < np.mean(widths) < 2.0


def test_scenarios_have_the_predicted_marginals_and_the_dependence_of_the_past() -> None:
    rng = np.random.default_rng(3)
    knots = np.array([1, 4, 12])
    store = ErrorBlocks(knots, 2, 1)
    errors = np.zeros((400, 3, 2))
    common = rng.standard_normal((400, 1, 1))
    errors[:, :, :1] = common + 0.1 * rng.standard_normal((400, 3, 1))
    errors[:, :, 1:] = -common + 0.1 * rng.standard_normal((400, 3, 1))
    for t in range(400):
        store.learn(np.array([errors[t - k, i] if t >= k else np.zeros(2) for i, k in enumerate(knots)]))
    levels = np.array(QUANTILE_LEVELS)
    score = np.array([-1.645, -0.674, 0.0, 0.674, 1.645])
    quantiles = 10.0 + np.sqrt(np.arange(1, 13))[:, None, None] * score[None, :, None] * np.ones((1, 1, 2))
    paths = draw_scenarios(quantiles, levels, 300, seed=1, knots=knots, blocks=store.blocks())
    assert paths.shape == (300, 12, 2)
    for q, level in enumerate(QUANTILE_LEVELS):
        np.testing.assert_allclose((paths < quantiles[None, :, q]).mean(axis=0), level, atol=0.01)
    assert np.corrcoef(paths[:, 11, 0], paths[:, 11, 1])[0, 1] < -0.9
    assert np.corrcoef(paths[:, 3, 0], paths[:, 11, 0])[0, 1] > 0.9
    # Without a past: a random walk, products independent.
    plain = draw_scenarios(quantiles, levels, 300, seed=1)
    np.testing.assert_allclose(np.corrcoef(plain[:, 2, 0], plain[:, 11, 0])[0, 1], 0.5, atol=0.12)
    assert abs(np.corrcoef(plain[:, 5, 0], plain[:, 5, 1])[0, 1]) < 0.2
