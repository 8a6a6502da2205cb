"""The threshold bidder: truthful, with a storage rule on running price quantiles. The honest hand-made baseline."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridpilot.agents.base import BatchAgent, Seats
from gridpilot.errors import AgentError
from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.compilation import kernel
from gridpilot.market.encoding import SPREAD
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.site import Site
from gridpilot.market.step import OWN_CURVE

__all__ = ["Threshold"]


class Threshold(BatchAgent):
    """Bids its value curve with a stored kWh worth something between a high and a low quantile of recent prices.

    An empty battery values the next kWh at the ``high`` quantile (it will be sold in the best hours), a full one at the ``low``
    quantile. Quantiles are tracked by stochastic approximation (Robbins and Monro 1951): ``q += gain x spread x (level - [price < q])``,
    first over the history of energy prices, then over the clearing prices as they come.
    """

    def __init__(self, low: float = 0.8, high: float = 0.95, gain: float = 0.05) -> None:
        if not 0.0 < low <= high < 1.0:
            raise AgentError(f"threshold: low is {low} and high {high}, expected 0 < low <= high < 1")
        if not gain > 0.0:
            raise AgentError(f"threshold: gain is {gain}, expected a number above 0")
        self.low, self.high, self.gain = low, high, gain

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Forget the quantiles."""
        self._quantiles = np.empty((1, 2))

    def bid(self, observation: Observation) -> Bid:
        """The true value curve at the state of charge's storage value."""
        spread = observation.levels[SPREAD : SPREAD + 1]
        if observation.tick == 0:
            _track_history(observation.history[:, None, 0], spread, self.low, self.high, self.gain, self._quantiles)
        else:
            _track(np.array([observation.last_price]), spread, self.low, self.high, self.gain, self._quantiles)
        battery = observation.site.battery
        low, high = battery.soc_min * battery.energy_kwh, battery.soc_max * battery.energy_kwh
        return observation.truthful_bid(_storage_value(observation.state.soc_kwh, low, high, self._quantiles[0]))

    def reset_batch(self, arena: Arena, seats: Seats) -> None:
        """Find the markets that are played: prices are public, so a market's seats share its quantiles."""
        self._seats = seats
        self._quantiles = np.empty((arena.n_markets, 2))
        history = arena.scenario.prices[: arena.scenario.history + 1, :, 0]
        _track_history(history, arena.levels[:, SPREAD], self.low, self.high, self.gain, self._quantiles)
        arena.orders.kind[seats.market, seats.seat] = OWN_CURVE

    def bid_batch(self, arena: Arena) -> None:
        """Update the quantiles by the last clearing price and value each battery."""
        if arena.tick > 0:
            _track(arena.last_price, arena.levels[:, SPREAD], self.low, self.high, self.gain, self._quantiles)
        _value(self._seats.market, self._seats.seat, arena.arrays.plant, arena.storage, self._quantiles, arena.orders.storage_value)


@kernel
def _track(prices: Any, spread: Any, low: float, high: float, gain: float, quantiles: Any) -> None:
    for b in range(len(prices)):
        step = gain * spread[b]
        quantiles[b, 0] += step * (low - (1.0 if prices[b] < quantiles[b, 0] else 0.0))
        quantiles[b, 1] += step * (high - (1.0 if prices[b] < quantiles[b, 1] else 0.0))


@kernel
def _track_history(history: Any, spread: Any, low: float, high: float, gain: float, quantiles: Any) -> None:
    quantiles[:, 0] = history[0]
    quantiles[:, 1] = history[0]
    for row in history:
        _track(row, spread, low, high, gain, quantiles)


@kernel
def _storage_value(soc: float, soc_min: float, soc_max: float, quantiles: Any) -> float:
    charge = (soc - soc_min) / (soc_max - soc_min) if soc_max > soc_min else 0.0
    value: float = quantiles[1] + (quantiles[0] - quantiles[1]) * charge
    return value


@kernel
def _value(market: Any, seat: Any, plant: Any, storage: Any, quantiles: Any, storage_value: Any) -> None:
    for i in range(len(market)):
        b, n = market[i], seat[i]
        storage_value[b, n] = _storage_value(storage[b, n, 0], plant[n].soc_min, plant[n].soc_max, quantiles[b])
