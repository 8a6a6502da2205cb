"""A market to be played by hand: one market of plain objects, stepped tick by tick with bids of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridpilot.errors import MarketError
from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.clearing import Mechanism
from gridpilot.market.observation import Observation, Outcome, observe, outcome_of
from gridpilot.market.site import Site
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Market", "build_market"]


def build_market(
    market: str | Path | Mapping[str, Any] = "default",
    prices: str | Path | Mapping[str, Any] | pd.DataFrame = "ercot",
    *,
    mechanism: Mechanism | None = None,
    ticks: int = TICKS_PER_DAY,
    history: int = TICKS_PER_DAY,
    seed: int = 0,
    episode: int = 0,
) -> Market:
    """A market at the start of an episode.

    ``market`` and ``prices`` as :func:`gridpilot.load_setup` takes them. Equal ``seed`` and ``episode`` are the same day; tournaments'
    evaluation episodes count from 1,000,000. Raises what :func:`gridpilot.load_setup` does.

    >>> market = build_market(ticks=12)
    >>> first = market.observe("gpu")
    >>> outcomes = market.step({"gpu": first.truthful_bid(storage_value=0.03)})
    >>> outcomes["gpu"].won_kw > 0.0, market.tick
    (True, 1)
    """
    return Market(load_setup(market, prices, ticks=ticks, history=history, mechanism=mechanism), seed, episode)


class Market:
    """One market of N sites, which are named by their names or seats 0 to N - 1."""

    def __init__(self, setup: MarketSetup, seed: int = 0, episode: int = 0) -> None:
        self.setup = setup
        self.arena: Arena = setup.arena(1)
        self.arena.publish()
        self._seats = {site.name: seat for seat, site in enumerate(setup.sites)}
        self.reset(seed, episode)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The plants, by seat."""
        return self.setup.sites

    @property
    def tick(self) -> int:
        """The tick that is bid for next, from 0."""
        return self.arena.tick

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.arena.done

    @property
    def totals(self) -> dict[str, float]:
        """Of the tick just played: welfare and supply cost in $/h, volume in kW, and the price in $/kWh that everybody sees."""
        welfare, supply_cost, volume = self.arena.totals[0, :3].tolist()
        return {"welfare": welfare, "supply_cost": supply_cost, "volume_kw": volume, "price": float(self.arena.last_price[0])}

    def reset(self, seed: int = 0, episode: int = 0) -> None:
        """Begin an episode: equal ones are equal days."""
        self.arena.start(self.setup.scenario(seed, np.array([episode])))

    def observe(self, site: str | int) -> Observation:
        """What an agent at ``site`` sees before it bids. Raises :class:`~gridpilot.errors.MarketError` when there is no tick left."""
        if self.done:
            raise MarketError(f"market: the episode is over after {self.tick} ticks; call reset()")
        return observe(self.arena, 0, self._seat(site))

    def step(self, bids: Mapping[str, Bid | None] | Mapping[int, Bid | None] | None = None) -> dict[str, Outcome]:
        """Play a tick; the outcome of each site by its name.

        ``bids`` by site: a :class:`gridpilot.Bid`, or ``None`` to ask for nothing. A site that is not named bids its true curve and leaves
        its battery alone. Raises :class:`~gridpilot.errors.MarketError` for a site that there is not, a bid that does not fit its
        plant, and after the last tick; nothing has happened then.
        """
        placed = {self._seat(site): bid for site, bid in (bids or {}).items()}
        self.arena.orders.clear()
        for seat, bid in placed.items():
            self.arena.place(0, seat, bid)
        self.arena.step()
        return {site.name: outcome_of(self.arena, 0, seat) for seat, site in enumerate(self.sites)}

    def _seat(self, site: str | int) -> int:
        if isinstance(site, str) and site in self._seats:
            return self._seats[site]
        if isinstance(site, int | np.integer) and not isinstance(site, bool) and 0 <= site < len(self.sites):
            return int(site)
        hint = (
            did_you_mean(str(site), self._seats) or f"expected one of {', '.join(self._seats)}, or a seat below {len(self.sites)}"
        )
        raise MarketError(f"market: there is no site {site!r}; {hint}")
