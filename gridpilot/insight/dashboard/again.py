"""A decision made again, on the recorded observation or at other prices: the controls, and what came of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from gridpilot.errors import GridPilotError
from gridpilot.insight.dashboard.followed import Followed
from gridpilot.insight.dashboard.parts import badge, compact, problem, safe, strip
from gridpilot.insight.live_facts import Told
from gridpilot.insight.redecide import redecide
from gridpilot.live.journal import Journal
from gridpilot.market.units import CHANNELS

__all__ = ["decide_again"]

Facts = dict[str, Any]


def decide_again(seen: Followed, one: Told, key: str) -> None:
    """Let the agent of its session decide ``one`` again when the button is pressed; ``key`` tells this place from others."""
    columns = st.columns(len(CHANNELS))
    prices = {}
    for column, name, recorded in zip(columns, CHANNELS, one.body["prices"], strict=True):
        given = column.number_input(
            f"{name}, API $", min_value=0.0, value=None, format="%.4f", placeholder=f"{recorded:.4f}", key=f"{key}_{name}",
            help="empty: as recorded",
        )  # fmt: skip
        if given is not None:
            prices[name] = float(given)
    asked = (one.record.hash, tuple(prices.items()))
    if st.button("Decide again", key=f"{key}_go", help="makes all decisions of its session again, up to this one"):
        st.session_state[f"{key}_asked"] = (asked, None)
    known = st.session_state.get(f"{key}_asked")
    if known is None or known[0] != asked:
        st.caption("The agent goes through its session again, from the journal alone.")
        return
    try:
        facts = known[1]
        if facts is None:
            with Journal(seen.path, read_only=True) as journal:
                facts = redecide(journal, one.at, prices)
            st.session_state[f"{key}_asked"] = (asked, facts)
    except GridPilotError as error:
        problem(error)
        return
    strip(_told(facts))


def _told(facts: Facts) -> str:
    parts = []
    if facts["same_prices"]:
        parts.append(badge("bit for bit as recorded", "good") if facts["as_recorded"] else badge("OTHERWISE THAN RECORDED", "bad"))
        parts += [f"<span>{safe(text)}</span>" for text in facts["differs"][:3]]
    elif facts["as_recorded"]:
        parts.append(badge("at these prices the same decision", "good"))
    else:
        parts.append(badge("at these prices", "info"))
    machines = ", ".join(
        f"{one['otherwise_running_count']:,} {one['class']}" for one in facts["machines"] if one["otherwise_running_count"]
    )
    parts.append(
        f"<span>decided by {safe(facts['otherwise_decided_by'])}: {safe(machines or 'nothing')}, {facts['otherwise_power_kw']:,.0f} kW "
        f"(recorded: {facts['power_kw']:,.0f}), {compact(facts['otherwise_expected_profit_api_dollars'])} API $ expected "
        f"(recorded: {compact(facts['expected_profit_api_dollars'])})</span>"
    )
    parts.append(
        f"<span>{facts['decisions_again_count']:,} decisions made again, {facts['decisions_otherwise_count']:,} otherwise</span>"
    )
    return "".join(parts)
