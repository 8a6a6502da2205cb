"""An environment of stable-baselines3 that does nothing: what time is left is the algorithm's. It needs the extra ``[rl]``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.training.sb3_env import MarketVecEnv
from gridpilot.training.shared_env import SharedVecEnv

__all__ = ["IdleVecEnv"]


class IdleVecEnv(SharedVecEnv):
    """As many rows as ``env``, of its shapes, with episodes as long; what is seen and paid is drawn once."""

    def __init__(self, env: MarketVecEnv) -> None:
        super().__init__(env.num_envs, env.observation_space, env.action_space)
        random = np.random.default_rng(0)
        self.decisions, self._made = env.decisions, 0
        self._observations = random.normal(size=(env.num_envs, *env.observation_space.shape)).astype(np.float32)  # type: ignore[misc]
        self._rewards = random.normal(size=env.num_envs).astype(np.float32)
        self._nobody, self._everybody = np.zeros(env.num_envs, dtype=np.bool_), np.ones(env.num_envs, dtype=np.bool_)
        self._infos: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]

    def reset(self) -> npt.NDArray[np.float32]:
        """Begin."""
        self._made = 0
        return self._observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the actions, and do nothing with them."""

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """The same as always."""
        self._made = (self._made + 1) % self.decisions
        return self._observations, self._rewards, self._nobody if self._made else self._everybody, self._infos
