"""Compile every kernel a tournament, a training run and a backtest need: ``python -m gridpilot.warm_up``, run by ``scripts/bootstrap``."""

from __future__ import annotations

import numpy as np

from gridpilot.agents.registry import registered
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.envs import MarketVectorEnv
from gridpilot.forecasting.base import CHANNELS, Row
from gridpilot.forecasting.registry import build_forecaster
from gridpilot.market.clearing import PARALLEL_FROM, clear, clear_batch
from gridpilot.market.observation import observe
from gridpilot.planning import DynamicProgramme, Outlook
from gridpilot.setup import MarketSetup, load_setup

__all__ = ["warm_up"]


def warm_up() -> None:
    """Play a few ticks in few and in many markets, so that serial and parallel kernels are in the cache; plan and forecast once."""
    setup = load_setup(ticks=2)
    clear([[(1.0, 1.0)]], [(1.0, 0.0)])
    clear_batch(np.zeros((PARALLEL_FROM, 1, 1, 2)), np.zeros((1, 2)))
    for n_markets in (1, PARALLEL_FROM):
        _play(setup, n_markets)
        env = MarketVectorEnv(n_markets, setup, autoreset="disabled")
        env.reset(seed=0)
        env.step(np.zeros(env.action_space.shape or ()))
        env.close()
    _plan(setup)
    _forecast(setup)


def _play(setup: MarketSetup, n_markets: int) -> None:
    agents = {name: AgentSpec(name, {}) for name in registered()}
    arena, episodes = setup.arena(n_markets), np.arange(n_markets)
    seating = Seating(arena, agents, [[list(agents)[i % len(agents)] for i in range(arena.n_sites)]] * n_markets)
    arena.start(setup.scenario(0, episodes))
    seating.reset(0, episodes)
    while not arena.done:
        observation = observe(arena, 0, 0)
        observation.truthful_bid(0.05, shade=-0.1)
        observation.to_vector()
        for agent in agents.values():
            one = agent.build()
            if not one.clairvoyant:
                one.reset(arena.sites[0], observation.market, 0)
                one.bid(observation)
        seating.bid()
        arena.step()


def _plan(setup: MarketSetup) -> None:
    arena = setup.arena()
    arena.start(setup.scenario(0, [0]))
    planner = DynamicProgramme()
    planner.reset(arena.sites[0])
    planner.plan(observe(arena, 0, 0).state, Outlook(np.full((288, 3), 0.1), np.full(288, 20.0)))


def _forecast(setup: MarketSetup) -> None:
    forecaster = build_forecaster("ensemble", CHANNELS)
    for step, prices in enumerate(setup.scenario(0, [0]).prices[:20, 0]):
        forecaster.update(Row(step, prices))
    forecaster.forecast(12, scenarios=2)


if __name__ == "__main__":
    warm_up()
