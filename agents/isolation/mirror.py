"""What an agent is shown, built anew in its process from what changes tick by tick.

``news_of_view`` and :class:`ObservationNews` are the parent's side, the mirrors the agent's. Both sides count what has been told, so that
an episode's past crosses once, whichever ticks a seat is asked in.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.agents.isolation.wire import fill
from gridpilot.agents.view import READABLE, SEALED, View
from gridpilot.market.arena import Orders
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.plant import SiteState
from gridpilot.market.site import Site

__all__ = ["ObservationMirror", "ObservationNews", "ViewMirror", "news_of_view"]

Array = npt.NDArray[Any]

_SERIES: Final = ("history", "cleared")  # grow by a row a tick
_LOOK: Final = struct.Struct("<dq")  # time limit s, tick


def news_of_view(view: View, limit: float) -> bytes:
    """What the view holds that it did not in the tick before."""
    parts = [_LOOK.pack(limit, view.tick)] + [array.tobytes() for array in _fields(view).values()]
    parts += [rows[-1:].tobytes() for name in _SERIES if (rows := view.__dict__.get(name)) is not None]
    return b"".join(parts)


def _fields(view: View) -> dict[str, Array]:
    return {name: view.__dict__[name] for name in (*READABLE, *SEALED) if name not in _SERIES and name in view.__dict__}


class ViewMirror:
    """The agent's view, from the first one that was sent, whose arrays become its buffers.

    As in a :class:`~gridpilot.agents.view.Window`, the agent has views of the buffers: whatever it does to the form of its own arrays, the
    buffers stay as they are. ``orders`` are those that it writes into.
    """

    def __init__(self, view: View) -> None:
        self.view, self.orders = view, view.orders
        self._fields, self._series = _fields(view), {}
        for name, array in self._fields.items():
            setattr(view, name, array.view())
        for name in _SERIES:
            if name in view.__dict__:
                past: Array = getattr(view, name)
                buffer = np.full((len(past) + view.ticks - view.tick, *past.shape[1:]), math.nan)
                buffer[: len(past)] = past
                self._series[name] = buffer, len(past)
                setattr(view, name, buffer[: len(past)])
        view.orders = Orders._make(array.view() for array in view.orders)

    def look(self, news: bytes) -> tuple[View, float]:
        """Bring the view up to date; also the time limit of the question."""
        view, told = self.view, 0
        limit, view.tick = _LOOK.unpack_from(news)
        told = fill(list(self._fields.values()), news, _LOOK.size)
        for name, (buffer, first) in self._series.items():
            rows = first + view.tick
            if len(news) > told:  # in the first tick nothing has been cleared yet
                told = fill([buffer[rows - 1 : rows]], news, told)
            setattr(view, name, buffer[:rows])
        return view, limit


class ObservationNews:
    """What the agent in one seat has not been told yet."""

    def __init__(self) -> None:
        self._rows = self._cleared = 0

    def of(self, seen: Observation) -> tuple[Any, ...]:
        """What is new in ``seen``: bytes for arrays, numbers for the rest."""
        prices, cleared = seen.history[self._rows :].tobytes(), seen.cleared[self._cleared :].tobytes()
        self._rows, self._cleared = len(seen.history), len(seen.cleared)
        state = seen.state
        return (
            (prices, cleared, state.machine_kw.tobytes()),
            (state.soc_kwh, state.theta_c),
            (seen.tick, seen.week_tick, seen.ambient_c, seen.capacity_kw, seen.capacity_hour_ago_kw, seen.last_price, seen.last),
            None if seen.rivals_curve is None else seen.rivals_curve.tobytes(),
        )


class ObservationMirror:
    """The observations of one seat, from what is new in each."""

    def __init__(self, site: Site, market: MarketInfo) -> None:
        self._site, self._market = site, market
        self._prices, self._cleared = _Rows(3), _Rows(2)

    def observation(self, news: tuple[Any, ...]) -> Observation:
        """The observation that there was news of. Its arrays are copies, as the agent may write into them."""
        (prices, cleared, machine_kw), (soc_kwh, theta_c), public, curve = news
        tick, week_tick, ambient, capacity, hour_ago, last_price, last = public
        rules, seat = self._market.rules, self._market.seat
        return Observation(
            site=self._site,
            market=MarketInfo(rules, self._market.n_sites, self._market.n_classes, seat, self._market.ticks),
            tick=tick,
            week_tick=week_tick,
            history=self._prices.grown(prices),
            ambient_c=ambient,
            capacity_kw=capacity,
            capacity_hour_ago_kw=hour_ago,
            state=SiteState(soc_kwh, theta_c, np.frombuffer(machine_kw).copy()),
            cleared=self._cleared.grown(cleared),
            last_price=last_price,
            last=last,
            rivals_curve=None if curve is None else np.frombuffer(curve).reshape(-1, 2).copy(),
        )


class _Rows:
    """Rows that grow in a buffer of twice their number."""

    def __init__(self, width: int) -> None:
        self._buffer, self._known = np.empty((0, width)), 0

    def grown(self, more: bytes) -> npt.NDArray[np.float64]:
        """A copy of all rows, with those in ``more`` appended."""
        new = np.frombuffer(more).reshape(-1, self._buffer.shape[1])
        end = self._known + len(new)
        if end > len(self._buffer):
            self._buffer = np.concatenate((self._buffer[: self._known], np.empty((2 * end - self._known, self._buffer.shape[1]))))
        self._buffer[self._known : end] = new
        self._known = end
        return self._buffer[:end].copy()
