"""Model predictive control: plan the day, bid the truth at the storage value of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.storage.base import StorageRule
from gridpilot.agents.storage.day_plan import CLIMATOLOGIES, DayPlan, check_plan
from gridpilot.agents.storage.planner import CLIMATOLOGY, SeatPlanner
from gridpilot.market.units import TICKS_PER_DAY

__all__ = ["MPC"]


class MPC(Bidder):
    """Plans storage over the coming day, and bids its value curve with a stored kWh worth what the plan says.

    By default it plans on arrays from a climatology (:class:`~gridpilot.agents.storage.day_plan.DayPlan`); with another planner or
    forecaster every seat plans for itself (:class:`~gridpilot.agents.storage.planner.SeatPlanner`).

    ``planner``        ``dynamic``, or a name of ``conf/planner``, or a mapping of its parameters with ``name``
    ``forecaster``     ``climatology``, or a name of ``conf/forecaster``, or a mapping of its parameters with ``name``
    ``climatologies``  names of ``conf/climatology`` to choose from, or paths of such files as ``gridpilot climatology`` writes
    ``horizon``        ticks planned ahead; less where the episode ends before. What is stored then saves buying at the mean price
    ``replan``         ticks a plan is used for, the state of charge being read every tick; seat by seat it plans every tick
    ``hold``           commitment value of every class, in boot losses: it does not stop for prices that pass. ``None`` takes the planner's
    ``cells``          of the state of charge, on arrays
    ``scenarios``      paths asked of the forecaster, for a planner that looks at risk
    """

    def __init__(
        self,
        planner: str | Mapping[str, Any] = "dynamic",
        forecaster: str | Mapping[str, Any] = CLIMATOLOGY,
        climatologies: Sequence[str] = CLIMATOLOGIES,
        horizon: int = TICKS_PER_DAY,
        replan: int = 48,
        hold: float | None = 1.0,
        cells: int = 20,
        scenarios: int = 0,
    ) -> None:
        check_plan(horizon=horizon, replan=replan, cells=cells, hold=hold)
        storage: StorageRule
        if planner == "dynamic" and forecaster == CLIMATOLOGY and hold is not None:
            storage = DayPlan(climatologies, horizon, replan, hold, cells)
        else:
            storage = SeatPlanner(planner, forecaster, climatologies, horizon, hold, scenarios)
        super().__init__(storage=storage)
