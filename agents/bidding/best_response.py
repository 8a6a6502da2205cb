"""The best response to what rivals bid when it was last made public."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.agents.bidding.base import BiddingRule
from gridpilot.agents.storage.base import Worth
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.arena import MarketRules
from gridpilot.market.auction import PAY_AS_BID, VCG, truncate_supply
from gridpilot.market.bids import Bid
from gridpilot.market.clearing import check_mechanism, check_reserve, check_supply
from gridpilot.market.compilation import inline_kernel, kernel
from gridpilot.market.encoding import MEAN
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.physics import N_CONTEXT, WON, build_curve, own_bid
from gridpilot.market.site import Site, SiteArrays, pack_sites
from gridpilot.market.step import STATED_BLOCKS

__all__ = ["BestResponse"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ROOM: Final = 32  # blocks it may state: those of the value curve, one of them cut in two


class BestResponse(BiddingRule):
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

    reads = (
        "storage", "machine_kw", "prices", "ambient_c", "capacity", "last_price", "levels", "cleared", "outcome", "rivals_curve",
    )  # fmt: skip
    writes = ("kind", "blocks")
    stated_blocks = ROOM

    def __init__(self, min_gain: float = 0.04, withheld_kw: float = 20.0, markup: float = 0.001) -> None:
        for name, value in (("min_gain", min_gain), ("withheld_kw", withheld_kw), ("markup", markup)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < math.inf:
                raise AgentError(f"best_response: {name} is {value!r}, expected a finite number >= 0")
        self.min_gain, self.withheld_kw, self.markup = float(min_gain), float(withheld_kw), float(markup)

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Take the market's rules in."""
        self._begin(market.rules, pack_sites([site], market.n_classes))

    def bid(self, observation: Observation, worth: Worth) -> Bid:
        """The best response, or the truth."""
        if self._mechanism == VCG:
            return observation.truthful_bid(*worth)
        arrays, state = self._arrays, observation.state
        machine_kw, commitment = np.zeros((1, arrays.n_classes)), np.full((1, arrays.n_classes), math.nan)
        machine_kw[0, : len(state.machine_kw)] = state.machine_kw
        if worth.commitment_value is not None:
            commitment[0, : len(worth.commitment_value)] = worth.commitment_value
        curve = np.zeros((1, 1, 2)) if observation.rivals_curve is None else observation.rivals_curve[None]
        last = observation.last
        blocks = np.zeros((1, ROOM, 2))
        self._respond(
            arrays, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.array([[state.soc_kwh, state.theta_c]]), machine_kw,
            observation.prices[None], np.array([observation.ambient_c]), np.array([observation.capacity_kw]),
            np.array([observation.last_price]), observation.levels[MEAN : MEAN + 1], curve,
            np.array([math.nan if last is None else last.volume_kw]), np.array([0.0 if last is None else last.won_kw]),
            np.array([math.nan if worth.storage_value is None else worth.storage_value]), commitment, blocks,
        )  # fmt: skip
        return Bid(blocks[0, blocks[0, :, 0] > 0.0], *worth)

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

    def reset_batch(self, view: View) -> None:
        """Take the market's rules in."""
        self._begin(view.rules, view.plants)
        if self._mechanism != VCG:
            view.orders.kind[:] = STATED_BLOCKS

    def bid_batch(self, view: View) -> None:
        """The best response, or the truth, in all seats."""
        if self._mechanism == VCG:
            return
        volume = view.cleared[-1, :, 1] if view.tick else np.full(view.n_markets, math.nan)
        orders = view.orders
        self._respond(
            view.plants, view.plant, view.market, view.storage, view.machine_kw, view.prices, view.ambient_c,
            view.capacity * self._capacity_kw, view.last_price, np.ascontiguousarray(view.levels[:, MEAN]), view.rivals_curve,
            np.ascontiguousarray(volume), np.ascontiguousarray(view.outcome[:, WON]), orders.storage_value, orders.commitment,
            orders.blocks,
        )  # fmt: skip

    def _begin(self, rules: MarketRules, arrays: SiteArrays) -> None:
        if arrays.n_blocks + 1 > ROOM:
            raise AgentError(f"best_response: a plant of {arrays.n_classes} machine classes, expected at most {(ROOM - 4) // 2}")
        self._arrays = arrays
        self._ladder, self._reserve = check_supply(rules.supply), check_reserve(rules.reserve)
        self._capacity_kw, self._mechanism = rules.capacity_kw, check_mechanism(rules.mechanism)
        self._delay = -1 if rules.curve_delay is None else rules.curve_delay
        self._expected = np.zeros((0, 4))

    def _respond(self, arrays: SiteArrays, site: IntArray, *arguments: Any) -> None:
        if len(self._expected) != len(site):
            self._expected = np.zeros((len(site), 4))
        _respond(
            *arrays,
            self._ladder,
            self._reserve,
            self._mechanism,
            self._delay,
            self.min_gain,
            self.withheld_kw,
            self.markup,
            site,
            *arguments,
            self._expected,
        )


