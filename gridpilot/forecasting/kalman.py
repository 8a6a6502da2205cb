"""Kalman filters (filterpy): level, damped trend and daily season, linear on the z scale or unscented through the price itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.forecasting.base import CHANNELS
from gridpilot.forecasting.knot_member import KnotMember
from gridpilot.forecasting.transform import Recode

__all__ = ["Kalman", "UnscentedKalman"]

FloatArray = npt.NDArray[np.float64]

HARMONICS: Final = 2
SIZE: Final = 2 + 2 * HARMONICS  # level, trend, and a pair a harmonic
DAMPING_HOURS: Final = 0.5  # in which a trend falls to 1/e
TREND: Final = 1e-4  # variance of the trend's steps, in those of the level
SEASON: Final = 1e-6  # variance of a harmonic's steps, in those of the level
QUIET: Final = 0.02  # least variance of the level's steps, in that of the changes
WINDOW_HOURS: Final = 24.0  # over which the size of the level's steps is measured
PRIOR_ROWS: Final = 6  # that the first variance counts for
BEYOND: Final = 0.25  # share of the range of z by which a forecast may leave it
CLIP: Final = 6.0  # standard deviations at which a surprise is cut


class _StateSpace(KnotMember):
    """``x = (level, trend, season pairs)``: the structural model of Harvey 1989 with trigonometric season, one filter a channel.

    Variances are found by moments: the changes of a level with steps of variance q, observed with noise of variance r, have variance
    q + 2 r and autocovariance -r.
    """

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> None:
        super().__init__(channels, steps_per_day)
        self._transition = _transition(self.steps_per_day)
        self._observation = np.array([[1.0, 0.0, *([1.0, 0.0] * HARMONICS)]])
        # What is expected h steps ahead is linear in the state: a row a horizon.
        rows, row = [], self._observation
        for _ in range(self.steps_per_day):
            row = row @ self._transition
            rows.append(row[0])
        self._ahead = np.array(rows)  # (day, SIZE)

    def _begin(self) -> None:
        self._reach = np.zeros((2, len(self.channels)))  # least and greatest z of late
        self._variance = np.full(len(self.channels), 0.01)  # of changes, running
        self._covariance = np.zeros(len(self.channels))  # of a change with the one before
        self._last_z = np.zeros(len(self.channels))
        self._change = np.zeros(len(self.channels))
        self._filters: list[Any] = []

    def _recode(self, transform: Recode) -> None:
        # Levels move with the scale; seasons and trends are small and found again.
        for c, own in enumerate(self._filters):
            point = np.zeros(len(self.channels))
            point[c] = float((self._observation @ self._mean(own))[0])
            own.x.flat[0] += float(transform(point)[c]) - point[c]
        self._last_z = transform(self._last_z)
        self._reach = transform(self._reach)

    def _absorb(self, step: int, z: FloatArray) -> None:
        if not self._filters:
            self._filters = [self._filter(float(value)) for value in z]
            self._reach, self._last_z = np.stack([z, z]), z
            return
        window = min(self.rows + PRIOR_ROWS, WINDOW_HOURS * self.steps_per_day / 24)
        limit = CLIP * np.sqrt(self._variance)
        change = np.clip(z - self._last_z, -limit, limit)
        self._covariance += (change * self._change - self._covariance) / window
        self._variance = np.maximum(self._variance + (change**2 - self._variance) / window, 1e-12)
        self._last_z, self._change = z, change
        faded = z + (1.0 - 1.0 / (30.0 * self.steps_per_day)) * (self._reach - z)
        self._reach = np.stack([np.minimum(z, faded[0]), np.maximum(z, faded[1])])
        noise = np.clip(-self._covariance, QUIET * self._variance, 0.5 * self._variance)
        steps = np.maximum(self._variance - 2.0 * noise, QUIET * self._variance)
        for c, own in enumerate(self._filters):
            own.Q = float(steps[c]) * self._process_noise()
            own.R = np.array([[float(noise[c])]])
            own.predict()
            if not self.held[c]:
                expected = float((self._observation @ self._mean(own))[0])
                # A surprise beyond CLIP is cut, so that a spike does not carry the level away.
                self._take(own, float(np.clip(z[c], expected - limit[c], expected + limit[c])))

    def _path(self, horizon: int) -> FloatArray:
        path = np.empty((horizon, len(self.channels)))
        rows = np.arange(horizon) % len(self._ahead)  # beyond a day trends have died out and seasons repeat
        for c, own in enumerate(self._filters):
            low, high = self._reach[:, c]
            slack = BEYOND * (high - low)
            path[:, c] = np.clip(self._ahead[rows] @ self._mean(own), low - slack, high + slack)
        return path

    def _process_noise(self) -> FloatArray:
        return np.diag([1.0, TREND, *([SEASON] * (2 * HARMONICS))])

    @staticmethod
    def _mean(own: Any) -> FloatArray:
        return np.asarray(own.x, dtype=np.float64).reshape(-1)

    @abstractmethod
    def _filter(self, z: float) -> Any: ...

    @abstractmethod
    def _take(self, own: Any, z: float) -> None: ...


class Kalman(_StateSpace):
    """The linear filter on the z scale (Kalman 1960)."""

    name = "kalman"

    def _filter(self, z: float) -> Any:
        from filterpy.kalman import KalmanFilter

        own = KalmanFilter(dim_x=SIZE, dim_z=1)
        own.F, own.H = self._transition, self._observation
        own.x = np.zeros((SIZE, 1))
        own.x[0, 0] = z
        own.P = np.diag([0.01, 1e-4, *([0.01] * (2 * HARMONICS))])
        return own

    def _take(self, own: Any, z: float) -> None:
        own.update(np.array([[z]]))


class UnscentedKalman(_StateSpace):
    """The unscented filter (Julier and Uhlmann 1997, sigma points of Van der Merwe 2004): the same state, observed as a price.

    The state is on the z scale, what is observed is ``sinh`` of it, with noise in units of the price: where prices are high a price says
    little about the logarithmic level, where they are ordinary it says all.
    """

    name = "ukf"

    def _filter(self, z: float) -> Any:
        from filterpy.kalman import MerweScaledSigmaPoints, UnscentedKalmanFilter

        points = MerweScaledSigmaPoints(n=SIZE, alpha=0.5, beta=2.0, kappa=0.0)
        own = UnscentedKalmanFilter(
            dim_x=SIZE, dim_z=1, dt=1.0, fx=_Move(self._transition), hx=_Price(self._observation), points=points
        )
        own.x = np.zeros(SIZE)
        own.x[0] = z
        own.P = np.diag([0.01, 1e-4, *([0.01] * (2 * HARMONICS))])
        return own

    def _take(self, own: Any, z: float) -> None:
        # Rounding makes a covariance lose its positive definiteness in the end: what is added is far below any noise.
        own.update(np.array([np.sinh(np.clip(z, -50.0, 50.0))]))
        own.P = 0.5 * (own.P + own.P.T) + 1e-14 * np.eye(SIZE)


class _Move:
    """The linear transition as the function filterpy asks for; a class, so that it can be pickled."""

    def __init__(self, matrix: FloatArray) -> None:
        self.matrix = matrix

    def __call__(self, x: FloatArray, dt: float) -> FloatArray:
        return np.asarray(self.matrix @ x)


class _Price:
    """The price, in units of its scale, of a state."""

    def __init__(self, matrix: FloatArray) -> None:
        self.matrix = matrix

    def __call__(self, x: FloatArray) -> FloatArray:
        return np.sinh(np.clip(self.matrix @ x, -50.0, 50.0))


def _transition(steps_per_day: int) -> FloatArray:
    matrix = np.zeros((SIZE, SIZE))
    damping = np.exp(-24.0 / (DAMPING_HOURS * steps_per_day))
    matrix[0, :2] = 1.0
    matrix[1, 1] = damping
    for i in range(HARMONICS):
        angle, j = 2.0 * np.pi * (i + 1) / steps_per_day, 2 + 2 * i
        matrix[j : j + 2, j : j + 2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return matrix
