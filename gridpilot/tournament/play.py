"""Playing matches: a chunk of them is one batch of markets.

The loop is :func:`playing`, for all who play: a tournament adds up what comes of it, a replay writes it down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from gridpilot.agents.seating import Seating
from gridpilot.file_access import refuse_other_files
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.inspection import agents_of, assign_roles
from gridpilot.tournament.schedule import Match
from gridpilot.tournament.storage_bases import storage_bases
from gridpilot.tournament.tally import Tally

__all__ = ["play_chunk", "playing", "roles_of", "seated"]


def play_chunk(spec: TournamentSpec, matches: Sequence[Match]) -> pd.DataFrame:
    """Play ``matches`` side by side; one row per match and seat, in order (columns of :mod:`gridpilot.tournament.rows`).

    A file that is not among ``spec.files`` cannot be opened meanwhile: what it tells an agent would be part of no run. An agent that tries
    gets a ``PermissionError``, and what becomes of it is scored like any failure.
    """
    with seated(spec, matches) as seating:
        tally = Tally(seating.arena)
        for cleared in playing(seating):
            if cleared:
                tally.add(seating.arena)
        return tally.rows(matches, roles_of(spec), storage_bases(spec.agents), seating)


@contextlib.contextmanager
def seated(spec: TournamentSpec, matches: Sequence[Match], *, time_limit: float | None = None) -> Iterator[Seating]:
    """Agents in their seats at the beginning of ``matches``, gains measured; ``time_limit`` instead of the specification's, s."""
    setup = _setup(_Key(spec))
    arena = setup.arena(len(matches))
    arena.measure_gains()
    episodes = np.array([match.episode for match in matches], dtype=np.int64)
    arena.start(setup.scenario(spec.seed, episodes))
    labels = [match.seats for match in matches]
    limit = spec.deadline if time_limit is None else time_limit
    with (
        contextlib.nullcontext() if spec.files is None else refuse_other_files(spec.files),
        contextlib.closing(Seating(arena, agents_of(spec), labels, time_limit=limit)) as seating,
    ):
        seating.reset(spec.seed, episodes)
        yield seating


def playing(seating: Seating) -> Iterator[bool]:
    """Play to the end of the scenario, pausing twice a tick: ``False`` when all have bid, ``True`` when it is cleared, and all were told.

    Orders may be looked at, and changed, in the first pause.
    """
    arena = seating.arena
    while not arena.done:
        seating.bid()
        yield False
        arena.step()
        seating.learn()
        yield True


def roles_of(spec: TournamentSpec) -> Mapping[str, str]:
    """The roles of the agents, from the classes that play: a class that is another where matches are played is found out.

    Of agents in processes of their own they are told by what the inspection found.
    """
    return spec.roles or assign_roles(spec.agents)


class _Key:
    """A specification as a dictionary key, so that a process builds its market once for all chunks."""

    def __init__(self, spec: TournamentSpec) -> None:
        self.spec = spec
        self.text = repr((spec.market, spec.prices, spec.ticks, spec.history))

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text


@lru_cache(maxsize=4)
def _setup(key: _Key) -> MarketSetup:
    spec = key.spec
    return load_setup(spec.market, spec.prices, ticks=spec.ticks, history=spec.history)
