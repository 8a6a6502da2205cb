"""``gridpilot calibrate``: files in, verdict out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from gridpilot.errors import CalibrationError, PriceError
from gridpilot.prices import load_prices
from gridpilot.prices.calibrate_command import main
from gridpilot.prices.calibrate_series import read_series


def prices(rows: int = 1200, step: int = 60, start: str = "2024-09-20") -> pd.DataFrame:
    """Energy in $/MWh with a daily curve and noise that reverts."""
    rng = np.random.default_rng(0)
    x = np.zeros(rows)
    for t in range(1, rows):
        x[t] = 0.8 * x[t - 1] + 5.0 * rng.standard_t(5)
    times = pd.date_range(start, periods=rows, freq=f"{step}min")
    return pd.DataFrame({"time": times.astype(str), "lmp": 30.0 + 10.0 * np.sin(2.0 * np.pi * times.hour / 24.0) + x})


def written(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "data.csv"
    frame.to_csv(path, index=False)
    return path


def test_a_good_fit_is_written_drawn_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(prices(), tmp_path)
    out = tmp_path / "mine.yaml"
    assert main([str(path), "--column", "lmp", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "GOOD: simulated and real agree" in printed
    for row in ("sd", "1 % quantile", "99 % quantile", "share negative", "lag 1", "lag 12", "squares", "kurtosis"):
        assert row in printed
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    text = out.read_text()
    assert "The fit is good" in text
    assert str(tmp_path) not in text
    config = yaml.safe_load(text)
    assert config["calibration"]["good"] is True
    assert config["calibration"]["step_minutes"] == 60
    energy = load_prices(config).simulate(0, range(200), 288)[0][:, :, 0]
    assert np.median(energy) == pytest.approx(0.03, rel=0.15)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data.csv", "mine.png", "mine.yaml"]


def test_a_bad_fit_exits_with_one_and_says_so_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(prices().assign(lmp=1.0 + np.arange(1200) / 20.0), tmp_path)
    arguments = [str(path), "--column", "lmp", "--out", str(tmp_path / "bad.yaml")]
    assert main(arguments) == 1
    assert "NOT GOOD: autocorrelation, lag 12" in capsys.readouterr().out
    text = (tmp_path / "bad.yaml").read_text()
    assert "NOT GOOD" in text
    assert yaml.safe_load(text)["calibration"]["good"] is False


def test_a_product_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    frame = prices(600, 1440).assign(lmp=50.0 * np.exp(0.03 * np.cumsum(rng.standard_t(5, 600))))
    path = written(frame, tmp_path)
    product = ["--kind", "product", "--product", "hash", "--unit", "$/PH/s/day", "--level", "2.1", "--factor", "0.5"]
    frame["lmp"] = frame["lmp"].clip(20.0, 600.0)
    path = written(frame, tmp_path)
    code = main([str(path), "--column", "lmp", *product, "--json", "--out", str(tmp_path / "hash.yaml")])
    report = json.loads(capsys.readouterr().out)
    assert code == (0 if report["good"] else 1)
    assert report["compared"] == "log returns"
    assert len(report["rows"]) == 9
    config = yaml.safe_load((tmp_path / "hash.yaml").read_text())
    assert config["hash"]["level"] == 2.1
    assert config["energy"]["scale"] > 0.0


def _set(row: int, value: Any) -> Any:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype(object)
        frame.loc[row, "lmp"] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.head(10), "has 10 rows, expected at least 200"),
        (lambda f: f.head(2), "has 2 rows"),
        (lambda f: f.assign(lmp=21.0), "constant at 21"),
        (_set(5, None), "NaN.*row 6"),
        (_set(5, "abc"), "'abc' in row 6"),
        (lambda f: f.rename(columns={"lmp": "price"}), "no column 'lmp'"),
        (lambda f: f[["lmp"]], "--step"),
        (lambda f: f.sample(frac=1.0, random_state=0), "in order of time"),
        (lambda f: pd.concat([f, f]).sort_values("time"), "more than once"),
        (lambda f: pd.concat([f.head(300), f.tail(300)]), "gaps"),
        (lambda f: f.assign(lmp=f.lmp / 1000.0), "do you mean \\$/kWh"),
    ],
)
def test_series_that_cannot_be_fitted(tmp_path: Path, change: Any, words: str) -> None:
    path = written(change(prices()), tmp_path)
    with pytest.raises(PriceError, match=words):
        main([str(path), "--column", "lmp", "--out", str(tmp_path / "x.yaml")])
    assert not (tmp_path / "x.yaml").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "x.txt"], "ends in .yaml"),
        (["--out", "no/such/x.yaml"], "no folder"),
        (["--out", "x.yaml", "--unit", "$/PH/s/day"], "for the energy price"),
        (["--out", "x.yaml", "--factor", "0"], "--factor is 0"),
        (["--out", "x.yaml", "--level", "2"], "--level is for products"),
        (["--out", "x.yaml", "--others", "nowhere"], "is nowhere, expected a file"),
        (["--out", "x.yaml", "--others", "mara_event"], "is mara_event, expected a file of conf/prices that names GarchPrices"),
        (["--out", "x.yaml", "--time", "clock"], "no time column 'clock'"),
        (["--out", "x.yaml", "--step", "7"], "multiple"),
    ],
)
def test_bad_options(tmp_path: Path, options: list[str], words: str) -> None:
    frame = prices()
    path = written(frame[["lmp"]] if "--step" in options else frame, tmp_path)
    with pytest.raises(PriceError, match=words):
        main([str(path), "--column", "lmp", *options])


def test_the_clock_of_a_file() -> None:
    """Steps, repeated autumn hours, changing offsets, gaps and uneven rows."""
    utc = pd.date_range("2024-10-25", "2024-11-10", freq="15min", tz="UTC", unit="s")
    local = utc.tz_convert("US/Central")
    values = np.arange(len(utc)) % 50 + 1.0
    here = Path("clock.csv")
    naive = local.tz_localize(None).astype(str)
    for times in (naive, local.astype(str)):
        pd.DataFrame({"t": times, "p": values}).to_csv(here, index=False)
        series = read_series(here, "p")
        assert series.step == 3
        assert any("4 repeated times" in note for note in series.notes) is (times is naive)  # offsets tell them apart
        assert series.hour[0] == 19  # 00:00 UTC is 19:00 in Texas
    even = pd.DataFrame({"t": utc.astype(str), "p": values})
    even.drop(index=range(100, 110)).to_csv(here, index=False)
    series = read_series(here, "p")
    assert len(series.values) == len(even)
    assert (series.values[100:110] == values[99]).all()
    rng = np.random.default_rng(0)
    uneven = utc[0] + pd.to_timedelta(np.cumsum(rng.uniform(1300, 2300, 500)).round(), unit="s")
    pd.DataFrame({"t": uneven.tz_localize(None).astype(str), "p": rng.random(500)}).to_csv(here, index=False)
    series = read_series(here, "p")
    assert series.step == 6
    assert any("unevenly" in note for note in series.notes)
    even[["p"]].to_csv(here, index=False)
    assert read_series(here, "p", step_minutes=15).step == 3
    with pytest.raises(CalibrationError, match="--step is 2"):
        read_series(here, "p", step_minutes=2)


def test_tariffs_and_steady_growth_have_nothing_to_fit(tmp_path: Path) -> None:
    frame = prices()
    hours = np.arange(len(frame)) % 24
    for values, words in (
        (np.where((hours >= 17) & (hours < 21), 300.0, 120.0), "daily profile in 0 of 1200 rows, there is nothing to fit"),
        (np.where(np.arange(1200) < 600, 30.0, 60.0), "there is nothing to fit"),
    ):
        path = written(frame.assign(lmp=values), tmp_path)
        with pytest.raises(CalibrationError, match=words):
            main([str(path), "--column", "lmp", "--out", str(tmp_path / "x.yaml")])
    path = written(frame.assign(lmp=50.0 * 1.001 ** np.arange(1200)), tmp_path)
    with pytest.raises(CalibrationError, match="other than by one factor in"):
        main([str(path), "--column", "lmp", "--kind", "product", "--unit", "raw", "--out", str(tmp_path / "x.yaml")])


def test_a_hold_out_that_cannot_be_fitted_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = prices()
    frame.loc[: 2 * len(frame) // 3, "lmp"] = 30.0
    path = written(frame, tmp_path)
    assert main([str(path), "--column", "lmp", "--json", "--out", str(tmp_path / "x.yaml")]) in (0, 1)
    report = json.loads(capsys.readouterr().out)
    assert report["held_out"] is None
    assert any("no fit without the last third" in note for note in report["notes"])
