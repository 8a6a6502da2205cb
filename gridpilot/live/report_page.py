"""The report of a day or a week as one HTML page that needs nothing else: a pure function of the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib import resources
from typing import Any, Final

import jinja2

from gridpilot.live.api import parse_time
from gridpilot.live.cycle_table import money

__all__ = ["headline_of", "render_page", "words_of"]

WORDS: Final[Mapping[str, str]] = {
    "agent": "the agent's own choice, against what was best in hindsight",
    "last_good": "the last good command was kept",
    "myopic": "the fallback chose by the newest prices",
    "off": "everything was off",
    "no_decision": "the engine did not run, or the row came too late for a decision",
    "halted": "halted by hand",
    "foreign_command": "somebody else steered the site",
    "command_refused": "the venue refused the command",
    "command_unknown": "the command stayed without an answer",
    "command_abandoned": "the command was overtaken by a newer row or a halt",
    "command_held": "the command was held back",
    "agent_late": "the agent gave no answer in time",
    "agent_error": "the agent failed",
    "bid_invalid": "the agent gave no valid bid",
    "gate_power": "the risk gate: over the power that is allowed",
    "gate_fleet": "the risk gate: more machines than there are",
    "gate_change": "the risk gate: too large a change at once",
    "gate_loss": "the risk gate: the day had lost enough",
    "price_nan": "a price row without a number",
    "price_negative": "a price row with a negative price",
    "price_band": "a price outside its band",
    "price_jump": "a price that jumped by more than is believed",
    "row_unreadable": "a price row that could not be read",
    "row_from_the_future": "a price row from the future",
    "feed_late": "the price row came late or never",
    "feed_stale": "the price feed stood still",
    "feed_off": "the price feed was dead, so everything was off",
    "feed_went_back": "the price feed went back in time",
    "api_down": "the API gave no usable answer",
}
"""What people call a cause; docs/live/README.md tells more."""

SEVERITIES: Final = {"page": "page", "warn": "warning", "info": "note"}
NAMES: Final = {"best": "best possible, in hindsight", "off": "everything off"}


def words_of(cause: str) -> str:
    """A cause in plain words; its code with blanks where it has none."""
    return WORDS.get(cause, cause.replace("_", " "))


def render_page(facts: Mapping[str, Any]) -> str:
    """HTML text of the report of what :func:`~gridpilot.live.report_facts.read_facts` found."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {
        "money": money, "exact": _exact, "signed": _signed, "share": _share, "moment": _moment, "words": words_of, "count": _count,
        "name": lambda name: NAMES.get(name, name.replace("_", " ")),
    }  # fmt: skip
    template = environment.from_string(resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        **facts,
        title=_title(facts),
        badge={"live": "live: applied", "shadow": "shadow: would have", "mixed": "partly live, partly shadow"}.get(
            facts["mode"] or "", ""
        ),
        earned={"live": "Applied profit", "mixed": "Profit, applied or not"}.get(facts["mode"] or "", "Would-have profit"),
        headline=headline_of(facts),
        baseline_bars=_baseline_bars(facts),
        part_bars=_part_bars(facts),
        forgone_bars=_widths([max(0.0, each["forgone_api_dollars"]) for each in facts["forgone"]]),
        decided_bars=_widths([float(each["decisions_count"]) for each in facts["decided_by"]]),
        severities=SEVERITIES,
    )


def _title(facts: Mapping[str, Any]) -> str:
    start, end = parse_time(facts["period"]["start"]), parse_time(facts["period"]["end"]) - timedelta(days=1)
    if facts["period"]["name"] == "day":
        return f"{start:%A}, {start.day} {start:%B %Y}"
    same = start.month == end.month
    return f"Week of {start.day}{'' if same else f' {start:%B}'} to {end.day} {end:%B %Y}"


def headline_of(facts: Mapping[str, Any]) -> str:
    """The report in a sentence or two."""
    summary, mode = facts["summary"], facts["mode"]
    if mode is None:
        return "Nothing was decided in this time."
    verb = {"live": "The site earned", "mixed": "The site earned, or would have,"}.get(mode, "The site would have earned")
    text = f"{verb} {money(summary['profit_api_dollars'])} API $"
    if summary["captured_share"] is not None:
        text += f", {_share(summary['captured_share'])} of the {money(summary['best_api_dollars'])} API $ that were possible in hindsight"
    dearest = facts["forgone"][0] if facts["forgone"] else None
    if dearest is None or dearest["forgone_api_dollars"] <= 0.0:
        return text + "."
    part = money(dearest["forgone_api_dollars"])
    return f"{text}. Of what was left on the table, most ({part} API $): {words_of(dearest['cause'])}."


def _baseline_bars(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The applied profit among the other choices, the best first, with where their bars begin and end in percent."""
    rows = [
        {"name": "", "profit_api_dollars": facts["summary"]["profit_api_dollars"], "against_api_dollars": None},
        *facts["baselines"],
    ]
    rows.sort(key=lambda row: -row["profit_api_dollars"])
    bars = _bars([row["profit_api_dollars"] for row in rows])
    return [{**row, "bar": bar} for row, bar in zip(rows, bars, strict=True)]


def _part_bars(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Profit of each hour or day, and the best possible behind it."""
    parts, week = facts["parts"], facts["period"]["name"] == "week"
    bars = _bars([value for part in parts for value in (part["profit_api_dollars"], part["best_api_dollars"])])
    rows = []
    for i, part in enumerate(parts):
        start = parse_time(part["start"])
        rows.append(
            {**part, "label": f"{start:%a} {start.day}" if week else f"{start:%H}:00", "bar": bars[2 * i], "best": bars[2 * i + 1]}
        )
    return rows


def _bars(values: Sequence[float]) -> list[tuple[float, float]]:
    """Left end and width of a bar from zero to each value, percent of an axis that holds them all."""
    low, high = min([*values, 0.0]), max([*values, 0.0])
    span = (high - low) or 1.0
    return [(100.0 * (min(value, 0.0) - low) / span, 100.0 * abs(value) / span) for value in values]


def _widths(values: Sequence[float]) -> list[float]:
    most = max(values, default=0.0) or 1.0
    return [100.0 * value / most for value in values]


def _exact(value: float) -> str:
    """All of a figure, for those who compare it with another program's."""
    return f"{value:,.2f}"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{money(value)}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100.0 * value:.1f} %" if value < 0.9995 or value >= 1.0 else f"{100.0 * value:.2f} %"


def _count(value: int) -> str:
    return f"{value:,}"


def _moment(text: str | None) -> str:
    return "–" if text is None else f"{parse_time(text):%a %d %b %H:%M}"
