"""Every figure of an answer worked out another way: from rows, traces and records, in plain pandas and Python, without the facts' code.

``python -m tests.insight.recomputed RUN JOURNAL`` does it at full size: it asks the five questions of both, and tells how many figures
were compared; the first that is otherwise is an error.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from gridpilot.cli import main
from gridpilot.forecasting import build_forecaster
from gridpilot.forecasting.base import Row
from gridpilot.insight.opened import OpenedRun
from gridpilot.insight.replay import Change, play
from gridpilot.live.api import parse_time
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import facility_from_json
from gridpilot.market.clearing import clear
from gridpilot.market.physics import DISCHARGED, PAYMENT, PROFIT, REVENUE, WEAR, WON

Facts = dict[str, Any]
HOUR = 1.0 / 12.0  # of a tick
API = 12_000.0  # $/kWh of an API $/W
FORMS: tuple[tuple[str, Callable[[float], str]], ...] = (  # the first suffix that fits
    ("api_dollars_per_watt_row", lambda x: f"{x:,.4f} API $/W"),
    ("dollars_per_kwh", lambda x: f"{1000.0 * x:,.2f} $/MWh"),
    ("dollars_per_day", lambda x: f"{x:,.2f} $ a day"),
    ("api_dollars", lambda x: f"{x:,.2f} API $"),
    ("dollars", lambda x: f"{x:,.2f} $"),
    ("kwh_per_day", lambda x: f"{x:,.1f} kWh a day"),
    ("kwh", lambda x: f"{x:,.1f} kWh"),
    ("kw", lambda x: f"{x:,.1f} kW"),
    ("percent", lambda x: f"{x:,.1f} %"),
    ("p_value", lambda x: f"{x:.4f}"),
    ("count", lambda x: f"{x:,.0f}"),
    ("number", lambda x: f"{x:,.0f}"),
)


def told(key: str, value: Any) -> str:
    if isinstance(value, bool | str):
        return {True: "yes", False: "no"}.get(value, str(value))
    form = next(form for suffix, form in FORMS if key.endswith(suffix))
    text = form(value)
    return text.removeprefix("-") if not any(digit in text for digit in "123456789") else text


def figure(operation: str, keys: list[str], values: list[Any]) -> str:
    first, key = values[0], keys[0]
    match operation:
        case "value":
            return told(key, first)
        case "signed":
            text = told(key, first)
            return text if text.startswith("-") or not any(digit in text for digit in "123456789") else f"+{text}"
        case "size":
            return told(key, abs(first))
        case "range":
            low, high = (told(key, end(first if isinstance(first, list) else values)) for end in (min, max))
            return low if low == high else f"{low} to {high}"
        case "compare":
            return "about equal to" if told(key, first) == told(keys[1], values[1]) else "above" if first > values[1] else "below"
    raise AssertionError(operation)


def check(answer: Facts, facts: Mapping[str, Any]) -> int:
    """How many figures of ``answer`` are those of ``facts``, by path; all of them must be."""
    wrong = []
    for note in answer["notes"]:
        missing = [path for path in note["facts"] if path not in facts]
        again = (
            ""
            if missing
            else figure(note["operation"], [path.rsplit("/")[-1] for path in note["facts"]], [facts[p] for p in note["facts"]])
        )
        if missing or again != note["text"]:
            wrong.append(f"{note['facts']}: {note['text']!r} is told, {again!r} comes out, {missing} were not worked out")
    assert wrong == [], "\n".join(wrong)
    return len(answer["notes"])


def numbered(path: str, value: Any) -> Facts:
    """Facts by their paths, lists of figures as a whole too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: Facts = {} if isinstance(value, dict) else {path: value}
    for name, each in inner:
        found |= numbered(f"{path}/{name}", each)
    return found


# Of a run.


