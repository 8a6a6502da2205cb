"""Risk-averse planning: a stored kWh is worth more to a site that fears dear days."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gridpilot.agents.storage.day_plan import CLIMATOLOGIES, DayPlan
from gridpilot.errors import AgentError
from gridpilot.market.site import SiteArrays
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.risk.tail import tail_weights

__all__ = ["CVaRPlan"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class CVaRPlan(DayPlan):
    """Plans each of the typical days of its climatology, and weighs their storage values by how bad the days would be.

    Maximises ``(1 - risk_weight) mean + risk_weight CVaR`` of the profit over the days, whose gradient in the charge is the mean of the
    days' storage values under the weights of that measure (Rockafellar and Uryasev 2002). Every day is planned as if it were known: an
    approximation of the linear programme over scenarios, which ``mpc`` with ``planner: cvar`` solves in a hundred times the time. Where no
    climatology fits, it plans as ``mpc`` does.

    ``risk_weight``  [0, 1], 0 is the mean over the days
    ``tail``         (0, 1], the share of the days that counts as the tail
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
        super().__init__(climatologies=climatologies, horizon=horizon, replan=replan, hold=hold, cells=cells)
        if not 0.0 <= risk_weight <= 1.0 or not 0.0 < tail <= 1.0:
            raise AgentError(f"mpc_cvar: risk_weight is {risk_weight} and tail {tail}, expected them in [0, 1] and (0, 1]")
        self.risk_weight, self.tail = risk_weight, tail

    def _outlook(self, tick: int, length: int, prices: FloatArray) -> FloatArray:
        """A path for every market and typical day, ``(P S, length, 3)``, market by market."""
        usual = super()._outlook(tick, length, prices)
        days = min((len(self.climatologies[kind].days) for kind in np.unique(self._kind) if kind >= 0), default=1)
        self._days = max(days, 1)
        paths = np.repeat(usual, self._days, axis=0)
        week_tick = self._start[:, None] + np.arange(tick, tick + length)
        for market, kind in enumerate(self._kind.tolist()):
            if kind >= 0 and days:
                slots = self.climatologies[kind].slots(week_tick[market])[1]
                paths[market * days : (market + 1) * days, :, 0] = self.climatologies[kind].days[:days, slots]
        return paths

    def _solve(
        self, arrays: SiteArrays, paths: FloatArray, path: IntArray, ambient: FloatArray, ends: FloatArray, *, parallel: bool
    ) -> tuple[npt.NDArray[np.float32], FloatArray]:
        days, seats = self._days, len(path)
        each = (path[:, None] * days + np.arange(days)).ravel()
        site, self._site = self._site, np.repeat(self._site, days)
        try:
            table, value = super()._solve(
                arrays, paths, each, np.repeat(ambient, days, axis=0), np.repeat(ends, days), parallel=parallel
            )
        finally:
            self._site = site
        table, value = table.reshape(seats, days, *table.shape[1:]), value.reshape(seats, days)
        weights = (1.0 - self.risk_weight) / days + self.risk_weight * tail_weights(value, self.tail)
        return np.einsum("ms,msrg->mrg", weights, table).astype(np.float32), (weights * value).sum(axis=1)
