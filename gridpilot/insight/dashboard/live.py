"""Live: what an operator must see without scrolling, and the halt."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import streamlit as st

from gridpilot.errors import GridPilotError
from gridpilot.insight.dashboard import charts
from gridpilot.insight.dashboard.again import decide_again
from gridpilot.insight.dashboard.followed import Followed
from gridpilot.insight.dashboard.halt import ARMED_S, LONGEST_REASON, Arming
from gridpilot.insight.dashboard.live_charts import SHOWN, power_chart, price_chart, profit_chart
from gridpilot.insight.dashboard.parts import badge, chart, choose, compact, problem, safe, scaled, strip, without_dust
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.live.api import TICK
from gridpilot.live.which_journal import as_option

__all__ = ["page"]

Facts = dict[str, Any]

BAR_S: Final = 2.0  # between two looks of the bar, which shows what came of a halt
BODY_S: Final = 5.0
SPARK: Final = 48
SILENT_TICKS: Final = 2.0  # wall ticks without a record after which a journal in use is stale
HEIGHT: Final = 200  # px of a chart: all of the page is seen at 1440 x 900


def page(sources: Sources) -> None:
    """The page."""
    path = choose(sources, "journal")
    if path is None:
        return
    arming = _arming(path)
    st.fragment(_bar, run_every=BAR_S)(sources, path, arming)
    st.fragment(_body, run_every=BODY_S)(sources, path)


def _arming(path: Path) -> Arming:
    """That of the session, for the journal."""
    known: dict[Path, Arming] = st.session_state.setdefault("arming", {})
    return known.setdefault(path, Arming(path))


# The bar: site, mode, health; arm and halt.


def _bar(sources: Sources, path: Path, arming: Arming) -> None:
    try:
        with sources.journal(path) as seen:
            told, words = arming.look(), _words(seen)
            halted, why = bool(seen.status.get("halted")), seen.status.get("halt_reason")
    except GridPilotError:
        return  # the body says it
    left, right = st.columns([0.82, 0.18], vertical_alignment="center")
    with left:
        strip(words)
    with right:
        if arming.is_armed:
            st.button("Disarm", on_click=arming.disarm, width="stretch", key="disarm")
        else:
            st.button("Arm halt", on_click=arming.arm, width="stretch", key="arm", disabled=halted, help="ready to halt for 30 s")
    if arming.is_armed:
        _form(arming)
    if arming.refused:
        st.warning(arming.refused)
    if told is not None:
        _told(arming)
    if halted:
        reason, resume = st.columns(2, vertical_alignment="center")
        with reason:
            strip(f"{badge('HALTED', 'bad')}<span>{safe(why)}</span><span>Resuming is done by hand:</span>")
        resume.code(f"gridpilot live resume {as_option(path)}", language=None)


def _form(arming: Arming) -> None:
    with st.form("halt", border=True):
        reason, press = st.columns([0.75, 0.25], vertical_alignment="bottom")
        with reason:
            st.text_input(
                f"Armed for {arming.left_s:.0f} of {ARMED_S:.0f} s: everything is switched off within one cycle. Why?",
                key="halt_why",
                max_chars=LONGEST_REASON,
                placeholder="the reason, for the record",
            )
        with press:
            st.form_submit_button("HALT", type="primary", width="stretch", on_click=_press, args=(arming,))


def _press(arming: Arming) -> None:
    arming.press(str(st.session_state.get("halt_why", "")))


def _told(arming: Arming) -> None:
    """What came of the halt that was ordered here."""
    halted = arming.halted
    if halted is None:
        return
    if halted.confirmed:
        st.success(f"Everything is off, {halted.confirmed}, after {halted.seconds:.1f} s.", icon=":material/check_circle:")
    elif halted.problem:
        st.error(f"NOT CONFIRMED: {halted.problem}", icon=":material/error:")
    else:
        st.info(f"The halt is written. Waiting for the engine: {halted.seconds:.0f} s", icon=":material/hourglass_top:")


def _words(seen: Followed) -> str:
    """The bar's words, as HTML."""
    status, session = seen.status, seen.session
    if not session:
        return f"{badge('NO SESSION YET', 'plain')}<span>{safe(seen.path.name)}, {seen.records:,} records</span>"
    here, silent = seen.engine_here, seen.silent_s()
    site = ", ".join(str(one["name"]) for one in session.get("sites", []))
    parts = [f"<b>{safe(site)}</b><span>{safe(status['agent'])} on {safe(session['venue'])}</span>"]
    parts.append(badge(str(status["mode"]).upper(), "bad" if status["mode"] == "live" else "info"))
    parts.append(_health(seen, here, silent))
    age = seen.feed_age_s()
    if age is not None:
        parts.append(f"<span>row {_ago(age)} old</span>")
    parts.append(f"<span>last record {_ago(silent)} ago</span>")
    parts.append("<span>API up</span>" if status["api"] == "up" else badge("API DOWN", "bad"))
    if seen.setback is not None:
        parts.append(badge("JOURNAL GOES BACK", "bad"))
    else:
        parts.append(f"<span>{seen.records:,} records, head {safe((seen.head or (0, ''))[1][:8])}</span>")
    return "".join(parts)


