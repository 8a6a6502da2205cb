"""What goes to stdout: a command's result and nothing else, in signs that it can take.

A stream may not be able to encode every character (a Latin-1 locale, an ASCII pipe, a name that is not UTF-8): what it cannot take is
replaced by something alike, or by its number as JSON writes it, instead of ending the program.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

__all__ = ["print_whatever_it_takes", "printable", "results_only"]

_NAME: Final = "gridpilot.alike"
# What steers a terminal, ends a line, or has the text after it shown in another direction.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_ALIKE: Final = {
    **dict.fromkeys("★●◆•∙", "*"),
    **dict.fromkeys("–—−‐‑─━╌", "-"),
    **dict.fromkeys("│┃╎", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼", "+"),
    **dict.fromkeys("‘’′", "'"),
    **dict.fromkeys("“”″", '"'),
    **dict.fromkeys("µμ", "u"),
    **dict.fromkeys("×✗✘", "x"),
    **dict.fromkeys("·…", "."),
    **dict.fromkeys("\N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}", " "),
    "✓": "v",
    "†": "+",
    "‡": "#",
    "°": "o",
    "±": "~",
    "→": ">",
    "←": "<",
    "²": "2",
    "³": "3",
    **dict(zip("▁▂▃▄▅▆▇█", "._-:=+*#", strict=True)),
}
"""A character a sign stands for, of the same width, so that tables stay in line."""


def print_whatever_it_takes(stream: Any) -> None:
    r"""Make ``stream`` print what it cannot encode as something alike, ``★`` as ``*``, or else as ``\uXXXX``.

    Does nothing to a stream that takes text as it is.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_NAME)


def printable(text: str, *, keep: str = "") -> str:
    r"""``text`` with what could steer a terminal made visible, but for the signs ``keep``: names and messages may be of others' making.

    >>> printable("no\x1b[2J such\nsite")
    'no\\x1b[2J such\\nsite'
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text)


@contextlib.contextmanager
def results_only() -> Iterator[TextIO]:
    """Stdout, for the results of a command alone: whatever else is printed in the block goes to stderr.

    That is what agents and other code of the user's print, in Python or below it, in this process or in those that it starts.
    """
    stdout, saved = sys.stdout, _descriptor(sys.stdout)
    if saved is None:  # something that takes its place, as in a notebook
        with contextlib.redirect_stdout(sys.stderr):
            yield stdout
        return
    stdout.flush()
    results = open(saved, "w", encoding=stdout.encoding, errors=stdout.errors)  # noqa: SIM115 - closed below, in its place
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield results
            results.flush()
    finally:
        stdout.flush()  # what was printed by way of a reference to it
        ctypes.CDLL(None).fflush(None)  # what native code has not yet written
        os.dup2(saved, 1)
        results.close()


def _descriptor(stream: Any) -> int | None:
    """A copy of file descriptor 1 where ``stream`` writes to that and stderr is there to take its place."""
    try:
        return os.dup(1) if stream.fileno() == 1 and sys.stderr.fileno() == 2 else None
    except (AttributeError, OSError, ValueError):  # not a file
        return None


def _alike(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    if character in _ALIKE:
        return _ALIKE[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


codecs.register_error(_NAME, _alike)
