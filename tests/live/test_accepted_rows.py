"""What is accepted as a price, and that a bad row spoils nothing but itself."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpilot.live.accepted_rows import AcceptedRows
from gridpilot.live.api import TICK, PriceRow
from tests.live.worlds import entry, risk, walk

NAN = float("nan")


def feed(keep: int = 1000, **changes: Any) -> AcceptedRows:
    return AcceptedRows(risk(**changes), keep)


def test_readings_in_any_order_with_repetitions_give_the_same_rows() -> None:
    rows = walk(60)
    for seed in range(5):
        shuffled = [entry(row) for row in rows for _ in range(2)]
        random.Random(seed).shuffle(shuffled)
        known = feed()
        merge = known.merge(shuffled, rows[-1].at)
        assert merge.accepted == tuple(rows)
        assert merge.refused == ()
        assert known.newest == rows[-1]
        again = known.merge(shuffled, rows[-1].at)
        assert (again.accepted, again.refused) == ((), ())


@pytest.mark.parametrize("stamp", ["{}Z", "{}+00:00", "{}"])
def test_times_with_and_without_a_zone_are_the_same(stamp: str) -> None:
    rows = walk(2)
    known = feed()
    known.merge([entry(rows[0])], rows[0].at)
    changed = entry(rows[0], timestamp=stamp.format(entry(rows[0])["timestamp"]))
    assert known.merge([changed, entry(rows[1])], rows[1].at).accepted == (rows[1],)


def test_numbers_may_be_strings_and_further_fields_are_ignored() -> None:
    row = walk(1)[0]
    body = entry(row, energy_price=repr(row.energy), hash_price=str(row.hash), id=7)
    assert feed().merge([body], row.at).accepted == (row,)


BAD = [
    ({"energy_price": NAN}, "price_nan"),
    ({"hash_price": float("inf")}, "price_nan"),
    ({"energy_price": -0.5}, "price_negative"),
    ({"token_price": -1e-9}, "price_negative"),
    ({"hash_price": 5000.0}, "price_band"),
    ({"energy_price": 3000.0}, "price_band"),
    ({"energy_price": 30.0}, "price_jump"),
    ({"token_price": 0.002}, "price_jump"),
    ({"hash_price": 0.0}, "price_jump"),
    ({"energy_price": None}, "row_unreadable"),
    ({"energy_price": True}, "row_unreadable"),
    ({"energy_price": "three"}, "row_unreadable"),
    ({"energy_price": [1.0]}, "row_unreadable"),
    ({"timestamp": None}, "row_unreadable"),
    ({"timestamp": "yesterday"}, "row_unreadable"),
    ({"timestamp": "0001-01-01T00:00:00+14:00"}, "row_unreadable"),
    ({"timestamp": "2035-06-21T12:00:00"}, "row_from_the_future"),
]


@pytest.mark.parametrize(("changes", "code"), BAD)
def test_a_bad_row_is_refused_alone_told_once_and_later_rows_are_taken(changes: dict[str, Any], code: str) -> None:
    rows = walk(12)
    known = feed()
    known.merge([entry(row) for row in rows[:10]], rows[9].at)
    reading = [entry(rows[10], **changes), *(entry(row) for row in rows[:10])]
    merge = known.merge(reading, rows[10].at)
    assert [refusal.reason for refusal in merge.refused] == [code]
    assert merge.accepted == ()
    assert known.newest == rows[9]
    assert known.merge(reading, rows[10].at).refused == ()  # told once
    assert known.merge([entry(rows[11]), *reading], rows[11].at).accepted == (rows[11],)


@pytest.mark.parametrize("junk", [None, 3, "row", [], [1, 2], {}, {"timestamp": {}}])
def test_entries_that_are_no_rows_are_refused(junk: Any) -> None:
    row = walk(1)[0]
    merge = feed().merge([junk, entry(row)], row.at)
    assert merge.accepted == (row,)
    assert [refusal.reason for refusal in merge.refused] == ["row_unreadable"]


def test_a_known_row_does_not_change() -> None:
    rows = walk(5)
    known = feed()
    known.merge([entry(row) for row in rows], rows[-1].at)
    merge = known.merge([entry(rows[3], energy_price=rows[3].energy * 1.01)], rows[-1].at)
    assert [refusal.reason for refusal in merge.refused] == ["row_changed"]
    assert known.rows == tuple(rows)


def test_a_unit_flip_is_not_believed_however_long_it_lasts_but_a_plain_shift_is_after_a_while() -> None:
    def refused_for(factor: float) -> int:
        rows = walk(100, seed=3)
        known = feed()
        known.merge([entry(row) for row in rows[:20]], rows[19].at)
        for n, row in enumerate(rows[20:]):
            shifted = PriceRow(row.at, min(rows[19].energy * factor, 99.0), row.hash, row.token)
            if known.merge([entry(shifted)], row.at).accepted:
                return n
        return 80

    assert refused_for(1.5) == 0
    assert 1 <= refused_for(5.0) <= 3
    assert refused_for(1 / 1000) == 80


def test_a_check_that_is_switched_off_lets_prices_through() -> None:
    rows = walk(3)
    open_band = {"low": None, "high": None, "jump": None}
    known = feed(energy=open_band)
    known.merge([entry(rows[0])], rows[0].at)
    assert known.merge([entry(rows[1], energy_price=-70.0)], rows[1].at).accepted[0].energy == -70.0


def test_only_the_newest_rows_are_kept_and_forgotten_ones_stay_forgotten() -> None:
    rows = walk(50)
    known = feed(keep=10)
    whole = [entry(row) for row in rows]
    known.merge(whole, rows[-1].at)
    assert known.rows == tuple(rows[-10:])
    assert known.merge(whole, rows[-1].at + timedelta(minutes=1)).accepted == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["timestamp", "energy_price", "hash_price", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=8))
def test_no_answer_breaks_the_feed(entries: list[Any]) -> None:
    rows = walk(4)
    known = feed()
    known.merge([entry(row) for row in rows[:3]], rows[2].at)
    entries = json.loads(json.dumps(entries))
    known.merge(entries, rows[3].at)
    assert known.merge([*entries, entry(rows[3])], rows[3].at + TICK).accepted[-1:] == (rows[3],)


def test_a_flood_of_refused_rows_is_told_in_few_words_and_once() -> None:
    rows = walk(3000)
    known = feed()
    spoilt = [entry(row, hash_price=5000.0 + i / 100) for i, row in enumerate(rows[:-1])]
    merge = known.merge([*spoilt, entry(rows[-1])], rows[-1].at)
    assert merge.accepted == (rows[-1],)
    assert len(merge.refused) == 20
    assert merge.refused[-1].at == rows[-2].at  # the newest, which the next decision may hang on
    (counted,) = [refusal for refusal in merge.refused if "more rows" in refusal.message]
    assert counted.message == "2980 more rows refused in one reading: price_band 2980"
    again = known.merge([*spoilt, entry(rows[-1])], rows[-1].at)
    assert (again.accepted, again.refused) == ((), ())


def test_a_row_that_was_too_early_is_taken_in_its_time_and_a_jump_beside_other_rows() -> None:
    rows = walk(3)
    known = feed()
    early = known.merge([entry(rows[-1])], rows[-1].at - timedelta(hours=1))
    assert [refusal.reason for refusal in early.refused] == ["row_from_the_future"]
    assert known.merge([entry(rows[-1])], rows[-1].at).accepted == (rows[-1],)


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": "x" * 10_000_000},
        {"timestamp": "2026-01-05T12:00:00." + "0" * 1_000_000},
        {"timestamp": ["x" * 1_000_000]},
        {"hash_price": "9" * 5_000_000},
        {"hash_price": {"a": "y" * 1_000_000}},
    ],
)
def test_fields_have_a_length(change: dict[str, Any]) -> None:
    (row,) = walk(1)
    known = feed()
    for _ in range(3):
        merge = known.merge([entry(row, **change)], row.at)
        for refusal in merge.refused:
            assert refusal.reason == "row_unreadable"
            assert len(refusal.message) < 200
            assert len(refusal.row) <= 300
    assert known.merge([entry(row)], row.at).accepted == (row,)


def test_one_time_written_in_many_ways_takes_no_memory() -> None:
    rows = walk(4)
    known = feed(keep=50)
    for i in range(400):
        stamp = f"{entry(rows[0])['timestamp']}.{i:06d}"[:26]
        known.merge([entry(rows[0], timestamp=stamp)], rows[-1].at)
    assert len(known._values) <= 4 * 50 + 21
