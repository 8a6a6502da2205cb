"""Bidders that learn how much of their value to bid, in markets that are drawn anew every time: regret matching."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from gridpilot.market.auction import N_TOTALS
from gridpilot.market.clearing import clear_range
from gridpilot.market.compilation import kernel
from gridpilot.validation.misreports import BIDDERS, markets
from gridpilot.validation.row import Figure, FloatArray, Result, between, close
from gridpilot.validation.study import Study, one_unit

__all__ = ["FACTORS", "FIRST_PRICE_LEARNED", "REGRET_MATCHING", "learn_factors", "match_regrets"]

FACTORS: Final = np.arange(1, 17) / 12.0  # shares of the value that can be bid, four of them above it
ITERATIONS: Final = 4000
NEAR: Final = 0.06  # of the first-price equilibrium, after:
ENOUGH: Final = 40_000  # iterations


@kernel
def match_regrets(
    truth: Any,  # (T, N, K, 2) true blocks of each iteration's market
    supply: Any,  # (T, S, 2)
    factors: Any,  # (F,) > 0
    chance: Any,  # (T, N) uniform on [0, 1)
    mechanism: int,
    average: Any,  # (N, F) out: the average strategies, iteration t weighing t
    regret: Any,  # (N, F) out: $/h a market that each factor would have earned more than what was played
    earned: Any,  # (N,) out: $/h a market that was earned
) -> None:
    """Regret matching+ (Tammelin 2014): regrets are cut at zero, averages are linear. Every factor is cleared in every market.

    Hart and Mas-Colell (2000) for the rule without the cut: a factor is played in proportion to its positive regret.
    """
    n_iterations, n, n_blocks, _ = truth.shape
    n_factors = len(factors)
    tried = n * n_factors
    bids = np.empty((tried, n, n_blocks, 2))
    offered = np.empty((tried, supply.shape[1], 2))
    capacity, caps, reserve = np.full(tried, np.inf), np.full((tried, n), np.inf), np.full(tried, -np.inf)
    allocation, payment, value = np.empty((tried, n)), np.empty((tried, n)), np.empty((tried, n))
    totals, bad = np.empty((tried, N_TOTALS)), np.empty(tried, dtype=np.int64)
    positive, strategy, played = np.zeros((n, n_factors)), np.empty((n, n_factors)), np.empty(n, dtype=np.int64)
    average[:], regret[:], earned[:] = 0.0, 0.0, 0.0
    for t in range(n_iterations):
        for i in range(n):
            total = positive[i].sum()
            for f in range(n_factors):
                strategy[i, f] = positive[i, f] / total if total > 0.0 else 1.0 / n_factors
            left, played[i] = chance[t, i], 0
            while played[i] < n_factors - 1 and left >= strategy[i, played[i]]:
                left -= strategy[i, played[i]]
                played[i] += 1
        for i in range(n):
            for f in range(n_factors):
                a = i * n_factors + f
                offered[a] = supply[t]
                for j in range(n):
                    share = factors[f] if j == i else factors[played[j]]
                    for k in range(n_blocks):
                        bids[a, j, k, 0], bids[a, j, k, 1] = truth[t, j, k, 0], share * truth[t, j, k, 1]
        clear_range(0, tried, bids, offered, capacity, caps, reserve, mechanism, allocation, payment, value, totals, bad)
        for i in range(n):
            mean = 0.0
            for f in range(n_factors):
                a = i * n_factors + f
                value[a, i] = value[a, i] / factors[f] - payment[a, i]  # all prices of the bid are f times the true ones
                mean += strategy[i, f] * value[a, i]
            earned[i] += mean / n_iterations
            for f in range(n_factors):
                more = value[i * n_factors + f, i] - mean
                regret[i, f] += more / n_iterations
                positive[i, f] = max(positive[i, f] + more, 0.0)
                average[i, f] += (t + 1) * strategy[i, f] * 2.0 / (n_iterations * (n_iterations + 1.0))


def learn_factors(
    study: Study, truth: FloatArray, supply: FloatArray, mechanism: str, factors: FloatArray, name: str
) -> tuple[FloatArray, FloatArray]:
    """The mean factor of each bidder's average strategy, ``(N,)``, and the regret it is left with, as a share of what it earned."""
    n = truth.shape[1]
    average, regret, earned = np.empty((n, len(factors))), np.empty((n, len(factors))), np.empty(n)
    chance = study.rng(name).random((len(truth), n))
    match_regrets(truth, supply, factors, chance, study.auctioneer.numbers[mechanism], average, regret, earned)
    return average @ factors, regret.max(axis=1) / earned


def _first_price(study: Study) -> Iterator[Figure]:
    factors = np.arange(1, 21) / 20.0
    for n in (2, 4):
        count = study.draws(ENOUGH, least=10_000)
        truth = one_unit(study.rng(f"first price learned {n}").random((count, n)))
        supply = np.tile([[1.0, 0.0]], (count, 1, 1))
        found, _ = learn_factors(study, truth, supply, "pay_as_bid", factors, f"first price chances {n}")
        what = f"n = {n}: factor furthest from the equilibrium, {count:,} iterations"
        expected = (n - 1) / n
        # Regret falls with the root of the iterations, and payoffs are flat at the best factor: its error falls with the fourth root.
        near = NEAR * (ENOUGH / count) ** 0.25
        yield close(what, expected, float(found[np.argmax(np.abs(found - expected))]), near)


def _regret_matching(study: Study) -> Iterator[Figure]:
    count = study.draws(ITERATIONS, least=2000)
    truth, supply, _ = markets(study.rng("regret matching"), count)
    worst = 0.0
    for mechanism in ("vcg", "uniform", "pay_as_bid"):
        found, left = learn_factors(study, truth, supply, mechanism, FACTORS, "regret matching chances")
        what = f"{mechanism}, {BIDDERS} bidders, {count:,} iterations"
        if mechanism == "vcg":  # in markets drawn anew no other factor is as good as the truth
            yield close(f"{what}: mean factor furthest from 1", 1.0, float(found[np.argmax(np.abs(found - 1.0))]), 0.02)
        else:
            most = 0.98 if mechanism == "uniform" else 0.7
            yield between(f"{what}: largest mean factor", 0.4, most, float(found.max()))
        worst = max(worst, float(left.max()))
    # Regret falls with the square root of the iterations; that it falls to zero is what makes the factors an equilibrium's.
    yield between("all three: largest regret left, of what is earned", 0.0, 2.0 / count**0.5, max(worst, 0.0))


FIRST_PRICE_LEARNED = Result("first_price_learned", "Hart and Mas-Colell 2000; Tammelin 2014", _first_price)
REGRET_MATCHING = Result("regret_matching", "Hart and Mas-Colell 2000; Tammelin 2014", _regret_matching)
