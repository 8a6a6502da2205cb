from __future__ import annotations

import numpy as np
import pytest

from gridpilot.backtest.rolling import MemberRun, Origins
from gridpilot.backtest.series import PriceSeries
from gridpilot.backtest.summary import BEST, judge, mean_weights, summarise
from tests.backtest.members import WIDTH

ROWS, HORIZONS = np.arange(100, 500), np.array([1, 2])


def series_of(prices: np.ndarray) -> PriceSeries:
    there = np.ones(len(prices), dtype=bool)
    return PriceSeries("test", ("energy",), ("price",), 60, 0, prices[:, None], there, None, "")


def answers(name: str, point: np.ndarray, **more: object) -> MemberRun:
    """A run whose median and mean are ``point (O, K)``."""
    mean = point[:, :, None].astype(np.float64)
    return MemberRun(name, mean, mean[:, :, None, :] + WIDTH[None, None, :, None], **more)  # type: ignore[arg-type]


@pytest.fixture
def world() -> tuple[PriceSeries, Origins, np.ndarray, np.ndarray]:
    """A random walk, what comes (O, K), and the last price (O, K)."""
    prices = np.cumsum(np.random.default_rng(0).standard_normal(600))
    origins = Origins(ROWS, 1, HORIZONS, {})
    return series_of(prices), origins, prices[ROWS[:, None] + HORIZONS], np.repeat(prices[ROWS][:, None], 2, axis=1)


def test_share_of_the_best_is_taken_where_the_best_is_known(world: tuple[PriceSeries, Origins, np.ndarray, np.ndarray]) -> None:
    series, origins, truth, last = world
    half = last + 0.5 * (truth - last)  # halves every error
    best = answers(BEST, last + 0.8 * (truth - last))
    best.mean[::2], best.quantiles[::2] = np.nan, np.nan
    mixed = np.where(np.arange(len(ROWS))[:, None] % 2 == 0, last, half)  # good where the best is known, idle elsewhere
    runs = [answers("persistence", last), answers("half", half), answers("mixed", mixed), best]
    scores = summarise(series, origins, runs, []).set_index(["member", "horizon"])
    assert scores.loc[("half", 1), "skill"] == pytest.approx(0.5)
    assert scores.loc[(BEST, 1), ["skill", "share_of_best"]].tolist() == pytest.approx([0.8, 1.0])
    for name in ("half", "mixed"):
        assert scores.loc[(name, 2), "best_skill"] == pytest.approx(0.8)
        assert scores.loc[(name, 2), "share_of_best"] == pytest.approx(0.5 / 0.8)
    assert scores.loc[("mixed", 1), "skill"] < 0.35
    assert scores.loc[(BEST, 1), "n"] == len(ROWS) // 2


def test_verdicts_say_where_and_how_much(world: tuple[PriceSeries, Origins, np.ndarray, np.ndarray]) -> None:
    series, origins, truth, last = world
    better_later = np.stack([last[:, 0] + 3.0, 0.5 * (last + truth)[:, 1]], axis=1)
    # Noise that helps as often as it hurts must not earn a place.
    luck = last + 0.01 * np.random.default_rng(1).standard_normal(last.shape)
    ensemble = answers("ensemble", last, weights=[(100, {"later": 1.0, "luck": 0.0}), (101, {"later": 0.5, "luck": 0.5})])
    failed = MemberRun("broken", np.empty(0), np.empty(0), failed="row 1: ValueError: no")
    runs = [answers("persistence", last), answers("later", better_later), answers("luck", luck), ensemble, failed]
    verdicts = {verdict.member: verdict for verdict in judge(summarise(series, origins, runs, []), runs)}
    assert mean_weights(runs) == {"ensemble": {"later": 0.75, "luck": 0.25}}
    later = verdicts["later"].text
    assert verdicts["later"].earns is True
    assert later.startswith("earns its place: beats persistence beyond chance (2 h): pinball loss ")
    assert " % lower, error of the median 50 % lower; up to " in later
    assert "% worse (1 h)" in later
    assert later.endswith("mean weight 75 % in ensemble")
    assert verdicts["luck"].earns is verdicts["ensemble"].earns is verdicts["broken"].earns is False
    assert verdicts["luck"].text.startswith("earned nothing: nowhere better than persistence beyond chance")
    assert verdicts["broken"].text == "failed: row 1: ValueError: no"
    assert verdicts["persistence"].earns is None


def test_rounding_is_no_gain(world: tuple[PriceSeries, Origins, np.ndarray, np.ndarray]) -> None:
    series, origins, truth, last = world
    closer = last + 1e-13 * (truth - last)
    runs = [answers("persistence", last), answers("closer", closer)]
    scores = summarise(series, origins, runs, [])
    assert scores["dm"].isna().all()
    assert judge(scores, runs)[1].earns is False


def test_a_gain_of_roundings_size_is_none() -> None:
    from gridpilot.backtest.summary import _difference

    reference = np.full(50, 1e-9)
    assert (_difference(reference, np.zeros(50), 30.0) == 0.0).all()
    assert (_difference(reference, np.zeros(50), 1e-6) == 1e-9).all()
