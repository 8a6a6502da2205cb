"""The kernels that learn, against the same rules written once more in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.market.clearing import Mechanism, clear
from gridpilot.validation.collusion import (
    Laboratory,
    interval,
    one_unit_bidders,
    play,
    table_of,
    two_unit_bidders,
)
from gridpilot.validation.learning import match_regrets
from gridpilot.validation.misreports import markets, worth
from gridpilot.validation.study import Study


@pytest.mark.parametrize(("number", "mechanism"), [(0, "vcg"), (1, "uniform"), (2, "pay_as_bid")])
def test_regret_matching_does_what_it_says(number: int, mechanism: Mechanism) -> None:
    rng, factors, rounds = np.random.default_rng(1), np.array([0.5, 0.8, 1.0]), 12
    truth, supply, _ = markets(rng, rounds)
    chance = rng.random((rounds, 4))
    average, regret, earned = np.empty((4, 3)), np.empty((4, 3)), np.empty(4)
    match_regrets(truth, supply, factors, chance, number, average, regret, earned)

    positive, mean, total, gained = np.zeros((4, 3)), np.zeros((4, 3)), np.zeros((4, 3)), np.zeros(4)
    for t in range(rounds):
        sums = positive.sum(axis=1, keepdims=True)
        strategy = np.where(sums > 0.0, positive / np.where(sums > 0.0, sums, 1.0), 1.0 / 3.0)
        played = [min(int(np.searchsorted(np.cumsum(strategy[i]), chance[t, i], side="right")), 2) for i in range(4)]
        payoff = np.empty((4, 3))
        for i in range(4):
            for f in range(3):
                shares = [factors[f if j == i else played[j]] for j in range(4)]
                found = clear([truth[t, j] * [1.0, shares[j]] for j in range(4)], supply[t], mechanism=mechanism)
                payoff[i, f] = worth(truth[t, i][None], found.allocation[[i]])[0] - found.payment[i]
        got = (strategy * payoff).sum(axis=1, keepdims=True)
        positive = np.maximum(positive + payoff - got, 0.0)
        mean += (t + 1) * strategy
        total += (payoff - got) / rounds
        gained += got[:, 0] / rounds
    np.testing.assert_allclose(average, mean / (rounds * (rounds + 1) / 2.0), atol=1e-9)
    np.testing.assert_allclose(regret, total, atol=1e-9)
    np.testing.assert_allclose(earned, gained, atol=1e-9)


def q_learning(payoff: np.ndarray, measure: np.ndarray, m: int, laboratory: Laboratory, seed: int) -> list[float]:
    """The same trials with numpy's generators, whose numbers the kernels' streams are."""
    n, found = payoff.shape[1], []
    strides = [m ** (n - 1 - i) for i in range(n)]
    start = laboratory.iterations - max(1, round(laboratory.last * laboratory.iterations))
    for trial in range(laboratory.trials):
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(trial, 0))))
        shaped = [payoff[:, i].reshape([m] * n) for i in range(n)]
        first = [shaped[i].mean(axis=tuple(j for j in range(n) if j != i)) / (1.0 - laboratory.discount) for i in range(n)]
        states = len(payoff) if laboratory.memory else 1
        q = np.array([np.tile(first[i], (states, 1)) for i in range(n)])
        state = int(rng.random() * len(payoff)) if laboratory.memory else 0
        seen = []
        for t in range(laboratory.iterations):
            chosen = []
            for i in range(n):
                action = int(np.argmax(q[i, state]))
                if rng.random() < np.exp(-laboratory.decay * t):
                    action = int(rng.random() * m)
                chosen.append(action)
            profile = sum(action * stride for action, stride in zip(chosen, strides, strict=True))
            reached = profile if laboratory.memory else 0
            for i in range(n):
                gain = payoff[profile, i] + laboratory.discount * q[i, reached].max()
                q[i, state, chosen[i]] += laboratory.alpha * (gain - q[i, state, chosen[i]])
            state = reached
            if t >= start:
                seen.append(measure[profile])
        found.append(float(np.mean(seen)))
    return found


@pytest.mark.parametrize("memory", [False, True])
def test_q_learning_does_what_it_says(memory: bool) -> None:
    rng = np.random.default_rng(3)
    laboratory = Laboratory(trials=3, iterations=400, decay=0.02, memory=memory)
    table = table_of(Study(), one_unit_bidders(), [[1.0, 0.0]], "pay_as_bid")
    blurred = table.payoff + rng.normal(0.0, 1e-3, table.payoff.shape)  # no two bids are alike
    changed = type(table)(blurred, table.price, table.welfare)
    found = play(changed, laboratory, 5)
    expected = q_learning(blurred, table.price, 19, laboratory, 5)
    np.testing.assert_allclose(found.price, expected, atol=1e-9)


def test_a_table_holds_what_the_auctioneer_does_with_all_combinations() -> None:
    bidders = two_unit_bidders()
    m = bidders.menu.shape[1]
    for mechanism in ("vcg", "uniform", "pay_as_bid"):
        table = table_of(Study(), bidders, [[2.0, 0.1], [1.0, 0.3]], mechanism)  # type: ignore[arg-type]
        assert len(table.price) == m * m
        for a, b in ((0, 0), (3, 11), (m - 1, m - 1)):
            found = clear([bidders.menu[0, a], bidders.menu[1, b]], [(2, 0.1), (1, 0.3)], mechanism=mechanism)  # type: ignore[arg-type]
            value = np.array([worth(bidders.truth[[i]], found.allocation[[i]])[0] for i in range(2)])
            p = a * m + b
            np.testing.assert_allclose(table.payoff[p], value - found.payment, atol=1e-12)
            np.testing.assert_allclose(table.price[p], found.payment.sum() / found.volume, atol=1e-12)
            np.testing.assert_allclose(table.welfare[p], value.sum() - found.supply_cost, atol=1e-12)
    assert np.array_equal(bidders.menu[:, -1], bidders.truth)  # the last of each menu


def test_options_change_what_is_learned() -> None:
    table = table_of(Study(), one_unit_bidders(), [[1.0, 0.0]], "pay_as_bid")
    usual = Laboratory(trials=20, iterations=2000, decay=5e-3)
    prices = {
        name: play(table, laboratory, 1).price
        for name, laboratory in {
            "usual": usual,
            "alpha": Laboratory(trials=20, iterations=2000, decay=5e-3, alpha=0.5),
            "decay": Laboratory(trials=20, iterations=2000, decay=1e-3),
            "memory": Laboratory(trials=20, iterations=2000, decay=5e-3, memory=True),
        }.items()
    }
    assert all(len(price) == 20 for price in prices.values())
    assert all(not np.array_equal(prices["usual"], price) for name, price in prices.items() if name != "usual")
    again = play(table, Laboratory(trials=7, iterations=2000, decay=5e-3), 1).price
    assert np.array_equal(again, prices["usual"][:7])  # a trial does not depend on how many there are


def test_the_interval_covers_the_mean() -> None:
    rng = np.random.default_rng(0)
    covered = [low <= 2.0 <= high for low, high in (interval(rng.normal(2.0, 3.0, 100)) for _ in range(2000))]
    assert 0.93 < float(np.mean(covered)) < 0.97
