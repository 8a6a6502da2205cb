"""Clearing: against a sort of the prices, and against re-solving the market once without each winner."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gridpilot.benchmark.timing import Measurement, cpu_seconds
from gridpilot.market.clearing import clear, clear_batch
from gridpilot.market.network import clear_network, network_market

__all__ = ["measure_auctions"]

SUPPLY = ((0.5, 0.03), (0.3, 0.06), (0.2, 0.10))  # share of half the demand, $/kWh


def measure_auctions(repeats: int, markets: int) -> Iterator[Measurement]:
    """Yield the clearing benchmarks; ``markets`` is the size of the batch."""
    rng = np.random.default_rng(0)
    bids, supply = _market(rng, markets, 8, 5)
    median, best = cpu_seconds(lambda: clear_batch(bids, supply), repeats=repeats)
    yield Measurement(
        "clearing", f"{markets} markets of 8 x 5 blocks, with payments", median * 1e6, best * 1e6, markets / median, "markets"
    )
    one = [block.tolist() for block in bids[0]]
    document = {"bids": one, "supply": supply.tolist(), "capacity": float(supply[:, 0].sum())}
    network = network_market(document)
    solver, solver_best = cpu_seconds(lambda: clear_network(network), repeats=repeats)
    yield Measurement("clearing", "one market of 8 x 5 blocks by n + 1 linear programmes (HiGHS)", solver * 1e6, solver_best * 1e6)
    median, best = cpu_seconds(lambda: clear(one, supply), repeats=repeats)
    name = "one market of 8 x 5 blocks through clear(), with its checks"
    yield Measurement(
        "clearing", name, median * 1e6, best * 1e6, 1.0 / median, "markets", median / solver, "n + 1 linear programmes"
    )
    for n, k in ((1_000, 10), (100_000, 5)):
        bids, supply = _market(rng, 1, n, k)
        prices = bids[0, :, :, 1].ravel().copy()
        sort, sort_best = cpu_seconds(lambda prices=prices: np.argsort(prices), repeats=repeats)  # type: ignore[misc]
        yield Measurement("clearing", f"np.argsort of {n * k:,} prices", sort * 1e6, sort_best * 1e6)
        median, best = cpu_seconds(lambda bids=bids, supply=supply: clear_batch(bids, supply), repeats=repeats)  # type: ignore[misc]
        name = f"one market of {n:,} x {k} blocks, with its checks"
        yield Measurement("clearing", name, median * 1e6, best * 1e6, 1.0 / median, "markets", median / sort, "np.argsort")


def _market(rng: np.random.Generator, markets: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    kw = rng.uniform(0.0, 100.0, (markets, n, k))
    price = -np.sort(-rng.uniform(0.0, 0.3, (markets, n, k)), axis=-1)
    demand = 50.0 * n * k
    return np.stack([kw, price], axis=-1), np.array([(0.5 * demand * share, cost) for share, cost in SUPPLY])
