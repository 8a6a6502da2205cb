"""Risk-averse model predictive control: a stored kWh is worth more to a site that fears dear days."""

from __future__ import annotations

from collections.abc import Sequence

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.storage.cvar_plan import CVaRPlan
from gridpilot.agents.storage.day_plan import CLIMATOLOGIES
from gridpilot.market.units import TICKS_PER_DAY

__all__ = ["MPCCVaR"]


class MPCCVaR(Bidder):
    """Plans each of the typical days of its climatology, weighs their storage values by how bad the days would be, and bids the truth.

    Parameters are those of :class:`~gridpilot.agents.storage.cvar_plan.CVaRPlan`.
    """

    def __init__(
        self,
        risk_weight: float = 0.5,
        tail: float = 0.2,
        climatologies: Sequence[str] = CLIMATOLOGIES,
        horizon: int = TICKS_PER_DAY,
        replan: int = 48,
        hold: float = 1.0,
        cells: int = 20,
    ) -> None:
        super().__init__(storage=CVaRPlan(risk_weight, tail, climatologies, horizon, replan, hold, cells))
