"""A module that changes the market when it is imported."""

from __future__ import annotations

from cheats import Valuing

from gridpilot.market.arena import Arena

Arena.make_room = lambda self, stated_blocks: None  # type: ignore[method-assign]


class Innocent(Valuing):
    pass
