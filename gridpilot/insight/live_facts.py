"""Facts of live operation, from a journal alone: what runs, what is wrong, why a decision was made, what a day came to.

Profit is what :mod:`gridpilot.live.ledger` has booked; other choices are counted as :mod:`gridpilot.live.tally` counts them. Money is the
API's, in $ of its own. JSON's types, a unit in the suffix of every key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from gridpilot.errors import JournalError
from gridpilot.live.api import CLASSES, KWH_PER_UNIT, TICK, PriceRow, parse_time
from gridpilot.live.journal import Journal, Record
from gridpilot.live.journal_json import facility_from_json
from gridpilot.live.ledger import BOOKED, earned_of
from gridpilot.live.status import read_status
from gridpilot.market.units import TICKS_PER_DAY

__all__ = [
    "MEANINGS",
    "PRICES",
    "Told",
    "alternatives",
    "choices",
    "day",
    "day_of",
    "decision",
    "decision_of",
    "find_decision",
    "in_api_money",
    "last_decision_at",
    "status",
    "told",
]

Facts = dict[str, Any]

PRICES: Final = ("energy_price_api_dollars_per_watt_row", "hash_price_api_dollars", "token_price_api_dollars")
OWN_CHOICE: Final = "the agent's own choice"

MEANINGS: Final = {  # of reasons and causes, for people; docs/live/README.md tells more
    "agent": "the agent",
    "last_good": "the fallback, with the last command that held",
    "myopic": "the fallback, with the machines that pay at the newest prices",
    "off": "the fallback, with everything off",
    "agent_late": "the agent did not answer in time",
    "agent_error": "the agent raised an error",
    "bid_invalid": "the agent made no valid bid",
    "gate_power": "the command was over the power limit",
    "gate_fleet": "the command asked for machines that are not there",
    "gate_change": "the command changed the power too much at once",
    "gate_loss": "the day has lost as much as it may",
    "price_nan": "the newest price is no number",
    "price_negative": "the newest price is negative where it cannot be",
    "price_band": "the newest price is outside its band",
    "price_jump": "the newest price jumps too far",
    "row_unreadable": "the newest price row cannot be read",
    "row_from_the_future": "the newest price row is of a time to come",
    "feed_late": "the price row of the tick has not come",
    "api_down": "the API cannot be read",
    "feed_went_back": "the price feed ends before rows that are known",
    "feed_stale": "the newest price row is older than two ticks",
    "feed_off": "the newest price row is older than six ticks, so everything is off",
    "halted": "halted by hand",
    "foreign_command": "somebody else commanded other machines",
    "last_good_none": "there was no earlier command to fall back on",
    "last_good_unprofitable": "the last good command would make a loss",
}


@dataclass
class Told:
    """A decision, and all that the journal tells of it."""

    record: Record
    session: dict[str, Any]
    outcome: dict[str, Any] | None = None
    profit: float = 0.0  # API $ booked for it
    weight: float = 0.0  # rows of which it is shown what they earned
    best: float | None = None  # API $ that the best choice earns in a whole row; None where it had no row of its own
    rationale: Sequence[Facts] = ()  # what the agents said of their bids, a mapping a site, as it was recorded; empty: nothing

    @property
    def body(self) -> dict[str, Any]:
        """The decision."""
        return self.record.body

    @property
    def at(self) -> datetime:
        """The tick that it is for, UTC."""
        return parse_time(self.body["at"])

    @property
    def forgone(self) -> float | None:
        """API $ that the best choice would have earned beyond it; None where that is not shown."""
        return None if self.best is None or self.weight <= 0.0 else self.weight * self.best - self.profit


def told(journal: Journal, *, after: int = 0) -> Iterator[Told]:
    """All decisions behind record ``after``, oldest first, each with what came of it until the next."""
    session = journal.last("session") if after else None
    sessions = {} if session is None else session.body
    found: Told | None = None
    for record in journal.records(kinds={"session", "decision", "rationale", *BOOKED}, after=after):
        if record.kind == "session":
            sessions = record.body
        elif record.kind == "rationale":
            if found is not None and record.body["at"] == found.body["at"]:
                found.rationale = record.body["sites"]
        elif record.kind == "decision":
            if found is not None:
                yield found
            found = Told(record, sessions)
        elif found is not None:
            body = record.body
            if record.kind == "outcome" and body.get("at") == found.body["at"]:
                found.outcome = body
                if found.body["kind"] == "row" and "best" in body:
                    found.best = float(body["best"])
            earned = earned_of(body)
            if earned is not None:
                found.profit += earned.profit
                found.weight += earned.weight
    if found is not None:
        yield found


def last_decision_at(journal: Journal) -> datetime | None:
    """The tick of the newest decision, UTC."""
    record = journal.last("decision")
    return None if record is None else parse_time(record.body["at"])


def status(journal: Journal) -> Facts:
    """What runs and what it has earned, at the journal's last record."""
    found = read_status(journal)
    session, decision, outcome, last = found["session"], found["decision"], found["outcome"], found["day"]
    return {
        "begun": session is not None,
        "mode": None if session is None else session["mode"],
        "agent": None if session is None else session["agent"]["target"].rpartition(".")[2],
        "venue": None if session is None else session["venue"],
        "running": found["running"] and found["engine_here"],
        "stopped_by": found["stopped"],
        "halted": found["halted"],
        "halt_reason": found["halt_why"],
        "api": found["api"],
        "newest_row_at": _minute(found["newest_row"]),
        "decided_at": None if decision is None else _minute(decision["at"]),
        "decided_by": None if decision is None else MEANINGS.get(decision["reason"], decision["reason"]),
        "reason": None if decision is None else decision["reason"],
        "outcome": None if outcome is None else outcome["status"],
        "pending": found["pending"],
        "power_kw": None if found["power_w"] is None else found["power_w"] / 1000.0,
        "cap_kw": None if session is None else session["cap_w"] / 1000.0,
        "day": None if last is None else last["date"],
        "day_profit_api_dollars": None if last is None else last["profit"],
        "profit_api_dollars": found["profit"],
        "real": session is not None and session["mode"] == "live",
        "decisions_count": sum(found["reasons"].values()),
        "decisions_by_agent_count": found["reasons"].get("agent", 0),
        "decisions_not_by_agent_count": sum(n for name, n in found["reasons"].items() if name != "agent"),
        "causes_counted": _counted(Counter(found["causes"])),
        "records_count": found["records"],
    }


