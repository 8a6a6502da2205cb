"""An equilibrium of the tick, worked out from what is believed of the other sites."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.agents.bidding.residual import payoff, units_beyond
from gridpilot.agents.bidding.stated import FloatArray, Situation, StatedRule, true_blocks
from gridpilot.configuration import validate
from gridpilot.errors import AgentError
from gridpilot.market.arena import MarketRules
from gridpilot.market.auction import truncate_supply
from gridpilot.market.compilation import inline_kernel, kernel
from gridpilot.market.random import seed_streams, uniform
from gridpilot.market.site import SiteArrays, pack_sites
from gridpilot.setup import MarketConfig, load_preset

__all__ = ["Nash"]

IntArray = npt.NDArray[np.int64]

FACTORS: Final = np.array((1.0, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3))  # of its value that a site may bid


class Nash(StatedRule):
    """Bids its part of an equilibrium in discounts: each site bids a factor of its value curve, the same for all of its blocks.

    The game is solved by iterated best responses with damping: in each of ``rounds`` every site moves ``step`` of the way to the factor
    that pays best against the others' present ones. Where that comes to rest it is an equilibrium within the grid of factors. Where it
    does not, as under pay-as-bid, where discounts chase each other and no pure equilibrium need exist, the site draws among its best
    responses of the second half of the rounds.

    It assumes that the other sites are those of the market ``market`` (their fleets are public), all of whose machines run at the
    tick's prices, whose halls are at their set points and whose batteries stand idle. Its own curve it knows. What rivals bid is not
    looked at.
    """

    name = "nash"
    reads = (
        "storage",
        "machine_kw",
        "prices",
        "ambient_c",
        "capacity",
        "last_price",
        "levels",
        "cleared",
        "outcome",
        "rivals_curve",
    )

    def __init__(self, market: str = "default", rounds: int = 12, step: float = 0.5) -> None:
        if isinstance(rounds, bool) or not isinstance(rounds, int) or not 1 <= rounds <= 1000:
            raise AgentError(f"nash: rounds is {rounds!r}, expected a whole number from 1 to 1000")
        if isinstance(step, bool) or not isinstance(step, int | float) or not 0.0 < step <= 1.0:
            raise AgentError(f"nash: step is {step!r}, expected a number above 0 and at most 1")
        self.market, self.rounds, self.step = market, rounds, float(step)
        self.sites = validate(MarketConfig, load_preset("market", market), f"nash: market {market}").build_sites()

    def begin(self, rules: MarketRules, n_sites: int, seeds: npt.NDArray[np.uint64], arrays: SiteArrays, plant: IntArray) -> None:
        """Take the market's rules in, and which of the believed sites each seat is itself."""
        super().begin(rules, n_sites, seeds, arrays, plant)
        believed = pack_sites(self.sites, max(arrays.n_classes, *(len(site.fleet) for site in self.sites)))
        own = [_same(believed, arrays, int(row)) for row in plant]
        count = min(n_sites, len(self.sites)) - 1
        rivals = np.array([[i for i in range(len(self.sites)) if i != mine][:count] for mine in own], dtype=np.int64)
        self._rivals = rivals.reshape(len(own), count)
        self._believed = believed
        self._streams = np.empty((len(seeds), 4), dtype=np.uint64)
        seed_streams(seeds, self._streams)

    def respond(self, now: Situation, blocks: FloatArray) -> None:
        """The seat's part of the equilibrium."""
        n, markets = len(self.sites), len(now.prices)
        site, market = np.tile(np.arange(n), markets), np.repeat(np.arange(markets), n)
        hall = np.stack([self._believed.plant["soc_start"], self._believed.plant["set_point"]], axis=-1)
        idle, usual = np.full(n * markets, math.nan), np.full((n * markets, self._believed.n_classes), math.nan)
        rivals = true_blocks(
            self._believed, site, market, hall[site], self._believed.class_kw[site], now.prices, now.ambient_c, now.last_price,
            now.mean_price, idle, usual,
        )  # fmt: skip
        _solve(
            self.ladder, self.reserve, self.mechanism, FACTORS, self.rounds, self.step, now.true, now.market, now.prices,
            now.capacity_kw, rivals, n, self._rivals, self._streams, blocks,
        )  # fmt: skip


