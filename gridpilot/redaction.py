"""Keys and passwords struck out of whatever leaves the program: errors, logs, tables, journals, rows of tournaments.

What is secret is what stands in a variable of the environment whose name says so. A server, an agent or a library may echo it in another
case, with other signs between its letters, or in part.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

__all__ = ["REDACTED", "redacted", "redacted_value"]

REDACTED: Final = "[redacted]"
_NAMES: Final = re.compile(r"(KEY|KEYS|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_PARTS: Final = re.compile(r"[,;\s]+")
_SHORTEST: Final = 8  # letters and digits of a secret; less stands in texts by chance
_PIECE: Final = 12  # letters and digits in a row by which a part of a secret is known


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without the environment's secrets and these ``secrets``: each is struck out in any case, whatever signs stand between its
    letters and digits, and so is any part of 12 letters and digits or more.

    >>> redacted("401 for Abcd-EFGH-1234-5678!", ["abcdefgh12345678"])
    '401 for [redacted]!'
    """
    return _struck_out(text, _pieces((*_of_environment(), *secrets)))


def redacted_value(value: Any) -> Any:
    """The same of every text, and every name, in plain JSON."""
    pieces = _pieces(_of_environment())
    return _struck_out_of(value, pieces) if pieces else value


def _struck_out(text: str, pieces: frozenset[str]) -> str:
    if not pieces:
        return text
    places = [i for i, sign in enumerate(text) if sign.isalnum()]
    plain = "".join(text[i] for i in places).lower()
    if len(plain) != len(places):  # a letter whose small form is two
        plain = "".join(text[i].lower()[:1] for i in places)
    struck: list[list[int]] = []  # first and last place of each run
    for size in sorted({len(piece) for piece in pieces}):
        for start in range(len(plain) - size + 1):
            if plain[start : start + size] in pieces:
                struck.append([places[start], places[start + size - 1]])
    if not struck:
        return text
    parts, end = [], 0
    for first, last in _joined(sorted(struck)):
        parts += [text[end:first], REDACTED]
        end = last + 1
    return "".join([*parts, text[end:]])


def _struck_out_of(value: Any, pieces: frozenset[str]) -> Any:
    match value:
        case str():
            return _struck_out(value, pieces)
        case Mapping():
            return {_struck_out(str(key), pieces): _struck_out_of(item, pieces) for key, item in value.items()}
        case list() | tuple():
            return [_struck_out_of(item, pieces) for item in value]
    return value


def _of_environment() -> tuple[str, ...]:
    return tuple(part for name in os.environ if _is_secret(name) for part in _PARTS.split(os.environ.get(name, "")))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _NAMES.search(name) is not None


@lru_cache(maxsize=8)
def _pieces(secrets: tuple[str, ...]) -> frozenset[str]:
    """All that is looked for, in small letters and digits alone."""
    plain = ("".join(sign for sign in secret if sign.isalnum()).lower() for secret in secrets)
    return frozenset(
        secret[start : start + _PIECE]
        for secret in plain
        if len(secret) >= _SHORTEST
        for start in range(max(1, len(secret) - _PIECE + 1))
    )


def _joined(runs: list[list[int]]) -> list[list[int]]:
    joined = [runs[0]]
    for first, last in runs[1:]:
        if first <= joined[-1][1] + 1:
            joined[-1][1] = max(last, joined[-1][1])
        else:
            joined.append([first, last])
    return joined
