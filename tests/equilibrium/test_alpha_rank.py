"""alpha-rank and elimination without subtraction: closed forms, exact fractions, brute power iteration, strong selection."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.equilibrium.alpha_rank import alpha_rank_multi, alpha_rank_single, log_fixation, stationary
from gridpilot.errors import GameError

from .games import COORDINATION, DILEMMA, MATCHING_PENNIES, ROCK_PAPER_SCISSORS, exact_stationary, tables


def rho(x: float, m: int) -> float:
    return 1 / m if x == 0 else (1 - math.exp(-x)) / (1 - math.exp(-m * x))


def transitions_single(payoff: Any, alpha: float, m: int) -> Any:
    """The chain as it is defined, eta and diagonal included."""
    n = len(payoff)
    chain = np.zeros((n, n))
    for s, t in itertools.permutations(range(n), 2):
        chain[s, t] = rho(alpha * (payoff[t][s] - payoff[s][t]), m) / (n - 1)
    return chain + np.diag(1 - chain.sum(axis=1))


def transitions_multi(payoffs: Any, alpha: float, m: int) -> Any:
    shape = np.shape(payoffs[0])
    states = list(np.ndindex(*shape))
    eta = 1 / sum(size - 1 for size in shape)
    chain = np.zeros((len(states), len(states)))
    for (a, s), (b, t) in itertools.permutations(enumerate(states), 2):
        changed = [k for k in range(len(shape)) if s[k] != t[k]]
        if len(changed) == 1:
            table = np.asarray(payoffs[changed[0]])
            chain[a, b] = eta * rho(alpha * (table[t] - table[s]), m)
    return chain + np.diag(1 - chain.sum(axis=1))


def power_iteration(chain: Any) -> Any:
    return np.linalg.matrix_power(chain, 1 << 20)[0]


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_the_limit_of_brute_power_iteration(alpha: float) -> None:
    r = np.random.default_rng(1)
    for n in (1, 2, 3, 6):
        payoff = r.uniform(-1, 1, size=(n, n))
        if n > 1:
            assert alpha_rank_single(payoff, alpha, 5) == pytest.approx(
                power_iteration(transitions_single(payoff, alpha, 5)), rel=1e-8
            )
    for shape in [(2, 2), (3, 2), (2, 3, 2), (4,)]:
        payoffs = [r.uniform(-1, 1, size=shape) for _ in shape]
        expected = power_iteration(transitions_multi(payoffs, alpha, 4))
        assert alpha_rank_multi(payoffs, alpha, 4) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 30.0, 1e3, 1e6])
def test_two_strategies_by_hand(alpha: float) -> None:
    # Up with rho(x), down with rho(-x): their ratio is exp((m - 1) x), whatever x is.
    gain, m = 0.25, 20
    payoff = [[3.0, 1.0], [1.0 + gain, -5.0]]  # d = A[1, 0] - A[0, 1]
    p = alpha_rank_single(payoff, alpha, m)
    log_odds = (m - 1) * alpha * gain
    assert p[0] == pytest.approx(1 / (1 + math.exp(log_odds)) if log_odds < 700 else 0.0, rel=1e-9)
    assert p.sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1e3, 1e6])
def test_symmetries(alpha: float) -> None:
    assert alpha_rank_single(ROCK_PAPER_SCISSORS, alpha, 50) == pytest.approx([1 / 3] * 3, rel=1e-9)
    assert alpha_rank_multi([MATCHING_PENNIES, -MATCHING_PENNIES], alpha, 50) == pytest.approx([0.25] * 4, rel=1e-9)
    assert alpha_rank_single([[4.0]], alpha, 50).tolist() == [1.0]
    p = alpha_rank_multi([COORDINATION, COORDINATION], alpha, 10)
    assert p[0] == pytest.approx(p[3], rel=1e-9)
    assert p[1] == pytest.approx(p[2], rel=1e-9, abs=1e-300)


def test_the_dilemma_and_the_order_of_states() -> None:
    p = alpha_rank_multi([DILEMMA, DILEMMA.T], 10.0, 50)
    assert int(p.argmax()) == 3
    r = np.random.default_rng(2)
    payoffs = [r.normal(size=(2, 3)) for _ in range(2)]
    p = alpha_rank_multi(payoffs, 0.7, 6).reshape(2, 3)
    swapped = alpha_rank_multi([payoffs[1].T, payoffs[0].T], 0.7, 6).reshape(3, 2)
    back = swapped.transpose()
    assert back == pytest.approx(p, rel=1e-12)


@given(tables(4, 4), st.permutations(range(4)), st.sampled_from([0.0, 0.3, 10.0, 1e3]), st.sampled_from([1, 2, 50]))
@settings(max_examples=80, deadline=None)
def test_laws(payoff: Any, order: list[int], alpha: float, m: int) -> None:
    p = alpha_rank_single(payoff, alpha, m)
    assert p.sum() == pytest.approx(1.0, abs=1e-14)
    assert (p >= 0).all()
    moved = alpha_rank_single(payoff[np.ix_(order, order)], alpha, m)
    assert moved == pytest.approx(p[order], rel=1e-7, abs=1e-290)
    assert alpha_rank_single(payoff + 3.0, alpha, m) == pytest.approx(p, rel=1e-7, abs=1e-290)


@given(tables(4, 4, most=40), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_chains_that_all_but_fall_apart_are_right_in_fractions(exponents: Any, n: int) -> None:
    # Rates 2^-k up to 2^-400 are floats exactly; open_spiel's and numpy's solvers are lost here.
    exponents = np.pad(exponents, (0, 1), mode="wrap")[:n, :n] * 5 - 200
    exact = exact_stationary([[Fraction(2) ** int(e) for e in line] for line in exponents])
    found = stationary(exponents * math.log(2.0))
    assert found == pytest.approx([float(p) for p in exact], rel=1e-11)


@pytest.mark.parametrize("doublings", [15, 150, 1500])
def test_strong_selection_is_right_in_fractions(doublings: int) -> None:
    # With alpha = k log 2 and whole payoffs rho = (1 - q^d) / (1 - q^(m d)) with q = 2^-k is a fraction.
    q, m, alpha = Fraction(1, 2**doublings), 3, doublings * math.log(2.0)
    r = np.random.default_rng(4)
    for _ in range(10):
        payoff = r.integers(-1, 2, size=(4, 4))
        rates = [[Fraction(0)] * 4 for _ in range(4)]
        for s, t in itertools.permutations(range(4), 2):
            d = int(payoff[t, s] - payoff[s, t])
            rates[s][t] = Fraction(1, m) if d == 0 else (1 - q**d) / (1 - q ** (m * d))
        expected = [float(p) for p in exact_stationary(rates)]
        assert alpha_rank_single(payoff, alpha, m) == pytest.approx(expected, rel=1e-7, abs=1e-300)


@pytest.mark.parametrize("x", [0.0, 1e-320, -1e-320, 1e-300, 1e-17, -1e-17, 1e-5, -1e-5, 0.5, -0.5, 30.0, -30.0, 1e4, -1e4])
@pytest.mark.parametrize("m", [1, 2, 50])
def test_log_fixation(x: float, m: int) -> None:
    with np.errstate(all="raise", under="ignore", divide="ignore", invalid="ignore"):
        found = float(log_fixation(x, m))
    if abs(x) < 1e-4:
        assert found == pytest.approx(-math.log(m) + 0.5 * (m - 1) * x, abs=0.1 * (m * x) ** 2 + 1e-12)
    else:
        exact = math.log(-math.expm1(-abs(x))) - math.log(-math.expm1(-m * abs(x))) - (m - 1) * max(-x, 0.0)
        assert found == pytest.approx(exact, rel=1e-12)
        if abs(x) < 1:
            assert math.exp(found) == pytest.approx(rho(x, m), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: alpha_rank_single([[1, 2]], 1, 5), "square"),
        (lambda: alpha_rank_single(DILEMMA, -1, 5), "alpha is -1"),
        (lambda: alpha_rank_single(DILEMMA, math.nan, 5), "alpha is nan"),
        (lambda: alpha_rank_single(DILEMMA, "1", 5), "alpha is '1'"),
        (lambda: alpha_rank_single(DILEMMA, 1, 0), "m is 0"),
        (lambda: alpha_rank_single(DILEMMA, 1e12, 50), "rounding would decide"),
        (lambda: alpha_rank_single(np.zeros((1001, 1001)), 1, 50), "1001 states"),
        (lambda: alpha_rank_multi([], 1, 5), "a table for every population"),
        (lambda: alpha_rank_multi([DILEMMA], 1, 5), "2 axes, expected 1"),
        (lambda: alpha_rank_multi([DILEMMA, DILEMMA[:1]], 1, 5), "equal shapes"),
        (lambda: stationary([[0, 0], [-math.inf, 0]]), "no way from state 1"),
    ],
)
def test_what_has_no_rank_is_refused(call: Any, part: str) -> None:
    with pytest.raises(GameError) as error:
        call()
    assert part in str(error.value)
