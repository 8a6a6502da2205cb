"""Symmetric equilibria, against definitions and against bimatrix enumeration."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.equilibrium.matrix_games import support_enumeration
from gridpilot.equilibrium.symmetric import symmetric_equilibria
from gridpilot.errors import GameError


def test_textbook_games() -> None:
    np.testing.assert_allclose(symmetric_equilibria([[-1, 4], [0, 2]]), [[2 / 3, 1 / 3]])  # hawk and dove
    np.testing.assert_allclose(symmetric_equilibria([[3, 0], [5, 1]]), [[0, 1]])  # prisoners
    np.testing.assert_allclose(symmetric_equilibria([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]), [[1 / 3] * 3])
    stag = symmetric_equilibria([[1, 1], [0, 4]])
    np.testing.assert_allclose(stag[:2], [[0, 1], [1, 0]])  # of as many strategies what earns more first
    np.testing.assert_allclose(stag[2], [0.75, 0.25])


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_they_are_those_that_bimatrix_enumeration_finds(n: int) -> None:
    random = np.random.default_rng(n)
    for _ in range(10):
        table = random.normal(size=(n, n)) * 300.0 + 1500.0
        expected = [x for x, y in support_enumeration(table, table.T) if np.abs(x - y).max() < 1e-9]
        found = symmetric_equilibria(table)
        assert len(found) == len(expected) >= 1
        for x in expected:
            assert min(np.abs(x - one).max() for one in found) < 1e-7


def test_a_dominated_strategy_has_no_weight_and_many_strategies_are_no_hindrance() -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(20, 20))
    table[10:] = table[:10] - 0.1  # each worse than another, whatever the others do
    for x in symmetric_equilibria(table):
        assert x.sum() == pytest.approx(1.0)
        assert (x[10:] == 0.0).all()
        assert (table @ x).max() - x @ table @ x < 1e-8
    with pytest.raises(GameError, match="17 strategies that no other dominates, expected at most 16"):
        symmetric_equilibria(np.eye(17))


def test_equal_strategies_share_an_equilibrium() -> None:
    found = symmetric_equilibria([[1, 1, 5], [1, 1, 5], [0, 0, 2]])
    assert [x.tolist() for x in found[:2]] == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(GameError, match="payoff"):
        symmetric_equilibria([[1, 2]])
