"""Buyers whose bids are curves: equilibrium in linear demand functions (Klemperer and Meyer), and in quantities (Cournot)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from gridpilot.validation.row import Figure, FloatArray, Result, close
from gridpilot.validation.study import Study

__all__ = ["COURNOT", "DEMAND_FUNCTIONS"]

TOP: Final = 10.0  # $/kWh, where all demand curves begin
LEVELS: Final = 8  # steps of curves that need be right at their ends alone
REPLIES: Final = 60
FINE: Final = 400  # steps of the curves for the search on a grid
SLOPE_STEP: Final = 0.01
SUPPLY_STEPS: Final = 4000  # of the straight supply curve that quantities are bought from


def symmetric_slope(n: int, curvature: float, beta: float) -> float:
    """The slope b of n alike buyers: the root >= 0 of ``l (n - 1) b^2 + (1 + l beta - (n - 1)) b - beta = 0``.

    Marginal value a - l x, bid x = b (a - p), supply of slope beta. The residual supply of one has the slope s = beta + (n - 1) b;
    marginal value less price is x / s at the optimum, so that b = s / (1 + l s) (Klemperer and Meyer 1989).
    """
    second, first = curvature * (n - 1), 1.0 + curvature * beta - (n - 1)
    return (-first + math.sqrt(first**2 + 4.0 * second * beta)) / (2.0 * second)


def slopes_of(curvatures: Sequence[float], beta: float) -> FloatArray:
    """The same for buyers who differ: the fixed point of ``b_i = s_i / (1 + l_i s_i)``, by Newton's method."""
    curves = np.array(curvatures, dtype=float)
    n, slopes = len(curves), 1.0 / (1.0 + np.array(curvatures, dtype=float))
    for _ in range(50):
        rest = beta + slopes.sum() - slopes
        error = slopes * (1.0 + curves * rest) - rest
        jacobian = (curves * slopes - 1.0)[:, None] * (1.0 - np.eye(n)) + np.diag(1.0 + curves * rest)
        slopes = slopes - np.linalg.solve(jacobian, error)
    return slopes


def _curve(slope: float, step: float, levels: int) -> FloatArray:
    """The demand b (TOP - p) as blocks: right at TOP, TOP - step, TOP - 2 step, ..."""
    prices = TOP - step * (np.arange(levels) + 0.5)
    return np.column_stack([np.full(levels, slope * step), prices])


def _supply(base: float, beta: float, step: float, levels: int) -> FloatArray:
    """``base`` kW at no cost and the rest of a supply of slope beta, right at the same prices as the demands."""
    prices = TOP - step * (np.arange(levels)[::-1] + 0.5)
    rest = np.column_stack([np.full(levels, beta * step), prices])
    return np.vstack([[[base, 0.0]], rest[rest[:, 0] > 0.0]])


def _best_slope(study: Study, slopes: FloatArray, i: int, curvature: float, beta: float) -> float:
    """The slope that is best for bidder ``i`` against the others' curves, from what the auctioneer gives it at three prices.

    A bid for everything at price p gets what the others leave and pays p. On straight lines the payoff is a parabola in p: three
    points tell where it is highest.
    """
    step = 0.5
    prices, quantities, payoffs = [TOP - 2 * step, TOP - 4 * step, TOP - 6 * step], [], []
    for price in prices:
        bids: list[FloatArray] = [_curve(slope, step, LEVELS) for slope in slopes]
        bids[i] = np.array([[1e4, price]])
        found = study.clear(bids, _supply(30.0, beta, step, LEVELS), "uniform")
        x = float(found.allocation[i])
        quantities.append(x)
        payoffs.append(TOP * x - curvature * x * x / 2.0 - float(found.payment[i]))
    middle = np.polynomial.Polynomial.fit(prices, payoffs, 2).deriv().roots()
    best = float(np.real(middle[0])) if len(middle) else math.nan
    x = float(np.polynomial.Polynomial.fit(prices, quantities, 1)(best))
    return x / (TOP - best)


def _fixed_point(study: Study, curvatures: Sequence[float], beta: float) -> FloatArray:
    """Slopes to which best replies, found in the auction and one bidder after the other, settle."""
    slopes = 1.0 / (1.0 + np.array(curvatures, dtype=float))
    for _ in range(REPLIES):
        before = slopes.copy()
        for i, curvature in enumerate(curvatures):
            slopes[i] = _best_slope(study, slopes, i, curvature, beta)
        if np.abs(slopes - before).max() < 1e-10 or not np.isfinite(slopes).all():
            break
    return slopes


