"""Leaderboard: who leads and how sure that is, every pair, where a lead comes from, the markets, and the game of the agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pandas as pd
import streamlit as st

from gridpilot.errors import GridPilotError
from gridpilot.insight.dashboard import charts
from gridpilot.insight.dashboard.parts import badge, chart, choose, problem, safe, strip
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.insight.decomposition import PARTS
from gridpilot.insight.opened import OpenedRun
from gridpilot.insight.run_facts import leaderboard, overview, pair

__all__ = ["page"]

Facts = dict[str, Any]

SURE: Final = 0.05  # p-values after Holm's correction below which a difference is drawn as one
LEVEL: Final = 0.95
MOST_IN_MATRIX: Final = 20


def page(sources: Sources) -> None:
    """The page."""
    path = choose(sources, "run")
    if path is None:
        return
    try:
        with sources.run(path) as opened:
            _show(opened)
    except GridPilotError as error:
        problem(error)


def _show(opened: OpenedRun) -> None:
    about, board = overview(opened), leaderboard(opened)
    strip(_heading(opened, about))
    if about["changed_since"]:
        st.caption(f"Not as it was played: {'; '.join(about['changed_since'])}. Ranks are those of the rows that were recorded.")
    agents = board["agents"]
    left, right = st.columns(2)
    with left:
        by_gain = st.segmented_control(
            "Scale", ["profit", "gain over truthful"], default="profit", key="board_by", label_visibility="collapsed"
        )
        what = "gain" if by_gain == "gain over truthful" else "profit"
        _intervals(agents, what)
    with right:
        _matrix(opened, [one["agent"] for one in agents])
    _table(agents)
    _lead(opened, [one["agent"] for one in agents])
    _markets(opened)
    _game(opened.path)


def _heading(opened: OpenedRun, about: Facts) -> str:
    exact = badge("exact replay", "good") if about["playable_as_it_was"] else badge("changed since", "warn")
    failed = about["failed_decisions_count"]
    parts = [
        f"<b>{safe(about['name'])}</b>",
        f"<span>{safe(about['mechanism'])} on {safe(about['prices'])}</span>",
        f"<span>{about['episodes_count']:,} days of {about['episode_length_ticks']} ticks, {about['seats_count']} seats, "
        f"{about['matches_count']:,} matches</span>",
        exact,
        badge(f"{failed:,} decisions failed", "warn") if failed else "<span>no failed decision</span>",
        f"<span style='color:{charts.GREY}'>{safe(opened.path)}</span>",
    ]
    return "".join(parts)


def _intervals(agents: list[Facts], what: str) -> None:
    unit = "dollars_per_day"
    option = charts.intervals(
        [one["agent"] for one in agents],
        [one[f"{what}_low_{unit}"] for one in agents],
        [one[f"{what}_{unit}"] for one in agents],
        [one[f"{what}_high_{unit}"] for one in agents],
        "",
    )
    title = "Profit" if what == "profit" else "Gain over the reference in the same seats"
    few = any(one[f"{what}_low_{unit}"] is None for one in agents)
    tail = ", too few days for intervals" if few else f", {100 * LEVEL:.0f} % interval"
    chart(option, height=_height(len(agents)), key=f"intervals_{what}", title=f"{title}, $ a site and day{tail}")


def _height(agents: int) -> int:
    return min(900, max(220, 70 + 22 * agents))


def _matrix(opened: OpenedRun, names: list[str]) -> None:
    shown = names[:MOST_IN_MATRIX]
    place = {name: i for i, name in enumerate(shown)}
    values: list[list[float | None]] = [[None] * len(shown) for _ in shown]
    sure = [[False] * len(shown) for _ in shown]
    for one in opened.board.pairs:
        if one.agent in place and one.other in place:
            i, j = place[one.agent], place[one.other]
            difference = one.difference.value
            values[i][j], values[j][i] = difference, None if difference is None else -difference
            sure[i][j] = sure[j][i] = bool(one.p_holm < SURE)
    more = f", the first {MOST_IN_MATRIX} of {len(names)}" if len(names) > len(shown) else ""
    rounded = [[None if value is None else round(value, 2) for value in row] for row in values]
    title = f"Row less column, $ a site and day; faint: may be chance{more}"
    chart(charts.matrix(shown, rounded, sure, "$"), height=_height(len(shown)) + 40, key="matrix", title=title)


def _table(agents: list[Facts]) -> None:
    table = pd.DataFrame(
        {
            "rank": [one["rank_number"] for one in agents],
            "agent": [one["agent"] for one in agents],
            "profit": [one["profit_dollars_per_day"] for one in agents],
            "low": [one["profit_low_dollars_per_day"] for one in agents],
            "high": [one["profit_high_dollars_per_day"] for one in agents],
            "gain": [one["gain_dollars_per_day"] for one in agents],
            "gain %": [one["gain_percent"] for one in agents],
            "regret": [one["regret_dollars_per_day"] for one in agents],
            "may be the best": [_word(one["may_be_the_best"]) for one in agents],
            "failed": [one["failed_decisions_count"] for one in agents],
        }
    )
    money = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        table,
        hide_index=True,
        column_config=dict.fromkeys(("profit", "low", "high", "gain", "gain %", "regret"), money),
        key="board_table",
    )


def _word(value: bool | None) -> str:
    return "too few days" if value is None else "yes" if value else "no"


def _lead(opened: OpenedRun, names: list[str]) -> None:
    if len(names) < 2:
        return
    strip("<b>Where a lead comes from</b>")
    left, rest = st.columns([0.4, 0.6])
    first, second = left.columns(2)
    agent = first.selectbox("Agent", names, key="lead_agent", bind="query-params", persist_state="session")
    other = second.selectbox("less", names, index=1, key="lead_other", bind="query-params", persist_state="session")
    if agent is None or other is None or agent == other:
        rest.caption("Two different agents have a difference to take apart.")
        return
    facts = pair(opened, agent, other)
    unit = "dollars_per_day"
    parts = [facts[f"lead_by_{name}_{unit}"] for name in PARTS]
    low, high = facts[f"lead_low_{unit}"], facts[f"lead_high_{unit}"]
    interval = f", 95 % interval {low:+,.2f} to {high:+,.2f} $" if low is not None and high is not None else ""
    p_value = facts["chance_p_value"]
    first, second = left.columns(2)  # behind both choices where they are one below the other
    first.metric("Lead, $ a site and day", f"{facts[f'lead_{unit}']:+,.2f}")
    second.metric("p after Holm", f"{p_value:.3f}" if p_value is not None else "-")
    with rest:
        option = charts.bars([*PARTS, "sum"], {"part": [*parts, facts[f"lead_{unit}"]]}, unit="", signed=True)
        chart(option, height=190, key="lead_parts", title=f"{agent} less {other} by part{interval}; the parts sum exactly")


def _markets(opened: OpenedRun) -> None:
    found = opened.board.markets
    table = pd.DataFrame(
        {
            "line-up": [one.lineup for one in found],
            "agent": [one.agent or "all" for one in found],
            "matches": [one.matches for one in found],
            "welfare, $": [one.welfare for one in found],
            "welfare, %": [one.welfare_percent for one in found],
            "sites' profit, $": [one.sites_profit for one in found],
            "revenue, $": [one.revenue for one in found],
            "sold, kWh": [one.volume_kwh for one in found],
            "mean price, $/MWh": [None if one.mean_price is None else 1000.0 * one.mean_price for one in found],
            "scarce, %": [100.0 * one.scarce_share for one in found],
        }
    )
    strip("<b>Markets</b><span>a market and day, by line-up</span>")
    numbers = {
        name: st.column_config.NumberColumn(format="%.0f" if "kWh" in name or name.endswith("$") else "%.2f")
        for name in table.columns[3:]
    }
    st.dataframe(table, hide_index=True, column_config=numbers, key="markets_table")


def _game(folder: Path) -> None:
    """The agents as strategies of a game, where the run has worked that out."""
    try:
        game = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8")).get("game")
    except (OSError, ValueError, AttributeError):
        return  # it is written at the end of a run, and its rows tell all the rest
    if not isinstance(game, dict) or not isinstance(game.get("strategies"), list):
        return
    strip(f"<b>The agents as strategies of a game</b><span>{safe(game.get('episodes', '?'))} days of pairs</span>")
    rows = [_flat(one) for one in game["strategies"] if isinstance(one, dict)]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="game_table")


def _flat(strategy: Facts) -> Facts:
    """Figures with an interval as three columns."""
    flat: Facts = {}
    for key, value in strategy.items():
        if isinstance(value, dict):
            flat |= {key: value.get("value"), f"{key} low": value.get("low"), f"{key} high": value.get("high")}
        else:
            flat[key] = value
    return {key.replace("_", " "): value for key, value in flat.items()}
