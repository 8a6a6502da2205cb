"""The blocked horizon: ticks gathered into blocks that grow with distance, so that a day is 44 steps of a programme instead of 288.

Within a block prices and temperatures are averaged, and what limits power is the least limit of its ticks: an average would hide a cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError

__all__ = ["DAY", "FULL", "Blocks", "block_ticks"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# (blocks, ticks each): an hour of ticks, three hours of quarters, twenty hours of hours; 288 ticks in 44 blocks.
DAY: Final = ((12, 1), (12, 3), (20, 12))
FULL: Final = "full"  # every tick a block of its own


def block_ticks(layout: str | Sequence[tuple[int, int]], horizon: int) -> IntArray:
    """Ticks of each block, ``(J,)``, of ``layout`` cut at ``horizon``, or drawn out to it by repeating its last size.

    ``layout``  ``"full"``, or pairs (number of blocks, ticks of each) of which the first block is one tick: the tick that is bid for

    Raises :class:`~gridpilot.errors.PlanningError` for a layout that is neither.
    """
    if isinstance(layout, str):
        if layout != FULL:
            raise PlanningError(f"blocks: {layout!r}, expected {FULL!r} or pairs (number of blocks, ticks of each)")
        return np.ones(horizon, dtype=np.int64)
    if not layout or any(count < 1 or ticks < 1 for count, ticks in layout) or layout[0][1] != 1:
        raise PlanningError(f"blocks: {layout!r}, expected pairs (number of blocks, ticks of each), the first block of one tick")
    sizes = [ticks for count, ticks in layout for _ in range(count)]
    while sum(sizes) < horizon:
        sizes.append(sizes[-1])
    ends = np.minimum(np.cumsum(sizes), horizon)
    ticks = np.diff(ends, prepend=0)
    return np.asarray(ticks[ticks > 0], dtype=np.int64)


class Blocks:
    """The blocks of one horizon."""

    def __init__(self, layout: str | Sequence[tuple[int, int]], horizon: int) -> None:
        self.ticks = block_ticks(layout, horizon)  # (J,)
        self.horizon = horizon
        self._starts = np.concatenate([[0], np.cumsum(self.ticks)[:-1]])
        # Averages as a product with a matrix: three times as fast as sums over slices, at the length of a day.
        self._weights = np.zeros((len(self.ticks), horizon))
        block = np.repeat(np.arange(len(self.ticks)), self.ticks)
        self._weights[block, np.arange(horizon)] = (1.0 / self.ticks)[block]

    def __len__(self) -> int:
        """Number of blocks J."""
        return len(self.ticks)

    def mean(self, values: Any) -> FloatArray:
        """Average of ``values (H,)``, ``(H, C)`` or ``(S, H, C)`` over the ticks of each block: H becomes J."""
        return np.asarray(self._weights @ values)

    def least(self, values: Any) -> FloatArray:
        """Least of ``values (H,)`` over the ticks of each block, ``(J,)``."""
        return np.asarray(np.minimum.reduceat(values, self._starts))
