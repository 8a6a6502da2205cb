"""What the MARA API answers, read leniently: numbers may be text, fields may be more than expected, bodies may be wrapped.

Lenient is not credulous: a number of machines or watts is a whole number from 0 to 2**53 or the answer is unreadable, and a field that is
missing is not zero. Messages never quote a long text, because an answer may hold a key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pydantic import SecretStr

from gridpilot.live.api import CLASSES, Counts, Inventory, MachineType

__all__ = [
    "MachineReport",
    "Unreadable",
    "decode",
    "http_date",
    "inventory",
    "is_json",
    "is_key",
    "machine_counts",
    "machine_report",
    "new_site",
    "price_entries",
    "retry_after",
    "site_power_w",
    "stand_in_speed",
]

_LARGEST: Final = 2**53  # beyond it a float is no longer an exact number of anything
_LONGEST_DIGITS: Final = 4000  # of a number; Python refuses to read much longer ones
_QUOTED: Final = 12  # characters of a text that a message may quote, shorter than any key
_WRAPPINGS: Final = ("data", "result", "site", "machines", "inventory", "prices", "rows", "items")
_ENTRY: Final = re.compile(r"\{[^{}]*\}|[^\s,{}\[\]][^,{}\[\]]*")  # a flat object, or whatever else stands between commas
_KEY: Final = re.compile(r"[!-~]{1,512}")


class Unreadable(ValueError):
    """An answer that is not what the API is known to give; the client turns it into an error of the venue."""


@dataclass(frozen=True, slots=True)
class MachineReport:
    """``GET /machines``. Money in the API's units, $ a row, at the newest row's prices; None where it is not told or no number."""

    counts: Counts  # (5,)
    power_w: int | None
    revenue: float | None
    cost: float | None


def decode(body: bytes) -> Any:
    """A JSON body. NaN and infinities are understood, and bytes that are no UTF-8 spoil the text they stand in, not the rest.

    Raises ``ValueError`` or ``RecursionError``.
    """
    return _loads(body.decode("utf-8-sig", errors="replace"))


def is_json(body: bytes) -> bool:
    """Whether a body is JSON, or empty."""
    try:
        decode(body or b"null")
    except (ValueError, RecursionError):
        return False
    return True


def price_entries(body: bytes) -> list[Any]:
    """The rows of ``GET /prices`` as they are, good or bad, in the order given; perhaps wrapped in an object.

    Of a list that is complete but holds a row that is no JSON, that row is given as its text, and the others as ever.
    Raises ``ValueError`` or ``RecursionError``.
    """
    try:
        found = decode(body)
    except ValueError:
        text = body.decode("utf-8-sig", errors="replace").strip()
        if not (text.startswith("[") and text.endswith("]")):
            raise
        return [_loads_or_text(entry) for entry in _ENTRY.findall(text)]
    if isinstance(found, dict):
        lists = [found[name] for name in _WRAPPINGS if isinstance(found.get(name), list)]
        lists += [value for value in found.values() if isinstance(value, list)]
        found = lists[0] if lists else found
    if not isinstance(found, list):
        raise Unreadable(f"{_shown(found)} in place of a list of price rows")
    return found


def inventory(found: Any) -> Inventory:
    """``GET /inventory``. Raises ``Unreadable`` where a machine is missing, draws nothing, or a figure is no whole number."""
    groups = _object(found, "the inventory", "miners")

    def kind(group: str, name: str, output: str) -> MachineType:
        entry = _field(_field(groups, group, "an object"), name, f"an object in {group}")
        where = f"{group}.{name}"
        power = _whole(_field(entry, "power", f"a number in {where}"), f"{where}.power")
        if power == 0:
            raise Unreadable(f"{where}.power is 0, expected more")
        return MachineType(_whole(_field(entry, output, f"a number in {where}"), f"{where}.{output}"), power)

    return Inventory(
        air=kind("miners", "air", "hashrate"),
        hydro=kind("miners", "hydro", "hashrate"),
        immersion=kind("miners", "immersion", "hashrate"),
        gpu=kind("inference", "gpu", "tokens"),
        asic=kind("inference", "asic", "tokens"),
    )


def site_power_w(found: Any) -> int:
    """``GET /sites``: the site's power, W. Raises ``Unreadable``."""
    return _whole(_field(_object(found, "the site", "power"), "power", "a number of watts"), "power")


def machine_counts(found: Any) -> Counts:
    """The five counts of an answer about machines. Raises ``Unreadable`` where one is missing, negative or not whole."""
    machines = _object(found, "the machines", *CLASSES)
    return tuple(_whole(_field(machines, name, "a number of machines"), name) for name in CLASSES)


