"""alpha-rank: how much of the time a population of strategies under rare mutation and selection spends at each of them.

States are strategies, in one population, or combinations of one strategy a population. From state s a mutant t appears with equal
chance for every other strategy (of every population) and takes over with probability

    rho = (1 - exp(-alpha d)) / (1 - exp(-m alpha d)),   1/m at d = 0

d = A[t, s] - A[s, t] in one population, d = M_k(t, s_-k) - M_k(s) where population k mutates: Omidshafiei et al., "alpha-Rank:
Multi-Agent Evaluation by Evolution", Scientific Reports 9, 2019.

With large alpha rates differ by more orders of magnitude than floats have, and the chain all but falls apart. The stationary
distribution is therefore found by elimination without subtraction (Grassmann, Taksar and Heyman, Operations Research 33, 1985), which
loses no relative accuracy whatever the rates, on the logarithms of the rates, which neither overflow nor vanish. The error of a
probability is about 1e-16 m alpha times the range of payoffs, relative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.equilibrium.game_input import FloatArray, check_count, check_number, check_payoff
from gridpilot.errors import GameError

__all__ = ["MOST_STATES", "alpha_rank_multi", "alpha_rank_single", "log_fixation", "stationary"]

MOST_STATES: Final = 1000  # elimination takes a third of its cube in logarithms, some 20 s
STRONGEST: Final = 1e9  # m alpha times the range of payoffs: beyond it probabilities are not right to 1e-7


def alpha_rank_single(payoff: npt.ArrayLike, alpha: float, m: int) -> FloatArray:
    """Stationary distribution ``(n,)`` over the strategies of one population.

    ``payoff``  ``(n, n)`` what the row's strategy gets against the column's
    ``alpha``   intensity of selection, >= 0; at 0 all strategies are equal
    ``m``       size of the population, >= 1

    Raises :class:`~gridpilot.errors.GameError` for anything else, more than ``MOST_STATES`` strategies, and selection so strong that
    rounding shows (``STRONGEST``).
    """
    table = check_payoff(payoff, square=True)
    alpha, m = _selection(alpha, m, float(table.max() - table.min()))
    n = len(table)
    _check_states(n)
    log_rates = log_fixation(alpha * (table.T - table), m)  # [s, t]: d = A[t, s] - A[s, t]; the chance of t is the same everywhere
    return stationary(log_rates)


def alpha_rank_multi(payoffs: Sequence[npt.ArrayLike], alpha: float, m: int) -> FloatArray:
    """Stationary distribution ``(S,)`` over the combinations of strategies of several populations, the last population's varying fastest.

    ``payoffs``  one table a population, all of the shape (strategies of the first, strategies of the second, ...)
    ``alpha``    intensity of selection, >= 0
    ``m``        size of every population, >= 1

    Errors are those of :func:`alpha_rank_single`.
    """
    if len(payoffs) == 0:
        raise GameError("payoff is [], expected a table for every population")
    tables = [check_payoff(table, f"payoff[{k}]", ndim=len(payoffs)) for k, table in enumerate(payoffs)]
    shape = tables[0].shape
    if any(table.shape != shape for table in tables):
        raise GameError(f"payoff has tables of the shapes {[table.shape for table in tables]}, expected equal shapes")
    alpha, m = _selection(alpha, m, max(float(table.max() - table.min()) for table in tables))
    states = math.prod(shape)
    _check_states(states)
    number = np.arange(states).reshape(shape)
    log_rates = np.full((states, states), -np.inf)
    for k, table in enumerate(tables):
        value, name = np.moveaxis(table, k, -1), np.moveaxis(number, k, -1)  # (..., S_k)
        gain = value[..., None, :] - value[..., :, None]  # (..., s, t)
        log_rates[name[..., :, None], name[..., None, :]] = log_fixation(alpha * gain, m)
    return stationary(log_rates)


def log_fixation(strength: npt.ArrayLike, m: int) -> FloatArray:
    """Logarithm of rho by alpha d, elementwise; any size of alpha d, with either sign."""
    x = np.asarray(strength, dtype=np.float64)
    y = np.abs(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(-np.expm1(-y)) - np.log(-np.expm1(-m * y))  # of a mutant that gains
    ratio = np.where(m * y > 1e-300, ratio, -math.log(m))  # there expm1 has no digits left, and the limit has been reached
    return np.asarray(ratio + np.where(x < 0.0, -(m - 1.0) * y, 0.0))


def stationary(log_rates: npt.ArrayLike) -> FloatArray:
    """Stationary distribution ``(n,)`` of a Markov chain by the logarithms of its rates, by elimination without subtraction.

    ``log_rates``  ``(n, n)`` log of the rate from row to column, -inf for none; up to one constant that all share. The diagonal is ignored.

    Raises :class:`~gridpilot.errors.GameError` for a chain some state of which cannot be left towards the ones before it.
    """
    log_p = np.array(log_rates, dtype=np.float64)
    n = len(log_p)
    for k in range(n - 1, 0, -1):  # leave out state k: whoever went there goes on to where it leads
        leaving = float(np.logaddexp.reduce(log_p[k, :k]))
        if not math.isfinite(leaving):
            raise GameError(
                f"log_rates: no way from state {k} to the states before it, expected a chain in which all states communicate"
            )
        log_p[:k, k] -= leaving
        log_p[:k, :k] = np.logaddexp(log_p[:k, :k], log_p[:k, k, None] + log_p[k, :k])
    log_weight = np.zeros(n)
    for k in range(1, n):
        log_weight[k] = np.logaddexp.reduce(log_weight[:k] + log_p[:k, k])
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / math.fsum(weight.tolist()))


def _selection(alpha: float, m: int, spread: float) -> tuple[float, int]:
    alpha, m = check_number(alpha, "alpha", least=0.0), check_count(m, "m")
    if alpha * spread * m > STRONGEST:
        raise GameError(
            f"alpha {alpha:g} times m {m} times a range of payoffs of {spread:g} is above {STRONGEST:g}, expected less: "
            "rounding would decide"
        )
    return alpha, m


def _check_states(states: int) -> None:
    if states > MOST_STATES:
        raise GameError(f"payoff has {states} states, expected at most {MOST_STATES}")
