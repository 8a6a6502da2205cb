"""Bidding rules that state blocks: what all of them know of a tick, seat by seat or for many seats, is worked out here."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.agents.bidding.base import BiddingRule
from gridpilot.agents.storage.base import Worth
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.arena import MarketRules
from gridpilot.market.auction import VCG
from gridpilot.market.bids import Bid
from gridpilot.market.clearing import check_mechanism, check_reserve, check_supply
from gridpilot.market.compilation import kernel
from gridpilot.market.encoding import MEAN
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.physics import N_CONTEXT, WON, build_curve, own_bid
from gridpilot.market.site import Site, SiteArrays, pack_sites
from gridpilot.market.step import STATED_BLOCKS

__all__ = ["ROOM", "Situation", "StatedRule", "true_blocks"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ROOM: Final = 32  # blocks that may be stated: those of the value curve, one of them cut in two


class Situation(NamedTuple):
    """A tick as M seats in P markets see it."""

    true: FloatArray  # (M, K, 2) kW and $/kWh, the seat's value curve in descending price; 0 kW behind the last block
    market: IntArray  # (M,) row of what has P rows
    seed: npt.NDArray[np.uint64]  # (M,)
    tick: int
    prices: FloatArray  # (P, 3) energy $/kWh, hash and token prices
    ambient_c: FloatArray  # (P,)
    capacity_kw: FloatArray  # (P,)
    last_price: FloatArray  # (P,) $/kWh
    mean_price: FloatArray  # (P,) $/kWh, running mean of the energy price
    volume: FloatArray  # (P,) kW sold in the last tick; nan before the first
    won: FloatArray  # (M,) kW of it
    curves: FloatArray  # (M, L, 2) the rivals' last public bids, see View.rivals_curve


class StatedRule(BiddingRule):
    """A rule that makes blocks of the value curve and of what is public. Under VCG it bids the truth, which is a best response there.

    A subclass says what is bid in :meth:`respond`, once for one seat and for many.
    """

    reads: Sequence[str] = (
        "storage", "machine_kw", "prices", "ambient_c", "capacity", "last_price", "levels", "cleared", "outcome", "rivals_curve",
    )  # fmt: skip
    writes = ("kind", "blocks")
    stated_blocks = ROOM
    name: ClassVar[str] = "stated"

    def begin(self, rules: MarketRules, n_sites: int, seeds: npt.NDArray[np.uint64], arrays: SiteArrays, plant: IntArray) -> None:
        """Take the market's rules in; ``plant (M,)`` is each seat's row of ``arrays``."""
        if arrays.n_blocks + 1 > ROOM:
            raise AgentError(f"{self.name}: a plant of {arrays.n_classes} machine classes, expected at most {(ROOM - 4) // 2}")
        self.arrays, self.plant, self.seeds, self.n_sites = arrays, plant, seeds, n_sites
        self.ladder, self.reserve = check_supply(rules.supply), check_reserve(rules.reserve)
        self.capacity_kw, self.mechanism = rules.capacity_kw, check_mechanism(rules.mechanism)
        self.delay = -1 if rules.curve_delay is None else rules.curve_delay

    @abstractmethod
    def respond(self, now: Situation, blocks: FloatArray) -> None:
        """Write the bids of a tick to ``blocks (M, ROOM, 2)``, which are zeros: kW and $/kWh, prices non-increasing. Never under VCG."""

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Take the market's rules in."""
        arrays, first = pack_sites([site], market.n_classes), np.zeros(1, dtype=np.int64)
        self.begin(market.rules, market.n_sites, np.array([seed], dtype=np.uint64), arrays, first)

    def bid(self, observation: Observation, worth: Worth) -> Bid:
        """What the rule makes of the seat's value curve."""
        if self.mechanism == VCG:
            return observation.truthful_bid(*worth)
        state, last = observation.state, observation.last
        machine_kw, commitment = np.zeros((1, self.arrays.n_classes)), np.full((1, self.arrays.n_classes), math.nan)
        machine_kw[0, : len(state.machine_kw)] = state.machine_kw
        if worth.commitment_value is not None:
            commitment[0, : len(worth.commitment_value)] = worth.commitment_value
        public = np.array([observation.last_price]), observation.levels[MEAN : MEAN + 1]
        market, blocks = np.zeros(1, dtype=np.int64), np.zeros((1, ROOM, 2))
        true = self._true(
            market, np.array([[state.soc_kwh, state.theta_c]]), machine_kw, observation.prices[None],
            np.array([observation.ambient_c]), *public,
            np.array([math.nan if worth.storage_value is None else worth.storage_value]), commitment,
        )  # fmt: skip
        curve = np.zeros((1, 1, 2)) if observation.rivals_curve is None else observation.rivals_curve[None]
        self.respond(
            Situation(
                true, market, self.seeds, observation.tick, observation.prices[None],
                np.array([observation.ambient_c]), np.array([observation.capacity_kw]), *public,
                np.array([math.nan if last is None else last.volume_kw]), np.array([0.0 if last is None else last.won_kw]), curve,
            ),
            blocks,
        )  # fmt: skip
        return Bid(blocks[0, blocks[0, :, 0] > 0.0], *worth)

    def seen(self, view: View) -> FloatArray:
        """What it goes by of the rivals' bids, ``(M, L, 2)``."""
        return view.rivals_curve

    def reset_batch(self, view: View) -> None:
        """Take the market's rules in."""
        self.begin(view.rules, view.n_sites, view.seed, view.plants, view.plant)
        if self.mechanism != VCG:
            view.orders.kind[:] = STATED_BLOCKS

    def bid_batch(self, view: View) -> None:
        """What the rule makes of the value curves of all seats."""
        if self.mechanism == VCG:
            return
        orders, mean_price = view.orders, np.ascontiguousarray(view.levels[:, MEAN])
        true = self._true(
            view.market, view.storage, view.machine_kw, view.prices, view.ambient_c, view.last_price, mean_price,
            orders.storage_value, orders.commitment,
        )  # fmt: skip
        volume = np.ascontiguousarray(view.cleared[-1, :, 1]) if view.tick else np.full(view.n_markets, math.nan)
        orders.blocks[:] = 0.0
        self.respond(
            Situation(
                true, view.market, view.seed, view.tick, view.prices, view.ambient_c,
                view.capacity * self.capacity_kw,
                view.last_price, mean_price, volume, np.ascontiguousarray(view.outcome[:, WON]), self.seen(view),
            ),
            orders.blocks,
        )  # fmt: skip

    def _true(self, *arguments: Any) -> FloatArray:
        return true_blocks(self.arrays, self.plant, *arguments)


