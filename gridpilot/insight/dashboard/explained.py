"""A decision in words, by the templates of ``gridpilot explain``: every figure with its source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from gridpilot.insight.dashboard.parts import answer
from gridpilot.insight.explain_command import by_template
from gridpilot.insight.opened import OpenedJournal
from gridpilot.insight.statements import Question
from gridpilot.insight.tools import Toolbox

__all__ = ["explained"]


def explained(path: Path, facts: dict[str, Any]) -> None:
    """Tell why the decision was made whose ``facts`` these are; the journal is not searched for it again."""
    box = Toolbox(OpenedJournal(path))
    box.tools["decision"] = replace(box.tools["decision"], run=lambda at=None: facts)
    told = by_template(Question("decision", at=facts["decided_at"]), box)
    answer(told.marked(), [(note.number, ", ".join(note.facts)) for note in told.notes])
    with st.expander(f"{len(told.notes)} footnotes: where each figure is from"):
        st.dataframe(
            [
                {"note": note.number, "figure": note.text, "made by": note.operation, "of": ", ".join(note.facts)}
                for note in told.notes
            ],
            hide_index=True,
        )