def _demand_functions(study: Study) -> Iterator[Figure]:
    for n, curvature, beta in ((3, 1.0, 0.0), (5, 0.5, 0.0), (2, 1.0, 1.0), (4, 2.0, 0.3)):
        what = f"{n} buyers, l = {curvature:g}, supply slope {beta:g}: slope"
        found = _fixed_point(study, [curvature] * n, beta)
        yield close(what, symmetric_slope(n, curvature, beta), float(found.mean()), 1e-6)
    curvatures, beta = (1.0, 2.0, 4.0), 0.5
    expected, found = slopes_of(curvatures, beta), _fixed_point(study, curvatures, beta)
    for i, curvature in enumerate(curvatures):
        yield close(f"l = 1, 2, 4, supply slope 0.5: slope of l = {curvature:g}", float(expected[i]), float(found[i]), 1e-6)
    yield _search(study)


def _search(study: Study) -> Figure:
    """Without any calculus: all slopes of a grid tried in the auction, against two buyers who bid the equilibrium's."""
    n, curvature, step = 3, 1.0, TOP / FINE
    equilibrium = symmetric_slope(n, curvature, 0.0)
    grid = np.arange(equilibrium - 0.1, equilibrium + 0.1 + 1e-9, SLOPE_STEP)
    count = study.draws(200, least=100)
    offered = 3.0 + 6.0 * (np.arange(count) + 0.5) / count  # kW, unknown when the bids are made
    supply = np.stack([offered, np.zeros_like(offered)], axis=-1)[:, None, :]
    earned = np.empty(len(grid))
    for k, slope in enumerate(grid):
        bids = np.stack([_curve(b, step, FINE) for b in (slope, *[equilibrium] * (n - 1))])
        found = study.clear_batch(np.broadcast_to(bids, (count, *bids.shape)), supply, "uniform")
        x = found.allocation[:, 0]
        earned[k] = (TOP * x - curvature * x**2 / 2.0 - found.payment[:, 0]).mean()
    what = f"{n} buyers, l = {curvature:g}: best slope on a grid, {count} supplies"
    return close(what, equilibrium, float(grid[np.argmax(earned)]), SLOPE_STEP + 1e-4)


def _cournot(study: Study) -> Iterator[Figure]:
    # The n-th part of X = n / (n + 1) solves max (1 - X) x where one kW is worth 1 and supply costs p = X at the margin.
    for n in (1, 2, 5, 10):
        share = _equilibrium_quantity(study, n)
        found = study.clear([[(share, 1.0)]] * n, _straight_supply(), "uniform")
        yield close(f"{n} buyers: price", n / (n + 1), found.price_lo, 5e-4)
        if n == 5:
            best = study.clear([[(1.0, 1.0)]], _straight_supply(), "uniform").welfare
            yield close("5 buyers: welfare, of the best", 35.0 / 36.0, found.welfare / best, 5e-4)


def _straight_supply() -> FloatArray:
    """Supply of marginal cost p = X up to 1 kW."""
    return np.column_stack([np.full(SUPPLY_STEPS, 1.0 / SUPPLY_STEPS), (np.arange(SUPPLY_STEPS) + 0.5) / SUPPLY_STEPS])


def _equilibrium_quantity(study: Study, n: int) -> float:
    """The quantity that is a best reply to n - 1 others of the same, by bisection: a best reply falls as theirs grows."""
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _best_quantity(study, n, middle) > middle else (low, middle)
    return (low + high) / 2.0


def _best_quantity(study: Study, n: int, others: float) -> float:
    """The quantity that earns most against n - 1 bids of ``others`` kW, from what the auctioneer gives at three prices.

    A bid for everything at p gets what is left of a supply of which one step ends there, and pays p: a parabola, as above.
    """
    prices = np.array([0.94, 0.96, 0.98])
    supply = np.array([[0.94, 0.0], [0.02, 0.95], [0.02, 0.97], [0.02, 0.99]])
    bids = [(min(others, 0.93 / max(n - 1, 1)), 1.0)] * (n - 1)
    short = (n - 1) * (others - bids[0][0]) if bids else 0.0  # what these prices cannot serve
    found = [study.clear([[(2.0, price)], *([bid] for bid in bids)], supply, "uniform") for price in prices]
    quantities = np.array([float(one.allocation[0]) for one in found]) - short
    paid = np.array([float(one.payment[0] / one.allocation[0]) for one in found])
    payoff = np.polynomial.Polynomial.fit(prices, (1.0 - paid) * quantities, 2)
    best = float(np.real(payoff.deriv().roots()[0]))
    return float(np.polynomial.Polynomial.fit(prices, quantities, 1)(best))


DEMAND_FUNCTIONS = Result("demand_functions", "Klemperer and Meyer 1989, with buyers for sellers", _demand_functions)
COURNOT = Result("cournot_oligopsony", "Cournot 1838, with buyers for sellers", _cournot)
