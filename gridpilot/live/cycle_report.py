"""What a cycle of the engine came to: the one thing that metrics, the table and the log are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gridpilot.live.api import Counts
from gridpilot.live.ledger import Earned

__all__ = ["CycleReport", "DecisionKind", "Reason", "Status"]

DecisionKind = Literal["row", "bad_row", "no_row", "halt"]
"""Why there was a decision: a new price row, a row refused as data, a tick without a row, a halt."""

Reason = Literal["agent", "last_good", "myopic", "off"]
"""Which link of the fallback chain decided."""

Status = Literal["applied", "refused", "unknown", "abandoned", "held", "shadow"]
"""What became of the command: confirmed by the venue; refused by it; no answer so far; superseded by a new row; not to be sent
(the feed is a little late, or there is no key); decided in shadow mode, which never sends."""


@dataclass(frozen=True, slots=True)
class CycleReport:
    """One decision and its outcome. Money in the API's units, $ a row; C machine classes, N sites."""

    at: datetime  # UTC; the row's time, or the mark of the tick that has none
    now: datetime  # UTC, engine clock at the end of the cycle
    mode: Literal["shadow", "live"]
    kind: DecisionKind
    reason: Reason
    causes: tuple[str, ...]  # codes of what went wrong before, such as "agent_late" or "price_jump"; empty for a clean decision
    prices: tuple[float, float, float]  # energy, hash, token in the API's units; a synthetic continuation where kind is "no_row"
    classes: tuple[str, ...]  # (C,) names
    counts: tuple[Counts, ...]  # (N,) of (C,)
    power_w: int  # of all sites, as commanded
    cap_w: int  # the shared limit
    earned: Earned  # what this cycle adds to what is earned
    alternatives: Mapping[str, float]  # profit of other choices at the same prices: "best", "off", and each class alone
    status: Status
    attempts: int  # PUTs sent
    latency: float  # wall s from the row seen to the last PUT acknowledged; 0 where nothing was sent
    ticks: int  # five-minute marks that have passed since the engine started
    fresh: int  # of these, how many had a feasible decision made for their own row

    @property
    def profit(self) -> float:
        """What this cycle adds to what is earned; in shadow mode, what it would have added."""
        return self.earned.profit
