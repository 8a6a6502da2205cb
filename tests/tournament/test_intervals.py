from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t

from gridpilot.tournament.intervals import MIN_EPISODES, Estimate, above_zero, capture_percent, mean, ratio_percent

FloatArray = npt.NDArray[np.float64]


def play_days(rng: np.random.Generator, days: int) -> dict[str, FloatArray]:
    """Days like those of the default market, $ a site: gains over truthful of a near planner, a rule, and of perfect foresight.

    On one day in twelve prices spike: foresight gains much, and the planner misses most of it, so that its capture has the skewness (-4.7)
    and kurtosis (27) of mpc's. One day in a thousand holds three tenths of the variance of "rare", whose skewness is 5.
    """
    spike = (rng.random(days) < 0.08) * rng.gamma(3.0, 38.0, days)
    base = 1220.0 + 190.0 * rng.standard_normal(days)
    foresight = 105.0 + 30.0 * rng.standard_normal(days) + 0.8 * spike
    planner = foresight - 4.0 * rng.exponential(1.0, days) - 0.7 * spike
    rule = 0.4 * foresight + 30.0 * rng.standard_normal(days)
    rare = 40.0 + 35.0 * rng.standard_normal(days) + 720.0 * (rng.random(days) < 0.001)
    return {"base": base, "foresight": foresight, "planner": planner, "rule": rule, "rare": rare}


def test_mean_by_hand() -> None:
    x = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
    half = t.ppf(0.975, 7) * np.std(x, ddof=1) / math.sqrt(8)
    found = mean(x)
    assert (found.value, found.low, found.high) == pytest.approx((x.mean(), x.mean() - half, x.mean() + half))
    assert found.reason is None


def test_ratio_by_hand() -> None:
    y, x = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), np.array([9.0, 11.0, 10.0, 12.0, 8.0, 10.0, 9.0, 11.0])
    found = ratio_percent(y, x)
    # Var(y/x) = (s_y^2 - 2 R s_xy + R^2 s_x^2) / (E mean(x)^2)
    r, covariance = y.mean() / x.mean(), np.cov(y, x)
    error = math.sqrt((covariance[0, 0] - 2.0 * r * covariance[0, 1] + r**2 * covariance[1, 1]) / 8.0) / x.mean()
    half = t.ppf(0.975, 7) * error
    assert (found.value, found.low, found.high) == pytest.approx((100.0 * r, 100.0 * (r - half), 100.0 * (r + half)))
    assert ratio_percent(0.3 * x, x) == Estimate(*[pytest.approx(30.0)] * 3)  # no spread: the same share every day


@pytest.mark.parametrize("estimate", [mean, lambda x: ratio_percent(x, x + 1.0), lambda x: capture_percent(x, x + 1.0)])
def test_few_episodes_have_no_interval(estimate: object) -> None:
    x = np.random.default_rng(1).exponential(size=MIN_EPISODES) + 5.0
    few, enough = estimate(x[:-1]), estimate(x)  # type: ignore[operator]
    assert (few.low, few.high, few.reason) == (None, None, "few_episodes")
    assert few.value is not None
    assert enough.value is not None
    assert MIN_EPISODES == 8


def test_what_cannot_be_told() -> None:
    x = np.arange(1.0, 11.0)
    hole = np.where(x == 3.0, np.nan, x)
    assert mean(np.empty(0)) == ratio_percent(np.empty(0), np.empty(0)) == Estimate(None, reason="not_played")
    assert mean(hole) == ratio_percent(hole, x) == ratio_percent(x, hole) == Estimate(None, reason="not_finite")
    assert ratio_percent(x, -x) == ratio_percent(x, 0.0 * x) == Estimate(None, reason="no_base")
    assert ratio_percent(x, x - 4.0) == Estimate(None, reason="no_base")  # 1.5 [-.7, 3.7]
    assert ratio_percent(x, x - 3.0).value == pytest.approx(220.0)
    assert not above_zero(hole)
    assert above_zero(np.array([1.0, 3.0]))
    assert not above_zero(np.array([1.0, -3.0]))


def test_a_capture_without_a_trustworthy_interval_has_none() -> None:
    days = play_days(np.random.default_rng(3), 1000)
    near = {n: capture_percent(days["planner"][:n], days["foresight"][:n]) for n in (20, 100, 299, 300, 1000)}
    assert [near[n].reason for n in (20, 100, 299)] == ["skewed"] * 3
    assert [near[n].low for n in (20, 100, 299)] == [None] * 3
    assert near[1000].low is not None
    assert near[1000].value is not None
    assert near[1000].value > 75.0
    far = capture_percent(days["rule"][:20], days["foresight"][:20])
    assert far.low is not None
    spoilt = days["rule"][:20].copy()
    spoilt[4] = -2000.0
    assert capture_percent(spoilt, days["foresight"][:20]).reason == "skewed"


def cover(days: FloatArray, draws: FloatArray, estimate: object, true: float) -> float:
    """Share of the shown intervals that hold ``true``."""
    found = [estimate(days[draw]) for draw in draws]  # type: ignore[operator]
    shown = [each for each in found if each.low is not None]
    assert len(shown) >= 0.9 * len(found)
    return float(np.mean([each.low <= true <= each.high for each in shown]))


@pytest.mark.slow
@pytest.mark.parametrize("episodes", [20, 50, 100])
@pytest.mark.parametrize("quantity", ["foresight", "planner", "rule", "rare"])
def test_t_covers(quantity: str, episodes: int) -> None:
    pool = play_days(np.random.default_rng(17), 100_000)
    x, base = pool[quantity], pool["base"]
    draws = np.random.default_rng(episodes).integers(0, len(x), size=(2000, episodes))
    assert 0.91 <= cover(x, draws, mean, x.mean()) <= 0.97
    both = np.column_stack([x, base + 0.1 * x])
    true = 100.0 * both[:, 0].mean() / both[:, 1].mean()
    assert 0.91 <= cover(both, draws, lambda d: ratio_percent(d[:, 0], d[:, 1]), true) <= 0.97


@pytest.mark.slow
def test_captures_that_are_shown_cover() -> None:
    pool = play_days(np.random.default_rng(18), 100_000)
    foresight = pool["foresight"]
    residual = pool["planner"] - foresight * pool["planner"].mean() / foresight.mean()
    assert -5.5 < (((residual - residual.mean()) / residual.std()) ** 3).mean() < -4.2
    for agent, episodes in (("planner", 400), ("rule", 20), ("rule", 100)):
        both = np.column_stack([pool[agent], foresight])
        true = 100.0 * pool[agent].mean() / foresight.mean()
        draws = np.random.default_rng(episodes).integers(0, len(both), size=(2000, episodes))
        found = [capture_percent(days[:, 0], days[:, 1]) for days in (both[draw] for draw in draws)]
        shown = [each for each in found if each.low is not None]
        assert len(shown) >= 1900
        assert np.mean([each.low <= true <= each.high for each in shown]) >= 0.91  # type: ignore[operator]
    draws = np.random.default_rng(40).integers(0, len(pool["planner"]), size=(2000, 20))  # where bare intervals would not
    true = 100.0 * pool["planner"].mean() / foresight.mean()
    bare = [ratio_percent(pool["planner"][draw], foresight[draw]) for draw in draws]
    assert np.mean([each.low <= true <= each.high for each in bare]) < 0.85  # type: ignore[operator]
