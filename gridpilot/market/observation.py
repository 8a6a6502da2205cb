"""What an agent sees before it bids, and what it is told afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.market.arena import Arena, MarketRules
from gridpilot.market.auction import N_TOTALS, VOLUME
from gridpilot.market.bids import Bid
from gridpilot.market.clearing import check_reserve, check_supply
from gridpilot.market.encoding import MEAN, N_LEVELS, encode_range, n_fields, update_levels
from gridpilot.market.physics import CHARGED, COOLING, DISCHARGED, DRAWN, MACHINES, N_OUTCOME, PAYMENT, PROFIT, REVENUE, WEAR, WON
from gridpilot.market.plant import SiteState, default_commitment_value, value_curve
from gridpilot.market.publication import N_AUCTION, rivals_curves
from gridpilot.market.published_encoding import encode_published, n_published
from gridpilot.market.site import Site, pack_sites
from gridpilot.market.units import DT, TICKS_PER_DAY, TICKS_PER_WEEK

__all__ = ["MarketInfo", "Observation", "Outcome", "observe", "outcome_of"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MarketInfo:
    """What an agent knows of its market before the first tick."""

    rules: MarketRules
    n_sites: int
    n_classes: int  # machine classes of the largest fleet: it sets the length of the observation vector
    seat: int  # which of the sites it plays
    ticks: int  # length of the episode


@dataclass(frozen=True)
class Outcome:
    """A site's own result of a tick, and the market's public one. Powers kW, money $ of the tick, prices $/kWh."""

    tick: int
    won_kw: float
    drawn_kw: float  # less than won_kw where more of it would have been worth less than giving it back
    machines_kw: float
    cooling_kw: float
    charged_kw: float
    discharged_kw: float
    revenue: float
    payment: float
    wear: float
    profit: float
    clearing_price: float
    volume_kw: float
    refused: str = ""  # why the bid was replaced by the zero bid; "" if it was not
    # What the auction publishes besides, in $/kWh; None where it does not, as on a live site.
    price_lo: float | None = None  # the highest losing price; -inf where nothing lost
    price_hi: float | None = None  # the lowest winning price; inf where nothing could win
    mean_price: float | None = None  # what all sites paid over what they won; nan where nothing was sold
    margin_is_bid: bool | None = None  # whether the highest losing price is that of a bid alone, not of a supply step
    supply_used_kw: tuple[float, ...] | None = None  # (S,) kW of each supply step that were sold, cheapest first


@dataclass(frozen=True)
class Observation:
    """What an agent sees at the start of a tick. Arrays are its own copies."""

    site: Site
    market: MarketInfo
    tick: int  # of the episode, from 0
    week_tick: int  # tick of the week, Monday 00:00 = 0
    history: FloatArray  # (h, 3) energy, hash, token prices, oldest first; the last row is this tick's
    ambient_c: float
    capacity_kw: float  # of the whole market, this tick
    capacity_hour_ago_kw: float
    state: SiteState
    cleared: FloatArray  # (tick, 2) clearing price $/kWh and volume kW of the episode's ticks so far
    last_price: float  # $/kWh, clearing price of the last tick (at tick 0 the last energy price)
    last: Outcome | None  # own outcome of the last tick
    # (k, 2) kW and $/kWh in descending price: the bids of `market.rules.curve_delay` ticks ago without names, less the site's own; None
    # where there are none yet, or they are not published
    rivals_curve: FloatArray | None = None

    @property
    def prices(self) -> FloatArray:
        """``(3,)`` energy, hash and token price of this tick."""
        prices: FloatArray = self.history[-1]
        return prices

    @property
    def hour(self) -> float:
        """Time of day, h in [0, 24)."""
        return self.week_tick % TICKS_PER_DAY * DT

    @property
    def weekday(self) -> int:
        """Day of the week, Monday = 0."""
        return self.week_tick // TICKS_PER_DAY

    @cached_property
    def levels(self) -> FloatArray:
        """Running price levels, ``(N_LEVELS,)``; columns in :mod:`gridpilot.market.encoding`."""
        levels = np.empty((1, N_LEVELS))
        update_levels(self.history[:, None, :], 0, levels)
        row: FloatArray = levels[0]
        return row

    def truthful_bid(
        self, storage_value: float | None = None, commitment_value: Any = None, shade: npt.ArrayLike | None = None
    ) -> Bid:
        """The site's own value curve as a bid, given its prices of time; ``shade`` moves block k's price by ``shade[k] x |price|``.

        ``storage_value`` in $/kWh stored (``None`` leaves the battery alone), ``commitment_value`` ``(C,)`` in $/kWh (``None`` takes the
        default). A shaded price that would rise above its predecessor's is held at it.
        """
        blocks = value_curve(
            self.site, self.state, self.prices, self.ambient_c, self.last_price, self.default_storage_value, storage_value, commitment_value
        )  # fmt: skip
        if shade is not None:
            factors = np.broadcast_to(np.asarray(shade, dtype=np.float64), max(len(blocks), np.size(shade)))[: len(blocks)]
            blocks[:, 1] = np.minimum.accumulate(blocks[:, 1] + factors * np.abs(blocks[:, 1]))
        return Bid(blocks, storage_value, commitment_value)

    @property
    def default_storage_value(self) -> float:
        """The running mean of the energy price, $/kWh."""
        return float(self.levels[MEAN])

    @property
    def default_commitment_value(self) -> FloatArray:
        """What a bid without commitment values takes, ``(C,)`` $/kWh."""
        return default_commitment_value(self.site, self.prices, self.ambient_c, self.last_price, self.default_storage_value)

    def to_vector(self, *, published: bool = False) -> npt.NDArray[np.float32]:
        """The flat, scale-free encoding, ``(D,)``; entries named by :func:`gridpilot.market.encoding.fields`.

        With ``published`` those of :func:`gridpilot.market.published_encoding.published_fields` follow: version 2 of the observation.
        """
        arrays = pack_sites([self.site], self.market.n_classes)
        machine_kw = np.zeros((1, 1, arrays.n_classes))
        machine_kw[0, 0, : len(self.state.machine_kw)] = self.state.machine_kw
        rows, nominal = len(self.history), self.market.rules.capacity_kw
        capacity = np.full((rows, 1), self.capacity_kw / nominal if nominal > 0 else 0.0)
        capacity[max(rows - 13, 0)] = self.capacity_hour_ago_kw / nominal if nominal > 0 else 0.0
        outcome, totals = np.zeros((1, 1, N_OUTCOME)), np.zeros((1, N_TOTALS))
        if self.last is not None:
            outcome[0, 0, WON], outcome[0, 0, DRAWN], outcome[0, 0, PAYMENT] = (
                self.last.won_kw,
                self.last.drawn_kw,
                self.last.payment,
            )
            totals[0, VOLUME] = self.last.volume_kw
        out = np.zeros((1, 1, n_fields(arrays.n_classes)), dtype=np.float32)
        encode_range(
            0, 1, *arrays, nominal, self.history[:, None, :], np.full((rows, 1), self.ambient_c), capacity, rows - 1,
            np.array([self.week_tick]), rows - 1, self.levels[None], machine_kw,
            np.array([[[self.state.soc_kwh, self.state.theta_c]]]), np.array([self.last_price]),
            totals, outcome, np.zeros((1, 1), dtype=np.int64), out,
        )  # fmt: skip
        vector: npt.NDArray[np.float32] = out[0, 0]
        return np.concatenate((vector, self._published())) if published else vector

    def _published(self) -> npt.NDArray[np.float32]:
        rules, last, n_steps = self.market.rules, self.last, len(self.market.rules.supply)
        auction, used = np.full((1, N_AUCTION), math.nan), np.full((1, n_steps), math.nan)
        if last is not None and last.price_lo is not None and last.supply_used_kw is not None:
            auction[0] = last.price_lo, last.price_hi, last.mean_price, last.margin_is_bid
            used[0] = last.supply_used_kw
        curve = np.zeros((0, 2)) if self.rivals_curve is None else self.rivals_curve
        out = np.empty((1, n_published(n_steps)), dtype=np.float32)
        encode_published(
            check_supply(rules.supply), check_reserve(rules.reserve), rules.capacity_kw, np.zeros(1, dtype=np.int64),
            np.array([self.site.grid_kw]), self.prices[:1].copy(), np.array([self.capacity_kw]), self.levels[None], auction, used,
            curve[None], out,
        )  # fmt: skip
        vector: npt.NDArray[np.float32] = out[0]
        return vector


def observe(
    arena: Arena, market: int, seat: int, *, refused: str = "", site: Site | None = None, rules: MarketRules | None = None
) -> Observation:
    """What the agent in ``seat`` of ``market`` sees at the arena's tick.

    ``refused`` is passed on in its last outcome; ``site`` and ``rules`` are shown in place of the arena's own, where given.
    """
    scenario, site, rules = arena.scenario, site or arena.sites[seat], rules or arena.rules
    now = scenario.history + arena.tick
    nominal = rules.capacity_kw
    return Observation(
        site=site,
        market=MarketInfo(rules, arena.n_sites, arena.arrays.n_classes, seat, scenario.ticks),
        tick=arena.tick,
        week_tick=int((scenario.start[market] + arena.tick) % TICKS_PER_WEEK),
        history=scenario.prices[: now + 1, market].copy(),
        ambient_c=float(scenario.ambient[now, market]),
        capacity_kw=float(scenario.capacity[now, market] * nominal),
        capacity_hour_ago_kw=float(scenario.capacity[max(now - 12, 0), market] * nominal),
        state=SiteState(
            float(arena.storage[market, seat, 0]), float(arena.storage[market, seat, 1]),
            arena.machine_kw[market, seat, : max(1, len(site.fleet))].copy(),
        ),
        cleared=arena.cleared[: arena.tick, market].copy(),
        last_price=float(arena.last_price[market]),
        last=outcome_of(arena, market, seat, refused=refused) if arena.tick else None,
        rivals_curve=_rivals_curve(arena, market, seat),
    )  # fmt: skip


def outcome_of(arena: Arena, market: int, seat: int, *, refused: str = "") -> Outcome:
    """The outcome of the tick just played, for the agent in ``seat`` of ``market``."""
    row = arena.outcome[market, seat].tolist()
    return Outcome(
        arena.tick - 1, row[WON], row[DRAWN], row[MACHINES], row[COOLING], row[CHARGED], row[DISCHARGED], row[REVENUE], row[PAYMENT],
        row[WEAR], row[PROFIT], float(arena.last_price[market]), float(arena.totals[market, 2]), refused, *_auction(arena, market),
    )  # fmt: skip


def _auction(arena: Arena, market: int) -> tuple[float | None, float | None, float | None, bool | None, tuple[float, ...] | None]:
    low, high, mean, bid = arena.auction[market].tolist()
    if math.isnan(low):
        return None, None, None, None, None
    return low, high, mean, bool(bid), tuple(arena.supply_used[market].tolist())


def _rivals_curve(arena: Arena, market: int, seat: int) -> FloatArray | None:
    bids = arena.published_bids()
    if bids is None:
        return None
    curve = np.empty((1, arena.n_sites * bids.shape[2], 2))
    rivals_curves(bids, np.array([market]), np.array([seat]), np.empty(arena.n_sites, dtype=np.int64), curve)
    seen: FloatArray = curve[0, curve[0, :, 0] > 0.0]
    return seen
