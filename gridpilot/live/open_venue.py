"""From configuration to a venue."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from gridpilot.errors import ConfigError, LiveError, VenueError
from gridpilot.live.api import INVENTORIES, PriceRow
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import SystemClock
from gridpilot.live.config import LiveConfig, Timing
from gridpilot.live.http_connection import check_url, is_loopback
from gridpilot.live.mara_venue import MaraVenue
from gridpilot.live.price_feed import generate_rows, read_rows
from gridpilot.live.replay_venue import ReplayVenue, SimulatedVenue
from gridpilot.live.venue import Venue

__all__ = ["open_venue"]

DEFAULT_KW = 1000.0  # of a replayed or simulated site, where nothing is configured


def open_venue(live: LiveConfig, keys: Sequence[SecretStr] = ()) -> Venue:
    """The venue of a configuration. Raises :class:`~gridpilot.errors.ConfigError` for a key that does not fit it."""
    power_w = round((live.power_kw or DEFAULT_KW) * 1000.0)
    inventory = INVENTORIES[live.inventory]
    if live.venue == "replay":
        if live.file is None:
            raise ConfigError("live.file is not set, expected a CSV file of prices or a journal to replay")
        return ReplayVenue(_recorded_rows(live.file), inventory, power_w, sites=live.sites)
    if live.venue == "simulated":
        return SimulatedVenue(partial(generate_rows, live.feed, live.seed), inventory, power_w, sites=live.sites)
    limit = None if live.power_kw is None else round(live.power_kw * 1000.0)
    speed = _speed(live)
    clock, timing = SystemClock(speed), Timing.of(speed, timeout=live.timeout, deadline=live.deadline)
    client = MaraClient(live.url, keys, timing=timing, clock=clock, requests_per_tick=live.requests_per_tick)
    return MaraVenue(client, len(keys), clock=clock, timing=timing, power_w=limit)


def _speed(live: LiveConfig) -> float:
    """The configured speed, or what a stand-in on this machine says its own is."""
    loopback = is_loopback(check_url(live.url))
    if live.speed is not None:
        if live.speed != 1.0 and not loopback:
            raise ConfigError(f"live.speed is {live.speed:g} for {live.url}, expected 1: only a stand-in on loopback is faster")
        return live.speed
    if not loopback:
        return 1.0
    with MaraClient(live.url, timing=Timing.of(1.0, timeout=live.timeout), clock=SystemClock()) as client:
        try:
            client.prices()
        except VenueError as error:
            raise LiveError(f"live.url={live.url}: {error}; gridpilot serve-mara starts a stand-in there") from error
        return client.speed() or 1.0


def _recorded_rows(file: Path) -> Sequence[PriceRow]:
    if file.suffix in (".csv", ".json"):
        return read_rows(file)
    from gridpilot.live.journal import Journal
    from gridpilot.live.recovery import recover

    with Journal(file, read_only=True) as journal:
        rows = recover(journal, keep=10**9).rows
    if not rows:
        raise ConfigError(f"live.file={file}: the journal holds no price rows, expected at least one")
    return rows
