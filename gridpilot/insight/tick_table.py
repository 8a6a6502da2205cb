"""What happened in every tick at every seat, as a table: a row a match, tick and seat, units in the names of the columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gridpilot.errors import TournamentError
from gridpilot.files import write_atomically
from gridpilot.insight.replay import Played
from gridpilot.market.auction import PRICE_HI, PRICE_LO, SUPPLY_COST, VOLUME, WELFARE
from gridpilot.market.physics import CHARGED, COOLING, DISCHARGED, DRAWN, MACHINES, PAYMENT, PROFIT, REVENUE, WEAR, WON
from gridpilot.market.step import NO_BID, OWN_CURVE, SHADED_CURVE, STATED_BLOCKS

__all__ = ["BID_KINDS", "tick_table", "write_tick_table"]

BID_KINDS = {OWN_CURVE: "own curve", SHADED_CURVE: "shaded curve", STATED_BLOCKS: "stated blocks", NO_BID: "no bid"}

_OUTCOME = {
    "won_kw": WON,
    "drawn_kw": DRAWN,
    "machines_kw": MACHINES,
    "cooling_kw": COOLING,
    "charged_kw": CHARGED,
    "discharged_kw": DISCHARGED,
    "revenue_dollars": REVENUE,
    "payment_dollars": PAYMENT,
    "wear_dollars": WEAR,
    "profit_dollars": PROFIT,  # without what is stored
}
_TOTALS = {
    "highest_losing_price_dollars_per_kwh": PRICE_LO,  # -inf where nothing lost
    "lowest_winning_price_dollars_per_kwh": PRICE_HI,  # inf where nothing can win
    "market_volume_kw": VOLUME,
    "market_welfare_dollars_per_hour": WELFARE,
    "market_supply_cost_dollars_per_hour": SUPPLY_COST,
}


def tick_table(played: Played) -> pd.DataFrame:
    """The table of all matches of ``played``, in the order match, tick, seat.

    States (``stored_kwh``, ``hall_c``, ``machine_class_kw``) are those before the tick; lists have an entry a block of the bid or a machine
    class. ``nash_conv_dollars_per_hour`` is the sum over seats of what best responses would have got more. ``rationale`` is JSON of what
    the agent says itself, "" where it says nothing.
    """
    trace, (ticks, b, n) = played.trace, played.trace.kind.shape
    prices, capacity = played.prices(), played.capacity_kw()

    def seats(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(T, B, N) by match, tick and seat."""
        return array.swapaxes(0, 1).ravel()

    def market(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.repeat(array.swapaxes(0, 1).ravel(), n)

    def matches(values: list[Any]) -> npt.NDArray[Any]:
        return np.repeat(np.array(values), ticks * n)

    tick = np.broadcast_to(np.arange(ticks)[:, None], (ticks, b))
    blocks = trace.bids.swapaxes(0, 1).reshape(-1, trace.bids.shape[3], 2)
    kept = blocks[:, :, 0] > 0.0
    columns: dict[str, Any] = {
        "episode": matches([match.episode for match in trace.matches]),
        "lineup": matches([match.lineup for match in trace.matches]),
        "rotation": matches([match.rotation for match in trace.matches]),
        "tick": market(tick),
        "seat": np.tile(np.arange(n), b * ticks),
        "site": [site.name for site in trace.arena.sites] * (b * ticks),
        "agent": [agent for match in trace.matches for agent in match.seats * ticks],
        "bid_kind": [BID_KINDS[int(kind)] for kind in seats(trace.kind)],
        "bid_refused": seats(trace.refused),
        "bid_kw": blocks[:, :, 0].sum(axis=1),
        "bid_blocks_kw": [list(bid[keep, 0]) for bid, keep in zip(blocks, kept, strict=True)],
        "bid_blocks_dollars_per_kwh": [list(bid[keep, 1]) for bid, keep in zip(blocks, kept, strict=True)],
        "storage_value_dollars_per_kwh": seats(trace.storage_value),
        **{name: seats(trace.outcome[..., column]) for name, column in _OUTCOME.items()},
        "regret_dollars_per_hour": seats(trace.gain),
        "stored_kwh": seats(trace.storage[:-1, ..., 0]),
        "stored_after_kwh": seats(trace.storage[1:, ..., 0]),
        "hall_c": seats(trace.storage[:-1, ..., 1]),
        "hall_after_c": seats(trace.storage[1:, ..., 1]),
        "machine_class_kw": list(trace.machine_kw[:-1].swapaxes(0, 1).reshape(b * ticks * n, -1)),
        "energy_price_dollars_per_kwh": market(prices[..., 0]),
        "hash_price_dollars_per_ph_hour": market(prices[..., 1]),
        "token_price_dollars_per_million": market(prices[..., 2]),
        "clearing_price_dollars_per_kwh": market(trace.price),
        "capacity_kw": market(capacity),
        **{name: market(trace.totals[..., column]) for name, column in _TOTALS.items()},
        "nash_conv_dollars_per_hour": market(trace.gain.sum(axis=2)),
        "rationale": [
            json.dumps(dict(said)) if (said := played.reasons.get((m, t, s))) else ""
            for m in range(b)
            for t in range(ticks)
            for s in range(n)
        ],
    }
    return pd.DataFrame(columns)


def write_tick_table(played: Played, path: Path) -> None:
    """Write the table as Parquet. Raises :class:`~gridpilot.errors.TournamentError` when it cannot be written."""
    table = pa.Table.from_pandas(tick_table(played), preserve_index=False)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    write_atomically(path, buffer.getvalue().to_pybytes(), TournamentError)
