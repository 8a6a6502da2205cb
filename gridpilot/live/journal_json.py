"""The bodies of journal records: what is written is enough to decide everything again.

session         what runs, where, with which configuration, from which state
rows            newly accepted price rows, oldest first
refused_row     a row refused as data
decision        :meth:`gridpilot.live.controller.Decision.to_json`, and whether it was fresh
intent          a command, before it is sent
outcome         what became of a decision, and what that adds to what is earned (:mod:`gridpilot.live.ledger`)
rationale       why the agents made the bids of that decision, by their own account, a mapping a site; none where they say nothing
reconciliation  what the venue reports to run, at the start and after every doubt, and what that changes
off             everything switched off before a session has begun, or at an end that nobody asked for: why, and whether it was confirmed
api, halt, resume, stop
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from gridpilot.live.accepted_rows import RefusedRow
from gridpilot.live.api import Counts, PriceRow, format_time, machine_site, parse_time
from gridpilot.live.controller import State
from gridpilot.live.execution import Result
from gridpilot.live.facility import Facility
from gridpilot.market.site import MachineClass

__all__ = [
    "counts_from_json",
    "counts_to_json",
    "facility_from_json",
    "facility_to_json",
    "refused_row_to_json",
    "result_to_json",
    "row_from_json",
    "row_to_json",
    "state_from_json",
    "state_to_json",
]


def row_to_json(row: PriceRow) -> list[Any]:
    """``[time, energy, hash, token]``, in the API's units."""
    return [format_time(row.at), row.energy, row.hash, row.token]


def row_from_json(body: Sequence[Any]) -> PriceRow:
    """The inverse of ``row_to_json``."""
    return PriceRow(parse_time(body[0]), *(float(price) for price in body[1:4]))


def counts_to_json(counts: Sequence[Counts]) -> list[list[int]]:
    """A list a site."""
    return [list(each) for each in counts]


def counts_from_json(body: Sequence[Sequence[int]]) -> tuple[Counts, ...]:
    """The inverse of ``counts_to_json``."""
    return tuple(tuple(int(n) for n in each) for each in body)


def refused_row_to_json(refusal: RefusedRow) -> dict[str, Any]:
    """The body of ``refused_row``."""
    return {"row": refusal.row, "reason": refusal.reason, "message": refusal.message}


def result_to_json(result: Result) -> dict[str, Any]:
    """What an ``outcome`` says of the command."""
    return {
        "status": result.status,
        "counts": counts_to_json(result.counts),
        "confirmed": list(result.confirmed),
        "attempts": result.attempts,
        "mismatches": result.mismatches,
        "latency": round(result.latency, 6),
        "message": result.message,
    }


def facility_to_json(facility: Facility) -> dict[str, Any]:
    """``sites`` and ``cap_w`` of a ``session``."""
    sites = []
    for site, powers in zip(facility.sites, facility.powers, strict=True):
        fleet = [
            {"name": kind.name, "product": kind.product, "power_w": power, "units": kind.units, "output": kind.output}
            for kind, power in zip(site.fleet, powers, strict=True)
        ]
        sites.append({"name": site.name, "power_w": round(site.grid_kw * 1000.0), "fleet": fleet})
    return {"sites": sites, "cap_w": facility.cap_w}


def facility_from_json(body: Mapping[str, Any]) -> Facility:
    """The inverse of ``facility_to_json``."""
    sites = []
    for site in body["sites"]:
        fleet = tuple(
            MachineClass(kind["name"], kind["product"], kind["power_w"] / 1000.0, kind["units"], kind["output"])
            for kind in site["fleet"]
        )
        sites.append(machine_site(site["name"], fleet, site["power_w"]))
    return Facility(tuple(sites), body["cap_w"])


def state_to_json(state: State) -> dict[str, Any]:
    """``state`` of a ``session`` and of an ``outcome``."""
    return {
        "counts": counts_to_json(state.counts),
        "last_good": None if state.last_good is None else counts_to_json(state.last_good),
        "day": None if state.day is None else state.day.isoformat(),
        "day_profit": state.day_profit,
    }


def state_from_json(body: Mapping[str, Any]) -> State:
    """The inverse of ``state_to_json``."""
    return State(
        counts_from_json(body["counts"]),
        None if body["last_good"] is None else counts_from_json(body["last_good"]),
        None if body["day"] is None else date.fromisoformat(body["day"]),
        body["day_profit"],
    )
