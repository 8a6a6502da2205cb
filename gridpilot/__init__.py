"""GridPilot: mining and AI-inference sites compete for power every five minutes.

The most used names are reachable from here and are imported when they are first used, so that ``import gridpilot`` stays light:

>>> import gridpilot
>>> gridpilot.Bid([(300.0, 0.12)]).storage_value is None
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gridpilot.agents.base import Agent, BatchAgent
    from gridpilot.backtest.run import BacktestResult, run_backtest
    from gridpilot.by_hand import Market, build_market
    from gridpilot.errors import GridPilotError
    from gridpilot.market.arena import Arena, MarketRules, Scenario
    from gridpilot.market.bids import Bid
    from gridpilot.market.clearing import Clearing, clear, clear_batch
    from gridpilot.market.observation import MarketInfo, Observation, Outcome
    from gridpilot.market.site import Battery, Cooling, MachineClass, Site
    from gridpilot.prices.base import PriceModel
    from gridpilot.prices.calibrated import CalibratedPrices, calibrate_prices
    from gridpilot.prices.simulate import simulate_prices
    from gridpilot.setup import MarketSetup, load_setup, load_site
    from gridpilot.tournament.result import TournamentResult, run_tournament
    from gridpilot.training.run import train

__all__ = [
    "Agent",
    "Arena",
    "BacktestResult",
    "BatchAgent",
    "Battery",
    "Bid",
    "CalibratedPrices",
    "Clearing",
    "Cooling",
    "GridPilotError",
    "MachineClass",
    "Market",
    "MarketInfo",
    "MarketRules",
    "MarketSetup",
    "Observation",
    "Outcome",
    "PriceModel",
    "Scenario",
    "Site",
    "TournamentResult",
    "__version__",
    "build_market",
    "calibrate_prices",
    "clear",
    "clear_batch",
    "load_setup",
    "load_site",
    "run_backtest",
    "run_tournament",
    "simulate_prices",
    "train",
]

__version__: Final = "0.1.0"

_HOMES: Final = {
    "Agent": "gridpilot.agents.base",
    "Arena": "gridpilot.market.arena",
    "BatchAgent": "gridpilot.agents.base",
    "BacktestResult": "gridpilot.backtest.run",
    "Battery": "gridpilot.market.site",
    "Bid": "gridpilot.market.bids",
    "CalibratedPrices": "gridpilot.prices.calibrated",
    "Clearing": "gridpilot.market.clearing",
    "Cooling": "gridpilot.market.site",
    "GridPilotError": "gridpilot.errors",
    "MachineClass": "gridpilot.market.site",
    "Market": "gridpilot.by_hand",
    "MarketInfo": "gridpilot.market.observation",
    "MarketRules": "gridpilot.market.arena",
    "MarketSetup": "gridpilot.setup",
    "Observation": "gridpilot.market.observation",
    "Outcome": "gridpilot.market.observation",
    "PriceModel": "gridpilot.prices.base",
    "Scenario": "gridpilot.market.arena",
    "Site": "gridpilot.market.site",
    "TournamentResult": "gridpilot.tournament.result",
    "build_market": "gridpilot.by_hand",
    "calibrate_prices": "gridpilot.prices.calibrated",
    "clear": "gridpilot.market.clearing",
    "clear_batch": "gridpilot.market.clearing",
    "load_setup": "gridpilot.setup",
    "load_site": "gridpilot.setup",
    "run_backtest": "gridpilot.backtest.run",
    "simulate_prices": "gridpilot.prices.simulate",
    "run_tournament": "gridpilot.tournament.result",
    "train": "gridpilot.training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gridpilot' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # found directly from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
