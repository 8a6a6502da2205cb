"""Nash equilibria of two-player games: zero-sum games by linear programme, small bimatrix games by enumeration, and NashConv.

Payoffs are those of the player named: ``row[s, t]`` and ``column[s, t]`` are what the row and the column player get where row plays s and
column plays t. Mixed strategies are arrays of probabilities.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.equilibrium.game_input import FloatArray, check_distribution, check_payoff
from gridpilot.errors import GameError

__all__ = ["MOST_BASES", "MOST_PAYOFFS", "ZeroSum", "nashconv", "nashconv_of_uniform", "solve_zero_sum", "support_enumeration"]

MOST_PAYOFFS: Final = 1_000_000  # entries of a zero-sum game: the programme is dense
MOST_BASES: Final = 200_000  # systems that an enumeration solves for each player: 10 x 10 strategies have 184,756
MOST_STRATEGIES: Final = 20  # of a player, in an enumeration: a lopsided game has few systems and nearly as many vertices
TOLERANCE: Final = 1e-9  # of the range of payoffs, or of a probability: below it two payoffs are equal and a probability is nothing
WORST_CONDITION: Final = 1e11  # of a system: beyond it the strategies solve nothing, or a whole edge
ENTRIES_AT_ONCE: Final = 4_000_000  # of the systems of one batch

BoolArray = npt.NDArray[np.bool_]


class ZeroSum(NamedTuple):
    """The solution of a zero-sum game."""

    value: float  # what the row player gets
    row: FloatArray  # (m,) probabilities
    column: FloatArray  # (n,) probabilities


def solve_zero_sum(payoff: npt.ArrayLike) -> ZeroSum:
    """Value and optimal strategies of the zero-sum game in which the row player gets ``payoff`` ``(m, n)`` and the column player loses it.

    Maximise v such that x' A >= v, x >= 0, sum x = 1; the column player's strategy is the dual solution (von Neumann 1928; Dantzig 1951).
    The value is unique. Where optimal strategies are not, one vertex of each player's set is answered, always the same for equal input.

    Raises :class:`~gridpilot.errors.GameError` for what is no payoff matrix, one with more than ``MOST_PAYOFFS`` entries, and a
    programme that the solver could not do.
    """
    table = check_payoff(payoff)
    m, n = table.shape
    if table.size > MOST_PAYOFFS:
        raise GameError(f"payoff has {m} x {n} entries, expected at most {MOST_PAYOFFS:,}")
    lowest, spread = float(table.min()), float(table.max() - table.min())
    scaled = (table - lowest) / (spread if spread > 0.0 else 1.0)
    from scipy.optimize import linprog

    done = linprog(
        np.append(np.zeros(m), -1.0),
        A_ub=np.hstack([-scaled.T, np.ones((n, 1))]),
        b_ub=np.zeros(n),
        A_eq=np.append(np.ones(m), 0.0)[None, :],
        b_eq=[1.0],
        bounds=[(0.0, None)] * m + [(None, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if done.status != 0:
        raise GameError(f"payoff {m} x {n}: the linear programme ended with {done.message!r:.80}, expected an optimum")
    x, y = _probabilities(done.x[:m]), _probabilities(-done.ineqlin.marginals)
    floor, ceiling = float((x @ scaled).min()), float((scaled @ y).max())
    if ceiling - floor > TOLERANCE:
        raise GameError(f"payoff {m} x {n}: strategies are {ceiling - floor:.1e} of the range from optimal, expected {TOLERANCE:g}")
    return ZeroSum(lowest + spread * 0.5 * (floor + ceiling), x, y)


def support_enumeration(row: npt.ArrayLike, column: npt.ArrayLike) -> list[tuple[FloatArray, FloatArray]]:
    """All extreme Nash equilibria ``(x, y)`` of a bimatrix game; of a nondegenerate game these are all its equilibria.

    For every choice of as many rows as columns the system is solved that makes the columns' mixture leave the row player indifferent
    between the rows, and the other way round. Its feasible solutions are the vertices of the two best-response polyhedra; a pair of
    vertices in which every strategy played is a best response is an equilibrium (Mangasarian 1964; Avis, Rosenberg, Savani and von
    Stengel, "Enumeration of Nash equilibria for two-player games", Economic Theory 42, 2010). Vertices are found with all supports, so
    that pairs with supports of unequal size are there too. A degenerate game can have infinitely many equilibria: they are the convex
    combinations of those extreme ones that share x, or y, or form a rectangle of both; combinations are not listed.

    No equilibrium is listed twice. The order is by the number of rows played, then which, then the same of columns. Payoffs within
    1e-9 of the range count as equal, where the range is taken after what the other's choice adds to all of a player's payoffs is
    removed.

    Raises :class:`~gridpilot.errors.GameError` for what is no bimatrix game, and where there are more than ``MOST_BASES`` choices of rows
    and columns.
    """
    a, b = check_payoff(row, "row"), check_payoff(column, "column")
    if a.shape != b.shape:
        raise GameError(f"row has shape {a.shape} and column {b.shape}, expected equal shapes")
    m, n = a.shape
    bases = math.comb(m + n, n)
    if bases > MOST_BASES or max(m, n) > MOST_STRATEGIES:
        raise GameError(
            f"a game of {m} x {n} strategies has {bases:,} choices of supports, expected at most {MOST_BASES:,} (as of 10 x 10), "
            f"and {MOST_STRATEGIES} strategies a player"
        )
    a, b = _differences(a), _differences(b.T)  # each player's own strategies first
    (ys, best_rows), (xs, best_columns) = _vertices(a), _vertices(b)
    wasted_rows, wasted_columns = ~best_rows.T, ~best_columns
    found = []
    for start in range(0, len(xs), 1024):
        x, wasted = xs[start : start + 1024], wasted_columns[start : start + 1024]
        losses = _count(x > 0.0, wasted_rows) + _count(wasted, (ys > 0.0).T)  # strategies played that are no best responses
        found += [(x[i], ys[j]) for i, j in np.argwhere(losses == 0.0)]
    return sorted(
        found, key=lambda pair: (*_support_order(pair[0]), *_support_order(pair[1]), *(-p for q in pair for p in q.tolist()))
    )


def nashconv(payoffs: Sequence[npt.ArrayLike], profile: Sequence[npt.ArrayLike]) -> float:
    """The sum over players of what the best deviation from a profile of mixed strategies gains; 0 at a Nash equilibrium.

    ``payoffs``  one table a player, all of one shape with one axis a player
    ``profile``  one distribution a player

    Lanctot et al., "A unified game-theoretic approach to multiagent reinforcement learning", NeurIPS 2017. Raises
    :class:`~gridpilot.errors.GameError` for tables of unequal shapes and what is no distribution.
    """
    players = len(payoffs)
    if len(profile) != players or players == 0:
        raise GameError(f"{players} tables of payoffs and {len(profile)} strategies, expected as many, and at least one")
    tables = [check_payoff(table, f"payoffs[{k}]", ndim=players) for k, table in enumerate(payoffs)]
    if len({table.shape for table in tables}) > 1:
        raise GameError(f"payoffs have the shapes {[table.shape for table in tables]}, expected equal ones")
    mixed = [check_distribution(p, tables[0].shape[k], f"profile[{k}]") for k, p in enumerate(profile)]
    total = 0.0
    for k, table in enumerate(tables):
        deviations = np.moveaxis(table, k, 0)
        for other in reversed(range(players)):
            if other != k:
                deviations = deviations @ mixed[other]
        total += float(np.maximum(deviations.max() - mixed[k] @ deviations, 0.0))
    return total


def nashconv_of_uniform(row: npt.ArrayLike, column: npt.ArrayLike) -> float:
    """NashConv of the profile in which both players of a bimatrix game play all their strategies equally often."""
    a, b = check_payoff(row, "row"), check_payoff(column, "column")
    return nashconv([a, b], [np.full(size, 1.0 / size) for size in a.shape])


def _probabilities(raw: FloatArray) -> FloatArray:
    """A vertex that the solver gave, without what its rounding left below 0 or in place of 0."""
    p = np.where(raw < 1e-13, 0.0, raw)
    return np.asarray(p / p.sum())


def _differences(payoff: FloatArray) -> FloatArray:
    """Own payoffs ``(own, other)`` between 0 and 1, without what the other's choice adds to all of them: best responses are the same."""
    relative = payoff - payoff.min(axis=0)
    most = float(relative.max())
    return np.asarray(relative / most) if most > 0.0 else relative