def true_blocks(arrays: SiteArrays, site: IntArray, *arguments: Any) -> FloatArray:
    """Value curves ``(M, K, 2)`` of ``site (M,)``, rows of ``arrays``; the arguments are those of the kernel below."""
    true = np.zeros((len(site), arrays.n_blocks, 2))
    _true_blocks(*arrays, site, *arguments, true)
    return true


@kernel
def _true_blocks(
    plant: Any,  # (D,)
    class_kw: Any,  # (D, C)
    output: Any,
    product: Any,
    site: Any,  # (M,) row of plant
    market: Any,  # (M,) row of what follows
    storage: Any,  # (M, 2)
    machine_kw: Any,  # (M, C)
    prices: Any,  # (P, 3)
    ambient: Any,  # (P,)
    last_price: Any,  # (P,)
    mean_price: Any,  # (P,)
    storage_value: Any,  # (M,)
    commitment: Any,  # (M, C)
    true: Any,  # (M, K, 2), out
) -> None:
    d, n_classes = class_kw.shape
    n_blocks = 2 * n_classes + 3
    curve_kw, curve_price = np.empty((d, n_blocks)), np.empty((d, n_blocks))
    tag, context = np.empty((d, n_blocks), dtype=np.int64), np.empty((d, N_CONTEXT))
    true_kw, true_price = np.empty((n_blocks, d)), np.empty((n_blocks, d))
    own_machines, own_storage, own_values = np.empty((1, d, n_classes)), np.empty((1, d, 2)), np.empty((1, d, n_classes))
    now = np.empty((1, 3))
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
        for k in range(used):
            true[m, k, 0], true[m, k, 1] = true_kw[k, i], true_price[k, i]
