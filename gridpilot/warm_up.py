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
    setup, uniform = load_setup(ticks=2), load_setup(ticks=2, mechanism="uniform")
    clear([[(1.0, 1.0)]], [(1.0, 0.0)])
    clear_batch(np.zeros((PARALLEL_FROM, 1, 1, 2)), np.zeros((1, 2)))
    for n_markets in (1, PARALLEL_FROM):
        _play(setup, n_markets)
        _play(uniform, n_markets)  # under VCG those who state blocks bid the truth
        env = MarketVectorEnv(n_markets, setup, autoreset="disabled", observation_version=2)
        env.reset(seed=0)
        env.step(np.zeros(env.action_space.shape or ()))
        env.close()
    _plan(setup)
    _forecast(setup)


def _play(setup: MarketSetup, n_markets: int) -> None:
    agents = {name: AgentSpec(name, {}) for name in registered()}
    names, arena, episodes = list(agents), setup.arena(n_markets), np.arange(n_markets)
    arena.measure_gains()
    for first in range(0, len(names), arena.n_sites):  # until everybody has had a seat
        labels = [names[(first + i) % len(names)] for i in range(arena.n_sites)]
        seating = Seating(arena, agents, [labels] * n_markets)
        arena.start(setup.scenario(0, episodes))
        seating.reset(0, episodes)
        while not arena.done:
            seating.bid()
            arena.step()
            seating.learn()
    _ask_alone(setup, agents)


def _ask_alone(setup: MarketSetup, agents: dict[str, AgentSpec]) -> None:
    """Ask every agent for the bid of one seat, as a live site does."""
    arena = setup.arena()
    arena.publish()
    arena.start(setup.scenario(0, [0]))
    arena.step()
    observation = observe(arena, 0, 0)
    observation.truthful_bid(0.05, shade=-0.1)
    observation.to_vector(published=True)
    for agent in agents.values():
        one = agent.build()
        if not one.clairvoyant:
            one.reset(arena.sites[0], observation.market, 0)
            one.bid(observation)


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
