"""Persistence: the price stays where it is. What every other member is measured against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gridpilot.forecasting.knot_member import KnotMember

__all__ = ["Persistence"]

FloatArray = npt.NDArray[np.float64]


class Persistence(KnotMember):
    """The last price at every horizon, with the conformal quantiles of the changes over that horizon."""

    name = "persistence"

    def _begin(self) -> None:
        self._z = np.zeros(len(self.channels))

    def _absorb(self, step: int, z: FloatArray) -> None:
        self._z = z

    def _path(self, horizon: int) -> FloatArray:
        return np.broadcast_to(self._z, (horizon, len(self.channels)))
