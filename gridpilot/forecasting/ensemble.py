"""The ensemble: members weighted by how well they did of late, anchored to persistence, with calibrated bands and joint scenarios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.base import CHANNELS, QUANTILE_LEVELS, Forecaster
from gridpilot.forecasting.conformal import Bands
from gridpilot.forecasting.knot_member import mean_of_quantiles
from gridpilot.forecasting.knots import knot_steps, knot_weights, spread_knots
from gridpilot.forecasting.persistence import Persistence
from gridpilot.forecasting.registry import build_forecaster
from gridpilot.forecasting.scenarios import ErrorBlocks, draw_scenarios
from gridpilot.forecasting.stream import CleanRow
from gridpilot.forecasting.transform import AsinhScale
from gridpilot.forecasting.weights import Aggregation

__all__ = ["Ensemble"]

FloatArray = npt.NDArray[np.float64]

DISAGREEMENT_HOURS: Final = 6.0  # horizon at which the members' disagreement is measured


class Ensemble(Forecaster):
    """Combines the medians of ``members`` per channel and horizon, and puts conformal bands around the result.

    ``members`` are names of ``conf/forecaster`` files, mappings with a ``name``, or forecasters built for the same stream. Persistence is
    always among them, as the anchor that weights start from and fall back to (:mod:`gridpilot.forecasting.weights`). The bands
    (:mod:`gridpilot.forecasting.conformal`) are those of the ensemble's own past errors, in units of the volatility expected, to which the
    disagreement of the members adds; scenarios resample whole days of those errors (:mod:`gridpilot.forecasting.scenarios`).

    A member whose library is missing is left out with a note. One that fails to learn or to forecast is left out of that forecast with a
    note, and is scored as if it had said what persistence says. ``schedule`` is handed to the members, see
    :class:`~gridpilot.forecasting.base.Forecaster`.
    """

    name = "ensemble"

    def __init__(
        self,
        channels: tuple[str, ...] = CHANNELS,
        steps_per_day: int = 288,
        members: Sequence[str | Mapping[str, Any] | Forecaster] = ("rls", "harmonic_ar", "seasonal_naive", "kalman"),
        schedule: Callable[[Forecaster], None] | None = None,
    ) -> None:
        super().__init__(channels, steps_per_day)
        self.knots = knot_steps(self.steps_per_day)
        self.members: list[Forecaster] = [Persistence(self.channels, self.steps_per_day)]
        self._missing: list[str] = []
        for member in members:
            self._add(member)
        for forecaster in self.members:
            forecaster.schedule = schedule

    def _add(self, spec: str | Mapping[str, Any] | Forecaster) -> None:
        try:
            member = spec if isinstance(spec, Forecaster) else build_forecaster(spec, self.channels, self.steps_per_day)
        except MissingExtraError as error:
            self._missing.append(f"member {spec!r} left out: {error}")
            return
        if type(member) is Persistence:  # it is there already
            return
        if member.channels != self.channels or member.steps_per_day != self.steps_per_day:
            raise ForecastError(
                f"{self.name}: member {member.name} is for {member.channels} and {member.steps_per_day} steps a day,"
                f" expected {self.channels} and {self.steps_per_day}"
            )
        if isinstance(member, Ensemble):
            raise ForecastError(f"{self.name}: member {member.name} is an ensemble itself")
        self.members.append(member)

    def member_names(self) -> tuple[str, ...]:
        """A name a member, distinct: a second of the same name is called ``name_2``."""
        names: list[str] = []
        for member in self.members:
            same = sum(name == member.name or name.startswith(f"{member.name}_#") for name in names)
            names.append(member.name if not same else f"{member.name}_#{same + 1}")
        return tuple(name.replace("_#", "_") for name in names)

    def _start(self) -> None:
        count = len(self.channels)
        self._scale = AsinhScale(count, self.steps_per_day)
        self._aggregation = Aggregation(len(self.members), count, self.knots, self.steps_per_day)
        self._bands = Bands(count, self.knots, self.steps_per_day, extra=1)
        self._blocks = ErrorBlocks(self.knots, count, self.steps_per_day // 24)
        self._failures: dict[str, str] = {}

    def _learn(self, step: int, prices: FloatArray) -> None:
        transform = self._scale.learn(prices)
        if transform is not None:
            self._aggregation.recode(transform)
            self._bands.recode(transform)
        z = self._scale.encode(prices)
        row = CleanRow(step, prices, self.held, self.rows == 1)
        self._failures = {}
        for name, member in zip(self.member_names(), self.members, strict=True):
            try:
                member.learn(row)
            except Exception as error:  # a member may fail in any way; the others go on
                self._failures[name] = f"{name} could not learn: {type(error).__name__}: {error}"
        self._aggregation.learn(z, self.held)
        self._bands.learn(step, z, self.held)
        self._blocks.learn(self._bands.errors())
        self._paths = self._medians(int(self.knots[-1]))  # (M, day, C)
        at_knots = np.ascontiguousarray(self._paths[:, self.knots - 1])
        self._shares = self._aggregation.combine(at_knots)
        known = np.where(np.isnan(at_knots), at_knots[0], at_knots)
        centre = np.sum(self._shares * known, axis=0)
        self._offsets = self._bands.issue(step, z, centre, self._disagreement(known, z))

    def _medians(self, horizon: int) -> FloatArray:
        """Each member's medians on the z scale ``(M, H, C)``; nan for one that failed."""
        paths = np.full((len(self.members), horizon, len(self.channels)), np.nan)
        for m, (name, member) in enumerate(zip(self.member_names(), self.members, strict=True)):
            if name in self._failures:
                continue
            try:
                paths[m] = self._scale.encode(member.median(horizon))
            except Exception as error:  # a member may fail in any way; the others go on
                self._failures[name] = f"{name} could not forecast: {type(error).__name__}: {error}"
        if np.isnan(paths[0]).any():
            paths[0] = self._scale.encode(self._last)
        return paths

    def _disagreement(self, forecasts: FloatArray, z: FloatArray) -> FloatArray:
        """Log of the members' mean distance from persistence, relative to recent volatility ``(C, 1)``; a regressor of the bands' scale."""
        k = int(np.argmin(np.abs(self.knots - DISAGREEMENT_HOURS * self.steps_per_day / 24)))
        distance = np.abs(forecasts[:, k] - forecasts[0, k]).sum(axis=0) / max(1, len(forecasts) - 1)
        usual = self._bands.volatility() * np.sqrt(self.knots[k])
        ratio: FloatArray = np.clip(np.log((distance + 1e-9) / (usual + 1e-9)), -3.0, 3.0)
        return ratio[:, None]

    def _predict(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        paths = self._paths[:, :horizon] if horizon <= self._paths.shape[1] else self._medians(horizon)
        paths = np.where(np.isnan(paths), paths[0], paths)
        below, share = knot_weights(self.knots, horizon)
        count = len(self.channels)
        shares = np.empty((horizon, len(paths) * count))
        spread_knots(np.ascontiguousarray(self._shares.transpose(1, 0, 2)).reshape(len(self.knots), -1), below, share, shares)
        centre = np.sum(shares.reshape(horizon, len(paths), count).transpose(1, 0, 2) * paths, axis=0)
        offsets = np.empty((horizon, self._offsets[0].size))
        spread_knots(self._offsets.reshape(len(self.knots), -1), below, share, offsets)
        z = centre[:, :, None] + offsets.reshape(horizon, count, -1)
        quantiles = np.ascontiguousarray(self._scale.decode(z.transpose(0, 2, 1)))
        return mean_of_quantiles(quantiles), quantiles

    def _scenarios(self, step: int, count: int, quantiles: FloatArray) -> FloatArray:
        return draw_scenarios(
            quantiles, np.array(QUANTILE_LEVELS), count, seed=step, knots=self.knots, blocks=self._blocks.blocks()
        )

    def _notes(self) -> tuple[str, ...]:
        members = [note for member in self.members for note in member._notes()]
        return (*self._missing, *self._failures.values(), *members)

    def _weights(self) -> dict[str, float]:
        return dict(zip(self.member_names(), (float(share) for share in self._shares.mean(axis=(1, 2))), strict=True))
