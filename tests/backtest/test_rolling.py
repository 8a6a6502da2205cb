from __future__ import annotations

import math
from importlib import resources

import numpy as np
import pytest
import yaml

from gridpilot.backtest.rolling import Origins, naive_forecasts, observed, plan_origins, run_member
from gridpilot.backtest.series import PriceSeries
from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import Forecaster, Row
from gridpilot.forecasting.registry import build_forecaster
from tests.backtest import members


def series_of(prices: np.ndarray, minutes: int = 60, present: np.ndarray | None = None) -> PriceSeries:
    prices = np.asarray(prices, dtype=np.float64).reshape(len(prices), -1)
    channels = ("energy", "hash", "token")[: prices.shape[1]]
    there = np.ones(len(prices), dtype=bool) if present is None else present
    return PriceSeries("test", channels, channels, minutes, 0, prices, there, None, "")


def run(kind: type[Forecaster], series: PriceSeries, origins: Origins, **more: object) -> object:
    return run_member("x", lambda: kind(series.channels, series.steps_per_day, **more), series, origins)


def wave(rows: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.cumsum(rng.standard_normal((rows, channels)), axis=0) + 10.0 * np.sin(np.arange(rows) / 24.0 * 2 * np.pi)[:, None]


def test_origins_are_even_and_start_after_the_warm_up() -> None:
    series = series_of(wave(24 * 60))
    origins = plan_origins(series, [5, 15, 60, 180, 1440])
    assert origins.rows[0] == 14 * 24
    assert np.unique(np.diff(origins.rows)).tolist() == [origins.every]
    assert origins.horizons.tolist() == [1, 3, 24]  # 5 and 15 minutes are the first step of hourly rows
    assert math.gcd(origins.every, 24) == 1
    assert 20 * origins.every == plan_origins(series, [60], every=20 * origins.every, warm_up_days=5).every


def test_default_origins_are_about_a_thousand() -> None:
    for rows in (5_000, 20_000, 60_000):
        count = len(plan_origins(series_of(np.zeros(rows), minutes=15), [15]).rows)
        assert 400 <= count <= 1300
        short = plan_origins(series_of(np.zeros(150), minutes=15), [15, 1440])
    assert (short.rows[0], short.horizons.tolist()) == (75, [1])  # at most half is warm-up; 24 h is out of reach


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        (100, {"warm_up_days": 4}, r"100 rows, 4\.2 days; after 4\.0 days of warm-up .* 3 are left, expected at least 20"),
        (100, {"warm_up_days": 40}, "0 are left"),
        (1000, {"every": 100}, "every=100 leaves 7 origins"),
    ],
)
def test_too_few_origins_are_refused(rows: int, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ForecastError, match=message):
        plan_origins(series_of(np.zeros(rows)), [60], **arguments)  # type: ignore[arg-type]


def test_the_calm_and_the_spiky_day_are_what_they_say() -> None:
    prices = wave(1200)[:, 0]
    prices[800:803] = 500.0
    prices[300] = np.nan
    series = series_of(prices)
    origins = plan_origins(series, [60, 1440], every=1)
    rows = {day: int(origins.rows[i]) for day, i in origins.fans.items()}
    assert rows["spiky"] < 800 <= rows["spiky"] + 24 or 800 <= rows["spiky"] < 803
    assert np.ptp(prices[rows["calm"] : rows["calm"] + 25]) < 40.0
    assert np.isfinite(prices[rows["calm"] : rows["calm"] + 25]).all()


def test_naive_forecasts_by_hand() -> None:
    prices = np.arange(240.0)
    prices[[100, 120, 121]] = np.nan
    series = series_of(prices)
    origins = Origins(np.array([121, 130]), 9, np.array([1, 24, 30]), {})
    last, seasonal = naive_forecasts(series, origins)
    assert last[:, 0].tolist() == [119.0, 130.0]
    # 122 - 24; 145 - 24 is missing, so a day before; 151 - 48
    assert seasonal[0, :, 0].tolist() == [98.0, 97.0, 103.0]
    assert np.isnan(observed(series, Origins(np.array([119]), 1, np.array([1]), {}))).all()


def test_a_member_is_asked_at_the_origins_and_nowhere_else() -> None:
    series = series_of(wave(600, 3))
    origins = plan_origins(series, [60, 360], every=7)
    answer = run(members.Last, series, origins)
    assert answer.failed == ""
    assert np.array_equal(answer.mean, np.repeat(series.prices[origins.rows][:, None], 2, axis=1))
    assert np.array_equal(answer.quantiles[:, 0, 4], series.prices[origins.rows] + 2.0)
    assert len(answer.forecast_us) == len(origins.rows)
    assert len(answer.update_us) == origins.rows[-1] - origins.rows[0] + 1
    assert answer.forecast_us.min() > 0.0
    assert set(answer.fans) == {"calm", "spiky"}
    assert answer.fans["calm"].mean.shape == (6, 3)


