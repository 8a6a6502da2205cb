"""Playing episodes, for tests that compare the environments with each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.envs import MarketEnv

FloatArray = npt.NDArray[np.float64]


def draw_actions(ticks: int, width: int, seed: int = 0, n: int = 1) -> npt.NDArray[np.float32]:
    """Random actions, (ticks, n, width)."""
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (ticks, n, width)).astype(np.float32)


def play(env: MarketEnv, actions: Sequence[Any], **reset: Any) -> tuple[npt.NDArray[np.float32], FloatArray, list[dict[str, Any]]]:
    """Observations (ticks + 1, D), rewards (ticks,) and infos of one episode of a scalar environment."""
    observation, _ = env.reset(**reset)
    observations, rewards, infos = [observation], [], []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        assert not terminated
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
    assert truncated == (len(actions) == env.markets.setup.ticks)
    return np.array(observations), np.array(rewards), infos


def digest(ticks: int = 30) -> str:
    """What an episode of the default market comes to, bit for bit."""
    env = MarketEnv(ticks=ticks, history=50)
    observations, rewards, _ = play(env, draw_actions(ticks, env.action_space.shape[0])[:, 0], seed=17)
    return hashlib.sha256(observations.tobytes() + rewards.tobytes()).hexdigest()
