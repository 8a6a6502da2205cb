"""Model predictive control: plan the day, bid the truth at the storage value of the plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import yaml

from gridpilot.agents.base import BatchAgent, Seats
from gridpilot.agents.planning_seat import PlanningSeat
from gridpilot.errors import AgentError
from gridpilot.forecasting.climatology import Climatology, recognise
from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.clearing import PARALLEL_FROM
from gridpilot.market.compilation import kernel
from gridpilot.market.encoding import MEAN
from gridpilot.market.observation import MarketInfo, Observation, observe
from gridpilot.market.site import Site, SiteArrays, pack_sites
from gridpilot.market.step import OWN_CURVE
from gridpilot.market.units import DT, TICKS_PER_DAY
from gridpilot.planning.dynamic_kernels import plan_parallel, plan_range, slope_at
from gridpilot.setup import load_preset

__all__ = ["MPC"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class MPC(BatchAgent):
    """Plans storage over the coming day, and bids its value curve with a stored kWh worth what the plan says.

    By default it expects the prices of a climatology, the one of ``conf/climatology`` that fits the history best, with the premium that
    scarcity adds to the energy price, and plans by the dynamic programme, for all its seats at once. With another planner or forecaster
    every seat plans for itself.

    ``planner``        ``dynamic``, or a name of ``conf/planner``, or a mapping of its parameters with ``name``
    ``forecaster``     ``climatology``, or a name of ``conf/forecaster``, or a mapping of its parameters with ``name``
    ``climatologies``  names of ``conf/climatology`` to choose from, or paths of such files as ``gridpilot climatology`` writes
    ``horizon``        ticks planned ahead; less where the episode ends before. What is stored then saves buying at the mean price
    ``replan``         ticks a plan is used for, the state of charge being read every tick; with another planner it plans every tick
    ``hold``           commitment value of every class, in boot losses: it does not stop for prices that pass. ``None`` takes the planner's
    ``cells``          of the state of charge, where the planner is ``dynamic``
    ``scenarios``      paths asked of the forecaster, for a planner that looks at risk
    """

    def __init__(
        self,
        planner: str | Mapping[str, Any] = "dynamic",
        forecaster: str | Mapping[str, Any] = "climatology",
        climatologies: tuple[str, ...] | list[str] = ("ercot", "aemo_nsw", "mara_event"),
        horizon: int = TICKS_PER_DAY,
        replan: int = 48,
        hold: float | None = 1.0,
        cells: int = 20,
        scenarios: int = 0,
    ) -> None:
        for name, value in (("horizon", horizon), ("replan", replan), ("cells", cells)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise AgentError(f"mpc: {name} is {value!r}, expected a whole number of at least 1")
        if hold is not None and not 0.0 <= hold < math.inf:
            raise AgentError(f"mpc: hold is {hold!r}, expected a finite number >= 0 or None")
        self._planned: int | None = None  # tick of the plan in force
        self.planner, self.forecaster = planner, forecaster
        self.horizon, self.replan, self.hold, self.cells, self.scenarios = horizon, replan, hold, cells, scenarios
        self.climatologies = [_climatology(name) for name in climatologies]
        self._in_batch = planner == "dynamic" and forecaster == "climatology" and hold is not None
        if not self._in_batch:
            self._new_seat()  # an unknown name or a missing extra is told now

    # One seat.

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Forget the last episode."""
        self._arrays = pack_sites([site], market.n_classes)
        self._market = self._site = self._path = np.zeros(1, dtype=np.int64)
        self._planned = None
        if not self._in_batch:
            self._seat = self._new_seat()
            self._seat.reset(site, market)

    def bid(self, observation: Observation) -> Bid:
        """The true value curve, given the plan's storage and commitment values."""
        if not self._in_batch:
            return observation.truthful_bid(*self._seat.decide(observation))
        if self._planned is None:  # the first tick, or one in the midst of an episode
            self._begin(observation.history[:, None, 0], np.array([observation.week_tick]), observation.tick)
        if self._is_due(observation.tick):
            remaining = observation.market.ticks - observation.tick
            self._plan(
                self._arrays, observation.tick, remaining, observation.prices[None], np.array([observation.ambient_c]),
                observation.levels[None, MEAN], parallel=False,
            )  # fmt: skip
        storage_value = np.empty((1, 1))
        commitment = np.empty((1, 1, self._arrays.n_classes))
        storage = np.array([[[observation.state.soc_kwh, 0.0]]])
        self._write(self._arrays, observation.tick, storage, observation.prices[None], storage_value, commitment)
        value = float(storage_value[0, 0])
        return observation.truthful_bid(None if math.isnan(value) else value, commitment[0, 0, : len(observation.site.fleet)])

    # Many seats.

    def reset_batch(self, arena: Arena, seats: Seats) -> None:
        """Find the markets that are played; seats of one market share its outlook."""
        self._seats = seats
        arena.orders.kind[seats.market, seats.seat] = OWN_CURVE
        if not self._in_batch:
            self._each = [self._new_seat() for _ in seats.market]
            for one, market, seat in zip(self._each, seats.market.tolist(), seats.seat.tolist(), strict=True):
                one.reset(arena.sites[seat], observe(arena, market, seat).market)
            return
        self._markets, self._path = np.unique(seats.market, return_inverse=True)
        self._market, self._site = seats.market, seats.seat
        scenario = arena.scenario
        energy = scenario.prices[: scenario.history + arena.tick + 1, self._markets, 0]
        self._begin(energy, scenario.start[self._markets] + arena.tick, arena.tick)

    def bid_batch(self, arena: Arena) -> None:
        """Plan where it is time to, and value each battery."""
        orders, seats, tick = arena.orders, self._seats, arena.tick
        if not self._in_batch:
            for one, market, seat in zip(self._each, seats.market.tolist(), seats.seat.tolist(), strict=True):
                value, kappa = one.decide(observe(arena, market, seat))
                orders.storage_value[market, seat] = math.nan if value is None else value
                orders.commitment[market, seat] = math.nan
                orders.commitment[market, seat, : len(kappa)] = kappa
            return
        now = arena.scenario.history + tick
        prices = arena.scenario.prices[now, self._markets]
        if self._is_due(tick):
            self._plan(
                arena.arrays, tick, arena.scenario.ticks - tick, prices, arena.scenario.ambient[now, self._markets],
                arena.levels[self._markets, MEAN], parallel=arena.n_markets >= PARALLEL_FROM,
            )  # fmt: skip
        self._write(arena.arrays, tick, arena.storage, prices, orders.storage_value, orders.commitment)

    # The outlook, for P markets.

    def _begin(self, energy: FloatArray, week_tick: IntArray, tick: int) -> None:
        """Choose a climatology for each market by its history ``energy (h, P)``, whose last row is ``tick`` at ``week_tick (P,)``."""
        past = np.arange(len(energy))[:, None] - (len(energy) - 1)
        self._start = week_tick - tick
        self._kind = recognise(self.climatologies, energy, week_tick[None, :] + past)
        # Without a climatology that fits: the history's median, and no premium.
        self._usual = np.median(energy, axis=0) if len(energy) else np.zeros(len(week_tick))
        self._planned = None

    def _is_due(self, tick: int) -> bool:
        return self._planned is None or tick - self._planned >= self.replan

    def _outlook(self, tick: int, length: int, prices: FloatArray) -> FloatArray:
        """Price paths ``(P, length, 3)`` from ``tick`` on: power, hash, token."""
        week_tick = self._start[:, None] + np.arange(tick, tick + length)
        paths = np.empty((len(self._start), length, 3))
        paths[:, :, 0] = self._usual[:, None]
        for kind in np.unique(self._kind[self._kind >= 0]):
            fits = self._kind == kind
            energy, premium = self.climatologies[kind].expected(week_tick[fits])
            paths[fits, :, 0] = energy + premium
        paths[:, :, 1:] = prices[:, None, 1:]  # near random walks: they stay where they are
        return paths

    def _ambient(self, tick: int, length: int, now: FloatArray) -> FloatArray:
        """Ambient temperatures ``(P, length)`` from ``tick`` on: as they are ``now (P,)``."""
        return np.repeat(now[:, None], length, axis=1)

    def _closing_price(self, tick: int, mean: FloatArray) -> FloatArray:
        """What a kWh costs after the horizon, ``(P,)``: the running ``mean`` of the energy price."""
        return mean

    def _plan(
        self,
        arrays: SiteArrays,
        tick: int,
        remaining: int,
        prices: FloatArray,
        ambient: FloatArray,
        mean: FloatArray,
        *,
        parallel: bool,
    ) -> None:
        """Write the slopes of V after each of the coming ticks, ``(M, replan + 1, G)``."""
        # Beyond the horizon a day goes on like the last; beyond the end of the episode a stored kWh saves buying one at the mean price.
        length = min(remaining, self.horizon + TICKS_PER_DAY if remaining > self.horizon else self.horizon)
        ends = arrays.plant["eta_d"][self._site] * np.maximum(self._closing_price(tick, mean)[self._path], 0.0)
        paths, weather = self._outlook(tick, length, prices), self._ambient(tick, length, ambient)
        self._table, _ = self._solve(arrays, paths, self._path, weather, ends, parallel=parallel)
        self._planned = tick

    def _solve(
        self, arrays: SiteArrays, paths: FloatArray, path: IntArray, ambient: FloatArray, ends: FloatArray, *, parallel: bool
    ) -> tuple[npt.NDArray[np.float32], FloatArray]:
        """Slopes of V before each of the coming ticks, ``(M, replan + 1, G)``, and V at the lowest charge now, ``(M,)`` $.

        ``path (M,)`` is each seat's row of ``paths``.
        """
        length = paths.shape[1]
        cap = np.full((len(paths), length), np.inf)
        table, value = np.zeros((len(path), self.replan + 1, self.cells), dtype=np.float32), np.empty(len(path))
        terminal = np.repeat(ends[:, None], self.cells, axis=1)
        arguments = (*arrays, self._site, path, paths, ambient, cap, 0, length, DT, terminal, table, value)
        if parallel:
            plan_parallel(numba.get_num_threads(), *arguments)
        else:
            plan_range(0, len(path), *arguments)
        return table, value

    def _write(
        self,
        arrays: SiteArrays,
        tick: int,
        storage: FloatArray,
        prices: FloatArray,
        storage_value: FloatArray,
        commitment: FloatArray,
    ) -> None:
        assert self.hold is not None
        assert self._planned is not None
        _write_values(
            *arrays, self._market, self._site, self._path, self._table, tick - self._planned + 1, self.hold, storage, prices,
            storage_value, commitment,
        )  # fmt: skip

    def _new_seat(self) -> PlanningSeat:
        return PlanningSeat(self.planner, self.forecaster, self.climatologies, self.horizon, self.hold, self.scenarios)


