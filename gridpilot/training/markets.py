"""Markets with a learner in one seat each and rivals in the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.agents.bidding import build_bidding_rule
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.envs._market import drawn_opponents
from gridpilot.errors import ConfigError
from gridpilot.market.arena import Arena
from gridpilot.setup import MarketSetup
from gridpilot.tournament.config import agent_specs

__all__ = ["Field", "Seat", "begun", "seats_of", "specs_of"]

IntArray = npt.NDArray[np.int64]
Seat = int | Literal["rotating"]

_OWN = "."  # the label of who takes the learner's seat, which no agent can have


class Field(NamedTuple):
    """Where a learner plays: the market, its seat, and its rivals, who take turns over the other seats in their order.

    With ``weights`` the rivals are a mixed strategy: in each episode one of them, drawn in proportion, plays all other seats.
    """

    setup: MarketSetup
    seat: Seat
    rivals: Mapping[str, AgentSpec]
    weights: tuple[float, ...] | None = None


def specs_of(agents: Sequence[Any]) -> dict[str, AgentSpec]:
    """Agents by label, in the order given. Raises what is wrong with one."""
    given = agent_specs(agents)
    specs = {label: AgentSpec(given[label]["target"], given[label]["params"]) for label in list(given)[: len(agents)]}
    for spec in specs.values():
        spec.build()
    return specs


def seats_of(field: Field, episodes: IntArray) -> IntArray:
    """The learner's seat in each episode, ``(B, 1)``: rotating, in episode e seat e modulo N.

    Raises :class:`~gridpilot.errors.ConfigError` for a seat that there is not.
    """
    n = len(field.setup.sites)
    if field.seat != "rotating" and field.seat >= n:
        raise ConfigError(f"train: seat={field.seat}, expected rotating or one of 0 to {n - 1}, the seats of the market")
    own = episodes % n if field.seat == "rotating" else np.full(len(episodes), field.seat)
    return np.ascontiguousarray(own[:, None], dtype=np.int64)


def begun(
    field: Field, root: int, episodes: IntArray, own: AgentSpec | None = None, *, bidding: str | None = None
) -> tuple[Arena, Seating, IntArray]:
    """Markets at the beginning of ``episodes (B,)`` under the seed ``root``, everybody seated; and the learner's seats, ``(B, 1)``.

    ``own`` takes the learner's seats; without it they are left to the caller, who may bid by the rule ``bidding`` there.
    """
    arena, seats = field.setup.arena(len(episodes)), seats_of(field, episodes)
    if bidding is not None:
        arena.make_room(build_bidding_rule(bidding).stated_blocks)
    arena.start(field.setup.scenario(root, episodes))
    names, mine = list(field.rivals), "" if own is None else _OWN
    labels = []
    one = None if field.weights is None else drawn_opponents(field.weights, np.full(len(episodes), root), episodes)
    for b, seat in enumerate(seats[:, 0].tolist()):
        others = [names[i % len(names) if one is None else one[b]] for i in range(arena.n_sites - 1)]
        labels.append([*others[:seat], mine, *others[seat:]])
    agents = dict(field.rivals) if own is None else {**field.rivals, _OWN: own}
    seating = Seating(arena, agents, labels)
    seating.reset(root, episodes)
    return arena, seating, seats
