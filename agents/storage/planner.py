"""A storage rule that plans seat by seat, with any planner and any forecaster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.agents.storage.base import StorageRule, Worth
from gridpilot.agents.storage.day_plan import CLIMATOLOGIES, check_plan, hourly, load_climatologies
from gridpilot.forecasting.base import CHANNELS, Forecast, Row
from gridpilot.forecasting.climatology import recognise
from gridpilot.forecasting.registry import build_forecaster
from gridpilot.market.encoding import MEAN
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.site import Site
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK
from gridpilot.planning.base import Outlook, Plan
from gridpilot.planning.registry import build_planner

__all__ = ["CLIMATOLOGY", "SeatPlanner"]

FloatArray = npt.NDArray[np.float64]

CLIMATOLOGY = "climatology"


class SeatPlanner(StorageRule):
    """Turns observations into an outlook, an outlook into a plan, and a plan into storage and commitment values, seat by seat.

    Energy, hash and token prices come from the forecaster, the premium that scarcity adds from the climatology that fits the history.

    ``planner``        a name of ``conf/planner``, or a mapping of its parameters with ``name``
    ``forecaster``     ``climatology``, or a name of ``conf/forecaster``, or a mapping of its parameters with ``name``
    ``climatologies``  names of ``conf/climatology`` to choose from, or paths of such files
    ``horizon``        ticks planned ahead; less where the episode ends before
    ``hold``           least commitment value of every class, in boot losses; ``None`` leaves it to the planner
    ``scenarios``      joint paths asked of the forecaster, for planners that look at risk
    """

    reads = ()
    on_arrays = False

    def __init__(
        self,
        planner: str | Mapping[str, Any] = "dynamic",
        forecaster: str | Mapping[str, Any] = CLIMATOLOGY,
        climatologies: Sequence[str] = CLIMATOLOGIES,
        horizon: int = TICKS_PER_DAY,
        hold: float | None = 1.0,
        scenarios: int = 0,
    ) -> None:
        check_plan(horizon=horizon, hold=hold)
        self._forecaster_spec = forecaster
        self.climatologies = load_climatologies(climatologies)
        self.horizon, self.hold, self.scenarios = horizon, hold, scenarios
        self.planner = build_planner(planner)
        self.forecaster = None if forecaster == CLIMATOLOGY else build_forecaster(forecaster, CHANNELS, TICKS_PER_DAY)
        self.plan: Plan | None = None  # the last one
        self.forecast: Forecast | None = None  # the last one

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Forget the last episode."""
        self.site, self.market = site, market
        self.planner.reset(site)
        if self._forecaster_spec != CLIMATOLOGY:
            self.forecaster = build_forecaster(self._forecaster_spec, CHANNELS, TICKS_PER_DAY)
        self.plan = self.forecast = None
        self._begun = False

    def worth(self, observation: Observation) -> Worth:
        """What the plan says, and at least ``hold`` boot losses for machines that run."""
        self._take_in(observation)
        outlook = self._outlook(observation)
        self._expected = outlook.prices
        self.plan = plan = self.planner.plan(observation.state, outlook)
        kappa = plan.commitment_value
        if self.hold is not None:
            revenue = np.array(
                [
                    machines.output / machines.unit_kw * observation.prices[1 + CHANNELS[1:].index(machines.product)]
                    for machines in self.site.fleet
                ]
            )
            kappa = np.maximum(kappa, self.hold * self.site.boot_loss * revenue)
        battery = self.site.battery
        usable = battery.power_kw > 0.0 and battery.soc_max > battery.soc_min and battery.energy_kwh > 0.0
        return Worth(plan.storage_value if usable else None, np.maximum(kappa, 0.0))

    def rationale(self, row: int) -> Mapping[str, Any]:
        """The rung that answered, what it expects to pay by hour, and what it plans to hold and to draw."""
        plan = self.plan
        if plan is None:
            return {}
        return {
            "rule": "plan",
            "rung": plan.rung,
            "reasons": list(plan.reasons),
            "expected_price_dollars_per_kwh": hourly(self._expected[:, 0]),
            "planned_stored_kwh": plan.soc_kwh[:: max(1, len(plan.soc_kwh) // 24)].tolist(),
            "planned_grid_kw": float(plan.grid_kw[0]),
            "planned_charge_kw": float(plan.charge_kw[0]),
            "planned_discharge_kw": float(plan.discharge_kw[0]),
        }

    def _take_in(self, observation: Observation) -> None:
        if not self._begun:  # the first tick, or one in the midst of an episode
            self._begun = True
            rows = observation.history
            past = np.arange(len(rows))[:, None] - (len(rows) - 1) + observation.week_tick
            self._kind = int(recognise(self.climatologies, rows[:, :1], past)[0])
            self._usual = float(np.median(rows[:, 0]))
            if self.forecaster is not None:
                weeks = -(-len(rows) // TICKS_PER_WEEK) * TICKS_PER_WEEK  # so that no step of the history is negative
                self._first = observation.week_tick + weeks - observation.tick
                for i, prices in enumerate(rows):
                    self.forecaster.update(Row(self._first + observation.tick - (len(rows) - 1) + i, prices))
            return
        if self.forecaster is not None:
            self.forecaster.update(Row(self._first + observation.tick, observation.prices))

    def _usual_prices(self, week_tick: int, length: int) -> tuple[FloatArray, FloatArray]:
        if self._kind < 0:
            return np.full(length, self._usual), np.zeros(length)
        return self.climatologies[self._kind].expected(week_tick + np.arange(length))

    def _outlook(self, observation: Observation) -> Outlook:
        remaining = observation.market.ticks - observation.tick
        length = min(remaining, self.horizon)
        energy, premium = self._usual_prices(observation.week_tick, length)
        prices = np.repeat(observation.prices[None], length, axis=0)
        prices[1:, 0] = energy[1:]
        scenarios = None
        if self.forecaster is not None and length > 1:
            self.forecast = self.forecaster.forecast(length - 1, scenarios=self.scenarios)
            prices[1:] = self.forecast.mean
            if self.scenarios:
                first = np.repeat(prices[None, :1], self.scenarios, axis=0)
                scenarios = np.concatenate([first, self.forecast.scenarios], axis=1)
        prices[:, 0] += premium
        if scenarios is not None:
            scenarios[:, :, 0] += premium
        terminal = None
        if remaining <= self.horizon:  # at the end of the episode a stored kWh saves buying one at the mean price
            mean = max(float(observation.levels[MEAN]), 0.0)
            battery = self.site.battery
            room = (battery.soc_max - battery.soc_min) * battery.energy_kwh
            terminal = np.array([[room, battery.discharge_efficiency * mean]])
            # Beyond the end nothing earns, so nothing is done; a horizon of constant length lets planners start warm.
            beyond = np.repeat([[mean, 0.0, 0.0]], self.horizon - length, axis=0)
            prices = np.concatenate([prices, beyond])
            if scenarios is not None:
                scenarios = np.concatenate([scenarios, np.repeat(beyond[None], len(scenarios), axis=0)], axis=1)
        return Outlook(prices, np.full(len(prices), observation.ambient_c), scenarios=scenarios, terminal=terminal)
