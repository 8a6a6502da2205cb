"""Compile every kernel a tournament and a training run need: ``python -m gridpilot.warm_up``, run once by ``scripts/bootstrap``."""

from __future__ import annotations

import numpy as np

from gridpilot.agents.registry import registered
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.envs import MarketVectorEnv
from gridpilot.market.clearing import PARALLEL_FROM, clear, clear_batch
from gridpilot.market.observation import observe
from gridpilot.setup import load_setup

__all__ = ["warm_up"]


def warm_up() -> None:
    """Play a few ticks in few and in many markets, so that serial and parallel kernels are in the cache."""
    setup = load_setup(ticks=2)
    agents = {name: AgentSpec(name, {}) for name in registered()}
    clear([[(1.0, 1.0)]], [(1.0, 0.0)])
    clear_batch(np.zeros((PARALLEL_FROM, 1, 1, 2)), np.zeros((1, 2)))
    for n_markets in (1, PARALLEL_FROM):
        arena = setup.arena(n_markets)
        seating = Seating(arena, agents, [[list(agents)[i % len(agents)] for i in range(arena.n_sites)]] * n_markets)
        episodes = np.arange(n_markets)
        arena.start(setup.scenario(0, episodes))
        seating.reset(0, episodes)
        while not arena.done:
            observation = observe(arena, 0, 0)
            observation.truthful_bid(0.05, shade=-0.1)
            observation.to_vector()
            for agent in agents.values():
                one = agent.build()
                one.reset(arena.sites[0], observation.market, 0)
                one.bid(observation)
            seating.bid()
            arena.step()
        env = MarketVectorEnv(n_markets, setup, autoreset="disabled")
        env.reset(seed=0)
        env.step(np.zeros(env.action_space.shape or ()))
        env.close()


if __name__ == "__main__":
    warm_up()
