"""Streaming probabilistic forecasts of energy, hash and token prices."""

from __future__ import annotations

from gridpilot.forecasting.base import CHANNELS, QUANTILE_LEVELS, Forecast, Forecaster, Row
from gridpilot.forecasting.registry import build_forecaster

__all__ = ["CHANNELS", "QUANTILE_LEVELS", "Forecast", "Forecaster", "Row", "build_forecaster"]
