"""Known games, and slow exact solutions to hold the quick ones against."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

ROCK_PAPER_SCISSORS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
MATCHING_PENNIES = np.array([[1.0, -1.0], [-1.0, 1.0]])
DILEMMA = np.array([[3.0, 0.0], [5.0, 1.0]])
HAWK_DOVE = np.array([[-1.0, 4.0], [0.0, 2.0]])
COORDINATION = np.eye(2)

Row = list[Fraction]


def tables(rows: int, columns: int, *, most: int = 9) -> st.SearchStrategy[npt.NDArray[np.float64]]:
    """Tables of small whole numbers, which are full of ties."""
    row = st.lists(st.integers(-most, most), min_size=columns, max_size=columns)
    return st.lists(row, min_size=rows, max_size=rows).map(lambda table: np.array(table, dtype=float))


def shaped_tables(largest: int, count: int) -> st.SearchStrategy[list[npt.NDArray[np.float64]]]:
    """``count`` tables of one shape, up to ``largest`` strategies a player."""
    sizes = st.tuples(st.integers(1, largest), st.integers(1, largest))
    return sizes.flatmap(lambda shape: st.lists(tables(*shape), min_size=count, max_size=count))


def solve_exactly(system: list[Row], right: Row) -> Row | None:
    """The solution of a square system in fractions, or None where it has not got exactly one."""
    n = len(system)
    rows = [[*line, value] for line, value in zip(system, right, strict=True)]
    for k in range(n):
        pivot = next((i for i in range(k, n) if rows[i][k] != 0), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for i in range(n):
            if i != k and rows[i][k] != 0:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [line[n] for line in rows]


def exact_mixtures(payoff: npt.NDArray[np.float64]) -> set[tuple[Fraction, ...]]:
    """Vertices of the best-response polyhedron in the other player's mixtures, every choice of tight inequalities tried."""
    other = payoff.shape[1]
    a = [[Fraction(float(value)) for value in line] for line in payoff]
    lines = [[*line, Fraction(-1)] for line in a]  # payoff y - v = 0
    lines += [[Fraction(int(i == j)) for j in range(other)] + [Fraction(0)] for i in range(other)]  # y_i = 0
    whole = [Fraction(1)] * other + [Fraction(0)]
    found = set()
    for tight in itertools.combinations(lines, other):
        solution = solve_exactly([whole, *tight], [Fraction(1)] + [Fraction(0)] * other)
        if solution is None:
            continue
        y, v = solution[:other], solution[other]
        if all(p >= 0 for p in y) and all(sum(p * q for p, q in zip(line, y, strict=True)) <= v for line in a):
            found.add(tuple(y))
    return found


def exact_equilibria(row: npt.NDArray[np.float64], column: npt.NDArray[np.float64]) -> set[tuple[tuple[Fraction, ...], ...]]:
    """All extreme equilibria of a bimatrix game in fractions."""
    a = [[Fraction(float(value)) for value in line] for line in row]
    b = [[Fraction(float(value)) for value in line] for line in column.T]
    found = set()
    for x, y in itertools.product(exact_mixtures(column.T), exact_mixtures(row)):
        of_row = [sum(p * q for p, q in zip(line, y, strict=True)) for line in a]
        of_column = [sum(p * q for p, q in zip(line, x, strict=True)) for line in b]
        if all(of_row[i] == max(of_row) for i, p in enumerate(x) if p) and all(
            of_column[j] == max(of_column) for j, p in enumerate(y) if p
        ):
            found.add((x, y))
    return found


def exact_stationary(rates: list[list[Fraction]]) -> list[Fraction]:
    """Stationary distribution of a chain with these rates (diagonal ignored), by the linear system, in fractions."""
    n = len(rates)
    flow = [[rates[i][j] if i != j else -sum(rates[j][k] for k in range(n) if k != j) for i in range(n)] for j in range(n)]
    solution = solve_exactly([*flow[:-1], [Fraction(1)] * n], [Fraction(0)] * (n - 1) + [Fraction(1)])
    assert solution is not None
    return solution
