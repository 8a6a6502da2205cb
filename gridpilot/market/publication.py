"""What the market publishes of a tick, besides its price and volume: the auction's result, and later the bids without their names."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.market.auction import N_TOTALS, PRICE_HI, PRICE_LO, VOLUME
from gridpilot.market.compilation import leaf_kernel
from gridpilot.market.physics import PAYMENT
from gridpilot.market.units import DT

__all__ = ["AUCTION_HI", "AUCTION_LO", "MARGIN_IS_BID", "MEAN_PRICE", "N_AUCTION", "auction_result", "rivals_curves", "supply_used"]

FloatArray = npt.NDArray[np.float64]

# Columns of an ``auction`` row, $/kWh; nan before the first tick.
AUCTION_LO: Final = 0  # the highest losing price; -inf where nothing lost
AUCTION_HI: Final = 1  # the lowest winning price; inf where nothing could win
MEAN_PRICE: Final = 2  # what all sites paid over what they won; nan where nothing was sold
MARGIN_IS_BID: Final = 3  # 1 where the highest losing price is that of a bid alone, 0 where a supply step has it
N_AUCTION: Final = 4


def auction_result(
    totals: FloatArray, outcome: FloatArray, energy: FloatArray, adders: FloatArray, reserve: float, out: FloatArray
) -> None:
    """Write the public results of a tick to ``out (B, N_AUCTION)``.

    ``totals (B, N_TOTALS)``, ``outcome (B, N, N_OUTCOME)``; ``energy (B,)`` $/kWh and ``adders (S,)`` are what the steps cost.
    """
    assert totals.shape[1] == N_TOTALS
    volume = totals[:, VOLUME] * DT
    out[:, AUCTION_LO], out[:, AUCTION_HI] = totals[:, PRICE_LO], totals[:, PRICE_HI]
    out[:, MEAN_PRICE] = np.divide(
        outcome[:, :, PAYMENT].sum(axis=1), volume, out=np.full(len(volume), math.nan), where=volume > 0.0
    )
    costs = np.maximum(energy[:, None] + adders, reserve)  # the sums that the kernel makes
    out[:, MARGIN_IS_BID] = np.isfinite(totals[:, PRICE_LO]) & (costs != totals[:, PRICE_LO, None]).all(axis=1)


def supply_used(volume: FloatArray, capacity_kw: FloatArray, shares: FloatArray, out: FloatArray) -> None:
    """Write the kW of each supply step that were sold in a tick, cheapest first, to ``out (B, S)``.

    Steps are sold in the order of their cost, so that they follow from ``volume (B,)`` and ``capacity_kw (B,)``, of which they are
    ``shares (S,)``.
    """
    kw = shares * capacity_kw[:, None]
    kw[:] = np.minimum(np.cumsum(kw, axis=1), capacity_kw[:, None])  # to where each step goes; supply ends with the capacity
    begins = np.concatenate((np.zeros((len(kw), 1)), kw[:, :-1]), axis=1)
    np.minimum(np.maximum(volume[:, None] - begins, 0.0), kw - begins, out=out)


@leaf_kernel
def rivals_curves(
    bids: Any,  # (B, N, W, 2) kW and $/kWh as cleared, prices non-increasing along W, 0 kW behind the last block
    market: Any,  # (M,)
    seat: Any,  # (M,)
    head: Any,  # (N,) int64 scratch
    curves: Any,  # (M, L, 2), out: all blocks but the seat's own in descending price, 0 kW behind the last; L >= (N - 1) W
) -> None:
    """The published curve of each seat's market less its own blocks: what anybody can work out who knows what he has bid."""
    n, width = bids.shape[1], bids.shape[2]
    for m in range(len(market)):
        b, used = market[m], 0
        for i in range(n):
            head[i] = 0 if i != seat[m] else width
        while used < curves.shape[1]:
            who, top = -1, -math.inf
            for i in range(n):
                if head[i] < width and bids[b, i, head[i], 0] > 0.0 and bids[b, i, head[i], 1] > top:
                    who, top = i, bids[b, i, head[i], 1]
            if who < 0:
                break
            curves[m, used, 0], curves[m, used, 1] = bids[b, who, head[who], 0], top
            head[who] += 1
            used += 1
        for k in range(used, curves.shape[1]):
            curves[m, k, 0], curves[m, k, 1] = 0.0, 0.0
