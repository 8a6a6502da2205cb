"""Rows in a terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from gridpilot.columns import Column, Form, SafeConsole, fitted
from gridpilot.validation.row import ERRORS, Row

__all__ = ["figure", "render", "to_json"]

LEAST, MOST = 10, 60  # characters a line of what a figure is
GAP: Final = 2  # between columns
NARROW: Final = 60  # a terminal that has no room for the tolerances


def to_json(rows: Sequence[Row]) -> str:
    """The rows as JSON text: ``{"rows": [{"result", "what", "expected", "found", "tolerance", "source", "passed"}]}``.

    ``null`` stands for a number that is none, as a NaN that was found.
    """

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    listed = [{key: plain(value) for key, value in dataclasses.asdict(row).items()} for row in rows]
    return json.dumps({"rows": listed}, indent=2, ensure_ascii=False, allow_nan=False)


def figure(value: float) -> str:
    """A number with six digits at most, and no more than tell it.

    >>> figure(1 / 3), figure(-21.0), figure(4.2e-17), figure(0.0)
    ('0.333333', '-21', '4.2e-17', '0')
    """
    return f"{value:.6g}"


def render(rows: Sequence[Row], *, width: int) -> RenderableType:
    """The table for a terminal of ``width`` characters: what a figure is goes over as many lines as it takes, and no number is cut."""
    passed = sum(row.passed for row in rows)
    verdict = Text(f"{passed} of {len(rows)} figures as expected", "bold green" if passed == len(rows) else "bold red")
    legend = Text(f"±: {ERRORS:g} standard errors where there are draws, else rounding, a step, or half of the range given", "dim")
    lines = _lines(rows)
    cells = [[figure(row.expected) if row else "" for row, _ in lines], [figure(row.found) if row else "" for row, _ in lines]]
    cells.append([f"{row.tolerance:.2g}" if row else "" for row, _ in lines])
    heads = ("expected", "found", "±")
    shown = heads[:2] if width < NARROW else heads
    taken = 3 + sum(GAP + max(map(len, (head, *column))) for head, column in zip(shown, cells, strict=False))
    room, ruler = max(LEAST, min(MOST, width - taken - GAP)), SafeConsole(width=10_000)
    whats = [Text("\n").join(Text(what).wrap(ruler, room)) for _, what in lines]
    marks = [Text("") if row is None else Text("✓", "green") if row.passed else Text("✗", "bold red") for row, _ in lines]
    columns = [
        Column("passed", (Form("", marks),), stays=True),
        Column("what", (Form("", whats),), left=True, stays=True),
        *(Column(head, (Form(head, column),), stays=True) for head, column in zip(shown, cells, strict=False)),
    ]
    styles = ["bold" if row is None else "" if row.passed else "red" for row, _ in lines]
    return Group(fitted("Known results, found again with this auctioneer", columns, (), width, styles), legend, Text(), verdict)


def _lines(rows: Sequence[Row]) -> list[tuple[Row | None, str]]:
    """A line for each row, and one above those of each result that names it and its source."""
    lines: list[tuple[Row | None, str]] = []
    before = ""
    for row in rows:
        if row.result != before:
            lines.append((None, f"{row.result}: {row.source}"))
            before = row.result
        lines.append((row, row.what))
    return lines
