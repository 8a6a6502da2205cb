"""Tables that fit a terminal: columns give up intervals, then their place, the least important first. No figure is ever cut."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from gridpilot.stdout import printable

__all__ = ["Column", "Form", "SafeConsole", "console_for", "fitted", "printed"]


@dataclass(frozen=True)
class Form:
    """One way to show a column; ``at_most`` characters where its cells may end in an ellipsis."""

    head: str
    cells: Sequence[str | Text]
    at_most: int | None = None


@dataclass(frozen=True)
class Column:
    """A column and its forms, the widest first; after the last one it is gone, unless it ``stays``."""

    name: str
    forms: tuple[Form, ...]
    left: bool = False
    stays: bool = False


def fitted(title: str, columns: Sequence[Column], spare: Sequence[str], width: int, styles: Sequence[str] | None = None) -> Table:
    """The table of ``columns`` that fits ``width`` characters.

    ``spare`` names the columns in the order in which they take their next form, a name as often as it may. Where all that is not enough
    columns go from the right, but for the first two: a line of these may be longer than the terminal, and no figure is cut.
    """
    chosen = dict.fromkeys((column.name for column in columns), 0)
    table = _table(title, columns, chosen, styles)
    ruler = Console(width=10_000)
    for name in spare:
        if ruler.measure(table).maximum <= width:
            break
        if name in chosen:
            chosen[name] += 1
            table = _table(title, columns, chosen, styles)
    # A head may end in an ellipsis; what stands below it may not.
    while len(table.columns) > 2 and ruler.measure(_table("", columns, chosen, styles, heads=False)).maximum > width:
        last = max(i for i, column in enumerate(columns) if _form(column, chosen) is not None)
        columns = columns[:last]
        table = _table(title, columns, chosen, styles)
    return table


class SafeConsole(Console):
    """A console on which names and messages of others' making are text: what could steer the terminal is made visible.

    Markup such as ``[link=...]`` is none of it: texts of others are printed as ``Text``, or with ``markup=False``.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, without control signs but for the ends of lines."""
        for segment in super().render(renderable, options):
            safe = segment.text if segment.control else printable(segment.text, keep="\n\t")
            yield segment if safe == segment.text else Segment(safe, segment.style)


def console_for(out: TextIO, *, otherwise: int = 100) -> Console:
    """Where tables for ``out`` are printed: as wide as its terminal, as ``COLUMNS`` says, or ``otherwise`` characters."""
    told = os.environ.get("COLUMNS", "")
    width = int(told) if told.isdecimal() and int(told) > 0 else otherwise
    return SafeConsole(file=out, highlight=False, width=None if out.isatty() else width)


def printed(console: Console, table: RenderableType) -> None:
    """Print a table as wide as its figures need to be, on a narrower terminal too."""
    console.print(table, width=max(console.width, Console(width=10_000).measure(table).minimum), crop=False)


def _form(column: Column, chosen: Mapping[str, int]) -> Form | None:
    """The form in which a column is shown, if it is."""
    k = min(chosen[column.name], len(column.forms) - 1) if column.stays else chosen[column.name]
    return column.forms[k] if k < len(column.forms) else None


def _table(
    title: str, columns: Sequence[Column], chosen: dict[str, int], styles: Sequence[str] | None, *, heads: bool = True
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title_justify="left", header_style="bold")
    table.title = Text(title) if title else None
    shown: list[list[Text]] = []
    for column in columns:
        form = _form(column, chosen)
        if form is not None:
            texts = [cell if isinstance(cell, Text) else Text(cell) for cell in form.cells]
            widest = max((line.cell_len for text in texts for line in text.split()), default=0)
            shown.append(texts)  # never a str, whose brackets would be markup
            table.add_column(
                Text(form.head if heads else ""),
                justify="left" if column.left else "right",
                no_wrap=True,
                overflow="ellipsis",
                min_width=None if form.at_most else widest,
                max_width=form.at_most,
            )
    for i, cells in enumerate(zip(*shown, strict=True)):
        table.add_row(*cells, style=styles[i] if styles else "")
    return table
