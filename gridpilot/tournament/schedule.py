"""Who sits where: the matches of a tournament, and their partition into chunks.

Within an episode every match sees the same prices, weather, capacity and sites (common random numbers), and in the mixed line-up
every agent plays every seat exactly once (a Latin square), so differences between agents are paired by episode and seat. The square is
drawn anew for each episode: in a fixed one an agent would meet the same opponents at the same seats always, and where the number of
seats is no multiple of that of agents, a seat's rivals would depend on who sits there, which no number of episodes averages out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from typing import Final

import numpy as np

from gridpilot.errors import TournamentError

__all__ = ["BASELINES", "CLAIRVOYANT_ROLES", "LINEUPS", "REFERENCE", "ROLES", "Match", "pair_seat", "partition", "schedule"]

REFERENCE: Final = "truthful"  # the agent all gains are measured against: the library's own, which no other agent's label can be
BASELINES: Final = (REFERENCE, "zero_intelligence")  # frozen, and always take part
ROLES: Final = {
    "reference": "what all gains are measured against",
    "baseline": "frozen, and takes part in every tournament",
    "ranked": "any other that sees what a bidder sees",
    "yardstick": "is shown what no bidder knows, and is what capture is measured against",
    "clairvoyant": "is shown what no bidder knows, and is no measure",
}
"""What an agent is in a tournament; decided by its class, never by its label."""
CLAIRVOYANT_ROLES: Final = ("yardstick", "clairvoyant")  # play alone among reference agents only, and are never ranked
LINEUPS: Final = ("mixed", "self", "alone", "pairs")

_SEATING = 0x5EA7  # keeps the seats' random numbers apart from others of the same episode


@dataclass(frozen=True)
class Match:
    """One market played over one episode. ``(episode, lineup, rotation)`` identifies it within a tournament."""

    episode: int  # names the world: prices, weather, capacity, outages
    lineup: str  # one of LINEUPS
    rotation: int  # number of the match within its line-up and episode
    seats: tuple[str, ...]  # (N,) label of the agent at each site


def schedule(
    agents: Sequence[str],
    n_seats: int,
    episodes: Sequence[int],
    lineups: Sequence[str] = ("mixed", "self", "alone"),
    *,
    clairvoyant: Collection[str] = (),
) -> list[Match]:
    """All matches of a tournament, in playing order.

    ``agents``       labels of the A agents, without repetition; the baselines must be among them.
    ``n_seats``      sites of the market, N >= 1.
    ``episodes``     numbers of the episodes, without repetition.
    ``clairvoyant``  labels of those that are shown what no bidder knows: they play ``alone`` only; A counts them there alone.
    ``lineups``      what is played in each episode:

    * ``mixed``: A matches; in rotation r seat s is played by agent ``(p[s] + r) mod A``, where p is a permutation of the seats that
      depends on the episode alone; so each agent plays each seat once.
    * ``self``: A matches, match r with agent r at every seat.
    * ``alone``: N (A - 1) matches, in each of which one agent other than the reference sits among reference agents: the k-th such
      agent takes seat s in match ``k N + s``. The all-reference match it is compared with is played even without ``self``.
    * ``pairs``: A (A - 1) matches, in each of which one agent takes :func:`pair_seat` and another all other seats: ordered by the
      first, then by the second. ``self`` is played too, which they are compared with.

    Raises :class:`~gridpilot.errors.TournamentError` for repeated agents or episodes, a missing baseline, an unknown line-up, no
    seat.

    >>> [match.seats for match in schedule(["truthful", "zero_intelligence"], 2, [7], ["mixed"])]
    [('truthful', 'zero_intelligence'), ('zero_intelligence', 'truthful')]
    """
    _check(agents, n_seats, episodes, lineups)
    matches = []
    ranked = [agent for agent in agents if agent not in clairvoyant]
    for episode in episodes:
        if "mixed" in lineups:
            order = _seat_order(episode, n_seats)
            for r in range(len(ranked)):
                matches.append(Match(episode, "mixed", r, tuple(ranked[(place + r) % len(ranked)] for place in order)))
        for r, agent in enumerate(ranked):
            if {"self", "pairs"} & set(lineups) or ("alone" in lineups and agent == REFERENCE):
                matches.append(Match(episode, "self", r, (agent,) * n_seats))
        if "alone" in lineups:
            for k, agent in enumerate(agent for agent in agents if agent != REFERENCE):
                for s in range(n_seats):
                    seats = (REFERENCE,) * s + (agent,) + (REFERENCE,) * (n_seats - s - 1)
                    matches.append(Match(episode, "alone", k * n_seats + s, seats))
        if "pairs" in lineups:
            seat = pair_seat(episode, n_seats)
            for k, (agent, other) in enumerate(permutations(ranked, 2)):
                matches.append(Match(episode, "pairs", k, (other,) * seat + (agent,) + (other,) * (n_seats - seat - 1)))
    return matches


def pair_seat(episode: int, n_seats: int) -> int:
    """The seat of the one agent in the ``pairs`` of an episode: the same for all, so that two agents alike have equal matches."""
    return _seat_order(episode, n_seats)[0]


def partition(matches: Sequence[Match], chunk: int) -> list[tuple[Match, ...]]:
    """Cut ``matches`` into consecutive chunks of ``chunk`` matches, the last one shorter. Chunks only order the work."""
    if chunk < 1:
        raise TournamentError(f"chunk is {chunk} matches, expected at least 1")
    it = iter(matches)
    return [tuple(part) for part in iter(lambda: tuple(islice(it, chunk)), ())]


def _seat_order(episode: int, n_seats: int) -> list[int]:
    # Sorting what SeedSequence generates is a permutation that no version of numpy changes, unlike Generator.permutation.
    state = np.random.SeedSequence(episode, spawn_key=(_SEATING,)).generate_state(n_seats, np.uint64)
    order: list[int] = np.argsort(state, kind="stable").tolist()
    return order


def _check(agents: Sequence[str], n_seats: int, episodes: Sequence[int], lineups: Sequence[str]) -> None:
    for name, values in (("agents", agents), ("episodes", episodes), ("lineups", lineups)):
        repeated = sorted({value for value in values if list(values).count(value) > 1}) if len(set(values)) < len(values) else []
        if repeated:
            raise TournamentError(f"{name}: {repeated[0]!r} appears more than once, expected each of them once")
    for baseline in BASELINES:
        if baseline not in agents:
            raise TournamentError(f"agents: {list(agents)} lacks the baseline {baseline!r}, which always takes part")
    unknown = sorted(set(lineups) - set(LINEUPS))
    if unknown or not lineups:
        raise TournamentError(f"lineups: {unknown or list(lineups)} given, expected at least one of {list(LINEUPS)}")
    if "pairs" in lineups and n_seats < 2:
        raise TournamentError(f"lineups: pairs need others to play among, and the market has {n_seats} seats, expected at least 2")
    if n_seats < 1:
        raise TournamentError(f"the market has {n_seats} seats, expected at least 1")
    if not episodes:
        raise TournamentError("episodes: none given, expected at least one")
