"""What a reader may be told about a file, and how each surface spells it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from gridpilot.errors import PriceError

__all__ = ["NOTHING_SAID", "Dates", "Decimal", "Label", "ReadOptions", "add_options", "options_of"]

Dates = Literal["day_first", "month_first", "year_first"]
Decimal = Literal[".", ","]
Label = Literal["start", "end"]

FLAGS: Final = "--"  # prefix of a surface that takes flags rather than key=value


@dataclass(frozen=True)
class ReadOptions:
    """Everything may be left out: what a file does not tell by itself is asked for in an error that names the option."""

    time: tuple[str, ...] = ()  # column of times; or of dates, of hours and of parts of an hour
    label: Label | None = None  # whether a row's time is the start or the end of its interval; the column's name, or start
    dates: Dates | None = None  # order of 01/02/2024
    zone: str | None = None  # IANA name of the clock, as Europe/Berlin, where times have no offset
    pick: tuple[str, ...] = ()  # of a file with several rows a time: values, or COLUMN=VALUE, of the rows that count
    decimal: Decimal | None = None  # mark before the decimals
    prefix: str = ""  # how the surface writes a key: "" and "prices." before key=value, "--" before a flag

    def say(self, key: str, *values: str) -> str:
        """An option as it is written on the surface the file came from, to be pasted into a shell."""
        if self.prefix == FLAGS:
            return " ".join(shlex.join([f"--{key.replace('_', '-')}", value]) for value in values)
        quoted = [value if value.replace("_", "").replace("/", "").isalnum() else f'"{value}"' for value in values]
        text = quoted[0] if len(quoted) == 1 else f"[{','.join(quoted)}]"
        word = f"{self.prefix}{key}={text}"
        return f"'{word}'" if shlex.quote(word) != word else word


NOTHING_SAID: Final = ReadOptions()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of :class:`ReadOptions`."""
    parser.add_argument(
        "--time",
        action="append",
        default=[],
        metavar="T",
        help="the column of times, or of dates and then of hours (default: the first that reads as times)",
    )
    parser.add_argument("--label", choices=get_args(Label), help="a row's time is the start or the end of its interval")
    parser.add_argument("--dates", choices=get_args(Dates), help="what 01/02/2024 begins with")
    parser.add_argument("--zone", metavar="ZONE", help="the clock of times without an offset, as Europe/Berlin")
    parser.add_argument(
        "--pick",
        action="append",
        default=[],
        metavar="VALUE",
        help="of several rows a time: the value, or COLUMN=VALUE, that counts",
    )
    parser.add_argument("--decimal", choices=get_args(Decimal), help="the mark before the decimals")


def options_of(source: Any, prefix: str = "") -> ReadOptions:
    """Options from parsed flags or a validated configuration that has the fields by name. Raises ``PriceError`` for an unknown zone."""
    zone = source.zone
    if zone is not None:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(zone)
        except (ValueError, OSError, KeyError):
            raise PriceError(f"zone is {zone!r}, expected a name as Europe/Berlin, America/Chicago or UTC") from None
    return ReadOptions(_several(source.time), source.label, source.dates, zone, _several(source.pick), source.decimal, prefix)


def _several(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)
