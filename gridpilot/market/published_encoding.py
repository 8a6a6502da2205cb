"""What the market publishes as entries of the flat vector: version 2 of the observation is version 1 and these behind it.

Scales are those of :mod:`gridpilot.market.encoding`: prices are asinh(price / running size of the energy price), and every entry lies in
[-10, 10]. :func:`published_fields` names the entries.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from gridpilot.market.auction import truncate_supply
from gridpilot.market.compilation import kernel
from gridpilot.market.encoding import BOUND, SIZE, Field, relative
from gridpilot.market.publication import AUCTION_HI, AUCTION_LO, MARGIN_IS_BID, MEAN_PRICE

__all__ = ["N_RESIDUAL", "encode_published", "n_published", "published_fields"]

N_RESIDUAL: Final = 8  # quantities at which the supply that is left to the site is priced
_RESULTS: Final = 4  # entries before those of the supply steps


def n_published(n_steps: int) -> int:
    """Number of entries in a market of so many supply steps."""
    return _RESULTS + n_steps + 1 + N_RESIDUAL


def published_fields(n_steps: int) -> list[Field]:
    """Name and meaning of every entry, in order; "price" stands for asinh(price / running size of the energy price)."""
    entries = [
        ("last_price_lo", "highest losing price of the last tick, price; -10 where nothing lost"),
        ("last_price_hi", "lowest winning price of the last tick, price; 10 where nothing could win"),
        ("last_mean_price", "what all sites paid in the last tick over what they won, price; 0 where nothing was sold"),
        (
            "last_margin_is_bid",
            "1 where the highest losing price of the last tick is that of a bid alone, 0 where a supply step has it",
        ),
        *(
            (f"last_supply_{s}", f"kW of supply step {s} that were sold in the last tick / nominal capacity")
            for s in range(n_steps)
        ),
        ("curve_known", "1 where rivals' bids of an earlier tick are public, 0 where none are"),
        *(
            (
                f"residual_price_{j}",
                f"price of the dearest unit that {j + 1}/{N_RESIDUAL} of the grid connection would take from those bids and this tick's "
                "supply, price; 10 beyond all supply",
            )
            for j in range(N_RESIDUAL)
        ),
    ]
    return [Field(*entry) for entry in entries]


@kernel
def encode_published(
    ladder: Any,  # (S, 2) share of the capacity, $/kWh over the energy price
    reserve: float,
    nominal_kw: float,
    market: Any,  # (M,) row of what is public
    grid_kw: Any,  # (M,)
    energy: Any,  # (P,) $/kWh
    capacity_kw: Any,  # (P,)
    levels: Any,  # (P, N_LEVELS)
    auction: Any,  # (P, N_AUCTION), nan before the first tick
    supply_used: Any,  # (P, S) kW, nan before the first tick
    curves: Any,  # (M, L, 2) the rivals' last public bids, 0 kW behind the last
    out: Any,  # (M, E) float32, out
) -> None:
    """Encode what is published for each of M seats; 0 where nothing is yet."""
    n_ladder = len(ladder)
    supply, steps = np.empty((1, n_ladder, 2)), np.empty((n_ladder + 1, 4))
    for m in range(len(market)):
        p = market[m]
        size, known = levels[p, SIZE], not math.isnan(auction[p, AUCTION_LO])
        out[m, 0] = relative(auction[p, AUCTION_LO], size) if known else 0.0
        out[m, 1] = relative(auction[p, AUCTION_HI], size) if known else 0.0
        paid = auction[p, MEAN_PRICE]
        out[m, 2] = 0.0 if math.isnan(paid) else relative(paid, size)
        out[m, 3] = auction[p, MARGIN_IS_BID] if known else 0.0
        for s in range(n_ladder):
            out[m, _RESULTS + s] = supply_used[p, s] / nominal_kw if known and nominal_kw > 0.0 else 0.0
            supply[0, s, 0], supply[0, s, 1] = ladder[s, 0] * capacity_kw[p], energy[p] + ladder[s, 1]
        at = _RESULTS + n_ladder
        out[m, at] = 1.0 if curves.shape[1] > 0 and curves[m, 0, 0] > 0.0 else 0.0
        n_steps, total = truncate_supply(supply, 0, capacity_kw[p], reserve, steps)
        # The unit just below position T - x of the rivals' blocks and the steps, dearest first; the largest x is met first.
        j, k, s, position, price = N_RESIDUAL - 1, 0, n_steps - 1, 0.0, math.inf
        while j >= 0 and total - grid_kw[m] * (j + 1) / N_RESIDUAL < 0.0:
            out[m, at + 1 + j] = BOUND
            j -= 1
        while j >= 0:
            asked = k < curves.shape[1] and curves[m, k, 0] > 0.0
            if asked and (s < 0 or curves[m, k, 1] >= steps[s, 1]):
                position, price = position + curves[m, k, 0], curves[m, k, 1]
                k += 1
            elif s >= 0:
                position, price = position + steps[s, 0], steps[s, 1]
                s -= 1
            else:
                position = math.inf  # rounding: all that there is does not quite reach T - x
            while j >= 0 and total - grid_kw[m] * (j + 1) / N_RESIDUAL < position:
                out[m, at + 1 + j] = relative(price, size)
                j -= 1
