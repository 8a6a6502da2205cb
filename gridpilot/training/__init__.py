"""Training of policies: from nothing to a folder that the agent ``learned`` plays."""

from __future__ import annotations

from gridpilot.training.run import train

__all__ = ["train"]
