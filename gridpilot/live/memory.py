"""Memory that is needed at the start alone: the compiler reads kernels once, and would stay resident for as long as the engine runs."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["release_compiler"]

LIBRARY: Final = "libllvmlite"
MADV_DONTNEED: Final = 4  # of Linux
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) .*")


def release_compiler() -> int:
    """Give the pages of the compiler's library back to the system, which reads them from its file again should they be needed.

    Only what is as the file has it is given back: mappings that cannot be written and have no page of their own. Returns the bytes that
    were mapped there; 0 where there is nothing to give back, or no Linux.
    """
    released = 0
    with contextlib.suppress(OSError, AttributeError):  # no /proc, or no madvise: it stays as it is
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for start, end in _clean(Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")):
            released += (end - start) * (advise(start, end - start, MADV_DONTNEED) == 0)
    return released


def _clean(smaps: str) -> Iterator[tuple[int, int]]:
    """First byte and end of each mapping of the library that is all the file's."""
    found: tuple[int, int] | None = None
    for line in smaps.splitlines():
        mapping = _MAPPING.fullmatch(line)
        if mapping is not None:
            start, end, rights = mapping.groups()
            found = (int(start, 16), int(end, 16)) if LIBRARY in line and "w" not in rights else None
        elif found is not None and line.startswith("Anonymous:"):
            if line.split()[1] == "0":
                yield found
            found = None
