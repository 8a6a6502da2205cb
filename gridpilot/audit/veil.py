"""What an agent must not see, replaced by made-up numbers while it is asked, and put back afterwards.

The numbers are written in place, so that every handle on the arena shows them: an agent that bids by what it must not see bids
otherwise than without the veil, however it came by it. What is true is kept as bytes meanwhile, which no search for arrays finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gridpilot.market.arena import Arena
from gridpilot.market.auction import N_TOTALS, PRICE_HI, PRICE_LO, VOLUME
from gridpilot.market.site import Site

__all__ = ["Veil", "Veiled"]

Array = npt.NDArray[Any]
Veiled = Literal["", "future", "rivals"]

_STATES = ("storage", "machine_kw", "outcome")


class Veil:
    """Hides ``what`` of ``arena`` from the agent in ``seats``, the same in every market: nothing, the future, or its rivals.

    Of rivals it changes plants, states, results and orders, not the public results.
    """

    def __init__(self, arena: Arena, seats: list[int], what: Veiled) -> None:
        self._arena, self._what = arena, what
        self._rivals = [seat for seat in range(arena.n_sites) if seat not in seats]
        self._random = np.random.default_rng(1)

    @contextmanager
    def drawn(self, known: int) -> Iterator[None]:
        """Hide it in the body; ``known`` rows of the scenario are past or present."""
        hidden = [(array, array.tobytes()) for array in self._hidden(known)]
        sites = self._arena.sites
        try:
            for array, _ in hidden:
                self._make_up(array)
            if self._what == "rivals":
                self._arena.sites = self._other_sites()
            yield
        finally:
            self._arena.sites = sites
            for array, truth in hidden:
                array[...] = np.frombuffer(truth, dtype=array.dtype).reshape(array.shape)

    def _hidden(self, known: int) -> Iterator[Array]:
        """Views of what is hidden, each writable in place."""
        arena, scenario = self._arena, self._arena.scenario
        if self._what == "future":
            yield from (scenario.prices[known:], scenario.ambient[known:], scenario.capacity[known:])
        if self._what == "rivals":
            for seat in self._rivals:
                yield from (getattr(arena, name)[:, seat] for name in _STATES)
                yield from (array[:, seat] for array in arena.orders)
                yield from (arena.arrays.class_kw[seat], arena.arrays.output[seat])
                plant = arena.arrays.plant[seat : seat + 1]
                yield from (plant[name] for name in PLANT_FIELDS)
            yield from (arena.totals[:, column] for column in range(N_TOTALS) if column not in PUBLIC_TOTALS)

    def _make_up(self, array: Array) -> None:
        """Numbers of the same kind and size, every one another."""
        if array.dtype == np.bool_:
            array[...] = ~array
        elif array.dtype == np.int8:  # the kind of an order
            array[...] = (array + 1) % 4
        else:
            factor = self._random.uniform(0.2, 3.0, array.shape)
            array[...] = np.where(np.isfinite(array), array, 0.05) * factor + self._random.uniform(0.001, 0.02, array.shape)

    def _other_sites(self) -> tuple[Site, ...]:
        sites = list(self._arena.sites)
        for seat in self._rivals:
            sites[seat] = Site(f"{sites[seat].name}, another", (), grid_kw=1.0 + 2.0 * sites[seat].grid_kw)
        return tuple(sites)


PUBLIC_TOTALS = (VOLUME, PRICE_LO, PRICE_HI)
PLANT_FIELDS = ("grid_kw", "ramp_kw", "boot_loss", "battery_kw", "soc_min", "soc_max", "soc_start", "cooling_kw", "wear")
