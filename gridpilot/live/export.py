"""A journal as files for other programs: price rows as a replay reads them, decisions as a table, records as JSON lines."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TextIO

from gridpilot.errors import JournalError
from gridpilot.files import replacing
from gridpilot.live.api import CLASSES, PRICE_FIELDS, ROW_FIELDS
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import row_to_json
from gridpilot.live.ledger import BOOKED, earned_of
from gridpilot.live.recovery import recover
from gridpilot.spreadsheets import as_text

__all__ = ["EXPORTS", "refuse_own_files", "write_export"]

DECISION_HEADING: Final = (
    "time", "site", "kind", "reason", "causes", *PRICE_FIELDS, *CLASSES, "power_w", "revenue_api_dollars",
    "cost_api_dollars", "profit_api_dollars", "status",
)  # fmt: skip


def write_export(journal: Journal, what: str, out: str, *, kinds: Collection[str] | None = None, force: bool = False) -> int:
    """Write ``what`` of ``EXPORTS`` to the file ``out``, or to stdout where that is ``-``; return the number of lines without a heading.

    Raises :class:`~gridpilot.errors.JournalError` where the file is there and not to be replaced, is the journal, or cannot be written.
    """
    if out == "-":
        return _write(journal, what, sys.stdout, kinds)
    path = Path(out)
    refuse_own_files(journal.path, path)
    if path.exists() and not force:
        raise JournalError(f"{path} is there already; --force replaces it")
    with replacing(path, JournalError, mode=0o600) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        return _write(journal, what, file, kinds)


def refuse_own_files(journal: Path, out: Path) -> None:
    """Raise :class:`~gridpilot.errors.JournalError` where a file to be written is the journal, or one of those beside it."""
    own = [journal.with_name(journal.name + end) for end in ("", "-wal", "-shm", ".lock", ".head", ".reserve", ".alerts")]
    if out.resolve() in [each.resolve() for each in own] or (out.exists() and journal.exists() and out.samefile(journal)):
        raise JournalError(f"{out} is the journal itself, or part of it; expected another file to write to")


def _write(journal: Journal, what: str, file: TextIO, kinds: Collection[str] | None) -> int:
    lines = 0
    if what == "records":
        for record in journal.records(kinds=kinds):
            line = {"seq": record.seq, "at": record.at.isoformat(), "kind": record.kind, "body": record.body, "hash": record.hash}
            file.write(json.dumps(line) + "\n")
            lines += 1
        return lines
    writer = csv.writer(file, lineterminator="\n")
    for lines, row in enumerate(EXPORTS[what](journal)):  # noqa: B007 - the heading is row 0
        writer.writerow([as_text(cell) for cell in row])
    return lines


def _rows(journal: Journal) -> Iterator[tuple[Any, ...]]:
    yield ROW_FIELDS
    for row in recover(journal, keep=sys.maxsize).rows:
        at, *prices = row_to_json(row)
        yield (at, *map(repr, prices))


@dataclass
class _Line:
    """A decision, and what came of it so far."""

    decision: dict[str, Any]
    sites: list[dict[str, Any]]
    status: str = ""

    def __post_init__(self) -> None:
        self.money = [(0.0, 0.0)] * len(self.sites)

    def add(self, body: Mapping[str, Any]) -> None:
        """Take an outcome or a reconciliation: what it adds belongs to the decision before it."""
        if body.get("at") == self.decision["at"]:
            self.status = body["status"]
        earned = earned_of(body)
        if earned is not None:
            pairs = zip(self.money, earned.sites, strict=False)  # of another plant nothing is added
            self.money = [(old[0] + new[0], old[1] + new[1]) for old, new in pairs] or self.money

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """A row a site."""
        decision = self.decision
        for site, counts, (revenue, cost) in zip(self.sites, decision["counts"], self.money, strict=True):
            power = sum(n * kind["power_w"] for n, kind in zip(counts, site["fleet"], strict=True))
            yield (
                decision["at"], site["name"], decision["kind"], decision["reason"], " ".join(decision["causes"]),
                *map(repr, decision["prices"]), *counts, power, repr(revenue), repr(cost), repr(revenue - cost), self.status,
            )  # fmt: skip


def _decisions(journal: Journal) -> Iterator[tuple[Any, ...]]:
    """A line a decision and site: what was decided, what became of the command, and what is shown to be earned until the next decision."""
    yield DECISION_HEADING
    line: _Line | None = None
    sites: list[dict[str, Any]] = []
    for record in journal.records(kinds={"session", "decision", *BOOKED}):
        if record.kind == "session":
            sites = record.body["sites"]
        elif record.kind == "decision":
            if line is not None:
                yield from line.rows()
            line = _Line(record.body, sites)
        elif line is not None:
            line.add(record.body)
    if line is not None:
        yield from line.rows()


EXPORTS: Final[Mapping[str, Callable[[Journal], Iterator[tuple[Any, ...]]]]] = MappingProxyType(
    {"rows": _rows, "decisions": _decisions, "records": lambda journal: iter(())}
)
"""What can be exported."""
