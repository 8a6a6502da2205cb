"""Everything off before anything else is known: what a halt asks for at a start, and what an engine that cannot go on leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gridpilot.errors import JournalError, VenueError
from gridpilot.live.journal import Journal
from gridpilot.live.venue import Venue

__all__ = ["AllOff"]

TRIES: Final = 3  # of an engine that ends


class AllOff:
    """Switches a venue off and writes that down as ``off``; ``tell`` is told."""

    def __init__(self, venue: Venue, journal: Journal, tell: Callable[[str], None]) -> None:
        self._venue, self._journal, self._tell = venue, journal, tell
        self._done = False
        self._told = ""

    def where_due(self) -> None:
        """Switch off, once, where a halt is in force or no power may be drawn; called again and again until it is confirmed."""
        if self._done:
            return
        if self._journal.halt.halted:
            self._done = self._try("a halt is in force")
        elif self._venue.without_power:
            self._done = self._try("no power may be drawn")

    def leave(self, why: str) -> None:
        """Switch off at an end that nobody asked for: what runs would run on with nobody to look after it."""
        for attempt in range(TRIES):
            if attempt:
                self._venue.clock.sleep(self._venue.timing.backoff * 2.0**attempt)
            if self._try(why):
                return

    def _try(self, why: str) -> bool:
        try:
            self._venue.switch_off()
            problem = ""
        except VenueError as error:
            problem = str(error)
        told = f"{why}: {f'NOT CONFIRMED to be off: {problem}' if problem else 'everything is off'}"
        if told != self._told:  # what stays as it is is told once
            self._told = told
            self._tell(told)
            body = {"why": why, "confirmed": not problem, "message": problem[:300]}
            try:
                self._journal.append([("off", body)], at=self._venue.clock.now())
            except JournalError as error:  # a full disk keeps nobody from trying again
                self._tell(f"that is not written down: {error}")
        return not problem
