"""Storage between two running price quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gridpilot.agents.storage.base import StorageRule, Worth
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.compilation import kernel
from gridpilot.market.encoding import SPREAD
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.site import Site

__all__ = ["Quantiles"]


class Quantiles(StorageRule):
    """A stored kWh is worth something between a high and a low quantile of recent prices.

    An empty battery values the next kWh at the ``high`` quantile (it will be sold in the best hours), a full one at the ``low``
    quantile. Quantiles are tracked by stochastic approximation (Robbins and Monro 1951): ``q += gain x spread x (level - [price < q])``,
    first over the history of energy prices, then over the clearing prices as they come.
    """

    reads = ("history", "last_price", "levels", "storage")

    def __init__(self, low: float = 0.8, high: float = 0.95, gain: float = 0.05) -> None:
        if not 0.0 < low <= high < 1.0:
            raise AgentError(f"threshold: low is {low} and high {high}, expected 0 < low <= high < 1")
        if not gain > 0.0:
            raise AgentError(f"threshold: gain is {gain}, expected a number above 0")
        self.low, self.high, self.gain = low, high, gain

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Forget the quantiles."""
        self._quantiles, self._market = np.empty((1, 2)), np.zeros(1, dtype=np.int64)

    def worth(self, observation: Observation) -> Worth:
        """The value of the next kWh at the state of charge."""
        spread = observation.levels[SPREAD : SPREAD + 1]
        if observation.tick == 0:
            _track_history(observation.history[:, None, 0], spread, self.low, self.high, self.gain, self._quantiles)
        else:
            _track(np.array([observation.last_price]), spread, self.low, self.high, self.gain, self._quantiles)
        battery = observation.site.battery
        low, high = battery.soc_min * battery.energy_kwh, battery.soc_max * battery.energy_kwh
        return Worth(_storage_value(observation.state.soc_kwh, low, high, self._quantiles[0]))

    def rationale(self, row: int) -> Mapping[str, Any]:
        """The two quantiles, between which a stored kWh is valued."""
        low, high = self._quantiles[self._market[row]].tolist()
        return {"rule": "threshold", "full_battery_value_dollars_per_kwh": low, "empty_battery_value_dollars_per_kwh": high}

    def reset_batch(self, view: View) -> None:
        """Quantiles by market: prices are public, so a market's seats share them."""
        self._quantiles, self._market = np.empty((view.n_markets, 2)), view.market
        _track_history(view.history[:, :, 0], view.levels[:, SPREAD], self.low, self.high, self.gain, self._quantiles)

    def value_batch(self, view: View) -> None:
        """Update the quantiles by the last clearing price and value each battery."""
        if view.tick > 0:
            _track(view.last_price, view.levels[:, SPREAD], self.low, self.high, self.gain, self._quantiles)
        _value(view.market, view.plant, view.plants.plant, view.storage, self._quantiles, view.orders.storage_value)


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
def _value(market: Any, site: Any, plant: Any, storage: Any, quantiles: Any, storage_value: Any) -> None:
    for i in range(len(market)):
        low, high = plant[site[i]].soc_min, plant[site[i]].soc_max
        storage_value[i] = _storage_value(storage[i, 0], low, high, quantiles[market[i]])