def lead(rows: pd.DataFrame, agent: str, other: str) -> Facts:
    mixed = rows[rows["lineup"] == "mixed"]

    def daily(column: str) -> pd.DataFrame:
        return (mixed[column] * 288 / mixed["ticks"]).groupby([mixed["episode"], mixed["agent"]]).mean().unstack()

    profit = daily("profit")
    difference = (profit[agent] - profit[other]).to_numpy()
    signs = {"revenue": 1.0, "payment": -1.0, "wear": -1.0, "stored": 1.0}
    facts: Facts = {"agent": agent, "other": other, "lead_dollars_per_day": float(difference.mean())}
    for name, sign in signs.items():
        facts[f"lead_by_{name}_dollars_per_day"] = sign * float((daily(name)[agent] - daily(name)[other]).mean())
    for label, prefix in ((agent, ""), (other, "other_")):
        own = mixed[mixed["agent"] == label]
        facts |= {
            f"{prefix}profit_dollars_per_day": float(profit[label].mean()),
            f"{prefix}price_paid_dollars_per_kwh": own["payment"].sum() / own["drawn_kwh"].sum(),
            f"{prefix}energy_bought_kwh_per_day": own["drawn_kwh"].sum() * 288 / own["ticks"].sum(),
            f"{prefix}battery_delivered_kwh_per_day": own["discharged_kwh"].sum() * 288 / own["ticks"].sum(),
        }
    if 8 <= len(profit) <= 14:  # beyond, signs are drawn at random
        patterns = np.array(list(itertools.product((1.0, -1.0), repeat=len(profit))))
        p = {}
        for one, two in itertools.combinations(profit.columns, 2):
            d = (profit[one] - profit[two]).to_numpy()
            p[frozenset((one, two))] = float((np.abs(patterns @ d) >= abs(d.sum()) - 1e-9 * np.abs(d).sum()).mean())
        adjusted, most = {}, 0.0
        for i, pair in enumerate(sorted(p, key=lambda pair: p[pair])):
            most = max(most, min(1.0, (len(p) - i) * p[pair]))
            adjusted[pair] = most
        low, high = scipy.stats.t.interval(0.95, len(difference) - 1, difference.mean(), scipy.stats.sem(difference))
        facts |= {"chance_p_value": adjusted[frozenset((agent, other))], "certainty_percent": 95.0}
        facts |= {"lead_low_dollars_per_day": low, "lead_high_dollars_per_day": high}
    return numbered("c1", facts) | {"c2/episodes_count": len(profit)}


