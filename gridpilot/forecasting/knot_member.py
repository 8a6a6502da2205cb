"""What the light members share: the z scale, bands around their path, and the way back to prices."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from gridpilot.forecasting.base import CHANNELS, Forecaster
from gridpilot.forecasting.conformal import Bands
from gridpilot.forecasting.knots import knot_steps, knot_weights, spread_knots
from gridpilot.forecasting.transform import AsinhScale, Recode

__all__ = ["KnotMember", "mean_of_quantiles"]

FloatArray = npt.NDArray[np.float64]


def mean_of_quantiles(quantiles: FloatArray) -> FloatArray:
    """The mean ``(H, C)`` of the distribution with 5, 25, 50, 75, 95 % ``quantiles`` ``(H, 5, C)``.

    The three-point rule of Pearson and Tukey, 0.63 median + 0.185 (5 % + 95 %), the most exact of those compared in Keefer and Bodily 1983,
    "Three-point approximations for continuous random variables", Management Science 29(5).
    """
    mean: FloatArray = 0.63 * quantiles[:, 2] + 0.185 * (quantiles[:, 0] + quantiles[:, 4])
    return mean


class KnotMember(Forecaster):
    """A member that forecasts a path of medians on the z scale; its bands are conformal.

    A subclass implements ``_begin`` (forget), ``_absorb`` (learn from a z), ``_path`` (medians of the coming steps) and, when it keeps
    old z, ``_recode``: the scale of z is found again once a day.
    """

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> None:
        super().__init__(channels, steps_per_day)
        self.knots = knot_steps(self.steps_per_day)

    def _start(self) -> None:
        self._scale = AsinhScale(len(self.channels), self.steps_per_day)
        self._bands = Bands(len(self.channels), self.knots, self.steps_per_day)
        self._step = 0
        self._begin()

    def _learn(self, step: int, prices: FloatArray) -> None:
        transform = self._scale.learn(prices)
        if transform is not None:
            self._bands.recode(transform)
            self._recode(transform)
        self._step = step
        z = self._scale.encode(prices)
        self._bands.learn(step, z, self.held)
        self._absorb(step, z)
        self._centre = self._path(int(self.knots[-1]))  # (day, C)
        self._offsets = self._bands.issue(step, z, self._centre[self.knots - 1])

    def _predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        centre = self._medians(horizon)
        below, share = knot_weights(self.knots, horizon)
        offsets = np.empty((horizon, self._offsets[0].size))
        spread_knots(self._offsets.reshape(len(self.knots), -1), below, share, offsets)
        z = centre[:, :, None] + offsets.reshape(horizon, len(self.channels), -1)  # (H, C, Q)
        quantiles = np.ascontiguousarray(self._scale.decode(z.transpose(0, 2, 1)))
        return mean_of_quantiles(quantiles), quantiles

    def _median(self, horizon: int) -> FloatArray:
        return self._scale.decode(self._medians(horizon))

    def _medians(self, horizon: int) -> FloatArray:
        return self._centre[:horizon] if horizon <= len(self._centre) else self._path(horizon)

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _absorb(self, step: int, z: FloatArray) -> None: ...

    @abstractmethod
    def _path(self, horizon: int) -> FloatArray: ...

    def _recode(self, transform: Recode) -> None:
        """Bring what was kept to a new scale of z: ``transform`` ``(..., C)`` takes the old to the new."""