@kernel
def _solve(
    ladder: Any,  # (S, 2)
    reserve: float,
    mechanism: int,
    factors: Any,  # (F,)
    rounds: int,
    step: float,
    own: Any,  # (M, K, 2) true blocks
    market: Any,  # (M,)
    prices: Any,  # (P, 3)
    capacity_kw: Any,  # (P,)
    rivals: Any,  # (P n_believed, L, 2) true blocks
    n_believed: int,
    who: Any,  # (M, R) believed sites that are a seat's rivals
    streams: Any,  # (M, 4)
    blocks: Any,  # (M, ROOM, 2), out
) -> None:
    n, width = who.shape[1] + 1, max(own.shape[1], rivals.shape[1])
    supply, steps = np.empty((1, len(ladder), 2)), np.empty((len(ladder) + 1, 4))
    true, others = np.zeros((n, width, 2)), np.empty((n * width + 1, 2))
    units = np.empty((n * width + len(ladder) + 1, 2))
    bid_price, head = np.empty(width), np.empty(n, dtype=np.int64)
    played, best = np.empty(n), np.empty(n)
    mine = np.empty(rounds)
    for m in range(len(market)):
        p = market[m]
        for s in range(len(ladder)):
            supply[0, s, 0], supply[0, s, 1] = ladder[s, 0] * capacity_kw[p], prices[p, 0] + ladder[s, 1]
        n_steps, total = truncate_supply(supply, 0, capacity_kw[p], reserve, steps)
        true[:] = 0.0
        true[0, : own.shape[1]] = own[m]
        for j in range(n - 1):
            true[j + 1, : rivals.shape[1]] = rivals[p * n_believed + who[m, j]]
        played[:] = 1.0
        for r in range(rounds):
            for i in range(n):
                asked = _others(true, i, played, head, others)
                count = units_beyond(others, asked, steps, n_steps, total, units)
                best[i] = _best_factor(true, i, factors, bid_price, units, count, mechanism)
            mine[r] = best[0]
            for i in range(n):
                played[i] += step * (best[i] - played[i])
        half = rounds // 2
        factor = mine[half + min(int(uniform(streams[m]) * (rounds - half)), rounds - half - 1)]
        for k in range(own.shape[1]):
            if own[m, k, 0] <= 0.0:
                break
            blocks[m, k, 0], blocks[m, k, 1] = own[m, k, 0], _discounted(own[m, k, 1], factor)


@inline_kernel
def _discounted(value: float, factor: float) -> float:
    return value - (1.0 - factor) * abs(value)


@inline_kernel
def _others(true: Any, i: int, played: Any, head: Any, others: Any) -> int:
    """Write the discounted blocks of all sites but i in descending price; return their number."""
    n, used = len(head), 0
    for j in range(n):
        head[j] = 0
    while used < len(others):
        first, top = -1, -math.inf
        for j in range(n):
            if j != i and head[j] < true.shape[1] and true[j, head[j], 0] > 0.0:
                price = _discounted(true[j, head[j], 1], played[j])
                if price > top:
                    first, top = j, price
        if first < 0:
            break
        others[used, 0], others[used, 1] = true[first, head[first], 0], top
        head[first] += 1
        used += 1
    return used


@inline_kernel
def _best_factor(true: Any, i: int, factors: Any, bid_price: Any, units: Any, count: int, mechanism: int) -> float:
    """The factor that pays best; of equals the first."""
    best, most = 1.0, -math.inf
    for f in range(len(factors)):
        for k in range(true.shape[1]):
            bid_price[k] = _discounted(true[i, k, 1], factors[f])
        earned = payoff(true, i, bid_price, units, count, mechanism)
        if earned > most:
            best, most = float(factors[f]), earned
    return best


def _same(believed: SiteArrays, own: SiteArrays, row: int) -> int:
    """The believed site that is the own one; -1 where there is none."""
    classes = own.n_classes
    for i in range(len(believed.plant)):
        alike = believed.plant[i] == own.plant[row]
        for name in ("class_kw", "output", "product"):
            there, here = getattr(believed, name)[i], getattr(own, name)[row]
            alike = alike and np.array_equal(there[:classes], here) and not there[classes:].any()
        if alike:
            return i
    return -1
