"""Price models, their calibration, and the weather and grid capacity around them."""

from __future__ import annotations

from gridpilot.market.arena import Scenario
from gridpilot.prices.base import CHANNELS, PriceModel
from gridpilot.prices.load import load_prices
from gridpilot.prices.weather_and_capacity import CapacityConfig, WeatherConfig
from gridpilot.prices.world import World

__all__ = ["CHANNELS", "CapacityConfig", "PriceModel", "Scenario", "WeatherConfig", "World", "load_prices"]
