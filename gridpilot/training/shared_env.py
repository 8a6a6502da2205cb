"""A ``VecEnv`` of stable-baselines3 whose rows are one environment. It needs the extra ``[rl]``."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

__all__ = ["SharedVecEnv"]


class SharedVecEnv(VecEnv):
    """What all such environments answer alike: an attribute or a method is that of all rows."""

    def __init__(self, num_envs: int, observation_space: Any, action_space: Any) -> None:
        self.render_mode = None
        self.scale = 1.0  # of rewards
        super().__init__(num_envs, observation_space, action_space)

    def owner_of(self, attr_name: str) -> Any:
        """The object that has the attributes and methods."""
        return self

    def close(self) -> None:
        """Nothing to let go."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of the environment, the same for each of ``indices``."""
        return [getattr(self.owner_of(attr_name), attr_name)] * len(self.chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environment, which all rows share: ``indices`` must be all of them."""
        self._only_all(indices, f"set_attr({attr_name!r})")
        setattr(self.owner_of(""), attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the environment once, which all rows share: ``indices`` must be all of them."""
        self._only_all(indices, f"env_method({method_name!r})")
        return [getattr(self.owner_of(""), method_name)(*method_args, **method_kwargs)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """By nothing."""
        return [False] * len(self.chosen(indices))

    def chosen(self, indices: VecEnvIndices) -> list[int]:
        """The rows that are meant."""
        return list(self._get_indices(indices))

    def _only_all(self, indices: VecEnvIndices, what: str) -> None:
        if len(set(self.chosen(indices))) < self.num_envs:
            raise ValueError(f"{what}: the markets are one environment, expected indices=None")
