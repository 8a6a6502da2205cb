"""Everything of a market that its sites do not decide: prices, weather and the capacity of the grid connection."""

from __future__ import annotations

import numpy.typing as npt

from gridpilot.market.arena import Scenario
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.prices.base import PriceModel, check_paths, check_request
from gridpilot.prices.weather_and_capacity import CapacityConfig, WeatherConfig, simulate_weather_and_capacity

__all__ = ["World"]


class World:
    """Draws scenarios: a price model, a climate and a grid connection.

    Every process has its own stream in every episode: the same episode shows the same weather under every price model.
    """

    def __init__(self, prices: PriceModel, weather: WeatherConfig | None = None, capacity: CapacityConfig | None = None) -> None:
        self.prices = prices
        self.weather = weather or WeatherConfig()
        self.capacity = capacity or CapacityConfig()

    def simulate(self, root: int, episodes: npt.ArrayLike, ticks: int, history: int = TICKS_PER_DAY) -> Scenario:
        """Draw ``episodes`` (B,) under the root seed; arguments and errors are those of :meth:`PriceModel.simulate`."""
        seed, numbers, ticks, history = check_request(root, episodes, ticks, history)
        prices, start = self.prices.simulate(root, numbers, ticks, history=history)
        prices, start = check_paths(self.prices, prices, start, history + ticks, len(numbers))
        ambient, capacity = simulate_weather_and_capacity(self.weather, self.capacity, seed, numbers, start, ticks, history)
        return Scenario(prices, ambient, capacity, start, history)