def _health(seen: Followed, here: bool, silent: float) -> str:
    if seen.status["halted"]:
        return badge("HALTED", "bad")
    if not here:
        stopped = seen.status["stopped_by"]
        return badge(f"STOPPED: {stopped}" if stopped else "ENGINE GONE", "plain" if stopped else "bad")
    if silent > _stale_after_s(seen):
        return badge("STALE", "bad")
    pages, raised = seen.alarms.get("pages_count", 0), seen.alarms.get("raised_count", 0)
    if pages:
        return badge(f"{pages} ALARM{'S' if pages > 1 else ''}", "bad")
    return badge(f"{raised} WARNING{'S' if raised > 1 else ''}", "warn") if raised else badge("WELL", "good")


def _stale_after_s(seen: Followed) -> float:
    speed = seen.session.get("speed")
    ticks = SILENT_TICKS * TICK.total_seconds()
    return max(10.0, ticks / speed if isinstance(speed, int | float) and speed > 0.0 else ticks)


def _ago(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    if seconds < 7200.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:,.0f} h" if seconds < 172_800.0 else f"{seconds / 86_400.0:,.0f} days"


# The body: cards, charts, why, alternatives, alarms.


def _body(sources: Sources, path: Path) -> None:
    try:
        with sources.journal(path) as seen:
            if not seen.decisions:
                _nothing_yet(seen)
                return
            _show(seen)
    except GridPilotError as error:
        problem(error)


def _nothing_yet(seen: Followed) -> None:
    text = "An engine has begun and made no decision yet." if seen.session else "No engine has begun to work with this journal."
    st.info(
        f"{text} It holds {seen.records:,} records; this page looks again every {BODY_S:.0f} s.", icon=":material/hourglass_empty:"
    )


def _show(seen: Followed) -> None:
    day, decision = seen.day(), seen.decision()
    if day is None or decision is None:
        return
    _cards(seen, day, decision)
    first, second, third = st.columns(3)
    with first:
        chart(price_chart(seen), height=HEIGHT, key="price", title=_price_title(seen))
    with second:
        chart(profit_chart(seen), height=HEIGHT, key="profit", title=f"{_earned(day)} of the day against the best choices, API $")
    with third:
        chart(power_chart(seen), height=HEIGHT, key="power", title="Power, kW")
    first, second, third = st.columns(3)
    with first:
        _why(decision)
        _again(seen)
    with second:
        _alternatives(decision)
    with third:
        _alarms(seen)


def _price_title(seen: Followed) -> str:
    foreseen = seen.foreseen()
    return "Energy price, API $/W, who decided" + ("" if foreseen is None else f", forecast by {foreseen[0]}")


def _earned(day: Facts) -> str:
    return "Profit" if day["real"] else "Would-be profit"


def _cards(seen: Followed, day: Facts, decision: Facts) -> None:
    recent, today = seen.decisions[-SPARK:], seen.today
    best, forgone = day["best_api_dollars"], without_dust(day["forgone_api_dollars"], day["best_api_dollars"])
    by_agent = 100.0 * day["decisions_by_agent_count"] / day["decisions_count"]
    missed = [without_dust(one.forgone or 0.0, one.best or 0.0) for one in today]
    spark: list[tuple[str, str, str, list[float], str]] = [
        (
            "Energy price, API $/W",
            f"{decision['energy_price_api_dollars_per_watt_row']:.3f}",
            f"row of {str(decision['decided_at'])[11:]}",
            [row.energy for row in seen.rows[-SPARK:]],
            "line",
        ),
        (
            f"Power of {decision['cap_kw'] or 0:,.0f} kW",
            f"{decision['power_kw']:,.0f} kW",
            "would run" if decision["mode"] == "shadow" else "runs",
            [one.body["power_w"] / 1000.0 for one in recent],
            "area",
        ),
        (
            f"{_earned(day)} today, API $",
            compact(day["profit_api_dollars"]),
            f"best {compact(best)}",
            list(accumulate([one.profit for one in today])),
            "area",
        ),
        (
            "Left on the table, API $",
            compact(forgone),
            str(day["forgone_by_cause"][0]["meaning"]) if forgone else "nothing",
            list(accumulate(missed)),
            "area",
        ),
        (
            "Decided by the agent today",
            f"{by_agent:.0f} %",
            f"now: {decision['decided_by']}",
            [float(one.body["reason"] == "agent") for one in recent],
            "bar",
        ),
    ]
    grid = st.grid(5, min_column_width=150)
    for label, value, note, data, kind in spark:
        with grid.cell():
            st.metric(
                label, value, border=True, chart_data=data if len(data) > 1 else None, chart_type=kind,  # type: ignore[arg-type]
                delta=note, delta_color="off", delta_arrow="off",
            )  # fmt: skip


