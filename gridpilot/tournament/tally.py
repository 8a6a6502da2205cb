"""What a match comes to: money and energy of every seat and of the market, added up tick by tick into rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.agents.seating import Seating
from gridpilot.errors import FAILURES
from gridpilot.market.arena import Arena, stored_value
from gridpilot.market.auction import SUPPLY_COST, VOLUME
from gridpilot.market.physics import CHARGED, DISCHARGED, DRAWN, MACHINES, N_OUTCOME, PAYMENT, PROFIT, REVENUE, WEAR, WON
from gridpilot.market.units import DT
from gridpilot.tournament.schedule import Match

__all__ = ["Tally", "stored_value"]

FloatArray = npt.NDArray[np.float64]


class Tally:
    """Sums over the ticks of B markets of N seats that have been played so far."""

    def __init__(self, arena: Arena) -> None:
        n_markets, n = arena.n_markets, arena.n_sites
        self.ticks = 0
        self._seats = np.zeros((n_markets, n, N_OUTCOME))
        self._regret = np.zeros((n_markets, n))
        self._market = np.zeros((n_markets, 5))  # welfare, revenue, supply cost: $; volume: kWh; price x volume: $
        self._scarce = np.zeros(n_markets, dtype=np.int64)
        self._dearest = max((adder for _, adder in arena.rules.supply), default=0.0)

    def add(self, arena: Arena) -> None:
        """Take the tick in that ``arena`` has just stepped; its gains where they are measured."""
        market = self._market
        self.ticks += 1
        self._seats += arena.outcome
        if len(arena.gain):
            self._regret += arena.gain * DT
        volume = arena.totals[:, VOLUME] * DT
        supply_cost = arena.totals[:, SUPPLY_COST] * DT
        earned = (arena.outcome[:, :, REVENUE] - arena.outcome[:, :, WEAR]).sum(axis=1)
        market[:, 0] += earned - supply_cost  # as earned, not as bid
        market[:, 1] += arena.outcome[:, :, PAYMENT].sum(axis=1)
        market[:, 2] += supply_cost
        market[:, 3] += volume
        market[:, 4] += volume * arena.last_price
        energy = arena.scenario.prices[arena.scenario.history + arena.tick - 1, :, 0]
        # The price of the dearest step is the same sum in the kernel, so that equality is exact.
        reserve = -np.inf if arena.rules.reserve is None else arena.rules.reserve
        self._scarce += arena.last_price > np.maximum(energy + self._dearest, reserve)

    def rows(self, matches: Sequence[Match], roles: Mapping[str, str], bases: Mapping[str, str], seating: Seating) -> pd.DataFrame:
        """One row a match and seat, in order (columns of :mod:`gridpilot.tournament.rows`); ``roles`` and ``bases`` by label."""
        sites, n = seating.arena.sites, seating.arena.n_sites
        stored, market = stored_value(seating.arena), self._market
        flat = self._seats.reshape(-1, N_OUTCOME)
        failures = seating.failures.reshape(-1, len(FAILURES))
        mean_price = np.divide(market[:, 4], market[:, 3], out=np.full(len(matches), np.nan), where=market[:, 3] > 0.0)

        def by_match(values: Any) -> Any:
            return np.repeat(np.asarray(values), n)

        return pd.DataFrame(
            {
                "episode": by_match([match.episode for match in matches]),
                "lineup": by_match([match.lineup for match in matches]),
                "rotation": by_match([match.rotation for match in matches]),
                "seat": np.tile(np.arange(n), len(matches)),
                "site": [site.name for site in sites] * len(matches),
                "agent": [agent for match in matches for agent in match.seats],
                "role": [roles[agent] for match in matches for agent in match.seats],
                "base": [bases.get(agent, "") for match in matches for agent in match.seats],
                "profit": flat[:, PROFIT] + stored.ravel(),
                "revenue": flat[:, REVENUE],
                "payment": flat[:, PAYMENT],
                "wear": flat[:, WEAR],
                "stored": stored.ravel(),
                "regret": self._regret.ravel(),
                "won_kwh": flat[:, WON] * DT,
                "drawn_kwh": flat[:, DRAWN] * DT,
                "machine_kwh": flat[:, MACHINES] * DT,
                "charged_kwh": flat[:, CHARGED] * DT,
                "discharged_kwh": flat[:, DISCHARGED] * DT,
                "ticks": self.ticks,
                **{name: failures[:, i] for i, name in enumerate(FAILURES)},
                "first_error": [seating.first_error.get((b, i), "") for b in range(len(matches)) for i in range(n)],
                "market_welfare": by_match(market[:, 0] + stored.sum(axis=1)),
                "market_revenue": by_match(market[:, 1]),
                "market_supply_cost": by_match(market[:, 2]),
                "market_volume_kwh": by_match(market[:, 3]),
                "market_mean_price": by_match(mean_price),
                "scarce_ticks": by_match(self._scarce),
            }
        )
