"""What the agents are shown: observations, made from accepted rows and confirmed commands alone.

An observer is told rows and results in order and builds the same observations wherever they come from: a simulation, a recording, the API,
or a journal read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.live.api import TICK, Counts, PriceRow
from gridpilot.live.facility import Allocation, Facility
from gridpilot.market.arena import MarketRules
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.plant import SiteState
from gridpilot.market.units import DT, TICKS_PER_DAY, TICKS_PER_WEEK

__all__ = ["AMBIENT_C", "ENDLESS", "Observer", "week_tick"]

FloatArray = npt.NDArray[np.float64]

ENDLESS: Final = 1_000_000_000  # ticks of an episode that has no end
AMBIENT_C: Final = 20.0  # degC; a site of machines alone has no weather


def week_tick(at: datetime) -> int:
    """Tick of the week, Monday 00:00 UTC = 0."""
    return at.weekday() * TICKS_PER_DAY + (at.hour * 3600 + at.minute * 60 + at.second) // int(TICK.total_seconds())


class RowBuffer:
    """Rows of floats that are appended, overwritten and read as an array; of the oldest only ``keep`` stay."""

    def __init__(self, width: int, keep: int | None = None) -> None:
        self._data, self._n, self._keep = np.empty((64, width)), 0, keep

    def __len__(self) -> int:
        return self._n

    def append(self, row: Sequence[float], times: int = 1) -> None:
        """Add ``times`` equal rows."""
        for _ in range(times):
            if self._n == len(self._data):
                kept = self.array if self._keep is None else self.array[-self._keep :]
                self._data = np.concatenate([kept, np.empty_like(self._data[: max(64, len(kept))])])
                self._n = len(kept)
            self._data[self._n] = row
            self._n += 1

    def truncate(self, n: int) -> None:
        """Forget the rows from ``n`` on."""
        self._n = min(self._n, n)

    @property
    def array(self) -> FloatArray:
        """The rows, ``(n, width)``: a view."""
        rows = self._data[: self._n]
        return rows if self._keep is None else rows[-self._keep :]


@dataclass(frozen=True)
class Settled:
    """What a decision came to."""

    tick: int
    allocation: Allocation | None  # None where the auction was not asked
    counts: tuple[Counts, ...]  # (N,) that run now
    prices: tuple[float, float, float]
    refused: tuple[str, ...]  # (N,) why a site's bid was not used, "" where it was


class Observer:
    """Rows, states and results of N sites; ``keep`` rows are shown at the most."""

    def __init__(self, facility: Facility, keep: int) -> None:
        self.facility, self.keep = facility, keep
        self._rows = RowBuffer(3, keep)  # one a tick, oldest first; a tick without a row repeats the one before it
        self.row: PriceRow | None = None  # the newest
        self._first: datetime | None = None  # tick 0
        self._cleared = RowBuffer(2)  # price and volume of each tick since then
        self._last: Settled | None = None
        self.counts: tuple[Counts, ...] = facility.off  # that run now

    @property
    def newest(self) -> datetime | None:
        """Time of the newest row."""
        return None if self.row is None else self.row.at

    @property
    def prices(self) -> tuple[float, float, float]:
        """The newest row's prices, energy in $/kWh: also the synthetic continuation, for they are near random walks."""
        energy, hashing, token = self._rows.array[-1].tolist()
        return energy, hashing, token

    @property
    def started(self) -> bool:
        """Whether there is a tick 0."""
        return self._first is not None

    def add(self, rows: Iterable[PriceRow]) -> None:
        """Take accepted rows, oldest first. One that comes late takes the place of the repetition that stood in for it."""
        for row in rows:
            steps = 1 if self.row is None else round((row.at - self.row.at) / TICK)
            if steps > 0:
                if steps > 1:
                    self._rows.append(self.prices, min(steps - 1, self.keep))
                self._rows.append(row.prices)
                self.row = row
            elif -steps < len(self._rows.array):
                self._rows.array[steps - 1] = row.prices

    def start(self) -> None:
        """The newest row is tick 0."""
        self._first, self._cleared, self._last = self.newest, RowBuffer(2), None

    @property
    def tick(self) -> int:
        """Of the newest row, from 0."""
        assert self.row is not None
        assert self._first is not None
        return round((self.row.at - self._first) / TICK)

    def observe(self, site: int) -> Observation:
        """What the agent of a site sees at the newest row."""
        assert self.row is not None
        facility, own = self.facility, self.facility.sites[site]
        cap_kw = facility.cap_w / 1000.0
        history, tick = self._rows.array.copy(), self.tick
        known = self._cleared.array[:tick]
        cleared = np.zeros((tick, 2))
        cleared[: len(known)] = known
        if len(known):
            cleared[len(known) :, 0] = known[-1, 0]  # ticks without a decision, as they will be settled
        before = history[-2] if len(history) > 1 else history[-1]
        machine_kw = np.array([n * kind.unit_kw for n, kind in zip(self.counts[site], own.fleet, strict=True)])
        return Observation(
            site=own,
            market=MarketInfo(
                MarketRules(cap_kw, ((1.0, 0.0),)),
                len(facility.sites),
                max(len(each.fleet) for each in facility.sites),
                site,
                ENDLESS,
            ),
            tick=tick,
            week_tick=week_tick(self.row.at) % TICKS_PER_WEEK,
            history=history,
            ambient_c=AMBIENT_C,
            capacity_kw=cap_kw,
            capacity_hour_ago_kw=cap_kw,
            state=SiteState(0.0, AMBIENT_C, machine_kw),
            cleared=cleared,
            last_price=float(known[-1, 0] if len(known) else before[0]),
            last=self.outcome(site) if len(known) else None,
        )

    def settle(
        self,
        allocation: Allocation | None,
        counts: Sequence[Counts],
        prices: tuple[float, float, float],
        refused: Sequence[str] = (),
    ) -> None:
        """Note what was decided at the newest row, and which machines run now. A second decision within a tick replaces the first."""
        self.counts = tuple(counts)
        if not self.started:
            return
        tick = self.tick
        price = allocation.price if allocation is not None else prices[0]
        volume = self.facility.total_w(counts) / 1000.0
        last = float(self._cleared.array[-1, 0]) if len(self._cleared) else price
        self._cleared.append((last, 0.0), tick - len(self._cleared))  # ticks without a decision
        self._cleared.truncate(tick)
        self._cleared.append((price, volume))
        self._last = Settled(tick, allocation, self.counts, prices, tuple(refused) or ("",) * len(self.counts))

    def outcome(self, site: int) -> Outcome | None:
        """The last decision's result for a site. Power that was won and is not drawn is not paid for."""
        last = self._last
        if last is None:
            return None
        counts = last.counts[site]
        drawn = self.facility.power_w(site, counts) / 1000.0
        won, paid = drawn, 0.0
        if last.allocation is not None:
            won, paid = last.allocation.won_kw[site], last.allocation.payment[site]
        payment = paid - (won - drawn) * DT * last.prices[0] if last.allocation is not None else drawn * DT * last.prices[0]
        revenue = self.facility.revenue(site, counts, last.prices)
        price, volume = self._cleared.array[-1].tolist()
        return Outcome(
            last.tick, won, drawn, drawn, 0.0, 0.0, 0.0, revenue, payment, 0.0, revenue - payment, price, volume, last.refused[site]
        )  # fmt: skip
