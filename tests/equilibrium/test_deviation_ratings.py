"""Deviation ratings: known games, zero-sum games by their Nash equilibrium, clones, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.equilibrium.deviation_ratings import deviation_ratings, symmetric_deviation_ratings
from gridpilot.equilibrium.matrix_games import solve_zero_sum
from gridpilot.errors import GameError

from .games import COORDINATION, DILEMMA, HAWK_DOVE, ROCK_PAPER_SCISSORS, shaped_tables, tables

squares = st.integers(1, 5).flatmap(lambda n: tables(n, n))


@pytest.mark.parametrize(
    ("payoff", "ratings"),
    [
        (ROCK_PAPER_SCISSORS, [0, 0, 0]),
        (DILEMMA, [-1, 0]),
        (HAWK_DOVE, [-0.5, -1]),
        (COORDINATION, [-0.5, -0.5]),
        (np.zeros((3, 3)), [0, 0, 0]),
        ([[17.0]], [0]),
    ],
)
def test_known_games(payoff: Any, ratings: list[float]) -> None:
    found = symmetric_deviation_ratings(payoff)
    assert found == pytest.approx(ratings, abs=1e-12)
    assert not np.signbit(found[found == 0.0]).any()
    row, column = deviation_ratings(payoff, np.transpose(payoff))
    assert row == pytest.approx(ratings, abs=1e-12)
    assert column == pytest.approx(ratings, abs=1e-12)


def test_a_zero_sum_game_is_rated_by_its_equilibrium() -> None:
    for seed in range(60):
        r = np.random.default_rng(seed)
        half = r.normal(size=(r.integers(2, 8),) * 2)
        payoff = half - half.T
        expected = payoff @ solve_zero_sum(payoff).row
        assert symmetric_deviation_ratings(payoff) == pytest.approx(np.minimum(expected, 0.0), abs=1e-10)


@given(squares, st.data())
@settings(max_examples=100, deadline=None)
def test_ten_clones_move_no_rating(payoff: Any, data: Any) -> None:
    n = len(payoff)
    ratings = symmetric_deviation_ratings(payoff)
    assert (ratings <= 0.0).all()
    order = np.array([*range(n), *[data.draw(st.integers(0, n - 1))] * 10])
    order = np.array(data.draw(st.permutations(order.tolist())))
    cloned = symmetric_deviation_ratings(payoff[np.ix_(order, order)])
    assert cloned == pytest.approx(ratings[order], abs=1e-9 * max(1.0, np.ptp(payoff)))


def test_clones_among_payoffs_without_ties() -> None:
    for seed in range(40):
        r = np.random.default_rng(seed)
        n = int(r.integers(2, 9))
        payoff = 1000.0 * r.normal(size=(n, n))
        order = np.concatenate([np.arange(n), np.full(10, r.integers(n))])
        ratings = symmetric_deviation_ratings(payoff)
        assert symmetric_deviation_ratings(payoff[np.ix_(order, order)]) == pytest.approx(ratings[order], abs=1e-9 * np.ptp(payoff))


@given(squares, st.floats(0.01, 100), st.data())
@settings(max_examples=60, deadline=None)
def test_units_shifts_and_mixtures(payoff: Any, factor: float, data: Any) -> None:
    n = len(payoff)
    ratings = symmetric_deviation_ratings(payoff)
    of_other = np.array(data.draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n)), dtype=float)
    tolerance = 1e-9 * max(1.0, np.ptp(payoff))
    assert symmetric_deviation_ratings(factor * payoff + of_other) == pytest.approx(
        factor * ratings, abs=factor * tolerance + tolerance
    )
    weights = np.vstack([np.eye(n), np.full(n, 1.0 / n)])  # a strategy that mixes the others is no news to them
    assert symmetric_deviation_ratings(weights @ payoff @ weights.T)[:n] == pytest.approx(ratings, abs=tolerance)


@given(shaped_tables(4, 2))
@settings(max_examples=60, deadline=None)
def test_both_forms_agree_and_clones_move_nothing_in_either(game: Any) -> None:
    row, column = game
    of_row, of_column = deviation_ratings(row, column)
    tolerance = 1e-9 * max(1.0, np.ptp(row), np.ptp(column))
    clones = np.array([*range(len(row)), *[0] * 10])
    again, others = deviation_ratings(row[clones], column[clones])
    assert again == pytest.approx(of_row[clones], abs=tolerance)
    assert others == pytest.approx(of_column, abs=tolerance)
    swapped_column, swapped_row = deviation_ratings(column.T, row.T)
    assert swapped_row == pytest.approx(of_row, abs=tolerance)
    assert swapped_column == pytest.approx(of_column, abs=tolerance)
    if row.shape[0] == row.shape[1]:
        mirrored, _ = deviation_ratings(row, row.T)
        assert symmetric_deviation_ratings(row) == pytest.approx(mirrored, abs=tolerance)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: symmetric_deviation_ratings([[1, 2]]), "square"),
        (lambda: symmetric_deviation_ratings(np.zeros((63, 63))), "2,016 joint outcomes"),
        (lambda: deviation_ratings([[1, 2]], [[1]]), "equal shapes"),
        (lambda: deviation_ratings([[1, np.inf]], [[1, 1]]), "row[0][1] is inf"),
    ],
)
def test_what_cannot_be_rated_is_refused(call: Any, part: str) -> None:
    with pytest.raises(GameError) as error:
        call()
    assert part in str(error.value)
