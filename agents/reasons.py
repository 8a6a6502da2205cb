"""What agents say of their bids, made fit to be written down: plain JSON of a bounded length, whatever they return."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

__all__ = ["MOST", "bounded", "plain"]

MOST: Final = 4000  # characters of JSON that an agent's reasons for one bid may take in a journal
KEYS: Final = 64
ENTRIES: Final = 288  # of a list: the ticks of a day
DIGITS: Final = 6  # significant ones


def plain(value: Any, depth: int = 3) -> Any:
    """``value`` in JSON's types: None for what is not finite, and text for what is none of them or lies deeper than ``depth``."""
    if isinstance(value, Mapping) and depth:
        return {str(key): plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray) and depth:
        return [plain(inner, depth - 1) for inner in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | np.integer | np.floating):
        number = value.item() if isinstance(value, np.generic) else value
        return number if np.isfinite(number) else None
    return f"{value!r:.200}"


def bounded(said: Mapping[str, Any], most: int = MOST) -> dict[str, Any]:
    """What an agent says, in at most ``most`` characters of JSON, floats of six significant digits.

    Long texts and lists are cut. A key that does not fit any more is left out, and ``left_out_count`` says how many were.
    """
    kept: dict[str, Any] = {}
    room, left_out = most - len('{"left_out_count": 999999}'), 0
    for key, value in said.items():
        entry = {str(key)[:80]: _short(plain(value[:ENTRIES] if isinstance(value, list | tuple | np.ndarray | str) else value))}
        size = len(json.dumps(entry))
        if len(kept) < KEYS and size <= room:
            kept |= entry
            room -= size
        else:
            left_out += 1
    return {**kept, "left_out_count": left_out} if left_out else kept


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, str):
        return value[:200]
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return {key[:80]: _short(inner) for key, inner in value.items()} if isinstance(value, dict) else value
