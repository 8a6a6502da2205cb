"""Drawn and recorded price rows."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gridpilot.errors import PriceError
from gridpilot.live import price_feed
from gridpilot.live.api import TICK, PriceRow, format_time
from gridpilot.live.price_feed import OPENING, generate_rows, read_rows
from tests.live.worlds import entry, walk
from tests.test_structure import ROOT

EVENT = yaml.safe_load((ROOT / "conf" / "prices" / "mara_event.yaml").read_text(encoding="utf-8"))


FEEDS = ("mara_event", "ercot")


def values(rows: list[PriceRow]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([row.raw for row in rows])


@pytest.mark.parametrize("feed", FEEDS)
@given(seed=st.integers(0, 2**64 - 1), short=st.integers(0, 40), more=st.integers(0, 40))
def test_a_longer_feed_begins_with_the_shorter_one(feed: str, seed: int, short: int, more: int) -> None:
    rows = generate_rows(feed, seed, short + more)
    assert rows[:short] == generate_rows(feed, seed, short)
    assert [row.at for row in rows] == [OPENING + i * TICK for i in range(short + more)]


@pytest.mark.parametrize("feed", FEEDS)
def test_seeds_give_different_feeds_of_finite_positive_prices(feed: str) -> None:
    first, second = (values(generate_rows(feed, seed, 2000)) for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert np.isfinite(first).all()
    assert (first > 0.0).all()


def test_the_walk_of_the_event_opens_and_moves_as_its_preset_says() -> None:
    prices = values(generate_rows("mara_event", 7, 5000))
    assert prices[0].tolist() == [3.0, 4.0, 2.0]
    for channel, name in enumerate(("energy", "hash", "token")):
        walk, path = EVENT[name], prices[:, channel]
        assert path.min() >= walk["low"]
        assert path.max() <= walk["high"]
        assert (np.abs(path[1:] / path[:-1] - 1.0) <= walk["step"] * (1.0 + 1e-12)).all()
        moved = path[1:] / path[:-1] - 1.0
        assert moved.std() > 0.8 * walk["step"] / np.sqrt(3.0)  # it uses its step


def test_the_garch_feed_is_about_as_high_as_the_walk() -> None:
    means = {feed: np.mean([values(generate_rows(feed, seed, 8640)).mean(axis=0) for seed in range(12)], axis=0) for feed in FEEDS}
    assert means["ercot"] == pytest.approx(means["mara_event"], rel=0.35)
    assert values(generate_rows("ercot", 3, 20_000))[:, 0].min() == price_feed.ENERGY_FLOOR


def test_the_garch_feed_knows_the_time_of_day() -> None:
    noon, midnight = OPENING, OPENING.replace(hour=0)
    assert generate_rows("ercot", 5, 10, start=noon) == generate_rows("ercot", 5, 154, start=midnight)[144:]


def test_a_feed_takes_parameters_and_a_model_of_ones_own() -> None:
    assert generate_rows({"name": "mara_event"}, 4, 9) == generate_rows("mara_event", 4, 9)
    assert generate_rows({"name": "mara_event", "begin": "stationary"}, 4, 9) != generate_rows("mara_event", 4, 9)
    Path("my_feed_here.py").write_text(
        "import numpy as np\nfrom gridpilot import PriceModel\n\nclass Flat(PriceModel):\n"
        "    def __init__(self, energy=0.05):\n        self.energy = energy\n\n"
        "    def simulate(self, root, episodes, ticks, *, history=0):\n"
        "        prices = np.tile([self.energy, 2.0, 0.3], (history + ticks, len(episodes), 1))\n"
        "        return prices, np.zeros(len(episodes), dtype=np.int64)\n"
    )
    rows = generate_rows({"name": "my_feed_here.Flat", "energy": 0.1}, 0, 3)
    assert values(rows) == pytest.approx(np.tile([0.1, 2.0, 0.3], (3, 1)) * price_feed.RAW_PER_DOLLAR)
    assert generate_rows("my_feed_here.Flat", 0, 1)[0].raw[0] == pytest.approx(0.05 * 46.0)


def test_a_start_elsewhere_on_earth_is_the_same_instant() -> None:
    start = datetime.fromisoformat("2025-06-21T14:00:00+02:00")
    assert generate_rows("mara_event", 0, 2, start=start) == generate_rows("mara_event", 0, 2)


@pytest.mark.parametrize(
    ("feed", "seed", "count", "start", "message"),
    [
        ("mars", 0, 1, OPENING, "prices 'mars': expected one of aemo_nsw, ercot"),
        ("mara_event", -1, 1, OPENING, "root seed is -1"),
        ("ercot", 2**64, 1, OPENING, "root seed"),
        ("ercot", 0, -1, OPENING, "count is -1"),
        ("ercot", 0, True, OPENING, "count is True"),
        ("ercot", 0, 1, OPENING + timedelta(seconds=1), "start is 2025-06-21T12:00:01, expected a five-minute mark"),
    ],
)
def test_what_cannot_be_drawn_is_refused(feed: Any, seed: int, count: Any, start: datetime, message: str) -> None:
    with pytest.raises(PriceError, match=message):
        generate_rows(feed, seed, count, start=start)


# Files.


def write_csv(rows: list[PriceRow], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["note", "timestamp", "energy_price", "hash_price", "token_price"])
        writer.writerows(["x", format_time(row.at), *row.raw] for row in rows)
    return path


def write_json(rows: list[PriceRow], path: Path) -> Path:
    path.write_text(json.dumps([entry(row, note=None) for row in rows]), encoding="utf-8")
    return path


@pytest.mark.parametrize("write", [write_csv, write_json])
@pytest.mark.parametrize("keep", [slice(None), slice(None, None, -1), slice(None, None, 3), slice(0, 1)])
def test_files_in_either_order_with_gaps_give_the_rows_oldest_first(write: Any, keep: slice) -> None:
    rows = walk(30)[keep]
    path = write(rows, Path("rows.json" if write is write_json else "rows.csv"))
    assert read_rows(path) == sorted(rows, key=lambda row: row.at)


def test_spreadsheets_add_marks_spaces_and_empty_lines() -> None:
    Path("rows.csv").write_text(
        "\ufefftimestamp, energy_price ,hash_price,token_price\r\n 2025-06-21T12:00:00Z,3.0, 4,-2e0\r\n\r\n", encoding="utf-8"
    )
    assert read_rows(Path("rows.csv")) == [PriceRow(datetime(2025, 6, 21, 12, tzinfo=UTC), 3.0, 4.0, -2.0)]


HEAD = "timestamp,energy_price,hash_price,token_price\n"
GOOD = "2025-06-21T12:00:00,3,4,2\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.parquet", "", "rows.parquet: expected a name that ends in .csv or .json"),
        ("gone.csv", None, "gone.csv: no such file"),
        ("folder.csv", ..., "folder.csv: cannot be read: Is a directory"),
        ("rows.csv", "", "rows.csv: has no rows"),
        ("rows.csv", HEAD, "rows.csv: has no rows under its heading"),
        ("rows.csv", "timestamp,energy_price\n2025-06-21T12:00:00,3\n", "rows.csv: hash_price, token_price missing"),
        ("rows.csv", HEAD + GOOD + "2025-06-21T12:05:00,3,four,2\n", "column 'hash_price' has 'four' in row 2 (line 3), expected a number"),
        ("rows.csv", HEAD + "2025-06-21T12:05:00,3,4\n", "row 1 (line 2): token_price is nan"),
        ("rows.csv", HEAD + "2025-06-21T12:05:00,nan,4,2\n", "row 1 (line 2): energy_price is nan, expected a finite number"),
        ("rows.csv", HEAD + "2025-06-21T12:05:00,3,4,inf\n", "column 'token_price' has inf in row 1 (line 2)"),
        ("rows.csv", HEAD + "yesterday,3,4,2\n", "time column 'timestamp' has 'yesterday' in row 1 (line 2), expected a time as"),
        ("rows.csv", HEAD + "2025-06-21T12:03:00,3,4,2\n", "row 1 (line 2): timestamp is 2025-06-21T12:03:00, expected a five-minute"),
        ("rows.csv", HEAD + "2025-06-21T12:05:01,3,4,2\n", "five-minute mark"),
        ("rows.csv", HEAD + GOOD + GOOD, "(line 3): timestamp 2025-06-21T12:00:00 after 2025-06-21T12:00:00, expected rising times"),
        (
            "rows.csv",
            HEAD + GOOD + "2025-06-21T12:10:00,3,4,2\n2025-06-21T12:05:00,3,4,2\n",
            "(line 4): timestamp 2025-06-21T12:05:00 after 2025-06-21T12:10:00, expected rising times",
        ),
        (
            "rows.csv",
            HEAD + GOOD + "2025-06-21T11:50:00,3,4,2\n2025-06-21T11:55:00,3,4,2\n",
            "(line 4): timestamp 2025-06-21T11:55:00 after 2025-06-21T11:50:00, expected falling times",
        ),
        ("rows.csv", HEAD + '"2025-06-21', "rows.csv: line 2 cannot be read as csv"),
        ("rows.csv", b"timestamp\x00\xff\n", "rows.csv: cannot be read as text: line 1 holds a zero byte"),
        ("rows.json", "[", "rows.json: no JSON"),
        ("rows.json", "[" * 100_000, "rows.json: no JSON"),
        ("rows.json", "{}", "rows.json: holds dict, expected an array"),
        ("rows.json", "[]", "rows.json: no price rows"),
        ("rows.json", "[3]", "rows.json: row 1 is 3, expected an object"),
        ("rows.json", '[{"timestamp": "2025-06-21T12:00:00"}]', "rows.json: row 1: energy_price, hash_price, token_price missing"),
        (
            "rows.json",
            '[{"timestamp": "2025-06-21T12:00:00", "energy_price": NaN, "hash_price": 1, "token_price": 1}]',
            "rows.json: row 1: energy_price is nan",
        ),
        (
            "rows.json",
            '[{"timestamp": "2025-06-21T12:00:00", "energy_price": true, "hash_price": 1, "token_price": 1}]',
            "energy_price is True",
        ),
        (
            "rows.json",
            f'[{{"timestamp": "2025-06-21T12:00:00", "energy_price": 1{"0" * 400}, "hash_price": 1, "token_price": 1}}]',
            "row 1: energy_price is 10000",
        ),
        ("rows.json", '[{"timestamp": 5, "energy_price": 1, "hash_price": 1, "token_price": 1}]', "timestamp is 5, expected a time"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_with_its_place(name: str, content: Any, message: str) -> None:
    path = Path(name)
    if content is ...:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PriceError) as caught:
        read_rows(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
