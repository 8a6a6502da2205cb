"""Cycles as an engine would report them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from gridpilot.live.api import CLASSES, INVENTORIES, TICK, Counts
from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.ledger import Earned

START = datetime(2025, 6, 21, 12, tzinfo=UTC)
CAP_W = 1_000_000
SHOWN = {None, "applied", "shadow"}  # statuses by which a row is shown to be earned


def profit(counts: Counts, prices: tuple[float, float, float]) -> tuple[float, float, int]:
    """Revenue, cost and power of ``counts`` of the event's inventory, as plain products."""
    energy, *outputs = prices
    types = INVENTORIES["live"].types
    revenue = sum(count * kind.output * outputs[index >= 3] for index, (count, kind) in enumerate(zip(counts, types, strict=True)))
    power = sum(count * kind.power for count, kind in zip(counts, types, strict=True))
    return revenue, power * energy, power


def report(tick: int = 1, machines: Counts = (0, 200, 0, 0, 0), **changes: Any) -> CycleReport:
    """A clean cycle of one site with ``machines`` of the event's types, in the ``tick``-th row; ``changes`` replace fields."""
    prices = changes.get("prices", (1.2695072872530706, 1.382032767339416, 1.5723370784071644))
    revenue, cost, power = profit(machines, prices)
    alone = {}
    for index, (name, kind) in enumerate(zip(CLASSES, INVENTORIES["live"].types, strict=True)):
        full = tuple(CAP_W // kind.power if index == other else 0 for other in range(len(CLASSES)))
        gain, spent, _ = profit(full, prices)
        alone[name] = gain - spent
    clean = CycleReport(
        at=START + tick * TICK,
        now=START + tick * TICK + TICK / 60,
        mode="live",
        kind="row",
        reason="agent",
        causes=(),
        prices=prices,
        classes=CLASSES,
        counts=(machines,),
        power_w=power,
        cap_w=CAP_W,
        earned=earned(tick, revenue, cost, shown=changes.get("kind", "row") == "row" and changes.get("status") in SHOWN),
        alternatives={"best": max(0.0, *alone.values()), "off": 0.0, **alone},
        status="applied",
        attempts=1,
        latency=0.012,
        ticks=tick,
        fresh=tick,
    )
    return dataclasses.replace(clean, **changes)


def earned(tick: int, revenue: float, cost: float, *, shown: bool) -> Earned:
    """What a cycle of one site earns: its whole row, or nothing where it is not shown."""
    money = ((revenue, cost),) if shown else ((0.0, 0.0),)
    return Earned(START + tick * TICK, money, money, float(shown))


def rough_run() -> list[CycleReport]:
    """Fourteen cycles with everything in them that can go wrong."""
    drawn = [(3.0 - 0.1 * tick, 4.0 - 0.17 * tick, 2.0 + 0.09 * tick) for tick in range(15)]
    mixed: Counts = (10, 150, 2, 14, 15)
    plain = [report(tick, prices=drawn[tick], latency=0.008 + 0.001 * tick) for tick in range(1, 8)]
    return [
        *plain,
        report(8, mixed, prices=drawn[8], reason="last_good", causes=("agent_late",)),
        report(9, prices=drawn[8], kind="bad_row", reason="myopic", causes=("price_jump", "agent_not_asked"), fresh=8),
        report(10, prices=drawn[8], kind="no_row", reason="last_good", causes=("api_down",), status="unknown", attempts=3, fresh=8),
        report(11, prices=drawn[11], status="abandoned", attempts=2, fresh=9),
        report(12, prices=drawn[12], status="refused", fresh=9, reason="myopic", causes=("agent_error", "last_good_infeasible")),
        report(13, (0, 0, 0, 0, 0), prices=drawn[13], kind="halt", reason="off", causes=("halted",), fresh=10),
        report(14, mixed, prices=drawn[14], fresh=11, latency=0.031),
    ]
