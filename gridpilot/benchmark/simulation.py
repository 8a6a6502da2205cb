"""Simulating the world: prices, weather and capacity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gridpilot.benchmark.timing import Measurement, cpu_seconds
from gridpilot.setup import MarketSetup

__all__ = ["measure_simulation"]


def measure_simulation(repeats: int, markets: int, setup: MarketSetup) -> Iterator[Measurement]:
    """Yield CPU of drawing whole episodes; rates count ticks of a market. numpy's Student-t draws are the yardstick."""
    episodes = np.arange(markets)
    draws = markets * setup.ticks
    rng = np.random.default_rng(0)
    yardstick, best = cpu_seconds(lambda: rng.standard_t(4.0, size=3 * draws), repeats=repeats)
    yield Measurement(
        "simulation", f"numpy: three Student-t draws for each of {markets} x {setup.ticks} ticks", yardstick * 1e6, best * 1e6
    )
    median, best = cpu_seconds(lambda: setup.world.prices.simulate(0, episodes, setup.ticks), repeats=repeats)
    name, against = f"three GARCH prices of {markets} x {setup.ticks} ticks", "numpy's Student-t draws"
    yield Measurement("simulation", name, median * 1e6, best * 1e6, draws / median, "ticks", median / yardstick, against)
    median, best = cpu_seconds(lambda: setup.world.simulate(0, episodes, setup.ticks, 0), repeats=repeats)
    name = f"prices, weather and capacity of {markets} x {setup.ticks} ticks"
    yield Measurement("simulation", name, median * 1e6, best * 1e6, draws / median, "ticks", median / yardstick, against)
