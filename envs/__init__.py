"""Environments: one learner (Gymnasium), thousands of markets at once (Gymnasium vector), a learner in every seat (PettingZoo).

Importing this package registers ``GridPilot/Market-v0``, so that ``gymnasium.make("gridpilot.envs:GridPilot/Market-v0")`` finds it.
"""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from gridpilot.agents.encoding import decode, decode_seats, encode, encode_seats
from gridpilot.envs.market_env import MarketEnv
from gridpilot.envs.market_parallel_env import MarketParallelEnv, parallel_env
from gridpilot.envs.market_vector_env import MarketVectorEnv

__all__ = [
    "MarketEnv",
    "MarketParallelEnv",
    "MarketVectorEnv",
    "decode",
    "decode_seats",
    "encode",
    "encode_seats",
    "parallel_env",
]

if "GridPilot/Market-v0" not in registry:  # a second import, as by importlib.reload, must not warn
    register(  # no max_episode_steps: the market itself ends an episode, at the horizon
        id="GridPilot/Market-v0",
        entry_point="gridpilot.envs.market_env:MarketEnv",
        vector_entry_point="gridpilot.envs.market_vector_env:MarketVectorEnv",
    )
