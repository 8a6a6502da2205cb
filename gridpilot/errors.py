"""The one exception tree of the project.

    GridPilotError                  everything raised on purpose
    ├── MarketError                 a market that cannot be cleared: supply, capacity, caps, network
    │   └── BidError                a bid that is not a non-increasing list of (kW, $/kWh) blocks
    ├── SiteError                   a plant that cannot exist: negative power, efficiency over one
    ├── PriceError                  a price model or price file that cannot be used
    │   └── CalibrationError        a fit that failed, or that does not reproduce its data
    ├── ForecastError               a forecaster that cannot be built, or a series that cannot be forecast
    ├── PlanningError               an outlook that is not one, or a plan that could not be found
    ├── GameError                   a game that has no such solution, or is none
    ├── RiskError                   a risk measure or allocation that is not defined for what it was given
    ├── ConfigError                 an unknown or ill-typed configuration value
    ├── AgentError                  an agent that cannot be found, built or run
    │   └── PolicyError             a learned policy's folder that cannot be written or trusted
    ├── TournamentError             a run folder or schedule that cannot be used
    ├── LiveError                   live operation that cannot start or go on
    │   ├── JournalError            a journal that cannot be read, written or trusted
    │   ├── DeploymentError         a deployment folder that cannot be written or trusted
    │   └── VenueError              a venue that did not do what it was asked
    │       ├── UnavailableError    no usable answer to a reading: no connection, too late, 5xx, 429, not JSON; ask again later
    │       ├── RefusedError        the venue said no (4xx): what was asked has not been applied
    │       └── UnknownOutcomeError a change was sent and its fate is not known: read back before anything else
    └── MissingExtraError           an optional dependency that is not installed

Every message names the value, where it came from and what was expected.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "FAILURES",
    "AgentError",
    "BidError",
    "CalibrationError",
    "ConfigError",
    "DeploymentError",
    "ForecastError",
    "GameError",
    "GridPilotError",
    "JournalError",
    "LiveError",
    "MarketError",
    "MissingExtraError",
    "PlanningError",
    "PolicyError",
    "PriceError",
    "RefusedError",
    "RiskError",
    "SiteError",
    "TournamentError",
    "UnavailableError",
    "UnknownOutcomeError",
    "VenueError",
]


FAILURES: Final = ("timeouts", "exceptions", "invalid_bids")
"""How an agent in a market can fail to bid; none of it is raised, all of it is counted."""


class GridPilotError(Exception):
    """Base class of every error this project raises on purpose."""


class MarketError(GridPilotError):
    """A market that cannot be cleared."""


class BidError(MarketError):
    """A bid that is not a finite, non-increasing list of ``(kW, $/kWh)`` blocks."""


class GameError(GridPilotError):
    """A game that is none, or that has not got the solution asked for."""


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


class PolicyError(AgentError):
    """The folder of a learned policy cannot be written or trusted."""


class TournamentError(GridPilotError):
    """A run folder or schedule that cannot be used."""


class LiveError(GridPilotError):
    """Live operation that cannot start or go on."""


class JournalError(LiveError):
    """A journal that cannot be read, written or trusted."""


class DeploymentError(LiveError):
    """A deployment folder that cannot be written or trusted."""


class VenueError(LiveError):
    """A venue that did not do what it was asked."""


class UnavailableError(VenueError):
    """No usable answer to a reading: no connection, too late, 5xx, 429, not JSON. Asking again later is right.

    ``retry_after`` is what the venue asked to be left alone for, wall seconds; ``None`` where it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RefusedError(VenueError):
    """The venue said no (4xx): what was asked has not been applied. ``status`` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnknownOutcomeError(VenueError):
    """A change was sent and its fate is not known: read back before anything else."""


class MissingExtraError(GridPilotError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        import shlex
        import sys
        from pathlib import Path

        clone = Path(__file__).resolve().parents[1]
        if (clone / "pyproject.toml").is_file():
            pip = ".venv/bin/pip" if Path(sys.prefix) == clone / ".venv" else f"{shlex.quote(sys.executable)} -m pip"
            command = f"{pip} install -c constraints.txt -e '.[{extra}]' in {clone}"
        else:
            command = f"pip install 'gridpilot[{extra}]'"
        super().__init__(f"{what} needs an optional dependency: {command}")
