"""Populations that evolve: replicator dynamics, and the fixation of a mutant under the Moran process and pairwise comparison.

``payoff[s, t]`` is what one who plays s gets from one who plays t.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.equilibrium.game_input import FloatArray, check_count, check_distribution, check_number, check_payoff
from gridpilot.errors import GameError

__all__ = [
    "Replicator",
    "birth_death_fixation",
    "interior_fixed_point",
    "moran_fixation",
    "pairwise_fixation",
    "replicator",
    "replicator_state",
    "stability",
]

MOST_MOTION: Final = 30_000.0  # range of payoffs times time: beyond it an integration takes minutes
MOST_POPULATION: Final = 10_000_000  # of a fixation that is a sum over the population
NOTHING: Final = 1e-10  # a share below it is none: a fixed point there is not in the interior
WORST_CONDITION: Final = 1e11  # of the system for the fixed point: beyond it there is none, or a whole line of them
REAL: Final = 1e-9  # real part of an eigenvalue, as a part of the largest: below it the eigenvalue is imaginary


class Replicator(NamedTuple):
    """What the replicator dynamics of a game do."""

    interior_fixed_point: FloatArray | None  # (n,) shares, all > 0; None where there is no single one
    stability: str | None  # "stable", "unstable" or "centre"; None without an interior fixed point
    state: FloatArray  # (n,) shares at the time asked for


def replicator(payoff: npt.ArrayLike, x0: npt.ArrayLike, time: float = 3.0) -> Replicator:
    """Interior fixed point, its stability, and the state at ``time`` from ``x0`` of dx_i/dt = x_i ((A x)_i - x' A x).

    Taylor and Jonker, Mathematical Biosciences 40 (1978); Hofbauer and Sigmund, *Evolutionary Games and Population Dynamics*, 1998,
    chapter 7. Errors are those of :func:`replicator_state`.
    """
    table = check_payoff(payoff, square=True)
    state = replicator_state(table, x0, time)
    point = interior_fixed_point(table)
    return Replicator(point, None if point is None else stability(table, point), state)


def interior_fixed_point(payoff: npt.ArrayLike) -> FloatArray | None:
    """The shares, all > 0, at which every strategy earns the same; ``None`` where there are none, or infinitely many.

    Raises :class:`~gridpilot.errors.GameError` for what is no square table.
    """
    a = _relative(check_payoff(payoff, square=True))
    n = len(a)
    most = float(np.abs(a).max())
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = a / most if most > 0.0 else a
    system[:n, n], system[n, :n] = -1.0, 1.0
    if not np.linalg.cond(system, 1) < WORST_CONDITION:
        return None
    p = np.linalg.solve(system, np.append(np.zeros(n), 1.0))[:n]
    return np.asarray(p / p.sum()) if (p > NOTHING).all() else None


def stability(payoff: npt.ArrayLike, point: npt.ArrayLike) -> str:
    """Whether the linearisation at an interior fixed point draws near shares in, "stable", lets some of them go, "unstable", or turns
    them round it, "centre".

    The Jacobian on directions z with sum z = 0 is z -> p_i ((A z)_i - p' A z). "centre": no eigenvalue with a positive real part, at
    least one pair with none; up to three strategies orbits are then closed, with more the linearisation does not tell. One strategy
    alone is stable. Errors are those of :func:`replicator_state`.
    """
    a = _relative(check_payoff(payoff, square=True))
    n = len(a)
    p = check_distribution(point, n, "point")
    if n == 1:
        return "stable"
    directions = np.linalg.qr(np.hstack([np.ones((n, 1)), np.eye(n)[:, 1:]]))[0][:, 1:]  # orthonormal, each with the sum 0
    flow = a @ directions
    flow = p[:, None] * (flow - p @ flow)
    eigenvalues = np.linalg.eigvals(directions.T @ flow)
    small = REAL * float(np.abs(eigenvalues).max())
    if (eigenvalues.real > small).any():
        return "unstable"
    return "stable" if (eigenvalues.real < -small).all() else "centre"


def replicator_state(payoff: npt.ArrayLike, x0: npt.ArrayLike, time: float) -> FloatArray:
    """Shares ``(n,)`` at ``time`` of the replicator dynamics that begin at ``x0``.

    Integrated as x = softmax(log x0 + u), du/dt = A x, which holds shares in the simplex however small they become, by an explicit
    Runge-Kutta method of order 8 with a tolerance of 1e-13. A share that is 0 stays 0.

    Raises :class:`~gridpilot.errors.GameError` for what is no square table, no distribution or a negative time, and where the range of
    payoffs, after what a column adds to all strategies is removed, times the time is above ``MOST_MOTION``.
    """
    a = _relative(check_payoff(payoff, square=True))
    start = check_distribution(x0, len(a), "x0")
    time = check_number(time, "time", least=0.0)
    alive = start > 0.0
    a, log_start = a[np.ix_(alive, alive)], np.log(start[alive])
    motion = float(a.max() - a.min()) * time
    if motion > MOST_MOTION:
        raise GameError(f"payoff: range of payoffs times time is {motion:g}, expected at most {MOST_MOTION:g}")
    from scipy.integrate import solve_ivp
    from scipy.special import softmax

    def flow(_: float, u: FloatArray) -> FloatArray:
        return np.asarray(a @ softmax(log_start + u))

    done = solve_ivp(flow, (0.0, time), np.zeros(len(a)), method="DOP853", rtol=1e-13, atol=1e-13)
    if not done.success:
        raise GameError(f"replicator dynamics: the integration ended with {done.message!r:.80}, expected to reach time {time:g}")
    state = np.zeros(len(start))
    state[alive] = softmax(log_start + done.y[:, -1])
    return state


def moran_fixation(relative_fitness: float, population: int) -> float:
    """Probability that one mutant of fitness r among ``population - 1`` others of fitness 1 takes over in the Moran process.

    (1 - 1/r) / (1 - r^-N), 1/N at r = 1 (Moran 1958; Nowak, *Evolutionary Dynamics*, 2006, chapter 6), right to rounding for every r:
    one that does not reproduce, r = 0, takes over only a population of itself.

    Raises :class:`~gridpilot.errors.GameError` for r < 0 and a population below 1.
    """
    r = check_number(relative_fitness, "relative_fitness", least=0.0)
    n = check_count(population, "population")
    if n == 1 or r == 0.0:
        return 1.0 if n == 1 else 0.0
    log_r = math.log1p(r - 1.0) if 0.5 < r < 2.0 else math.log(r)
    return _fixation_at_constant_ratio(log_r, n)


def pairwise_fixation(payoff: npt.ArrayLike, beta: float, population: int) -> float:
    """Probability that one who plays strategy 0 takes over a population that plays strategy 1, under pairwise comparison.

    One individual compares itself with another and takes its strategy over with the Fermi probability 1 / (1 + exp(-beta d)), d the
    other's payoff less its own. Payoffs are means over all others. With j of N playing 0 the chance of one fewer over that of one
    more is exp(-beta (pi_0(j) - pi_1(j))) (Traulsen, Nowak and Pacheco, Physical Review E 74, 2006).

    ``payoff``  ``(2, 2)``        ``beta``  intensity of selection, >= 0

    Raises :class:`~gridpilot.errors.GameError` for another table, a negative beta, and a population below 2 or above
    ``MOST_POPULATION``.
    """
    table = check_payoff(payoff, square=True)
    if table.shape != (2, 2):
        raise GameError(f"payoff has shape {table.shape}, expected (2, 2): a mutant's strategy and the others'")
    beta = check_number(beta, "beta", least=0.0)
    n = check_count(population, "population", least=2)
    if n > MOST_POPULATION:
        raise GameError(f"population is {n}, expected at most {MOST_POPULATION}")
    (a, b), (c, d) = table.tolist()
    j = np.arange(1.0, n)
    gain = ((j - 1.0) * a + (n - j) * b - j * c - (n - j - 1.0) * d) / (n - 1.0)
    if not math.isfinite(beta * float(np.abs(gain).max()) * n):
        raise GameError(f"beta {beta:g} times payoffs up to {float(np.abs(table).max()):g} is beyond double precision")
    return birth_death_fixation(-beta * gain)


def birth_death_fixation(log_ratios: npt.ArrayLike) -> float:
    """Probability that a birth-death chain that begins at 1 reaches N before 0: 1 / (1 + sum_k prod_(j <= k) gamma_j).

    ``log_ratios``  ``(N - 1,)`` log gamma_j, gamma_j the probability of a step down from j over that of a step up

    Karlin and Taylor, *A First Course in Stochastic Processes*, 1975, chapter 4. Raises :class:`~gridpilot.errors.GameError` for what
    is no list of finite numbers.
    """
    steps = np.array(log_ratios, dtype=np.float64)
    if steps.ndim != 1 or not np.isfinite(steps).all():
        raise GameError(f"log_ratios is {log_ratios!r:.60}, expected a list of finite numbers")
    products = np.append(0.0, np.cumsum(steps))
    largest = float(products.max())
    return math.exp(-largest) / math.fsum(np.exp(products - largest).tolist())


def _fixation_at_constant_ratio(log_r: float, n: int) -> float:
    """(1 - r^-1) / (1 - r^-N) by log r, without overflow: rates of a step up over one down are r at every state."""
    if log_r == 0.0:
        return 1.0 / n
    if log_r > 0.0:
        return math.expm1(-log_r) / math.expm1(-n * log_r)
    return math.exp((n - 1) * log_r) * (math.expm1(log_r) / math.expm1(n * log_r))


def _relative(payoff: FloatArray) -> FloatArray:
    """Payoffs less the mean of their column: what all strategies earn alike moves no share."""
    return np.asarray(payoff - payoff.mean(axis=0))
