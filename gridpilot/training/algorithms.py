"""Algorithms of stable-baselines3 and sb3-contrib that ``gridpilot train`` offers, as far as they differ from each other here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gridpilot.errors import MissingExtraError

__all__ = ["ALGORITHMS", "Algorithm"]


@dataclass(frozen=True)
class Algorithm:
    """One of them.

    ``section``   of ``conf/train.yaml`` with the hyperparameters that its family shares
    ``defaults``  its own hyperparameters, as its class calls them
    """

    title: str  # the name of its class as well
    package: str
    section: Literal["ppo", "off_policy"]
    defaults: Mapping[str, Any]

    @property
    def distribution(self) -> str:
        """What is to be installed."""
        return self.package.replace("_", "-")

    def model(self) -> Any:
        """The class. Raises :class:`~gridpilot.errors.MissingExtraError` where its package or torch is not installed."""
        try:
            return getattr(importlib.import_module(self.package), self.title)
        except ImportError as error:
            raise MissingExtraError(f"training a policy by {self.title}", "rl") from error


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    # Schulman et al. 2017
    "ppo": Algorithm("PPO", "stable_baselines3", "ppo", {"gamma": 1.0, "ent_coef": 0.0}),
    # Haarnoja et al. 2018; rewards of a decision are hundredths, and so is the weight of the entropy that it starts at
    "sac": Algorithm("SAC", "stable_baselines3", "off_policy", {"ent_coef": "auto_0.01"}),
    # Fujimoto, van Hoof and Meger 2018
    "td3": Algorithm(
        "TD3", "stable_baselines3", "off_policy", {"policy_delay": 2, "target_policy_noise": 0.1, "target_noise_clip": 0.2}
    ),
    # Kuznetsov et al. 2020
    "tqc": Algorithm("TQC", "sb3_contrib", "off_policy", {"ent_coef": "auto_0.01", "top_quantiles_to_drop_per_net": 2}),
}