def machine_report(found: Any) -> MachineReport | None:
    """``GET /machines``, or None where nothing has been set: null, nothing, or nothing but null in it. Raises ``Unreadable``."""
    if found is None or found == []:
        return None
    machines = _object(found, "the machines", *CLASSES)
    counts = [machines.get(name, 0) for name in CLASSES]
    if counts == [None] * len(CLASSES) or all(value is None for value in machines.values()):
        return None
    return MachineReport(
        machine_counts(machines),
        _whole_or_none(machines.get("total_power_used")),
        _finite_or_none(machines.get("total_revenue")),
        _finite_or_none(machines.get("total_power_cost")),
    )


def new_site(found: Any) -> tuple[SecretStr, str | None, int | None]:
    """``POST /sites``: key, name and power in W. A key alone will do, because there is no second answer. Raises ``Unreadable``."""
    site = _object(found, "the new site", "api_key")
    key, name = site.get("api_key"), site.get("name")
    if not (isinstance(key, str) and is_key(key)):
        raise Unreadable("api_key is missing or no key, expected printable characters without spaces")
    return SecretStr(key), name if isinstance(name, str) else None, _whole_or_none(site.get("power"))


def is_key(text: str) -> bool:
    """Whether ``text`` can stand in a header: printable ASCII without spaces."""
    return _KEY.fullmatch(text) is not None


def retry_after(value: str | None, now: datetime | None) -> float | None:
    """Seconds of a ``Retry-After`` header, >= 0, given as such or as a date; None where it says nothing of use.

    ``now`` is the server's own time where it is known; a date means nothing without it.
    """
    if value is None:
        return None
    seconds = _finite_or_none(value)
    if seconds is None and now is not None:
        at = http_date(value)
        seconds = None if at is None else (at - now).total_seconds()
    return None if seconds is None else max(0.0, seconds)


def http_date(value: str | None) -> datetime | None:
    """A header's date, UTC; None where it is none."""
    if value is None:
        return None
    try:
        at = parsedate_to_datetime(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):  # no date: the header says nothing
        return None


def stand_in_speed(value: str | None) -> float | None:
    """The speed of an accelerated stand-in, engine seconds a wall second; None where it is not one that a clock can have."""
    speed = _finite_or_none(value)
    return speed if speed is not None and 0.0 < speed <= 100_000.0 else None


def _loads(text: str) -> Any:
    return json.loads(text, parse_int=_int)


def _loads_or_text(text: str) -> Any:
    try:
        return _loads(text)
    except ValueError:
        return text  # the feed refuses it, and says so


def _int(digits: str) -> int | float:
    # A row with an absurd number must not make the whole answer unreadable.
    return int(digits) if len(digits) <= _LONGEST_DIGITS else math.inf


def _object(found: Any, what: str, *fields: str) -> Mapping[str, Any]:
    """``found``, or the one object that it wraps, where it has none of ``fields`` itself."""
    for _ in range(3):
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        elif isinstance(found, dict) and not any(field in found for field in fields):
            inner = next((found[name] for name in _WRAPPINGS if isinstance(found.get(name), dict | list)), None)
            if inner is None:
                break
            found = inner
        else:
            break
    if not isinstance(found, dict):
        raise Unreadable(f"{_shown(found)} in place of {what}, expected an object")
    return found


def _field(found: Any, name: str, expected: str) -> Any:
    if not isinstance(found, Mapping):
        raise Unreadable(f"{_shown(found)} in place of an object with {name}")
    if name not in found:
        raise Unreadable(f"{name} is missing, expected {expected}")
    return found[name]


def _whole(value: Any, name: str) -> int:
    number = _whole_or_none(value)
    if number is None:
        raise Unreadable(f"{name} is {_shown(value)}, expected a whole number from 0 to 2**53")
    return number


def _whole_or_none(value: Any) -> int | None:
    number = _finite_or_none(value)
    if number is None or not 0.0 <= number <= _LARGEST or number != math.floor(number):
        return None
    return value if isinstance(value, int) else int(number)


def _finite_or_none(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # a text that is no number, a whole number beyond every float
        return None
    return number if math.isfinite(number) else None


def _shown(value: Any) -> str:
    match value:
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case str() if len(value) > _QUOTED:
            return f"a text of {len(value)} characters"
        case None | bool():
            return json.dumps(value)
        case _:
            return f"{value!r:.40}"
