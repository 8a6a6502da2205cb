"""What an agent on arrays is handed: its own seats, the public past, and orders of its own. Nothing else is in reach.

The arrays of a :class:`View` are the agent's own and are filled anew every tick by a :class:`Window`, which alone knows the arena. What
has not happened yet, and what rivals state, own or bid, is in none of them; writing into them moves nothing but the agent's own bids.
It is a fence, not a sandbox: an agent that walks the interpreter's frames is held by a process of its own only.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import AgentError
from gridpilot.market.arena import Arena, MarketRules, Orders, Scenario
from gridpilot.market.compilation import leaf_kernel
from gridpilot.market.encoding import HOUR
from gridpilot.market.publication import rivals_curves
from gridpilot.market.site import Site, SiteArrays
from gridpilot.market.step import OWN_CURVE
from gridpilot.market.units import TICKS_PER_WEEK

__all__ = ["ORDERS", "READABLE", "SEALED", "ClairvoyantView", "View", "Window"]

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Where the fields of a view come from: of P markets and tick ``now`` of the scenario, and of M seats.
_PUBLIC: Final[dict[str, Callable[[Arena, int], Array]]] = {
    "prices": lambda arena, now: arena.scenario.prices[now],
    "ambient_c": lambda arena, now: arena.scenario.ambient[now],
    "capacity": lambda arena, now: arena.scenario.capacity[now],
    "capacity_hour_ago": lambda arena, now: arena.scenario.capacity[max(now - HOUR, 0)],
    "week_tick": lambda arena, now: (arena.scenario.start + arena.tick) % TICKS_PER_WEEK,
    "last_price": lambda arena, now: arena.last_price,
    "levels": lambda arena, now: arena.levels,
    "auction": lambda arena, now: arena.auction,
    "supply_used": lambda arena, now: arena.supply_used,
}
_OWN: Final[dict[str, Callable[[Arena], Array]]] = {
    "storage": lambda arena: arena.storage,
    "machine_kw": lambda arena: arena.machine_kw,
    "outcome": lambda arena: arena.outcome,
    "refused": lambda arena: arena.refused,
}
READABLE: Final = ("history", "cleared", *_PUBLIC, *_OWN, "rivals_curve")
"""The fields of a view that an agent's ``reads`` may name."""
SEALED: Final = ("rivals_now",)
"""Those that only the ``reads`` of an agent may name whose class is clairvoyant."""
ORDERS: Final = Orders._fields
"""The orders that an agent's ``writes`` may name."""


class View:
    """M seats of one agent in P markets at the start of a tick. All arrays are the agent's own, and are filled in place every tick.

    ``market (M,)`` is each seat's row among the P markets, ``plant (M,)`` its row of ``plants``, the distinct sites that the agent plays;
    ``seed (M,)`` its random seed; ``rules``, ``n_sites`` and ``ticks`` describe the market; ``tick`` counts from 0. ``orders`` are the
    seats' orders, ``(M, ...)`` each. Filled, and there at all, if the agent's ``reads`` names them:

    ============== ================== =========================================================================================
    ``history``    ``(h, P, 3)``      energy $/kWh, hash and token prices, oldest first; the last row is this tick's
    ``cleared``    ``(tick, P, 2)``   clearing price $/kWh and volume kW of the ticks so far
    ``prices``     ``(P, 3)``         of this tick
    ``ambient_c``  ``(P,)``           degC
    ``capacity``   ``(P,)``           share of the nominal capacity, [0, 1]
    ``capacity_hour_ago`` ``(P,)``    the same an hour ago, or as long ago as is known
    ``week_tick``  ``(P,)``           tick of the week, Monday 00:00 is 0
    ``last_price`` ``(P,)``           $/kWh, clearing price of the last tick (at tick 0 the last energy price)
    ``levels``     ``(P, N_LEVELS)``  running price levels, columns in :mod:`gridpilot.market.encoding`
    ``storage``    ``(M, 2)``         kWh stored and degC of the hall; also as ``soc`` and ``theta``, ``(M,)`` each
    ``machine_kw`` ``(M, C)``         kW of each machine class in the last tick
    ``outcome``    ``(M, N_OUTCOME)`` own results of the last tick, columns in :mod:`gridpilot.market.physics`
    ``refused``    ``(M,)``           whether the last tick's order could not be carried out
    ``auction``    ``(P, N_AUCTION)`` public results of the last tick, columns in :mod:`gridpilot.market.publication`
    ``supply_used`` ``(P, S)``        kW of each supply step that were sold in the last tick, cheapest first; nan before the first
    ``rivals_curve`` ``(M, L, 2)``    kW and $/kWh in descending price: the bids of ``rules.curve_delay`` ticks ago without names, less
                                      the seat's own; 0 kW behind the last, and everywhere where there are none to be seen
    ============== ================== =========================================================================================
    """

    market: IntArray
    plant: IntArray
    seed: npt.NDArray[np.uint64]
    plants: SiteArrays
    rules: MarketRules
    n_sites: int
    ticks: int
    tick: int
    orders: Orders
    history: FloatArray
    cleared: FloatArray
    prices: FloatArray
    ambient_c: FloatArray
    capacity: FloatArray
    capacity_hour_ago: FloatArray
    week_tick: IntArray
    last_price: FloatArray
    levels: FloatArray
    storage: FloatArray
    machine_kw: FloatArray
    outcome: FloatArray
    refused: npt.NDArray[np.bool_]
    auction: FloatArray
    supply_used: FloatArray
    rivals_curve: FloatArray

    @property
    def soc(self) -> FloatArray:
        """KWh stored, ``(M,)``."""
        soc: FloatArray = self.storage[:, 0]
        return soc

    @property
    def theta(self) -> FloatArray:
        """DegC of the hall, ``(M,)``."""
        theta: FloatArray = self.storage[:, 1]
        return theta

    @property
    def n_markets(self) -> int:
        """Number of markets P."""
        return int(self.market[-1]) + 1

    def __getattr__(self, name: str) -> Any:
        if name in READABLE:
            raise AgentError(f"view: {name!r} is not filled, as the agent's reads does not name it")
        raise AttributeError(f"a view has no {name!r}")


