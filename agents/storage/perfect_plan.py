"""Planning with perfect foresight: the same plan given the true future."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gridpilot.agents.storage.base import Worth
from gridpilot.agents.storage.day_plan import DayPlan
from gridpilot.agents.view import ClairvoyantView, View
from gridpilot.errors import AgentError
from gridpilot.market.arena import Arena
from gridpilot.market.encoding import MEAN
from gridpilot.market.observation import Observation

__all__ = ["PerfectPlan"]

FloatArray = npt.NDArray[np.float64]


class PerfectPlan(DayPlan):
    """Plans with the prices that will come: clearing prices as they are when everybody bids the truth, hash, token and weather as they are.

    It rehearses the episode with truthful agents in all seats, and plans its storage against the prices of the rehearsal: exact where it
    is the only one that plans and too small to move them, too hopeful where all do. It is shown simulated markets only.
    """

    clairvoyant: ClassVar[bool] = True

    def __init__(self, replan: int = 48, hold: float = 1.0, cells: int = 20) -> None:
        super().__init__(climatologies=(), replan=replan, hold=hold, cells=cells)

    def worth(self, observation: Observation) -> Worth:
        """Raises :class:`~gridpilot.errors.AgentError`: an observation does not show the future."""
        raise AgentError("foresight plays only where the future is known: in simulated markets, through reset_batch and bid_batch")

    def reset_batch(self, view: View) -> None:
        """Rehearse the markets that are played."""
        super().reset_batch(view)
        if not isinstance(view, ClairvoyantView):
            raise AgentError("foresight is not shown the future here, and cannot play without")
        scenario = view.scenario
        rehearsal = Arena(view.sites, view.rules, scenario.n_markets)
        rehearsal.start(scenario)
        while not rehearsal.done:
            rehearsal.step()
        self._future = scenario.prices[scenario.history :].transpose(1, 0, 2).copy()
        self._future[:, :, 0] = rehearsal.cleared[:, :, 0].T
        self._weather = scenario.ambient[scenario.history :].T.copy()
        self._end = rehearsal.levels[:, MEAN].copy()

    def _outlook(self, tick: int, length: int, prices: FloatArray) -> FloatArray:
        return np.ascontiguousarray(self._future[:, tick : tick + length])

    def _ambient(self, tick: int, length: int, now: FloatArray) -> FloatArray:
        return np.ascontiguousarray(self._weather[:, tick : tick + length])

    def _closing_price(self, tick: int, mean: FloatArray) -> FloatArray:
        return self._end
