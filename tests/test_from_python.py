"""What is done by commands, from Python: the same figures, with data frames in and out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gridpilot
from gridpilot.backtest import backtest_command
from gridpilot.errors import CalibrationError, ConfigError, GridPilotError, PriceError
from gridpilot.prices import calibrate_command, simulate_command


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def recorded() -> pd.DataFrame:
    """Fifty days of hours with a daily wave and heavy tails, $/MWh."""
    times = pd.date_range("2024-03-04", periods=50 * 24, freq="h", name="when")
    noise = np.random.default_rng(1).standard_t(5, len(times))
    held = np.convolve(noise, 0.8 ** np.arange(30))[: len(times)]
    return pd.DataFrame({"lmp": 40.0 + 12.0 * np.sin(2 * np.pi * times.hour / 24) + 2.0 * held}, index=times)


def test_simulated_prices_are_those_of_the_command() -> None:
    frame = gridpilot.simulate_prices("mara_event", episodes=3, ticks=20, history=5, seed=7)
    assert simulate_command.main(["prices=mara_event", "episodes=3", "ticks=20", "history=5", "seed=7", "out=paths.parquet"]) == 0
    pd.testing.assert_frame_equal(frame, pd.read_parquet("paths.parquet"), check_exact=True)
    with pytest.raises(PriceError, match="episodes is 0, expected"):
        gridpilot.simulate_prices(episodes=0)


@pytest.mark.slow
def test_calibration_of_a_frame_is_that_of_its_file(recorded: pd.DataFrame) -> None:
    fit = gridpilot.calibrate_prices(recorded, "lmp")
    recorded.reset_index().to_parquet("lmp.parquet")
    code = calibrate_command.main(["lmp.parquet", "--column", "lmp", "--out", "mine.yaml"])
    assert code == (0 if fit.good else 1)
    again = gridpilot.calibrate_prices("lmp.parquet", "lmp")
    assert again.fitted.part == fit.fitted.part
    picture = fit.save("frame.yaml")
    assert picture.read_bytes().startswith(b"\x89PNG")
    paths = [gridpilot.simulate_prices(prices, ticks=24, seed=3) for prices in (fit.prices, "frame.yaml", Path("mine.yaml"))]
    for other in paths[1:]:
        pd.testing.assert_frame_equal(paths[0], other, check_exact=True)
    assert {"name", "real", "simulated", "agrees"} <= set(fit.comparison.columns)
    setup = gridpilot.load_setup(prices="mine.yaml")
    assert setup.scenario(0, [0]).prices.shape[1:] == (1, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unit": "EUR"}, "unit is EUR, expected one of"),
        ({"factor": 0.0}, "factor is 0.0, expected a number above 0"),
        ({"half_life": float("nan")}, "half_life is nan"),
        ({"target": "power"}, "target is 'power', expected one of energy"),
        ({"dynamics": "arima"}, "dynamics is 'arima'"),
        ({"others": "mara_event"}, "others is mara_event"),
        ({"zone": "Berlin"}, "zone is 'Berlin', expected a name as Europe/Berlin"),
        ({"step": 7.0, "time": None}, "7 minutes, expected 5 or a multiple"),
    ],
)
def test_what_cannot_be_calibrated_is_told_in_a_line(recorded: pd.DataFrame, settings: dict[str, object], message: str) -> None:
    with pytest.raises(PriceError, match=message) as told:
        gridpilot.calibrate_prices(recorded, "lmp", **settings)  # type: ignore[arg-type]
    assert "\n" not in str(told.value)


def test_a_constant_frame_is_no_series(recorded: pd.DataFrame) -> None:
    with pytest.raises(CalibrationError, match="data frame: column 'lmp' is constant at 3"):
        gridpilot.calibrate_prices(recorded * 0.0 + 3.0, "lmp")
    with pytest.raises(PriceError, match=r"data frame.*'lpm'"):
        gridpilot.calibrate_prices(recorded, "lpm")


def test_a_backtest_is_that_of_the_command(recorded: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    recorded.to_csv("lmp.csv")
    result = gridpilot.run_backtest(recorded, "lmp", members=["rls"], horizons=[60, 180], quiet=True)
    assert not Path("runs").exists()
    assert backtest_command.main(["data=lmp.csv", "column=lmp", "members=[rls]", "horizons=[60,180]", "json=true", "out=o"]) == 0
    told = json.loads(capsys.readouterr().out)
    scores = pd.DataFrame(told["scores"])
    assert list(result.scores["member"]) == list(scores["member"])
    np.testing.assert_array_equal(result.scores["mae"].to_numpy(), scores["mae"].to_numpy(dtype=float))
    assert list(result.verdicts["member"]) == ["persistence", "rls"]
    report = result.save("kept")
    assert report.exists()
    pd.testing.assert_frame_equal(pd.read_parquet("kept/scores.parquet"), result.scores)
    assert "rls" in str(result)
    assert result._repr_html_().startswith("<pre>")
    assert {"member", "mean", "observed"} <= set(result.forecasts.columns)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": [5]}, "unknown setting 'horizon'; did you mean horizons"),
        ({"members": "rls"}, "members is 'rls', expected a list"),
        ({"members": ["rsl"]}, "unknown member 'rsl'; did you mean rls"),
        ({"data": "gone.csv"}, "gone.csv: no such file"),
        ({"data": 3}, "data is int 3, expected a path or a data frame"),
        ({"zone": "UTC"}, "zone=UTC belongs to a file"),
    ],
)
def test_what_cannot_be_backtested_is_told_in_a_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(GridPilotError, match=message) as told:
        gridpilot.run_backtest(**({"quiet": True} | settings))  # type: ignore[arg-type]
    assert "\n" not in str(told.value)


def test_recorded_prices_by_path_or_frame_make_the_same_market(recorded: pd.DataFrame) -> None:
    quarter = recorded.resample("15min").ffill()
    quarter.to_csv("mine.csv")
    by_path = gridpilot.build_market(prices="mine.csv", ticks=6, seed=2)
    frame = pd.DataFrame({"energy": quarter["lmp"] / 1000.0})
    by_frame = gridpilot.build_market(prices=frame, ticks=6, seed=2)
    for market in (by_path, by_frame):
        market.step()
    np.testing.assert_allclose(by_path.arena.scenario.prices, by_frame.arena.scenario.prices, rtol=1e-12)
    with pytest.raises(ConfigError, match="expected times as its index and a column energy"):
        gridpilot.build_market(prices=quarter)
    with pytest.raises(ConfigError, match="expected a name, a path, a mapping or a data frame"):
        gridpilot.build_market(prices=3.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read: No such file"):
        gridpilot.build_market("gone.yaml")
