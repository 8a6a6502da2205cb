from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gridpilot.backtest.scores import coverage, diebold_mariano, pinball, quantile_crps, share_below, skill
from gridpilot.forecasting.base import QUANTILE_LEVELS


def normal_quantiles(n: int, sd: float = 1.0) -> np.ndarray:
    return np.tile(stats.norm.ppf(QUANTILE_LEVELS) * sd, (n, 1))


def test_pinball_by_hand() -> None:
    quantiles = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    # y = 3.5: below it by 2.5, 1.5, 0.5; above it by 0.5, 1.5
    expected = (0.05 * 2.5 + 0.25 * 1.5 + 0.5 * 0.5 + 0.25 * 0.5 + 0.05 * 1.5) / 5.0
    assert pinball(np.array([3.5]), quantiles) == pytest.approx(expected)
    assert np.isnan(pinball(np.array([np.nan]), quantiles)).all()


@given(st.lists(st.floats(-1e4, 1e4), min_size=5, max_size=5), st.floats(-1e4, 1e4))
def test_the_crps_of_quantiles_is_twice_their_pinball_loss(values: list[float], y: float) -> None:
    quantiles = np.sort(np.array(values))[None, :]
    assert quantile_crps(np.array([y]), quantiles) == pytest.approx(2.0 * pinball(np.array([y]), quantiles), abs=1e-9)


def test_the_crps_approximates_that_of_the_distribution() -> None:
    y = np.random.default_rng(0).standard_normal(4000)
    # Of a standard normal forecast, Gneiting and Raftery (2007): y (2 Phi(y) - 1) + 2 phi(y) - 1 / sqrt(pi)
    exact = y * (2.0 * stats.norm.cdf(y) - 1.0) + 2.0 * stats.norm.pdf(y) - 1.0 / math.sqrt(math.pi)
    # Five levels that leave out the tails come out an eighth below the integral.
    assert quantile_crps(y, normal_quantiles(len(y))).mean() == pytest.approx(0.88 * exact.mean(), rel=0.02)


def test_coverage_and_width_count_closed_intervals() -> None:
    truth = np.array([0.0, 1.0, 5.0, 5.1, np.nan])
    quantiles = np.tile([1.0, 2.0, 3.0, 4.0, 5.0], (5, 1))
    assert coverage(truth, quantiles, 0) == (0.5, 4.0)
    assert coverage(truth, quantiles, 1) == (0.0, 2.0)
    assert all(math.isnan(value) for value in coverage(np.array([np.nan]), quantiles[:1], 0))


def test_a_calibrated_forecast_lies_on_the_diagonal() -> None:
    y = np.random.default_rng(1).standard_normal(40_000)
    assert share_below(y, normal_quantiles(len(y))) == pytest.approx(np.array(QUANTILE_LEVELS), abs=0.01)
    assert coverage(y, normal_quantiles(len(y)), 0)[0] == pytest.approx(0.9, abs=0.01)
    assert share_below(np.array([3.0, 3.0]), np.full((2, 5), 3.0)) == pytest.approx(np.full(5, 0.5))  # a constant series
    assert np.isnan(share_below(np.array([np.nan]), normal_quantiles(1))).all()


@pytest.mark.parametrize(("loss", "reference", "expected"), [(2.0, 4.0, 0.5), (4.0, 2.0, -1.0), (0.0, 0.0, 0.0)])
def test_skill(loss: float, reference: float, expected: float) -> None:
    assert skill(loss, reference) == expected


def direct_diebold_mariano(d: np.ndarray, h: int) -> tuple[float, float]:
    """The formulas of the papers, written out with loops."""
    n = len(d)
    mean = sum(d) / n
    lags = max(h, int(4 * (n / 100) ** (2 / 9)))
    spectrum = 0.0
    for k in range(-lags, lags + 1):
        gamma = sum((d[t] - mean) * (d[t - abs(k)] - mean) for t in range(abs(k), n)) / n
        spectrum += (1 - abs(k) / (lags + 1)) * gamma
    statistic = mean / math.sqrt(spectrum / n) * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return statistic, 2.0 * float(stats.t.sf(abs(statistic), n - 1))


@pytest.mark.parametrize("horizon", [1, 3, 12])
def test_diebold_mariano_is_the_formula_of_the_papers(horizon: int) -> None:
    rng = np.random.default_rng(horizon)
    d = np.convolve(rng.standard_normal(150 + horizon), np.ones(horizon), mode="valid") + 0.3
    assert diebold_mariano(d, horizon) == pytest.approx(direct_diebold_mariano(d, horizon), rel=1e-9)


def test_the_variance_is_that_of_newey_and_west_by_others() -> None:
    from arch.covariance.kernel import Bartlett

    d = np.convolve(np.random.default_rng(5).standard_normal(405), np.ones(6), mode="valid")
    h = 6
    long_run = float(np.asarray(Bartlett(d[:, None], bandwidth=h).cov.long_run).item())
    n = len(d)
    expected = d.mean() / math.sqrt(long_run / n) * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    assert diebold_mariano(d, h)[0] == pytest.approx(expected, rel=1e-9)


def test_diebold_mariano_has_its_size_where_errors_overlap() -> None:
    """With a lag window of one it would reject far more often: overlapping errors look like many independent ones."""
    rng = np.random.default_rng(7)
    reject = []
    for _ in range(300):
        d = np.convolve(rng.standard_normal(423), np.ones(24), mode="valid")
        reject.append([diebold_mariano(d, h)[1] < 0.05 for h in (24, 1)])
    honest, naive = np.mean(reject, axis=0)
    assert honest < 0.16
    assert naive > 0.25


def test_missing_origins_keep_their_place() -> None:
    rng = np.random.default_rng(3)
    d = np.convolve(rng.standard_normal(511), np.ones(12), mode="valid") + 0.2
    holes = d.copy()
    holes[::7] = np.nan
    whole, part = diebold_mariano(d, 12)[0], diebold_mariano(holes, 12)[0]
    assert part == pytest.approx(whole, rel=0.15)
    # A hole at either end is no hole at all.
    assert diebold_mariano(np.r_[np.nan, d, np.nan, np.nan], 12) == pytest.approx(diebold_mariano(d, 12), rel=1e-9)


@pytest.mark.parametrize("d", [np.zeros(50), np.full(50, 0.1), np.full(50, np.nan), np.arange(4.0)])
def test_no_statistic_where_there_is_nothing_to_test(d: np.ndarray) -> None:
    assert all(math.isnan(value) for value in diebold_mariano(d, 4))
