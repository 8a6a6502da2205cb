"""Recorded rows for engines that only have to run."""

from __future__ import annotations

from gridpilot.live.api import INVENTORIES
from gridpilot.live.replay_venue import ReplayVenue
from tests.live.worlds import walk


def replay_venue(rows: int) -> ReplayVenue:
    """A venue of one site of a megawatt that plays so many rows."""
    return ReplayVenue(walk(rows), INVENTORIES["documented"], 1_000_000)
