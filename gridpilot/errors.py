"""The one exception tree of the project.

    GridPilotError                  everything raised on purpose
    ├── MarketError                 a market that cannot be cleared: supply, capacity, caps, network
    │   └── BidError                a bid that is not a non-increasing list of (kW, $/kWh) blocks
    ├── SiteError                   a plant that cannot exist: negative power, efficiency over one
    ├── PriceError                  a price model or price file that cannot be used
    │   └── CalibrationError        a fit that failed, or that does not reproduce its data
    ├── ForecastError               a forecaster that cannot be built, or a series that cannot be forecast
    ├── PlanningError               an outlook that is not one, or a plan that could not be found
    ├── RiskError                   a risk measure or allocation that is not defined for what it was given
    ├── ConfigError                 an unknown or ill-typed configuration value
    ├── AgentError                  an agent that cannot be found, built or run
    ├── TournamentError             a run folder or schedule that cannot be used
    └── MissingExtraError           an optional dependency that is not installed

Every message names the value, where it came from and what was expected.
"""

from __future__ import annotations

__all__ = [
    "AgentError",
    "BidError",
    "CalibrationError",
    "ConfigError",
    "ForecastError",
    "GridPilotError",
    "MarketError",
    "MissingExtraError",
    "PlanningError",
    "PriceError",
    "RiskError",
    "SiteError",
    "TournamentError",
]


class GridPilotError(Exception):
    """Base class of every error this project raises on purpose."""


class MarketError(GridPilotError):
    """A market that cannot be cleared."""


class BidError(MarketError):
    """A bid that is not a finite, non-increasing list of ``(kW, $/kWh)`` blocks."""


class SiteError(GridPilotError):
    """A plant description that is physically impossible."""


class PriceError(GridPilotError):
    """A price model or price file that cannot be used."""


class CalibrationError(PriceError):
    """A price model whose fit failed or does not reproduce its data."""


class ForecastError(GridPilotError):
    """A forecaster that cannot be built, or a series that cannot be forecast."""


class PlanningError(GridPilotError):
    """An outlook that is not one, or a plan that could not be found."""


class RiskError(GridPilotError):
    """A risk measure or allocation that is not defined for what it was given."""


class ConfigError(GridPilotError):
    """An unknown or ill-typed configuration value."""


class AgentError(GridPilotError):
    """An agent that cannot be found, built or run."""


class TournamentError(GridPilotError):
    """A run folder or schedule that cannot be used."""


class MissingExtraError(GridPilotError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'gridpilot[{extra}]'")
