"""The risk gate: the last word on every command, in simulation and replay as well as live."""

from __future__ import annotations

from collections.abc import Sequence

from gridpilot.live.api import Counts
from gridpilot.live.config import RiskLimits
from gridpilot.live.facility import Facility

__all__ = ["check"]


def check(
    facility: Facility,
    counts: Sequence[Counts],
    running: Sequence[Counts],
    limits: RiskLimits,
    *,
    profit: float,
    day_profit: float,
) -> str | None:
    """Code of the first limit that a command breaks, or None where it may be sent.

    ``counts`` and ``running (N,)`` are the machines asked for and those that run; ``profit`` is what the command is expected to make in its
    tick and ``day_profit`` what the UTC day has made so far, $. Everything off is always allowed.
    """
    if tuple(counts) == facility.off:
        return None
    for i, (site, each) in enumerate(zip(facility.sites, counts, strict=True)):
        if any(not 0 <= n <= kind.units for n, kind in zip(each, site.fleet, strict=True)):
            return "gate_fleet"
        if facility.power_w(i, each) > round(site.grid_kw * 1000.0):
            return "gate_power"
        change = abs(facility.power_w(i, each) - facility.power_w(i, running[i]))
        if limits.max_change_kw is not None and change > limits.max_change_kw * 1000.0:
            return "gate_change"
    if facility.total_w(counts) > facility.cap_w:
        return "gate_power"
    if limits.max_loss_per_day is not None and min(day_profit, day_profit + profit) < -limits.max_loss_per_day:
        return "gate_loss"
    return None
