"""A backtest in a terminal: skill by member and horizon, one table a channel, then cost and verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridpilot.backtest.result import Backtest
from gridpilot.backtest.summary import BEST, REFERENCE, horizon_label
from gridpilot.columns import Column, Form, fitted

__all__ = ["of_best", "percent", "render_table", "significant"]


def render_table(result: Backtest, width: int = 150) -> RenderableType:
    """The findings for a terminal of ``width`` characters: a narrow one is told of fewer horizons, and no figure is cut."""
    series, origins = result.series, result.origins
    head = (
        f"{series.source}: {series.days:.1f} days of {series.step_minutes} minutes, {len(origins.rows)} forecasts, "
        f"one every {origins.every} steps after {int(origins.rows[0]) / series.steps_per_day:.1f} days of warm-up"
    )
    parts: list[RenderableType] = [Text(head, style="bold")]
    parts += [_channel(result, label, width) for label in series.labels]
    legend = "1 - MAE / MAE of the last price, %; * better beyond chance (Diebold-Mariano, p < 0.05); below it the cover of the 90 % band"
    if any(run.name == BEST for run in result.runs):
        legend += " (and the share of the best possible skill, %)"
    parts += [Text(legend, style="dim"), _costs(result, width), _verdicts(result)]
    parts += [Text(f"note: {note}", style="yellow") for note in result.notes]
    return Group(*parts)


def _channel(result: Backtest, label: str, width: int) -> Table:
    scores = result.scores[result.scores["channel"] == label]
    horizons = sorted(scores["minutes"].unique())
    members = list(scores["member"].unique())
    names = [Text(name, style="italic" if name in (BEST, REFERENCE) else "") for name in members]
    columns = [Column("member", tuple(Form("skill %\ncover %", names, at_most) for at_most in (40, 14)), left=True, stays=True)]
    for minutes in horizons:
        rows = scores[scores["minutes"] == minutes].set_index("member")
        cells = [[_cell(name, rows.loc[name], shares) for name in members] for shares in (True, False)]
        columns.append(Column(str(minutes), tuple(Form(horizon_label(minutes), form) for form in cells)))
    order = [str(minutes) for minutes in _least_telling_first(horizons)]
    return fitted(label, columns, [*order, "member", *order], width)


def _cell(name: str, row: Any, shares: bool) -> Text:
    """Skill above cover, with the share of the best possible skill where ``shares``."""
    colour = "green" if significant(row) else "red" if row["skill"] < -0.01 else ""
    covered = f"{100.0 * row['coverage_90']:.0f}" if math.isfinite(row["coverage_90"]) else "-"
    share = f" ({of_best(row)})" if shares and of_best(row) and name not in (BEST, REFERENCE) else " "
    mark = "*" if significant(row) else " "
    return Text.assemble((percent(row["skill"]), colour), f"{mark}\n", (f"{covered}{share}", "dim"))


def _least_telling_first(horizons: Sequence[float]) -> list[float]:
    """Horizons as they are left out: kept to the last are the longest, an hour, the shortest and six hours."""
    kept = [horizons[-1], *(min(horizons, key=lambda minutes: abs(minutes - wanted)) for wanted in (60, 0, 360))]
    kept = list(dict.fromkeys(kept))
    return [minutes for minutes in horizons if minutes not in kept] + kept[::-1]


def _costs(result: Backtest, width: int) -> Table:
    def pairs(values: Sequence[tuple[float, float]], form: str) -> tuple[list[str], list[str]]:
        return [f"{median:{form}} ({high:{form}})" for median, high in values], [f"{median:{form}}" for median, _ in values]

    members = [Text(cost.member) for cost in result.costs]
    update = pairs([cost.update_us for cost in result.costs], ".0f")
    forecast = pairs([cost.forecast_ms for cost in result.costs], ".2f")
    columns = [
        Column("member", tuple(Form("CPU\nmedian (99 %)", members, at_most) for at_most in (40, 14)), left=True, stays=True),
        Column("update", tuple(Form("update\nµs", cells) for cells in update)),
        Column("forecast", tuple(Form("forecast\nms", cells) for cells in forecast)),
        Column("run", (Form("whole run\ns", [f"{cost.cpu_s:.1f}" for cost in result.costs]),)),
    ]
    return fitted("", columns, ("update", "forecast", "member", "update", "forecast"), width)


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
