"""What a price model is, and what every model checks about a request."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError
from gridpilot.market.units import CHANNELS

__all__ = ["CHANNELS", "PriceModel", "check_request"]

SERIAL_BELOW: Final = 64  # markets; fewer than this are never worth a thread, and parallel kernels must not run before a fork

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class PriceModel(Protocol):
    """Anything that can draw price paths."""

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
        ...


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
    return np.uint64(int(root)), np.ascontiguousarray(numbers, dtype=np.int64), int(ticks), int(history)
