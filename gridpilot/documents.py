"""YAML and JSON of somebody else's: read whole, or refused in a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from gridpilot.errors import GridPilotError

__all__ = ["read_json", "read_yaml", "refuse_control_signs"]

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
DEEPEST: Final = 60  # levels; what is deeper is no configuration, and what refers to itself has no end
MOST: Final = 2_000_000  # values, each counted as often as it is referred to: a thousand bytes of aliases can stand for billions


def read_yaml(text: str | bytes, where: str, error: type[GridPilotError]) -> Any:
    """The contents of a YAML document. Raises ``error``, in one line that begins with ``where``, for one that cannot be used.

    That is one that is no YAML, has tags that make objects, is nested deeper than 60 levels, refers to itself, or stands for more than two
    million values.
    """
    try:
        return _checked(yaml.safe_load(text), where, error)
    except (yaml.YAMLError, ValueError) as problem:
        raise error(f"{where} is not YAML: {_one_line(problem)}") from problem
    except RecursionError as problem:
        raise error(_too_deep(where)) from problem


def read_json(text: str | bytes, where: str, error: type[GridPilotError]) -> Any:
    """The contents of a JSON document; raises as :func:`read_yaml` does."""
    try:
        return _checked(json.loads(text), where, error)
    except ValueError as problem:
        raise error(f"{where} is not JSON: {_one_line(problem)}") from problem
    except RecursionError as problem:
        raise error(_too_deep(where)) from problem


def refuse_control_signs(content: Any, where: str, error: type[GridPilotError]) -> None:
    """Raise ``error`` where a text or a key of ``content`` has signs that move a terminal's cursor; ends of lines and tabs are none."""
    level: list[Any] = [content]
    while level:
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                below += value
            elif isinstance(value, str) and _CONTROL.search(value):
                raise error(f"{where} holds {value!r:.60}, with signs that steer a terminal; expected text")
        level = below


def _checked(content: Any, where: str, error: type[GridPilotError]) -> Any:
    level: list[Any] = [content]
    count, depth = 0, 0
    while level:
        count += len(level)
        if count > MOST:
            raise error(f"{where} stands for more than {MOST:,} values, expected a configuration")
        if depth > DEEPEST:
            raise error(_too_deep(where))
        below: list[Any] = []
        for value in level:
            items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple | set) else ()
            if count + len(below) + len(items) > MOST:
                raise error(f"{where} stands for more than {MOST:,} values, expected a configuration")
            below.extend(items)
        level, depth = below, depth + 1
    return content


def _too_deep(where: str) -> str:
    return f"{where} is nested deeper than {DEEPEST} levels or refers to itself, expected a configuration"


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]
