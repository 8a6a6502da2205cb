"""Sites, their keys and their machines."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from gridpilot.live.api import CLASSES, Counts, Inventory, PriceRow

__all__ = ["OverCapError", "Put", "Site", "Sites", "earnings"]

OFF: Final[Counts] = (0,) * len(CLASSES)


class OverCapError(Exception):
    """Machines that would draw more than their site's power; nothing has been applied."""


@dataclass(frozen=True, slots=True)
class Put:
    """Machines that were set."""

    at: datetime  # UTC, of the stand-in's clock
    site: int  # its number
    counts: Counts  # (5,)
    power_w: int


@dataclass(slots=True)
class Site:
    """What is behind a key."""

    number: int  # from 1
    name: str
    key: str = field(repr=False)
    power_w: int
    updated_at: datetime  # UTC
    counts: Counts | None = None  # (5,); None before the first PUT


class Sites:
    """All sites of one inventory. To be used by one event loop, or by one thread at a time."""

    def __init__(self, inventory: Inventory, power_w: int, now: Callable[[], datetime]) -> None:
        self.inventory = inventory
        self.puts: list[Put] = []  # every one that was applied, in order
        self._power_w, self._now = power_w, now
        self.changed: Callable[[], None] = lambda: None  # called after each change, before it is answered
        self._by_key: dict[str, Site] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def register(self, name: str) -> Site:
        """A new site with a fresh key, whatever its name."""
        site = Site(len(self) + 1, name, str(uuid.uuid4()), self._power_w, self._now())
        self._by_key[site.key] = site
        self.changed()
        return site

    def all(self) -> list[Site]:
        """Every site, in the order of their numbers."""
        return list(self._by_key.values())

    def restore(self, sites: Iterable[Site]) -> None:
        """Take sites as they were kept."""
        self._by_key.update((site.key, site) for site in sites)

    def find(self, key: str | None) -> Site | None:
        """The site of a key."""
        return None if key is None else self._by_key.get(key)

    def set_machines(self, site: Site, asked: Mapping[str, int], *, keep: bool) -> None:
        """Set the machine classes in ``asked``; the others are kept or reset to 0. Raises ``OverCapError`` and applies nothing then."""
        former = site.counts if keep and site.counts is not None else OFF
        counts = tuple(asked.get(name, before) for name, before in zip(CLASSES, former, strict=True))
        power_w = sum(self.watts(counts))
        if power_w > site.power_w:
            raise OverCapError(f"the machines draw more than the site's {site.power_w} W")
        site.counts, site.updated_at = counts, self._now()
        self.puts.append(Put(site.updated_at, site.number, counts, power_w))
        self.changed()

    def watts(self, counts: Counts) -> list[int]:
        """``(5,)`` W of each class."""
        return [count * kind.power for count, kind in zip(counts, self.inventory.types, strict=True)]


def earnings(counts: Counts, watts: list[int], inventory: Inventory, row: PriceRow) -> dict[str, Any]:
    """The figures of ``GET /machines``: plain products of a row's prices, no kWh and no five minutes."""
    prices = (row.hash, row.hash, row.hash, row.token, row.token)
    revenue = [n * kind.output * price for n, kind, price in zip(counts, inventory.types, prices, strict=True)]
    return {
        "power": dict(zip(CLASSES, watts, strict=True)),
        "revenue": dict(zip(CLASSES, revenue, strict=True)),
        "total_power_used": sum(watts),
        "total_power_cost": sum(watts) * row.energy,
        "total_revenue": sum(revenue),
    }
