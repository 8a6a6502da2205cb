"""A laboratory of bidders that learn by trial and error in the same market over and over: do prices end where competition puts them?

Q-learning as of Calvano, Calzolari, Denicolo and Pastorello (2020), "Artificial intelligence, algorithmic pricing and collusion": each
bidder values its bids by what they brought, tries another one ever less often, and sees the last bids of all or nothing at all. One
result from this field: without memory, bids in a first-price auction settle below what competition would make of them, and those in a
second-price auction do not (Banchio and Skrzypacz 2022, "Artificial intelligence and auction design").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gridpilot.market.clearing import Mechanism
from gridpilot.market.compilation import kernel
from gridpilot.market.random import seed_stream, uniform
from gridpilot.validation.misreports import worth
from gridpilot.validation.row import Figure, FloatArray, Result, between
from gridpilot.validation.study import Study

__all__ = ["COLLUSION", "COLLUSION_MULTI_UNIT", "Bidders", "Laboratory", "Outcomes", "Table", "interval", "learn_by_q", "table_of"]

BIDS: Final = np.arange(1, 20) / 20.0  # $/kWh for one unit worth 1
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