def _climatology(name: str) -> Climatology:
    if not name.endswith((".yaml", ".yml")):
        return Climatology.from_mapping(name, load_preset("climatology", name))
    try:
        data = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AgentError(f"mpc: climatology {name!r} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise AgentError(f"mpc: climatology {name!r} holds {data!r:.60}, expected a mapping with energy, premium and days")
    return Climatology.from_mapping(name, data)


@kernel
def _write_values(
    plant: Any, class_kw: Any, output: Any, product: Any,
    market: Any,  # (M,)
    site: Any,  # (M,)
    path: Any,  # (M,) row of prices
    table: Any,  # (M, R, G)
    row: int,
    hold: float,
    storage: Any,  # (B, N, 2)
    prices: Any,  # (P, 3)
    storage_value: Any,  # (B, N) out
    commitment: Any,  # (B, N, C) out
) -> None:  # fmt: skip
    for m in range(len(market)):
        b, n = market[m], site[m]
        width = (plant[n].soc_max - plant[n].soc_min) / table.shape[2]
        storage_value[b, n] = slope_at(table[m], row, storage[b, n, 0], plant[n].soc_min, width) if width > 0.0 else math.nan
        for c in range(class_kw.shape[1]):
            revenue = prices[path[m], product[n, c]] * output[n, c]
            commitment[b, n, c] = max(0.0, hold * plant[n].boot_loss * revenue)
