"""Cleaning: one finite row a step, whatever comes."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.forecasting.stream import GAP_DAYS, LARGEST, CleanRow, Stream

DAY = 24


def clean(rows: list[Any], channels: tuple[str, ...] = ("energy",)) -> tuple[list[CleanRow], Stream]:
    stream = Stream(channels, DAY)
    result = [clean for row in rows for clean in stream.take(row)]
    return result + stream.flush(), stream


def values(rows: list[CleanRow]) -> list[tuple[int, float]]:
    return [(row.step, float(row.prices[0])) for row in rows]


@pytest.mark.parametrize(
    ("rows", "expected", "note"),
    [
        ([(5, [1.0]), (6, [2.0])], [(5, 1.0), (6, 2.0)], None),
        ([(5, [1.0]), (8, [2.0])], [(5, 1.0), (6, 1.0), (7, 1.0), (8, 2.0)], "gap of 2 steps"),
        ([(5, [1.0]), (5, [3.0]), (6, [2.0])], [(5, 3.0), (6, 2.0)], "repeated"),
        ([(5, [1.0]), (6, [2.0]), (4, [9.0]), (7, [3.0])], [(5, 1.0), (6, 2.0), (7, 3.0)], "older"),
        ([(5, [1.0]), (6, [math.nan])], [(5, 1.0), (6, 1.0)], "price missing"),
        ([(5, [1.0]), (6, [math.inf])], [(5, 1.0), (6, 1.0)], "price missing"),
        ([(5, [1.0]), (6, ["dear"])], [(5, 1.0), (6, 1.0)], "price missing"),
        ([(5, [1.0]), (6, [None])], [(5, 1.0), (6, 1.0)], "price missing"),
        ([(5, [1.0]), (6, [1.0, 2.0])], [(5, 1.0), (6, 1.0)], "a row of 2 prices"),
        ([(5, [1.0]), (6, [-1e300])], [(5, 1.0), (6, -LARGEST)], "cut"),
        ([(5, [1.0]), (6.5, [2.0])], [(5, 1.0)], "whole number"),
        ([(5, [1.0]), "nonsense"], [(5, 1.0)], "row refused"),
        ([(5, [1.0]), (math.nan, [2.0])], [(5, 1.0)], "row refused"),
        ([(-3, [1.0]), (-2, [2.0])], [(-3, 1.0), (-2, 2.0)], None),
    ],
)
def test_rows_become_one_finite_row_a_step(rows: list[Any], expected: list[tuple[int, float]], note: str | None) -> None:
    found, stream = clean(rows)
    assert values(found) == expected
    assert [row.restart for row in found] == [True] + [False] * (len(found) - 1)
    assert any(note in text for text in stream.notes()) if note else stream.notes() == ()


def test_a_repetition_after_the_row_was_used_is_refused() -> None:
    stream = Stream(("energy",), DAY)
    stream.take((5, [1.0]))
    assert values(stream.flush()) == [(5, 1.0)]
    assert stream.take((5, [2.0])) == []
    assert stream.flush() == []
    assert "repeated after it was used" in stream.notes()[0]


def test_a_corrected_row_does_not_leave_its_first_price_behind() -> None:
    found, _ = clean([(5, [1.0]), (6, [99.0]), (6, [math.nan])])
    assert values(found) == [(5, 1.0), (6, 1.0)]


def test_a_gap_of_over_a_week_restarts_and_one_of_a_week_does_not() -> None:
    limit = GAP_DAYS * DAY
    found, _ = clean([(0, [1.0]), (limit + 1, [2.0])])
    assert len(found) == limit + 2
    assert not found[-1].restart
    found, stream = clean([(0, [1.0]), (limit + 2, [2.0])])
    assert values(found) == [(0, 1.0), (limit + 2, 2.0)]
    assert found[-1].restart
    assert "forgotten" in stream.notes()[0]


def test_held_prices_are_marked() -> None:
    found, _ = clean([(0, [1.0, 2.0]), (1, [math.nan, 3.0]), (3, [4.0, 5.0])], ("energy", "hash"))
    assert [row.held.tolist() for row in found] == [[False, False], [True, False], [True, True], [False, False]]


def test_a_channel_unknown_at_first_stands_at_zero_and_restarts_with_its_first_price() -> None:
    found, stream = clean([(0, [1.0, math.nan]), (1, [1.0, math.nan]), (2, [1.0, 7.0]), (3, [1.0, 8.0])], ("energy", "hash"))
    assert [float(row.prices[1]) for row in found] == [0.0, 0.0, 7.0, 8.0]
    assert [row.restart for row in found] == [True, False, True, False]
    assert any("hash" in note and "none before" in note for note in stream.notes())


def test_notes_are_bounded_and_fade() -> None:
    stream = Stream(("energy",), DAY)
    for step in range(500):
        stream.take((step, [1.0] * (step % 60 + 2)))
    assert len(stream.seen) <= 32
    for step in range(500, 500 + DAY + 1):
        stream.take((step, [1.0]))
    assert stream.notes() == ()


PRICES = st.lists(st.one_of(st.floats(), st.just("x"), st.none()), min_size=0, max_size=3)
ROWS = st.lists(st.tuples(st.one_of(st.integers(-50, 400), st.floats()), PRICES), max_size=40)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_any_rows_become_consecutive_finite_rows(rows: list[Any]) -> None:
    found, _ = clean(rows, ("energy", "hash"))
    for before, after in itertools.pairwise(found):
        assert after.step == before.step + 1 or after.restart
    for row in found:
        assert row.prices.shape == (2,)
        assert np.isfinite(row.prices).all()
        assert (np.abs(row.prices) <= LARGEST).all()


@settings(max_examples=50, deadline=None)
@given(ROWS, ROWS)
def test_a_pickled_stream_goes_on_as_if_nothing_had_happened(first: list[Any], second: list[Any]) -> None:
    stream = Stream(("energy", "hash"), DAY)
    for row in first:
        stream.take(row)
    copy = pickle.loads(pickle.dumps(stream))
    for row in second:
        for left, right in zip(stream.take(row), copy.take(row), strict=True):
            assert left.step == right.step
            np.testing.assert_array_equal(left.prices, right.prices)
    assert stream.notes() == copy.notes()
