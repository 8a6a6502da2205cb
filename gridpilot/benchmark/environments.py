"""Environment steps: the arena alone, the batched, the scalar and the PettingZoo environment, ten bidders in each market."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from gridpilot.benchmark.timing import Measurement, cpu_seconds
from gridpilot.envs import parallel_env
from gridpilot.setup import MarketSetup

__all__ = ["measure_environments"]

ENV_ID = "gridpilot.envs:GridPilot/Market-v0"


def measure_environments(repeats: int, markets: int, setup: MarketSetup) -> Iterator[Measurement]:
    """Yield CPU per step; a step of the batch is one of ``markets`` markets. Rates count one agent-step per bidder."""
    sites = len(setup.sites)

    def measured(name: str, step: Any, agents: int, per_call: int = 1) -> Measurement:
        median, best = cpu_seconds(step, repeats=repeats, at_least=0.1)
        median, best = median / per_call, best / per_call
        return Measurement("environments", name, median * 1e6, best * 1e6, agents / median, "agent-steps")

    arena = setup.arena(markets)
    scenario = setup.scenario(0, np.arange(markets))
    arena.start(scenario)
    arena.orders.storage_value[:] = 0.05

    def step_arena() -> None:
        if arena.done:
            arena.start(scenario)
        arena.step()

    yield measured(f"arena, {markets} markets of {sites} sites: curves, VCG, dispatch", step_arena, markets * sites)

    # A whole episode a call, with its reset: prices, weather and capacity of every market are drawn anew.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium warns of constructor arguments it cannot serialise
        vector = gymnasium.make_vec(ENV_ID, num_envs=markets, vectorization_mode="vector_entry_point", setup=setup)
    shape = vector.action_space.shape
    assert shape is not None
    vector_actions = np.zeros(shape, dtype=np.float32)
    vector.reset(seed=0)

    def play_vector() -> None:
        for _ in range(setup.ticks + 1):  # the last step begins the next episodes
            vector.step(vector_actions)

    name = f"make_vec, {markets} markets of {sites} bidders, with price simulation"
    yield measured(name, play_vector, markets * sites, setup.ticks)

    scalar = gymnasium.make(ENV_ID, setup=setup, disable_env_checker=True)
    action = np.zeros(scalar.action_space.shape or (), dtype=np.float32)

    def play_scalar() -> None:
        scalar.reset()
        for _ in range(setup.ticks):
            scalar.step(action)

    scalar.reset(seed=0)
    yield measured(f"make, one market of {sites} bidders (steps a second: a tenth)", play_scalar, sites, setup.ticks)

    parallel = parallel_env(setup=setup)
    parallel.reset(seed=0)
    actions = {agent: np.zeros(parallel.action_space(agent).shape or (), dtype=np.float32) for agent in parallel.possible_agents}

    def play_parallel() -> None:
        parallel.reset()
        for _ in range(setup.ticks):
            parallel.step(actions)

    yield measured(f"PettingZoo, one market of {sites} learners", play_parallel, sites, setup.ticks)