def clock(start: int, tick: int) -> str:
    at = timedelta(minutes=5 * (start + tick))
    return f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[at.days % 7]} {at.seconds // 3600:02d}:{at.seconds // 60 % 60:02d}"


def bid(opened: OpenedRun, name: str, tick: int, seat: int) -> Facts:
    """Cleared anew by :func:`~gridpilot.market.clearing.clear`; the battery's prices by hand."""
    match = opened.match(name)
    played = play(opened.run, [match], reasons=True)
    trace, scenario, site = played.trace, played.trace.arena.scenario, played.trace.arena.sites[seat]
    blocks = trace.bids[tick, 0, seat]
    blocks = blocks[blocks[:, 0] > 0.0]
    cleared = clear(
        [b[b[:, 0] > 0.0] for b in trace.bids[tick, 0]], played.supply()[tick, 0], float(played.capacity_kw()[tick, 0]),
        mechanism=trace.arena.rules.mechanism,
    )  # fmt: skip
    won, outcome = float(cleared.allocation[seat]), trace.outcome[tick, 0, seat]
    lost_from = int(np.searchsorted(np.cumsum(blocks[:, 0]), won + 1e-9))
    facts: Facts = {
        "agent": match.seats[seat], "seat_number": seat, "site": site.name, "tick_number": tick, "match": name,
        "clock_at": clock(int(scenario.start[0]), tick),
        "bid_kind": ("own curve", "shaded curve", "stated blocks", "none")[int(trace.kind[tick, 0, seat])],
        "asked_kw": float(blocks[:, 0].sum()), "blocks_count": len(blocks), "won_kw": won, "lost_kw": float(blocks[:, 0].sum()) - won,
        "lowest_bid_price_dollars_per_kwh": float(blocks[-1, 1]), "highest_bid_price_dollars_per_kwh": float(blocks[0, 1]),
        "clearing_price_dollars_per_kwh": float(cleared.price_lo), "paid_dollars": float(cleared.payment[seat]) * HOUR,
        "energy_price_dollars_per_kwh": float(scenario.prices[scenario.history + tick, 0, 0]),
        "first_lost_bid_price_dollars_per_kwh": float(blocks[min(lost_from, len(blocks) - 1), 1]),
    }  # fmt: skip
    battery, stored = site.battery, float(trace.storage[tick, 0, seat, 0])
    low, high = battery.soc_min * battery.energy_kwh, battery.soc_max * battery.energy_kwh
    facts |= {"stored_kwh": stored, "stored_percent": 100.0 * (stored - low) / (high - low) if high > low else None}
    value = float(trace.storage_value[tick, 0, seat])
    facts |= {
        "storage_value_dollars_per_kwh": value, "stored_after_kwh": float(trace.storage[tick + 1, 0, seat, 0]),
        "battery_delivered_kw": float(outcome[DISCHARGED]),
        "charging_up_to_price_dollars_per_kwh": battery.charge_efficiency * value - battery.wear_cost,
        "delivering_from_price_dollars_per_kwh": value / battery.discharge_efficiency + battery.wear_cost,
        "rationale": dict(played.reasons.get((0, tick, seat), {})),
    }  # fmt: skip
    forecaster = build_forecaster("ensemble", ("energy",), 288)
    first = int(scenario.start[0]) - scenario.history
    for i, price in list(enumerate(scenario.prices[: scenario.history + tick + 1, 0, 0].tolist()))[-488:]:
        forecaster.update(Row(first + i, np.array([price])))
    ends = forecaster.forecast(72).quantiles[11, [0, -1], 0].tolist()
    forecast = {
        "lowest_expected_energy_price_dollars_per_kwh": ends[0], "highest_expected_energy_price_dollars_per_kwh": ends[1],
        "energy_price_that_came_dollars_per_kwh": float(scenario.prices[scenario.history + tick + 12, 0, 0]),
    }  # fmt: skip
    return numbered("c1", facts) | numbered("c2", {"forecast_by": "ensemble", "forecast": [forecast]})


def lost(opened: OpenedRun, name: str, seat: int, other: str) -> Facts:
    """From the rows of the run; by hour from the traces of both matches."""
    match, rows = opened.match(name), opened.run.rows
    here = rows[(rows["episode"] == match.episode) & (rows["lineup"] == match.lineup) & (rows["seat"] == seat)].set_index("agent")
    agent = match.seats[seat]
    own, theirs = here.loc[agent], here.loc[other]
    facts: Facts = {"match": name, "agent": agent, "other": other, "seat_number": seat, "site": own["site"]}
    facts["lead_dollars"] = own["profit"] - theirs["profit"]
    for part, sign in {"revenue": 1.0, "payment": -1.0, "wear": -1.0, "stored": 1.0}.items():
        facts[f"lead_by_{part}_dollars"] = sign * (own[part] - theirs[part])
    for row, prefix in ((own, ""), (theirs, "other_")):
        facts |= {
            f"{prefix}profit_dollars": row["profit"], f"{prefix}energy_bought_kwh": row["drawn_kwh"],
            f"{prefix}price_paid_dollars_per_kwh": row["payment"] / row["drawn_kwh"],
            f"{prefix}battery_delivered_kwh": row["discharged_kwh"],
        }  # fmt: skip
    rival = next(m for m in opened.matches if (m.episode, m.lineup) == (match.episode, match.lineup) and m.seats[seat] == other)
    traces = [play(opened.run, [each]).trace for each in (match, rival)]
    # Stored energy is worth the same to both: the row's own figure, spread as the charge changed.
    charged = [trace.storage[-1, 0, seat, 0] - trace.storage[0, 0, seat, 0] for trace in traces]
    worth = next((row["stored"] / kwh for row, kwh in zip((own, theirs), charged, strict=True) if kwh), 0.0)
    earned = []
    for trace in traces:
        o, s = trace.outcome[:, 0, seat], trace.storage[:, 0, seat, 0]
        profit = o[:, REVENUE] - o[:, PAYMENT] - o[:, WEAR] + worth * np.diff(s)
        earned.append([profit[h : h + 12].sum() for h in range(0, len(o), 12)])
    by_hour = np.subtract(*earned)
    facts["telling_hour_number"] = int(np.abs(by_hour).argmax())
    facts["lead_in_telling_hour_dollars"] = float(by_hour[np.abs(by_hour).argmax()])
    return numbered("c1", facts)


def mechanism(opened: OpenedRun, name: str, other: str) -> Facts:
    """Every tick cleared on its own, under both."""
    match = opened.match(name)
    played = play(opened.run, [match])
    trace = played.trace
    now = trace.arena.rules.mechanism
    paid = trace.outcome[:, 0, :, PAYMENT].copy()
    then = paid.copy()
    for t in range(played.ticks):
        bids = [b[b[:, 0] > 0.0] for b in trace.bids[t, 0]]
        market = (bids, played.supply()[t, 0], float(played.capacity_kw()[t, 0]))
        one, two = (clear(*market, mechanism=each) for each in (now, other))  # type: ignore[arg-type]
        np.testing.assert_allclose(one.allocation, trace.outcome[t, 0, :, WON], atol=1e-9)
        then[t] += HOUR * (two.payment - one.payment)
    before, after = paid.sum(axis=0), then.sum(axis=0)
    changed = play(opened.run, [match], Change(mechanism=other)).trace.outcome[:, 0, :, PROFIT].sum(axis=0)
    stored = play(opened.run, [match], Change(mechanism=other)).trace.rows["stored"].to_numpy()
    rows = opened.run.stored([match])
    facts = {
        "match": name, "mechanism": now, "other_mechanism": other, "paid_dollars": before.sum(), "otherwise_paid_dollars": after.sum(),
        "payment_change_dollars": after.sum() - before.sum(),
        "seats": [{"seat_number": n, "agent": agent, "paid_dollars": before[n], "otherwise_paid_dollars": after[n]}
                  for n, agent in enumerate(match.seats)],
    }  # fmt: skip
    profit, again = rows["profit"].sum(), (changed + stored).sum()
    what_if = {"profit_dollars": profit, "otherwise_profit_dollars": again, "profit_change_dollars": again - profit}
    return numbered("c1", facts) | numbered("c2", what_if)


# Of a journal.


def decision(journal: Journal, at: str) -> Facts:
    """From the records themselves."""
    records = list(journal.records())
    body = [r.body for r in records if r.kind == "decision" and r.body["at"] == at][-1]
    session = [r.body for r in records if r.kind == "session"][-1]
    outcome = next((r.body for r in records if r.kind == "outcome" and r.body["at"] == at), None)
    booked = [r.body["earned"] for r in records if r.kind in ("outcome", "reconciliation") and r.body.get("earned")]
    earned = [one for one in booked if one["at"] == at]
    said = [r.body["sites"] for r in records if r.kind == "rationale" and r.body["at"] == at]
    profit = sum(revenue - cost for one in earned for revenue, cost in one["sites"])
    weight = sum(one["weight"] for one in earned)
    moment = parse_time(at)
    prices = body["prices"]
    best = facility_from_json(session).alternatives((prices[0] * API, *prices[1:]))["best"]
    meanings = {"agent": "the agent", "last_good": "the fallback, with the last command that held",
                "off": "the fallback, with everything off", "last_good_none": "there was no earlier command to fall back on",
                "myopic": "the fallback, with the machines that pay at the newest prices",
                "last_good_unprofitable": "the last good command would make a loss", "feed_late": "the price row of the tick has not come",
                "feed_stale": "the newest price row is older than two ticks",
                "feed_off": "the newest price row is older than six ticks, so everything is off"}  # fmt: skip
    facts: Facts = {
        "decided_at": f"{moment:%Y-%m-%d %H:%M} UTC", "decided_by": meanings[body["reason"]],
        "agent": session["agent"]["target"].rsplit(".")[-1],
        "running_count": sum(sum(each) for each in body["counts"]), "power_kw": body["power_w"] / 1000, "cap_kw": session["cap_w"] / 1000,
        "causes_count": len(body["causes"]), "causes": [{"meaning": meanings[cause]} for cause in body["causes"]],
        "energy_price_api_dollars_per_watt_row": prices[0],
        "bids": [{"seat_number": n, "asked_kw": sum(kw for kw, _ in one["blocks"]),
                  "lowest_bid_price_api_dollars_per_watt_row": min(price for _, price in one["blocks"]) / API,
                  "highest_bid_price_api_dollars_per_watt_row": max(price for _, price in one["blocks"]) / API}
                 for n, one in enumerate(body["bids"])],
        "rationale": [{"rule": one["rule"], "rung": one.get("rung"),
                       "expected_price_api_dollars_per_watt_row": [price / API for price in one.get("expected_price_dollars_per_kwh", [])]}
                      for one in (said[0] if said else [])],
        "expected_revenue_api_dollars": body["revenue"], "expected_cost_api_dollars": body["cost"],
        "expected_profit_api_dollars": body["revenue"] - body["cost"], "outcome": outcome and outcome["status"],
        "profit_api_dollars": profit, "best_api_dollars": best, "forgone_api_dollars": weight * best - profit,
    }  # fmt: skip
    return numbered("c1", facts)


def day(journal: Journal, of: str) -> Facts:
    """What :func:`decision` gives of each, summed by the first cause."""
    records = list(journal.records())
    decided = [r.body for r in records if r.kind == "decision" and r.body["at"].startswith(of)]
    each = [decision(journal, body["at"]) for body in decided if body["kind"] == "row"]
    shown = {one["at"] for r in records if (one := r.body.get("earned")) and one["weight"] > 0.0}
    profit = sum(
        r - c for record in records if (one := record.body.get("earned")) and one["at"].startswith(of) for r, c in one["sites"]
    )
    best = sum(one["c1/best_api_dollars"] for one in each)
    facts = {
        "day": of, "profit_api_dollars": profit, "best_api_dollars": best, "forgone_api_dollars": best - profit,
        "decisions_count": len(decided), "decisions_by_agent_count": sum(body["reason"] == "agent" for body in decided),
        "without_row_count": sum(body["kind"] == "no_row" for body in decided),
        "unshown_count": sum(body["at"] not in shown for body in decided),
    }  # fmt: skip
    causes: dict[str, float] = {}
    for one in each:
        cause = one["c1/causes"][0]["meaning"] if one["c1/causes"] else "the agent's own choice"
        causes[cause] = causes.get(cause, 0.0) + one["c1/forgone_api_dollars"]
    ranked = sorted(causes, key=lambda cause: -causes[cause])
    return numbered("c1", facts | {"forgone_by_cause": [{"meaning": c, "forgone_api_dollars": causes[c]} for c in ranked]})


def wrong(journal: Journal) -> Facts:
    """Of a journal whose one trouble was its feed."""
    records = list(journal.records())
    decided = [r for r in records if r.kind == "decision"]
    outcomes = [r for r in records if r.kind == "outcome"]
    session = [r.body for r in records if r.kind == "session"][-1]
    last = decided[-1]
    recent = [r.body for r in decided][-288:]
    causes = Counter(cause for body in recent for cause in body["causes"])
    within = [r for r in decided if last.at - r.at <= timedelta(days=1)]
    fresh = sum(r.body["fresh"] for r in within)
    ticks = {r.body["at"] for r in within}
    booked = [one for r in records if (one := r.body.get("earned"))]
    today = last.body["at"][:10]
    money = {key: sum(r - c for one in booked if one["at"].startswith(key) for r, c in one["sites"]) for key in ("", today)}
    power = sum(n * kind["power_w"] for site, counts in zip(session["sites"], outcomes[-1].body["counts"], strict=True)
                for n, kind in zip(counts, site["fleet"], strict=True))  # fmt: skip
    alarms = {
        "as_of_at": f"{records[-1].at:%Y-%m-%d %H:%M} UTC", "raised_count": 1, "not_seen_count": 4,
        "raised": [{"alarm": "Unavailable", "severity": "warn", "found": f"{fresh} of {len(ticks)} ticks",
                    "meaning": "Less than 99.9 % of the last day's ticks had a fresh, feasible decision"}],
    }  # fmt: skip
    status = {
        "decided_at": f"{parse_time(last.body['at']):%Y-%m-%d %H:%M} UTC", "decided_by": "the agent",
        "outcome": outcomes[-1].body["status"],
        "power_kw": power / 1000, "cap_kw": session["cap_w"] / 1000, "decisions_count": len(recent),
        "decisions_not_by_agent_count": sum(body["reason"] != "agent" for body in recent), "day": today,
        "causes_counted": [{"meaning": "the price row of the tick has not come", "times_count": causes.most_common(1)[0][1]}],
        "day_profit_api_dollars": money[today], "profit_api_dollars": money[""],
    }  # fmt: skip
    return numbered("c1", alarms) | numbered("c2", status)


# Asked.


def asked(*argv: str) -> Facts:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["explain", *argv, "--json", "--offline"]) == 0
    answer: Facts = json.loads(out.getvalue())
    return answer


