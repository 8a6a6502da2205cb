"""Batteries that know their effect on the price: how much welfare a planner would gain more than they do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from gridpilot.validation.row import Figure, FloatArray, Result, close
from gridpilot.validation.study import Study

__all__ = ["STORAGE"]

WORTH: Final = 10.0  # $/kWh, of the load of 1 kW, which is always served
STEPS: Final = 8
GOLDEN: Final = (math.sqrt(5.0) - 1.0) / 2.0


def monopoly_ratio(degree: int) -> float:
    """Welfare gain of the planner over that of a battery that maximises its profit, at a price D^degree of the demand D.

    Load 1 in one hour, and so many hours without load that charging costs nothing. Selling y earns y (1 - y)^d, most at
    y = 1 / (d + 1); welfare gains (1 - (1 - y)^(d+1)) / (d + 1), most at y = 1. So 1 / (1 - (d / (d + 1))^(d+1)): 4/3 for d = 1, which is
    the largest ratio that a linear price can bring, and 27/19 for d = 2.
    """
    return 1.0 / (1.0 - (degree / (degree + 1.0)) ** (degree + 1))


def oligopoly_ratio(n: int) -> float:
    """The same at a linear price for n batteries, which sell n / (n + 1) together as Cournot's sellers: (n + 1)^2 / (n (n + 2))."""
    return (n + 1.0) ** 2 / (n * (n + 2.0))


def linear_ratio(limit: float) -> float:
    """The same at a linear price D, loads 0 and 1, for a battery of ``limit`` kW: y - y^2 of welfare for a profit of y - 2 y^2."""
    planner, monopolist = min(limit, 0.5), min(limit, 0.25)
    return (planner - planner**2) / (monopolist - monopolist**2)


def _market(study: Study, batteries: FloatArray, degree: int, split: float) -> tuple[FloatArray, float, FloatArray]:
    """Clear the hour of load with batteries ``(n, 2)``, kW and the price that each asks.

    Returns kW sold and $ earned by each, and welfare when what they ask is no cost. The price D^degree is cut into steps of the
    average price over them, one of which ends at the demand ``split``, so that welfare is right there and at 1.
    """
    ends = np.concatenate([np.linspace(0.0, split, STEPS + 1), np.linspace(split, 1.0, STEPS + 1)[1:]])
    cost = np.diff(ends ** (degree + 1)) / ((degree + 1) * np.maximum(np.diff(ends), 1e-300))
    steps = np.vstack([np.column_stack([np.diff(ends), cost]), batteries])
    order = np.argsort(steps[:, 1], kind="stable")
    found = study.clear([[(1.0, WORTH)]], steps[order], "uniform")
    used = np.empty(len(steps))
    used[order] = np.clip(found.volume - (np.cumsum(steps[order, 0]) - steps[order, 0]), 0.0, steps[order, 0])
    sold = used[len(cost) :]
    return sold, float(found.welfare + sold @ batteries[:, 1]), sold * found.price_lo


def _best_sale(study: Study, others: float, degree: int) -> float:
    """What earns most beside ``others`` kW sold at any price, kW: a battery asks p and sells what the load still wants at p."""

    def sale(price: float) -> tuple[float, float]:
        batteries = np.array([[others, 0.0], [1.0, price]])
        sold, _, earned = _market(study, batteries, degree, price ** (1.0 / degree))
        return float(sold[1]), float(earned[1])

    price = _highest(lambda p: sale(p)[1], 0.0, (1.0 - others) ** degree)
    return sale(price)[0]


def _highest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one maximum is highest, by golden section."""
    a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_a, at_b = function(a), function(b)
    for _ in range(40):
        if at_a > at_b:
            high, b, at_b = b, a, at_a
            a = high - GOLDEN * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + GOLDEN * (high - low)
            at_b = function(b)
    return (low + high) / 2.0


def _welfare(study: Study, sold: float, degree: int) -> float:
    return _market(study, np.array([[sold, 0.0]]), degree, 1.0 - sold)[1]


def _ratio(study: Study, sold: float, degree: int) -> float:
    """Welfare that selling 1 kW gains, over what ``sold`` gains."""
    idle = _welfare(study, 0.0, degree)
    return (_welfare(study, 1.0, degree) - idle) / (_welfare(study, sold, degree) - idle)


def _cournot_sales(study: Study, n: int) -> float:
    """What n batteries sell together when each sells what is best beside the others, by bisection: a best sale falls as theirs grow."""
    low, high = 0.0, 1.0 / max(n - 1, 1)
    for _ in range(30):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _best_sale(study, (n - 1) * middle, 1) > middle else (low, middle)
    return n * (low + high) / 2.0


def _two_hours(study: Study, limit: float) -> float:
    """Planner over monopolist for a battery of ``limit`` kW that charges in an hour without load, at price D, and sells in the next."""
    tried = np.array([0.2, 0.4, 0.8]) * limit
    profits, welfares = [], []
    for y in tried:
        charging = study.clear([[(y, WORTH)]], _linear_supply(y), "uniform")
        sold, welfare, earned = _market(study, np.array([[y, 0.0]]), 1, 1.0 - y)
        # The price is the mean over the last step used, which is as much below the margin in both hours: it cancels.
        width = (1.0 - y) / STEPS
        profits.append(earned[0] + sold[0] * width / 2.0 - charging.payment[0] - y * y / STEPS / 2.0)
        welfares.append(welfare - charging.supply_cost - (WORTH - 0.5))
    profit, gain = (np.polynomial.Polynomial.fit(tried, [*values], 2) for values in (profits, welfares))
    best = [min(limit, float(np.real(curve.deriv().roots()[0]))) for curve in (gain, profit)]
    return float(gain(best[0]) / gain(best[1]))


def _linear_supply(split: float) -> FloatArray:
    """Supply of marginal cost X in steps that end at ``split`` kW, and one beyond."""
    width = split / STEPS
    inside = np.column_stack([np.full(STEPS, width), width * (np.arange(STEPS) + 0.5)])
    return np.vstack([inside, [[1.0, split + 0.5]]])


def _storage(study: Study) -> Iterator[Figure]:
    for degree, name in ((1, "linear"), (2, "quadratic")):
        sold = _best_sale(study, 0.0, degree)
        yield close(f"{name} price: a monopolist sells", 1.0 / (degree + 1.0), sold, 1e-6)
        yield close(f"{name} price: planner over monopolist", monopoly_ratio(degree), _ratio(study, sold, degree), 1e-6)
    for n in (2, 10):
        what = f"linear price, {n} batteries: planner over them"
        yield close(what, oligopoly_ratio(n), _ratio(study, _cournot_sales(study, n), 1), 1e-6)
    for limit in (1.0, 0.4, 0.3):
        what = f"linear price, two hours, battery of {limit:g} kW: planner over monopolist"
        yield close(what, linear_ratio(limit), _two_hours(study, limit), 1e-6)


STORAGE = Result("strategic_storage", "Jiang, Nie and Skoulakis, arXiv:2602.19660", _storage)
