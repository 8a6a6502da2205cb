"""Match: one day of a tournament played again; a click on the strip picks a tick and a seat, and the address keeps them."""

from __future__ import annotations

import itertools
import math
from typing import Any, Final

import numpy as np
import streamlit as st

from gridpilot.agents.registry import registered
from gridpilot.errors import GridPilotError
from gridpilot.insight import match_facts
from gridpilot.insight.dashboard import charts
from gridpilot.insight.dashboard.clear import LOOKED_AT
from gridpilot.insight.dashboard.parts import badge, chart, choose, problem, safe, strip
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.insight.opened import OpenedRun
from gridpilot.insight.replay import Change, Played, parse_bid
from gridpilot.insight.run_facts import Order, find_matches
from gridpilot.market.auction import MECHANISMS
from gridpilot.market.physics import WON
from gridpilot.market.units import TICKS_PER_HOUR

__all__ = ["page"]

Facts = dict[str, Any]

FOUND: Final = 6  # matches to pick from
PER_MWH: Final = 1000.0
HEIGHT: Final = 240
ORDERS: Final[tuple[Order, ...]] = ("typical", "best", "worst")

WHAT_IFS: Final = {"mechanism": "another mechanism", "agent": "another agent in the seat", "bid": "another bid in the tick"}

BOUND: Final = {
    "no_bid": "made no bid",
    "bid_refused": "its bid was refused",
    "all_won": "won all that it asked for",
    "priced_out": "its next block bid less than the clearing price",
    "on_the_margin": "its next block bid as much as the clearing price",
    "scarce": "the connection was full",
    "gave_back": "it drew less than it won",
}


def page(sources: Sources) -> None:
    """The page."""
    path = choose(sources, "run")
    if path is None:
        return
    try:
        with sources.run(path) as opened:
            picked = _pick(opened)
            if picked is not None:
                _show(opened, *picked)
    except GridPilotError as error:
        problem(error)


def _pick(opened: OpenedRun) -> tuple[str, int] | None:
    """The match, one named in full, or one of an agent's best, worst or typical ones, and the seat to look at first."""
    agents = [one.agent for one in opened.board.agents]
    first, second, third, fourth = st.columns([0.22, 0.16, 0.34, 0.28])
    agent = first.selectbox("Agent", agents, key="match_agent", bind="query-params", persist_state="session")
    order = second.selectbox("its", ORDERS, key="match_order", bind="query-params", persist_state="session")
    found = find_matches(opened, agent, order, n=FOUND)["matches"]
    told = {_told(one): one for one in found}
    label = third.selectbox(
        "Match: episode/line-up/rotation, seat, gain over truthful",
        list(told),
        key="match_found",
        on_change=_to_its_seat,
        args=(told,),
    )
    named = fourth.text_input(
        "or by name", key="match", placeholder="EPISODE/LINEUP/ROTATION", bind="query-params", persist_state="session"
    )
    if named.strip():
        return named.strip(), 0
    return (str(told[label]["match"]), int(told[label]["seat_number"])) if label in told else None


def _to_its_seat(told: dict[str, Facts]) -> None:
    """Another match was picked: look at its agent."""
    label = st.session_state.get("match_found")
    if label in told:
        st.session_state["seat"] = told[label]["seat_number"]


def _told(one: Facts) -> str:
    return f"{one['match']}, seat {one['seat_number']}, {one['gain_dollars']:+,.2f} $"


def _show(opened: OpenedRun, name: str, at_first: int) -> None:
    played = opened.played(opened.match(name))
    seats = played.trace.matches[0].seats
    _clip("seat", len(seats))
    _clip("tick", played.ticks)
    _strip(played)
    left, right = st.columns([0.75, 0.25])
    # What was looked at stays; at first it is the dearest tick, and the agent that was picked.
    dearest = None if "tick" in st.session_state else int(np.argmax(played.trace.price[:, 0]))
    tick = int(left.slider("Tick", 0, played.ticks - 1, dearest, key="tick", bind="query-params", persist_state="session"))
    numbers = list(range(len(seats)))
    seat = right.selectbox(
        "Seat",
        numbers,
        index=0 if "seat" in st.session_state else min(at_first, len(numbers) - 1),
        key="seat",
        format_func=lambda n: f"{n}: {seats[n]}",
        bind="query-params",
        persist_state="session",
    )
    market, own = match_facts.tick(played, tick), match_facts.seat(played, tick, seat)
    strip(_heading(played, market, own))
    first, second, third = st.columns(3)
    with first:
        _curve(played, market, own, tick, seat)
    with second:
        _prices(played, tick, seat)
    with third:
        _battery(played, tick, seat)
    st.session_state[LOOKED_AT] = (name, tick)
    _what_if(opened, name, played, tick, seat)


def _clip(key: str, end: int) -> None:
    """A tick or seat of an address, or of another match, may be none of this one."""
    value = st.session_state.get(key)
    if isinstance(value, int) and not 0 <= value < end:
        st.session_state[key] = end - 1


