"""What must hold in every journal, and whether two of them decided the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from gridpilot.live.journal import Journal, Record

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
    """What a journal says that must not be, in words.

    A row decided twice, a decision outside a session, power above its session's limit, a command that is not what was decided or is
    changed when it is repeated, and a body that lacks what its kind holds.
    """
    audit = _Audit()
    for record in journal.records(kinds={"session", "decision", "intent", "stop"}):
        try:
            audit.read(record)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            audit.breaches.append(f"record {record.seq}: not what a {record.kind} holds: {type(error).__name__}: {error}")
    return audit.breaches


class _Audit:
    """Reads records in order and notes what must not be."""

    def __init__(self) -> None:
        self.breaches: list[str] = []
        self._session: dict[str, Any] | None = None  # that runs
        self._decided: set[str] = set()  # rows
        self._commands: dict[str, Any] = {}  # of the session: their counts

    def read(self, record: Record) -> None:
        """Raises what a body that lacks something leads to."""
        body = record.body
        match record.kind:
            case "session":
                self._session, self._commands = body, {}
            case "stop":
                self._session = None
            case "decision":
                self._decide(record.seq, body)
            case "intent" if self._commands.setdefault(body["command"], body["counts"]) != body["counts"]:
                self.breaches.append(f"record {record.seq}: the command {body['command']} is sent with other counts than before")

    def _decide(self, seq: int, body: dict[str, Any]) -> None:
        if self._session is None:
            self.breaches.append(f"record {seq}: decided outside a session")
            return
        if body["kind"] == "row":
            if body["at"] in self._decided:
                self.breaches.append(f"record {seq}: the row of {body['at']} is decided a second time")
            self._decided.add(body["at"])
        self._commands[f"{body['at']} {body['kind']}"] = body["counts"]
        fleets = [[kind["power_w"] for kind in site["fleet"]] for site in self._session["sites"]]
        pairs = zip(fleets, body["counts"], strict=True)
        drawn = sum(n * power for fleet, counts in pairs for power, n in zip(fleet, counts, strict=True))
        power_w, cap_w = max(drawn, body["power_w"]), self._session["cap_w"]
        if power_w > cap_w:
            self.breaches.append(f"record {seq}: {power_w} W are commanded and the limit is {cap_w} W")


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
