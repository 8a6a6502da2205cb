"""A laboratory of bidders that learn by trial and error in the same market over and over: do prices end where competition puts them?

Q-learning as of Calvano, Calzolari, Denicolo and Pastorello (2020), "Artificial intelligence, algorithmic pricing and collusion": each
bidder values its bids by what they brought, tries another one ever less often, and sees the last bids of all or nothing at all. One
result from this field: without memory, bids in a first-price auction settle below what competition would make of them, and those in a
second-price auction do not (Banchio and Skrzypacz 2022, "Artificial intelligence and auction design").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gridpilot.market.clearing import Mechanism
from gridpilot.market.compilation import kernel
from gridpilot.market.random import seed_stream, uniform
from gridpilot.validation.misreports import worth
from gridpilot.validation.row import Figure, FloatArray, Result, between
from gridpilot.validation.study import Study

__all__ = [
    "COLLUSION",
    "COLLUSION_MULTI_UNIT",
    "Bidders",
    "Laboratory",
    "Outcomes",
    "Table",
    "interval",
    "learn_by_q",
    "one_unit_bidders",
    "play",
    "table_of",
    "two_unit_bidders",
]

BIDS: Final = np.arange(1, 20) / 20.0  # $/kWh for one unit worth 1
VALUES: Final = ((1.0, 0.8), (0.9, 0.7))  # $/kWh, of the two units that each of two bidders wants
SHARES: Final = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)  # of a unit's value that can be bid
SUPPLY: Final = ((2.0, 0.1), (1.0, 0.3))  # kW, $/kWh: three units for four
LEVEL_95: Final = 1.959963984540054


@dataclass(frozen=True)
class Laboratory:
    """How the bidders learn, and for how long. Defaults settle in the markets below."""

    trials: int = 400
    iterations: int = 100_000
    alpha: float = 0.1  # weight of the newest experience
    discount: float = 0.95  # of the next round
    decay: float = 1e-4  # another bid is tried with the probability exp(-decay t) in round t
    memory: bool = False  # whether the last bids of all are seen
    last: float = 0.1  # share of the rounds that is measured, at the end


@dataclass(frozen=True)
class Bidders:
    """N bidders, what they may bid, and what their units are worth to them."""

    truth: FloatArray  # (N, K, 2) kW, $/kWh
    menu: FloatArray  # (N, M, K, 2), the M bids of each


@dataclass(frozen=True)
class Table:
    """What every combination of bids leads to, as the auctioneer clears it; P = M^N of them, the last bidder's bid varying fastest."""

    payoff: FloatArray  # (P, N) $/h, true value less payment
    price: FloatArray  # (P,) $/kWh, revenue a kW; nan where nothing is sold
    welfare: FloatArray  # (P,) $/h, true values less cost of supply


@dataclass(frozen=True)
class Outcomes:
    """What each of the trials ended in, ``(T,)``: means over its last rounds."""

    price: FloatArray  # $/kWh, revenue over kW
    welfare: FloatArray  # $/h


def table_of(study: Study, bidders: Bidders, supply: Any, mechanism: Mechanism) -> Table:
    """Clear all combinations of bids."""
    n, m = bidders.menu.shape[:2]
    combinations = np.stack(np.meshgrid(*[np.arange(m)] * n, indexing="ij"), axis=-1).reshape(-1, n)
    bids = np.stack([bidders.menu[i][combinations[:, i]] for i in range(n)], axis=1)
    found = study.clear_batch(bids, supply, mechanism)
    value = np.column_stack(
        [worth(np.broadcast_to(bidders.truth[i], (len(bids), *bidders.truth[i].shape)), found.allocation[:, i]) for i in range(n)]
    )
    sold = found.allocation.sum(axis=1)
    price = np.divide(found.payment.sum(axis=1), sold, out=np.full(len(bids), np.nan), where=sold > 0.0)
    return Table(value - found.payment, price, value.sum(axis=1) - found.supply_cost)


def play(table: Table, laboratory: Laboratory, seed: int) -> Outcomes:
    """Let the bidders learn, ``laboratory.trials`` times independently; trial t has the stream of episode t under ``seed``."""
    n = table.payoff.shape[1]
    m = round(len(table.payoff) ** (1.0 / n))
    seen = np.empty((laboratory.trials, 2))
    measures = np.column_stack([table.price, table.welfare])
    start = laboratory.iterations - max(1, round(laboratory.last * laboratory.iterations))
    learn_by_q(
        table.payoff, measures, m, laboratory.memory, laboratory.alpha, laboratory.discount, laboratory.decay,
        laboratory.iterations, start, np.uint64(seed), seen,
    )  # fmt: skip
    return Outcomes(seen[:, 0], seen[:, 1])