@kernel
def _respond(
    plant: Any,  # (D,)
    class_kw: Any,  # (D, C)
    output: Any,
    product: Any,
    ladder: Any,  # (S, 2)
    reserve: float,
    mechanism: int,
    delay: int,  # ticks; -1: no curves
    min_gain: float,
    withheld_kw: float,
    markup: float,
    site: Any,  # (M,) row of plant
    market: Any,  # (M,) row of what follows
    storage: Any,  # (M, 2)
    machine_kw: Any,  # (M, C)
    prices: Any,  # (P, 3)
    ambient: Any,  # (P,)
    capacity_kw: Any,  # (P,)
    last_price: Any,  # (P,)
    mean_price: Any,  # (P,)
    curves: Any,  # (M, L, 2) the rivals' last public bids
    volume: Any,  # (P,) kW sold in the last tick; nan before the first
    won: Any,  # (M,) kW of it
    storage_value: Any,  # (M,)
    commitment: Any,  # (M, C)
    blocks: Any,  # (M, ROOM, 2), out
    expected: Any,  # (M, 4), out: kW of the best response, $/kWh it expects to pay, $/h of that and of the truth
) -> None:
    d, n_classes = class_kw.shape
    n_blocks = 2 * n_classes + 3
    curve_kw, curve_price = np.empty((d, n_blocks)), np.empty((d, n_blocks))
    tag, context = np.empty((d, n_blocks), dtype=np.int64), np.empty((d, N_CONTEXT))
    true_kw, true_price = np.empty((n_blocks, d)), np.empty((n_blocks, d))
    own_machines, own_storage, own_values = np.empty((1, d, n_classes)), np.empty((1, d, 2)), np.empty((1, d, n_classes))
    now = np.empty((1, 3))
    supply, steps = np.empty((1, len(ladder), 2)), np.empty((len(ladder) + 1, 4))
    rivals = np.empty((curves.shape[1] + 1, 2))
    units = np.empty((curves.shape[1] + len(ladder) + 1, 2))
    for m in range(len(site)):
        i, p = site[m], market[m]
        own_storage[0, i] = storage[m]
        own_machines[0, i] = machine_kw[m]
        own_values[0, i] = commitment[m]
        now[0] = prices[p]
        build_curve(
            plant, class_kw, output, product, i, own_machines, own_storage, now, 0, ambient[p], last_price[p], mean_price[p],
            storage_value[m], own_values, False, curve_kw, curve_price, tag, context,
        )  # fmt: skip
        used = own_bid(curve_kw, curve_price, context, i, plant[i].grid_kw, true_kw, true_price)
        for s in range(len(ladder)):
            supply[0, s, 0], supply[0, s, 1] = ladder[s, 0] * capacity_kw[p], now[0, 0] + ladder[s, 1]
        n_steps, total = truncate_supply(supply, 0, capacity_kw[p], reserve, steps)
        asked = _expect_rivals(curves, m, delay, last_price[p], volume[p] - won[m], rivals)
        count = _units_beyond(rivals, asked, steps, n_steps, total, units)
        x, price, best, told = _best_quantity(true_kw, true_price, i, used, units, count, mechanism)
        gains = best > 0.0 and best - told > min_gain * max(told, 0.0)
        expected[m, 0], expected[m, 1], expected[m, 2], expected[m, 3] = x, price, best, told
        _state(true_kw, true_price, i, used, x, price, gains, mechanism, withheld_kw, markup, blocks, m)


