"""Rolling-origin backtests of the forecasters, and their report."""

from __future__ import annotations

__all__: list[str] = []
