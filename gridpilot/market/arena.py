"""The arena: B markets of the same N sites, stepped together. Every environment, tournament and simulation runs this one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gridpilot.errors import MarketError
from gridpilot.market.auction import N_TOTALS, VOLUME
from gridpilot.market.bids import Bid
from gridpilot.market.clearing import PARALLEL_FROM, Mechanism, check_mechanism, check_reserve, check_supply
from gridpilot.market.encoding import MEAN, N_LEVELS, encode_parallel, encode_range, update_levels
from gridpilot.market.physics import N_OUTCOME
from gridpilot.market.publication import N_AUCTION, auction_result, supply_used
from gridpilot.market.site import Site, pack_sites
from gridpilot.market.step import NO_BID, OWN_CURVE, STATED_BLOCKS, Record, step_parallel, step_range

__all__ = ["Arena", "MarketRules", "Orders", "Scenario", "stored_value"]

FloatArray = npt.NDArray[np.float64]


class Scenario(NamedTuple):
    """What happens whatever the bidders do, for B markets over H ticks of history and T ticks of play."""

    prices: FloatArray  # (H + T, B, 3) energy $/kWh, hash $ per PH/s h, token $ per million
    ambient: FloatArray  # (H + T, B) degC
    capacity: FloatArray  # (H + T, B) share of the nominal capacity, [0, 1]
    start: npt.NDArray[np.int64]  # (B,) tick of the week of tick 0; Monday 00:00 is 0
    history: int  # H

    @property
    def ticks(self) -> int:
        """Ticks of play T."""
        return len(self.prices) - self.history

    @property
    def n_markets(self) -> int:
        """Number of markets B."""
        return int(self.prices.shape[1])


@dataclass(frozen=True)
class MarketRules:
    """How power is sold: ``supply`` lists (share of the tick's capacity, $/kWh over the energy price), cheapest first."""

    capacity_kw: float = 10_000.0  # kW, nominal
    supply: tuple[tuple[float, float], ...] = ((0.60, 0.00), (0.25, 0.01), (0.15, 0.03))
    mechanism: Mechanism = "vcg"
    reserve: float | None = None  # $/kWh
    curve_delay: int | None = 1  # ticks after which all bids of a tick are published without names; None: never

    def __post_init__(self) -> None:
        if not (math.isfinite(self.capacity_kw) and self.capacity_kw >= 0.0):
            raise MarketError(f"market: capacity_kw is {self.capacity_kw}, expected a finite number >= 0")
        check_supply(self.supply, where="market: supply")
        check_mechanism(self.mechanism)
        check_reserve(self.reserve)
        if self.curve_delay is not None and (
            isinstance(self.curve_delay, bool) or not isinstance(self.curve_delay, int) or self.curve_delay < 1
        ):
            raise MarketError(
                f"market: curve_delay is {self.curve_delay!r}, expected a whole number of ticks of at least 1, or None"
            )


class Orders(NamedTuple):
    """What every seat asks for in the coming tick; agents write into it. Persists from tick to tick."""

    kind: npt.NDArray[np.int8]  # (B, N) one of OWN_CURVE, SHADED_CURVE, STATED_BLOCKS, NO_BID
    storage_value: FloatArray  # (B, N) $/kWh; nan leaves the battery alone
    commitment: FloatArray  # (B, N, C) $/kWh >= 0; nan takes the default of gridpilot.market.physics.default_commitment
    shade: FloatArray  # (B, N, K) price of block k moves by shade x |price|
    blocks: (
        FloatArray  # (B, N, J, 2) kW, $/kWh, cut at what the plant can use; J grows with what is placed, or is what make_room says
    )

    def clear(self) -> None:
        """Every seat bids its true curve with default values and leaves its battery alone."""
        self.kind[:] = OWN_CURVE
        self.storage_value[:] = math.nan
        self.commitment[:] = math.nan
        self.shade[:] = 0.0
        self.blocks[:] = 0.0


class Arena:
    """B markets of N sites.

    ``start`` lays a :class:`Scenario` out and resets every plant; agents fill ``orders``; ``step`` clears, dispatches and settles tick
    ``tick`` of all markets. Results of the last step: ``outcome (B, N, N_OUTCOME)`` (columns in :mod:`gridpilot.market.physics`) and
    ``totals (B, N_TOTALS)`` (columns in :mod:`gridpilot.market.auction`, rates per hour); public results of all steps:
    ``cleared (T, B, 2)``, price $/kWh and volume kW. A seat whose order cannot be carried out (a nan, a rising price, an infinite storage
    value) got no bid, touched nobody else, and is marked in ``refused (B, N)``.
    """

    def __init__(self, sites: Sequence[Site], rules: MarketRules, n_markets: int = 1) -> None:
        if n_markets < 1:
            raise MarketError(f"arena: n_markets is {n_markets}, expected at least 1")
        self.sites = tuple(sites)
        self.rules = rules
        self.arrays = pack_sites(self.sites)
        b, n, c, k = n_markets, self.arrays.n_sites, self.arrays.n_classes, self.arrays.n_blocks
        self.orders = Orders(
            np.zeros((b, n), dtype=np.int8), np.empty((b, n)), np.empty((b, n, c)), np.zeros((b, n, k)), np.zeros((b, n, 0, 2))
        )  # fmt: skip
        self.orders.clear()
        self._room: int | None = None  # blocks that a seat may state; None: any number
        self.machine_kw = np.zeros((b, n, c))  # kW
        self.storage = np.zeros((b, n, 2))  # soc kWh, hall degC
        self.last_price = np.zeros(b)  # $/kWh
        self.levels = np.zeros((b, N_LEVELS))  # running price levels
        self.outcome = np.zeros((b, n, N_OUTCOME))
        self.totals = np.zeros((b, N_TOTALS))
        self.refused = np.zeros((b, n), dtype=np.bool_)
        self.auction = np.full((b, N_AUCTION), math.nan)  # public results of the last tick, where they are asked for
        self.supply_used = np.full(
            (b, len(rules.supply)), math.nan
        )  # kW of each step sold in the last tick, where they are asked for
        self._publishes = False
        self.gain = np.zeros((0, n))  # (B, N) $/h where gains are measured
        self._bids = np.zeros((0, b, n, 0, 2))  # (D, B, N, W, 2) of the last D ticks, where bids are kept
        self.tick = 0
        self._capacity_kw = rules.capacity_kw
        self._ladder = check_supply(rules.supply)
        self._reserve = check_reserve(rules.reserve)
        self._mechanism = check_mechanism(rules.mechanism)

    @property
    def n_markets(self) -> int:
        """Number of markets B."""
        return len(self.last_price)

    @property
    def n_sites(self) -> int:
        """Number of sites N."""
        return self.arrays.n_sites

    def start(self, scenario: Scenario) -> None:
        """Begin an episode: batteries at their start, halls at the lower of set point and ambient, machines off."""
        if scenario.n_markets != self.n_markets:
            raise MarketError(f"arena: the scenario has {scenario.n_markets} markets, expected {self.n_markets}")
        self.scenario = scenario
        self._ticks = scenario.ticks
        self.tick = 0
        h = scenario.history
        self.cleared = np.zeros((scenario.ticks, self.n_markets, 2))
        self.machine_kw[:] = 0.0
        self.storage[..., 0] = self.arrays.plant["soc_start"]
        self.storage[..., 1] = np.minimum(self.arrays.plant["set_point"], scenario.ambient[h][:, None])
        self.last_price[:] = scenario.prices[max(h - 1, 0), :, 0]
        self.outcome[:] = 0.0
        self.totals[:] = 0.0
        self.auction[:] = self.supply_used[:] = math.nan
        update_levels(scenario.prices[: h + 1], 0, self.levels)

    @property
    def done(self) -> bool:
        """Whether the scenario is played out."""
        return self.tick >= self._ticks

    def step(self) -> None:
        """Play one tick in all markets. Raises :class:`~gridpilot.errors.MarketError` after the last one."""
        if self.done:
            raise MarketError(f"arena: the scenario ends after {self.scenario.ticks} ticks; start another")
        now = self.scenario.history + self.tick
        changed = self.machine_kw, self.storage, self.last_price, self.levels, self.outcome, self.totals, self.refused
        self._step(*changed, Record(self.gain, self._bids_to_record()))
        self.cleared[self.tick, :, 0] = self.last_price
        self.cleared[self.tick, :, 1] = self.totals[:, 2]
        if self._publishes:
            energy = self.scenario.prices[now, :, 0]
            auction_result(self.totals, self.outcome, energy, self._ladder[:, 1], self._reserve, self.auction)
            capacity_kw = self._capacity_kw * self.scenario.capacity[now]
            supply_used(self.totals[:, VOLUME], capacity_kw, self._ladder[:, 0], self.supply_used)
        self.tick += 1
        if not self.done:
            update_levels(self.scenario.prices[now + 1 : now + 2], now + 1, self.levels)

    def _step(self, *changed: FloatArray | npt.NDArray[np.bool_] | Record) -> None:
        now = self.scenario.history + self.tick
        arguments = (
            *self.arrays, self._ladder, self._capacity_kw, self._reserve, self._mechanism,
            self.scenario.prices[now], self.scenario.ambient[now], self.scenario.capacity[now], *self.orders, *changed,
        )  # fmt: skip
        if self.n_markets < PARALLEL_FROM:
            step_range(0, self.n_markets, *arguments)
        else:
            step_parallel(numba.get_num_threads(), *arguments)

    def standing_bids(self) -> FloatArray:
        """The bids of the coming tick as the orders stand, ``(B, N, W, 2)`` kW and $/kWh, as they would be cleared; nothing is played."""
        bids = np.zeros((self.n_markets, self.n_sites, max(self.arrays.n_blocks, self.orders.blocks.shape[2]), 2))
        changed = self.machine_kw, self.storage, self.last_price, self.levels, self.outcome, self.totals, self.refused
        self._step(*(array.copy() for array in changed), Record(np.zeros((0, self.n_sites)), bids))
        return bids

    def measure_gains(self) -> None:
        """From now on write down in ``gain (B, N)``, $/h, what each seat's best response to the others' bids would have got more."""
        self.gain = np.zeros((self.n_markets, self.n_sites))

    def publish(self) -> None:
        """From now on work out what the market publishes.

        ``auction (B, N_AUCTION)``, ``supply_used (B, S)`` kW, and the bids that :meth:`published_bids` gives.
        """
        self._publishes = True
        if self.rules.curve_delay is not None:
            self.keep_bids(self.rules.curve_delay)

    def published_bids(self) -> FloatArray | None:
        """The newest bids that are public, ``(B, N, W, 2)``; ``None`` where there are none, or :meth:`publish` was not called."""
        return None if self.rules.curve_delay is None else self.bids_of(self.tick - self.rules.curve_delay)

    def keep_bids(self, ticks: int) -> None:
        """From now on keep the bids of so many ticks as they were cleared, for :meth:`bids_of`; of none unless somebody asks."""
        if ticks > len(self._bids):
            self._bids = np.zeros((ticks, *self._bids.shape[1:]))

    def bids_of(self, tick: int) -> FloatArray | None:
        """The bids of a tick as they were cleared, ``(B, N, W, 2)`` kW and $/kWh; ``None`` where they are not kept."""
        if not 0 <= self.tick - 1 - tick < len(self._bids) or tick < 0:
            return None
        bids: FloatArray = self._bids[tick % len(self._bids)]
        return bids

    def _bids_to_record(self) -> FloatArray:
        if not len(self._bids):
            return np.zeros((0, self.n_sites, 0, 2))
        width = max(self.arrays.n_blocks, self.orders.blocks.shape[2])
        if self._bids.shape[3] < width:
            bids = np.zeros((*self._bids.shape[:3], width, 2))
            bids[:, :, :, : self._bids.shape[3]] = self._bids
            self._bids = bids
        kept: FloatArray = self._bids[self.tick % len(self._bids)]
        return kept

    def encode(self, seats: npt.NDArray[np.int64], out: npt.NDArray[np.float32]) -> None:
        """Write the observation vectors of ``seats (B, S)`` to ``out (B, S, D)``; after the last tick, as of that tick."""
        now = self.scenario.history + min(self.tick, self._ticks - 1)
        arguments = (
            *self.arrays, self._capacity_kw, self.scenario.prices, self.scenario.ambient, self.scenario.capacity, now,
            self.scenario.start, self.scenario.history, self.levels, self.machine_kw, self.storage, self.last_price, self.totals,
            self.outcome, seats, out,
        )  # fmt: skip
        if self.n_markets < PARALLEL_FROM:
            encode_range(0, self.n_markets, *arguments)
        else:
            encode_parallel(numba.get_num_threads(), *arguments)

    def make_room(self, stated_blocks: int) -> None:
        """Give every seat room to state that many blocks, and no more. Orders that fit are kept."""
        self._room = stated_blocks
        self._resize(stated_blocks)

    def _resize(self, stated_blocks: int) -> None:
        before = self.orders.blocks
        blocks = np.zeros((*before.shape[:2], stated_blocks, 2))
        kept = min(stated_blocks, before.shape[2])
        blocks[:, :, :kept] = before[:, :, :kept]
        self.orders = self.orders._replace(blocks=blocks)

    def place(self, market: int, seat: int, bid: Bid | None) -> None:
        """Enter a stated bid for one seat; ``None`` is the zero bid. Without ``make_room`` there is room for any number of blocks.

        Raises :class:`MarketError` where it does not fit the plant, or the room.
        """
        orders = self.orders
        orders.storage_value[market, seat] = math.nan
        orders.commitment[market, seat] = math.nan
        if bid is None:
            orders.kind[market, seat] = NO_BID
            return
        if self._room is not None and len(bid.blocks) > self._room:
            raise MarketError(f"bid: {len(bid.blocks)} blocks, expected at most {self._room}")
        if bid.commitment_value is not None:
            classes = len(self.sites[seat].fleet)
            if len(bid.commitment_value) != classes:
                raise MarketError(
                    f"bid: commitment_value has {len(bid.commitment_value)} entries, expected {classes}, one a machine class"
                )
            orders.commitment[market, seat, :classes] = bid.commitment_value
        if bid.storage_value is not None:
            orders.storage_value[market, seat] = bid.storage_value
        if len(bid.blocks) > orders.blocks.shape[2]:
            self._resize(len(bid.blocks))
            orders = self.orders
        orders.kind[market, seat] = STATED_BLOCKS
        orders.blocks[market, seat] = 0.0
        orders.blocks[market, seat, : len(bid.blocks)] = bid.blocks


def stored_value(arena: Arena) -> FloatArray:
    """What the change of each battery's charge over the episode is worth, $, ``(B, N)``.

    A kWh stored is valued at the running mean of the energy price at the end, less the discharge loss: what an average kWh of the
    grid would cost that it can replace. Without it a rule that buys at night for the next evening would look worse than none at all,
    only because the episode ends at midnight.
    """
    plant = arena.arrays.plant
    price: FloatArray = arena.levels[:, MEAN]
    stored: FloatArray = (arena.storage[:, :, 0] - plant["soc_start"]) * plant["eta_d"] * price[:, None]
    return stored
