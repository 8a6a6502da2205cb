"""Deviation ratings: strategies rated by what deviating to them gains from the strictest equilibrium, which clones cannot move.

Marris, Liu, Gemp, Piliouras and Lanctot, "Deviation Ratings: A General, Clone-Invariant Rating Method", arXiv 2502.11645. Over joint
distributions sigma of play let d_a(sigma) be what a player gains that plays a whatever it was told. The largest d is made as small as
it can be; strategies that hold it there get that value as their rating, and a bound; the largest of the others is made as small as it
can be; and so on. Ratings are at most 0, as a coarse correlated equilibrium exists. The best strategies have the highest.

Which strategies hold the optimum is read off the dual prices: a positive one means that d equals the optimum in *every* optimal
distribution. A constraint can also happen to be tight in the one that the solver found: freezing by slack gives wrong ratings.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.equilibrium.game_input import FloatArray, check_payoff
from gridpilot.errors import GameError

__all__ = ["MOST_OUTCOMES", "deviation_ratings", "symmetric_deviation_ratings"]

MOST_OUTCOMES: Final = 2_000  # joint outcomes of a game, the columns of each programme: 62 strategies in pairs, some seconds
POSITIVE: Final = 1e-9  # a dual price above it; those of the strategies not yet rated add up to 1
OPTIONS: Final[dict[str, bool | int | float | str]] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "solver": "simplex",
    "presolve": "off",  # a presolved programme forgets the basis of the one before
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
    "small_matrix_value": 1e-12,
}


def symmetric_deviation_ratings(payoff: npt.ArrayLike) -> FloatArray:
    """Ratings ``(n,)``, <= 0 and in the unit of the payoffs, of the strategies of a symmetric game.

    ``payoff``  ``(n, n)`` what one who plays s earns among others who play t. A game of many players is rated by these pairs.

    A pair (i, j) has each of the two places as often, so that d_a = sum of sigma_ij (M[a, j] - M[i, j] + M[a, i] - M[j, i]) / 2.

    Raises :class:`~gridpilot.errors.GameError` for what is no square table, one with more than ``MOST_OUTCOMES`` pairs, and a programme
    that the solver could not do.
    """
    table = check_payoff(payoff, square=True)
    n = len(table)
    _check_outcomes(n * (n + 1) // 2)
    i, j = np.triu_indices(n)
    return _rate(0.5 * ((table[:, j] - table[i, j]) + (table[:, i] - table[j, i])))


def deviation_ratings(row: npt.ArrayLike, column: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Ratings ``(m,)`` and ``(n,)`` of both players' strategies in a bimatrix game of payoffs ``(m, n)`` in one unit.

    Errors are those of :func:`symmetric_deviation_ratings`, and tables of unequal shapes.
    """
    a, b = check_payoff(row, "row"), check_payoff(column, "column")
    if a.shape != b.shape:
        raise GameError(f"row has shape {a.shape} and column {b.shape}, expected equal shapes")
    m, n = a.shape
    _check_outcomes(m * n)
    of_row = (a[:, None, :] - a[None, :, :]).reshape(m, m * n)  # [a, (i, j)] = row[a, j] - row[i, j]
    of_column = (b[:, :, None] - b[:, None, :]).transpose(1, 0, 2).reshape(n, m * n)  # [c, (i, j)] = column[i, c] - column[i, j]
    ratings = _rate(np.vstack([of_row, of_column]))
    return ratings[:m], ratings[m:]


def _rate(gains: FloatArray) -> FloatArray:
    """Ratings ``(R,)`` by the gain ``(R, outcomes)`` of each deviation from each outcome: one programme a distinct rating."""
    deviations, outcomes = gains.shape
    unit = float(np.abs(gains).max())
    if unit == 0.0:
        return np.zeros(deviations)
    solver = _programme(gains / unit)
    ratings, open_ = np.zeros(deviations), np.ones(deviations, dtype=bool)
    while open_.any():
        duals, worst = _solve(solver, deviations, outcomes)
        frozen = open_ & (duals[:deviations] < -POSITIVE)
        if not frozen.any():
            raise GameError(f"deviation ratings: no dual price above {POSITIVE:g} among {int(open_.sum())} strategies")
        ratings[frozen] = worst if worst < 0.0 else 0.0  # never -0
        open_ &= ~frozen
        for k in np.flatnonzero(frozen).tolist():
            solver.changeCoeff(k, outcomes, 0.0)
            solver.changeRowBounds(k, -np.inf, worst)
    return ratings * unit


def _programme(gains: FloatArray) -> Any:
    """HiGHS with: minimise z such that gains sigma - z <= 0, sum sigma = 1, sigma >= 0."""
    import highspy

    deviations, outcomes = gains.shape
    matrix = np.zeros((deviations + 1, outcomes + 1))
    matrix[:deviations, :outcomes] = np.where(np.abs(gains) < 1e-15, 0.0, gains)
    matrix[:deviations, outcomes] = -1.0
    matrix[deviations, :outcomes] = 1.0
    filled = matrix.T != 0.0  # by columns
    programme = highspy.HighsLp()
    programme.num_col_, programme.num_row_ = outcomes + 1, deviations + 1
    programme.col_cost_ = np.append(np.zeros(outcomes), 1.0)
    programme.col_lower_ = np.append(np.zeros(outcomes), -np.inf)
    programme.col_upper_ = np.full(outcomes + 1, np.inf)
    programme.row_lower_ = np.append(np.full(deviations, -np.inf), 1.0)
    programme.row_upper_ = np.append(np.zeros(deviations), 1.0)
    programme.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    programme.a_matrix_.start_ = np.append(0, np.cumsum(filled.sum(axis=1))).astype(np.int32)
    programme.a_matrix_.index_ = np.nonzero(filled)[1].astype(np.int32)
    programme.a_matrix_.value_ = matrix.T[filled]
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in OPTIONS.items():
        solver.setOptionValue(name, value)
    solver.passModel(programme)
    return solver


def _solve(solver: Any, deviations: int, outcomes: int) -> tuple[FloatArray, float]:
    """Dual prices of the rows, and the optimum."""
    import highspy

    for attempt in ("warm", "cold"):  # a basis can be numerically bad for the next solve; from scratch it need not be
        solver.run()
        if solver.getModelStatus() == highspy.HighsModelStatus.kOptimal:
            solution = solver.getSolution()
            return np.array(solution.row_dual), float(solution.col_value[outcomes])
        if attempt == "warm":
            solver.clearSolver()
            solver.setOptionValue("threads", 0)  # HiGHS refuses 1 where somebody else in the process began with more
    name = solver.modelStatusToString(solver.getModelStatus())
    raise GameError(f"deviation ratings of {deviations} strategies: HiGHS stopped with status {name!r}, expected 'Optimal'")


def _check_outcomes(outcomes: int) -> None:
    if outcomes > MOST_OUTCOMES:
        raise GameError(f"payoff has {outcomes:,} joint outcomes, expected at most {MOST_OUTCOMES:,}")
