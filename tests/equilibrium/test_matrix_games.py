"""Zero-sum games, enumeration of equilibria and NashConv: known games, exact fractions, laws, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.equilibrium.matrix_games import nashconv, nashconv_of_uniform, solve_zero_sum, support_enumeration
from gridpilot.errors import GameError

from .games import (
    COORDINATION,
    DILEMMA,
    HAWK_DOVE,
    MATCHING_PENNIES,
    ROCK_PAPER_SCISSORS,
    exact_equilibria,
    shaped_tables,
    tables,
)


@pytest.mark.parametrize(
    ("payoff", "value", "row", "column"),
    [
        (MATCHING_PENNIES, 0.0, [0.5, 0.5], [0.5, 0.5]),
        (ROCK_PAPER_SCISSORS, 0.0, [1 / 3] * 3, [1 / 3] * 3),
        ([[2, -1], [-3, 4]], 0.5, [0.7, 0.3], [0.5, 0.5]),  # (ad - bc) / (a + d - b - c) = 5 / 10
        ([[3, 1], [4, 2]], 2.0, [0, 1], [0, 1]),  # a saddle point
        ([[0, 2, 3]], 0.0, [1], [1, 0, 0]),
        ([[0], [2], [3]], 3.0, [0, 0, 1], [1]),
        ([[-7.5]], -7.5, [1], [1]),
        ([[1e6 + 1, 1e6 - 1], [1e6 - 1, 1e6 + 1]], 1e6, [0.5, 0.5], [0.5, 0.5]),
    ],
)
def test_known_zero_sum_games(payoff: Any, value: float, row: Any, column: Any) -> None:
    solution = solve_zero_sum(payoff)
    assert solution.value == pytest.approx(value, abs=1e-12, rel=1e-15)
    assert solution.row == pytest.approx(row, abs=1e-12)
    assert solution.column == pytest.approx(column, abs=1e-12)


@given(shaped_tables(6, 1), st.floats(0.01, 1000), st.floats(-1000, 1000))
@settings(max_examples=60, deadline=None)
def test_optimal_strategies_hold_the_value_whatever_the_units(game: Any, factor: float, shift: float) -> None:
    (payoff,) = game
    solution = solve_zero_sum(payoff)
    assert (solution.row @ payoff).min() == pytest.approx(solution.value, abs=1e-11)
    assert (payoff @ solution.column).max() == pytest.approx(solution.value, abs=1e-11)
    moved = solve_zero_sum(factor * payoff + shift)
    assert moved.value == pytest.approx(factor * solution.value + shift, abs=1e-11 * (100 * factor + abs(shift)))
    assert solve_zero_sum(-payoff.T).value == pytest.approx(-solution.value, abs=1e-11)


def test_a_game_with_one_solution_is_solved_alike_in_every_order() -> None:
    r = np.random.default_rng(5)
    for _ in range(40):
        payoff = r.normal(size=(5, 4))
        solution, rows, columns = solve_zero_sum(payoff), r.permutation(5), r.permutation(4)
        moved = solve_zero_sum(payoff[np.ix_(rows, columns)])
        assert moved.row == pytest.approx(solution.row[rows], abs=1e-11)
        assert moved.column == pytest.approx(solution.column[columns], abs=1e-11)


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        pytest.param(DILEMMA, DILEMMA.T, [([0, 1], [0, 1])], id="dilemma"),
        pytest.param(
            HAWK_DOVE, HAWK_DOVE.T, [([1, 0], [0, 1]), ([0, 1], [1, 0]), ([2 / 3, 1 / 3], [2 / 3, 1 / 3])], id="hawk-dove"
        ),
        pytest.param(COORDINATION, COORDINATION, [([1, 0], [1, 0]), ([0, 1], [0, 1]), ([0.5, 0.5], [0.5, 0.5])], id="coordination"),
        pytest.param(MATCHING_PENNIES, -MATCHING_PENNIES, [([0.5, 0.5], [0.5, 0.5])], id="matching pennies"),
        pytest.param(
            [[2, 0], [0, 1]], [[1, 0], [0, 2]], [([1, 0], [1, 0]), ([0, 1], [0, 1]), ([2 / 3, 1 / 3], [1 / 3, 2 / 3])], id="sexes"
        ),
        # Degenerate: against the first row the column player is indifferent; supports of unequal size.
        pytest.param([[1, 1], [0, 2]], [[1, 1], [1, 0]], [([1, 0], [1, 0]), ([1, 0], [0.5, 0.5])], id="unequal supports"),
        pytest.param(
            [[0, 0], [0, 0]],
            [[0, 0], [0, 0]],
            [([1, 0], [1, 0]), ([1, 0], [0, 1]), ([0, 1], [1, 0]), ([0, 1], [0, 1])],
            id="nothing",
        ),
        pytest.param([[5]], [[-5]], [([1], [1])], id="one each"),
        pytest.param([[0, 0, 0]], [[1, 3, 3]], [([1], [0, 1, 0]), ([1], [0, 0, 1])], id="one chooses"),
    ],
)
def test_known_bimatrix_games(row: Any, column: Any, expected: Any) -> None:
    found = support_enumeration(row, column)
    assert len(found) == len(expected)
    for (x, y), (expected_x, expected_y) in zip(found, expected, strict=True):
        assert x == pytest.approx(expected_x, abs=1e-12)
        assert y == pytest.approx(expected_y, abs=1e-12)


@given(shaped_tables(3, 2))
@settings(max_examples=150, deadline=None)
def test_every_extreme_equilibrium_is_found_once(game: Any) -> None:
    row, column = game
    exact = sorted(tuple(float(p) for q in pair for p in q) for pair in exact_equilibria(row, column))
    found = sorted(tuple(round(p, 12) for p in (*x.tolist(), *y.tolist())) for x, y in support_enumeration(row, column))
    assert len(found) == len(exact)
    for a, b in zip(found, exact, strict=True):
        assert a == pytest.approx(b, abs=1e-11)


@given(shaped_tables(4, 2), st.floats(0.01, 100), st.data())
@settings(max_examples=60, deadline=None)
def test_equilibria_move_with_strategies_and_not_with_units(game: Any, factor: float, data: Any) -> None:
    row, column = game
    m, n = row.shape
    rows, columns = data.draw(st.permutations(range(m))), data.draw(st.permutations(range(n)))
    of_other = np.array(data.draw(st.lists(st.integers(-50, 50), min_size=n, max_size=n)), dtype=float)
    found = support_enumeration(row, column)
    moved = support_enumeration((factor * row + of_other)[np.ix_(rows, columns)], (column - 7.0)[np.ix_(rows, columns)])

    def keys(pairs: Any) -> Any:
        return sorted(tuple(round(float(p), 6) + 0.0 for q in pair for p in q) for pair in pairs)

    assert keys(moved) == keys([(x[rows], y[columns]) for x, y in found])


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (5, 3), (6, 6), (2, 12)])
def test_games_without_ties_have_an_odd_number_of_equilibria(shape: tuple[int, int]) -> None:
    # Wilson 1971. An enumeration that misses one, or lists one twice, shows here.
    for seed in range(25):
        r = np.random.default_rng(seed)
        row, column = r.normal(size=shape), r.normal(size=shape)
        found = support_enumeration(row, column)
        assert len(found) % 2 == 1
        for x, y in found:
            assert nashconv([row, column], [x, y]) <= 1e-12
            assert (x > 0).sum() == (y > 0).sum()


def test_nashconv() -> None:
    assert nashconv_of_uniform(DILEMMA, DILEMMA.T) == 1.5
    assert nashconv([DILEMMA, DILEMMA.T], [[0.5, 0.5], [1, 0]]) == 2.5  # 5 - 4, and 3 - 1.5
    assert nashconv([[3.0, 5.0, 4.0]], [[0.5, 0.5, 0]]) == 1.0  # one player
    r = np.random.default_rng(0)
    tensors = [r.normal(size=(2, 3, 4)) for _ in range(3)]
    p = [r.dirichlet(np.ones(size)) for size in (2, 3, 4)]
    expected = 0.0
    for k, table in enumerate(tensors):
        values = [
            np.einsum("abc,a,b,c->", table, *[q if j != k else np.eye(len(q))[s] for j, q in enumerate(p)])
            for s in range(len(p[k]))
        ]
        expected += max(values) - float(np.dot(p[k], values))
    assert nashconv(tensors, p) == pytest.approx(expected, abs=1e-14)


@given(tables(3, 3))
@settings(max_examples=30, deadline=None)
def test_nashconv_is_never_negative(payoff: Any) -> None:
    assert nashconv_of_uniform(payoff, -payoff) >= 0.0


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: solve_zero_sum([]), "payoff is []"),
        (lambda: solve_zero_sum([[], []]), "at least one strategy"),
        (lambda: solve_zero_sum([[1, 2], [3]]), "equally long"),
        (lambda: solve_zero_sum([1, 2]), "1 axes, expected 2"),
        (lambda: solve_zero_sum([[1, np.nan]]), "payoff[0][1] is nan"),
        (lambda: solve_zero_sum([[1, 1e200]]), "within 1e100"),
        (lambda: solve_zero_sum(np.zeros((1001, 1000))), "1001 x 1000"),
        (lambda: support_enumeration([[1, 2]], [[1], [2]]), "equal shapes"),
        (lambda: support_enumeration(np.zeros((10, 11)), np.zeros((10, 11))), "352,716"),
        (lambda: support_enumeration(np.zeros((2, 21)), np.zeros((2, 21))), "20 strategies a player"),
        (lambda: nashconv([], []), "at least one"),
        (lambda: nashconv([DILEMMA, DILEMMA[:1]], [[1, 0], [1, 0]]), "expected equal"),
        (lambda: nashconv([DILEMMA, DILEMMA], [[1, 0], [1, 1]]), "profile[1] is [1.0, 1.0] with the sum 2"),
        (lambda: nashconv([DILEMMA, DILEMMA], [[1, 0], [1]]), "expected 2 probabilities"),
        (lambda: nashconv([DILEMMA, DILEMMA], [[1, 0], ["a", 1]]), "expected 2 probabilities"),
    ],
)
def test_what_is_no_game_is_refused(call: Any, part: str) -> None:
    with pytest.raises(GameError) as error:
        call()
    assert part in str(error.value)
    assert "\n" not in str(error.value)
