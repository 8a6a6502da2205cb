"""What is played in :mod:`gridpilot.training.games`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gridpilot.market.clearing import Mechanism

__all__ = ["HIGHEST", "Game"]

HIGHEST: Final = 1.2  # share of its value that a bidder can bid


@dataclass(frozen=True)
class Game:
    """As many ``units`` for sale as each bidder wants; its values are independent and uniform on [0, 1], the highest for its first."""

    mechanism: Mechanism
    bidders: int
    units: int = 1
