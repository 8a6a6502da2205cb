"""Reserve prices: Myerson's revenue and optimum, and one more bidder instead (Bulow and Klemperer)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from gridpilot.market.clearing import Mechanism
from gridpilot.validation.row import Figure, FloatArray, Result, best_of, mean_of
from gridpilot.validation.single_unit import integral
from gridpilot.validation.study import Study, one_unit, uniform_values

__all__ = ["BULOW_KLEMPERER", "MYERSON"]

DRAWS: Final = 200_000
RESERVE_STEP: Final = 0.05


def expected_revenue(n: int, reserve: float) -> float:
    """Of n values uniform on [0, 1]: the mean of the highest virtual value 2 v - 1 where v is at least the reserve.

    The highest value has the density n v^(n-1) (Myerson 1981). For n = 2 the integral is 1/3 + r^2 - 4 r^3 / 3.
    """
    return integral(lambda v: (2.0 * v - 1.0) * n * v ** (n - 1), reserve, 1.0)


def _revenue(study: Study, values: FloatArray, reserve: float, mechanism: Mechanism = "vcg") -> FloatArray:
    """What one unit at no cost brings when the bids are ``values (B, N)``, ``(B,)``."""
    sold = study.clear_batch(one_unit(values), [[1.0, 0.0]], mechanism, reserve=reserve)
    revenue: FloatArray = sold.payment.sum(axis=1)
    return revenue


def _myerson(study: Study) -> Iterator[Figure]:
    values = uniform_values(study, "myerson", DRAWS, 2)
    for reserve in (0.25, 0.5, 0.75):
        for mechanism in ("vcg", "uniform"):
            revenue = _revenue(study, values, reserve, mechanism)
            yield mean_of(f"two bidders, reserve {reserve}, {mechanism}: revenue", expected_revenue(2, reserve), revenue)
    grid = np.arange(0.0, 1.0 - 1e-9, RESERVE_STEP)
    # The optimum is where the virtual value is zero, whatever the number of bidders.
    yield best_of("two bidders: best reserve", 0.5, grid, np.array([_revenue(study, values, float(r)) for r in grid]))


def _bulow_klemperer(study: Study) -> Iterator[Figure]:
    three = uniform_values(study, "bulow klemperer", DRAWS, 3)
    without = _revenue(study, three, -np.inf)
    two = _revenue(study, three[:, :2], 0.5)
    yield mean_of("three bidders, no reserve: revenue", expected_revenue(3, 0.0), without)
    yield mean_of("two bidders, best reserve: revenue", expected_revenue(2, 0.5), two)
    yield mean_of("a bidder more less a best reserve", expected_revenue(3, 0.0) - expected_revenue(2, 0.5), without - two)
    yield mean_of("three bidders, best reserve: revenue", expected_revenue(3, 0.5), _revenue(study, three, 0.5))


MYERSON = Result("myerson", "Myerson 1981", _myerson)
BULOW_KLEMPERER = Result("bulow_klemperer", "Bulow and Klemperer 1996", _bulow_klemperer)
