from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridpilot.backtest.series import read_series
from gridpilot.errors import PriceError
from gridpilot.series import ReadOptions


def table(rows: int = 300, minutes: float = 5, start: str = "2024-06-03 00:00", **columns: object) -> pd.DataFrame:
    times = pd.Timestamp(start) + pd.to_timedelta(np.arange(rows) * minutes, unit="m")
    return pd.DataFrame({"time": times.astype(str), "price": np.arange(rows, dtype=float), **columns})


def save(frame: pd.DataFrame, name: str = "prices.csv") -> Path:
    path = Path(name)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["prices.csv", "prices.parquet"])
@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
def test_time_column_and_step_are_found(name: str, minutes: int) -> None:
    series = read_series(save(table(minutes=minutes), name))
    assert (series.step_minutes, series.channels, series.labels) == (minutes, ("energy",), ("price",))
    assert series.first_step % (7 * series.steps_per_day) == 0  # the file starts on a Monday
    assert series.prices[:, 0].tolist() == list(range(300))
    assert series.time(1) == f"2024-06-03 {minutes // 60:02d}:{minutes % 60:02d}"
    assert series.notes == ()


def test_steps_count_from_a_monday_midnight() -> None:
    series = read_series(save(table(start="2024-06-06 13:30")))  # a Thursday
    assert series.first_step % 2016 == 3 * 288 + 13 * 12 + 6
    assert series.time(0) == "2024-06-06 13:30"
    assert series.last_rows(100).time(0) == series.time(200)
    assert series.last_rows(100).first_step == series.first_step + 200


def test_several_columns_keep_their_names_and_order() -> None:
    frame = table(hash=2.0, token=3.0)
    series = read_series(save(frame), ["token", "price"])
    assert series.channels == series.labels == ("token", "price")
    assert series.prices[7].tolist() == [3.0, 7.0]


def test_gaps_and_empty_fields_stay_what_they_are() -> None:
    frame = table()
    frame.loc[50, "price"] = np.nan
    series = read_series(save(frame.drop(index=range(100, 110))))
    assert len(series.prices) == 300
    assert np.flatnonzero(~series.present).tolist() == list(range(100, 110))
    assert np.flatnonzero(np.isnan(series.prices[:, 0])).tolist() == [50, *range(100, 110)]
    assert series.prices[110, 0] == 110.0
    assert [note.split()[0] for note in series.notes] == ["10", "1"]


def test_repeated_times_are_averaged_and_rows_sorted() -> None:
    frame = table()
    twice = pd.concat([frame, frame.iloc[[20]].assign(price=40.0)], ignore_index=True)
    twice = twice.iloc[np.r_[1, 0, 2 : len(twice)]]
    series = read_series(save(twice))
    assert series.prices[[0, 1, 20], 0].tolist() == [0.0, 1.0, 30.0]
    assert len(series.notes) == 2


def test_uneven_rows_are_known_no_earlier_than_they_came() -> None:
    rng = np.random.default_rng(0)
    minutes = np.cumsum(rng.uniform(25.0, 34.0, size=200))
    times = pd.Timestamp("2024-06-03") + pd.to_timedelta(minutes, unit="m")
    path = save(pd.DataFrame({"time": times.strftime("%Y-%m-%d %H:%M:%S"), "price": minutes}))
    series = read_series(path)
    assert series.step_minutes == 30
    origin = (series.first_step % (7 * 48)) * 30
    clock = origin + 30 * np.arange(len(series.prices))
    known = series.present
    assert known.mean() > 0.8
    assert (series.prices[known, 0] <= clock[known] + 1.5 + 1 / 60).all()
    assert (series.prices[known, 0] > clock[known] - 30).all()


def test_finer_rows_are_thinned_to_five_minutes() -> None:
    series = read_series(save(table(rows=900, minutes=1)))
    assert series.step_minutes == 5
    # Rows after a grid point belong to the next.
    assert series.prices[:4, 0].tolist() == [0.0, 5.0, 10.0, 15.0]
    assert "the last of each 5 minutes" in series.notes[0]


def test_a_file_without_times() -> None:
    path = save(table().drop(columns="time"))
    series = read_series(path, step_minutes=15)
    assert (series.step_minutes, series.first_step, series.time(97)) == (15, 0, "day 2, 00:15")
    with pytest.raises(PriceError, match=r"no column reads as times; give .* step_minutes=5"):
        read_series(path)
    with pytest.raises(PriceError, match="step_minutes is 7"):
        read_series(path, step_minutes=7)


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (table(), {"columns": ["lmp"]}, "no column 'lmp'; the columns are 'time', 'price'"),
        (table(other=1.0), {}, "columns price, other hold numbers; say which holds the prices with column=NAME"),
        (table(price="x"), {}, "no column holds numbers"),
        (table(price="x"), {"columns": ["price"]}, "has 'x' in row 1 .line 2., expected a number"),
        (table(price=np.nan), {"columns": ["price"]}, "column 'price' holds no number"),
        (table(), {"options": ReadOptions(time=("when",))}, "no time column 'when'"),
        (table(), {"columns": ["price", "price"]}, "several different ones"),
        (table(rows=10), {}, "has 10 rows, expected at least 100"),
        (table(minutes=1440), {}, "rows are 24 hours apart in the median, expected an hour or less"),
        (pd.concat([table(), table()]), {}, "300 times occur more than once, the first in row 1"),
    ],
)
def test_bad_files_are_told_in_one_line(frame: pd.DataFrame, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PriceError, match=message) as caught:
        read_series(save(frame), **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_no_such_file() -> None:
    with pytest.raises(PriceError, match=r"nowhere\.csv: no such file"):
        read_series(Path("nowhere.csv"))
