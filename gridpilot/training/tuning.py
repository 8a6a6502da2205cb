"""What a policy earns over others on episodes that are neither trained nor judged on: there policies are chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gridpilot.agents.seating import AgentSpec
from gridpilot.policies.policy import Policy
from gridpilot.tournament.intervals import Estimate, in_words, mean
from gridpilot.training.config import TuningConfig
from gridpilot.training.evaluation import CHUNK, played
from gridpilot.training.markets import Field

__all__ = ["Look", "Tuning"]


@dataclass(frozen=True)
class Look:
    """What a policy has reached after ``update`` updates: paired gains, $ per site and day, by the label of whom it is compared with."""

    update: int
    gains: Mapping[str, Estimate]

    @property
    def bound(self) -> float:
        """What policies are chosen by: the lower bound of the last gain; of too few episodes for one the gain itself."""
        last = list(self.gains.values())[-1]
        found = last.value if last.low is None else last.low
        return -math.inf if found is None else found

    def told(self) -> str:
        """The gains in words."""
        return ", ".join(f"{in_words(gain)} over {label}" for label, gain in self.gains.items())


class Tuning:
    """The first ``settings.episodes`` episodes of root ``root`` in ``field``; what ``against`` earn on them is played once, when needed."""

    def __init__(self, field: Field, against: Mapping[str, AgentSpec], settings: TuningConfig, root: int) -> None:
        self.field, self.against, self.settings, self.root = field, against, settings, root
        self._theirs: dict[str, npt.NDArray[np.float64]] = {}

    def look(self, policy: Policy, update: int) -> Look:
        """What ``policy`` earns over each of the others. Raises :class:`~gridpilot.errors.AgentError` where a decision fails."""
        own = self._profits(policy)
        for label, spec in self.against.items():
            if label not in self._theirs:
                self._theirs[label] = self._profits(spec)
        return Look(update, {label: mean(own - self._theirs[label]) for label in self.against})

    def _profits(self, bidder: Policy | AgentSpec) -> npt.NDArray[np.float64]:
        numbers = np.arange(self.settings.episodes)
        chunks = [numbers[first : first + CHUNK] for first in range(0, len(numbers), CHUNK)]
        return np.concatenate([played(bidder, self.field, chunk, self.root) for chunk in chunks])