class Spy(members.Last):
    """Keeps what it was given."""

    rows: list[Row] = []  # noqa: RUF012

    def update(self, row: Row) -> None:
        Spy.rows.append(row)
        super().update(row)


def test_a_forecaster_gets_single_rows_in_order_and_no_way_to_the_rest() -> None:
    Spy.rows = []
    prices = wave(400, 2)
    prices[150, 1] = np.nan
    present = np.ones(400, dtype=bool)
    present[200:210] = False
    series = series_of(prices, present=present)
    before = prices.copy()
    origins = plan_origins(series, [60, 240], every=3)
    answer = run(Spy, series, origins)
    given = Spy.rows
    assert [row.step for row in given] == [i for i in range(origins.rows[-1] + 1) if present[i]]
    for row in given:
        assert row.prices.base is None  # a view would lead to the whole array, future and all
        assert np.array_equal(row.prices, prices[row.step], equal_nan=True)
        row.prices[:] = 1e9  # nor does writing reach the series
    assert np.array_equal(prices, before, equal_nan=True)
    asked = np.isfinite(answer.mean[:, 0, 0])
    assert np.array_equal(asked, present[origins.rows])


@pytest.mark.parametrize("kind", [members.Last, members.Yesterday])
def test_changing_the_future_changes_no_forecast(kind: type[Forecaster]) -> None:
    prices = wave(700, 2)
    origins = Origins(np.arange(300, 690, 5), 5, np.array([1, 6, 24]), {})
    whole = run(kind, series_of(prices), origins)
    for cut in (301, 450, 600):
        other = prices.copy()
        other[cut:] = -1e6
        changed = run(kind, series_of(other), origins)
        before = origins.rows < cut
        assert np.array_equal(whole.mean[before], changed.mean[before])
        assert np.array_equal(whole.quantiles[before], changed.quantiles[before])
        assert not np.array_equal(whole.mean[~before], changed.mean[~before])


def test_a_member_that_raises_is_recorded_with_the_row() -> None:
    series = series_of(wave(400))
    origins = plan_origins(series, [60])
    assert run(members.Raising, series, origins, after=10).failed == "row 11: RuntimeError: the sky is falling"
    extra = run_member("x", members.NeedsExtra, series, origins)
    assert extra.missing_extra
    assert "pip install -c constraints.txt -e '.[forecast]' in " in extra.failed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("step", "starts from step"), ("shape", r"mean has shape \(0, 1\)"), ("nan", "not finite"), ("order", "quantiles decrease")],
)
def test_an_answer_of_the_wrong_form_is_a_failure(wrong: str, message: str) -> None:
    import re

    series = series_of(wave(400))
    origins = plan_origins(series, [60])
    assert re.search(message, run(members.Wrong, series, origins, wrong=wrong).failed)


def test_scenarios_are_scored_when_asked_for() -> None:
    import scoringrules

    series = series_of(wave(300))
    origins = plan_origins(series, [60, 180], every=4)
    answer = run_member("x", lambda: members.Last(series.channels, 24), series, origins, scenarios=20)
    forecaster = members.Last(series.channels, 24)
    for row in range(origins.rows[3] + 1):
        forecaster.update(Row(row, series.prices[row]))
    paths = forecaster.forecast(3, scenarios=20).scenarios
    expected = scoringrules.crps_ensemble(series.prices[origins.rows[3] + 3, 0], paths[:, 2, 0])
    assert answer.crps is not None
    assert answer.crps[3, 1, 0] == pytest.approx(expected)


def default_members() -> list[str]:
    text = resources.files("gridpilot.conf").joinpath("backtest.yaml").read_text(encoding="utf-8")
    return [str(name) for name in yaml.safe_load(text)["members"]]


@pytest.mark.parametrize("name", default_members())
def test_the_default_members_cannot_peek(name: str) -> None:
    prices = wave(500)
    origins = Origins(np.arange(300, 460, 20), 20, np.array([1, 24]), {})

    def answers(values: np.ndarray) -> np.ndarray:
        series = series_of(values)
        answer = run_member(name, lambda: build_forecaster(name, series.channels, series.steps_per_day), series, origins)
        assert answer.failed == ""
        return answer.quantiles

    changed = prices.copy()
    changed[381:] *= -3.0
    before = origins.rows <= 380
    whole, other = answers(prices), answers(changed)
    assert np.array_equal(whole[before], other[before])
    assert not np.array_equal(whole[~before], other[~before])
