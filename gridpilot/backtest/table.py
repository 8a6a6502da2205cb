"""A backtest in a terminal: skill by member and horizon, one table a channel, then cost and verdicts."""

from __future__ import annotations

import math
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gridpilot.backtest.result import Backtest
from gridpilot.backtest.summary import BEST, REFERENCE, horizon_label

__all__ = ["of_best", "percent", "render_table", "significant"]


def render_table(result: Backtest) -> RenderableType:
    """The findings for a terminal."""
    series, origins = result.series, result.origins
    head = (
        f"{series.source}: {series.days:.1f} days of {series.step_minutes} minutes, {len(origins.rows)} forecasts, "
        f"one every {origins.every} steps after {int(origins.rows[0]) / series.steps_per_day:.1f} days of warm-up"
    )
    parts: list[RenderableType] = [Text(head, style="bold")]
    parts += [_channel(result, label) for label in series.labels]
    legend = "1 - MAE / MAE of the last price, %; * better beyond chance (Diebold-Mariano, p < 0.05); below it the cover of the 90 % band"
    if any(run.name == BEST for run in result.runs):
        legend += " (and the share of the best possible skill, %)"
    parts += [Text(legend, style="dim"), _costs(result), _verdicts(result)]
    parts += [Text(f"note: {note}", style="yellow") for note in result.notes]
    return Group(*parts)


def _channel(result: Backtest, label: str) -> Table:
    scores = result.scores[result.scores["channel"] == label]
    horizons = sorted(scores["minutes"].unique())
    table = Table(title=escape(label), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("skill %, cover %", justify="left", no_wrap=True)
    for minutes in horizons:
        table.add_column(horizon_label(minutes), justify="right", no_wrap=True)
    for name in scores["member"].unique():
        own = scores[scores["member"] == name].set_index("minutes")
        cells = []
        for minutes in horizons:
            row = own.loc[minutes]
            colour = "green" if significant(row) else "red" if row["skill"] < -0.01 else ""
            shown = f"[{colour}]{percent(row['skill'])}[/]" if colour else percent(row["skill"])
            covered = f"{100.0 * row['coverage_90']:.0f}" if math.isfinite(row["coverage_90"]) else "-"
            share = f" ({of_best(row)})" if of_best(row) and name not in (BEST, REFERENCE) else " "
            cells.append(f"{shown}{'*' if significant(row) else ' '}\n[dim]{covered}{share}[/]")
        table.add_row(f"[italic]{name}[/]" if name in (BEST, REFERENCE) else escape(name), *cells)
    return table


def _costs(result: Backtest) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("CPU, median (99 %)", justify="left")
    for name in ("update, µs", "forecast, ms", "whole run, s"):
        table.add_column(name, justify="right")
    for cost in result.costs:
        update, forecast = cost.update_us, cost.forecast_ms
        table.add_row(
            escape(cost.member), f"{update[0]:.0f} ({update[1]:.0f})", f"{forecast[0]:.2f} ({forecast[1]:.2f})", f"{cost.cpu_s:.1f}"
        )
    return table


def _verdicts(result: Backtest) -> RenderableType:
    lines = Text()
    for verdict in result.verdicts:
        style = {True: "green", False: "red", None: "dim"}[verdict.earns]
        lines.append(f"{verdict.member}: ", style="bold")
        lines.append(f"{verdict.text}\n", style=style)
    return lines


def significant(row: Any) -> bool:
    """Whether the member's absolute error is below persistence's beyond chance at this channel and horizon."""
    return bool(row["dm"] > 0.0 and row["dm_p"] < 0.05)


def of_best(row: Any) -> str:
    """Skill as a share of the best possible, in %, or nothing where that is not known or there is next to nothing to win."""
    share = row["share_of_best"]
    return "" if not math.isfinite(share) else "< 0" if share < 0.0 else f"{100.0 * share:.0f}"


def percent(value: float) -> str:
    """A share as a signed percentage without its sign for percent; a dash where it is not known.

    >>> percent(0.1234), percent(-2.5), percent(0.0), percent(float("nan"))
    ('+12.3', '-250', '0.0', '-')
    """
    if not math.isfinite(value):
        return "-"
    shown = 100.0 * value
    if abs(shown) < 0.05:
        return "0.0"
    return f"{shown:+,.0f}" if abs(shown) >= 99.95 else f"{shown:+.1f}"
