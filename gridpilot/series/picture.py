"""A series as a line of blocks, for a terminal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["blocks"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*#@"


def blocks(values: npt.NDArray[np.float64], width: int, height: int, encoding: str) -> list[str]:
    """``height`` lines of ``width`` characters, the mean of each stretch of ``values`` ``(n,)`` as a bar; blank where nothing is known.

    Bars go from the lowest mean to the highest. In ASCII where ``encoding`` has no blocks.
    """
    try:
        _BLOCKS.encode(encoding)
        levels = _BLOCKS
    except (UnicodeEncodeError, LookupError):
        levels = _ASCII
    means = []
    for part in np.array_split(values, min(width, len(values))):
        known = part[np.isfinite(part)]
        means.append(float(known.mean()) if len(known) else np.nan)
    bars = np.array(means)
    low, high = np.nanmin(bars), np.nanmax(bars)
    # From 1, the lowest line's lowest block, to all blocks of all lines.
    tall = 1.0 + (bars - low) / (high - low) * (height * len(levels) - 1) if high > low else np.where(np.isnan(bars), np.nan, 1.0)
    lines = []
    for line in range(height - 1, -1, -1):
        text = ""
        for bar in tall:
            filled = 0 if np.isnan(bar) else int(np.clip(round(bar - line * len(levels)), 0, len(levels)))
            text += levels[filled - 1] if filled else " "
        lines.append(text.rstrip())
    return lines
