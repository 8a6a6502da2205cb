"""Perfect foresight: the planner of mpc given the true future. The upper bound that `capture` is measured against."""

from __future__ import annotations

from typing import ClassVar

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.storage.perfect_plan import PerfectPlan

__all__ = ["Foresight"]


class Foresight(Bidder):
    """Bids its value curve with a stored kWh worth what a plan with perfect foresight says, in simulated markets only.

    Parameters are those of :class:`~gridpilot.agents.storage.perfect_plan.PerfectPlan`.
    """

    clairvoyant: ClassVar[bool] = True

    def __init__(self, replan: int = 48, hold: float = 1.0, cells: int = 20) -> None:
        super().__init__(storage=PerfectPlan(replan, hold, cells))
