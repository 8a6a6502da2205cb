"""What is earned: the one definition of profit, which the journal holds and all else reads.

A price row pays for the machines that the venue has confirmed to run in it, at the row's own prices, for as long as they were in
force. The API pays a snapshot a row, so what is confirmed counts for the whole row; where it changes within the row, as by a halt, each
part counts for its share of the five minutes. What nobody has confirmed, and a tick whose row was not seen in time, earns nothing: it
cannot be shown. In shadow mode, where nothing is sent, it is what would have been earned.

Each record of an outcome or a reconciliation holds what it adds, so that sums over records are what was earned. Money is the API's, $.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from gridpilot.live.api import TICK, Counts, PriceRow, format_time, parse_time

if TYPE_CHECKING:  # who only watches does without numerics
    from gridpilot.live.facility import Facility
    from gridpilot.live.journal import Journal

__all__ = ["BOOKED", "Earned", "Ledger", "earned_of", "total_profit"]

BOOKED: Final = frozenset({"outcome", "reconciliation"})
"""Kinds of records that hold what they add."""

Money = tuple[float, float]
"""Revenue and cost."""


@dataclass(frozen=True)
class Earned:
    """What one record adds to what is earned."""

    at: datetime  # UTC, the tick it belongs to
    sites: tuple[Money, ...]  # (N,)
    rates: tuple[Money, ...]  # (N,) of a whole tick, as they are in force from now on
    weight: float  # rows, or the share of one, of which it is now shown what they earned; below 0 where that is taken back

    @property
    def revenue(self) -> float:
        """Of all sites."""
        return sum(revenue for revenue, _ in self.sites)

    @property
    def cost(self) -> float:
        """Of all sites."""
        return sum(cost for _, cost in self.sites)

    @property
    def profit(self) -> float:
        """Revenue minus cost."""
        return self.revenue - self.cost

    def to_json(self) -> dict[str, Any]:
        """``earned`` of an ``outcome`` and of a ``reconciliation``."""
        return {
            "at": format_time(self.at),
            "sites": [list(money) for money in self.sites],
            "rates": [list(money) for money in self.rates],
            "weight": self.weight,
        }


def earned_of(body: Mapping[str, Any]) -> Earned | None:
    """What a record's body says was earned; None where it says nothing, as the records at a start and those of older versions."""
    earned = body.get("earned")
    if earned is None:
        return None
    sites, rates = (tuple((float(money[0]), float(money[1])) for money in earned[name]) for name in ("sites", "rates"))
    return Earned(parse_time(earned["at"]), sites, rates, float(earned["weight"]))


def total_profit(journal: Journal) -> float:
    """What all of a journal's records add up to."""
    found = (earned_of(record.body) for record in journal.records(kinds=BOOKED))
    return sum(earned.profit for earned in found if earned is not None)


class Ledger:
    """Books what N sites earn, each share of a tick once; ``last`` is what was booked before a restart."""

    def __init__(self, facility: Facility, last: Earned | None = None) -> None:
        self._facility = facility
        self._row: PriceRow | None = None  # of the tick in progress, where it has one
        self._at: datetime | None = None  # the tick in progress
        self._rates: tuple[Money, ...] = ((0.0, 0.0),) * len(facility.sites)  # of it, in force
        self._shown = False  # whether all of them are confirmed
        if last is not None:
            self._at = last.at
            if len(last.rates) == len(self._rates):
                self._rates, self._shown = last.rates, any(map(any, last.rates))

    def book(
        self, at: datetime, row: PriceRow | None, counts: Sequence[Counts], confirmed: Sequence[bool], *, now: datetime
    ) -> Earned:
        """What the tick ``at`` earns by ``counts (N,)``, where they are ``confirmed (N,)``.

        ``row`` is the newest one, by whose prices the tick is paid where it is its own. A tick before the one in progress is over, and
        earns nothing more.
        """
        if self._at is not None and at < self._at:
            return Earned(at, ((0.0, 0.0),) * len(self._rates), self._rates, 0.0)
        if self._at is None or at > self._at:
            self._at, self._row, self._shown = at, None, False
            before: tuple[Money, ...] = ((0.0, 0.0),) * len(self._rates)
            share = 1.0
        else:
            before, share = self._rates, min(1.0, max(0.0, 1.0 - (now - at) / TICK))
        if row is not None and row.at == at:
            self._row = row
        if self._row is None and any(map(any, before)):  # booked before a restart, and its prices are no longer at hand
            return Earned(at, ((0.0, 0.0),) * len(before), before, 0.0)
        known = [*confirmed, *[False] * len(counts)][: len(counts)]
        self._rates = tuple(
            self._rate(i, each) if sure else (0.0, 0.0) for i, (each, sure) in enumerate(zip(counts, known, strict=True))
        )
        shown = all(known) and self._row is not None
        weight, self._shown = share * (shown - self._shown), shown
        pairs = zip(self._rates, before, strict=True)
        sites = tuple((share * (new[0] - old[0]), share * (new[1] - old[1])) for new, old in pairs)
        return Earned(at, sites, self._rates, weight)

    def rebook(self, row: PriceRow | None, counts: Sequence[Counts], *, now: datetime) -> Earned | None:
        """What it changes that these counts are found to run in the tick in progress; None before the first."""
        return None if self._at is None else self.book(self._at, row, counts, (True,) * len(counts), now=now)

    def _rate(self, site: int, counts: Counts) -> Money:
        """Revenue and cost of a whole tick at its own prices; nothing where it has none."""
        if self._row is None:
            return 0.0, 0.0
        prices = self._row.prices
        return self._facility.revenue(site, counts, prices), self._facility.cost(site, counts, prices)
