"""What a price model is, and what every model checks about a request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError
from gridpilot.market.units import CHANNELS, TICKS_PER_WEEK
from gridpilot.memory import check_memory

__all__ = ["CHANNELS", "PriceModel", "check_paths", "check_request"]

SERIAL_BELOW: Final = 64  # markets; fewer than this are never worth a thread, and parallel kernels must not run before a fork

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class PriceModel(ABC):
    """Draws price paths. One of your own is a file ``my_file.py`` such as

    .. code-block:: python

        import numpy as np
        from gridpilot import PriceModel

        class Evenings(PriceModel):
            def __init__(self, evening: float = 0.12) -> None:
                self.evening = evening  # $/kWh

            def simulate(self, root, episodes, ticks, *, history=0):
                prices = np.empty((history + ticks, len(episodes), 3))
                hour = np.arange(-history, ticks) / 12.0 % 24.0  # of an episode that starts at midnight
                for b, episode in enumerate(episodes):
                    noise = np.random.default_rng([root, int(episode)]).lognormal(0.0, 0.2, history + ticks)
                    prices[:, b, 0] = np.where(hour >= 18.0, self.evening, 0.03) * noise
                    prices[:, b, 1:] = 2.1, 0.3
                return prices, np.zeros(len(episodes), dtype=np.int64)

    which every command and environment takes as ``prices=my_file.Evenings`` or ``prices={name: my_file.Evenings, evening: 0.2}``.
    """

    @abstractmethod
    def simulate(self, root: int, episodes: npt.ArrayLike, ticks: int, *, history: int = 0) -> tuple[FloatArray, IntArray]:
        """Draw the prices of ``episodes`` under the root seed ``root``.

        ``root``      0 to 2**64 - 1.
        ``episodes``  ``(B,)`` whole numbers >= 0. An episode's path depends on its own number only, not on the rest of the batch.
        ``ticks``     T >= 0. A longer simulation begins with the shorter one.
        ``history``   H >= 0 ticks before tick 0, which run on into it without a break. A path belongs to its history: who asks for
                      another H gets another path.

        Returns ``prices`` ``(H + T, B, 3)``: energy $/kWh, hash $ per PH/s h, token $ per million tokens, and ``start`` ``(B,)``, the
        tick of the week (Monday 00:00 = 0, below 2016) of tick 0. Raises :class:`~gridpilot.errors.PriceError`.
        """


_BYTES_A_TICK = 3 * 8 * 2  # three prices, in float64, as they are made and as they are used


def check_request(root: Any, episodes: Any, ticks: Any, history: Any) -> tuple[np.uint64, IntArray, int, int]:
    """Return the arguments of ``simulate`` in the types its kernels expect, or raise :class:`~gridpilot.errors.PriceError`."""
    if isinstance(root, bool) or not isinstance(root, (int, np.integer)) or not 0 <= int(root) < 2**64:
        raise PriceError(f"root seed is {root!r}, expected a whole number from 0 to 2**64 - 1")
    numbers = np.asarray(episodes)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise PriceError(f"episodes have shape {numbers.shape} and type {numbers.dtype}, expected a list of whole numbers")
    if numbers.size and (numbers.min() < 0 or int(numbers.max()) >= 2**63):
        raise PriceError(f"episodes run from {numbers.min()} to {numbers.max()}, expected numbers from 0 to 2**63 - 1")
    for name, value in (("ticks", ticks), ("history", history)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise PriceError(f"{name} is {value!r}, expected a whole number >= 0")
    what = f"prices of {numbers.size:,} episodes of {int(history) + int(ticks):,} ticks side by side"
    check_memory(numbers.size * (int(history) + int(ticks)) * _BYTES_A_TICK, what, PriceError)
    return np.uint64(int(root)), np.ascontiguousarray(numbers, dtype=np.int64), int(ticks), int(history)


def check_paths(model: PriceModel, prices: Any, start: Any, rows: int, episodes: int) -> tuple[FloatArray, IntArray]:
    """Return what ``model.simulate`` gave as arrays, or raise :class:`~gridpilot.errors.PriceError` where it is not what was asked for."""
    name = type(model).__name__
    try:
        paths, first = np.ascontiguousarray(prices, dtype=np.float64), np.asarray(start)
    except (TypeError, ValueError) as error:
        raise PriceError(f"prices {name}: simulate returned what is no array of numbers: {error}") from error
    if paths.shape != (rows, episodes, 3):
        raise PriceError(f"prices {name}: simulate returned prices of shape {paths.shape}, expected {(rows, episodes, 3)}")
    if not np.isfinite(paths).all():
        row, episode, channel = np.argwhere(~np.isfinite(paths))[0]
        found = f"{CHANNELS[channel]} is {paths[row, episode, channel]} in row {row} of path {episode}"
        raise PriceError(f"prices {name}: simulate returned a price that is not finite: {found}")
    if first.shape != (episodes,) or (
        episodes and (first.dtype.kind not in "iu" or first.min() < 0 or first.max() >= TICKS_PER_WEEK)
    ):
        raise PriceError(
            f"prices {name}: simulate returned start {first!r:.60}, expected {episodes} ticks of the week from 0 to {TICKS_PER_WEEK - 1}"
        )
    return paths, first.astype(np.int64, copy=False)