def decision(journal: Journal, at: datetime | None = None) -> Facts:
    """The decision of the tick that ``at`` falls into, by default the newest: prices, bid, machines, reason, causes, what came of it.

    Raises :class:`~gridpilot.errors.JournalError` where there was none.
    """
    return decision_of(find_decision(journal, at))


def find_decision(journal: Journal, at: datetime | None = None) -> Told:
    """The last decision of the tick that ``at`` falls into, by default the newest, with what came of it; raises as :func:`decision`."""
    newest = last_decision_at(journal)
    if newest is None:
        raise JournalError(f"journal {journal.path} holds no decision yet")
    at = newest if at is None else at
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    found = [one for one in told(journal) if one.at <= at < one.at + TICK]
    if not found:
        first = next(told(journal)).at
        raise JournalError(f"journal {journal.path}: no decision at {at:%Y-%m-%d %H:%M} UTC, expected a time from {first:%Y-%m-%d %H:%M}"
                           f" to {newest:%Y-%m-%d %H:%M} UTC")  # fmt: skip
    return found[-1]


def decision_of(one: Told) -> Facts:
    """The facts of one decision, as :func:`decision` gives them."""
    body, sites = one.body, one.session.get("sites", [])
    counts = [sum(each) for each in zip(*body["counts"], strict=True)]
    names = [kind["name"] for kind in sites[0]["fleet"]] if sites else list(CLASSES)[: len(counts)]
    outcome = one.outcome
    choices = alternatives(one)
    return {
        "decided_at": _minute(body["at"]),
        "tick_number": body["tick"],
        "kind": body["kind"],
        "decided_by": MEANINGS.get(body["reason"], body["reason"]),
        "reason": body["reason"],
        "causes": [{"cause": cause, "meaning": MEANINGS.get(cause, cause)} for cause in body["causes"]],
        "causes_count": len(body["causes"]),
        "mode": one.session.get("mode"),
        "agent": one.session.get("agent", {}).get("target", "").rpartition(".")[2],
        **dict(zip(PRICES, body["prices"], strict=True)),
        "machines": [{"class": name, "running_count": n} for name, n in zip(names, counts, strict=False)],
        "running_count": sum(counts),
        "power_kw": body["power_w"] / 1000.0,
        "cap_kw": one.session["cap_w"] / 1000.0 if "cap_w" in one.session else None,
        "bids": [
            {
                "seat_number": i,
                "asked_kw": sum(kw for kw, _ in bid["blocks"]),
                "highest_bid_price_api_dollars_per_watt_row": bid["blocks"][0][1] / KWH_PER_UNIT if bid["blocks"] else None,
                "lowest_bid_price_api_dollars_per_watt_row": bid["blocks"][-1][1] / KWH_PER_UNIT if bid["blocks"] else None,
            }
            for i, bid in enumerate(body["bids"])
        ],
        "rationale": [in_api_money(said) for said in one.rationale],
        "won_kw": None if body["won_kw"] is None else sum(body["won_kw"]),
        "expected_revenue_api_dollars": body["revenue"],
        "expected_cost_api_dollars": body["cost"],
        "expected_profit_api_dollars": body["revenue"] - body["cost"],
        "outcome": None if outcome is None else outcome["status"],
        "attempts_count": None if outcome is None else outcome["attempts"],
        "profit_api_dollars": one.profit,
        "profit_is_shown": one.weight > 0.0,
        "alternatives": choices,
        "best_api_dollars": one.best,
        "forgone_api_dollars": one.forgone,
    }


