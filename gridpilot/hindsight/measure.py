"""Seat-days of a tournament, measured: what was earned, what could have been for certain, and what nobody could have beaten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from gridpilot.errors import TournamentError
from gridpilot.hindsight.frozen import best_replay
from gridpilot.hindsight.programme import Programme
from gridpilot.hindsight.seat_day import seat_day
from gridpilot.progress import Progress
from gridpilot.suggestions import did_you_mean
from gridpilot.tournament.replay import PlayedRun, Trace, differences, trace_matches
from gridpilot.tournament.schedule import REFERENCE, Match
from gridpilot.tournament.statistics import scores

__all__ = ["EPISODES", "SeatDays", "measure_run"]

EPISODES: Final = 100  # measured unless told otherwise
CHUNK: Final = 32  # matches that are traced side by side: about 40 MB


@dataclass(frozen=True)
class SeatDays:
    """What :func:`measure_run` found.

    ``days``  one row a seat-day: ``episode``, ``lineup``, ``rotation``, ``seat``, ``agent``; ``own``, ``best`` and ``optimum`` $ of the
              match, and ``play``, the name of the replay that earned ``best``. Line-up ``mixed``: one seat a match and agent. Line-up
              ``self``: the reference among its like, one seat an episode, where the run has it.
    """

    days: pd.DataFrame
    episodes: int
    ticks: int
    seats: int
    differences: tuple[str, ...]  # where the matches played again are not those that the run recorded


def measure_run(
    run: PlayedRun, agents: Sequence[str] | None = None, episodes: int = EPISODES, progress: Progress | None = None
) -> SeatDays:
    """Measure ``agents``, by default all of the mixed line-up, in the first ``episodes`` complete episodes of ``run``.

    The seat of an agent that holds several in a match, and that of the reference in an episode, go round by the number of the match.
    Raises :class:`~gridpilot.errors.TournamentError` for an agent that is not in the mixed line-up.
    """
    table = scores(run.rows)
    labels = [str(label) for label in table.columns] if agents is None else list(agents)
    for label in labels:
        if label not in table.columns:
            hint = did_you_mean(label, map(str, table.columns)) or f"its agents are {', '.join(map(str, table.columns))}"
            raise TournamentError(f"{run.folder}: {label!r} is not in the mixed line-up, where regret is measured; {hint}")
    chosen = {int(episode) for episode in sorted(table.index)[:episodes]}
    due: list[tuple[Match, list[int]]] = []
    for match in run.matches("mixed"):
        if match.episode in chosen:
            due.append((match, [seat for label in labels if (seat := _seat_of(label, match)) is not None]))
    for match in run.matches("self"):
        if match.episode in chosen and set(match.seats) == {REFERENCE}:
            due.append((match, [match.episode % len(match.seats)]))
    found, differing = [], []
    programmes: dict[int, Programme] = {}
    with (progress or Progress("exploit")).of(len(due), what="matches") as advance:
        for first in range(0, len(due), CHUNK):
            part = due[first : first + CHUNK]
            matches = [match for match, _ in part]
            trace = trace_matches(run.spec, matches)
            differing += differences(trace.rows, run.stored(matches))
            for b, (match, seats) in enumerate(part):
                found += [_seat_day(trace, b, seat, match, programmes) for seat in seats]
                advance(1)
    days = pd.DataFrame(found)
    return SeatDays(days, len(chosen), run.spec.ticks, int(run.rows["seat"].nunique()), tuple(differing))


def _seat_of(agent: str, match: Match) -> int | None:
    seats = [seat for seat, label in enumerate(match.seats) if label == agent]
    return seats[(match.episode + match.rotation) % len(seats)] if seats else None


def _seat_day(trace: Trace, b: int, seat: int, match: Match, programmes: dict[int, Programme]) -> dict[str, Any]:
    day = seat_day(trace, b, seat)
    if seat not in programmes:
        programmes[seat] = Programme(day.arrays, day.ticks)
    optimum = programmes[seat].solve(day)
    best, play = best_replay(day, optimum)
    return {
        "episode": match.episode, "lineup": match.lineup, "rotation": match.rotation, "seat": seat, "agent": match.seats[seat],
        "own": day.profit, "best": best, "optimum": optimum.value, "play": play,
    }  # fmt: skip
