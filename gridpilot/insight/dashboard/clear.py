"""Clear: a market to edit, cleared under all mechanisms: who wins, what each pays, and the merit order."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import pandas as pd
import streamlit as st

from gridpilot.errors import GridPilotError, MarketError
from gridpilot.insight import match_facts
from gridpilot.insight.dashboard import charts
from gridpilot.insight.dashboard.parts import chart, choose, problem, safe, strip
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.insight.market_facts import clear_market
from gridpilot.insight.opened import OpenedRun

__all__ = ["LOOKED_AT", "page"]

Facts = dict[str, Any]

PER_MWH: Final = 1000.0
TICK_OF_A_RUN: Final = "a tick of a run"
LOOKED_AT: Final = "match_looked_at"  # match and tick that the page of matches showed last, in the session's state
TO_TRY: Final[Facts] = {
    "bids": [[(400.0, 0.092), (300.0, 0.055)], [(500.0, 0.081)], [(350.0, 0.07), (250.0, 0.048)], [(450.0, 0.062)]],
    "supply": [(600.0, 0.04), (500.0, 0.046), (400.0, 0.058)],
    "capacity": 1300.0,
}
MOST: Final = 500  # blocks of a market that is edited by hand


def page(sources: Sources) -> None:
    """The page: a market to try, or any tick of a match, to edit."""
    loaded = None
    if sources.runs and st.segmented_control(
        "Market", ("a market to try", TICK_OF_A_RUN), default="a market to try", key="clear_what", label_visibility="collapsed",
        persist_state="session",
    ) == TICK_OF_A_RUN:  # fmt: skip
        path = choose(sources, "run")
        if path is None:
            return
        try:
            with sources.run(path) as opened:
                loaded = _loaded(opened)
        except GridPilotError as error:
            problem(error)
            return
    name, market = loaded or ("", TO_TRY)
    strip(
        f"<b>{safe(name or 'A market to try')}</b><span>blocks are what a site would pay for power, supply is what power costs; edit, add, "
        "take away</span>"
    )
    blocks = [(n, kw, PER_MWH * price) for n, bid in enumerate(market["bids"]) for kw, price in bid]
    first, second, third = st.columns([0.42, 0.3, 0.28])
    with first:
        st.caption("Bids by site")
        bids = st.data_editor(
            pd.DataFrame(blocks, columns=["site", "kW", "$/MWh"]), num_rows="dynamic", key=f"bids{name}", hide_index=True, height=260,
            column_config={"site": st.column_config.NumberColumn(min_value=0, step=1)},
        )  # fmt: skip
    with second:
        st.caption("Supply")
        steps = [(kw, PER_MWH * price) for kw, price in market["supply"]]
        supply = st.data_editor(
            pd.DataFrame(steps, columns=["kW", "$/MWh"]), num_rows="dynamic", key=f"supply{name}", hide_index=True, height=260
        )
    with third:
        capacity = st.number_input(
            "Capacity of the connection, kW; 0: no limit", 0.0, 1e9, float(market["capacity"]), 50.0, key=f"capacity{name}"
        )
        reserve = st.number_input(
            "Reserve price, $/MWh; 0: none", 0.0, 1e6, PER_MWH * market.get("reserve", 0.0), 1.0, key=f"reserve{name}"
        )
    try:
        document = _document(bids, supply, capacity, reserve)
        with sources.computing():
            results = clear_market(document)
    except GridPilotError as error:
        problem(error)
        return
    _show(document, results)


def _loaded(opened: OpenedRun) -> tuple[str, Facts]:
    """The tick that is chosen, at first the one that the page of matches showed last, and its market."""
    shown, tick = st.session_state.get(LOOKED_AT, (None, 0))
    first, second = st.columns([0.7, 0.3])
    one = opened.matches[0]
    default = shown if isinstance(shown, str) else f"{one.episode}/{one.lineup}/{one.rotation}"
    match = first.text_input("Match: EPISODE/LINEUP/ROTATION", default, key="clear_match", persist_state="session")
    played = opened.played(opened.match(match.strip()))
    t = int(second.number_input("Tick", 0, played.ticks - 1, min(int(tick), played.ticks - 1), 1, key="clear_tick"))
    return f"{match.strip()}, tick {t}, {match_facts.clock(played, t)}", match_facts.document(played, t)


def _document(bids: pd.DataFrame, supply: pd.DataFrame, capacity: float, reserve: float) -> Facts:
    """The market in the form of ``gridpilot clear``; blocks and steps are put in order. Raises for what is no number."""
    blocks = _rows(bids, ["site", "kW", "$/MWh"], "bids")
    steps = _rows(supply, ["kW", "$/MWh"], "supply")
    if len(blocks) > MOST:
        raise MarketError(f"bids: {len(blocks):,} blocks, expected at most {MOST} on this page; gridpilot clear takes more")
    numbers = [block[0] for block in blocks]
    if any(site != int(site) or not 0 <= site < MOST for site in numbers):
        raise MarketError(f"bids: sites are {sorted(set(numbers))!s:.60}, expected whole numbers from 0")
    sites = int(max(numbers, default=-1)) + 1
    by_site = [
        sorted(([kw, price / PER_MWH] for site, kw, price in blocks if site == n), key=lambda b: -b[1]) for n in range(sites)
    ]
    document: Facts = {
        "bids": by_site,
        "supply": sorted(([kw, price / PER_MWH] for kw, price in steps), key=lambda step: step[1]),
        "capacity": capacity or None,
    }
    return document | ({"reserve": reserve / PER_MWH} if reserve else {})


def _rows(table: pd.DataFrame, columns: list[str], where: str) -> list[tuple[float, ...]]:
    rows = []
    for i, row in enumerate(table[columns].itertuples(index=False)):
        if all(pd.isna(value) for value in row):
            continue  # one that was added and not filled in yet
        values = tuple(float(value) if not pd.isna(value) else math.nan for value in row)
        if not all(math.isfinite(value) for value in values):
            missing = columns[next(k for k, value in enumerate(values) if not math.isfinite(value))]
            raise MarketError(f"{where}: row {i + 1} has no {missing}, expected a number")
        rows.append(values)
    return rows


def _show(document: Facts, results: Facts) -> None:
    first = next(iter(results.values()))
    left, right = st.columns(2)
    with left:
        blocks = sorted(((kw, PER_MWH * price) for bid in document["bids"] for kw, price in bid), key=lambda block: -block[1])
        supply = [(kw, PER_MWH * price) for kw, price in document["supply"]]
        low, high = (
            None if first[key] is None else PER_MWH * first[key]
            for key in ("highest_losing_price_dollars_per_kwh", "lowest_winning_price_dollars_per_kwh")
        )
        option = charts.bid_curve(blocks, supply, band=(low, high), unit="")
        chart(
            option,
            height=260,
            key="merit",
            title=f"Merit order by kW, $/MWh: {first['sold_kw']:,.0f} kW sold; green: the clearing band",
        )
    with right:
        sites = [f"site {one['seat_number']}" for one in first["seats"]]
        paid = {name: [one["paid_dollars_per_hour"] for one in result["seats"]] for name, result in results.items()}
        chart(charts.bars(sites, paid, unit="$/h", horizontal=False), height=260, key="paid", title="What each site pays")
    table = pd.DataFrame(
        [
            {
                "site": seat["seat_number"],
                "won, kW": seat["won_kw"],
                "value, $/h": seat["value_dollars_per_hour"],
                **{f"pays, {name}": result["seats"][i]["paid_dollars_per_hour"] for name, result in results.items()},
                **{f"keeps, {name}": result["seats"][i]["surplus_dollars_per_hour"] for name, result in results.items()},
            }
            for i, seat in enumerate(first["seats"])
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        key="cleared",
        column_config={name: st.column_config.NumberColumn(format="%.2f") for name in table.columns[1:]},
    )
    totals = [
        f"{name}: {sum(seat['paid_dollars_per_hour'] for seat in result['seats']):,.2f} $/h" for name, result in results.items()
    ]
    strip(f"<span>welfare {first['welfare_dollars_per_hour']:,.2f} $/h under each; paid in all: {'; '.join(totals)}</span>")
    with st.expander("as a file for gridpilot clear"):
        st.code(json.dumps(document, indent=1), language="json")
