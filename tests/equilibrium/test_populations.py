"""Replicator dynamics, fixation and the reduction of symmetric games: closed forms, exact fractions and laws."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.equilibrium.populations import (
    birth_death_fixation,
    interior_fixed_point,
    moran_fixation,
    pairwise_fixation,
    replicator,
    replicator_state,
    stability,
)
from gridpilot.equilibrium.reduction import deviation_preserving_reduction, expected_payoffs, profiles, reduced_profiles
from gridpilot.errors import GameError

from .games import COORDINATION, DILEMMA, HAWK_DOVE, ROCK_PAPER_SCISSORS, tables


@pytest.mark.parametrize(
    ("payoff", "point", "kind"),
    [
        (HAWK_DOVE, [2 / 3, 1 / 3], "stable"),
        (COORDINATION, [0.5, 0.5], "unstable"),
        (ROCK_PAPER_SCISSORS, [1 / 3] * 3, "centre"),
        ([[0, -1, 2], [2, 0, -1], [-1, 2, 0]], [1 / 3] * 3, "stable"),  # a win is worth more than a loss costs
        ([[0, -2, 1], [1, 0, -2], [-2, 1, 0]], [1 / 3] * 3, "unstable"),
        (-np.eye(4), [1 / 4] * 4, "stable"),
        (np.diag([1.0, 2.0, 4.0]), [4 / 7, 2 / 7, 1 / 7], "unstable"),
        (-np.diag([1.0, 2.0, 4.0]), [4 / 7, 2 / 7, 1 / 7], "stable"),
        ([[7.0]], [1.0], "stable"),
    ],
)
def test_interior_fixed_points(payoff: Any, point: Any, kind: Any) -> None:
    found = interior_fixed_point(payoff)
    assert found is not None
    assert found == pytest.approx(point, abs=1e-14)
    assert stability(payoff, found) == kind


@pytest.mark.parametrize("payoff", [DILEMMA, np.zeros((2, 2)), [[1, 1], [1, 1]], [[2, 1], [1, 1]], np.ones((3, 3))])
def test_no_single_interior_fixed_point(payoff: Any) -> None:
    solution = replicator(payoff, np.full(len(payoff), 1 / len(payoff)))
    assert solution.interior_fixed_point is None
    assert solution.stability is None


@pytest.mark.parametrize(("gain_0", "gain_1"), [(1.0, 1.0), (-2.0, -2.0), (30.0, 30.0), (-400.0, -400.0)])
def test_the_state_of_two_strategies_by_its_closed_form(gain_0: float, gain_1: float) -> None:
    # One strategy dominates by a constant: log-odds grow linearly.
    payoff = [[gain_0, gain_1], [0.0, 0.0]]
    log_odds = math.log(0.2 / 0.8) + 3.0 * gain_0
    x = replicator_state(payoff, [0.2, 0.8], 3.0)
    assert x[0] == pytest.approx(0.5 + 0.5 * math.tanh(0.5 * log_odds), abs=1e-12)
    assert x[1] == pytest.approx(0.5 - 0.5 * math.tanh(0.5 * log_odds), abs=1e-12)


def test_hawk_dove_by_its_implicit_solution() -> None:
    # x' = x (1 - x) (2 - 3 x): partial fractions give log x / 2 + log(1 - x) - 3/2 log|2/3 - x| = t + constant.
    x = float(replicator_state(HAWK_DOVE, [0.2, 0.8], 3.0)[0])
    assert x == pytest.approx(0.60993, abs=5e-6)

    def clock(share: float) -> float:
        return 0.5 * math.log(share) + math.log(1 - share) - 1.5 * math.log(2 / 3 - share)

    assert clock(x) - clock(0.2) == pytest.approx(3.0, abs=1e-11)


def test_rock_paper_scissors_keeps_the_product_of_shares() -> None:
    start = np.array([0.2, 0.3, 0.5])
    for time in (0.0, 1.0, 3.0, 50.0):
        assert np.prod(replicator_state(ROCK_PAPER_SCISSORS, start, time)) == pytest.approx(np.prod(start), rel=1e-11)


@given(tables(4, 4), st.integers(0, 14), st.integers(-100, 100), st.permutations(range(4)))
@settings(max_examples=40, deadline=None)
def test_replicator_laws(payoff: Any, absent: int, shift: int, order: list[int]) -> None:
    x0 = np.array([float(not absent >> i & 1) for i in range(4)]) * [0.1, 0.2, 0.3, 0.4]
    x0 /= x0.sum()
    state = replicator_state(payoff, x0, 1.0)
    assert state.sum() == pytest.approx(1.0, abs=1e-15)
    assert (state[x0 == 0.0] == 0.0).all()
    assert replicator_state(payoff + shift, x0, 1.0) == pytest.approx(state, abs=1e-10)
    assert replicator_state(payoff[np.ix_(order, order)], x0[order], 1.0) == pytest.approx(state[order], abs=1e-10)
    halfway = replicator_state(payoff, x0, 0.5)
    assert replicator_state(payoff, halfway, 0.5) == pytest.approx(state, abs=1e-9)
    point = interior_fixed_point(payoff)
    if point is not None:
        assert replicator_state(payoff, point, 0.1) == pytest.approx(point, abs=1e-9)


@pytest.mark.parametrize(
    ("r", "population", "expected"),
    [
        (1.1, 10, 0.1479503589841),
        (1.0, 7, 1 / 7),
        (2.0, 1, 1.0),
        (0.0, 1, 1.0),
        (0.0, 5, 0.0),
        (2.0, 2, 2 / 3),
        (0.5, 2, 1 / 3),
        (1e300, 1000, 1.0),
        (1e-300, 1000, 0.0),
        (1e-150, 3, 1e-300),
        (1.0 + 1e-15, 10**9, 1e-9),
        (1.0 - 1e-15, 10, 0.1),
        (5e-324, 2, 5e-324),
    ],
)
def test_moran_fixation(r: float, population: int, expected: float) -> None:
    assert moran_fixation(r, population) == pytest.approx(expected, rel=1e-6 if population == 10**9 else 1e-12)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(2, 60))
@settings(deadline=None)
def test_moran_fixation_in_fractions(above: int, below: int, population: int) -> None:
    r = Fraction(above / below)
    exact = 1 / sum(r**-k for k in range(population))
    assert moran_fixation(float(r), population) == pytest.approx(float(exact), rel=1e-12)
    if r != 1:
        assert birth_death_fixation(np.full(population - 1, -math.log(float(r)))) == pytest.approx(float(exact), rel=1e-11)


def test_pairwise_fixation() -> None:
    assert pairwise_fixation([[1, 2], [3, 4]], 0.0, 8) == pytest.approx(1 / 8, rel=1e-15)
    assert pairwise_fixation([[1, 1], [0, 0]], 0.7, 12) == pytest.approx(moran_fixation(math.exp(0.7), 12), rel=1e-14)
    # N = 3, by hand: with one of three playing 0, pi_0 = b and pi_1 = (c + d)/2; with two, pi_0 = (a + b)/2 and pi_1 = c.
    a, b, c, d, beta = 1.0, -2.0, 0.5, 3.0, 0.4
    first, second = math.exp(-beta * (b - (c + d) / 2)), math.exp(-beta * ((a + b) / 2 - c))
    assert pairwise_fixation([[a, b], [c, d]], beta, 3) == pytest.approx(1 / (1 + first + first * second), rel=1e-14)
    assert pairwise_fixation([[0, 0], [1, 1]], 1000.0, 500) == 0.0
    assert pairwise_fixation([[1, 1], [0, 0]], 1000.0, 500) == 1.0


def test_profiles() -> None:
    assert profiles(0, 3).tolist() == [[0, 0, 0]]
    assert profiles(3, 1).tolist() == [[3]]
    assert profiles(2, 3).tolist() == [[2, 0, 0], [1, 1, 0], [1, 0, 1], [0, 2, 0], [0, 1, 1], [0, 0, 2]]
    table = profiles(9, 4)
    assert len(table) == math.comb(12, 3) == len({tuple(line) for line in table.tolist()})
    assert (table.sum(axis=1) == 9).all()
    assert (table >= 0).all()


def test_the_reduction_keeps_what_one_player_gains() -> None:
    # Congestion: what a strategy pays falls with how many play it, the one who asks included.
    def full(s: int, others: Any) -> float:
        return float(10 + s - (others[s] + 1) ** 1.5)

    table = np.array([[full(s, others) for others in profiles(9, 3)] for s in range(3)])
    for reduced in (2, 4, 10):
        kept = reduced_profiles(10, reduced, 3)
        small = deviation_preserving_reduction(table, 10, reduced)
        assert small.shape == (3, len(kept)) == (3, math.comb(reduced + 1, 2))
        assert (kept.sum(axis=1) == 9).all()
        assert small == pytest.approx(np.array([[full(s, others) for others in kept] for s in range(3)]))
    assert deviation_preserving_reduction(table, 10, 10) == pytest.approx(table)
    pairs = deviation_preserving_reduction(table, 10, 2)  # against nine of one kind
    assert pairs[0].tolist() == [full(0, (9, 0, 0)), full(0, (0, 9, 0)), full(0, (0, 0, 9))]


def test_expected_payoffs_by_all_draws() -> None:
    r = np.random.default_rng(3)
    table, p = r.normal(size=(3, len(profiles(4, 3)))), r.dirichlet(np.ones(3))
    place = {tuple(line): k for k, line in enumerate(profiles(4, 3).tolist())}
    expected = np.zeros(3)
    for draw in np.ndindex(3, 3, 3, 3):
        expected += np.prod(p[list(draw)]) * table[:, place[tuple(np.bincount(draw, minlength=3).tolist())]]
    assert expected_payoffs(table, p, 5) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: replicator([[1, 2]], [1]), "expected a square table"),
        (lambda: replicator(DILEMMA, [1]), "expected 2 probabilities"),
        (lambda: replicator(DILEMMA, [0.5, 0.6]), "with the sum 1.1"),
        (lambda: replicator(DILEMMA, [-0.5, 1.5]), "probabilities"),
        (lambda: replicator(DILEMMA, [math.nan, 1]), "probabilities"),
        (lambda: replicator_state(DILEMMA, [0.5, 0.5], -1), "time is -1"),
        (lambda: replicator(DILEMMA * 1e6, [0.5, 0.5]), "at most 30000"),
        (lambda: moran_fixation(-1, 10), "relative_fitness is -1"),
        (lambda: moran_fixation(math.inf, 10), "relative_fitness is inf"),
        (lambda: moran_fixation(1, 0), "population is 0"),
        (lambda: moran_fixation(1, 2.5), "population is 2.5"),
        (lambda: moran_fixation(1, True), "population is True"),
        (lambda: pairwise_fixation(ROCK_PAPER_SCISSORS, 1, 10), "expected (2, 2)"),
        (lambda: pairwise_fixation(DILEMMA, -1, 10), "beta is -1"),
        (lambda: pairwise_fixation(DILEMMA, 1e308, 10), "beyond double precision"),
        (lambda: pairwise_fixation(DILEMMA, 1, 1), "population is 1"),
        (lambda: pairwise_fixation(DILEMMA, 1, 10**8), "at most 10000000"),
        (lambda: birth_death_fixation([[1.0]]), "log_ratios"),
        (lambda: profiles(100, 10), "expected at most 1,000,000"),
        (lambda: reduced_profiles(10, 3, 2), "to divide 9"),
        (lambda: deviation_preserving_reduction(DILEMMA, 10, 4), "expected 10"),
        (lambda: expected_payoffs(DILEMMA, [1, 0], 10), "expected 10"),
    ],
)
def test_what_is_no_population_is_refused(call: Any, part: str) -> None:
    with pytest.raises(GameError) as error:
        call()
    assert part in str(error.value)
