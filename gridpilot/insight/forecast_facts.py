"""What a forecaster makes of the prices that were known at a tick: quantiles of the energy price ahead, and the prices that came.

Forecasts are made again from recorded prices; asking changes nothing, so equal rows give equal quantiles. In live operation the
forecaster is the agent's own where its parameters name one, elsewhere the library's default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import GridPilotError, JournalError
from gridpilot.forecasting.base import Forecaster, Row
from gridpilot.forecasting.registry import build_forecaster
from gridpilot.live.api import TICK, PriceRow
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import row_from_json
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_HOUR

__all__ = ["FORECASTER", "HORIZON", "ROWS", "Fan", "ahead", "expected", "forecaster_of", "foresee", "step_of"]

Facts = dict[str, Any]
FloatArray = npt.NDArray[np.float64]

FORECASTER: Final = "ensemble"
ROWS: Final = 488  # that a forecast is made from, the newest: a day and two thirds
HORIZON: Final = 72  # ticks ahead: six hours
MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC)  # step 0 of a feed
NAMES: Final = ("lowest", "low", "middle", "high", "highest")  # of the quantiles 5, 25, 50, 75 and 95 %


def step_of(at: datetime) -> int:
    """The number of a feed's row, as forecasters count steps."""
    return round((at - MONDAY) / TICK)


def forecaster_of(session: Mapping[str, Any]) -> str | Mapping[str, Any]:
    """What the agent of a session forecasts by, where its parameters name a forecaster; else the default."""
    params = session.get("agent", {}).get("params", {})
    storage = params.get("storage")
    named = params.get("forecaster", storage.get("forecaster") if isinstance(storage, Mapping) else None)
    return named if isinstance(named, str | Mapping) and named and named != "climatology" else FORECASTER


class Fan:
    """Quantiles of the energy price ahead, of rows as they come; what was learned is kept."""

    def __init__(self, spec: str | Mapping[str, Any] = FORECASTER) -> None:
        """Raises what building the forecaster raises."""
        self.by = spec if isinstance(spec, str) else str(spec.get("name"))
        self._forecaster: Forecaster = build_forecaster(spec, ("energy",), TICKS_PER_DAY)
        self._last: int | None = None

    def learn(self, steps: Sequence[int], prices: Sequence[float]) -> None:
        """Take in rows, oldest first; those that it knows are passed over, and of the others the newest :data:`ROWS` count."""
        new = [(step, price) for step, price in zip(steps, prices, strict=True) if self._last is None or step > self._last]
        for step, price in new[-ROWS:]:
            self._forecaster.update(Row(step, np.array([price])))
            self._last = step

    def quantiles(self, horizon: int = HORIZON) -> FloatArray:
        """``(H, 5)``, of the unit of the prices. Raises :class:`~gridpilot.errors.ForecastError` before the first row."""
        found: FloatArray = self._forecaster.forecast(horizon).quantiles[:, :, 0]
        return found


def foresee(steps: Sequence[int], prices: Sequence[float], spec: str | Mapping[str, Any] = FORECASTER) -> FloatArray:
    """:meth:`Fan.quantiles` of rows that end at the tick of the forecast, ``(HORIZON, 5)``."""
    fan = Fan(spec)
    fan.learn(steps, prices)
    return fan.quantiles()


def ahead(quantiles: FloatArray, came: Mapping[int, float], unit: str) -> Facts:
    """The forecast at each full hour ahead, and ``came``: the price of the tick that many ticks ahead, where it is known."""
    hours: list[Facts] = []
    inside = 0
    for h in range(TICKS_PER_HOUR, len(quantiles) + 1, TICKS_PER_HOUR):
        row, then = quantiles[h - 1].tolist(), came.get(h)
        inside += then is not None and row[0] <= then <= row[-1]
        hours.append(
            {"hours_ahead_count": h // TICKS_PER_HOUR}
            | {f"{name}_expected_energy_price_{unit}": value for name, value in zip(NAMES, row, strict=True)}
            | {f"energy_price_that_came_{unit}": then}
        )
    known = sum(hour[f"energy_price_that_came_{unit}"] is not None for hour in hours)
    return {"forecast": hours, "known_hours_count": known, "inside_count": inside}


def expected(journal: Journal, at: datetime, session: Mapping[str, Any]) -> Facts:
    """What a forecaster expected at the tick ``at`` of a journal, by its rows up to then, and what came.

    Raises :class:`~gridpilot.errors.JournalError` where no row was known then, or the agent's forecaster cannot be built here.
    """
    rows: dict[datetime, PriceRow] = {}
    for record in journal.records(kinds={"rows"}):
        for body in record.body["rows"]:
            row = row_from_json(body)
            rows[row.at] = row
    known = [rows[moment] for moment in sorted(rows) if at - ROWS * TICK < moment <= at]
    if not known:
        raise JournalError(f"journal {journal.path} holds no price row of the days before {at:%Y-%m-%d %H:%M} UTC")
    spec = forecaster_of(session)
    try:
        quantiles = foresee([step_of(row.at) for row in known], [row.energy for row in known], spec)
    except GridPilotError as error:
        raise JournalError(f"journal {journal.path}: its agent's forecaster cannot be asked here: {error}") from error
    newest = known[-1].at
    later = {h: rows[newest + h * TICK].energy for h in range(1, HORIZON + 1) if newest + h * TICK in rows}
    return {
        "forecast_by": spec if isinstance(spec, str) else str(spec.get("name")),
        "forecast_at": f"{newest:%Y-%m-%d %H:%M} UTC",
        "rows_count": len(known),
        "energy_price_api_dollars_per_watt_row": known[-1].energy,
        **ahead(quantiles, later, "api_dollars_per_watt_row"),
    }