def _strip(played: Played) -> None:
    seats = played.trace.matches[0].seats
    won = played.trace.outcome[:, 0, :, WON].T
    columns = [match_facts.clock(played, t) for t in range(played.ticks)]
    rows = [f"{n} {agent}" for n, agent in enumerate(seats)]
    strip("<b>Power won, kW, by seat and tick</b><span>a click picks</span>")
    st.echarts_chart(
        charts.heat(columns, rows, won.tolist(), unit="kW", clickable=True),
        height=90 + 17 * len(rows), key="strip", theme=None, alt="power won by seat and tick", on_select=_clicked,
    )  # fmt: skip
    st.session_state["strip_ticks"] = played.ticks


def _clicked() -> None:
    """Go to the cell that was clicked."""
    state: Any = st.session_state.get("strip")
    ticks = st.session_state.get("strip_ticks")
    chosen = [index for group in state.selection.selected for index in group["data_indices"]] if state else []
    if chosen and ticks:
        st.session_state["seat"], st.session_state["tick"] = divmod(int(chosen[-1]), int(ticks))


def _heading(played: Played, market: Facts, own: Facts) -> str:
    exact = badge("bit for bit as recorded", "good") if played.exact else badge("NOT AS RECORDED", "bad")
    bound = ", ".join(BOUND.get(code, code) for code in own["bound"])
    parts = [
        f"<b>{safe(market['match'])}, {safe(market['clock_at'])}</b>",
        exact,
        f"<span>cleared at {PER_MWH * market['clearing_price_dollars_per_kwh']:,.2f} $/MWh, "
        f"energy {PER_MWH * market['energy_price_dollars_per_kwh']:,.2f}</span>",
        badge("SCARCE", "warn") if market["scarce"] else "",
        f"<span>{market['sold_kw']:,.0f} of {market['capacity_kw']:,.0f} kW sold, {market['asked_kw']:,.0f} asked</span>",
        f"<span><b>Seat {own['seat_number']}, {safe(own['agent'])}</b> at {safe(own['site'])}: won {own['won_kw']:,.0f} of "
        f"{own['asked_kw']:,.0f} kW, {safe(bound)}; paid {own['paid_dollars']:,.2f} $, profit {own['profit_dollars']:,.2f} $</span>",
    ]
    if played.differs:
        parts.append(f"<span>{safe('; '.join(played.differs[:3]))}</span>")
    return "".join(parts)


def _curve(played: Played, market: Facts, own: Facts, tick: int, seat: int) -> None:
    """All blocks by falling price, those of the seat among them, and the supply."""
    bids = played.trace.bids[tick, 0]
    blocks = [(float(kw), float(price), n) for n, bid in enumerate(bids.tolist()) for kw, price in bid if kw > 0.0]
    blocks.sort(key=lambda block: -block[1])
    supply = [(float(kw), PER_MWH * float(price)) for kw, price in played.supply()[tick, 0].tolist()]
    ends = [0.0, *itertools.accumulate(kw for kw, _, _ in blocks)]
    mine = [
        (begin, end, PER_MWH * price)
        for (_, price, n), (begin, end) in zip(blocks, itertools.pairwise(ends), strict=True)
        if n == seat
    ]
    low, high = market["highest_losing_price_dollars_per_kwh"], market["lowest_winning_price_dollars_per_kwh"]
    clearing = market["clearing_price_dollars_per_kwh"]
    band = (PER_MWH * (clearing if low is None else low), None if high is None else PER_MWH * high)
    option = charts.bid_curve(
        [(kw, PER_MWH * price) for kw, price, _ in blocks], supply, band=band, unit="", own=mine, own_name=f"seat {seat}"
    )
    around = [price for _, price, _ in blocks] or [clearing]
    option["yAxis"] |= {"max": 50 * math.ceil(PER_MWH * max(float(np.percentile(around, 95)), 0.0) / 50 + 0.1)}
    chart(option, height=HEIGHT, key="curve", title="Bids and supply by kW, $/MWh; green: the clearing band")


def _prices(played: Played, tick: int, seat: int) -> None:
    hours = np.arange(played.ticks) / TICKS_PER_HOUR
    series: dict[str, Any] = {
        "energy": list(zip(hours.tolist(), (PER_MWH * played.prices()[:, 0, 0]).tolist(), strict=True)),
        "clearing": list(zip(hours.tolist(), (PER_MWH * played.trace.price[:, 0]).tolist(), strict=True)),
    }
    facts = match_facts.expected(played, tick, seat)
    said = facts["rationale"].get("expected_price_dollars_per_kwh")
    title = "Prices, $/MWh"
    if isinstance(said, list) and said:
        at = tick / TICKS_PER_HOUR
        length = len(facts["price_that_came_dollars_per_kwh"])
        series["expected"] = [(at + h, PER_MWH * float(price)) for h, price in enumerate(said[:length])]
        title += f", and what {facts['agent']} expected at that tick"
    option = charts.lines(
        series, unit="", mark=tick / TICKS_PER_HOUR, steps=["energy", "clearing", "expected"], dashed=["expected"],
        colours={"energy": charts.GREY, "clearing": charts.BLUE, "expected": charts.ACCENT},
    )  # fmt: skip
    high = float(np.percentile(played.trace.price[:, 0], 99.0)) * PER_MWH * 1.4
    option["yAxis"] |= {"max": 10 * math.ceil(max(high, 1.0) / 10)}
    chart(option, height=HEIGHT, key="prices", title=title)