def _vertices(payoff: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Vertices ``(V, other)`` of {(y, v): payoff y <= v, y >= 0, sum y = 1}, and which own strategies are best there, ``(V, own)``.

    A vertex with k strategies in its support has at least k best responses: k of them and the sum determine y and v. In a degenerate
    game several systems have one vertex for their solution, which its support and best responses identify.
    """
    own, other = payoff.shape
    found: list[FloatArray] = []
    for k in range(1, min(own, other) + 1):
        rows = np.array(list(itertools.combinations(range(own), k)))
        columns = np.array(list(itertools.combinations(range(other), k)))
        pairs, step = len(rows) * len(columns), max(1, ENTRIES_AT_ONCE // ((k + 1) ** 2 + own + other))
        for start in range(0, pairs, step):
            index = np.arange(start, min(start + step, pairs))
            found.append(_feasible(payoff, rows[index // len(columns)], columns[index % len(columns)]))
    mixed = np.concatenate(found)
    expected = mixed @ payoff.T
    best = expected >= expected.max(axis=1, keepdims=True) - 2.0 * TOLERANCE
    _, first = np.unique(np.hstack([mixed > 0.0, best]), axis=0, return_index=True)
    first.sort()
    return mixed[first], best[first]


def _feasible(payoff: FloatArray, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> FloatArray:
    """Those solutions of a batch of systems, one a line of ``rows`` and ``columns`` ``(B, k)``, that are vertices; ``(V, other)``."""
    batch, k = rows.shape
    system = np.zeros((batch, k + 1, k + 1))
    system[:, :k, :k] = payoff[rows[:, :, None], columns[:, None, :]]
    system[:, :k, k] = -1.0
    system[:, k, :k] = 1.0
    regular = np.linalg.det(system) != 0.0
    system, columns = system[regular], columns[regular]
    inverse = np.linalg.inv(system)
    sound = np.abs(system).sum(axis=1).max(axis=1) * np.abs(inverse).sum(axis=1).max(axis=1) < WORST_CONDITION
    sound &= (inverse[:, :k, k] >= -TOLERANCE).all(axis=1)
    system, inverse, columns = system[sound], inverse[sound], columns[sound]
    solution = inverse[:, :, k]
    residual = -np.einsum("bij,bj->bi", system, solution)
    residual[:, k] += 1.0
    solution = solution + np.einsum("bij,bj->bi", inverse, residual)  # one step of refinement
    mixed = np.zeros((len(solution), payoff.shape[1]))
    np.put_along_axis(mixed, columns, np.where(solution[:, :k] > TOLERANCE, solution[:, :k], 0.0), axis=1)
    mixed /= mixed.sum(axis=1, keepdims=True)
    return np.asarray(mixed[(mixed @ payoff.T).max(axis=1, initial=-np.inf) <= solution[:, k] + TOLERANCE])


def _count(a: BoolArray, b: BoolArray) -> npt.NDArray[np.float32]:
    """Product of two matrices of yes and no as counts; the fast routines are those of floats."""
    return a.astype(np.float32) @ b.astype(np.float32)


def _support_order(p: FloatArray) -> tuple[int, tuple[int, ...]]:
    support = tuple(np.flatnonzero(p).tolist())
    return len(support), support
