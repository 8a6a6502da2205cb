"""A stable-baselines3 ``VecEnv`` over the batched market, made by :func:`gridpilot.training.make_vec_env`: it needs the extra ``[rl]``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from gridpilot.envs import MarketVectorEnv
from gridpilot.envs._kernels import RESULTS
from gridpilot.envs._market import as_actions
from gridpilot.training.shared_env import SharedVecEnv

__all__ = ["MarketVecEnv"]

Array32 = npt.NDArray[np.float32]
_PROFIT: Final = RESULTS.index("profit")


class MarketVecEnv(SharedVecEnv):
    """The learners' seats of ``env``'s markets. All episodes end together, and the step that ends them begins the next.

    ``decisions``  steps of an episode
    ``n_markets``  episodes that are played side by side; with several learners' seats each of them is a row, so that there are more rows

    The infos of a step are empty but at the end of an episode, where they hold ``terminal_observation``, ``TimeLimit.truncated`` and
    ``episode``: its reward ``r``, length ``l``, time ``t`` and profit in $, the stored energy's change not counted. ``seed`` sets the root
    of the days and begins with the first episode again; it takes effect at ``reset``.
    """

    def __init__(self, env: MarketVectorEnv, seed: int, first_episode: int, bootstrap: bool) -> None:
        self.env, self.first_episode, self.bootstrap = env, first_episode, bootstrap
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        markets = env.markets
        self.n_markets = markets.arena.n_markets
        self.decisions = -(-markets.setup.ticks // markets.task.hold)
        markets.start_at(seed, first_episode)
        self._begun = time.time()
        self._nobody = np.zeros(self.num_envs, dtype=np.bool_)
        self._empty: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._reward, self._profit = np.zeros(self.num_envs), np.zeros(self.num_envs)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Play the days of root ``seed``, from the first episode on, after the next reset."""
        if seed is not None:
            self.env.markets.start_at(seed, self.first_episode)
        return [seed] * self.num_envs

    def start_at(self, root: int, episode: int) -> None:
        """Let the next reset begin with ``episode`` of ``root`` in market 0, and the following ones in the others."""
        self.env.markets.start_at(root, episode)

    def reset(self) -> Array32:
        """Begin the next episodes; observations ``(num_envs, D)``."""
        self._reward[:] = self._profit[:] = 0.0
        observations, _ = self.env.reset()
        return observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the actions ``(num_envs, 2 + K)``."""
        as_actions(actions, self.env.action_space.shape, self.env.markets.actions, "actions")

    def step_wait(self) -> tuple[Array32, Array32, npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Play a decision; observations, rewards, whether the episodes ended, and infos."""
        markets = self.env.markets
        markets.play()
        results = markets.results.reshape(len(RESULTS), self.num_envs)
        rewards = (self.scale * results[0]).astype(np.float32)
        self._reward += results[0]
        self._profit += results[_PROFIT]
        observations = markets.observe().reshape(self.num_envs, -1)
        if not markets.done:
            return observations, rewards, self._nobody.copy(), self._empty
        elapsed = round(time.time() - self._begun, 6)
        infos = [
            {
                "terminal_observation": observations[b],
                "TimeLimit.truncated": self.bootstrap,
                "episode": {"r": reward, "l": self.decisions, "t": elapsed, "profit": profit},
            }
            for b, (reward, profit) in enumerate(zip(self._reward.tolist(), self._profit.tolist(), strict=True))
        ]
        return self.reset(), rewards, ~self._nobody, infos

    def close(self) -> None:
        """Let processes of opponents go."""
        self.env.markets.close()

    def owner_of(self, attr_name: str) -> Any:
        """The object itself, of attributes that it has, else the environment of Gymnasium's form."""
        return self if attr_name in vars(self) else self.env

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """By nothing; what an episode came to is in the infos nevertheless, as by ``Monitor``."""
        from stable_baselines3.common.monitor import Monitor

        return [wrapper_class is Monitor] * len(self.chosen(indices))
