"""One reader of series for every command: how a file is written, when its rows are, and what its columns hold."""

from __future__ import annotations

from gridpilot.series.options import ReadOptions
from gridpilot.series.reader import Reading, read

__all__ = ["ReadOptions", "Reading", "read"]