class ClairvoyantView(View):
    """What an agent whose class is clairvoyant is handed besides: all that will happen in its P markets, and all sites of a market.

    Where its ``reads`` names it, ``rivals_now (M, L, 2)`` is what ``rivals_curve`` will be of this very tick: the orders of all others as
    they stand when it bids, which is after all who do not read it. Those who do bid in the order of their labels, all seats of one at
    once: of who has not bid yet it sees the orders of the tick before, and none in the first.
    """

    scenario: Scenario
    sites: tuple[Site, ...]
    rivals_now: FloatArray


class Window:
    """Between an arena and one agent on arrays: fills the agent's view, and takes its orders in.

    ``market``, ``seat``: where the agent sits, ``(M,)`` each, markets ascending. ``reads``, ``writes``: fields of the view that are
    filled, and orders that are taken in, every tick. ``stated_blocks``: blocks a seat may state. ``clairvoyant``: whether the future
    and the others' bids are shown. ``bids_last`` says that they are, so that the others have to bid before. Raises
    :class:`~gridpilot.errors.AgentError` for an unknown field.
    """

    def __init__(
        self,
        arena: Arena,
        market: IntArray,
        seat: IntArray,
        *,
        reads: Sequence[str],
        writes: Sequence[str],
        stated_blocks: int = 0,
        clairvoyant: bool = False,
    ) -> None:
        self._arena, self.market, self.seat, self.clairvoyant = arena, market, seat, clairvoyant
        readable = (*READABLE, *SEALED) if clairvoyant else READABLE
        self._reads, self._writes = _checked("reads", reads, readable), _checked("writes", writes, ORDERS)
        self.bids_last = "rivals_now" in self._reads
        self._stated_blocks = stated_blocks
        self.idle = not self._reads and not self._writes  # so that asking its agent every tick would change nothing
        self._row = market * arena.n_sites + seat  # of arrays (B N, ...)
        self._markets, self._market = np.unique(market, return_inverse=True)
        self._everywhere = len(self._markets) == arena.n_markets
        self._sites, self._plant = np.unique(seat, return_inverse=True)
        self._series: dict[str, FloatArray] = {}
        if {"auction", "supply_used", "rivals_curve"} & set(self._reads):
            arena.publish()

    def open(self, seed: npt.NDArray[np.uint64]) -> View:
        """The view for the episode that the arena has started, with clean orders; ``seed (M,)``."""
        arena, scenario = self._arena, self._arena.scenario
        view = ClairvoyantView() if self.clairvoyant else View()
        view.market, view.plant, view.seed = self._market.copy(), self._plant.copy(), seed.copy()
        view.plants = SiteArrays._make(array[self._sites] for array in arena.arrays)
        view.rules, view.n_sites, view.ticks = copy.deepcopy(arena.rules), arena.n_sites, scenario.ticks
        self._make_room()
        self._prepare()
        view.orders = self._orders
        for name, array in self._fields.items():
            setattr(view, name, array)
        for name, past in (("history", scenario.prices[: scenario.history + arena.tick]), ("cleared", arena.cleared[: arena.tick])):
            if name in self._series:
                self._series[name][: len(past)] = past if self._everywhere else past[:, self._markets]
        if isinstance(view, ClairvoyantView):
            played = self._markets
            view.scenario = Scenario(  # laid out in memory as any scenario, so that kernels are compiled for one layout
                np.take(scenario.prices, played, axis=1),
                np.take(scenario.ambient, played, axis=1),
                np.take(scenario.capacity, played, axis=1),
                scenario.start[played],
                scenario.history,
            )
            view.sites = copy.deepcopy(arena.sites)
        self.look(view)
        return view

    def look(self, view: View) -> None:
        """Fill ``view`` with the arena's tick."""
        arena = self._arena
        view.tick = tick = arena.tick
        for copy_field in self._standing:
            copy_field()
        now = arena.scenario.history + tick
        if "rivals_curve" in self._fields:
            self._see_rivals(arena.published_bids(), self._fields["rivals_curve"])
        if self.bids_last:
            self._see_rivals(arena.standing_bids(), self._fields["rivals_now"])
        for source, target in self._moving:
            self._copy(source(arena, now), target)
        for name, series in self._series.items():
            if name == "history":
                self._copy(arena.scenario.prices[now], series[now])
                view.history = series[: now + 1]
            else:
                if tick:
                    self._copy(arena.cleared[tick - 1], series[tick - 1])
                view.cleared = series[:tick]

    def _see_rivals(self, bids: FloatArray | None, curves: FloatArray) -> None:
        if bids is None:
            curves[:] = 0.0
        else:
            rivals_curves(bids, self.market, self.seat, np.empty(self._arena.n_sites, dtype=np.int64), curves)

    def take(self, *, everything: bool = False) -> None:
        """Take the agent's orders in: those it ``writes``, or all of them."""
        for take_order in self._all_orders if everything else self._written:
            take_order()

    def _make_room(self) -> None:
        """Allocate what the agent reads and writes. It gets the very arrays, none of which owns its memory and so could give it back."""
        arena, scenario = self._arena, self._arena.scenario
        m, p, c, k = len(self.market), len(self._markets), arena.arrays.n_classes, arena.arrays.n_blocks
        self._fields: dict[str, Array] = {}
        for name in self._reads:
            if name in _OWN:
                source = _OWN[name](arena)
                self._fields[name] = np.zeros((m, *source.shape[2:]), dtype=source.dtype).view()
            elif name in _PUBLIC:
                source = _PUBLIC[name](arena, scenario.history)
                self._fields[name] = np.zeros((p, *source.shape[1:]), dtype=source.dtype).view()
        for name in ("rivals_curve", "rivals_now"):
            if name in self._reads:
                width = max(k, arena.orders.blocks.shape[2])
                self._fields[name] = np.zeros((m, arena.n_sites * width, 2)).view()
        self._orders = Orders(
            np.full(m, OWN_CURVE, dtype=np.int8).view(),
            np.full(m, math.nan).view(),
            np.full((m, c), math.nan).view(),
            np.zeros((m, k)).view(),
            np.zeros((m, self._stated_blocks, 2)).view(),
        )
        for name, rows, width in (("history", len(scenario.prices), 3), ("cleared", scenario.ticks, 2)):
            if name in self._reads and (name not in self._series or self._series[name].shape != (rows, p, width)):
                # Not np.empty, which may hand out what somebody else has just freed: this very episode as it was simulated.
                self._series[name] = np.full((rows, p, width), math.nan)

    def _prepare(self) -> None:
        """Find the arena's arrays once an episode, as every tick of few markets would pay for it.

        Arrays of the agent are taken by views of their own: whatever it does to the form of its arrays, these stay as they are.
        """
        arena = self._arena
        self._standing: list[Callable[[], object]] = []  # copies of arrays that stay where they are
        self._moving: list[tuple[Callable[[Arena, int], Array], Array]] = []  # what is another row or array every tick
        for name, target in self._fields.items():
            if name in _OWN:
                self._standing.append(functools.partial(_gather, self._row, _rows(_OWN[name](arena), arena), _flat(target)))
            elif name in ("rivals_curve", "rivals_now"):
                continue
            elif name in ("last_price", "levels", "auction", "supply_used"):
                self._standing.append(functools.partial(self._copy, _PUBLIC[name](arena, 0), target.view()))
            else:
                self._moving.append((_PUBLIC[name], target.view()))
        self._all_orders: list[Callable[[], object]] = []
        self._written: list[Callable[[], object]] = []
        for name in ORDERS:
            into: Array = getattr(arena.orders, name)
            if into.size:
                take_order = functools.partial(_scatter, self._row, _flat(getattr(self._orders, name)), _rows(into, arena))
                self._all_orders.append(take_order)
                if name in self._writes:
                    self._written.append(take_order)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in vars(self).items() if name not in ("_standing", "_moving", "_all_orders", "_written")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "_fields" in state:
            self._prepare()  # views of a copy's arrays, not copies of views

    def _copy(self, source: Array, target: Array) -> None:
        if self._everywhere:
            target[:] = source
        else:
            np.take(source, self._markets, axis=0, out=target, mode="clip")


def _checked(what: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise AgentError(f"agent: its {what} names {name!r}, expected some of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def _rows(array: Array, arena: Arena) -> Array:
    """``(B, N, ...)`` as ``(B N, ...)``, flat within a row; never a copy."""
    return array.reshape(arena.n_markets * arena.n_sites, -1)


def _flat(array: Array) -> Array:
    """``(M, ...)`` as ``(M, W)``; never a copy."""
    return array.reshape(len(array), math.prod(array.shape[1:]))


@leaf_kernel
def _gather(row: Any, source: Any, target: Any) -> None:
    for i in range(len(row)):
        for k in range(target.shape[1]):
            target[i, k] = source[row[i], k]


@leaf_kernel
def _scatter(row: Any, source: Any, target: Any) -> None:
    for i in range(len(row)):
        for k in range(target.shape[1]):
            target[row[i], k] = source[i, k] if k < source.shape[1] else 0.0
