"""Ask: a question in words, answered by the templates of ``gridpilot explain``; each figure with its source."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Final

import streamlit as st

from gridpilot.errors import GridPilotError
from gridpilot.insight.dashboard.parts import answer, problem, safe, strip
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.insight.explain_command import LONGEST, by_template, question_of
from gridpilot.insight.opened import OpenedJournal, OpenedRun
from gridpilot.insight.tools import Toolbox

__all__ = ["page"]

OF_RUN: Final = (
    "Why does the best agent beat the second?",
    "Why did the best agent lose on its worst day?",
    "Why this bid at the dearest tick?",
    "What would uniform pricing have changed?",
    "Is anything wrong with this run?",
)
OF_JOURNAL: Final = (
    "Is anything wrong now?",
    "Why this decision?",
    "What was left on the table today?",
    "What else could it have done?",
    "What was expected?",
    "Would it decide so again?",
)
NOT_GIVEN: Final = ("match", "tick", "seat", "agent", "at", "ask", "model")


def page(sources: Sources) -> None:
    """The page."""
    paths = [*sources.journals, *sources.runs]
    if not paths:
        st.info("Nothing was given to this dashboard to ask about.", icon=":material/info:")
        return
    first, second = st.columns([0.3, 0.7])
    about = first.selectbox("About", paths, key="ask_about", format_func=lambda path: path.name, persist_state="session")
    ready = OF_JOURNAL if about in sources.journals else OF_RUN
    picked = second.pills("Questions", ready, default=ready[0], key=f"ready_{'journal' if about in sources.journals else 'run'}")
    with st.form("ask", border=False):
        field, send = st.columns([0.85, 0.15], vertical_alignment="bottom")
        text = field.text_input(
            "or in your words; name agents to ask about them",
            key="ask_text",
            max_chars=LONGEST,
            placeholder="why does mpc beat threshold?",
        )
        send.form_submit_button("Ask", type="primary", width="stretch")
    asked = text.strip() or picked
    if not asked:
        st.caption("Answers are made from facts by templates: no figure is guessed, nothing leaves this machine.")
        return
    try:
        _answer(sources, Path(about), asked)
    except GridPilotError as error:
        problem(error)


def _answer(sources: Sources, path: Path, asked: str) -> None:
    if path in sources.journals:
        with sources.journal(path):
            opened: OpenedJournal | OpenedRun = OpenedJournal(path)
            _told(opened, asked)
        return
    with sources.run(path) as run:
        _told(run, asked)


def _told(opened: OpenedJournal | OpenedRun, asked: str) -> None:
    given: dict[str, Any] = dict.fromkeys(NOT_GIVEN)
    question = question_of(opened, Namespace(**{**given, "ask": asked, "offline": True, "json": False, "path": opened.path}))
    box = Toolbox(opened)
    told = by_template(question, box)
    answer(told.marked(), [(note.number, f"{note.operation} of {', '.join(note.facts)}") for note in told.notes])
    about = ", ".join(
        f"{key} {value}"
        for key, value in vars(question).items()
        if value is not None and (key != "mechanism" or question.kind == "mechanism")
    )
    strip(f"<span style='color:#8793a2'>worded by a template; understood as {safe(about)}</span>")
    notes, calls = st.columns(2)
    with notes, st.expander(f"{len(told.notes)} footnotes", expanded=True):
        st.dataframe(
            [{"note": n.number, "figure": n.text, "made by": n.operation, "of": ", ".join(n.facts)} for n in told.notes],
            hide_index=True,
            key="ask_notes",
        )
    with calls, st.expander(f"{len(box.calls)} calls, and what they gave"):
        for call, what in box.calls.items():
            st.code(f"{call} = {what}", language=None, wrap_lines=True)
            st.json(box.results[call], expanded=False)
