"""What a path is, a run or a journal, opened to be looked at; what is dear to work out of a run is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from gridpilot.errors import ConfigError
from gridpilot.insight.replay import Change, Played, find_match, play
from gridpilot.live.journal import Journal
from gridpilot.tournament.manifest import MANIFEST_NAME
from gridpilot.tournament.replay import PlayedRun, read_played_run
from gridpilot.tournament.schedule import Match
from gridpilot.tournament.statistics import Leaderboard, rank

__all__ = ["OpenedJournal", "OpenedRun", "open_path"]

KEPT: Final = 8  # matches that stay played


class OpenedRun:
    """A tournament's folder. Matches are played when they are asked for, with what agents say of their bids."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run: PlayedRun = read_played_run(path)
        self._played: OrderedDict[str, Played] = OrderedDict()

    @cached_property
    def board(self) -> Leaderboard:
        """The leaderboard."""
        return rank(self.run.rows)

    @cached_property
    def matches(self) -> list[Match]:
        """All matches, in the order of the rows."""
        return self.run.matches()

    def match(self, name: str) -> Match:
        """The match called ``EPISODE/LINEUP/ROTATION``; line-up ``mixed`` and rotation 0 may be left out.

        Raises :class:`~gridpilot.errors.ConfigError` for another form, and :class:`~gridpilot.errors.TournamentError` where there is none.
        """
        episode, _, rest = name.partition("/")
        lineup, _, rotation = rest.partition("/")
        if not episode.isdecimal() or not (rotation or "0").isdecimal():
            raise ConfigError(f"match: {name!r:.60}, expected EPISODE/LINEUP/ROTATION such as 1000000/mixed/0")
        return find_match(self.run, int(episode), lineup or "mixed", int(rotation or "0"))

    def played(self, match: Match, change: Change | None = None) -> Played:
        """The match played again, or with ``change``."""
        key = repr((match, change or Change()))
        if key not in self._played:
            self._played[key] = play(self.run, [match], change, reasons=not change)
            if len(self._played) > KEPT:
                self._played.popitem(last=False)
        self._played.move_to_end(key)
        return self._played[key]


class OpenedJournal:
    """A journal of live operation; the file is opened for every look, and read only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.look():
            pass

    @contextmanager
    def look(self) -> Iterator[Journal]:
        """The journal as it is now. Raises :class:`~gridpilot.errors.JournalError`."""
        with Journal(self.path, read_only=True) as journal:
            yield journal


def open_path(path: Path) -> OpenedRun | OpenedJournal:
    """A run's folder or a journal's file.

    Raises :class:`~gridpilot.errors.ConfigError` where there is nothing, and what is wrong with what is there.
    """
    if path.is_dir():
        if not (path / MANIFEST_NAME).is_file():
            raise ConfigError(
                f"{path} has no {MANIFEST_NAME}, expected the folder of a tournament or the journal of gridpilot live"
            )
        return OpenedRun(path)
    if not path.exists():
        raise ConfigError(f"{path} does not exist, expected the folder of a tournament or the journal of gridpilot live")
    return OpenedJournal(path)
