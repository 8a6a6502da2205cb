"""Environments: one learner (Gymnasium), thousands of markets at once (Gymnasium vector), a learner in every seat (PettingZoo).

Importing this package registers ``GridPilot/Market-v0`` and ``GridPilot/Learner-v0``, whose actions are of version 1 and of version 2,
and ``GridPilot/MarketPublished-v0`` and ``GridPilot/LearnerPublished-v0``, whose observations hold what the market publishes besides,
so that ``gymnasium.make("gridpilot.envs:GridPilot/Learner-v0")`` finds it.
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

for _id, _fixed in {
    "GridPilot/Market-v0": {},
    "GridPilot/Learner-v0": {"action_version": 2},
    "GridPilot/MarketPublished-v0": {"observation_version": 2},
    "GridPilot/LearnerPublished-v0": {"action_version": 2, "observation_version": 2},
}.items():
    if _id not in registry:  # a second import, as by importlib.reload, must not warn
        register(  # no max_episode_steps: the market itself ends an episode, at the horizon
            id=_id,
            entry_point="gridpilot.envs.market_env:MarketEnv",
            vector_entry_point="gridpilot.envs.market_vector_env:MarketVectorEnv",
            kwargs=_fixed,
        )
