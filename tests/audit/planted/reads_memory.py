"""An agent that could read any memory."""

from __future__ import annotations

import ctypes

from cheats import Valuing

from gridpilot.market.observation import Observation


class ReadsMemory(Valuing):
    def worth(self, observation: Observation) -> float:
        return 0.05 + 0.0 * len(ctypes.string_at(id(self), 8))
