"""A live decision made again: what the agent of its session decides on the recorded rows, and on others, from the journal alone.

The session is gone through from its beginning, as an agent may have learned; so this is bit for bit what was decided, or the agent, its
files or the library are others than they were, and it is said what differs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from gridpilot.errors import GridPilotError, JournalError
from gridpilot.insight.live_facts import MEANINGS, PRICES, Told, find_decision, in_api_money
from gridpilot.live.api import PriceRow
from gridpilot.live.controller import Decision
from gridpilot.live.journal import Journal, Record
from gridpilot.live.journal_json import row_from_json, row_to_json
from gridpilot.live.recovery import Recovery, keep_newest
from gridpilot.live.replica import Replica

__all__ = ["redecide"]

Facts = dict[str, Any]

LONGEST: Final = 160  # characters of one difference


def redecide(journal: Journal, at: datetime | None = None, prices: Mapping[str, float] | None = None) -> Facts:
    """The decision of the tick that ``at`` falls into (by default the newest) again; ``prices`` of its newest row may be others.

    ``prices``  some of ``energy``, ``hash`` and ``token``, in the API's units. With them it is told what would have been decided, in
                keys with ``otherwise``; without them ``as_recorded`` says whether the decision is the recorded one bit for bit,
                and ``differs`` what is not.

    Takes the time of all decisions of the session up to there. Raises :class:`~gridpilot.errors.JournalError` where there is no such
    decision, or where the session's agent cannot be built or asked here.
    """
    one = find_decision(journal, at)
    if not one.session:
        raise JournalError(f"journal {journal.path}: the decision of {one.body['at']} was made outside a session")
    try:
        replica, decision = _again(journal, one, prices)
    except GridPilotError as error:
        raise JournalError(f"journal {journal.path}: nothing can be decided again here: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error!s:.200}"
        raise JournalError(f"journal {journal.path} does not hold all that it takes to decide again: {problem}") from error
    now = decision.to_json()
    differs = [_difference(key, one.body.get(key), now[key]) for key in now if _text(now[key]) != _text(one.body.get(key))]
    return {
        "decided_at": f"{one.at:%Y-%m-%d %H:%M} UTC",
        "tick_number": one.body["tick"],
        "same_prices": not prices,
        "as_recorded": not differs,
        "differs": differs,
        "differs_count": len(differs),
        "decisions_again_count": replica.drift.decisions,
        "decisions_otherwise_count": replica.drift.different,
        "decided_by": MEANINGS.get(one.body["reason"], one.body["reason"]),
        "otherwise_decided_by": MEANINGS.get(decision.reason, decision.reason),
        **dict(zip(PRICES, decision.prices, strict=True)),
        "recorded": dict(zip(PRICES, one.body["prices"], strict=True)),
        "power_kw": one.body["power_w"] / 1000.0,
        "otherwise_power_kw": decision.power_w / 1000.0,
        "running_count": sum(map(sum, one.body["counts"])),
        "otherwise_running_count": sum(map(sum, decision.counts)),
        "machines": [
            {"class": kind["name"], "running_count": before, "otherwise_running_count": after}
            for kind, before, after in zip(one.session["sites"][0]["fleet"], _sums(one.body["counts"]), _sums(now["counts"]), strict=False)
        ],
        "expected_profit_api_dollars": one.body["revenue"] - one.body["cost"],
        "otherwise_expected_profit_api_dollars": decision.profit,
        "rationale": [in_api_money(said) for said in replica.rationale()],
    }  # fmt: skip


def _again(journal: Journal, one: Told, prices: Mapping[str, float] | None) -> tuple[Replica, Decision]:
    """The replica at the decision."""
    seq = one.record.seq
    begin = max(record.seq for record in journal.records(kinds={"session"}, until=seq))
    rows: dict[datetime, PriceRow] = {}
    newest = datetime.min.replace(tzinfo=UTC)
    for record in journal.records(kinds={"rows"}, until=seq):
        found = [row_from_json(row) for row in record.body["rows"]]
        newest = max([newest, *(row.at for row in found)])
        if record.seq < begin:
            rows.update((row.at, row) for row in found)
    keep = int(one.session["config"]["history"])
    before = tuple(_with_prices(row, newest, prices) for row in keep_newest(rows, keep))
    replica = Replica(Recovery(before, None, None, None, None, None, begin - 1))
    for record in journal.records(after=begin - 1, until=seq):
        replica.read(_changed(record, newest, prices) if prices and record.kind == "rows" else record)
    if replica.decision is None:
        raise JournalError(f"no decision was made at record {seq}")
    return replica, replica.decision


def _with_prices(row: PriceRow, at: datetime, prices: Mapping[str, float] | None) -> PriceRow:
    if not prices or row.at != at:
        return row
    return PriceRow(at, prices.get("energy", row.energy), prices.get("hash", row.hash), prices.get("token", row.token))


def _changed(record: Record, at: datetime, prices: Mapping[str, float]) -> Record:
    rows = [row_to_json(_with_prices(row_from_json(row), at, prices)) for row in record.body["rows"]]
    return replace(record, body={**record.body, "rows": rows})


def _sums(counts: Any) -> list[int]:
    return [sum(each) for each in zip(*counts, strict=True)]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _difference(key: str, before: Any, now: Any) -> str:
    return f"{key}: {_text(before):.{LONGEST}} was recorded, {_text(now):.{LONGEST}} comes out"
