"""Decisions: the journal, filtered by who decided and why not the agent; a row opens its why."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
import streamlit as st

from gridpilot.errors import GridPilotError
from gridpilot.insight.dashboard import charts
from gridpilot.insight.dashboard.again import decide_again
from gridpilot.insight.dashboard.explained import explained
from gridpilot.insight.dashboard.followed import KEPT_DECISIONS, Followed
from gridpilot.insight.dashboard.parts import chart, choose, problem, scaled, strip, without_dust
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.insight.live_facts import MEANINGS, Told, decision_of

__all__ = ["page"]

Facts = dict[str, Any]

TABLE_HEIGHT: Final = 330


def page(sources: Sources) -> None:
    """The page."""
    path = choose(sources, "journal")
    if path is None:
        return
    try:
        with sources.journal(path) as seen:
            if not seen.decisions:
                st.info(f"No decision was made yet: the journal holds {seen.records:,} records.", icon=":material/hourglass_empty:")
                return
            _show(seen)
    except GridPilotError as error:
        problem(error)


def _show(seen: Followed) -> None:
    found = seen.decisions
    reasons = sorted({str(one.body["reason"]) for one in found})
    causes = sorted({str(cause) for one in found for cause in one.body["causes"]})
    outcomes = sorted({_outcome(one) for one in found})
    first, second, third = st.columns(3)
    by_reason = first.multiselect("Decided by", reasons, key="by_reason", format_func=_meaning, persist_state="session")
    by_cause = second.multiselect("Cause", causes, key="by_cause", format_func=_meaning, persist_state="session")
    by_outcome = third.multiselect("Outcome", outcomes, key="by_outcome", persist_state="session")
    shown = [
        one
        for one in reversed(found)
        if (not by_reason or one.body["reason"] in by_reason)
        and (not by_cause or set(by_cause) & set(one.body["causes"]))
        and (not by_outcome or _outcome(one) in by_outcome)
    ]
    more = f"; older ones than the newest {KEPT_DECISIONS:,} by gridpilot live export" if seen.first else ""
    strip(f"<b>{len(shown):,} of {len(found):,} decisions</b><span>the newest first; pick one to see why{more}</span>")
    if not shown:
        st.info("No decision is as asked for; take a filter away.", icon=":material/filter_alt_off:")
        return
    event = st.dataframe(
        pd.DataFrame([_row(one) for one in shown]),
        hide_index=True,
        height=TABLE_HEIGHT,
        on_select="rerun",
        selection_mode="single-row",
        key="decisions_table",
        column_config={
            "energy": st.column_config.NumberColumn("energy, API $/W", format="%.4f"),
            "power": st.column_config.NumberColumn("power, kW", format="%.0f"),
            "profit": st.column_config.NumberColumn("profit, API $", format="compact"),
            "forgone": st.column_config.NumberColumn("forgone, API $", format="compact"),
        },
    )
    picked = [row for row in event.selection.rows if row < len(shown)]
    _why(seen, shown[picked[0]] if picked else shown[0])


def _row(one: Told) -> Facts:
    return {
        "time": one.at.strftime("%Y-%m-%d %H:%M"),
        "decided by": one.body["reason"],
        "causes": ", ".join(one.body["causes"]),
        "kind": one.body["kind"],
        "energy": one.body["prices"][0],
        "power": one.body["power_w"] / 1000.0,
        "outcome": _outcome(one),
        "profit": one.profit if one.weight > 0.0 else None,
        "forgone": None if one.forgone is None else without_dust(one.forgone, one.best or 0.0),
    }


def _outcome(one: Told) -> str:
    return "not known" if one.outcome is None else str(one.outcome["status"])


def _meaning(code: str) -> str:
    return MEANINGS.get(code, code)


def _why(seen: Followed, one: Told) -> None:
    facts = decision_of(one)
    left, right = st.columns([0.55, 0.45])
    with left:
        strip(f"<b>Why, at {facts['decided_at']}</b>")
        explained(seen.path, facts)
    with right:
        if facts["alternatives"]:
            names = [str(each["choice"]) for each in facts["alternatives"]]
            profits = [float(each["profit_api_dollars"]) for each in facts["alternatives"]]
            scale, letter = scaled(profits)
            option = charts.bars(names, {"profit": [value / scale for value in profits]}, unit="", signed=True)
            chart(option, height=220, key="why_alternatives", title=f"A whole row at these prices by other choices, {letter}API $")
        else:
            st.caption("What other choices would have earned is not known for it.")
        with st.expander("Decide it again, as recorded or at other prices"):
            decide_again(seen, one, "why_again")
