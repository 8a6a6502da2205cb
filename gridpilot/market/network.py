"""Clearing behind feeders, in a DC network, and with indivisible blocks: welfare by HiGHS, VCG payments by hot re-solves.

The allocation maximises the value of what the bids get minus the cost of the supply used, within every limit. A site's VCG
payment (Vickrey 1961; Clarke 1971; Groves 1973) is what its presence costs the others, ``W(N without i) - (W(N) - V_i(x_i))``; the
loaded model is solved again without each site that gets anything (the others pay nothing), linear programmes from the basis of the
first solve. Values and payments are recomputed from the allocations, difference by difference, so that they do not carry the
cancellation of that expression.

There is no single price here: the value of a kW differs between nodes, and with indivisible blocks no price need support the
allocation (Bikhchandani and Mamer 1997). So ``uniform`` is refused, and the price band of a result is None.

Truthful bids remain dominant for one tick, and nobody pays more than its bid. But outside a single node with divisible blocks VCG
can have low or negative revenue, a site may be paid for a counterflow, and losers can gain by colluding (Ausubel and Milgrom, "The
lovely but lonely Vickrey auction", 2006).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MarketError
from gridpilot.market._lp import WelfareProgramme
from gridpilot.market._network_document import EXTENSION_KEYS, FeederNode, Line, NetworkMarket, network_market

__all__ = ["EXTENSION_KEYS", "FeederNode", "Line", "NetworkClearing", "NetworkMarket", "clear_network", "network_market"]

FloatArray = npt.NDArray[np.float64]

NOISE = 1e-8  # of the money at stake: a site cannot lower welfare by bidding, so a surplus below minus this is a solver's failure


@dataclass(frozen=True)
class NetworkClearing:
    """The clearing of one market of N sites; money per hour, times dt for a tick."""

    allocation: FloatArray  # (N,) kW
    payment: FloatArray  # (N,) $/h
    value: FloatArray  # (N,) $/h, what each site bid for its allocation
    surplus: FloatArray  # (N,) $/h, value - payment, >= 0
    welfare: float  # $/h, sum of value - supply_cost
    supply_cost: float  # $/h, at max(cost, reserve)
    volume: float  # kW
    price_lo: float | None = None  # always None: there is no single price
    price_hi: float | None = None


def clear_network(
    market: NetworkMarket, mechanism: Literal["vcg", "pay_as_bid"] | str = "vcg", *, time_limit: float = 60.0
) -> NetworkClearing:
    """Clear ``market`` under ``"vcg"`` or ``"pay_as_bid"``.

    Figures are accurate to about 1e-12 of the largest quantity times the largest price, and limits hold to 1e-12 of the largest
    quantity; a market whose prices span much more than that is refused when it shows. Ties: welfare and surplus are unique; the
    allocation is the same in every run, and of largest volume for the all-or-nothing blocks that were chosen, but it is neither pro
    rata nor independent of the order of sites. A market without bids or supply allocates nothing.

    ``time_limit`` s bounds each single solve. Raises :class:`~gridpilot.errors.MarketError` for another mechanism, and naming the
    solver's status when a solve does not end at an optimum.

    >>> lone = network_market({"bids": [[[2, 9]]], "supply": [[3, 1]], "capacity": 3, "indivisible": [[True]]})
    >>> clear_network(lone).payment
    array([2.])
    """
    if mechanism == "uniform":
        raise MarketError("mechanism is 'uniform', expected 'vcg' or 'pay_as_bid': this market has no single price")
    if mechanism not in ("vcg", "pay_as_bid"):
        raise MarketError(f"mechanism is {mechanism!r}, expected 'vcg' or 'pay_as_bid'")
    programme = WelfareProgramme(market, time_limit)
    fill = programme.solve()
    n = len(market.bids)
    allocation = np.array([math.fsum(fill[programme.site == i]) for i in range(n)])
    value = np.array([math.fsum((fill * programme.price)[programme.site == i]) for i in range(n)])
    payment = value.copy()
    if mechanism == "vcg":
        stake = float(np.abs(programme.size * programme.price).sum() + np.abs(programme.supply).prod(axis=1).sum())
        for i in range(n):
            payment[i] = _vcg_payment(programme, fill, i, value[i], NOISE * stake) if allocation[i] > 0.0 else 0.0
    volume = math.fsum(fill)
    supply_cost = _cost_between(programme.supply, 0.0, volume)
    return NetworkClearing(
        allocation=allocation,
        payment=payment,
        value=value,
        surplus=value - payment,
        welfare=math.fsum([*(fill * programme.price), -supply_cost]),
        supply_cost=supply_cost,
        volume=volume,
    )


def _vcg_payment(programme: WelfareProgramme, fill: FloatArray, site: int, value: float, noise: float) -> float:
    """What the others lose by the presence of ``site``, $/h; never above ``value``, which rounding alone could make it."""
    others = programme.site != site
    without = programme.solve(site)
    lost = math.fsum((programme.price * (without - fill))[others])
    payment = lost - _cost_between(programme.supply, math.fsum(fill), math.fsum(without))
    if payment > value + noise:
        raise MarketError(f"site {site} would pay {payment} $/h for a value of {value} $/h: HiGHS did not maximise welfare")
    return min(payment, value)


def _cost_between(supply: FloatArray, start: float, end: float) -> float:
    """Cost of raising the supplied power from ``start`` to ``end`` kW (negative when it falls), $/h, cheapest steps first."""
    ends = np.cumsum(supply[:, 0])
    starts = ends - supply[:, 0]
    taken = np.clip(end, starts, ends) - np.clip(start, starts, ends)
    return math.fsum(taken * supply[:, 1])
