"""A storage rule that plans the day from a climatology by the dynamic programme, for thousands of seats at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from gridpilot.agents.storage.base import StorageRule, Worth
from gridpilot.agents.view import View
from gridpilot.documents import read_yaml
from gridpilot.errors import AgentError
from gridpilot.forecasting.climatology import Climatology, recognise
from gridpilot.market.clearing import PARALLEL_FROM
from gridpilot.market.compilation import kernel
from gridpilot.market.encoding import MEAN
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.site import Site, SiteArrays, pack_sites
from gridpilot.market.units import DT, TICKS_PER_DAY, TICKS_PER_HOUR
from gridpilot.planning.dynamic_kernels import plan_parallel, plan_range, slope_at
from gridpilot.setup import load_preset

__all__ = ["CLIMATOLOGIES", "DayPlan", "check_plan", "hourly", "load_climatologies"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CLIMATOLOGIES: Final = ("ercot", "aemo_nsw", "mara_event")


class DayPlan(StorageRule):
    """Plans storage over the coming day, and takes a stored kWh to be worth what the plan says.

    It expects the prices of a climatology, the one that fits the history best, with the premium that scarcity adds to the energy price,
    and plans by the dynamic programme over the charge.

    ``climatologies``  names of ``conf/climatology`` to choose from, or paths of such files as ``gridpilot climatology`` writes
    ``horizon``        ticks planned ahead; less where the episode ends before. What is stored then saves buying at the mean price
    ``replan``         ticks a plan is used for, the state of charge being read every tick
    ``hold``           commitment value of every class, in boot losses: it does not stop for prices that pass
    ``cells``          of the state of charge
    """

    reads = ("history", "week_tick", "prices", "ambient_c", "levels", "storage")
    writes = ("storage_value", "commitment")

    def __init__(
        self,
        climatologies: Sequence[str] = CLIMATOLOGIES,
        horizon: int = TICKS_PER_DAY,
        replan: int = 48,
        hold: float = 1.0,
        cells: int = 20,
    ) -> None:
        check_plan(horizon=horizon, replan=replan, cells=cells, hold=hold)
        self.horizon, self.replan, self.hold, self.cells = horizon, replan, hold, cells
        self.climatologies = load_climatologies(climatologies)
        self._planned: int | None = None  # tick of the plan in force

    # One seat.

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Forget the last episode."""
        self._arrays = pack_sites([site], market.n_classes)
        self._site = self._path = np.zeros(1, dtype=np.int64)
        self._planned = None

    def worth(self, observation: Observation) -> Worth:
        """The slope of the plan's value at the state of charge, and ``hold`` boot losses."""
        if self._planned is None:  # the first tick, or one in the midst of an episode
            self._begin(observation.history[:, None, 0], np.array([observation.week_tick]), observation.tick)
        if self._is_due(observation.tick):
            remaining = observation.market.ticks - observation.tick
            self._plan(
                self._arrays, observation.tick, remaining, observation.prices[None], np.array([observation.ambient_c]),
                observation.levels[MEAN : MEAN + 1], parallel=False,
            )  # fmt: skip
        storage_value = np.empty(1)
        commitment = np.empty((1, self._arrays.n_classes))
        storage = np.array([[observation.state.soc_kwh, 0.0]])
        self._write(self._arrays, observation.tick, storage, observation.prices[None], storage_value, commitment)
        value = float(storage_value[0])
        return Worth(None if math.isnan(value) else value, commitment[0, : len(observation.site.fleet)])

    # Many seats.

    def reset_batch(self, view: View) -> None:
        """Choose a climatology by market; its seats share the outlook."""
        self._site, self._path = view.plant, view.market
        self._begin(view.history[:, :, 0], view.week_tick, view.tick)

    def value_batch(self, view: View) -> None:
        """Plan where it is time to, and value each battery."""
        if self._is_due(view.tick):
            parallel = view.n_markets >= PARALLEL_FROM
            remaining = view.ticks - view.tick
            self._plan(view.plants, view.tick, remaining, view.prices, view.ambient_c, view.levels[:, MEAN], parallel=parallel)
        self._write(view.plants, view.tick, view.storage, view.prices, view.orders.storage_value, view.orders.commitment)

    def rationale(self, row: int) -> Mapping[str, Any]:
        """What it expects to pay, by hour from when it planned, and what a stored kWh would be worth to an empty and to a full battery."""
        if self._planned is None:
            return {}
        kind = int(self._kind[self._path[row]])
        values = self._table[row, self._used]
        return {
            "rule": "plan",
            "rung": "dynamic",
            "expects_the_days_of": self.climatologies[kind].name if kind >= 0 else "",
            "planned_at_tick_number": self._planned,
            "expected_price_dollars_per_kwh": hourly(self._expected[self._path[row], :, 0]),
            "empty_battery_value_dollars_per_kwh": float(values[0]),
            "full_battery_value_dollars_per_kwh": float(values[-1]),
        }

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
        self._expected = paths
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
        assert self._planned is not None
        self._used = tick - self._planned + 1
        _write_values(
            *arrays, self._site, self._path, self._table, self._used, self.hold, storage, prices,
            storage_value, commitment,
        )  # fmt: skip


