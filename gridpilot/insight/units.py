"""Units of facts by the suffix of their key, how many digits they are told with, and the words that must go with them.

:func:`form` is the only place where a figure of an answer is made.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

__all__ = ["SUFFIXES", "Unit", "form", "must_say", "unit_of"]


class Unit(NamedTuple):
    """How a figure is told."""

    name: str  # behind the figure, "" for none
    digits: int  # behind the point
    scale: float = 1.0  # from the fact to what is told


SUFFIXES: Final[dict[str, Unit]] = {  # the longest that fits counts
    "api_dollars_per_watt_row": Unit("API $/W", 4),
    "api_dollars_per_hour": Unit("API $/h", 2),
    "dollars_per_kwh": Unit("$/MWh", 2, 1000.0),
    "dollars_per_hour": Unit("$/h", 2),
    "dollars_per_day": Unit("$ a day", 2),
    "api_dollars": Unit("API $", 2),
    "dollars": Unit("$", 2),
    "kwh_per_day": Unit("kWh a day", 1),
    "kwh": Unit("kWh", 1),
    "kw": Unit("kW", 1),
    "c": Unit("degC", 1),
    "percent": Unit("%", 1),
    "ticks": Unit("ticks", 0),
    "p_value": Unit("", 4),
    "count": Unit("", 0),
    "number": Unit("", 0),
}

# A figure whose key holds a word on the left is only told where one of those on the right is said.
_SAY: Final[dict[str, tuple[str, ...]]] = {
    "won": ("won", "win", "got", "allocat"),
    "lost": ("lost", "lose", "did not get", "unserved", "refused"),
    "asked": ("ask", "bid", "want", "demand"),
    "bid": ("bid", "offer", "value"),
    "paid": ("paid", "pay", "cost", "charge", "bill"),
    "payment": ("paid", "pay", "cost", "charge", "bill"),
    "price": ("price", "cost", "paid", "pay"),
    "revenue": ("revenue", "earn", "sold", "sales", "income"),
    "wear": ("wear",),
    "stored": ("stored", "charge", "battery", "storage"),
    "storage": ("stored", "storage", "battery"),
    "battery": ("battery", "batteries"),
    "profit": ("profit", "earn", "made", "come to", "came to", "gain", "lead"),
    "lead": ("lead", "ahead", "behind", "difference", "advantage", "gap", "deficit", "between", "part"),
    "gain": ("gain", "ahead", "behind", "difference"),
    "forgone": ("forgone", "left on the table", "missed", "given up"),
    "best": ("ideal", "possible", "optimal"),
    "capacity": ("capacity", "connection", "for sale", "available"),
    "sold": ("sold", "sale", "volume"),
    "energy": ("energy", "power", "bought", "grid"),
    "otherwise": ("would", "otherwise", "instead"),
    "other": ("other", "instead", "against", "than", "while", "and", "compared", "lead", "would", "of"),
    "expected": ("expect", "foresee", "forecast", "planned"),
    "power": ("power", "draw", "load", "run"),
    "cap": ("cap", "limit", "allowed"),
    "alarm": ("alarm", "wrong", "warning"),
    "raised": ("alarm", "raised", "wrong"),
    "tick": ("tick", "interval", "time"),
    "seat": ("seat", "site"),
    "hour": ("hour", "at", "time"),
    "episode": ("episode", "day"),
    "decisions": ("decision", "decided", "choice"),
    "p": ("chance", "luck", "sure", "certain"),
}


def unit_of(key: str) -> Unit | None:
    """The unit of a key, None for one without: a name, a code, a time or an answer to yes or no."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if key == suffix or key.endswith(f"_{suffix}"):
            return SUFFIXES[suffix]
    return None


def must_say(key: str) -> list[tuple[str, ...]]:
    """For each meaning of a key the words of which one must be said where its figure is told."""
    stem = key
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if stem == suffix or stem.endswith(f"_{suffix}"):
            stem = stem[: len(stem) - len(suffix)].rstrip("_") or stem
            break
    return [_SAY[part] for part in stem.split("_") if part in _SAY]


def form(key: str, value: Any, *, signed: bool = False) -> str:
    """A fact as it is told. Raises ``ValueError`` for what cannot be told: nothing, what is not finite, a figure without a unit.

    >>> form("paid_dollars", 1234.5), form("price_dollars_per_kwh", 0.0312), form("won_kw", -0.0), form("lead_dollars", 2.0, signed=True)
    ('1,234.50 $', '31.20 $/MWh', '0.0 kW', '+2.00 $')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value:
        return "".join(sign if sign.isprintable() else "?" for sign in value)[:200]
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is {value!r:.40}, which cannot be told")
    unit = unit_of(key)
    if unit is None:
        raise ValueError(f"{key} has no unit in its name")
    number = round(value * unit.scale, unit.digits) + 0.0  # no minus before zero
    text = f"{number:{'+' if signed and number else ''},.{unit.digits}f}"
    return f"{text} {unit.name}".rstrip()
