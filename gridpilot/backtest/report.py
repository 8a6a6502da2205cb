"""The report of a backtest: one HTML file that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import jinja2

from gridpilot.backtest.plots import coverage_picture, fan_picture, reliability_picture, skill_picture, weights_picture
from gridpilot.backtest.result import MOST_NOTES, Backtest
from gridpilot.backtest.summary import BEST, REFERENCE, horizon_label, mean_weights
from gridpilot.backtest.table import of_best, percent, significant

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["render_report"]

# Column of the scores: (heading, how it is shown).
_DETAILS: Final = {
    "n": ("n", "count"),
    "mae": ("MAE", "figure"),
    "rmse": ("RMSE", "figure"),
    "skill": ("skill, %", "percent"),
    "skill_seasonal": ("against seasonal naive, %", "percent"),
    "accuracy": ("1 − MAE/mean|y|, %", "percent"),
    "pinball": ("pinball", "figure"),
    "pinball_skill": ("pinball skill, %", "percent"),
    "crps": ("CRPS", "figure"),
    "crps_skill": ("CRPS skill, %", "percent"),
    "coverage_50": ("cover 50 %", "share"),
    "width_50": ("width 50 %", "figure"),
    "coverage_90": ("cover 90 %", "share"),
    "width_90": ("width 90 %", "figure"),
    "dm": ("DM, MAE", "statistic"),
    "dm_pinball": ("DM, pinball", "statistic"),
    "share_of_best": ("of the best, %", "percent"),
}


def render_report(result: Backtest, manifest: Mapping[str, Any]) -> str:
    """HTML text of the report; ``manifest`` is printed whole."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"percent": percent, "horizon": horizon_label}
    template = environment.from_string(resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    scores, series, origins = result.scores, result.series, result.origins
    names = list(dict.fromkeys(scores["member"]))
    rows = {day: int(origins.rows[i]) for day, i in origins.fans.items()}
    drawn = sorted(
        (run for run in result.runs if run.fans), key=lambda run: (not run.name.startswith("ensemble"), run.name == REFERENCE)
    )
    return template.render(
        title=series.source,
        series=series,
        origins=origins,
        reference=REFERENCE,
        has_best=BEST in names,
        period=f"{series.time(0)} to {series.time(len(series.prices) - 1)}",
        warm_up=int(origins.rows[0]) / series.steps_per_day,
        crps_from=f"{result.settings.scenarios} scenarios" if result.settings.scenarios else "the five quantiles",
        headline=_headline(result),
        verdicts=result.verdicts,
        failed=[run.name for run in result.runs if run.failed],
        tables=[_table(scores, label) for label in series.labels],
        details=[_details(scores, name) for name in names],
        skill_picture=skill_picture(scores, names),
        coverage_picture=coverage_picture(scores, names),
        reliability=[(label, reliability_picture(scores, names, label)) for label in series.labels],
        weights=[(run.name, weights_picture(run, series, names)) for run in result.runs if len(run.weights) > 1],
        mean_weights=mean_weights(result.runs),
        fans=[(run.name, fan_picture(run, series, rows, 0)) for run in drawn],
        fan_channel=series.labels[0],
        costs=result.costs,
        notes=result.notes,
        member_notes=[(run.name, run.notes.most_common(MOST_NOTES)) for run in result.runs if run.notes and run.name != BEST],
        manifest=manifest,
        manifest_text=json.dumps(manifest, indent=2, ensure_ascii=False),
    )


def _headline(result: Backtest) -> str:
    judged = [verdict for verdict in result.verdicts if verdict.earns is not None]
    earning = [verdict.member for verdict in judged if verdict.earns]
    if not judged:
        return "Only persistence was asked."
    if not earning:
        return "No member beats persistence on this series beyond chance."
    listed = earning[0] if len(earning) == 1 else f"{', '.join(earning[:-1])} and {earning[-1]}"
    rest = len(judged) - len(earning)
    return f"{listed} {'earns its' if len(earning) == 1 else 'earn their'} place" + (
        f"; {rest} of {len(judged)} earned nothing." if rest else "."
    )


def _table(scores: pd.DataFrame, label: str) -> dict[str, Any]:
    """Skill, cover and share of the best by member and horizon, with a colour by skill."""
    of = scores[scores["channel"] == label]
    horizons = sorted(of["minutes"].unique())
    rows = []
    for name in of["member"].unique():
        own = of[of["member"] == name].set_index("minutes")
        cells = []
        for minutes in horizons:
            row = own.loc[minutes]
            cells.append(
                {
                    "skill": percent(row["skill"]),
                    "star": significant(row),
                    "cover": f"{100.0 * row['coverage_90']:.0f}" if math.isfinite(row["coverage_90"]) else "–",
                    "off": not 0.87 <= row["coverage_90"] <= 0.93,
                    "share": f"{of_best(row)} %" if of_best(row) and name not in (REFERENCE, BEST) else "",
                    "colour": _colour(row["skill"]),
                }
            )
        rows.append({"name": name, "cells": cells})
    return {"label": label, "horizons": horizons, "rows": rows}


def _details(scores: pd.DataFrame, name: str) -> dict[str, Any]:
    own = scores[scores["member"] == name]
    columns = [column for column in _DETAILS if column in own and (column == "n" or own[column].notna().any())]
    rows = [
        [row["channel"], horizon_label(row["minutes"]), *(_shown(row[column], _DETAILS[column][1]) for column in columns)]
        for _, row in own.iterrows()
    ]
    return {"name": name, "headings": [_DETAILS[column][0] for column in columns], "rows": rows}


def _shown(value: float, kind: str) -> str:
    if not math.isfinite(value):
        return "–"
    match kind:
        case "count":
            return f"{value:,.0f}"
        case "percent":
            return percent(value)
        case "share":
            return f"{100.0 * value:.1f}"
        case "statistic":
            return f"{value:+.1f}"
        case _:
            return f"{value:,.4g}"


def _colour(skill: float) -> str:
    """Background of a cell: blue above persistence, orange below, by the square root of the skill."""
    if not math.isfinite(skill):
        return "#fff"
    strength = math.sqrt(min(abs(skill), 1.0)) * 0.6
    end = (0, 114, 178) if skill > 0 else (213, 94, 0)
    return f"rgb({','.join(str(round(255 + (channel - 255) * strength)) for channel in end)})"