def of_run(folder: Path, agent: str, other: str, match: str, tick: int) -> dict[str, int]:
    """The five questions; how many figures each answer has."""
    opened, run = OpenedRun(folder), str(folder)
    seats = opened.match(match).seats
    seat = seats.index(agent)
    found = {
        "why is one ahead": check(asked(run, "--agent", agent, "--agent", other), lead(opened.run.rows, agent, other)),
        "why this bid": check(
            asked(run, "--match", match, "--tick", str(tick), "--seat", str(seat)), bid(opened, match, tick, seat)
        ),
        "what would another mechanism have changed": check(
            asked(run, "--match", match, "--ask", "what would uniform pricing have changed?"), mechanism(opened, match, "uniform")
        ),
    }
    answer = asked(run, "--match", match, "--seat", str(seats.index(other)), "--ask", "why did this seat lose?")
    question = answer["question"]
    found["why did this seat lose"] = check(answer, lost(opened, match, question["seat"], question["other"]))
    return found


def of_journal(path: Path) -> dict[str, int]:
    """Whether anything is wrong, why each of some decisions, within the outage too, and the day."""
    with Journal(path, read_only=True) as journal:
        bodies = [record.body for record in journal.records(kinds={"decision"})]
        picked = [next(body["at"] for body in bodies if body["kind"] == kind) for kind in ("row", "no_row")] + [bodies[-1]["at"]]
        last = bodies[-1]["at"][:10]
        found = {f"why the decision of {at}": check(asked(str(path), "--at", at), decision(journal, at)) for at in picked}
        found["what did the day come to"] = check(asked(str(path), "--at", last), day(journal, last))
        found["is anything wrong now"] = check(asked(str(path)), wrong(journal))
    return found


if __name__ == "__main__":
    run = Path(sys.argv[1])
    first = OpenedRun(run).matches[0]
    name = f"{first.episode}/{first.lineup}/{first.rotation}"
    counted = of_run(run, "mpc", "threshold", name, 216) | of_journal(Path(sys.argv[2]))
    for question, n in counted.items():
        print(f"{n:4d} figures equal: {question}")
    print(f"{sum(counted.values()):4d} in all")
