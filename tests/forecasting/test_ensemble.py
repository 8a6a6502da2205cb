"""The ensemble: weights, the guard, members that fail, and its promises on processes that are known."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import Forecaster, Row
from gridpilot.forecasting.ensemble import Ensemble
from gridpilot.forecasting.persistence import Persistence
from gridpilot.forecasting.rls import RecursiveLeastSquares
from gridpilot.forecasting.weights import Aggregation
from tests.forecasting.series import (
    DAY,
    FloatArray,
    autoregression,
    build,
    check,
    feed,
    random_walk,
    rolling,
    season,
    seasonal,
    three,
)


class Plain(Forecaster):
    """The last price, and a band around it."""

    def _start(self) -> None:
        self._step = 0

    def _learn(self, step: int, prices: FloatArray) -> None:
        self._step, self._now = step, prices

    def _predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        mean = np.repeat(self._now[None], horizon, axis=0)
        return mean, mean[:, None] + np.arange(-2.0, 3.0)[None, :, None]


class Oracle(Plain):
    """Knows a clean daily profile."""

    name = "oracle"

    def _predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        step = self._step + 1 + np.arange(horizon)
        path = season(2 * DAY, 12.0)[step % DAY][:, None]
        return path, np.repeat(path[:, None], 5, axis=1)


class Failing(Plain):
    """Fails to forecast on odd steps, and to learn on every seventh."""

    name = "failing"

    def _learn(self, step: int, prices: FloatArray) -> None:
        super()._learn(step, prices)
        if step % 7 == 0:
            raise ValueError("cannot learn this")

    def _predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        if self._step % 2:
            raise ValueError("cannot forecast this")
        return super()._predict(horizon)


class NotFinite(Plain):
    """Forecasts nan."""

    name = "not_finite"

    def _predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        mean, quantiles = super()._predict(horizon)
        return mean * np.nan, quantiles * np.nan


def ensemble(*members: Forecaster, channels: tuple[str, ...] = ("c0",)) -> Ensemble:
    return Ensemble(channels, DAY, members)


def test_a_better_member_gets_the_weight() -> None:
    forecaster = ensemble(Oracle(("c0",)))
    feed(forecaster, season(3 * DAY, 12.0)[:, None])
    forecast = forecaster.forecast(72)
    assert sum(forecast.weights.values()) == pytest.approx(1.0)
    assert forecast.weights["oracle"] > 0.75
    naive = np.abs(season(DAY, 12.0)[:72] - season(1, 12.0)[0]).mean()
    assert np.abs(forecast.quantiles[:, 2, 0] - season(DAY, 12.0)[:72]).mean() < 0.1 * naive


def test_on_a_random_walk_nothing_beats_persistence_and_nothing_loses_to_it() -> None:
    skill, inside = rolling(build("ensemble"), random_walk(6 * DAY, 7), 2 * DAY, [1, 3, 12, 24], every=6)
    assert (skill > -0.01).all()
    assert ((inside > 0.82) & (inside < 0.97)).all()


def test_members_that_mislead_get_no_weight() -> None:
    forecaster = ensemble(Oracle(("c0",)), RecursiveLeastSquares(("c0",)))
    forecast = feed(forecaster, random_walk(3 * DAY, 2)).forecast(72)
    assert forecast.weights["oracle"] < 0.01
    assert forecast.weights["persistence"] > 0.98


def test_failing_members_are_left_out_with_a_note() -> None:
    channels = ("energy", "hash", "token")
    forecaster = ensemble(Failing(channels), NotFinite(channels), RecursiveLeastSquares(channels), channels=channels)
    prices = three(340)
    for t, row in enumerate(prices):
        forecaster.update(Row(t, row))
    forecast = forecaster.forecast(30, scenarios=4)  # the last step, 339, is odd
    check(forecast, 30, 3, 4)
    assert any("failing could not forecast: ValueError: cannot forecast this" in note for note in forecast.notes)
    assert any("not_finite could not forecast" in note for note in forecast.notes)
    assert set(forecast.weights) == {"persistence", "failing", "not_finite", "rls"}
    forecaster.update(Row(343, prices[-1]))
    forecaster.update(Row(344, prices[-1]))
    assert not any("failing" in note for note in forecaster.forecast(30).notes)
    check(forecaster.forecast(2 * DAY), 2 * DAY, 3)


def test_a_missing_library_is_a_note() -> None:
    forecaster = Ensemble(("c0",), DAY, ["rls", {"name": "tests.forecasting.series.NeedsExtra"}])
    forecast = feed(forecaster, random_walk(5)).forecast(3)
    assert any("NeedsExtra" in note and "pip install" in note for note in forecast.notes)
    assert set(forecast.weights) == {"persistence", "rls"}


def test_members_of_another_stream_and_ensembles_are_refused() -> None:
    with pytest.raises(ForecastError, match="steps a day"):
        Ensemble(("c0",), DAY, [Persistence(("c0",), 96), RecursiveLeastSquares(("c0",), 96)])
    with pytest.raises(ForecastError, match="ensemble itself"):
        Ensemble(("c0",), DAY, [Ensemble(("c0",), DAY, [])])
    with pytest.raises(ForecastError, match="expected one of"):
        Ensemble(("c0",), DAY, ["oracle"])


def test_twice_the_same_member_has_two_names() -> None:
    forecaster = ensemble(RecursiveLeastSquares(("c0",)), RecursiveLeastSquares(("c0",), memory_days=5.0))
    assert forecaster.member_names() == ("persistence", "rls", "rls_2")


def test_persistence_alone_is_persistence() -> None:
    prices = random_walk(60)
    forecast = feed(ensemble(), prices).forecast(20)
    np.testing.assert_allclose(forecast.quantiles[:, 2], prices[-1, 0])
    assert forecast.weights == {"persistence": 1.0}


def test_scenarios_have_the_ensembles_marginals() -> None:
    forecaster = feed(build("ensemble", 3), three(360))
    forecast = forecaster.forecast(72, scenarios=200)
    check(forecast, 72, 3, 200)
    below = (forecast.scenarios[:, :, None, :] <= forecast.quantiles[None]).mean(axis=0)  # (H, Q, C)
    # Except where two quantiles are one, at the end of their range.
    assert (np.abs(below - np.array([0.05, 0.25, 0.5, 0.75, 0.95])[:, None]) > 0.03).mean() < 0.1
    # An error lasts: neighbouring steps agree far more than the ends of the horizon.
    near = np.corrcoef(forecast.scenarios[:, 60, 1], forecast.scenarios[:, 61, 1])[0, 1]
    far = np.corrcoef(forecast.scenarios[:, 2, 1], forecast.scenarios[:, 71, 1])[0, 1]
    assert near > 0.9
    assert far < 0.8 * near


def test_aggregation_finds_the_best_convex_combination() -> None:
    rng = np.random.default_rng(0)
    learner = Aggregation(3, 1, np.array([1, 2]), DAY)
    held = np.zeros(1, dtype=np.bool_)
    forecasts = np.zeros((3, 2, 1))
    truth = 0.0
    for _ in range(3000):
        learner.learn(np.array([truth]), held)
        truth = rng.standard_normal()
        # Each of two members is half wrong, in opposite directions; the anchor knows nothing.
        error = 2.0 * rng.standard_normal()
        forecasts[1], forecasts[2] = truth + error, truth - error
        shares = learner.combine(forecasts)
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)
    np.testing.assert_allclose(shares[1:, 0, 0], 0.5, atol=0.1)


def test_a_member_without_a_forecast_leaves_its_share_to_the_others() -> None:
    learner = Aggregation(3, 1, np.array([1, 2]), DAY)
    held = np.zeros(1, dtype=np.bool_)
    rng = np.random.default_rng(1)
    for t in range(600):
        learner.learn(rng.standard_normal(1), held)
        forecasts = np.zeros((3, 2, 1))
        forecasts[0] = 5.0
        forecasts[2] = np.nan if t == 599 else 0.1
        shares = learner.combine(forecasts)
    assert (shares[2] == 0.0).all()
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)
    assert shares[1, 0, 0] > 0.8


@pytest.mark.slow
def test_promises_on_process_a() -> None:
    skill, inside = rolling(build("ensemble"), seasonal(40 * DAY, 11), 10 * DAY, [12, 72])
    truth = _best(40 * DAY, 0.97, 12.0, 11, [12, 72])
    assert (skill > 0.9 * truth).all()
    assert ((inside > 0.87) & (inside < 0.93)).all()


@pytest.mark.slow
def test_promises_on_process_b() -> None:
    prices = (season(60 * DAY, 4.0) + autoregression(60 * DAY, 0.998, 12))[:, None]
    skill, inside = rolling(build("ensemble"), prices, 20 * DAY, [1, 36, 72])
    truth = _best(60 * DAY, 0.998, 4.0, 12, [1, 36, 72])
    assert (skill[1:] > 0.4 * truth[1:]).all()
    assert skill[0] > -0.01
    assert ((inside > 0.87) & (inside < 0.93)).all()


def _best(rows: int, phi: float, amplitude: float, seed: int, horizons: list[int]) -> FloatArray:
    """Skill of the true conditional mean."""
    profile, x = season(rows, amplitude), autoregression(rows, phi, seed)
    result = []
    for h in horizons:
        truth, now = profile[h:] + x[h:], profile[:-h] + x[:-h]
        result.append(1.0 - np.abs(x[h:] - phi**h * x[:-h]).mean() / np.abs(truth - now).mean())
    return np.array(result)
