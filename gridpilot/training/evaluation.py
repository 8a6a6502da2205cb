"""What a policy earns, against what others earn in its seat on the same days among the same rivals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from gridpilot import presets
from gridpilot.agents.encoding import encode_seats
from gridpilot.agents.learners import Learners
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import AgentError
from gridpilot.market.clearing import Mechanism
from gridpilot.market.physics import PROFIT
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.policies.policy import Policy
from gridpilot.prices.load import load_prices
from gridpilot.prices.world import World
from gridpilot.progress import Advance
from gridpilot.tournament.intervals import Estimate, mean, ratio_percent
from gridpilot.tournament.tally import stored_value
from gridpilot.training.config import evaluation_episodes
from gridpilot.training.markets import Field, begun, specs_of

__all__ = ["CHUNK", "Comparison", "compare", "elsewhere", "played", "profits"]

FloatArray = npt.NDArray[np.float64]

CHUNK: Final = 250  # episodes played side by side
_OTHER_PRICES: Final = ("ercot", "aemo_nsw", "mara_event")


@dataclass(frozen=True)
class Comparison:
    """A policy and another bidder in the same seats of the same episodes, $ per site and day."""

    where: str  # the field, in words
    other: str
    episodes: int
    profit: Estimate  # of the policy
    gain: Estimate  # its profit minus the other's
    percent: Estimate  # the gain in % of the other's profit; no value where that is not clearly positive


def compare(
    policy: Policy, field: Field, against: Mapping[str, AgentSpec], *, where: str, episodes: int, seed: int, advance: Advance
) -> list[Comparison]:
    """A comparison with each of ``against``, on the first ``episodes`` that policies are judged on; ``advance`` counts episodes played."""
    own = profits(policy, field, episodes, seed, advance)
    found = []
    for label, spec in against.items():
        theirs = profits(spec, field, episodes, seed, advance)
        found.append(Comparison(where, label, episodes, mean(own), mean(own - theirs), ratio_percent(own - theirs, theirs)))
    return found


def elsewhere(field: Field, prices: Mapping[str, Any]) -> dict[str, Field]:
    """Fields other than the one that a policy was trained on with ``prices``, by what is other about them: rivals, prices or mechanism."""
    setup = field.setup
    others = {"all rivals mpc": field._replace(rivals=specs_of(["mpc"]))}
    for name in _OTHER_PRICES:
        if presets.load_preset("prices", name) != prices:
            world = World(load_prices(name), setup.world.weather, setup.world.capacity)
            others[f"prices={name}"] = field._replace(setup=dataclasses.replace(setup, world=world))
    for mechanism in get_args(Mechanism):
        if mechanism != setup.rules.mechanism:
            rules = dataclasses.replace(setup.rules, mechanism=mechanism)
            others[f"mechanism={mechanism}"] = field._replace(setup=dataclasses.replace(setup, rules=rules))
    return others


def profits(bidder: Policy | AgentSpec, field: Field, episodes: int, seed: int, advance: Advance) -> FloatArray:
    """What ``bidder`` earns in the learner's seat, $ per site and day, ``(E,)``; what it has stored at the end is counted in.

    Raises :class:`~gridpilot.errors.AgentError` where a decision fails, its own or a rival's.
    """
    numbers = evaluation_episodes(episodes)
    parts = []
    for first in range(0, episodes, CHUNK):
        chunk = numbers[first : first + CHUNK]
        parts.append(played(bidder, field, chunk, seed))
        advance(len(chunk))
    return np.concatenate(parts) if parts else np.zeros(0)


def played(bidder: Policy | AgentSpec, field: Field, episodes: npt.NDArray[np.int64], seed: int) -> FloatArray:
    """What :func:`profits` says, on ``episodes (E,)`` side by side."""
    own = bidder if isinstance(bidder, AgentSpec) else None
    bidding = bidder.layout.bidding if isinstance(bidder, Policy) else None
    arena, seating, seats = begun(field, seed, episodes, own, bidding=bidding)
    learners = Learners(arena, seats, bidding)
    learners.reset()
    rows, column, total = np.arange(len(episodes)), seats[:, 0], np.zeros(len(episodes))
    while not arena.done:
        if isinstance(bidder, Policy):
            if arena.tick % bidder.layout.hold == 0:
                actions = bidder.act(encode_seats(arena, seats)[:, 0])[:, None]
            learners.bid(actions)
        seating.bid()
        arena.step()
        seating.learn()
        total += arena.outcome[rows, column, PROFIT]
    seating.close()
    if seating.first_error:
        raise AgentError(f"train: a decision failed during evaluation: {next(iter(seating.first_error.values()))}")
    total += stored_value(arena)[rows, column]
    return total * TICKS_PER_DAY / field.setup.ticks
