"""What is answered of a journal: whether anything is wrong now, why a decision was made, what a day came to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gridpilot.insight.statements import Facts, Place, Question, Statement, say, tells
from gridpilot.insight.tools import Toolbox

__all__ = ["JOURNAL_KINDS"]


def _wrong(question: Question, box: Toolbox) -> list[Statement]:
    """Whether anything is wrong now."""
    a, alarm = box.call("alarms")
    s, status = box.call("status")
    if not status["begun"]:
        return [say("No engine has begun to work with this journal: it holds {n} records.", n=f"{s}/records_count")]
    if alarm["raised"]:
        told = [say("Yes: as of {t}, alarms that are raised: {n}.", t=f"{a}/as_of_at", n=f"{a}/raised_count")]
        for i in range(len(alarm["raised"])):
            places: dict[str, Place] = {name[0]: f"{a}/raised/{i}/{name}" for name in ("alarm", "severity", "meaning", "found")}
            told.append(say("Alarm {a} ({s}). {m}: {f}.", **places))
    else:
        told = [say("No: as of {t}, alarms that are raised: {n}.", t=f"{a}/as_of_at", n=f"{a}/raised_count")]
    told += _now(s, status)
    told.append(
        say("What a journal cannot show, only the running engine can: {n} alarms are not judged here.", n=f"{a}/not_seen_count")
    )
    return told


def _now(s: str, status: Facts) -> list[Statement]:
    told = []
    if status["halted"]:
        told.append(say("The site is halted by hand: {w}.", w=f"{s}/halt_reason"))
    if status["decided_at"] is not None:
        told.append(
            say(
                "The last decision was for {t}, decided by {w}; what became of it: {o}.",
                t=f"{s}/decided_at", w=f"{s}/decided_by", o=f"{s}/outcome",
            )
            if status["outcome"] is not None
            else say("The last decision was for {t}, decided by {w}.", t=f"{s}/decided_at", w=f"{s}/decided_by")
        )  # fmt: skip
    if status["power_kw"] is not None:
        told.append(say("Machines draw a power of {p}, within a limit of {c}.", p=f"{s}/power_kw", c=f"{s}/cap_kw"))
    told.append(
        say(
            "Of the last {n} decisions {m} were not made by the agent itself.",
            n=f"{s}/decisions_count", m=f"{s}/decisions_not_by_agent_count",
        )
    )  # fmt: skip
    if status["causes_counted"]:
        told.append(
            say(
                "What went wrong in many of them: {c} ({n} times).",
                c=f"{s}/causes_counted/0/meaning", n=f"{s}/causes_counted/0/times_count",
            )
        )  # fmt: skip
    if status["day"] is not None and status["day_profit_api_dollars"] is not None:
        earned = "The profit of {d} is {p}" if status["real"] else "Nothing is sent: the profit of {d} would have been {p}"
        told.append(
            say(f"{earned}, in this journal {{q}}.", d=f"{s}/day", p=f"{s}/day_profit_api_dollars", q=f"{s}/profit_api_dollars")
        )
    return told


def _decision(question: Question, box: Toolbox) -> list[Statement]:
    """Why a decision was made, and what it came to."""
    c, found = box.call("decision", at=question.at)
    kinds = {
        "row": "on a new price row",
        "bad_row": "on a price row that was refused as data",
        "no_row": "without a new price row, on prices taken to go on as they were",
        "halt": "on a halt by hand",
    }
    told = [
        say(
            f"The decision of {{t}} was made {kinds[found['kind']]}, by {{w}}: it runs {{n}} machines, with a power of {{p}} within a "
            "limit of {c}.",
            t=f"{c}/decided_at", w=f"{c}/decided_by", n=f"{c}/running_count", p=f"{c}/power_kw", c=f"{c}/cap_kw",
        )
    ]  # fmt: skip
    if found["causes"]:
        told += [say("What was wrong: {m}.", m=f"{c}/causes/{i}/meaning") for i, _ in enumerate(found["causes"])]
    elif found["reason"] == "agent":
        told.append(
            say("It was the agent {a} that decided, with nothing amiss ({n} causes).", a=f"{c}/agent", n=f"{c}/causes_count")
        )
    for i, one in enumerate(found["bids"]):
        if one["highest_bid_price_api_dollars_per_watt_row"] is not None:
            told.append(
                say(
                    "Its bid for site {s} asked for {q} at prices from {r}; the energy price of the row was {e}.",
                    s=f"{c}/bids/{i}/seat_number", q=f"{c}/bids/{i}/asked_kw", e=f"{c}/energy_price_api_dollars_per_watt_row",
                    r=("range", f"{c}/bids/{i}/lowest_bid_price_api_dollars_per_watt_row",
                       f"{c}/bids/{i}/highest_bid_price_api_dollars_per_watt_row"),
                )
            )  # fmt: skip
    for i, said in enumerate(found["rationale"]):
        told += _of_rationale(f"{c}/rationale/{i}", said)
    told.append(
        say(
            "At these prices it was expected to bring a revenue of {r} for power at a cost of {k}, a profit of {p}.",
            r=f"{c}/expected_revenue_api_dollars", k=f"{c}/expected_cost_api_dollars", p=f"{c}/expected_profit_api_dollars",
        )
    )  # fmt: skip
    if found["outcome"] is not None:
        told.append(say("What became of the command: {o}.", o=f"{c}/outcome"))
    if found["forgone_api_dollars"] is not None:
        told.append(
            say(
                "It is shown to have earned {p}; the ideal choice would have earned {b} in a whole row: {f} left on the table.",
                p=f"{c}/profit_api_dollars", b=f"{c}/best_api_dollars", f=f"{c}/forgone_api_dollars",
            )
        )  # fmt: skip
    else:
        told.append(say("What it earned is not shown: {p} of profit are booked for it.", p=f"{c}/profit_api_dollars"))
    return told


def _of_rationale(c: str, said: Facts) -> list[Statement]:
    """What the agent itself said of its bid, where it was recorded."""
    told = []
    if tells(said, "rule", str):
        by = " ({g})" if tells(said, "rung", str) else ""
        places: dict[str, Place] = {"r": f"{c}/rule", **({"g": f"{c}/rung"} if by else {})}
        told.append(say(f"By its own account it went by this rule: {{r}}{by}.", **places))
    if tells(said, "expected_price_api_dollars_per_watt_row", list):
        told.append(
            say(
                "It expected energy prices of {r} over the coming hours.",
                r=("range", f"{c}/expected_price_api_dollars_per_watt_row"),
            )
        )
    if tells(said, "predicted_gain_api_dollars_per_hour", float):
        told.append(
            say("It expected to gain {g} by this bid against bidding the truth.", g=f"{c}/predicted_gain_api_dollars_per_hour")
        )
    if tells(said, "failed", str):
        told.append(say("Asked for its own reasons, the agent failed: {f}.", f=f"{c}/failed"))
    return told


def _day(question: Question, box: Toolbox) -> list[Statement]:
    """What a day came to."""
    c, found = box.call("day", of=question.at)
    earned = "earned a profit of {p}" if found["real"] else "would have earned a profit of {p}, had it been sent"
    told = [
        say(
            f"On {{d}} the site {earned}; the ideal choices, at these prices, would have earned {{b}}, so {{f}} were left on the table.",
            d=f"{c}/day", p=f"{c}/profit_api_dollars", b=f"{c}/best_api_dollars", f=f"{c}/forgone_api_dollars",
        ),
        say(
            "Of {n} decisions, {m} were made by the agent; {r} had no price row, and of {u} decisions it is not shown what they earned.",
            n=f"{c}/decisions_count", m=f"{c}/decisions_by_agent_count", r=f"{c}/without_row_count", u=f"{c}/unshown_count",
        ),
    ]  # fmt: skip
    for i, _ in enumerate(found["forgone_by_cause"][:3]):
        told.append(
            say(
                "Left on the table, with {c} as its cause: {f}.",
                c=f"{c}/forgone_by_cause/{i}/meaning", f=f"{c}/forgone_by_cause/{i}/forgone_api_dollars",
            )
        )  # fmt: skip
    return told


def _alternatives(question: Question, box: Toolbox) -> list[Statement]:
    """What else could have been done."""
    c, found = box.call("alternatives", at=question.at)
    if not found["choices"]:
        return [say("What other choices would have earned is not known: {n} are.", n=f"{c}/choices_count")]
    told = [
        say(
            "At the prices of {t} the decision was expected to bring a profit of {p} in a whole row.",
            t=f"{c}/decided_at", p=f"{c}/expected_profit_api_dollars",
        )
    ]  # fmt: skip
    names = {"best": "The ideal choice", "off": "Everything off"}
    for i, one in enumerate(found["choices"]):
        name = names.get(one["choice"], "Full power of {n} alone")
        places: dict[str, Place] = {"p": f"{c}/choices/{i}/otherwise_profit_api_dollars"}
        if "{n}" in name:
            places["n"] = f"{c}/choices/{i}/choice"
        told.append(say(f"{name} would have earned {{p}}.", **places))
    return told


def _expected(question: Question, box: Toolbox) -> list[Statement]:
    """What was expected of the energy price, and what came."""
    c, found = box.call("expected", at=question.at)
    told = [
        say(
            "At {t} the energy price was {e}. This forecaster, asked again with the {n} rows known then: {b}.",
            t=f"{c}/forecast_at", e=f"{c}/energy_price_api_dollars_per_watt_row", n=f"{c}/rows_count", b=f"{c}/forecast_by",
        )
    ]  # fmt: skip
    for i, hour in enumerate(found["forecast"]):
        where = f"{c}/forecast/{i}"
        text = "Hours ahead: {h}. It expects an energy price of {r}"
        places: dict[str, Place] = {
            "h": f"{where}/hours_ahead_count",
            "r": ("range", f"{where}/lowest_expected_energy_price_api_dollars_per_watt_row",
                  f"{where}/highest_expected_energy_price_api_dollars_per_watt_row"),
        }  # fmt: skip
        if hour["energy_price_that_came_api_dollars_per_watt_row"] is not None:
            text += "; it came to {w}"
            places["w"] = f"{where}/energy_price_that_came_api_dollars_per_watt_row"
        told.append(say(f"{text}.", **places))
    for i, said in enumerate(found["rationale"]):
        told += _of_rationale(f"{c}/rationale/{i}", said)
    return told


def _again(question: Question, box: Toolbox) -> list[Statement]:
    """Whether the agent decides the same again."""
    c, found = box.call("redecide", at=question.at)
    heading = "The decision of {t}, made again from the journal"
    if found["as_recorded"]:
        told = [
            say(
                f"{heading}, comes out as it was recorded, bit for bit ({{n}} differences).",
                t=f"{c}/decided_at",
                n=f"{c}/differs_count",
            )
        ]
    else:
        told = [
            say(f"{heading}, comes out otherwise: {{n}} of its entries differ.", t=f"{c}/decided_at", n=f"{c}/differs_count"),
            *(say("What differs is {d}.", d=f"{c}/differs/{i}") for i in range(min(3, len(found["differs"])))),
        ]
    told.append(
        say(
            "Decided by {w} then, it would be decided by {o} now, with a power of {q} instead of {p}.",
            w=f"{c}/decided_by", o=f"{c}/otherwise_decided_by", p=f"{c}/power_kw", q=f"{c}/otherwise_power_kw",
        )
    )  # fmt: skip
    told.append(
        say(
            "To know that, {n} decisions of its session were made again; of them {m} came out otherwise.",
            n=f"{c}/decisions_again_count", m=f"{c}/decisions_otherwise_count",
        )
    )  # fmt: skip
    return told


JOURNAL_KINDS: Final[dict[str, Callable[[Question, Toolbox], list[Statement]]]] = {
    "wrong": _wrong,
    "decision": _decision,
    "day": _day,
    "alternatives": _alternatives,
    "expected": _expected,
    "again": _again,
}
"""What can be asked of a journal."""
