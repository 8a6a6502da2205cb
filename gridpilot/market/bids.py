"""Bids: what a site asks of the auctioneer, and what it tells its own plant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.errors import BidError

__all__ = ["Bid", "check_blocks"]

FloatArray = npt.NDArray[np.float64]


def check_blocks(blocks: Any, *, where: str = "bid") -> FloatArray:
    """Return ``blocks`` as a ``(K, 2)`` float64 array of ``(kW, $/kWh)``, or refuse it.

    Blocks are refused, never repaired: quantities are finite and >= 0, prices finite and non-increasing. An empty list is the zero
    bid. Raises :class:`~gridpilot.errors.BidError`, whose message starts with ``where`` and names the offending block.
    """
    try:
        array = np.array(blocks, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BidError(f"{where}: blocks must be a list of [kW, $/kWh] pairs of numbers, got {blocks!r:.100}") from error
    if array.size == 0 and array.ndim <= 2:
        return np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] != 2:
        raise BidError(f"{where}: blocks must be a list of [kW, $/kWh] pairs, got an array of shape {array.shape}")
    for k, (kw, price) in enumerate(array):
        if not np.isfinite(kw) or kw < 0.0:
            raise BidError(f"{where}: block {k} has quantity {kw} kW, expected a finite number >= 0")
        if not np.isfinite(price):
            raise BidError(f"{where}: block {k} has price {price} $/kWh, expected a finite number")
        if k and price > array[k - 1, 1]:
            raise BidError(
                f"{where}: block {k} has price {price} $/kWh above block {k - 1}'s {array[k - 1, 1]}, expected non-increasing prices"
            )
    return array


@dataclass(frozen=True)
class Bid:
    """A site's bid for one tick, with the two prices of time its own dispatch uses.

    ``blocks``            ``(K, 2)`` float64: quantity kW >= 0 and price $/kWh, non-increasing. An empty bid asks for nothing.
    ``storage_value``     what one more stored kWh is worth, $/kWh; ``None`` leaves the battery alone.
    ``commitment_value``  ``(C,)``: what having each machine class running is worth beyond this tick, $/kWh >= 0; ``None`` takes the
                          default of :func:`gridpilot.market.physics.default_commitment`.

    Raises :class:`~gridpilot.errors.BidError` for anything that is not of this form.

    >>> Bid([(300.0, 0.12), (100.0, 0.05)]).blocks[:, 0].sum()
    np.float64(400.0)
    >>> Bid([(1.0, 0.05), (1.0, 0.12)])
    Traceback (most recent call last):
    ...
    gridpilot.errors.BidError: bid: block 1 has price 0.12 $/kWh above block 0's 0.05, expected non-increasing prices
    """

    blocks: FloatArray
    storage_value: float | None = None
    commitment_value: FloatArray | None = field(default=None)

    def __init__(self, blocks: Any, storage_value: float | None = None, commitment_value: Any = None) -> None:
        object.__setattr__(self, "blocks", check_blocks(blocks))
        if storage_value is not None:
            storage_value = _finite(storage_value, "storage_value")
        object.__setattr__(self, "storage_value", storage_value)
        if commitment_value is not None:
            entries = commitment_value if isinstance(commitment_value, list | tuple) else np.ravel(commitment_value)
            commitment_value = np.array([_finite(x, "commitment_value") for x in entries])
            if (commitment_value < 0.0).any():
                raise BidError(f"bid: commitment_value is {commitment_value.min()} $/kWh, expected numbers >= 0")
        object.__setattr__(self, "commitment_value", commitment_value)


def _finite(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not np.isfinite(number):
        raise BidError(f"bid: {name} is {value!r}, expected a finite number in $/kWh")
    return number
