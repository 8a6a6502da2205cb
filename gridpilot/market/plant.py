"""One site at one tick, from Python: what its power is worth, and what it does with it. See :mod:`gridpilot.market.physics`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.market.compilation import kernel
from gridpilot.market.physics import (
    CHARGED,
    COOLING,
    DISCHARGED,
    DRAWN,
    N_CONTEXT,
    N_OUTCOME,
    REVENUE,
    WEAR,
    apply_dispatch,
    build_curve,
    coefficient_of_performance,
    default_commitment,
    fill_up,
    own_bid,
)
from gridpilot.market.site import Site, SiteArrays, pack_sites

__all__ = ["Dispatch", "SiteState", "default_commitment_value", "dispatch", "value_curve"]


@dataclass(frozen=True)
class SiteState:
    """What a plant carries from tick to tick."""

    soc_kwh: float  # kWh stored
    theta_c: float  # degC, hall
    machine_kw: npt.NDArray[np.float64]  # (C,) kW, power of each machine class in the last tick


@dataclass(frozen=True)
class Dispatch:
    """What a plant does with its power in one tick: kW each."""

    grid_kw: float
    machine_kw: npt.NDArray[np.float64]  # (C,)
    cooling_kw: float
    charge_kw: float
    discharge_kw: float
    revenue: float  # $ of the tick
    wear: float  # $ of the tick
    state: SiteState  # after the tick


def value_curve(
    site: Site,
    state: SiteState,
    prices: Any,
    ambient_c: float,
    last_price: float,
    mean_price: float,
    storage_value: float | None = None,
    commitment_value: Any = None,
) -> npt.NDArray[np.float64]:
    """What grid power is worth to ``site`` this tick: ``(k, 2)`` blocks of kW and $/kWh, non-increasing, k <= 2 C + 3.

    ``prices``            ``(3,)`` energy $/kWh, hash $ per PH/s h, token $ per million
    ``last_price``        clearing price of the last tick, $/kWh, and
    ``mean_price``        running mean of the energy price, $/kWh: both for the default commitment value alone
    ``storage_value``     $/kWh stored; ``None`` leaves the battery alone. Below ``-2 wear / (1/eta_d - eta_c)`` it counts as that.
    ``commitment_value``  ``(C,)`` $/kWh >= 0; ``None`` takes :func:`gridpilot.market.physics.default_commitment`
    """
    arrays = pack_sites([site])
    blocks = np.empty((2, arrays.n_blocks, 1))
    curve = _curve(arrays, state, prices, ambient_c, last_price, mean_price, storage_value, commitment_value)
    _curve_bid(*curve, blocks[0], blocks[1])
    return np.ascontiguousarray(blocks[:, blocks[0, :, 0] > 0.0, 0].T)


def dispatch(
    site: Site,
    state: SiteState,
    grid_kw: float,
    prices: Any,
    ambient_c: float,
    last_price: float,
    mean_price: float,
    storage_value: float | None = None,
    commitment_value: Any = None,
) -> Dispatch:
    """The best use of ``grid_kw`` of grid power, the argmax behind :func:`value_curve` (same arguments).

    Power worth less than giving it back, at the energy price where that is negative and for nothing where it is not, is not drawn.
    """
    arrays = pack_sites([site])
    curve = _curve(arrays, state, prices, ambient_c, last_price, mean_price, storage_value, commitment_value)
    outcome = np.empty((1, 1, N_OUTCOME))
    _curve_dispatch(*curve, grid_kw, outcome)
    machine_kw, storage = curve[4], curve[5]
    row = outcome[0, 0].tolist()
    after = SiteState(float(storage[0, 0, 0]), float(storage[0, 0, 1]), machine_kw[0, 0, : len(site.fleet)])
    return Dispatch(row[DRAWN], after.machine_kw, row[COOLING], row[CHARGED], row[DISCHARGED], row[REVENUE], row[WEAR], after)


def default_commitment_value(
    site: Site, prices: Any, ambient_c: float, last_price: float, mean_price: float
) -> npt.NDArray[np.float64]:
    """What having each machine class running is worth beyond this tick where nobody says otherwise, ``(C,)`` $/kWh.

    The rule is :func:`gridpilot.market.physics.default_commitment`; the arguments are those of :func:`value_curve`.
    """
    values = np.empty(len(site.fleet))
    row = np.array(prices, dtype=np.float64)
    _default_commitment(*pack_sites([site]), row, float(ambient_c), float(last_price), float(mean_price), values)
    return values


def _curve(
    arrays: SiteArrays,
    state: SiteState,
    prices: Any,
    ambient_c: float,
    last_price: float,
    mean_price: float,
    storage_value: float | None,
    commitment_value: Any,
) -> tuple[Any, ...]:
    """The arguments the two kernels below share."""
    machine_kw, commitment = np.zeros((1, 1, arrays.n_classes)), np.full((1, 1, arrays.n_classes), math.nan)
    machine_kw[0, 0, : len(state.machine_kw)] = state.machine_kw
    if commitment_value is not None:
        commitment[0, 0, : np.size(commitment_value)] = commitment_value
    storage = np.array([[[state.soc_kwh, state.theta_c]]], dtype=np.float64)
    value = math.nan if storage_value is None else float(storage_value)
    row = np.array([prices], dtype=np.float64)
    return (*arrays, machine_kw, storage, row, float(ambient_c), float(last_price), float(mean_price), value, commitment)


@kernel
def _default_commitment(
    plant: Any,
    class_kw: Any,
    output: Any,
    product: Any,
    prices: Any,
    ambient: float,
    last_price: float,
    mean_price: float,
    values: Any,
) -> None:
    m = 1.0 + 1.0 / coefficient_of_performance(plant[0], ambient)
    for c in range(len(values)):
        values[c] = default_commitment(plant[0], class_kw[0, c], prices[product[0, c]] * output[0, c], m, last_price, mean_price)


@kernel
def _curve_bid(
    plant: Any, class_kw: Any, output: Any, product: Any, machine_kw: Any, storage: Any, prices: Any, ambient: float, last_price: float,
    mean_price: float, storage_value: float, commitment: Any, bid_kw: Any, bid_price: Any,
) -> None:  # fmt: skip
    n_blocks = bid_kw.shape[0]
    kw, price, tag, context = (
        np.empty((1, n_blocks)),
        np.empty((1, n_blocks)),
        np.empty((1, n_blocks), np.int64),
        np.empty((1, N_CONTEXT)),
    )
    build_curve(
        plant, class_kw, output, product, 0, machine_kw, storage, prices, 0, ambient, last_price, mean_price, storage_value,
        commitment, False, kw, price, tag, context,
    )  # fmt: skip
    used = own_bid(kw, price, context, 0, plant[0].grid_kw, bid_kw, bid_price)
    fill_up(bid_kw, bid_price, 0, used, n_blocks)


@kernel
def _curve_dispatch(
    plant: Any, class_kw: Any, output: Any, product: Any, machine_kw: Any, storage: Any, prices: Any, ambient: float, last_price: float,
    mean_price: float, storage_value: float, commitment: Any, won_kw: float, outcome: Any,
) -> None:  # fmt: skip
    n_classes = class_kw.shape[1]
    n_blocks = 2 * n_classes + 3
    kw, price, tag, context = (
        np.empty((1, n_blocks)),
        np.empty((1, n_blocks)),
        np.empty((1, n_blocks), np.int64),
        np.empty((1, N_CONTEXT)),
    )
    build_curve(
        plant, class_kw, output, product, 0, machine_kw, storage, prices, 0, ambient, last_price, mean_price, storage_value,
        commitment, False, kw, price, tag, context,
    )  # fmt: skip
    use = np.zeros(2 * n_classes + 2)
    apply_dispatch(
        won_kw, 0.0, min(0.0, prices[0, 0]), plant, output, product, 0, prices, 0, ambient, kw, price, tag, context, machine_kw, storage,
        use, outcome,
    )  # fmt: skip
