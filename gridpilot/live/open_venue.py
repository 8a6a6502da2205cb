"""From configuration to a venue, see :mod:`gridpilot.presets`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import SecretStr

from gridpilot import presets
from gridpilot.errors import VenueError
from gridpilot.live.config import LiveConfig
from gridpilot.live.venue import Venue

__all__ = ["VENUE", "find_venue", "open_venue"]

VENUE: Final = presets.Kind("venue", Venue, VenueError, "gridpilot.live.venue.Venue", "configured")  # type: ignore[type-abstract]


def find_venue(live: LiveConfig) -> type[Venue]:
    """The class of a configuration's venue. Raises :class:`~gridpilot.errors.VenueError` where there is none."""
    return presets.find(VENUE, presets.named(VENUE, live.venue)[0])


def open_venue(live: LiveConfig, keys: Sequence[SecretStr] = ()) -> Venue:
    """The venue of a configuration.

    Raises :class:`~gridpilot.errors.VenueError` where there is none, and :class:`~gridpilot.errors.ConfigError` for a key that does not
    fit it.
    """
    return presets.build(VENUE, live.venue, live=live, keys=keys)
