"""Block bootstrap of recent history: which past rows stand for the coming ones.

Whole blocks are drawn, so that what belongs together in time stays together (Künsch, "The jackknife and the bootstrap for general
stationary observations", 1989), and all columns of a row with it. A block for a coming step is taken from about the same time of an
earlier period, a day as a rule, so that the daily pattern is kept (seasonal block bootstrap, Politis 2001).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gridpilot.errors import RiskError

__all__ = ["block_rows"]


def block_rows(
    rows: int, horizon: int, scenarios: int, *, block: int, period: int, jitter: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Rows of the past ``0 .. rows - 1`` that stand for steps ``0 .. horizon - 1`` ahead, step 0 being row ``rows - 1``: ``(S, H)``.

    ``block``   steps that stay together, >= 1; the last of a path may be shorter
    ``period``  steps after which the pattern repeats, >= 1; which of the periods there are is drawn anew for each block
    ``jitter``  >= 0, steps by which a block may begin earlier or later than the same time of its period

    Where the past is shorter than a period, blocks begin anywhere in it and stop at its end. Raises
    :class:`~gridpilot.errors.RiskError` where there is no past, or an argument is out of range.
    """
    for name, value, smallest in (
        ("rows", rows, 1), ("horizon", horizon, 1), ("scenarios", scenarios, 1), ("block", block, 1), ("period", period, 1),
        ("jitter", jitter, 0),
    ):  # fmt: skip
        if value < smallest:
            raise RiskError(f"block bootstrap: {name} is {value}, expected at least {smallest}")
    blocks, latest = -(-horizon // block), max(rows - block, 0)  # the row at which a whole block can begin at the latest
    if rows <= period:
        begin = generator.integers(0, latest + 1, (scenarios, blocks))
    else:
        first = np.arange(blocks) * block  # step at which each block begins
        least = np.maximum(-(-(first + block - 1) // period), 1)  # periods to go back until all of it lies in the past
        choices = np.maximum((rows - 1 + first) // period - least + 1, 1)
        begin = rows - 1 + first - (least + generator.integers(0, choices, (scenarios, blocks))) * period
        begin = np.clip(begin + generator.integers(-jitter, jitter + 1, (scenarios, blocks)), 0, latest)
    drawn = np.minimum(begin[..., None] + np.arange(block), rows - 1)
    picked: npt.NDArray[np.int64] = drawn.reshape(scenarios, -1)[:, :horizon]
    return picked
