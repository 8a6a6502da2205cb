"""What stored energy is worth at the end of a horizon."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gridpilot.market.site import SiteArrays
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.planning.base import Outlook
from gridpilot.planning.dynamic_kernels import plan_range

__all__ = ["estimate_terminal", "terminal_slopes"]

FloatArray = npt.NDArray[np.float64]

CELLS = 12
STAGES = 48  # of a day


def estimate_terminal(arrays: SiteArrays, outlook: Outlook) -> FloatArray:
    """Blocks of kWh above the lowest charge and $/kWh, ``(K, 2)``, descending: the estimate where ``outlook.terminal`` is ``None``.

    A day goes on as the last one did: the dynamic programme runs over the last day of the outlook once more, by half hours, from the end
    that a stored kWh saves buying one at the mean price. An outlook shorter than a day ends at that mean price. A site without a
    battery has no blocks.
    """
    site = arrays.plant[0]
    room = float(site["soc_max"] - site["soc_min"])
    if room <= 0.0:
        return np.zeros((0, 2))
    slopes = np.full((1, CELLS), float(site["eta_d"]) * max(0.0, float(outlook.prices[-TICKS_PER_DAY:, 0].mean())))
    if outlook.horizon >= TICKS_PER_DAY:
        prices, ambient = _stages(outlook.prices), _stages(outlook.ambient_c)
        cap = np.full((1, STAGES), np.inf) if outlook.cap_kw is None else _stages(outlook.cap_kw)
        one, before = np.zeros(1, dtype=np.int64), np.empty((1, 1, CELLS))
        plan_range(0, 1, *arrays, one, one, prices, ambient, cap, 0, STAGES, 24.0 / STAGES, slopes, before, np.empty(1))
        slopes = before[:, 0]
    return np.column_stack([np.full(CELLS, room / CELLS), slopes[0]])


def _stages(values: FloatArray) -> FloatArray:
    """Means of the last day's values over each stage, ``(1, STAGES, ...)``."""
    last = values[-TICKS_PER_DAY:]
    means: FloatArray = last.reshape(STAGES, -1, *last.shape[1:]).mean(axis=1)
    return means[None]


def terminal_slopes(terminal: FloatArray, cells: int, room: float) -> FloatArray:
    """``terminal`` blocks as the mean slope of each of ``cells`` equal cells over ``room`` kWh, ``(cells,)``; nothing beyond the blocks."""
    if room <= 0.0:
        return np.zeros(cells)
    kwh = np.concatenate([[0.0], np.cumsum(terminal[:, 0])])
    worth = np.concatenate([[0.0], np.cumsum(terminal[:, 0] * terminal[:, 1])])
    edges = np.linspace(0.0, room, cells + 1)
    slopes: FloatArray = np.diff(np.interp(edges, kwh, worth)) * (cells / room)
    return slopes
