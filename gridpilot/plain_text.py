"""Text for a stream that cannot encode every character: a Latin-1 locale, an ASCII pipe, a name that is not UTF-8.

What such a stream cannot take is replaced by something alike, or by its number as JSON writes it, instead of ending the program.
"""

from __future__ import annotations

import codecs
import io
from typing import Any, Final

__all__ = ["print_whatever_it_takes"]

_NAME: Final = "gridpilot.alike"

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


def _alike(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    if character in _ALIKE:
        return _ALIKE[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


codecs.register_error(_NAME, _alike)