def _battery(played: Played, tick: int, seat: int) -> None:
    stored = played.trace.storage[:, 0, seat, 0]
    hours = (np.arange(len(stored)) / TICKS_PER_HOUR).tolist()
    series: dict[str, Any] = {"stored": list(zip(hours, stored.tolist(), strict=True))}
    said = played.reasons.get((0, tick, seat), {}).get("planned_stored_kwh")
    if isinstance(said, list) and said:
        series["planned at that tick"] = [
            (tick / TICKS_PER_HOUR + h, float(kwh)) for h, kwh in enumerate(said) if tick / TICKS_PER_HOUR + h <= hours[-1]
        ]
    option = charts.lines(
        series, unit="", mark=tick / TICKS_PER_HOUR, fill=["stored"], dashed=["planned at that tick"],
        colours={"stored": charts.GREEN, "planned at that tick": charts.ACCENT},
    )  # fmt: skip
    chart(option, height=HEIGHT, key="battery", title=f"Battery of seat {seat}, kWh, by hour of the day played")


def _what_if(opened: OpenedRun, name: str, played: Played, tick: int, seat: int) -> None:
    """One change: the mechanism, who sits in the seat, or its bid in the tick."""
    first, second, third = st.columns([0.24, 0.42, 0.34], vertical_alignment="bottom")
    what = first.selectbox(
        "What if", WHAT_IFS, format_func=lambda kind: WHAT_IFS[kind], key="what_if_kind", persist_state="session"
    )
    with second:
        change = _change(opened, played, str(what), tick, seat)
    if third.button("Play the match so, agents responding", key="play_again", disabled=change is None):
        st.session_state["what_if"] = (name, change)
    seats = [f"{n} {agent}" for n, agent in enumerate(played.trace.matches[0].seats)]
    height = 60 + 22 * len(seats)
    left, right = st.columns(2)
    with left:
        if change is not None and change.mechanism is not None:
            whole = st.toggle("the whole match, not this tick alone", value=True, key="whole")
            facts = match_facts.recleared(played, change.mechanism, None if whole else tick)
            kept = [-float(one["payment_change_dollars"]) for one in facts["seats"]]
            span = "the match" if whole else "this tick"
            title = f"Same bids: each keeps more or less over {span}, $; all together {-facts['payment_change_dollars']:+,.2f}"
            chart(charts.bars(seats, {"kept": kept}, unit="", signed=True), height=height, key="recleared", title=title)
        else:
            st.caption(
                "With the same bids nothing but a mechanism can be changed: another agent, or bid, is answered by the others."
            )
    with right:
        if change is None or st.session_state.get("what_if") != (name, change):
            st.caption("Agents responding takes about a second: each bids anew, on what it then sees.")
            return
        changed = match_facts.what_if(played, opened.played(opened.match(name), change))
        gains = [float(one["profit_change_dollars"]) for one in changed["seats"]]
        title = f"{changed['change']}: each earns more or less, $; all together {changed['profit_change_dollars']:+,.2f}"
        labels = [f"{one['seat_number']} {one['other']}" for one in changed["seats"]]
        chart(charts.bars(labels, {"profit": gains}, unit="", signed=True), height=height, key="what_if_bars", title=title)


def _change(opened: OpenedRun, played: Played, what: str, tick: int, seat: int) -> Change | None:
    """The change that is asked for; None as long as it is none."""
    if what == "mechanism":
        others = [mechanism for mechanism in MECHANISMS if mechanism != played.trace.arena.rules.mechanism]
        mechanism: Any = st.selectbox("the mechanism were", others, key="other_mechanism", persist_state="session")
        return Change(mechanism=mechanism)
    here = played.trace.matches[0].seats[seat]
    if what == "agent":
        known = [label for label in dict.fromkeys([*opened.run.spec.agents, *registered()]) if label != here]
        agent = st.selectbox(f"in seat {seat} there sat, instead of {here}", known, key="other_agent", persist_state="session")
        return Change(seat=seat, agent=agent)
    text = st.text_input(
        f"seat {seat} bid in tick {tick}, as kW@$/kWh, prices falling; none: no bid",
        ",".join(f"{kw:.1f}@{price:.4f}" for kw, price in played.trace.bids[tick, 0, seat].tolist() if kw > 0.0) or "none",
        key=f"other_bid_{tick}_{seat}",
    )
    return Change(seat=seat, tick=tick, blocks=parse_bid(text))
