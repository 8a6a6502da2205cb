"""What algorithms that remember need here, beyond stable-baselines3. It needs the extra ``[rl]``.

What an action changes is a hundredth of what a day brings, so that a critic knows late which way is better. An actor that moves as fast as
its critic follows accidents of it to where the battery is idle, and no slope leads back from there. Three things hold it: the first
episodes are its own and not drawn evenly, it learns slower than the critics, and these see an action in standard deviations of the
exploration, as they see what is observed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

__all__ = ["explores_by_itself", "sees_actions_in_units_of"]


def explores_by_itself(kind: type[OffPolicyAlgorithm], actor_rate: float) -> type[OffPolicyAlgorithm]:
    """The algorithm ``kind`` whose policy takes the first actions as well, and learns at ``actor_rate`` times the critics' rate."""

    class Held(kind):  # type: ignore[misc, valid-type]
        def _sample_action(self, learning_starts: int, *rest: Any, **named: Any) -> Any:
            return super()._sample_action(0, *rest, **named)

        def _update_learning_rate(self, optimizers: Any) -> None:
            super()._update_learning_rate(optimizers)
            for group in self.actor.optimizer.param_groups:
                group["lr"] *= actor_rate

    return Held


def sees_actions_in_units_of(deviation: float, critics: Iterable[Any], n_actions: int) -> None:
    """Let ``critics`` take the last ``n_actions`` of their inputs, which are in [-1, 1], over ``deviation``."""

    def scaled(_: Any, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        (x,) = inputs
        return torch.cat([x[:, :-n_actions], x[:, -n_actions:] / deviation], dim=1)

    for critic in critics:
        for network in critic.q_networks:
            network.register_forward_pre_hook(scaled)
