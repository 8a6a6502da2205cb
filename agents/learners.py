"""Learners' seats of an arena: from their actions to orders, by a bidding rule where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.agents.bidding.base import build_bidding_rule
from gridpilot.agents.encoding import decode, decode_seats
from gridpilot.agents.view import View, Window
from gridpilot.market.arena import Arena

__all__ = ["Learners"]


class Learners:
    """Bids of actions of version 2 at ``seats (B, S)`` of an arena.

    ``bidding``  the name of a rule of ``conf/bidding`` that makes bids of the values that an action states, of what the agent ``learned``
                 would see in these seats, so that it bids the same; ``None``: the action is the order
    ``markets``  the rows ``(B,)`` of the arena's markets that are meant, ascending; by default all of them

    To be made before the arena's :class:`~gridpilot.agents.seating.Seating`, as it makes room for stated blocks.
    """

    def __init__(
        self, arena: Arena, seats: npt.NDArray[np.int64], bidding: str | None, markets: npt.NDArray[np.int64] | None = None
    ) -> None:
        self._arena, self._seats = arena, seats
        self._markets = np.arange(len(seats)) if markets is None else markets
        self._rule = None if bidding is None else build_bidding_rule(bidding)
        self._view: View
        if self._rule is not None:
            market = np.repeat(self._markets, seats.shape[1])
            writes = ("storage_value", "commitment", *self._rule.writes)
            room = self._rule.stated_blocks
            self._window = Window(arena, market, seats.ravel(), reads=self._rule.reads, writes=writes, stated_blocks=room)
            if arena.orders.blocks.shape[2] < room:
                arena.make_room(room)

    def reset(self) -> None:
        """Begin the episode that the arena has started."""
        if self._rule is not None:
            self._view = self._window.open(np.zeros(self._seats.size, dtype=np.uint64))
            self._rule.reset_batch(self._view)
            self._window.take(everything=True)

    def bid(self, actions: npt.NDArray[Any]) -> None:
        """Write the orders of ``actions (B, S, 2 + K)`` for the coming tick to the arena's."""
        if self._rule is None:
            decode_seats(actions, self._arena, self._seats, self._markets)
            return
        self._window.look(self._view)
        decode(actions.reshape(self._seats.size, -1), self._view, bidding=self._rule)
        self._window.take()
