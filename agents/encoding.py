"""What a learner sees as a vector, and what it answers as orders: the same for agents on arrays and for environments.

An agent hands over its view: :func:`encode` and :func:`decode`. An environment hands over its arena and the learners' seats:
:func:`encode_seats` and :func:`decode_seats`. The entries of a vector are named by :func:`gridpilot.market.encoding.fields`, those of an
action by :mod:`gridpilot.market.action`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.agents.bidding.base import BiddingRule
from gridpilot.agents.view import View
from gridpilot.errors import BidError
from gridpilot.market.action import N_PRICES_OF_TIME, decode_rows
from gridpilot.market.arena import Arena
from gridpilot.market.clearing import check_reserve, check_supply
from gridpilot.market.encoding import encode_rows, n_fields
from gridpilot.market.observation import Observation
from gridpilot.market.publication import rivals_curves
from gridpilot.market.published_encoding import encode_published, n_published
from gridpilot.market.site import SiteArrays

__all__ = ["PUBLISHED", "READS", "decode", "decode_seats", "encode", "encode_observation", "encode_seats", "with_room_for"]

FloatArray = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]

READS: Final = (
    "history", "cleared", "prices", "ambient_c", "capacity", "capacity_hour_ago", "week_tick", "last_price", "levels", "storage",
    "machine_kw", "outcome",
)  # fmt: skip
"""Fields of a view that the two functions need."""
PUBLISHED: Final = ("auction", "supply_used", "rivals_curve")
"""Those that ``encode`` needs besides for ``published``."""


def encode(view: View, n_classes: int | None = None, *, published: bool = False) -> Vectors:
    """What the seats of ``view`` see now: a new array ``(M, D)``, the rows that ``observation.to_vector()`` gives seat by seat.

    ``n_classes`` is the number of machine classes that the vector has room for, by default the market's; of a plant that has more, see
    :func:`with_room_for`. With ``published`` it is version 2 of the observation, ``to_vector(published=True)``.
    """
    plants, machine_kw, nominal = view.plants, view.machine_kw, view.rules.capacity_kw
    wanted = plants.n_classes if n_classes is None else n_classes
    classes = max(wanted, int(plants.plant["n_classes"].max()))
    if classes != plants.n_classes:
        plants, machine_kw = _with_classes(plants, classes), _columns(machine_kw, classes, 0.0)
    volume = view.cleared[-1, :, 1].copy() if view.tick else np.zeros(view.n_markets)
    out = np.empty((len(view.plant), n_fields(plants.n_classes)), dtype=np.float32)
    encode_rows(
        *plants, nominal, view.plant, view.market, view.history, view.ambient_c, _share(view.capacity, nominal),
        _share(view.capacity_hour_ago, nominal), view.week_tick, view.levels, view.last_price, volume, machine_kw, view.storage,
        view.outcome, out,
    )  # fmt: skip
    vectors = with_room_for(wanted, out, classes)
    if not published:
        return vectors
    told = np.empty((len(view.plant), n_published(len(view.rules.supply))), dtype=np.float32)
    encode_published(
        check_supply(view.rules.supply), check_reserve(view.rules.reserve), nominal, view.market, plants.plant["grid_kw"][view.plant],
        np.ascontiguousarray(view.prices[:, 0]), view.capacity * nominal, view.levels, view.auction, view.supply_used, view.rivals_curve,
        told,
    )  # fmt: skip
    return np.concatenate((vectors, told), axis=-1)


def encode_observation(observation: Observation, n_classes: int) -> Vectors:
    """What ``encode`` gives, for one seat: a new array ``(D,)``."""
    classes = max(n_classes, len(observation.site.fleet))
    roomy = dataclasses.replace(observation.market, n_classes=classes)
    return with_room_for(n_classes, dataclasses.replace(observation, market=roomy).to_vector(), classes)


def with_room_for(n_classes: int, vectors: Vectors, classes: int) -> Vectors:
    """Observations ``(..., D)`` of up to ``classes`` machine classes as ones of up to ``n_classes``, which are no more.

    They keep the first classes of a plant and the blocks of the highest value: what is left out is bid for all the same, as an order says
    what time is worth and not which machines run.
    """
    if n_classes == classes:
        return vectors
    own, blocks = n_fields(0) - 2 * _blocks(0), _blocks(classes)
    starts = (own, own + classes, own + 2 * classes, own + 2 * classes + blocks)
    counts = (n_classes, n_classes, _blocks(n_classes), _blocks(n_classes))
    kept = [np.arange(own), *(np.arange(start, start + count) for start, count in zip(starts, counts, strict=True))]
    return np.ascontiguousarray(vectors[..., np.concatenate(kept)])


def _blocks(classes: int) -> int:
    return 2 * classes + 3


def decode(actions: npt.ArrayLike, view: View, *, bidding: BiddingRule | None = None) -> None:
    """Write the orders of ``actions (M, 2 + K)`` in [-1, 1] to ``view.orders``.

    With ``bidding``, a rule whose ``reset_batch`` has begun the episode in ``view``, an action says what things are worth and the rule
    what is bid for them: the view's ``reads`` and ``writes`` have to name the rule's too.

    Raises :class:`~gridpilot.errors.BidError` for another shape. An action that is not finite is an order that the market refuses.
    """
    entries, orders, plants = _checked(actions, (len(view.plant),)), view.orders, view.plants
    kind = orders.kind if bidding is None else np.empty_like(orders.kind)  # else it is the rule's to say
    decode_rows(
        entries, np.arange(len(entries)), view.plant, view.market, plants.plant, plants.output, plants.product, view.prices, view.levels,
        kind, orders.storage_value, orders.commitment, orders.shade,
    )  # fmt: skip
    if bidding is not None:
        bidding.bid_batch(view)


def encode_seats(arena: Arena, seats: npt.NDArray[np.int64], *, published: bool = False) -> Vectors:
    """What ``seats (B, S)`` of the arena's markets see now: a new array ``(B, S, D)``.

    With ``published``, for which the arena has to ``publish``, it is version 2 of the observation.
    """
    out = np.empty((*seats.shape, n_fields(arena.arrays.n_classes)), dtype=np.float32)
    arena.encode(seats, out)
    if not published:
        return out
    scenario, rules = arena.scenario, arena.rules
    now = scenario.history + min(arena.tick, scenario.ticks - 1)
    market, seat = np.repeat(np.arange(len(seats)), seats.shape[1]), seats.ravel()
    bids = arena.published_bids()
    curves = np.zeros((len(seat), 0 if bids is None else arena.n_sites * bids.shape[2], 2))
    if bids is not None:
        rivals_curves(bids, market, seat, np.empty(arena.n_sites, dtype=np.int64), curves)
    told = np.empty((len(seat), n_published(len(rules.supply))), dtype=np.float32)
    encode_published(
        check_supply(rules.supply), check_reserve(rules.reserve), rules.capacity_kw, market, arena.arrays.plant["grid_kw"][seat],
        scenario.prices[now, :, 0].copy(), scenario.capacity[now] * rules.capacity_kw, arena.levels, arena.auction, arena.supply_used,
        curves, told,
    )  # fmt: skip
    return np.concatenate((out, told.reshape(*seats.shape, -1)), axis=-1)


def decode_seats(actions: npt.ArrayLike, arena: Arena, seats: npt.NDArray[np.int64], markets: Any = None) -> None:
    """Write the orders of ``actions (B, S, 2 + K)`` for ``seats (B, S)`` to the arena's.

    ``markets (B,)`` are the rows of the arena's markets that are meant, by default all of them. Raises
    :class:`~gridpilot.errors.BidError` for another shape.
    """
    entries, orders, arrays = _checked(actions, seats.shape), arena.orders, arena.arrays
    which = np.arange(len(seats)) if markets is None else np.asarray(markets, dtype=np.int64)
    market, site = np.repeat(which, seats.shape[1]), seats.ravel()
    scenario, flat = arena.scenario, arena.n_markets * arena.n_sites
    decode_rows(
        entries.reshape(len(site), -1), market * arena.n_sites + site, site, market, arrays.plant, arrays.output, arrays.product,
        scenario.prices[scenario.history + arena.tick], arena.levels, orders.kind.reshape(flat), orders.storage_value.reshape(flat),
        orders.commitment.reshape(flat, -1), orders.shade.reshape(flat, -1),
    )  # fmt: skip


def _with_classes(plants: SiteArrays, n_classes: int) -> SiteArrays:
    """The same plants laid out with ``n_classes`` columns of machine classes, which is enough for all."""
    return plants._replace(
        class_kw=_columns(plants.class_kw, n_classes, 0.0),
        output=_columns(plants.output, n_classes, 0.0),
        product=_columns(plants.product, n_classes, 1),
    )


def _columns(array: npt.NDArray[Any], width: int, fill: float) -> npt.NDArray[Any]:
    out = np.full((len(array), width), fill, dtype=array.dtype)
    kept = min(width, array.shape[1])
    out[:, :kept] = array[:, :kept]
    return out


def _share(capacity: FloatArray, nominal: float) -> FloatArray:
    """The share of the nominal capacity as who has kW works it out, so that both see the same to the last bit."""
    return capacity * nominal / nominal if nominal > 0.0 else np.zeros_like(capacity)


def _checked(actions: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    entries = np.asarray(actions)
    if entries.dtype.kind not in "fiu" or entries.shape[:-1] != shape or not entries.ndim or entries.shape[-1] < N_PRICES_OF_TIME:
        expected = ", ".join([*map(str, shape), f"{N_PRICES_OF_TIME} + K"])
        raise BidError(
            f"action: has shape {entries.shape} and type {entries.dtype}, expected an array of numbers of shape ({expected})"
        )
    return np.ascontiguousarray(entries, dtype=np.float64)
