"""Learners: averages go to equilibria, regret stays within its bound, many learn apart from each other, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gridpilot.equilibrium.learning import Exp3, FictitiousPlay, Hedge, RegretMatching
from gridpilot.equilibrium.matrix_games import nashconv
from gridpilot.errors import GameError

from .games import MATCHING_PENNIES, ROCK_PAPER_SCISSORS

BIASED = np.array([[2.0, -1.0], [-1.0, 1.0]])  # value 1/5, both (2/5, 3/5)

FULL: dict[str, Callable[[Any], Any]] = {
    "RM+": lambda shape: RegretMatching(shape),
    "RM": lambda shape: RegretMatching(shape, plus=False),
    "Hedge": lambda shape: Hedge(shape, spread=3.0),
    "fictitious play": FictitiousPlay,
}


@pytest.mark.parametrize("payoff", [MATCHING_PENNIES, ROCK_PAPER_SCISSORS, BIASED], ids=["pennies", "rps", "biased"])
@pytest.mark.parametrize(("name", "distance"), [("RM+", 0.04), ("RM", 0.06), ("Hedge", 0.06), ("fictitious play", 0.1)])
def test_averages_go_to_the_equilibrium_of_a_zero_sum_game(name: str, distance: float, payoff: Any) -> None:
    n = len(payoff)
    row, column = FULL[name]((n,)), FULL[name]((n,))
    for _ in range(3000):
        x, y = row.policy, column.policy
        row.learn(payoff @ y)
        column.learn(-payoff.T @ x)
    assert nashconv([payoff, -payoff], [row.average, column.average]) < distance
    if payoff is BIASED:
        assert row.average == pytest.approx([0.4, 0.6], abs=distance)


@pytest.mark.parametrize("horizon", [500, None])
def test_the_regret_of_hedge_is_within_its_bound(horizon: int | None) -> None:
    r = np.random.default_rng(0)
    n, rounds = 6, 500
    payoffs = {
        "random": r.uniform(0, 2, size=(rounds, n)),
        "turning": np.where((np.arange(rounds)[:, None] // 50 + np.arange(n)) % 2, 2.0, 0.0),
        "one is best": np.where(np.arange(n) == 4, 2.0, 0.0) * np.ones((rounds, 1)),
    }
    for table in payoffs.values():
        learner, paid = Hedge((n,), spread=2.0, horizon=horizon), 0.0
        for line in table:
            paid += float(learner.policy @ line)
            learner.learn(line)
        half = math.sqrt(0.5 * rounds * math.log(n))
        bound = 2.0 * (half if horizon else 2.0 * half + math.sqrt(math.log(n) / 8.0))
        assert table.sum(axis=0).max() - paid <= bound


@pytest.mark.parametrize("plus", [True, False])
def test_regret_matching_against_an_adversary(plus: bool) -> None:
    # Whatever it plays most pays nothing: regret may grow as range sqrt(n T), not faster.
    learner, paid, total = RegretMatching((4,), plus=plus), 0.0, np.zeros(4)
    for _ in range(2000):
        line = np.where(np.arange(4) == learner.policy.argmax(), 0.0, 1.0)
        paid += float(learner.policy @ line)
        total += line
        learner.learn(line)
    assert total.max() - paid <= math.sqrt(4 * 2000)


def test_exp3_finds_the_best_arm_within_its_bound() -> None:
    rounds, n = 4000, 5
    chance = np.array([0.2, 0.3, 0.25, 0.8, 0.5])
    gamma = min(1.0, math.sqrt(n * math.log(n) / ((math.e - 1) * rounds)))
    learner, generator = Exp3((200, n), gamma=gamma), np.random.default_rng(1)
    paid = np.zeros(200)
    for _ in range(rounds):
        actions = learner.draw(generator)
        payoff = (generator.random(200) < chance[actions]).astype(float)
        learner.learn(actions, payoff)
        paid += payoff
    assert learner.policy.shape == (200, n)
    assert learner.policy.mean(axis=0)[3] > 0.8
    regret = 0.8 * rounds - paid.mean()
    assert 0.0 < regret <= (math.e - 1) * gamma * 0.8 * rounds + n * math.log(n) / gamma
    assert (learner.policy >= gamma / n * (1 - 1e-12)).all()


def test_draws_follow_the_policy_and_the_seed() -> None:
    learner = Exp3((100_000, 3), gamma=1.0)
    learner.policy = np.broadcast_to([0.2, 0.0, 0.8], (100_000, 3))
    first = learner.draw(np.random.default_rng(5))
    assert np.bincount(first, minlength=3) / 100_000 == pytest.approx([0.2, 0.0, 0.8], abs=0.006)
    assert (first == learner.draw(np.random.default_rng(5))).all()
    assert 1 not in first


@pytest.mark.parametrize("name", FULL)
def test_many_learn_as_each_would_alone(name: str) -> None:
    r = np.random.default_rng(2)
    together, alone = FULL[name]((2, 3, 4)), [FULL[name]((4,)) for _ in range(6)]
    assert together.average == pytest.approx(together.policy)
    for _ in range(30):
        payoffs = r.normal(size=(2, 3, 4))
        together.learn(payoffs)
        for learner, line in zip(alone, payoffs.reshape(6, 4), strict=True):
            learner.learn(line)
    assert together.policy.reshape(6, 4) == pytest.approx(np.array([learner.policy for learner in alone]), abs=1e-12)
    assert together.average.reshape(6, 4) == pytest.approx(np.array([learner.average for learner in alone]), abs=1e-12)
    assert together.policy.sum(axis=-1) == pytest.approx(np.ones((2, 3)))
    assert together.average.sum(axis=-1) == pytest.approx(np.ones((2, 3)))


def test_the_average_of_regret_matching_plus_is_linear() -> None:
    payoffs = [[0.0, 1.0], [3.0, 0.0], [0.0, 0.0]]
    learner, plain, played = RegretMatching((2,)), RegretMatching((2,), plus=False), []
    for line in payoffs:
        played.append(learner.policy)
        last_of_plain = plain.policy
        learner.learn(line)
        plain.learn(line)
    assert learner.average == pytest.approx((1 * played[0] + 2 * played[1] + 3 * played[2]) / 6)
    assert played[1].tolist() == [0.0, 1.0]
    assert played[2] == pytest.approx([6 / 7, 1 / 7])  # regrets (3, 1/2): the -1/2 of the first round is forgotten
    assert last_of_plain == pytest.approx([5 / 6, 1 / 6])  # regrets (5/2, 1/2)
    assert plain.rounds == 3


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: RegretMatching(()), "expected (..., n)"),
        (lambda: RegretMatching((2, 0)), "shape is 0"),
        (lambda: RegretMatching((2,)).learn([1.0, 2.0, 3.0]), "shape (3,), expected (2,)"),
        (lambda: RegretMatching((2,)).learn([1.0, math.nan]), "not finite"),
        (lambda: Hedge((2,), spread=0), "spread is 0"),
        (lambda: Hedge((2,), spread=1, horizon=0), "horizon is 0"),
        (lambda: Exp3((2,), gamma=0), "gamma is 0"),
        (lambda: Exp3((2,), gamma=1.5), "gamma is 1.5"),
        (lambda: Exp3((1, 2), gamma=0.5).learn([0], [1.5]), "within [0, 1]"),
        (lambda: Exp3((1, 2), gamma=0.5).learn([2], [1.0]), "expected 0 to 1"),
        (lambda: Exp3((1, 2), gamma=0.5).learn([0.0], [1.0]), "whole numbers"),
    ],
)
def test_bad_rounds_are_refused(call: Any, part: str) -> None:
    with pytest.raises(GameError) as error:
        call()
    assert part in str(error.value)
