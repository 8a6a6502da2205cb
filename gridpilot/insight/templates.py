"""Answers without a model: for each kind of question the calls to make, and statements of their results in plain words.

Branches look at facts; what is said of them goes through :func:`gridpilot.insight.grounding.compose` like a model's statements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gridpilot.insight.journal_templates import JOURNAL_KINDS
from gridpilot.insight.run_templates import RUN_KINDS
from gridpilot.insight.statements import Question, Statement
from gridpilot.insight.tools import Toolbox

__all__ = ["KINDS", "statements_of"]

KINDS: Final[dict[str, Callable[[Question, Toolbox], list[Statement]]]] = {**RUN_KINDS, **JOURNAL_KINDS}
"""What can be asked."""


def statements_of(question: Question, box: Toolbox) -> list[Statement]:
    """Make the calls that a question takes, and the statements that answer it."""
    return KINDS[question.kind](question, box)
