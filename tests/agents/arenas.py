"""Small markets for the tests of agents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gridpilot.agents.base import Agent
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.audit.play import RESULTS
from gridpilot.audit.worlds import SITES
from gridpilot.audit.worlds import made_up_day as day_of_prices
from gridpilot.market.arena import Arena, MarketRules, Scenario
from gridpilot.market.site import Site

__all__ = ["RESULTS", "SITES", "Local", "day_of_prices", "episode", "seated"]


class Local(AgentSpec):
    """An agent given as a class of the test itself."""

    def __init__(self, build: Callable[[], Agent]) -> None:
        super().__init__("local", {})
        object.__setattr__(self, "_build", build)

    def build(self) -> Agent:
        agent: Agent = self._build()  # type: ignore[attr-defined]
        return agent


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
