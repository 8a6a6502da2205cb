"""From bids to whole machines: the auction behind one connection, for every venue alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gridpilot.live.api import Counts
from gridpilot.live.knapsack import MOST_LOOKED_AT, best_counts, pack
from gridpilot.market.bids import Bid
from gridpilot.market.clearing import clear
from gridpilot.market.site import Site
from gridpilot.market.units import DT

__all__ = ["Allocation", "Facility"]

Prices = tuple[float, float, float]
"""Energy $/kWh, hash and token $ per unit of output."""


@dataclass(frozen=True)
class Allocation:
    """What the auction gave N sites and the machines that run on it."""

    won_kw: tuple[float, ...]  # (N,)
    payment: tuple[float, ...]  # (N,) $ of the tick for what is won
    counts: tuple[Counts, ...]  # (N,) of (C,)
    price: float  # $/kWh, the public clearing price
    loss: float = 0.0  # $ of the tick: at most so much worth less than the best machines, where the search for them was cut short


@dataclass(frozen=True)
class Facility:
    """Sites of whole machines behind one connection of ``cap_w``."""

    sites: tuple[Site, ...]
    cap_w: int

    @cached_property
    def powers(self) -> tuple[Counts, ...]:
        """W of a machine of each class at each site."""
        return tuple(tuple(round(kind.unit_kw * 1000.0) for kind in site.fleet) for site in self.sites)

    @property
    def off(self) -> tuple[Counts, ...]:
        """The safe state: no machine runs."""
        return tuple((0,) * len(site.fleet) for site in self.sites)

    def power_w(self, site: int, counts: Counts) -> int:
        """W drawn by these machines of a site."""
        return sum(count * power for count, power in zip(counts, self.powers[site], strict=True))

    def total_w(self, counts: Sequence[Counts]) -> int:
        """W drawn by all sites."""
        return sum(self.power_w(i, each) for i, each in enumerate(counts))

    def revenue(self, site: int, counts: Counts, prices: Prices) -> float:
        """$ of a tick that these machines earn."""
        price = {"hash": prices[1], "token": prices[2]}
        return sum(n * (kind.output * DT) * price[kind.product] for n, kind in zip(counts, self.sites[site].fleet, strict=True))

    def cost(self, site: int, counts: Counts, prices: Prices) -> float:
        """$ of a tick that their power costs."""
        return self.power_w(site, counts) / 1000.0 * DT * prices[0]

    def totals(self, counts: Sequence[Counts], prices: Prices) -> tuple[float, float]:
        """Revenue and cost of all sites, $ of a tick."""
        each = list(enumerate(counts))
        return sum(self.revenue(i, n, prices) for i, n in each), sum(self.cost(i, n, prices) for i, n in each)

    def allocate(self, bids: Sequence[Bid], prices: Prices, limits_w: Sequence[int]) -> Allocation:
        """Clear ``bids (N,)`` by VCG and fill what each site won, at most ``limits_w (N,)`` W, with its most profitable machines.

        A bid is cut at what its site can use: its machines, within its connection and its limit. Supply is the energy price up to the
        connection's limit. A machine is worth its revenue and its class's commitment value less its power's price, so nothing runs at
        a loss, and unused power is not drawn.
        """
        cap_kw = self.cap_w / 1000.0
        usable = [min(watts / 1000.0, site.grid_kw, site.fleet_kw) for watts, site in zip(limits_w, self.sites, strict=True)]
        cleared = clear([bid.blocks for bid in bids], [(cap_kw, prices[0])], cap_kw, caps=usable)
        packings = []
        for i, bid in enumerate(bids):
            # Sums of blocks are off by rounding; a thousandth of a watt decides whether the last machine fits.
            won_w = min(math.floor(float(cleared.allocation[i]) * 1000.0 + 1e-3), limits_w[i], self.cap_w)
            units = [kind.units for kind in self.sites[i].fleet]
            most = MOST_LOOKED_AT // len(bids)
            packings.append(pack(self._values(i, prices, bid), self.powers[i], units, won_w, most=most))
        low, high = cleared.price_lo, cleared.price_hi
        price = low if low > -math.inf else high if high < math.inf else prices[0]
        payment = tuple(float(rate) * DT for rate in cleared.payment)
        return Allocation(
            tuple(float(kw) for kw in cleared.allocation),
            payment,
            tuple(packing.counts for packing in packings),
            price,
            sum(packing.loss for packing in packings),
        )

    def alternatives(self, prices: Prices) -> Mapping[str, float]:
        """Profit of a tick of other choices: the best there is, nothing, and each class of the first site alone, $."""
        values = self._values(0, prices, None)
        units = [sum(site.fleet[c].units for site in self.sites) for c in range(len(values))]
        powers = self.powers[0]
        best = best_counts(values, powers, units, self.cap_w)
        profit = {"best": sum(n * value for n, value in zip(best, values, strict=True)), "off": 0.0}
        for kind, value, power, there in zip(self.sites[0].fleet, values, powers, units, strict=True):
            profit[kind.name] = min(there, self.cap_w // power) * value
        return profit

    def _values(self, site: int, prices: Prices, bid: Bid | None) -> list[float]:
        """$ of a tick that each machine is worth beyond its power's price."""
        price = {"hash": prices[1], "token": prices[2]}
        values = []
        for c, kind in enumerate(self.sites[site].fleet):
            value = kind.output * DT * price[kind.product] - self.powers[site][c] / 1000.0 * DT * prices[0]
            if bid is not None and bid.commitment_value is not None:
                value += float(bid.commitment_value[c]) * kind.unit_kw * DT
            values.append(value)
        return values
