"""Units of recorded prices, and whether a series is of the size that its unit says."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError

__all__ = ["UNITS", "check_magnitude", "guess_unit"]

FloatArray = npt.NDArray[np.float64]

# unit: (channel, factor to the unit the market uses)
UNITS: Final[dict[str, tuple[str, float]]] = {
    "$/kWh": ("energy", 1.0),
    "$/MWh": ("energy", 1e-3),
    "$/PH/s/h": ("hash", 1.0),
    "$/PH/s/day": ("hash", 1.0 / 24.0),
    "$/Mtok": ("token", 1.0),
}
# Where nine tenths of a price's magnitudes lie below, at the least and at the most: wide enough for every market, narrow enough to
# tell a unit from the next.
_PLAUSIBLE: Final = {"energy": (0.004, 2.0), "hash": (0.2, 30.0), "token": (1e-4, 1e3)}


def guess_unit(values: FloatArray) -> str | None:
    """The unit of energy in which prices of this size are usual, None where none is or there are no prices but 0."""
    known = np.abs(values[np.isfinite(values)])
    if not len(known):
        return None
    size, (low, high) = float(np.quantile(known, 0.9)), _PLAUSIBLE["energy"]
    return next((unit for unit in ("$/MWh", "$/kWh") if low <= size * UNITS[unit][1] <= high), None)


def check_magnitude(values: FloatArray, unit: str, where: str) -> None:
    """Refuse a series whose size does not fit ``unit`` (a key of ``UNITS``). ``values`` are in that unit."""
    channel, factor = UNITS[unit]
    size = float(np.nanquantile(np.abs(values), 0.9))
    low, high = _PLAUSIBLE[channel]
    if not low <= size * factor <= high:
        others = ", ".join(other for other, (of, f) in UNITS.items() if of == channel and other != unit and low <= size * f <= high)
        hint = f"; do you mean {others}?" if others else ""
        raise PriceError(
            f"{where}: a tenth of the prices are above {size:.6g} {unit} in size, expected {low / factor:g} to {high / factor:g}{hint}"
        )
