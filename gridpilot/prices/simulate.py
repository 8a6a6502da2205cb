"""Paths of a price model as columns: what ``gridpilot simulate-prices`` writes and Python gets as a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK
from gridpilot.memory import check_memory
from gridpilot.prices.base import CHANNELS, PriceModel, check_paths
from gridpilot.prices.load import load_prices

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["paths", "simulate_prices"]


_BYTES_A_ROW = 2 * 45  # of the columns, and of what they are made from


def simulate_prices(
    prices: str | Path | Mapping[str, Any] | pd.DataFrame = "ercot",
    *,
    episodes: int = 1,
    ticks: int = TICKS_PER_DAY,
    history: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Price paths, a row a tick: the rows of ``gridpilot simulate-prices``, columns as of :func:`paths`.

    ``prices`` as :func:`gridpilot.load_setup` takes them; ``episodes`` from 0, each of ``ticks`` ticks after ``history`` ticks of past.
    Equal seeds give equal paths. Raises :class:`~gridpilot.errors.PriceError` for prices that cannot be used and for sizes out of range.

    >>> frame = simulate_prices("ercot", ticks=12)
    >>> len(frame), list(frame.columns)
    (12, ['episode', 'tick', 'weekday', 'hour', 'energy', 'hash', 'token'])
    """
    import pandas as pd

    for name, value, least in (("episodes", episodes, 1), ("ticks", ticks, 1), ("history", history, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise PriceError(f"simulate_prices: {name} is {value!r}, expected a whole number of at least {least}")
    check_memory(
        episodes * (history + ticks) * _BYTES_A_ROW, f"simulate_prices: episodes={episodes:,}, ticks={ticks:,}", PriceError
    )
    return pd.DataFrame(paths(load_prices(prices), seed, np.arange(episodes), ticks, history))


def paths(model: PriceModel, seed: int, episodes: npt.NDArray[np.int64], ticks: int, history: int) -> dict[str, npt.NDArray[Any]]:
    """Columns of the given ``episodes``, a row a tick of each.

    ``episode``; ``tick`` from -history to ticks - 1; ``weekday`` (Monday 0) and ``hour`` of the tick; ``energy`` $/kWh, ``hash`` $ per
    PH/s h, ``token`` $ per million tokens. Raises :class:`~gridpilot.errors.PriceError` for a model that breaks its contract.
    """
    prices, start = model.simulate(seed, episodes, ticks, history=history)
    prices, start = check_paths(model, prices, start, history + ticks, len(episodes))
    tick = np.arange(-history, ticks)
    week = (start[:, None] + tick[None, :]) % TICKS_PER_WEEK
    return {
        "episode": np.repeat(episodes, len(tick)),
        "tick": np.tile(tick.astype(np.int32), len(episodes)),
        "weekday": (week // TICKS_PER_DAY).astype(np.int8).ravel(),
        "hour": (week % TICKS_PER_DAY / 12.0).ravel(),
        **{name: np.ascontiguousarray(prices[:, :, k].T).ravel() for k, name in enumerate(CHANNELS)},
    }
