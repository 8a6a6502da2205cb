"""Venues without a server: a feed drawn here, or recorded rows. Time passes only when the engine waits for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic import SecretStr

from gridpilot.errors import ConfigError, LiveError
from gridpilot.live.api import INVENTORIES, TICK, Counts, Inventory, PriceRow, build_site
from gridpilot.live.clock import ManualClock
from gridpilot.live.config import LiveConfig, Timing
from gridpilot.live.facility import Facility
from gridpilot.live.price_feed import feed_name, generate_rows, read_rows
from gridpilot.live.venue import Venue

__all__ = ["ReplayVenue", "SimulatedVenue"]

DEFAULT_KW: Final = 1000.0  # of a site, where nothing is configured
BATCH: Final = 1024  # rows drawn at a time
RECENT: Final = 24  # rows of a reading: the feed knows the older ones


class ReplayVenue(Venue):
    """Plays ``rows`` (oldest first, five minutes apart or more), the first ``start`` of which are there already.

    ``sites`` sites of ``inventory`` with a connection of ``power_w`` each, which they share.
    """

    name: ClassVar[str] = "replay"

    def __init__(self, rows: Sequence[PriceRow], inventory: Inventory, power_w: int, *, sites: int = 1, start: int = 1) -> None:
        if not 1 <= start <= len(rows):
            raise LiveError(f"{self.name}: {len(rows)} rows, expected at least {max(start, 1)}")
        self._rows = list(rows)
        self._shown = start  # rows whose time has come
        self._begun = False
        self._facility = Facility(tuple(build_site(f"{self.name} {i + 1}", inventory, power_w) for i in range(sites)), power_w)
        self._running = list(self._facility.off)
        self.clock = ManualClock(self._rows[start - 1].at)
        tick = TICK.total_seconds()
        self.timing = dataclasses.replace(Timing.of(1.0), poll=tick / 10.0, poll_early=tick)  # nobody waits: no need to look often

    @classmethod
    def configured(cls, live: LiveConfig, keys: Sequence[SecretStr]) -> Self:
        """The rows of ``live.file``, a file of prices or a journal."""
        if live.file is None:
            raise ConfigError("live.file is not set, expected a CSV file of prices or a journal to replay")
        venue = cls(_recorded_rows(live.file), INVENTORIES[live.inventory], _power_w(live), sites=live.sites)
        venue.address = str(live.file)
        return venue

    def open(self) -> Facility:
        """The facility."""
        return self._facility

    def prices(self) -> Sequence[PriceRow]:
        """The rows whose time has come: all at first, then the newest few."""
        while self._shown < len(self._rows) and self._rows[self._shown].at <= self.clock.now():
            self._shown += 1
        first = max(0, self._shown - RECENT) if self._begun else 0
        self._begun = True
        return self._rows[first : self._shown]

    def machines(self, site: int) -> Counts:
        """The machines that were set last."""
        return self._running[site]

    def set_machines(self, site: int, counts: Counts) -> Counts:
        """Set all machines of a site."""
        self._running[site] = counts
        return counts

    @property
    def exhausted(self) -> bool:
        """Whether the last row has been shown."""
        return self._shown == len(self._rows)


class SimulatedVenue(ReplayVenue):
    """Plays a feed without end: ``draw(n)`` gives its first n rows."""

    name: ClassVar[str] = "simulated"

    def __init__(
        self, draw: Callable[[int], Sequence[PriceRow]], inventory: Inventory, power_w: int, *, sites: int = 1, start: int = 1
    ) -> None:
        self._draw = draw
        super().__init__(draw(start + BATCH), inventory, power_w, sites=sites, start=start)

    @classmethod
    def configured(cls, live: LiveConfig, keys: Sequence[SecretStr]) -> Self:
        """Rows of ``live.feed``."""
        draw = partial(generate_rows, live.feed, live.seed)
        venue = cls(draw, INVENTORIES[live.inventory], _power_w(live), sites=live.sites)
        venue.address = feed_name(live.feed)
        return venue

    def prices(self) -> Sequence[PriceRow]:
        """The rows whose time has come: all at first, then the newest few."""
        while self._rows[-1].at <= self.clock.now() + TICK:
            self._rows = list(self._draw(2 * len(self._rows)))
        return super().prices()

    @property
    def exhausted(self) -> bool:
        """Never."""
        return False


def _power_w(live: LiveConfig) -> int:
    return round((live.power_kw or DEFAULT_KW) * 1000.0)


def _recorded_rows(file: Path) -> Sequence[PriceRow]:
    if file.suffix in (".csv", ".json"):
        return read_rows(file)
    from gridpilot.live.journal import Journal
    from gridpilot.live.recovery import recover

    with Journal(file, read_only=True) as journal:
        rows = recover(journal, keep=10**9).rows
    if not rows:
        raise ConfigError(f"live.file={file}: the journal holds no price rows, expected at least one")
    return rows