def alternatives(one: Told) -> list[Facts]:
    """What other choices would have earned in a whole row at the decision's prices, the best first; none without a session."""
    if "sites" not in one.session:
        return []
    profits = facility_from_json(one.session).alternatives(_in_dollars(one.body["prices"]))
    return [{"choice": name, "profit_api_dollars": profit} for name, profit in sorted(profits.items(), key=lambda pair: -pair[1])]


def choices(one: Told) -> Facts:
    """What else could have been done at a decision's prices, in a whole row, and what the decision itself was expected to earn."""
    found = alternatives(one)
    return {
        "decided_at": _minute(one.body["at"]),
        **dict(zip(PRICES, one.body["prices"], strict=True)),
        "expected_profit_api_dollars": one.body["revenue"] - one.body["cost"],
        "choices": [{"choice": each["choice"], "otherwise_profit_api_dollars": each["profit_api_dollars"]} for each in found],
        "choices_count": len(found),
    }


def day(journal: Journal, of: date | None = None) -> Facts:
    """A UTC day, by default that of the newest decision: what was earned, what was left on the table and why, who decided.

    Raises :class:`~gridpilot.errors.JournalError` for a day without a decision.
    """
    newest = last_decision_at(journal)
    of = of or (None if newest is None else newest.date())
    found = [one for one in told(journal) if one.at.date() == of]
    if not found:
        raise JournalError(f"journal {journal.path} has no decision on {of}")
    return day_of(found)


def day_of(found: Sequence[Told]) -> Facts:
    """The facts of a day's decisions, oldest first, at least one; as :func:`day` gives them."""
    reasons = Counter(one.body["reason"] for one in found)
    causes = Counter(cause for one in found for cause in one.body["causes"])
    forgone: dict[str, float] = {}
    for one in found:
        if one.forgone is not None:
            forgone[_blamed(one)] = forgone.get(_blamed(one), 0.0) + one.forgone
    fresh = sum(bool(one.body.get("fresh")) for one in found)
    without_row = sum(one.body["kind"] == "no_row" for one in found)
    unshown = sum(one.weight <= 0.0 for one in found)
    return {
        "day": str(found[-1].at.date()),
        "mode": found[-1].session.get("mode"),
        "real": found[-1].session.get("mode") == "live",
        "decisions_count": len(found),
        "day_length_ticks": TICKS_PER_DAY,
        "fresh_count": fresh,
        "fresh_percent": 100.0 * fresh / len(found),
        "without_row_count": without_row,
        "unshown_count": unshown,
        "profit_api_dollars": sum(one.profit for one in found),
        "best_api_dollars": sum(one.weight * one.best for one in found if one.best is not None),
        "forgone_api_dollars": sum(forgone.values()),
        "forgone_by_cause": [
            {"cause": cause, "meaning": MEANINGS.get(cause, cause), "forgone_api_dollars": value}
            for cause, value in sorted(forgone.items(), key=lambda pair: -pair[1])
        ],
        "decided_by": [{"who": name, "times_count": n} for name, n in reasons.most_common()],
        "decisions_by_agent_count": reasons.get("agent", 0),
        "decisions_not_by_agent_count": len(found) - reasons.get("agent", 0),
        "causes_counted": _counted(causes),
        "largest_power_kw": max(one.body["power_w"] for one in found) / 1000.0,
    }


def _counted(causes: Counter[str]) -> list[Facts]:
    return [{"cause": name, "meaning": MEANINGS.get(name, name), "times_count": n} for name, n in causes.most_common()]


def _blamed(one: Told) -> str:
    """What the profit forgone by a decision is put down to: its first cause, what became of its command, or the choice itself."""
    if one.body["causes"]:
        return str(one.body["causes"][0])
    if one.outcome is not None and one.outcome["status"] not in ("applied", "shadow"):
        return f"command {one.outcome['status']}"
    return OWN_CHOICE if one.body["reason"] == "agent" else str(one.body["reason"])


def in_api_money(said: Mapping[str, Any]) -> Facts:
    """What an agent says, whose $ are the API's, in the units of the API's prices."""
    told: Facts = {}
    for key, value in said.items():
        if key.endswith("_dollars_per_kwh"):
            told[key.removesuffix("dollars_per_kwh") + "api_dollars_per_watt_row"] = _scaled(value, 1.0 / KWH_PER_UNIT)
        else:
            told[key.replace("_dollars_per_hour", "_api_dollars_per_hour")] = value
    return told


def _scaled(value: Any, by: float) -> Any:
    if isinstance(value, list):
        return [_scaled(each, by) for each in value]
    return value * by if isinstance(value, int | float) and not isinstance(value, bool) else value


def _in_dollars(prices: list[float]) -> tuple[float, float, float]:
    return PriceRow(datetime.min.replace(tzinfo=UTC), *prices).prices


def _minute(text: str | None) -> str | None:
    return None if text is None else f"{parse_time(text):%Y-%m-%d %H:%M} UTC"
