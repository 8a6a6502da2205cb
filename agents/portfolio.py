"""The portfolio bidder: shares its connection out among mining, inference and storing by risk and return."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.agents.base import Agent, generator
from gridpilot.errors import AgentError, MissingExtraError, RiskError
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.site import PRODUCTS, Site
from gridpilot.market.units import DT, TICKS_PER_DAY, TICKS_PER_HOUR
from gridpilot.risk.allocation import Allocator, Method
from gridpilot.risk.bootstrap import block_rows

__all__ = ["LINES", "Portfolio"]

FloatArray = npt.NDArray[np.float64]

LINES: Final = (*PRODUCTS, "stored")  # what power can be used for; the rest stands idle
STORED: Final = LINES.index("stored")

# How much of a tick's deviation is left after another one: of the energy price from its pattern, and of what scarcity adds to it, which
# comes from the connection's capacity and the other sites and lasts for hours.
ENERGY_DECAY: Final = 0.9
PREMIUM_DECAY: Final = 0.99
# Share of what its machines earn that a discharged kWh can save at most. At 1 it would tie with stopping them, and never be used.
MOST_SAVED: Final = 0.9
LEVELS: Final = 13  # of the state of charge at which a stored kWh is valued


class Portfolio(Agent):
    """Bids truthfully within an allocation of its power to product lines, and values its battery over scenarios.

    Scenarios of what power, hash and tokens will cost over the next day, or until the episode ends if that is sooner, come from recent
    history by a block bootstrap. Every hour they give the worth of a stored kWh at each state of charge: that of the best ticks still to
    come, as many as it takes to discharge what is stored before it, and never less than the energy price has been on average, at which
    what is left at the end of an episode is counted. Every ``refresh`` ticks they give
    what a kW of each line would earn until the next refresh, and ``method`` (:mod:`gridpilot.risk.allocation`) shares the connection
    out. Where the lines together want more than what is allotted to all, none of them asks for more than its own allotment and what the
    others leave of theirs; what is left idle stays idle. Within the power it wins the plant still serves its best uses first.

    ``method``         risk_parity, mean_variance, min_cvar, or hierarchical, which needs the extra ``forecast``
    ``risk_aversion``  >= 0, how much risk counts: against the mean, half the variance relative to the greatest mean (mean_variance) or
                       the CVaR (min_cvar); the parities have no use for it
    ``alpha``          confidence level of min_cvar, in [0, 1)
    ``refresh``        ticks between allocations, >= 1
    ``scenarios``      >= 2
    """

    def __init__(
        self, method: Method = "risk_parity", risk_aversion: float = 1.0, alpha: float = 0.9, refresh: int = 36, scenarios: int = 24
    ) -> None:
        for name, value, least in (("refresh", refresh, 1), ("scenarios", scenarios, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise AgentError(f"portfolio: {name} is {value!r}, expected a whole number of at least {least}")
        self._convex = method in ("mean_variance", "min_cvar")
        try:
            Allocator("min_cvar", risk_aversion=risk_aversion, alpha=alpha)  # in range, whether the method needs them or not
            self._allocator = Allocator(method, risk_aversion=risk_aversion if self._convex else None, alpha=alpha)
        except MissingExtraError:
            raise
        except RiskError as error:
            raise AgentError(f"portfolio: {error}") from error
        self.risk_aversion, self.refresh, self.scenarios = float(risk_aversion), refresh, scenarios
        self.allotted_kw: FloatArray | None = None  # (3,) by LINES, of draw; None where all can have what they ask for
        self.notes: tuple[str, ...] = ()  # allocations that failed in this episode; the one before stays in force

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Forget everything, and compile what the first allocation would otherwise wait for."""
        self._site, self._generator = site, generator(seed)
        self._classes = [
            (PRODUCTS.index(machines.product), machines.capacity_kw, machines.output / machines.unit_kw) for machines in site.fleet
        ]
        self.allotted_kw, self.notes = None, ()
        self._plants: dict[tuple[int, ...], Site] = {}  # by the machines in use; until the next allocation
        self._soc, self._worth = np.zeros(LEVELS), np.zeros(LEVELS)
        try:
            caps = self._caps(1.0)
            self._allocator.risk_aversion = 1.0
            self._allocator.allocate(np.linspace(0.1, 0.3, 3 * self.scenarios).reshape(-1, 3) % 0.2, caps, 0.5 * float(caps.sum()))
        except RiskError:
            self._allocator.attempts = ()  # it was made up; a real one that fails is noted

    def bid(self, observation: Observation) -> Bid:
        """The value curve at the scenarios' storage value, with lines that compete cut to their allotments."""
        if not np.isfinite(observation.prices).all():
            return Bid([])  # nothing is known of what a kW is worth now
        allocate, value = observation.tick % self.refresh == 0, observation.tick % TICKS_PER_HOUR == 0
        if allocate or value:
            known = dataclasses.replace(observation, history=_held(observation.history))
            paths = self._paths(known)
            by_scenario = self._value_storage(known, paths)
            if allocate:
                self._allocate(known, paths, by_scenario)
        battery = observation.site.battery
        if battery.power_kw * battery.energy_kwh > 0.0:
            storage_value = float(np.interp(observation.state.soc_kwh, self._soc, self._worth))
        else:
            storage_value = None
        bid = observation.truthful_bid(storage_value)
        if self.allotted_kw is None:
            return bid
        # Blocks that offer less than power is likely to cost do not win, so they compete with nothing.
        served = bid.blocks[:, 0] @ (bid.blocks[:, 1] >= _likely_price(observation))
        if served < min(float(self.allotted_kw.sum()), observation.site.grid_kw) * (1 - 1e-9):
            return bid
        return self._share(observation, bid, self.allotted_kw)

    def _paths(self, observation: Observation) -> FloatArray:
        """Scenarios ``(S, H, 4)`` of this tick and those to come: energy price, price of power, hash, token."""
        history = observation.history
        rows, known = len(history), len(observation.cleared)
        premium = np.zeros(rows)
        if known:
            first = max(rows - 1 - known, 0)
            paid = observation.cleared[known - (rows - 1 - first) :, 0]
            energy_then = history[first : rows - 1, 0]
            premium[first : rows - 1] = np.maximum(np.where(np.isfinite(paid), paid, energy_then) - energy_then, 0.0)
        horizon = min(TICKS_PER_DAY, max(observation.market.ticks - observation.tick, 1))
        drawn = block_rows(
            rows,
            horizon,
            self.scenarios,
            block=TICKS_PER_HOUR,
            period=TICKS_PER_DAY,
            jitter=TICKS_PER_HOUR,
            generator=self._generator,
        )
        ahead = np.arange(horizon)
        paths = np.empty((self.scenarios, horizon, 4))
        energy = history[drawn, 0]
        paths[..., 0] = energy + (history[-1, 0] - energy[:, :1]) * ENERGY_DECAY**ahead
        latest = premium[-2] if rows > 1 else 0.0
        paths[..., 1] = paths[..., 0] + premium[drawn] + (latest - premium[drawn[:, :1]]) * PREMIUM_DECAY**ahead
        growth = np.zeros((rows, 2))
        growth[1:] = np.clip(np.diff(np.log(np.maximum(history[:, 1:], 1e-12)), axis=0), -0.2, 0.2)
        steps = growth[drawn]
        steps[:, 0] = 0.0
        paths[..., 2:] = history[-1, 1:] * np.exp(np.clip(np.cumsum(steps, axis=1), -2.0, 2.0))
        return paths

    def _value_storage(self, observation: Observation, paths: FloatArray) -> FloatArray:
        """Set what a stored kWh is worth at each level of charge; return that of the middle one by scenario, ``(S,)``."""
        battery, m = observation.site.battery, _draw_per_kw(observation)
        low, high = battery.soc_min * battery.energy_kwh, battery.soc_max * battery.energy_kwh
        self._soc = np.linspace(low, high, LEVELS)
        machine_kw = sum(kw for _, kw, _ in self._classes)
        rate = min(battery.power_kw, machine_kw) * DT  # kWh a tick
        worth = np.zeros((len(paths), LEVELS))
        if rate > 0.0:
            # A discharged kWh saves the price of power, but never more than the machines it runs earn: above that they would rather stop.
            earned = sum(kw * output * paths[..., 2 + product] for product, kw, output in self._classes) / (machine_kw * m)
            most = MOST_SAVED * np.asarray(earned)
            saved = -np.sort(-np.minimum(paths[:, 1:, 1], most[:, 1:]), axis=1)
            # What is left at the end displaces an average kWh.
            kept = np.minimum(observation.default_storage_value, most[:, -1:])
            tick = ((self._soc - low) * battery.discharge_efficiency / rate).astype(np.int64)
            sold = np.column_stack([saved - battery.wear_cost, np.full(len(paths), -np.inf)])[:, np.minimum(tick, saved.shape[1])]
            worth = battery.discharge_efficiency * np.maximum(sold, kept)
        self._worth = worth.mean(axis=0)
        middle: FloatArray = worth[:, LEVELS // 2]
        return middle

    def _allocate(self, observation: Observation, paths: FloatArray, worth: FloatArray) -> None:
        """Share the connection out until the next refresh; ``worth (S,)`` is that of a kWh in the half-full battery."""
        m, until, battery = _draw_per_kw(observation), min(self.refresh, paths.shape[1]), observation.site.battery
        power = paths[:, :until, 1]
        profits = np.zeros((self.scenarios, len(LINES)))
        caps, machine_kw = self._caps(m), np.zeros(len(LINES))
        for product, kw, _ in self._classes:
            machine_kw[product] += kw
        for product, kw, output in self._classes:
            if kw > 0.0:
                # Machines stop where power costs more than they earn: that is what the bid's prices are for.
                earned = np.maximum(output * paths[:, :until, 2 + product] / m - power, 0.0).sum(axis=1) * DT
                profits[:, product] += earned * kw / machine_kw[product]
        # Charging is decided by the worth expected, and pays by that of the scenario.
        eta, expected = battery.charge_efficiency, float(worth.mean())
        charging = power < eta * expected - battery.wear_cost
        charging &= np.cumsum(charging, axis=1) * eta * battery.power_kw * DT <= battery.energy_kwh
        gained = np.where(charging, eta * worth[:, None] - battery.wear_cost - power, 0.0)
        profits[:, STORED] = gained.sum(axis=1) * DT
        total = min(observation.site.grid_kw, float(caps.sum()))
        if self._convex:
            best = float(np.maximum(profits.mean(axis=0), 0.0) @ np.minimum(caps, total))
            relative = self._allocator.method == "mean_variance"
            self._allocator.risk_aversion = self.risk_aversion / best if relative and best > 0.0 else self.risk_aversion
        try:
            allotted = self._allocator.allocate(profits, caps, total)
        except RiskError as error:
            self.notes = (*self.notes, f"tick {observation.tick}: {error}")
            return
        self._plants.clear()
        self.allotted_kw = None if (allotted >= caps * (1 - 1e-9)).all() else allotted

    def _caps(self, m: float) -> FloatArray:
        """The most each line can draw, ``(3,)`` kW, where a kW of machines draws ``m`` with its cooling."""
        caps = np.zeros(len(LINES))
        for product, kw, _ in self._classes:
            caps[product] += m * kw
        battery = self._site.battery
        caps[STORED] = battery.power_kw if battery.energy_kwh > 0.0 else 0.0
        return np.minimum(caps, self._site.grid_kw)

    def _share(self, observation: Observation, bid: Bid, allotted: FloatArray) -> Bid:
        """Bid for no more than is allotted to all lines, and for each no more than its own and what the others leave."""
        site, m, state, price = observation.site, _draw_per_kw(observation), observation.state, _likely_price(observation)
        wanted = np.zeros(len(LINES))
        for (product, kw, output), running in zip(self._classes, state.machine_kw, strict=False):
            if output * observation.prices[1 + product] >= price * m:
                wanted[product] += m * min(kw, running + site.ramp_up_kw)
        charge_price = self._charge_price(bid)
        if charge_price >= price:
            wanted[STORED] = bid.blocks[bid.blocks[:, 1] == charge_price, 0].sum()
        total, used = float(allotted.sum()), np.minimum(wanted, allotted)
        limit = np.maximum(allotted, total - (used.sum() - used))
        if (wanted[:STORED] > limit[:STORED]).any():
            plant = self._plant(limit[:STORED] / m, observation)
            bid = dataclasses.replace(observation, site=plant).truthful_bid(bid.storage_value)
        blocks, left, charge_left = [], total, float(limit[STORED])
        for kw, offer in bid.blocks.tolist():
            take = min(kw, left, charge_left) if offer == charge_price else min(kw, left)
            charge_left -= take if offer == charge_price else 0.0
            left -= take
            if take > 0.0:
                blocks.append((take, offer))
        return Bid(blocks, bid.storage_value, bid.commitment_value)

    def _charge_price(self, bid: Bid) -> float:
        """What the bid's block of charging offers, $/kWh, as the plant computes it; nan where the battery stands idle."""
        battery = self._site.battery
        return math.nan if bid.storage_value is None else battery.charge_efficiency * bid.storage_value - battery.wear_cost

    def _plant(self, product_kw: FloatArray, observation: Observation) -> Site:
        """The site with only as many machines of each product as ``product_kw (2,)`` runs, those that earn most first."""
        left, units = product_kw.copy(), [machines.units for machines in observation.site.fleet]
        for c in sorted(range(len(units)), key=lambda c: -self._classes[c][2]):
            product, unit_kw = self._classes[c][0], observation.site.fleet[c].unit_kw
            units[c] = min(units[c], int(left[product] / unit_kw + 1e-9))
            left[product] -= units[c] * unit_kw
        key = tuple(units)
        if key not in self._plants:
            fleet = tuple(dataclasses.replace(machines, units=n) for machines, n in zip(observation.site.fleet, units, strict=True))
            self._plants[key] = dataclasses.replace(observation.site, fleet=fleet)
        return self._plants[key]


def _draw_per_kw(observation: Observation) -> float:
    """Power in kW that a kW of machines draws together with its cooling, 1 + 1 / COP."""
    cooling = observation.site.cooling
    return 1.0 + 1.0 / max(1.0, cooling.cop - cooling.cop_slope * (observation.ambient_c - cooling.cop_reference_c))


def _likely_price(observation: Observation) -> float:
    """Price of power this tick if scarcity adds to the energy price what it added in the last one, $/kWh."""
    before = observation.history[-2, 0] if len(observation.history) > 1 else observation.prices[0]
    added = float(observation.last_price) - float(before)
    return float(observation.prices[0]) + (added if 0.0 < added < math.inf else 0.0)  # nan adds nothing


def _held(history: FloatArray) -> FloatArray:
    """The history with what is not finite replaced by the last value known before it, or by the first one after."""
    if np.isfinite(history).all():
        return history
    known = np.where(np.isfinite(history), np.arange(len(history))[:, None], -1)
    last = np.maximum.accumulate(known, axis=0)
    first = np.argmax(known >= 0, axis=0)
    filled: FloatArray = history[np.where(last >= 0, last, first), np.arange(history.shape[1])]
    return filled
