"""What a learner's decision means and what it is paid: the options beyond the first version of the environments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

from gridpilot.agents.base import Agent
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import ConfigError
from gridpilot.policies.policy import BIDDINGS, Bidding
from gridpilot.suggestions import did_you_mean

__all__ = ["Opponent", "Task", "TaskOptions", "task_of"]

Opponent = str | AgentSpec | type[Agent] | Agent
Reward = Literal["profit", "profit_and_stored", "marked"]
Lineup = Literal["cycle", "draw", "mixture"]

MOST_FACTORS = 64


class TaskOptions(TypedDict, total=False):
    """The fields of :class:`Task`, as arguments of the environments."""

    action_version: Literal[1, 2]
    observation_version: Literal[1, 2]
    shading: int
    bidding: Bidding | None
    hold: int
    reward: Reward
    baseline: Opponent | None
    lineup: Lineup
    weights: Sequence[float] | None


@dataclass(frozen=True)
class Task:
    """What an action says, how long it is held, and what it is paid.

    ``action_version``  1: one entry a block, around the truthful bid; 2: :mod:`gridpilot.market.action`
    ``observation_version``  1: the site and prices; 2: and what the market publishes, :mod:`gridpilot.market.published_encoding`
    ``shading``   shading factors K of an action of version 2, from 0
    ``bidding``   a rule of ``conf/bidding``, ``"best_response"``, that makes bids of the values which an action of version 2 states,
                  tick by tick, so that it is rewarded for what they earn then; ``None``: an action is an order
    ``hold``      ticks that a decision is held for; a step plays them, its reward and the money of its info are their sums
    ``reward``    ``"profit"``, or ``"profit_and_stored"``: at the end of the episode what the change of the battery's charge is worth is
                  paid as well, as tournaments count it, so that storing for tomorrow is not a loss; or ``"marked"``: the same in all, but
                  the battery is marked to market after every decision, so that charging is not paid twelve hours later. It is a potential
                  (Ng, Harada and Russell 1999): with gamma 1 the best policy stays the best
    ``baseline``  an agent, mostly ``"truthful"`` or ``"mpc"``, that plays the learners' seats in a twin of the world, with the same
                  opponents; what it is rewarded there is subtracted, which leaves the best policy the best and takes most of the luck out
    ``lineup``    ``"cycle"``: the opponents take turns over the other seats; ``"draw"``: at every reset each other seat of each market
                  draws one of them, by the episode's own stream; ``"mixture"``: each market draws one for all its other seats, with
                  probabilities in proportion to ``weights``, one an opponent (``None``: alike), as a mixed strategy plays
    """

    action_version: Literal[1, 2] = 1
    observation_version: Literal[1, 2] = 1
    shading: int = 0
    bidding: Bidding | None = None
    hold: int = 1
    reward: Reward = "profit"
    baseline: Opponent | None = None
    lineup: Lineup = "cycle"
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        versions = (1, 2)
        for name, known in (
            *(("action_version", versions), ("observation_version", versions)),
            *(("reward", get_args(Reward)), ("lineup", get_args(Lineup)), ("bidding", (None, *BIDDINGS))),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or value not in known:
                raise ConfigError(f"env: {name} is {value!r:.60}, expected one of {', '.join(map(str, known))}")
        _check_number("hold", self.hold, 1, 100_000)
        _check_number("shading", self.shading, 0, MOST_FACTORS)
        if self.shading and self.action_version == 1:
            raise ConfigError(f"env: shading is {self.shading}, expected action_version=2: version 1 has a factor for every block")
        if self.bidding is not None and (self.action_version == 1 or self.shading):
            raise ConfigError(
                f"env: bidding is {self.bidding!r}, expected action_version=2 and shading=0: the rule says how far a bid is from the truth"
            )
        if self.weights is not None:
            self._check_weights(self.weights)

    def _check_weights(self, weights: Sequence[float]) -> None:
        if self.lineup != "mixture":
            raise ConfigError(f"env: weights are given with lineup={self.lineup!r}, expected lineup='mixture'")
        numbers = isinstance(weights, Sequence) and all(isinstance(w, int | float) and 0.0 <= w < math.inf for w in weights)
        if not numbers or sum(weights) <= 0.0:
            raise ConfigError(
                f"env: weights are {weights!r:.100}, expected finite numbers >= 0, one an opponent, that are not all 0"
            )


def task_of(options: TaskOptions) -> Task:
    """The task of ``options``. Raises :class:`~gridpilot.errors.ConfigError` for one that is unknown or has a wrong value."""
    known = sorted(TaskOptions.__annotations__)
    for key in options:
        if key not in known:
            raise ConfigError(f"env: unknown argument {key!r:.60}; {did_you_mean(key, known) or 'known are ' + ', '.join(known)}")
    return Task(**options)


def _check_number(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"env: {name} is {value!r:.60}, expected a whole number from {least} to {most:,}")
