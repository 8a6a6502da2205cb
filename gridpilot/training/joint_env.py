"""Environments of different kinds of markets as one, whose rows all learn. It needs the extra ``[rl]``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.training.sb3_env import MarketVecEnv
from gridpilot.training.shared_env import SharedVecEnv

__all__ = ["JointVecEnv"]

Array32 = npt.NDArray[np.float32]


class JointVecEnv(SharedVecEnv):
    """The rows of ``parts``, one after another: their episodes have the same decisions and end together.

    ``n_markets`` counts all parts' markets. No two of them play the same episode: those of a part follow on those of the part before.
    """

    def __init__(self, parts: Sequence[MarketVecEnv], root: int, first_episode: int) -> None:
        self.parts = tuple(parts)
        first = self.parts[0]
        super().__init__(sum(part.num_envs for part in parts), first.observation_space, first.action_space)
        self.n_markets, self.decisions = sum(part.n_markets for part in parts), first.decisions
        self._ends = list(itertools.accumulate(part.num_envs for part in parts))[:-1]
        self.first_episode = first_episode
        self.start_at(root, first_episode)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Play the days of root ``seed``, from the first episode on, after the next reset."""
        if seed is not None:
            self.start_at(seed, self.first_episode)
        return [seed] * self.num_envs

    def start_at(self, root: int, episode: int) -> None:
        """Let the next reset begin with ``episode`` of ``root`` in market 0, and the following ones in the others."""
        self._root, self._next = root, episode
        for part in self.parts:
            part.start_at(root, episode)
            episode += part.n_markets

    def reset(self) -> Array32:
        """Begin the next episodes; observations ``(num_envs, D)``."""
        observations = np.concatenate([part.reset() for part in self.parts])
        self.start_at(self._root, self._next + self.n_markets)
        return observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the actions ``(num_envs, 2 + K)``."""
        for part, own in zip(self.parts, np.split(actions, self._ends), strict=True):
            part.step_async(own)

    def step_wait(self) -> tuple[Array32, Array32, npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Play a decision; observations, rewards, whether the episodes ended, and infos."""
        observations, rewards, dones, infos = zip(*(part.step_wait() for part in self.parts), strict=True)
        if dones[0].all():  # the parts have begun the next ones
            self.start_at(self._root, self._next + self.n_markets)
        return np.concatenate(observations), np.concatenate(rewards), np.concatenate(dones), list(itertools.chain(*infos))

    def close(self) -> None:
        """Let processes of opponents go."""
        for part in self.parts:
            part.close()