@inline_kernel
def _expect_rivals(curves: Any, m: int, delay: int, last_price: float, last_kw: float, rivals: Any) -> int:
    """Write what the rivals are expected to bid, in descending price; return the number of blocks."""
    asked, above = 0, 0.0
    while asked < curves.shape[1] and curves[m, asked, 0] > 0.0:
        rivals[asked, 0], rivals[asked, 1] = curves[m, asked, 0], curves[m, asked, 1]
        if rivals[asked, 1] >= last_price:
            above += rivals[asked, 0]
        asked += 1
    if asked == 0 and last_kw > 0.0:  # nothing is to be seen but the volume; nan before the first tick
        rivals[0, 0], rivals[0, 1] = last_kw, math.inf
        asked = 1
    elif delay > 1 and above > 0.0 and last_kw > 0.0:
        for k in range(asked):
            rivals[k, 0] *= last_kw / above
    return asked


@inline_kernel
def _units_beyond(rivals: Any, asked: int, steps: Any, n_steps: int, total: float, units: Any) -> int:
    """Write rivals' blocks and supply steps from position ``total`` upwards, cheapest first; return their number."""
    k, s, position, n = 0, n_steps - 1, 0.0, 0
    while position < total and (k < asked or s >= 0):
        if k < asked and (s < 0 or rivals[k, 1] >= steps[s, 1]):
            kw, price = rivals[k, 0], rivals[k, 1]
            k += 1
        else:
            kw, price = steps[s, 0], steps[s, 1]
            s -= 1
        units[n, 0], units[n, 1] = min(kw, total - position), price
        position += kw
        n += 1
    for j in range(n // 2):
        kw, price = units[j, 0], units[j, 1]
        units[j, 0], units[j, 1] = units[n - 1 - j, 0], units[n - 1 - j, 1]
        units[n - 1 - j, 0], units[n - 1 - j, 1] = kw, price
    return n


@inline_kernel
def _best_quantity(
    true_kw: Any, true_price: Any, i: int, used: int, units: Any, count: int, mechanism: int
) -> tuple[float, float, float, float]:
    """The quantity that pays best, kW, the price of its dearest unit, what that earns and what the truth would earn, $/h."""
    x, worth, k, j = 0.0, 0.0, 0, 0
    left_v = true_kw[0, i] if used > 0 else 0.0
    left_r = units[0, 0] if count > 0 else 0.0
    best, best_x, best_price, price = 0.0, 0.0, 0.0, 0.0
    while True:
        while left_v <= 0.0 and k < used:
            k += 1
            if k < used:
                left_v = true_kw[k, i]
        while left_r <= 0.0 and j < count:
            j += 1
            if j < count:
                left_r = units[j, 0]
        if k >= used or j >= count or not true_price[k, i] > units[j, 1]:
            break
        take, price = min(left_v, left_r), units[j, 1]
        x += take
        worth += take * true_price[k, i]
        left_v -= take
        left_r -= take
        if worth - x * price > best:
            best, best_x, best_price = worth - x * price, x, price
    told = 0.0  # what the truth would earn: the price is the highest losing one, the site's own next block included
    if mechanism != PAY_AS_BID:
        if k < used:
            price = max(price, true_price[k, i])
        told = worth - x * price
    return best_x, best_price, best, told


@inline_kernel
def _state(
    true_kw: Any, true_price: Any, i: int, used: int, x: float, price: float, gains: bool, mechanism: int, withheld_kw: float,
    markup: float, blocks: Any, m: int,
) -> None:  # fmt: skip
    """Write the bid: the truth where nothing is to be gained."""
    blocks[m] = 0.0
    asked = x - withheld_kw if mechanism != PAY_AS_BID and x > withheld_kw else x
    roof = price + markup if mechanism == PAY_AS_BID else math.inf
    floor = price - 1e-4 * abs(price)
    n = 0
    for k in range(used):
        quantity, value = true_kw[k, i], true_price[k, i]
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
