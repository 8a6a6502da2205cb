"""What a backtest found out: the one thing that its files, its report and its table are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gridpilot.backtest.config import BacktestConfig
from gridpilot.backtest.rolling import MemberRun, Origins
from gridpilot.backtest.series import PriceSeries
from gridpilot.backtest.summary import Cost, Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_NOTES", "Backtest"]

MOST_NOTES: Final = 8  # of a member


@dataclass(frozen=True)
class Backtest:
    """Everything a backtest found out."""

    settings: BacktestConfig
    specs: dict[str, Mapping[str, Any]]
    series: PriceSeries
    origins: Origins
    runs: list[MemberRun]
    scores: pd.DataFrame  # see gridpilot.backtest.summary
    verdicts: list[Verdict]
    costs: list[Cost]
    notes: list[str]
