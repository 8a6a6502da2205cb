"""Replayed files: what is cut out of them, and every file that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridpilot.errors import ConfigError, PriceError
from gridpilot.prices import load_prices
from gridpilot.prices.base import PriceModel
from gridpilot.prices.replay import replayed
from tests.prices.examples import table


def model(path: Path, **changes: Any) -> PriceModel:
    config = {
        "name": "replay",
        "file": str(path),
        "time": "time",
        "energy": {"column": "lmp", "unit": "$/MWh"},
        "hash": {"constant": 2.1},
        "token": {"constant": 0.3},
        **changes,
    }
    return load_prices(config)


def written(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "prices.csv"
    frame.to_csv(path, index=False)
    return path


def test_days_are_cut_out_and_coarse_steps_are_held(tmp_path: Path) -> None:
    prices, start = model(written(table(), tmp_path), order="sequential").simulate(0, [0, 1, 2, 3], 288, history=288)
    assert prices.shape == (576, 4, 3)
    assert start.tolist() == [5 * 288, 6 * 288, 0, 5 * 288]  # Saturday, Sunday, Monday, and round again
    row = 96 + np.arange(-288, 288) // 3
    np.testing.assert_allclose(prices[:, 0, 0], (20.0 + 0.01 * row) / 1000.0)
    assert (prices[:, :, 1] == 2.1).all()
    assert np.array_equal(prices[:, 0], prices[:, 3])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_random_days_depend_on_the_seed_alone(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prices{suffix}"
    frame = table(days=12)
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    replay = model(path)
    prices, start = replay.simulate(3, range(40), 100, history=10)
    assert len(np.unique(start)) == 7
    assert np.array_equal(replay.simulate(3, [17], 60, history=10)[0], prices[:70, 17:18])
    assert not np.array_equal(start, replay.simulate(4, range(40), 100, history=10)[1])


def test_a_file_may_begin_at_any_hour_and_in_any_unit(tmp_path: Path) -> None:
    frame = table(start="2024-05-31 14:55", step=5)
    frame["hashprice"] = 48.0
    frame["mtok"] = 0.25
    replay = model(
        written(frame, tmp_path),
        order="sequential",
        energy={"column": "lmp", "unit": "$/MWh", "factor": 0.5},
        hash={"column": "hashprice", "unit": "$/PH/s/day"},
        token={"column": "mtok", "unit": "$/Mtok"},
    )
    prices, start = replay.simulate(0, [0], 1)
    assert start.tolist() == [6 * 288]  # the first midnight with a day before it
    row = (9 * 60 + 5) // 5 + 288
    np.testing.assert_allclose(prices[0, 0], [0.5 * (20.0 + 0.01 * row) / 1000.0, 2.0, 0.25])


def _drop(rows: list[int]) -> Any:
    return lambda frame: frame.drop(index=rows)


def _set(row: int, column: str, value: Any) -> Any:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype(object)
        frame.loc[row, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.rename(columns={"lmp": "price"}), "no column 'lmp'; the columns are 'time', 'price'"),
        (lambda f: f.rename(columns={"time": "t"}), "no time column 'time'"),
        (_drop([50]), "a gap between 2024-05-31T12:15:00 and 2024-05-31T12:45:00"),
        (_set(7, "lmp", None), "NaN.*row 8"),
        (_set(7, "lmp", "n/a?"), "'n/a\\?' in row 8"),
        (_set(7, "lmp", float("inf")), "inf in row 8"),
        (_set(7, "time", "yesterday"), "'yesterday' in row 8"),
        (lambda f: f.iloc[[0, 2, 1, *range(3, len(f))]], "unsorted"),
        (lambda f: pd.concat([f.iloc[:10], f.iloc[9:]]), "repeats"),
        (lambda f: f.assign(lmp=f.lmp / 1000.0), "do you mean \\$/kWh"),
        (lambda f: f.iloc[:150], "too short"),
        (lambda f: f.iloc[:1], "1 row"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(time=pd.date_range("2024-05-31", periods=len(f), freq="7min").astype(str)), "420 seconds apart"),
        (lambda f: f.assign(time=np.arange(len(f))), "has .0. in row 1 .line 2., expected a time"),
        (lambda f: f.assign(lmp=True), "truth values"),
    ],
)
def test_files_that_cannot_be_replayed(tmp_path: Path, change: Any, words: str) -> None:
    with pytest.raises(PriceError, match=words):
        model(written(change(table()), tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.csv", None, "no such file"),
        ("prices.xlsx", b"PK\x03\x04", "an Excel workbook, expected a CSV or Parquet"),
        ("empty.csv", b"", "has no rows"),
        ("binary.csv", bytes(range(256)) * 4, "cannot be read as text"),
        ("not.parquet", b"time,lmp\n", "cannot be read as parquet"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PriceError, match=words):
        model(tmp_path / name)


def test_units_and_lengths_are_checked(tmp_path: Path) -> None:
    path = written(table(), tmp_path)
    with pytest.raises(PriceError, match=r"prices.hash.unit is '\$/MWh'"):
        model(path, hash={"column": "lmp", "unit": "$/MWh"})
    with pytest.raises(PriceError, match=r"do you mean \$/MWh"):
        model(path, energy={"column": "lmp", "unit": "$/kWh"})
    with pytest.raises(ConfigError, match="unit"):
        model(path, energy={"column": "lmp", "unit": "EUR/MWh"})
    with pytest.raises(ConfigError, match="unit"):
        model(path, energy={"column": "lmp"})
    with pytest.raises(PriceError, match=r"prices.longest_episode is 288"):
        model(path).simulate(0, [0], 289)
    with pytest.raises(PriceError, match=r"prices.longest_history is 288"):
        model(path).simulate(0, [0], 1, history=289)


def test_days_of_23_and_25_hours_begin_at_their_own_midnight(tmp_path: Path) -> None:
    times = pd.date_range("2024-10-25", periods=5 * 24 + 1, freq="h", tz="Europe/Berlin")
    rows = pd.DataFrame({"time": times.tz_localize(None).astype(str), "lmp": 20.0 + np.arange(len(times))})
    path = written(rows, tmp_path)
    with pytest.raises(PriceError, match=r"repeats.*prices.zone=Europe/Berlin"):
        model(path)
    replay = model(path, zone="Europe/Berlin", order="sequential", longest_history=0)
    prices, start = replay.simulate(0, range(4), 1)
    assert start.tolist() == [4 * 288, 5 * 288, 6 * 288, 0]
    np.testing.assert_allclose(1000.0 * prices[0, :, 0], [20.0, 44.0, 68.0, 93.0])


def test_a_file_of_one_price_says_how_it_is_replayed(tmp_path: Path) -> None:
    path = written(table(), tmp_path)
    assert replayed(path) == {"file": str(path), "energy": {"column": "lmp", "unit": "$/MWh"}}
    assert load_prices({"name": "replay", "hash": {"constant": 2.0}, "token": {"constant": 0.3}, **replayed(path)})
    with pytest.raises(PriceError, match=r"prices\.energy\.column=NAME"):
        replayed(written(table().assign(load=1.0), tmp_path))
