"""What must hold in every journal, and whether two of them decided the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from gridpilot.live.journal import Journal

__all__ = ["Comparison", "compare", "find_breaches"]

COMPARED: Final = ("prices", "bids", "reason", "counts")


@dataclass
class Comparison:
    """Decisions of two journals for the same row and of the same kind."""

    equal: int = 0
    different: int = 0
    here_only: int = 0
    there_only: int = 0
    first: str = ""  # the first that differs


def find_breaches(journal: Journal) -> list[str]:
    """What a journal says that must not be, in words: a row decided twice, a command changed, power above the limit of its session."""
    breaches: list[str] = []
    decided: set[str] = set()
    commands: dict[tuple[int, str], Any] = {}
    session, cap_w = 0, 0
    for record in journal.records(kinds={"session", "decision", "intent"}):
        body = record.body
        if record.kind == "session":
            session, cap_w = record.seq, body["cap_w"]
        elif record.kind == "decision":
            if body["kind"] == "row" and body["at"] in decided:
                breaches.append(f"record {record.seq}: the row of {body['at']} is decided a second time")
            if body["kind"] == "row":
                decided.add(body["at"])
            if body["power_w"] > cap_w:
                breaches.append(f"record {record.seq}: {body['power_w']} W are commanded and the limit is {cap_w} W")
        elif commands.setdefault((session, body["command"]), body["counts"]) != body["counts"]:
            breaches.append(f"record {record.seq}: the command {body['command']} is sent with other counts than before")
    return breaches


def compare(here: Journal, there: Journal) -> Comparison:
    """Compare the decisions of two journals by row and kind."""
    one, other = _decisions(here), _decisions(there)
    result = Comparison(here_only=len(one.keys() - other.keys()), there_only=len(other.keys() - one.keys()))
    for key in one.keys() & other.keys():
        if one[key] == other[key]:
            result.equal += 1
        else:
            result.different += 1
            name = " ".join(key)
            result.first = min(result.first or name, name)
    return result


def _decisions(journal: Journal) -> dict[tuple[str, str], str]:
    return {
        (record.body["at"], record.body["kind"]): json.dumps([record.body[name] for name in COMPARED])
        for record in journal.records(kinds={"decision"})
    }
