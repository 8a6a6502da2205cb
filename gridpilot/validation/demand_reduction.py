"""Under a uniform price a buyer of several units asks for fewer; and buyers facing scarce supply (Fabra et al., mirrored)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from gridpilot.market.clearing import Mechanism
from gridpilot.validation.row import Figure, FloatArray, Result, best_of, exact, mean_of
from gridpilot.validation.study import Study, uniform_values

__all__ = ["DEMAND_REDUCTION", "SCARCE_SUPPLY"]

DRAWS: Final = 200_000
SCARCITIES: Final = (1.25, 1.5)  # theta, kW of supply for two buyers of 1 kW each


def _demand_reduction(study: Study) -> Iterator[Figure]:
    # Two units; A values both at 10, B one at 8.
    supply, rival = [(2.0, 0.0)], [(1.0, 8.0)]
    truthful = study.clear([[(2.0, 10.0)], rival], supply, "uniform")
    yield exact("two units, uniform, truthful: surplus of A", 4.0, truthful.surplus[0])
    reduced = study.clear([[(1.0, 10.0)], rival], supply, "uniform")
    yield exact("two units, uniform, A asks for one: surplus of A", 10.0, reduced.surplus[0])
    yield exact("two units, uniform, truthful: welfare", 20.0, truthful.welfare)
    yield exact("two units, uniform, A asks for one: welfare", 18.0, reduced.welfare)
    yield exact("two units, vcg: surplus of A", 12.0, study.clear([[(2.0, 10.0)], rival], supply, "vcg").surplus[0])
    yield from _two_flat_demands(study)


def _flat(first: FloatArray, second: FloatArray) -> FloatArray:
    """Bids ``(B, N, 2, 2)`` of 1 kW at the price ``first (B, N)`` and 1 kW at ``second``."""
    prices = np.stack([first, second], axis=-1)
    return np.stack([np.ones_like(prices), prices], axis=-1)


def _two_flat_demands(study: Study) -> Iterator[Figure]:
    # Two buyers, each with one value U[0, 1] for both of two units. In the equilibrium of Ausubel et al. both bid it for the first unit
    # and nothing for the second. Bidding b for the second one earns 2 v b - b^2 + (v - b)(1 - b) = v - b (1 - v): best at b = 0.
    values = uniform_values(study, "two flat demands", DRAWS, 2)
    supply = [[2.0, 0.0]]
    none = np.zeros_like(values)
    equilibrium = study.clear_batch(_flat(values, none), supply, "uniform")
    truthful = study.clear_batch(_flat(values, values), supply, "vcg")
    yield exact("two flat demands, uniform equilibrium: revenue", 0.0, equilibrium.payment.sum(axis=1).mean())
    yield mean_of("two flat demands, vcg: revenue", 2.0 / 3.0, truthful.payment.sum(axis=1))
    # Each gets one unit, 1/2 + 1/2, where the higher value could have both, 2 x 2/3.
    lost = mean_of("two flat demands: welfare of the equilibrium, of vcg's", 0.0, equilibrium.welfare - 0.75 * truthful.welfare)
    ratio = float(equilibrium.welfare.mean() / truthful.welfare.mean())
    yield Figure(lost.what, 0.75, ratio, lost.tolerance * 0.75)

    shares = np.arange(0.0, 1.01, 0.1)
    some = slice(0, max(50, len(values) // 4))
    earned = []
    for share in shares:
        second = none[some].copy()
        second[:, 0] = share * values[some, 0]
        found = study.clear_batch(_flat(values[some], second), supply, "uniform")
        earned.append(values[some, 0] * found.allocation[:, 0] - found.payment[:, 0])
    # With b = share v the mean of v - share v (1 - v) is 1/2 - share / 6.
    yield mean_of("two flat demands, half the value bid for the second unit: surplus", 5.0 / 12.0, earned[5])
    yield best_of("two flat demands: best share of the value bid for the second unit", 0.0, shares, np.array(earned))


def mixed_bids(shares: FloatArray, theta: float) -> FloatArray:
    """Bids of the pay-as-bid equilibrium, from ``shares`` uniform on [0, 1].

    Two buyers of 1 kW each, worth 1, and theta kW of free supply, 1 < theta < 2: who bids more gets 1, the other theta - 1. Bidding 0
    earns theta - 1, and so must every bid: ``(1 - b) (F + (1 - F) (theta - 1)) = theta - 1``, from which ``F = c b / (1 - b)`` on
    [0, 2 - theta] with ``c = (theta - 1) / (2 - theta)``. This inverts F.
    """
    c = (theta - 1.0) / (2.0 - theta)
    return shares / (c + shares)


def _scarce_supply(study: Study) -> Iterator[Figure]:
    for theta in SCARCITIES:
        bids = mixed_bids(uniform_values(study, f"scarce supply {theta}", DRAWS, 2), theta)
        found = _cleared(study, bids, theta, "pay_as_bid")
        yield mean_of(f"{theta} kW for two, pay_as_bid: profit", theta - 1.0, found.allocation[:, 0] - found.payment[:, 0])
        yield mean_of(f"{theta} kW for two, pay_as_bid: revenue", 2.0 - theta, found.payment.sum(axis=1))
        for share in (0.25, 0.75):  # no bid up to the highest one earns anything else
            fixed = bids.copy()
            fixed[:, 0] = share * (2.0 - theta)
            found = _cleared(study, fixed, theta, "pay_as_bid")
            what = f"{theta} kW for two, pay_as_bid: profit of the bid {fixed[0, 0]:g}"
            yield mean_of(what, theta - 1.0, found.allocation[:, 0] - found.payment[:, 0])
        # Uniform: A bids its value and B nothing. A pays 0; B can only get more by paying A's bid, which is worth nothing to it.
        worst = _cleared(study, np.array([[1.0, 0.0]]), theta, "uniform")
        yield exact(f"{theta} kW for two, uniform, bids 1 and 0: revenue", 0.0, worst.payment.sum())
        other = np.linspace(0.0, 1.5, 31)
        deviations = _cleared(study, np.column_stack([np.ones(31), other]), theta, "uniform")
        gains = deviations.allocation[:, 1] - deviations.payment[:, 1]
        yield exact(f"{theta} kW for two, uniform: best profit of the one who bids 0", theta - 1.0, gains.max())
        # Truthful, each loses 1 - theta / 2 at the other's price: the same revenue as pay-as-bid's, exactly.
        vcg = _cleared(study, np.ones((1, 2)), theta, "vcg")
        yield exact(f"{theta} kW for two, vcg: revenue", 2.0 - theta, vcg.payment.sum())


def _cleared(study: Study, bids: FloatArray, theta: float, mechanism: Mechanism) -> Any:
    blocks = np.stack([np.ones_like(bids), bids], axis=-1)[:, :, None, :]
    return study.clear_batch(blocks, [[theta, 0.0]], mechanism)


DEMAND_REDUCTION = Result("demand_reduction", "Ausubel, Cramton, Pycia, Rostek and Weretka 2014", _demand_reduction)
SCARCE_SUPPLY = Result("scarce_supply", "Fabra, von der Fehr and Harbord 2006, with buyers for sellers", _scarce_supply)
