"""Playing matches: a chunk of them is one batch of markets."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.agents.seating import Seating
from gridpilot.errors import FAILURES
from gridpilot.file_access import refuse_other_files
from gridpilot.market.arena import Arena
from gridpilot.market.auction import SUPPLY_COST, VOLUME
from gridpilot.market.encoding import MEAN
from gridpilot.market.physics import CHARGED, DISCHARGED, DRAWN, MACHINES, N_OUTCOME, PAYMENT, PROFIT, REVENUE, WEAR, WON
from gridpilot.market.units import DT
from gridpilot.setup import MarketSetup, load_setup
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.inspection import agents_of, assign_roles
from gridpilot.tournament.schedule import Match

__all__ = ["play_chunk", "stored_value"]

FloatArray = npt.NDArray[np.float64]


def play_chunk(spec: TournamentSpec, matches: Sequence[Match]) -> pd.DataFrame:
    """Play ``matches`` side by side; one row per match and seat, in order (columns of :mod:`gridpilot.tournament.rows`).

    A file that is not among ``spec.files`` cannot be opened meanwhile: what it tells an agent would be part of no run. An agent that tries
    gets a ``PermissionError``, and what becomes of it is scored like any failure.
    """
    setup = _setup(_Key(spec))
    arena = setup.arena(len(matches))
    arena.measure_gains()
    episodes = np.array([match.episode for match in matches], dtype=np.int64)
    arena.start(setup.scenario(spec.seed, episodes))
    labels = [match.seats for match in matches]
    with (
        contextlib.nullcontext() if spec.files is None else refuse_other_files(spec.files),
        contextlib.closing(Seating(arena, agents_of(spec), labels, time_limit=spec.deadline)) as seating,
    ):
        seating.reset(spec.seed, episodes)
        return _play(spec, matches, seating)


def _play(spec: TournamentSpec, matches: Sequence[Match], seating: Seating) -> pd.DataFrame:
    arena = seating.arena
    n_markets, n = arena.n_markets, arena.n_sites
    tally = np.zeros((n_markets, n, N_OUTCOME))
    regret = np.zeros((n_markets, n))
    market = np.zeros((n_markets, 5))  # welfare, revenue, supply cost: $; volume: kWh; price x volume: $
    scarce = np.zeros(n_markets, dtype=np.int64)
    dearest = max((adder for _, adder in arena.rules.supply), default=0.0)
    while not arena.done:
        seating.bid()
        arena.step()
        seating.learn()
        tally += arena.outcome
        regret += arena.gain * DT
        volume = arena.totals[:, VOLUME] * DT
        supply_cost = arena.totals[:, SUPPLY_COST] * DT
        market[:, 0] += (arena.outcome[:, :, REVENUE] - arena.outcome[:, :, WEAR]).sum(
            axis=1
        ) - supply_cost  # as earned, not as bid
        market[:, 1] += arena.outcome[:, :, PAYMENT].sum(axis=1)
        market[:, 2] += supply_cost
        market[:, 3] += volume
        market[:, 4] += volume * arena.last_price
        energy = arena.scenario.prices[arena.scenario.history + arena.tick - 1, :, 0]
        # The price of the dearest step is the same sum in the kernel, so that equality is exact.
        scarce += arena.last_price > np.maximum(energy + dearest, -np.inf if arena.rules.reserve is None else arena.rules.reserve)
    stored = stored_value(arena)
    market[:, 0] += stored.sum(axis=1)
    # Roles are told here too, from the classes that played: a class that is another where matches are played is found out.
    # Of agents in processes of their own they are told by what the inspection found.
    roles = spec.roles or assign_roles(spec.agents)
    return _rows(matches, roles, arena.sites, tally, stored, regret, market, scarce, spec.ticks, seating)


def stored_value(arena: Arena) -> FloatArray:
    """What the change of each battery's charge over the episode is worth, $, ``(B, N)``.

    A kWh stored is valued at the running mean of the energy price at the end, less the discharge loss: what an average kWh of the
    grid would cost that it can replace. Without it a rule that buys at night for the next evening would look worse than none at all,
    only because the episode ends at midnight.
    """
    plant = arena.arrays.plant
    price: FloatArray = arena.levels[:, MEAN]
    stored: FloatArray = (arena.storage[:, :, 0] - plant["soc_start"]) * plant["eta_d"] * price[:, None]
    return stored


def _rows(
    matches: Sequence[Match],
    roles: Mapping[str, str],
    sites: Sequence[Any],
    tally: Any,
    stored: Any,
    regret: Any,
    market: Any,
    scarce: Any,
    ticks: int,
    seating: Seating,
) -> pd.DataFrame:
    n = len(sites)
    mean_price = np.divide(market[:, 4], market[:, 3], out=np.full(len(matches), np.nan), where=market[:, 3] > 0.0)
    flat = tally.reshape(-1, N_OUTCOME)
    failures = seating.failures.reshape(-1, len(FAILURES))

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
            "profit": flat[:, PROFIT] + stored.ravel(),
            "revenue": flat[:, REVENUE],
            "payment": flat[:, PAYMENT],
            "wear": flat[:, WEAR],
            "stored": stored.ravel(),
            "regret": regret.ravel(),
            "won_kwh": flat[:, WON] * DT,
            "drawn_kwh": flat[:, DRAWN] * DT,
            "machine_kwh": flat[:, MACHINES] * DT,
            "charged_kwh": flat[:, CHARGED] * DT,
            "discharged_kwh": flat[:, DISCHARGED] * DT,
            "ticks": ticks,
            **{name: failures[:, i] for i, name in enumerate(FAILURES)},
            "first_error": [seating.first_error.get((b, i), "") for b in range(len(matches)) for i in range(n)],
            "market_welfare": by_match(market[:, 0]),
            "market_revenue": by_match(market[:, 1]),
            "market_supply_cost": by_match(market[:, 2]),
            "market_volume_kwh": by_match(market[:, 3]),
            "market_mean_price": by_match(mean_price),
            "scarce_ticks": by_match(scarce),
        }
    )


class _Key:
    """A specification as a dictionary key, so that a process builds its market once for all chunks."""

    def __init__(self, spec: TournamentSpec) -> None:
        self.spec = spec
        self.text = repr((spec.market, spec.prices, spec.ticks, spec.history))

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text


@lru_cache(maxsize=4)
def _setup(key: _Key) -> MarketSetup:
    spec = key.spec
    return load_setup(spec.market, spec.prices, ticks=spec.ticks, history=spec.history)
