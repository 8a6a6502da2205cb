"""What commands for programs read: a JSON file or standard input, an object or an array of them, each answered in its place."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

from gridpilot.errors import GridPilotError

__all__ = ["STANDARD_INPUT", "answer_file", "check_numbers", "check_pairs"]

STANDARD_INPUT = "-"


def answer_file(file: str, answer: Callable[[Any, str], dict[str, Any]], what: str, error: type[GridPilotError]) -> None:
    """Print what ``answer(document, where)`` says of each document of ``file``, as JSON: an object for an object, an array for an array.

    ``file``   a path, or "-" for standard input
    ``where``  how a message names the document: the file, and its place where there are several
    ``what``   of what a document is, for messages: "a market"

    Nothing is printed before every document has been answered. Raises ``error`` for what cannot be read or is not JSON, and whatever
    ``answer`` raises.
    """
    where = "standard input" if file == STANDARD_INPUT else file
    document = _parse(_read(file, what, error), where, what, error)
    if isinstance(document, list):
        results = [answer(entry, f"{where}: {what.split()[-1]} {i}") for i, entry in enumerate(document)]
        print("[" + ",\n ".join(json.dumps(result, allow_nan=False) for result in results) + "]")
    else:
        print(json.dumps(answer(document, where), allow_nan=False, indent=2))


def check_numbers(value: Any, where: str, error: type[GridPilotError]) -> None:
    """Refuse what JSON as Python reads it has besides numbers: NaN, Infinity, and integers beyond every float."""
    kind = type(value)
    if kind is list:
        for i, entry in enumerate(value):
            check_numbers(entry, f"{where}[{i}]", error)
    elif kind is dict:
        for key, entry in value.items():
            check_numbers(entry, f"{where}.{key}", error)
    elif (kind is float and not math.isfinite(value)) or (kind is int and abs(value) > sys.float_info.max):
        raise error(f"{where} is {value!r:.60}, expected a finite number")


def check_pairs(value: Any, where: str, error: type[GridPilotError]) -> None:
    """Refuse what is not a list of pairs of numbers; numpy would read "5" and true as numbers."""
    if not isinstance(value, list):
        raise error(f"{where} is {value!r:.60}, expected a list of [kW, $/kWh] pairs")
    for k, pair in enumerate(value):
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(x) is float or type(x) is int for x in pair)):
            raise error(f"{where}[{k}] is {pair!r:.60}, expected a pair of numbers [kW, $/kWh]")


def _read(file: str, what: str, error: type[GridPilotError]) -> bytes:
    if file == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except (OSError, ValueError) as problem:  # ValueError: a name with a null character
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{file}: cannot be read: {reason}; expected a JSON file with {what} or an array of them") from problem


def _parse(text: bytes, where: str, what: str, error: type[GridPilotError]) -> Any:
    expected = f"expected a JSON object ({what}) or an array of them"
    if not text.strip():
        raise error(f"{where}: is empty, {expected}")
    try:
        document = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_object)
    except UnicodeDecodeError as problem:
        raise error(f"{where}: is not UTF-8 text (byte {problem.start}: {text[problem.start]:#04x}), {expected}") from problem
    except (ValueError, RecursionError) as problem:  # not JSON; a number of thousands of digits; a thousand brackets
        raise error(f"{where}: is not JSON: {problem}; {expected}") from problem
    if not isinstance(document, dict | list):
        raise error(f"{where}: is {document!r:.60}, {expected}")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"key {twice!r} appears twice in an object, expected it once")
    return result
