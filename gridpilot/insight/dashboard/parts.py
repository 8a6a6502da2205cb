"""What several pages draw: the choice of what is looked at, screens of what cannot be shown, and figures as they are told.

Text from journals and runs may quote a server or somebody's agent: it is shown by :func:`safe` or in tables, never as markup.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import streamlit as st

from gridpilot.errors import GridPilotError
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.redaction import redacted
from gridpilot.stdout import printable

__all__ = ["answer", "badge", "chart", "choose", "compact", "problem", "safe", "scaled", "strip", "without_dust"]

COLOURS: Final = {"good": "#1f5d3d", "bad": "#8e2b2e", "warn": "#7a5312", "info": "#26456b", "plain": "#252d38"}
LOUD: Final = ("k", "M", "G", "T")


def choose(sources: Sources, kind: str) -> Path | None:
    """The run or journal that is looked at: the only one, or the one picked; kept in the address."""
    paths = sources.runs if kind == "run" else sources.journals
    if not paths:
        what = "tournament" if kind == "run" else "journal of gridpilot live"
        st.info(f"No {what} was given to this dashboard.", icon=":material/info:")
        command = "gridpilot dashboard runs/NAME" if kind == "run" else "gridpilot dashboard runs/live.db"
        st.code(f"{command}     # or both; gridpilot dashboard --demo starts one of each", language=None)
        return None
    if len(paths) == 1:
        return paths[0]
    names = _names(paths)
    picked = st.selectbox(
        "Run" if kind == "run" else "Journal", names, key=f"chosen_{kind}", bind="query-params", persist_state="session"
    )
    return paths[names.index(picked)] if picked in names else paths[0]


def _names(paths: Sequence[Path]) -> list[str]:
    """As short as they can be and still differ."""
    short = [path.name for path in paths]
    return short if len(set(short)) == len(short) else [os.path.relpath(path) for path in paths]


def problem(error: GridPilotError) -> None:
    """The screen of what cannot be shown: one line, and no traceback."""
    st.error("This cannot be shown.", icon=":material/report:")
    st.code(printable(redacted(str(error))), language=None, wrap_lines=True)


def chart(option: dict[str, Any], *, height: int, key: str, title: str = "") -> None:
    """A chart with its title."""
    if title:
        strip(f"<b>{html.escape(title)}</b>")
    st.echarts_chart(option, height=height, key=key, theme=None, alt=title or key)


def strip(body: str) -> None:
    """A line of HTML that was made here, of parts that :func:`safe` or :func:`badge` have made."""
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:.3rem .9rem;align-items:center;line-height:1.5">{body}</div>')


def badge(text: str, kind: str = "plain") -> str:
    """A word on a colour, as HTML."""
    style = f"background:{COLOURS[kind]};color:#fff;border-radius:4px;padding:.05rem .5rem;font-weight:600;white-space:nowrap"
    return f'<span style="{style}">{safe(text)}</span>'


def safe(text: object) -> str:
    """Text of whatever origin as HTML: nothing in it is markup, no key in it is shown."""
    return html.escape(printable(redacted(str(text))))


def answer(text: str, notes: Sequence[tuple[int, str]] = ()) -> None:
    """An answer's text, plain; ``notes`` are told on hovering the numbers, and in full where the page lists them."""
    body = safe(text)
    for number, note in notes:
        mark = f'<sup title="{safe(note)}" style="color:#f2a33a;cursor:help">{number}</sup>'
        body = body.replace(f"[{number}]", mark)
    st.html(f'<p style="max-width:75ch;line-height:1.55;margin:0">{body}</p>')


def compact(value: float | None, *, digits: int = 3) -> str:
    """A figure in a few signs.

    >>> compact(314065587.4), compact(-1234.5), compact(12.345), compact(None), compact(0.0)
    ('314 M', '-1.23 k', '12.3', '-', '0')
    """
    if value is None or not math.isfinite(value):
        return "-"
    size, letter = abs(value), ""
    for step, sign in enumerate(LOUD, start=1):
        if size >= 1000.0**step:
            letter = f" {sign}"
    scaled = value / 1000.0 ** (LOUD.index(letter.strip()) + 1) if letter else value
    return f"{float(f'{scaled:.{digits}g}'):g}{letter}"


def scaled(values: Sequence[float]) -> tuple[float, str]:
    """What to divide by for figures of few digits, and the letter that says so.

    >>> scaled([0.0, 314065587.4]), scaled([12.0]), scaled([])
    ((1000000.0, 'M '), (1.0, ''), (1.0, ''))
    """
    size = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    power = sum(size >= 1000.0**step for step in range(1, len(LOUD) + 1))
    return 1000.0**power, f"{LOUD[power - 1]} " if power else ""


def without_dust(value: float, scale: float) -> float:
    """``value``, or 0 where it is what rounding has left of figures of the size of ``scale``."""
    return 0.0 if abs(value) <= 1e-9 * abs(scale) else value
