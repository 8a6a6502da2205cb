"""Statements as templates write them, and what is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Facts", "Place", "Question", "Statement", "say", "tells"]

Statement = dict[str, Any]
Facts = dict[str, Any]
Place = str | Sequence[str]
"""A path to a fact, or an operation and its paths."""


@dataclass(frozen=True)
class Question:
    """What is asked: a kind of :data:`gridpilot.insight.templates.KINDS`, and what it is about."""

    kind: str
    match: str | None = None
    tick: int | None = None
    seat: int | None = None
    agent: str | None = None
    other: str | None = None
    mechanism: str = "uniform"
    at: str | None = None


def say(text: str, **places: Place) -> Statement:
    """A statement with its places."""
    values = []
    for name, place in places.items():
        operation, *paths = ("value", place) if isinstance(place, str) else place
        values.append({"name": name, "op": operation, "of": paths})
    return {"text": text, "values": values}


def tells(said: Mapping[str, Any], key: str, kind: type) -> bool:
    """Whether an agent's reasons, which may hold anything, have under ``key`` a text, a figure (float) or a list that can be told."""
    value = said.get(key)
    if not isinstance(value, kind) or not isinstance(value, str | list):
        return isinstance(value, kind) and _is_finite(value)
    return bool(value) and (isinstance(value, str) or all(map(_is_finite, value)))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