def _why(decision: Facts) -> None:
    mine = decision["decided_by"]
    causes = [one["meaning"] for one in decision["causes"]]
    running = ", ".join(f"{one['running_count']:,} {one['class']}" for one in decision["machines"] if one["running_count"])
    asked = sum(bid["asked_kw"] for bid in decision["bids"])
    highest = [bid["highest_bid_price_api_dollars_per_watt_row"] for bid in decision["bids"]]
    top = max((price for price in highest if price is not None), default=None)
    lines = [f"<b>Why this</b> <span>{safe(decision['decided_at'])}</span>", f"decided by {safe(mine)}"]
    if causes:
        lines.append(f"because {safe('; '.join(causes))}")
    lines.append(f"runs {safe(running or 'nothing')}: {decision['power_kw']:,.0f} kW")
    if top is not None:
        energy = decision["energy_price_api_dollars_per_watt_row"]
        lines.append(f"bid {asked:,.0f} kW at up to {top:.3f}, energy cost {energy:.3f} API $/W")
    lines.append(
        f"expected {compact(decision['expected_revenue_api_dollars'])} revenue less "
        f"{compact(decision['expected_cost_api_dollars'])} for power: <b>{compact(decision['expected_profit_api_dollars'])} API $</b>"
    )
    lines += [_said(said) for said in decision["rationale"]]
    outcome = decision["outcome"]
    lines.append(f"command: {safe(outcome or 'nothing known yet')}")
    st.html(f"<div style='line-height:1.65;max-height:{HEIGHT + 20}px;overflow:auto'>" + "<br>".join(lines) + "</div>")


def _again(seen: Followed) -> None:
    """What the deployed agent decides again at a tick that is chosen; folded, as it takes its time."""
    with st.popover("Decide again, at any tick", width="stretch"):
        shown = list(reversed(seen.decisions[-SHOWN:]))
        times = [f"{one.at:%Y-%m-%d %H:%M} {one.body['kind']}, {one.body['reason']}" for one in shown]
        picked = st.selectbox("Tick, UTC", times, key="again_tick")
        decide_again(seen, shown[times.index(picked) if picked in times else 0], "again")


def _said(said: Facts) -> str:
    """What the agent says of its bid, in a line."""
    if "failed" in said:
        return f"asked why, the agent failed: {safe(said['failed'])}"
    parts = [str(said[key]) for key in ("rule", "rung") if said.get(key)]
    prices = said.get("expected_price_api_dollars_per_watt_row")
    if isinstance(prices, list) and prices and all(isinstance(price, float) for price in prices):
        parts.append(f"expects {min(prices):.3f} to {max(prices):.3f} API $/W")
    told = {key: value for key, value in said.items() if isinstance(value, str | float | int)}
    shown = parts or [f"{key} {value}" for key, value in told.items()]
    return f"the agent: {safe(', '.join(shown)[:160])}"


def _alternatives(decision: Facts) -> None:
    found = decision["alternatives"]
    if not found:
        st.caption("What other choices would have earned is not known: the session is not in what was read.")
        return
    names = [str(one["choice"]) for one in found]
    profits = [float(one["profit_api_dollars"]) for one in found]
    scale, letter = scaled(profits)
    option = charts.bars(names, {"profit": [value / scale for value in profits]}, unit="", signed=True)
    chart(option, height=HEIGHT, key="alternatives", title=f"This row by other choices, {letter}API $")


def _alarms(seen: Followed) -> None:
    raised = seen.alarms.get("raised", [])
    rules, unseen = seen.alarms.get("rules_count", 0), seen.alarms.get("not_seen_count", 0)
    head = badge(f"{len(raised)} raised", "bad" if seen.alarms.get("pages_count") else "warn") if raised else badge("none", "good")
    lines = [f"<b>Alarms</b> {head}"]
    for one in raised:
        kind = "bad" if one["severity"] == "page" else "warn"
        lines.append(f"{badge(one['severity'], kind)} {safe(one['meaning'])} ({safe(one['found'])})")
    lines.append(f"<span style='color:{charts.GREY}'>{rules} rules looked at; {unseen} more need the engine's metrics</span>")
    if seen.setback is not None:
        lines.append(badge(seen.setback, "bad"))
    st.html(f"<div style='line-height:1.75;max-height:{HEIGHT + 20}px;overflow:auto'>" + "<br>".join(lines) + "</div>")