@kernel
def learn_by_q(
    payoff: Any,  # (P, N) $/h
    measures: Any,  # (P, X)
    m: int,  # bids of each; P = m^N
    memory: bool,
    alpha: float,
    discount: float,
    decay: float,
    iterations: int,
    start: int,  # round from which on is measured
    root: Any,  # uint64
    seen: Any,  # (T, X) out: means of the measures from round ``start`` on
) -> None:
    """Q-learning of N bidders at once, T times. They begin as if all others would always bid at random (Calvano et al. 2020)."""
    n_profiles, n = payoff.shape
    states = n_profiles if memory else 1
    strides = np.ones(n, dtype=np.int64)
    for i in range(n - 2, -1, -1):
        strides[i] = strides[i + 1] * m
    first = np.zeros((n, m))
    for p in range(n_profiles):
        for i in range(n):
            first[i, (p // strides[i]) % m] += payoff[p, i] * m / n_profiles / (1.0 - discount)
    q, stream = np.empty((n, states, m)), np.empty(4, dtype=np.uint64)
    best, chosen = np.empty((n, states), dtype=np.int64), np.empty(n, dtype=np.int64)
    for trial in range(len(seen)):
        seed_stream(root, trial, 0, stream)
        for i in range(n):
            for s in range(states):
                q[i, s] = first[i]
                best[i, s] = np.argmax(first[i])
        state = 0
        if memory:
            state = min(int(uniform(stream) * n_profiles), n_profiles - 1)
        seen[trial] = 0.0
        tried, fading = 1.0, math.exp(-decay)
        for t in range(iterations):
            profile = 0
            for i in range(n):
                chosen[i] = best[i, state]
                if uniform(stream) < tried:
                    chosen[i] = min(int(uniform(stream) * m), m - 1)
                profile += chosen[i] * strides[i]
            tried *= fading
            reached = profile if memory else 0
            for i in range(n):
                a = chosen[i]
                gain = payoff[profile, i] + discount * q[i, reached, best[i, reached]]
                before = q[i, state, a]
                q[i, state, a] = before + alpha * (gain - before)
                if a == best[i, state]:
                    if q[i, state, a] < before:
                        best[i, state] = np.argmax(q[i, state])
                elif q[i, state, a] > q[i, state, best[i, state]]:
                    best[i, state] = a
            state = reached
            if t >= start:
                for x in range(measures.shape[1]):
                    seen[trial, x] += measures[profile, x] / (iterations - start)


def interval(sample: FloatArray) -> tuple[float, float]:
    """The 95 % interval of the mean of independent trials ``(T,)``, by the normal distribution."""
    half = LEVEL_95 * float(sample.std(ddof=1)) / len(sample) ** 0.5
    mean = float(sample.mean())
    return mean - half, mean + half


def one_unit_bidders() -> Bidders:
    """Two bidders to whom one unit is worth 1, and who may bid 0.05 to 0.95 for it.

    Who is outbid gains by bidding a step more as long as that is below the value: competition ends at 0.9 or 0.95 in a first-price
    auction, and in a second-price auction nothing is better than 0.95.
    """
    menu = np.column_stack([np.ones_like(BIDS), BIDS])[:, None, :]
    return Bidders(np.ones((2, 1, 2)), np.stack([menu, menu]))


def two_unit_bidders() -> Bidders:
    """Two bidders who want two units each, and may bid a share of each unit's value, the second never above the first."""
    menus = []
    for first, second in VALUES:
        prices = [(a * first, b * second) for a in SHARES for b in SHARES if b * second <= a * first]
        menus.append([[(1.0, one), (1.0, other)] for one, other in prices])
    least = min(map(len, menus))  # the dearest bids of who has more of them
    truth = [[(1.0, value) for value in values] for values in VALUES]
    return Bidders(np.array(truth), np.array([menu[-least:] for menu in menus]))


def _played(study: Study, bidders: Bidders, supply: Any) -> dict[str, tuple[Table, Outcomes]]:
    laboratory = Laboratory(trials=study.draws(Laboratory.trials))
    tables = {name: table_of(study, bidders, supply, name) for name in ("vcg", "uniform", "pay_as_bid")}
    return {name: (table, play(table, laboratory, study.seed)) for name, table in tables.items()}


def _collusion(study: Study) -> Iterator[Figure]:
    found = {name: outcome for name, (_, outcome) in _played(study, one_unit_bidders(), [[1.0, 0.0]]).items()}
    first, second = found["pay_as_bid"].price, found["vcg"].price
    trials = f"{len(first)} trials"
    yield between(f"first price, competition ends at 0.9: upper end of the price, {trials}", 0.05, 0.85, interval(first)[1])
    yield between(f"second price, competition ends at 0.95: lower end of the price, {trials}", 0.85, 0.95, interval(second)[0])
    yield between(f"second less first price: lower end, {trials}", 0.5, 0.9, interval(second - first)[0])
    # One unit: the highest losing price is the second highest bid.
    yield Figure(f"uniform less second price, {trials}", 0.0, float((found["uniform"].price - second).mean()), 1e-9)


def _collusion_multi_unit(study: Study) -> Iterator[Figure]:
    found = _played(study, two_unit_bidders(), SUPPLY)
    trials = f"{len(found['vcg'][1].price)} trials"
    # The last bid of each menu is the truth, and the last combination what bidders without influence would do.
    price = {name: outcome.price / table.price[-1] for name, (table, outcome) in found.items()}
    welfare = {name: outcome.welfare / table.welfare[-1] for name, (table, outcome) in found.items()}
    # Both bid so little for their second unit that the cost of supply, 0.3, sets the price, where the truth would make it 0.7.
    low = 0.3 / 0.7
    yield between(
        f"uniform: upper end of the price, of the truthful, {trials}", 0.99 * low, 1.1 * low, interval(price["uniform"])[1]
    )
    yield between(f"pay_as_bid: upper end of the price, of the truthful, {trials}", 0.45, 0.55, interval(price["pay_as_bid"])[1])
    yield between(f"vcg: lower end of the price, of the truthful, {trials}", 0.65, 1.0, interval(price["vcg"])[0])
    yield between(f"vcg: lower end of welfare, of the best, {trials}", 0.98, 1.0, interval(welfare["vcg"])[0])
    for name in ("uniform", "pay_as_bid"):
        high = interval(welfare[name])[1]
        yield between(f"{name}: upper end of welfare, of the best, {trials}", 0.9, 0.997, high)


COLLUSION = Result("collusion", "Calvano et al. 2020; Banchio and Skrzypacz 2022", _collusion)
COLLUSION_MULTI_UNIT = Result("collusion_multi_unit", "Calvano et al. 2020; found here", _collusion_multi_unit)
