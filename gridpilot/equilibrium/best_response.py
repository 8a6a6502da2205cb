"""Best responses and NashConv of a tick: exact, for one market or thousands. Definitions in :mod:`gridpilot.market.best_response`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gridpilot.errors import MarketError
from gridpilot.market.auction import N_TOTALS, PRICE_LO, SMALL, clear_small, truncate_supply
from gridpilot.market.best_response import best_responses, true_value
from gridpilot.market.bids import check_blocks
from gridpilot.market.clearing import (
    PARALLEL_FROM,
    Mechanism,
    check_block_array,
    check_capacity,
    check_caps,
    check_markets,
    check_mechanism,
    check_reserve,
    check_supply,
    take_blocks,
)
from gridpilot.market.compilation import kernel, parallel_kernel
from gridpilot.market.margin import clear_large

__all__ = ["BestResponse", "best_response", "best_response_batch"]

FloatArray = npt.NDArray[np.float64]

N_RESULTS = 5  # payoff, best, best_x, gain, truthful_surplus: by position in a row of results


@dataclass(frozen=True)
class BestResponse:
    """What each site got, and could have got with another bid. For a batch every field has a leading market axis."""

    payoff: FloatArray  # (N,) $/h, V_i(x_i) - payment_i at the bids submitted, V the true blocks
    best: FloatArray  # (N,) $/h, the most that another bid gets; under pay-as-bid a supremum
    best_x: FloatArray  # (N,) kW, what it gets then; the smallest such quantity
    gain: FloatArray  # (N,) $/h >= 0, best - payoff
    truthful_surplus: FloatArray  # (N,) $/h, what the true blocks earn under VCG against the same bids of the others
    nashconv: Any  # $/h, sum of the gains


def best_response(
    bids: Sequence[Any],
    supply: Any,
    capacity: float = math.inf,
    *,
    values: Sequence[Any] | None = None,
    caps: Sequence[float | None] | None = None,
    reserve: float | None = None,
    mechanism: Mechanism = "vcg",
) -> BestResponse:
    """The best response of each site of one market to the bids of the others.

    ``values``  for each of N sites its true blocks ``(kW, $/kWh)``, prices non-increasing; by default the bids are the truth
    The other arguments are those of :func:`gridpilot.market.clearing.clear`, and so are the errors.

    Two units without cost; A values both at 10, B one at 8. The truth earns A 4 at a uniform price, one unit alone earns 10:

    >>> result = best_response([[(2, 10)], [(1, 8)]], supply=[(2, 0)], mechanism="uniform")
    >>> result.payoff.tolist(), result.best.tolist(), result.best_x.tolist()
    ([4.0, 0.0], [10.0, 0.0], [1.0, 0.0])
    """
    lists = [check_blocks(bid, where=f"bids[{i}]") for i, bid in enumerate(bids)]
    truth = lists if values is None else [check_blocks(value, where=f"values[{i}]") for i, value in enumerate(values)]
    if len(truth) != len(lists):
        raise MarketError(f"values: {len(truth)} lists of blocks, expected {len(lists)}, one a site")
    result = best_response_batch(
        _stacked(lists)[None],
        check_supply(supply),
        check_capacity(capacity),
        values=_stacked(truth)[None],
        caps=check_caps(caps, len(lists)),
        reserve=check_reserve(reserve),
        mechanism=mechanism,
    )
    return BestResponse(
        result.payoff[0], result.best[0], result.best_x[0], result.gain[0], result.truthful_surplus[0], float(result.nashconv[0])
    )


def best_response_batch(
    bids: Any,
    supply: Any,
    capacity: Any = math.inf,
    *,
    values: Any = None,
    caps: Any = math.inf,
    reserve: Any = -math.inf,
    mechanism: Mechanism = "vcg",
) -> BestResponse:
    """The best responses in B markets of N sites at once.

    ``bids``    ``(B, N, K, 2)`` blocks (kW, $/kWh), prices non-increasing along K; fill up with blocks of 0 kW
    ``values``  ``(B, N, J, 2)`` true blocks of the same form; by default the bids are the truth
    ``supply``, ``capacity``, ``caps``, ``reserve`` as :func:`gridpilot.market.clearing.clear_batch` takes them, and its errors.
    """
    blocks = check_block_array(bids)
    n_markets, n = blocks.shape[:2]
    truth = blocks if values is None else check_block_array(values, "values")
    if truth.shape[:2] != (n_markets, n):
        raise MarketError(f"values: expected blocks of {n_markets} markets of {n} sites, got an array of shape {truth.shape}")
    markets = check_markets(n_markets, n, supply, capacity, caps, reserve)
    results, bad = np.empty((N_RESULTS, n_markets, n)), np.full(n_markets, -1)
    arguments = (
        *(np.ascontiguousarray(array) for array in (blocks, *markets, truth)),
        check_mechanism(mechanism), results, bad,
    )  # fmt: skip
    if n_markets < PARALLEL_FROM:
        respond_range(0, n_markets, *arguments)
    else:
        respond_parallel(numba.get_num_threads(), *arguments)
    if bad.max(initial=-1) >= 0:
        b = int(np.argmax(bad >= 0))
        i = int(bad[b] % n)
        name, array = ("values", truth) if bad[b] >= n else ("bids", blocks)
        check_blocks(array[b, i], where=f"market {b}, {name}[{i}]")
    payoff, best, best_x, gain, truthful_surplus = results
    return BestResponse(payoff, best, best_x, gain, truthful_surplus, gain.sum(axis=1))


def _stacked(lists: Sequence[FloatArray]) -> FloatArray:
    blocks = np.zeros((len(lists), max(map(len, lists), default=0), 2))
    for i, block in enumerate(lists):
        blocks[i, : len(block)] = block
        blocks[i, len(block) :, 1] = block[-1, 1] if len(block) else 0.0
    return blocks


@kernel
def respond_range(
    begin: int,
    end: int,
    blocks: Any,  # (B, N, K, 2)
    supply: Any,  # (B, S, 2)
    capacity: Any,  # (B,)
    caps: Any,  # (B, N)
    reserve: Any,  # (B,)
    truth: Any,  # (B, N, J, 2)
    mechanism: int,
    results: Any,  # (N_RESULTS, B, N), out
    bad: Any,  # (B,), out: a site whose bid is refused, or N + a site whose values are, where there is one
) -> None:
    """Clear markets ``begin`` to ``end - 1`` and find every site's best response."""
    _, n, n_blocks, _ = blocks.shape
    kw, price, steps = np.empty((n_blocks, n)), np.empty((n_blocks, n)), np.empty((supply.shape[1] + 1, 4))
    true_kw, true_price = np.empty((truth.shape[2], n)), np.empty((truth.shape[2], n))
    won, paid, worth, totals = np.empty(n), np.empty(n), np.empty(n), np.empty((1, N_TOTALS))
    used = np.full(n, n_blocks)
    front, need, own, level = np.empty(n), np.empty(n), np.empty(n), np.empty(n * n_blocks)
    head, owner = np.empty(n, dtype=np.int64), np.empty(n * n_blocks, dtype=np.int64)
    first, whose = np.empty(n, dtype=np.int64), np.empty(n * n_blocks + supply.shape[1], dtype=np.int64)
    entry_kw, entry_price = np.empty(len(whose)), np.empty(len(whose))
    best, best_kw, truthful, before, part = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for b in range(begin, end):
        refused = take_blocks(blocks, caps, b, kw, price)
        refused_truth = take_blocks(truth, caps, b, true_kw, true_price)
        bad[b] = refused if refused >= 0 or refused_truth < 0 else n + refused_truth
        if bad[b] >= 0:
            continue
        n_steps, total = truncate_supply(supply, b, capacity[b], reserve[b], steps)
        if n <= SMALL:
            clear_small(
                kw, price, used, steps, n_steps, total, math.inf, mechanism, won, paid, worth, totals, 0,
                front, need, own, head, level, owner,
            )  # fmt: skip
        else:
            clear_large(kw, price, steps, n_steps, total, mechanism, won, paid, worth, totals, 0)
        best_responses(
            kw, price, used, steps, n_steps, total, mechanism, totals[0, PRICE_LO], won, true_kw, true_price,
            best, best_kw, truthful, head, before, first, part, entry_kw, entry_price, whose,
        )  # fmt: skip
        for i in range(n):
            payoff = true_value(true_kw, true_price, i, won[i]) - paid[i]
            results[0, b, i], results[1, b, i], results[2, b, i] = payoff, best[i], best_kw[i]
            results[3, b, i], results[4, b, i] = max(0.0, best[i] - payoff), truthful[i]


@parallel_kernel
def respond_parallel(
    chunks: int,
    blocks: Any,
    supply: Any,
    capacity: Any,
    caps: Any,
    reserve: Any,
    truth: Any,
    mechanism: int,
    results: Any,
    bad: Any,
) -> None:
    """Do all markets, ``chunks`` contiguous parts of them in parallel."""
    n = len(blocks)
    for c in numba.prange(chunks):
        respond_range(
            c * n // chunks, (c + 1) * n // chunks, blocks, supply, capacity, caps, reserve, truth, mechanism, results, bad
        )
