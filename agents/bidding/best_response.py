"""The best response to what rivals bid when it was last made public."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gridpilot.agents.bidding.residual import expect_rivals, units_beyond
from gridpilot.agents.bidding.stated import FloatArray, Situation, StatedRule
from gridpilot.errors import AgentError
from gridpilot.market.auction import PAY_AS_BID, truncate_supply
from gridpilot.market.compilation import inline_kernel, kernel

__all__ = ["BestResponse"]


class BestResponse(StatedRule):
    """Buys what pays best against the rivals' last public bids, and says of the rest that it is worth a little less than the price.

    The rivals' curve of ``curve_delay`` ticks ago and this tick's supply steps give the inverse residual supply, and that the quantity
    with the greatest payoff (:mod:`gridpilot.market.best_response`). Where curves are not published, the rivals are taken to ask for what
    they got in the last tick at any price. A curve that is older than a tick is first stretched until it meets the rivals' last volume
    at the last price.

    * VCG: the truth is the best response, and is what it bids.
    * Uniform price: where more than ``min_gain`` of the truth's payoff is to be gained, it bids the truth for ``withheld_kw`` less
      than that quantity, and for the rest at most a little less than the price it expects.
    * Pay-as-bid: it bids ``markup`` above the price it expects for that quantity, and just below it for the rest.

    It assumes that rivals do as they last did. ``min_gain`` is a share, ``withheld_kw`` in kW, ``markup`` in $/kWh.
    """

    name = "best_response"

    def __init__(self, min_gain: float = 0.04, withheld_kw: float = 20.0, markup: float = 0.001) -> None:
        for name, value in (("min_gain", min_gain), ("withheld_kw", withheld_kw), ("markup", markup)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < math.inf:
                raise AgentError(f"best_response: {name} is {value!r}, expected a finite number >= 0")
        self.min_gain, self.withheld_kw, self.markup = float(min_gain), float(withheld_kw), float(markup)

        self._expected = np.zeros((0, 4))

    def rationale(self, row: int) -> Mapping[str, Any]:
        """What it expects of its best response, by the rivals' last public bids; under VCG nothing, as the truth is that."""
        if row >= len(self._expected):
            return {}
        kw, price, best, told = self._expected[row].tolist()
        return {
            "best_response_kw": kw,
            "expected_price_paid_dollars_per_kwh": price,
            "predicted_surplus_dollars_per_hour": best,
            "predicted_gain_dollars_per_hour": best - told,
        }

    def respond(self, now: Situation, blocks: FloatArray) -> None:
        """The best response, or the truth."""
        if len(self._expected) != len(now.market):
            self._expected = np.zeros((len(now.market), 4))
        _respond(
            self.ladder, self.reserve, self.mechanism, self.delay, self.min_gain, self.withheld_kw, self.markup, now.true, now.market,
            now.prices, now.capacity_kw, now.last_price, now.volume, now.won, now.curves, blocks, self._expected,
        )  # fmt: skip


@kernel
def _respond(
    ladder: Any,  # (S, 2)
    reserve: float,
    mechanism: int,
    delay: int,  # ticks; -1: no curves
    min_gain: float,
    withheld_kw: float,
    markup: float,
    true: Any,  # (M, K, 2)
    market: Any,  # (M,) row of what follows
    prices: Any,  # (P, 3)
    capacity_kw: Any,  # (P,)
    last_price: Any,  # (P,)
    volume: Any,  # (P,) kW sold in the last tick; nan before the first
    won: Any,  # (M,) kW of it
    curves: Any,  # (M, L, 2) the rivals' last public bids
    blocks: Any,  # (M, ROOM, 2), out
    expected: Any,  # (M, 4), out: kW of the best response, $/kWh it expects to pay, $/h of that and of the truth
) -> None:
    supply, steps = np.empty((1, len(ladder), 2)), np.empty((len(ladder) + 1, 4))
    rivals = np.empty((curves.shape[1] + 1, 2))
    units = np.empty((curves.shape[1] + len(ladder) + 1, 2))
    for m in range(len(market)):
        p = market[m]
        for s in range(len(ladder)):
            supply[0, s, 0], supply[0, s, 1] = ladder[s, 0] * capacity_kw[p], prices[p, 0] + ladder[s, 1]
        n_steps, total = truncate_supply(supply, 0, capacity_kw[p], reserve, steps)
        asked = expect_rivals(curves, m, delay, last_price[p], volume[p] - won[m], rivals)
        count = units_beyond(rivals, asked, steps, n_steps, total, units)
        x, price, best, told = _best_quantity(true, m, units, count, mechanism)
        expected[m, 0], expected[m, 1], expected[m, 2], expected[m, 3] = x, price, best, told
        gains = best > 0.0 and best - told > min_gain * max(told, 0.0)  # whether bidding it is worth while
        _state(true, m, x, price, gains, mechanism, withheld_kw, markup, blocks)


@inline_kernel
def _best_quantity(true: Any, m: int, units: Any, count: int, mechanism: int) -> tuple[float, float, float, float]:
    """The quantity that pays best, the price of its dearest unit, and what it and the truth earn, $/h."""
    used = 0
    while used < true.shape[1] and true[m, used, 0] > 0.0:
        used += 1
    x, worth, k, j = 0.0, 0.0, 0, 0
    left_v = true[m, 0, 0] if used > 0 else 0.0
    left_r = units[0, 0] if count > 0 else 0.0
    best, best_x, best_price, price = 0.0, 0.0, 0.0, 0.0
    while True:
        while left_v <= 0.0 and k < used:
            k += 1
            if k < used:
                left_v = true[m, k, 0]
        while left_r <= 0.0 and j < count:
            j += 1
            if j < count:
                left_r = units[j, 0]
        if k >= used or j >= count or not true[m, k, 1] > units[j, 1]:
            break
        take, price = min(left_v, left_r), units[j, 1]
        x += take
        worth += take * true[m, k, 1]
        left_v -= take
        left_r -= take
        if worth - x * price > best:
            best, best_x, best_price = worth - x * price, x, price
    told = 0.0  # what the truth would earn: the price is the highest losing one, the site's own next block included
    if mechanism != PAY_AS_BID:
        if k < used:
            price = max(price, true[m, k, 1])
        told = worth - x * price
    return best_x, best_price, best, told


@inline_kernel
def _state(
    true: Any, m: int, x: float, price: float, gains: bool, mechanism: int, withheld_kw: float, markup: float, blocks: Any
) -> None:
    """Write the bid: the truth where nothing is to be gained."""
    asked = x - withheld_kw if mechanism != PAY_AS_BID and x > withheld_kw else x
    roof = price + markup if mechanism == PAY_AS_BID else math.inf
    floor = price - 1e-4 * abs(price)
    n = 0
    for k in range(true.shape[1]):
        quantity, value = true[m, k, 0], true[m, k, 1]
        if quantity <= 0.0:
            break
        if not gains:
            blocks[m, n, 0], blocks[m, n, 1] = quantity, value
            n += 1
            continue
        above = min(quantity, asked)
        asked -= above
        if above > 0.0:
            blocks[m, n, 0], blocks[m, n, 1] = above, min(value, roof)
            n += 1
        if quantity - above > 0.0:
            blocks[m, n, 0], blocks[m, n, 1] = quantity - above, min(value, floor)
            n += 1
