"""One unit, private values: revenue equivalence and first-price equilibria, symmetric and not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from gridpilot.market.clearing import Clearing, Mechanism
from gridpilot.validation.row import Figure, FloatArray, Result, best_of, close, exact, mean_of, variance_of
from gridpilot.validation.study import Study, one_unit, uniform_values

__all__ = ["ASYMMETRIC", "FIRST_PRICE", "REVENUE_EQUIVALENCE", "integral"]

DRAWS: Final = 200_000
FACTOR_STEP: Final = 0.025
SKEW: Final = 0.6  # z: values up to 1 / (1 + z) and 1 / (1 - z)


def integral(function: Callable[[FloatArray], FloatArray], low: float, high: float) -> float:
    """The integral of a smooth function by Gauss and Legendre's rule of 64 nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    half = (high - low) / 2.0
    return float(half * (weights * function(low + half * (nodes + 1.0))).sum())


def _sold(study: Study, bids: FloatArray, mechanism: Mechanism) -> Clearing:
    """One unit at no cost sold to the bids ``(B, N)``."""
    return study.clear_batch(one_unit(bids), [[1.0, 0.0]], mechanism)


def expected_revenue(n: int) -> float:
    """Of every standard auction of n values uniform on [0, 1]: the mean of the second highest, (n - 1) / (n + 1)."""
    return (n - 1) / (n + 1)


def second_price_variance(n: int) -> float:
    """Of the second highest of n, which is Beta(n - 1, 2): ab / ((a + b)^2 (a + b + 1))."""
    return 2 * (n - 1) / ((n + 1) ** 2 * (n + 2))


def first_price_variance(n: int) -> float:
    """Of (n - 1) / n times the highest of n, which is Beta(n, 1)."""
    return ((n - 1) / n) ** 2 * n / ((n + 1) ** 2 * (n + 2))


def _revenue_equivalence(study: Study) -> Iterator[Figure]:
    for n in (2, 4):
        values = uniform_values(study, f"revenue equivalence {n}", DRAWS, n)
        for mechanism, variance in (
            ("vcg", second_price_variance(n)),
            ("uniform", second_price_variance(n)),
            ("pay_as_bid", first_price_variance(n)),
        ):
            # Truthful where a price of others is paid; in a first-price auction at the equilibrium, (n - 1) / n of the value.
            bids = values * ((n - 1) / n) if mechanism == "pay_as_bid" else values
            revenue = _sold(study, bids, mechanism).payment.sum(axis=1)  # type: ignore[arg-type]  # one of the three
            yield mean_of(f"n = {n}, {mechanism}: revenue", expected_revenue(n), revenue)
            yield variance_of(f"n = {n}, {mechanism}: its variance", variance, revenue)


def _first_price(study: Study) -> Iterator[Figure]:
    # Against rivals who bid (n - 1) / n of their values, f v earns (1 - f) f^(n-1) up to a constant: best at (n - 1) / n.
    for n in (2, 4):
        values = uniform_values(study, f"first price {n}", DRAWS // 2, n)
        factors = np.arange(0.35, 1.0 + 1e-9, FACTOR_STEP)
        earned = np.empty((len(factors), len(values)))
        for k, factor in enumerate(factors):
            bids = values * ((n - 1) / n)
            bids[:, 0] = factor * values[:, 0]
            sold = _sold(study, bids, "pay_as_bid")
            earned[k] = values[:, 0] * sold.allocation[:, 0] - sold.payment[:, 0]
        yield best_of(f"n = {n}: best factor", (n - 1) / n, factors, earned)


def inverse_bid(bid: FloatArray, own: float, other: float) -> FloatArray:
    """The value whose equilibrium bid is ``bid`` where values are uniform up to ``own`` and the rival's up to ``other``.

    From the two first-order conditions ``(phi_i - b) phi_j' = phi_j``, which ``phi_i = 2 b / (1 + k_i b^2)`` solves with
    ``k_i = 1 / own^2 - 1 / other^2`` (Krishna, Auction Theory, ch. 4; Vickrey 1961).
    """
    k = 1.0 / own**2 - 1.0 / other**2
    return 2.0 * bid / (1.0 + k * bid**2)


def equilibrium_bid(value: FloatArray, own: float, other: float) -> FloatArray:
    """The inverse of :func:`inverse_bid`: ``(1 - sqrt(1 - k v^2)) / (k v)``, in the form without cancellation."""
    k = 1.0 / own**2 - 1.0 / other**2
    return value / (1.0 + np.sqrt(1.0 - k * value**2))


def _asymmetric(study: Study) -> Iterator[Figure]:
    low, high = 1.0 / (1.0 + SKEW), 1.0 / (1.0 - SKEW)
    top = low * high / (low + high)  # the highest bid of both
    values = study.rng("asymmetric").random((study.draws(DRAWS), 2)) * [low, high]

    def weak(bid: FloatArray) -> FloatArray:
        return inverse_bid(bid, low, high)

    def strong(bid: FloatArray) -> FloatArray:
        return inverse_bid(bid, high, low)

    def slope(bid: FloatArray, own: float, other: float) -> FloatArray:
        k = 1.0 / own**2 - 1.0 / other**2
        return 2.0 * (1.0 - k * bid**2) / (1.0 + k * bid**2) ** 2

    # The higher bid is at most b with probability phi_1 phi_2 / (low high). The weak bidder wins with b where the other's value is
    # below phi_2(b), and its value is then phi_1(b).
    revenue = integral(lambda b: 1.0 - weak(b) * strong(b) / (low * high), 0.0, top)
    worth = integral(
        lambda b: weak(b) * strong(b) * (slope(b, low, high) + slope(b, high, low)) / (low * high),
        0.0,
        top,
    )
    second = low / 2.0 - low**2 / (6.0 * high)  # the mean of the lower value
    best = low / 2.0 + high / 2.0 - second  # and of the higher one

    bids = np.column_stack([equilibrium_bid(values[:, 0], low, high), equilibrium_bid(values[:, 1], high, low)])
    first_price = _sold(study, bids, "pay_as_bid")
    yield mean_of("first price: revenue", revenue, first_price.payment.sum(axis=1))
    won = (first_price.allocation * values).sum(axis=1)
    # Winner's value less its expected share of the best one: a mean whose standard error is that of the ratio.
    figure = mean_of("first price: efficiency", 0.0, won - worth / best * values.max(axis=1))
    yield close(figure.what, worth / best, float(won.mean() / values.max(axis=1).mean()), figure.tolerance / best)
    yield mean_of("second price: revenue", second, _sold(study, values, "vcg").payment.sum(axis=1))
    # Both bid the same at the top: what lets neither gain by outbidding the other's highest bid.
    yield exact("first price: the highest bids differ by", 0.0, float(np.ptp([_top(low, high), _top(high, low)])))


def _top(own: float, other: float) -> float:
    return float(equilibrium_bid(np.array([own]), own, other)[0])


REVENUE_EQUIVALENCE = Result("revenue_equivalence", "Vickrey 1961; Krishna, Auction Theory, ch. 2-3", _revenue_equivalence)
FIRST_PRICE = Result("first_price", "Vickrey 1961; Krishna, Auction Theory, ch. 2", _first_price)
ASYMMETRIC = Result("asymmetric_first_price", "Vickrey 1961; Krishna, Auction Theory, ch. 4", _asymmetric)
