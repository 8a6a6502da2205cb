"""What was perhaps meant by a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "expected_one_of", "listed"]


def did_you_mean(name: object, known: Iterable[str], *, alike: float = 0.6) -> str:
    """A question naming the one or two of ``known`` that are most like ``name``, or nothing where none is.

    ``alike`` is the least similarity, 0 to 1; paths that begin alike want more of it.

    >>> did_you_mean("mcp", ["mpc", "truthful"])
    'did you mean mpc?'
    >>> did_you_mean("batery", ["battery", "cooling"]) or "expected one of battery, cooling"
    'did you mean battery?'
    >>> did_you_mean("wind", ["battery", "cooling"]) or "expected one of battery, cooling"
    'expected one of battery, cooling'
    """
    close = difflib.get_close_matches(str(name), list(known), n=2, cutoff=alike)
    return f"did you mean {' or '.join(close)}?" if close else ""


def listed(names: Iterable[str], *, most: int = 20) -> str:
    """Names with commas between them; of more than ``most`` the first, and how many there are besides.

    >>> listed("abc"), listed(map(str, range(1000)), most=3)
    ('a, b, c', '0, 1, 2 and 997 more')
    """
    names = [name if len(name) <= 80 else f"{name[:77]}..." for name in names]
    return ", ".join(names) if len(names) <= most + 1 else f"{', '.join(names[:most])} and {len(names) - most} more"


def expected_one_of(names: Iterable[str]) -> str:
    """What a message ends in where the choice is known.

    >>> expected_one_of(["serial", "processes"])
    'expected one of serial, processes'
    """
    return f"expected one of {listed(names)}"
