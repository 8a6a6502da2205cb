"""What is asked for against what this machine has, before anything is allocated."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from gridpilot.errors import GridPilotError

__all__ = ["available_memory", "check_disk", "check_memory", "in_bytes"]

_CGROUP: Final = Path("/sys/fs/cgroup")


def check_memory(needed: float, what: str, error: type[GridPilotError]) -> None:
    """Refuse ``what`` if it takes more memory than there is. ``needed`` bytes are a low estimate: what passes may still not fit."""
    available = available_memory()
    if available is not None and needed > available:
        raise error(
            f"{what} would take {in_bytes(needed)} of memory or more, expected at most the {in_bytes(available)} that are available"
        )


def check_disk(needed: float, path: Path, what: str, error: type[GridPilotError]) -> None:
    """Refuse ``what`` if it writes more than the disk of ``path``, a file in a folder that is there, has room for; as above."""
    available = shutil.disk_usage(path.absolute().parent).free
    if needed > available:
        raise error(
            f"{what} would take {in_bytes(needed)} of disk or more, expected at most the {in_bytes(available)} that are free"
        )


def available_memory() -> int | None:
    """Bytes that can be had without swapping, within the limit of a container; ``None`` where this cannot be told."""
    found = []
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        found.append(1024 * int(text.partition("MemAvailable:")[2].split()[0]))
    except (OSError, ValueError, IndexError):  # no Linux
        try:
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (OSError, ValueError):
            return None
    try:
        limit, used = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        found.append(max(0, limit - used))
    except (OSError, ValueError):  # no container, or one without a limit
        pass
    return min(found)


def in_bytes(number: float) -> str:
    """A number of bytes in the unit that suits it.

    >>> in_bytes(3.2e9), in_bytes(2.5e13), in_bytes(1e40)
    ('3.2 GB', '25.0 TB', '1e+28 TB')
    """
    size, unit = (1e12, "TB") if number >= 1e12 else (1e9, "GB")
    return f"{number / size:,.1f} {unit}" if number < 1e18 else f"{number / size:.0e} {unit}"
