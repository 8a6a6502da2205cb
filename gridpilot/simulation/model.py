"""The market as a mesa model: sites with cash, bankruptcy, entry and imitation, over the same core as every tournament."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mesa
import numpy as np

from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.errors import ConfigError
from gridpilot.market.auction import VOLUME, WELFARE
from gridpilot.market.clearing import Mechanism
from gridpilot.market.physics import DRAWN, PROFIT, WON
from gridpilot.market.site import Site
from gridpilot.market.units import DT, TICKS_PER_DAY
from gridpilot.setup import load_setup
from gridpilot.simulation.dynamics import fermi
from gridpilot.tournament.config import agent_specs
from gridpilot.tournament.tally import stored_value

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MarketModel", "SiteAgent"]

VACANT = ""


class SiteAgent(mesa.Agent):  # type: ignore[misc]  # mesa has no types
    """A site and the strategy that runs it. Its plant stays where it is; who runs it may go bankrupt, and another may enter."""

    def __init__(self, model: MarketModel, seat: int, site: Site, strategy: str, cash: float) -> None:
        super().__init__(model)
        self.seat, self.site = seat, site
        self.strategy = strategy  # its label; "" while the site stands empty
        self.cash = cash  # $
        self.profit = 0.0  # $ of the day so far
        self.won_kw = self.drawn_kw = self.soc_kwh = 0.0
        self.empty_since = -1  # the day of its bankruptcy

    @property
    def active(self) -> bool:
        """Whether somebody runs it."""
        return self.strategy != VACANT


class MarketModel(mesa.Model):  # type: ignore[misc]  # mesa has no types
    """One market of N sites, a tick a step, a new day of prices every ``ticks``.

    ``strategies``   agents as a tournament takes them: names, dotted paths, mappings with ``name`` and ``label``
    ``lineup``       the label at each seat; by default the strategies in turn
    ``market``, ``prices``, ``mechanism``  as :func:`gridpilot.load_setup` takes them
    ``seed``, ``first_episode``  the days that are played: those of a tournament of this seed. The seed is that of the population too
    ``budget``       $ that each site starts with; ``None``: nobody goes bankrupt
    ``daily_cost``   $ a site and day, whatever it does: staff, rent, debt
    ``entry_days``   days until somebody else enters an empty site, with the budget, and a strategy of an active site; ``None``: nobody
    ``imitation``    probability that a site looks at another at the end of a day, and copies it by the Fermi rule
    ``intensity``    of that rule, per $ of difference in the day's profit
    ``mutation``     probability that a site which may change takes any strategy instead

    A run without budget, entry and imitation is, to the digit, the match of a tournament. Sealed bids are simultaneous, so that the model
    steps and its agents have no step of their own. ``datacollector`` holds a row a tick of the market, and of every site at the end of each
    day: ``market_frame()``, ``site_frame()``. Raises :class:`~gridpilot.errors.ConfigError` for what it cannot be made of.
    """

    def __init__(
        self,
        strategies: Sequence[Any] = ("truthful", "threshold", "mpc"),
        *,
        lineup: Sequence[str] | None = None,
        market: str | Path | Mapping[str, Any] = "default",
        prices: str | Path | Mapping[str, Any] | pd.DataFrame = "ercot",
        mechanism: Mechanism | None = None,
        ticks: int = TICKS_PER_DAY,
        history: int = TICKS_PER_DAY,
        seed: int = 0,
        first_episode: int = 0,
        budget: float | None = None,
        daily_cost: float = 0.0,
        entry_days: int | None = None,
        imitation: float = 0.0,
        intensity: float = 0.01,
        mutation: float = 0.0,
    ) -> None:
        super().__init__(seed=seed)
        for name, share in (("imitation", imitation), ("mutation", mutation)):
            if not 0.0 <= share <= 1.0:
                raise ConfigError(f"simulation: {name} is {share!r}, expected a probability in [0, 1]")
        for name, number in (("daily_cost", daily_cost), ("intensity", intensity)):
            if not math.isfinite(number):
                raise ConfigError(f"simulation: {name} is {number!r}, expected a finite number")
        self.setup = load_setup(market, prices, ticks=ticks, history=history, mechanism=mechanism)
        given = agent_specs(strategies)
        self.strategies = {label: given[label] for label in list(given)[: len(strategies)]}
        self.arena = self.setup.arena(1)
        self.market_seed, self.day, self.first_episode = seed, 0, first_episode
        self.budget, self.daily_cost, self.entry_days = budget, daily_cost, entry_days
        self.imitation, self.intensity, self.mutation = imitation, intensity, mutation
        labels = list(self.strategies)
        seated = [labels[n % len(labels)] for n in range(self.arena.n_sites)] if lineup is None else list(lineup)
        if len(seated) != self.arena.n_sites or not set(seated) <= {*labels, VACANT}:
            raise ConfigError(f"simulation: lineup is {seated!r:.200}, expected {self.arena.n_sites} of {', '.join(labels)}")
        cash = 0.0 if budget is None else budget
        self.sites = [SiteAgent(self, n, site, seated[n], cash) for n, site in enumerate(self.setup.sites)]
        self.datacollector = mesa.DataCollector(
            model_reporters={
                "day": "day",
                "tick": lambda model: model.arena.tick - 1,
                "energy_price": lambda model: float(
                    model.arena.scenario.prices[model.arena.scenario.history + model.arena.tick - 1, 0, 0]
                ),
                "price": lambda model: float(model.arena.last_price[0]),
                "volume_kw": lambda model: float(model.arena.totals[0, VOLUME]),
                "welfare": lambda model: float(model.arena.totals[0, WELFARE]) * DT,
            },
            tables={"sites": ["day", "seat", "site", "strategy", "profit", "cash", "active"]},
        )
        self._begin_day()

    def step(self) -> None:
        """Play a tick; after the last one of a day settle it and begin the next."""
        self._seating.bid()
        self.arena.step()
        self._seating.learn()
        outcome = self.arena.outcome[0]
        for site in self.sites:
            row = outcome[site.seat]
            site.profit += float(row[PROFIT])
            site.won_kw, site.drawn_kw = float(row[WON]), float(row[DRAWN])
            site.soc_kwh = float(self.arena.storage[0, site.seat, 0])
        self.datacollector.collect(self)
        if self.arena.done:
            self._end_day()
            self.day += 1
            self._begin_day()

    def run_days(self, days: int) -> None:
        """Play whole days from where the model is."""
        end = self.day + days
        while self.day < end:
            self.step()

    def market_frame(self) -> pd.DataFrame:
        """A row a tick: day, tick, energy price and clearing price $/kWh, volume kW, welfare $ as bid."""
        return self.datacollector.get_model_vars_dataframe()

    def site_frame(self) -> pd.DataFrame:
        """A row a day and site: strategy, profit $ (with what is stored, as in a tournament's rows), cash $, whether it is still active."""
        return self.datacollector.get_table_dataframe("sites")

    def _begin_day(self) -> None:
        episode = np.array([self.first_episode + self.day])
        self.arena.orders.clear()
        self.arena.start(self.setup.scenario(self.market_seed, episode))
        specs = {label: AgentSpec(**spec) for label, spec in self.strategies.items()}
        self._seating = Seating(self.arena, specs, [[site.strategy for site in self.sites]])
        self._seating.reset(self.market_seed, episode)
        for site in self.sites:
            site.profit = 0.0
            if not site.active:
                self.arena.place(0, site.seat, None)

    def _end_day(self) -> None:
        stored = stored_value(self.arena)[0]
        self._seating.close()
        for site in self.sites:
            ran = site.strategy
            if site.active:
                site.profit += float(stored[site.seat])
                site.cash += site.profit - self.daily_cost
                if self.budget is not None and site.cash < 0.0:
                    site.strategy, site.empty_since = VACANT, self.day
            row = {"day": self.day, "seat": site.seat, "site": site.site.name, "strategy": ran, "profit": site.profit}
            self.datacollector.add_table_row("sites", {**row, "cash": site.cash, "active": site.active})
        self._imitate()
        self._enter()

    def _imitate(self) -> None:
        """Who looks at another copies him with the probability of the Fermi rule; all look at the day that is over."""
        active = [site for site in self.sites if site.active]
        chosen = {}
        for site in active:
            if len(active) < 2 or self.rng.random() >= self.imitation:
                continue
            other = active[int(self.rng.integers(len(active) - 1))]
            other = active[-1] if other is site else other
            if self.rng.random() < self.mutation:
                chosen[site] = self._any_strategy()
            elif self.rng.random() < fermi(self.intensity * (other.profit - site.profit)):
                chosen[site] = other.strategy
        for site, strategy in chosen.items():
            site.strategy = strategy

    def _enter(self) -> None:
        active = [site.strategy for site in self.sites if site.active]
        for site in self.sites:
            if site.active or self.entry_days is None or self.day - site.empty_since < self.entry_days:
                continue
            mutant = not active or self.rng.random() < self.mutation
            site.strategy = self._any_strategy() if mutant else active[int(self.rng.integers(len(active)))]
            site.cash = self.budget or 0.0

    def _any_strategy(self) -> str:
        labels = list(self.strategies)
        return labels[int(self.rng.integers(len(labels)))]
