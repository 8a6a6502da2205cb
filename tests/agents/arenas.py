"""Small markets for the tests of agents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gridpilot.agents.base import Agent
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.market.arena import Arena, MarketRules, Scenario
from gridpilot.market.site import Battery, Cooling, MachineClass, Site

__all__ = ["RESULTS", "SITES", "Local", "day_of_prices", "episode", "seated"]

RESULTS = ("outcome", "totals", "last_price", "machine_kw", "storage")

AIR = MachineClass("air", "hash", 3.5, 140, 0.2)
GPU = MachineClass("gpu", "token", 10.2, 40, 1.0)
BATTERY = Battery(400.0, 1600.0, soc_start=0.5)
SITES = (
    Site("miner", (AIR,), battery=BATTERY),
    Site("both", (AIR, GPU), battery=BATTERY, boot_loss=0.0),
    Site("no battery", (GPU,), battery=Battery()),
    Site("empty", (), battery=BATTERY),
    Site("hot", (AIR,), grid_kw=300.0, battery=BATTERY, cooling=Cooling(max_kw=20.0)),
)


class Local(AgentSpec):
    """An agent given as a class of the test itself."""

    def __init__(self, build: Callable[[], Agent]) -> None:
        super().__init__("local", {})
        object.__setattr__(self, "_build", build)

    def build(self) -> Agent:
        agent: Agent = self._build()  # type: ignore[attr-defined]
        return agent


def day_of_prices(markets: int = 2, ticks: int = 60, history: int = 20, seed: int = 0, extreme: bool = False) -> Scenario:
    """Prices with a daily swing; with ``extreme`` negative ones, spikes of 20 $/kWh, worthless products, and heat."""
    rng = np.random.default_rng(seed)
    rows = history + ticks
    prices = np.empty((rows, markets, 3))
    swing = 0.06 + 0.04 * np.sin(np.arange(rows) / rows * 12.0)[:, None]
    prices[..., 0] = swing + rng.normal(0.0, 0.01, (rows, markets))
    prices[..., 1:] = rng.uniform(1.5, 2.0, (rows, markets, 2))
    ambient = rng.uniform(10.0, 30.0, (rows, markets))
    if extreme:
        prices[..., 0] = rng.choice([-2.0, -0.03, 0.0, 0.05, 20.0], (rows, markets))
        prices[..., 1:] = rng.choice([0.0, 1e-9, 2.0, 1e4], (rows, markets, 2))
        ambient = rng.choice([-40.0, 20.0, 60.0], (rows, markets))
    return Scenario(prices, ambient, rng.choice([0.3, 0.6, 1.0], (rows, markets)), np.arange(markets) * 100, history)


def seated(
    labels: list[list[str]],
    agents: Mapping[str, AgentSpec],
    sites: tuple[Site, ...] = SITES,
    *,
    time_limit: float = math.inf,
    **rules: Any,
) -> tuple[Arena, Seating]:
    arena = Arena(sites, MarketRules(**({"capacity_kw": 3000.0} | rules)), len(labels))
    return arena, Seating(arena, agents, labels, time_limit=time_limit)


def episode(
    arena: Arena, seating: Seating, scenario: Scenario, root: int = 0, each_tick: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """Play it; what every tick left behind, ``(T, B, ...)`` each."""
    arena.start(scenario)
    seating.reset(root, np.arange(arena.n_markets))
    ticks: dict[str, list[np.ndarray]] = {name: [] for name in RESULTS}
    while not arena.done:
        seating.bid()
        each_tick()
        arena.step()
        seating.learn()
        for name in RESULTS:
            ticks[name].append(getattr(arena, name).copy())
    return {name: np.stack(arrays) for name, arrays in ticks.items()}