def check_plan(*, hold: float | None, **counts: int) -> None:
    """Raises :class:`~gridpilot.errors.AgentError` for counts below 1 and a negative or infinite ``hold``."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise AgentError(f"mpc: {name} is {value!r}, expected a whole number of at least 1")
    if hold is not None and not 0.0 <= hold < math.inf:
        raise AgentError(f"mpc: hold is {hold!r}, expected a finite number >= 0 or None")


def hourly(prices: FloatArray) -> list[float]:
    """Means of ``prices (L,)`` by hour, for at most a day; the last hour may be a short one."""
    day = prices[:TICKS_PER_DAY]
    starts = np.arange(0, len(day), TICKS_PER_HOUR)
    means: list[float] = (np.add.reduceat(day, starts) / np.diff([*starts, len(day)])).tolist()
    return means


def load_climatologies(names: Sequence[str]) -> list[Climatology]:
    """Climatologies by name of ``conf/climatology`` or path. Raises :class:`~gridpilot.errors.AgentError` for a file that is none."""
    return [_read_climatology(name) if name.endswith((".yaml", ".yml")) else _preset_climatology(name) for name in names]


@functools.cache
def _preset_climatology(name: str) -> Climatology:
    return Climatology.from_mapping(name, load_preset("climatology", name))


def _read_climatology(name: str) -> Climatology:
    try:
        text = Path(name).read_bytes()
    except OSError as error:
        raise AgentError(f"mpc: climatology {name!r} cannot be read: {error}") from error
    data = read_yaml(text, f"mpc: climatology {name!r}", AgentError)
    if not isinstance(data, dict):
        raise AgentError(f"mpc: climatology {name!r} holds {data!r:.60}, expected a mapping with energy, premium and days")
    return Climatology.from_mapping(name, data)


@kernel
def _write_values(
    plant: Any, class_kw: Any, output: Any, product: Any,
    site: Any,  # (M,)
    path: Any,  # (M,) row of prices
    table: Any,  # (M, R, G)
    row: int,
    hold: float,
    storage: Any,  # (M, 2)
    prices: Any,  # (P, 3)
    storage_value: Any,  # (M,) out
    commitment: Any,  # (M, C) out
) -> None:  # fmt: skip
    for m in range(len(site)):
        n = site[m]
        width = (plant[n].soc_max - plant[n].soc_min) / table.shape[2]
        storage_value[m] = slope_at(table[m], row, storage[m, 0], plant[n].soc_min, width) if width > 0.0 else math.nan
        for c in range(class_kw.shape[1]):
            revenue = prices[path[m], product[n, c]] * output[n, c]
            commitment[m, c] = max(0.0, hold * plant[n].boot_loss * revenue)
