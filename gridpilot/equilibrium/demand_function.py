"""Linear demand-function equilibrium: buyers that state demand x_i = b_i (a_i - p) against a supply of slope beta.

Klemperer and Meyer, "Supply function equilibria in oligopoly under uncertainty", Econometrica 57 (1989), mirrored to buyers. Buyer i's
marginal value at x is a_i - l_i x. One more unit for i raises the price by 1 / B_i, where B_i = beta + sum of the others' b is the slope
of the supply that is left to it. Marginal value = marginal outlay is a_i - l_i x = p + x / B_i, for every intercept at once if

    b_i = B_i / (1 + l_i B_i)

With S = beta + sum of all b this is a quadratic in b_i, whose root below S is b_i = 2 S / (l_i S + 2 + sqrt(l_i^2 S^2 + 4)), rising and
concave in S. What is left is one equation, beta + sum b_i(S) = S. At S = 0 its left side has the slope n / 2, so that

- with beta > 0 there is exactly one solution, for any number of buyers;
- with beta = 0 and three buyers or more there is exactly one with b > 0;
- with beta = 0 and one or two buyers there is none but b = 0: each would shade its demand more than the other. Zeros are answered: the
  buyers ask for nothing at any price, which is no equilibrium of an auction but the limit of those with beta -> 0.

A buyer with l = 0 values all units alike; its demand stays finite as the supply left to it has a finite slope. With two such buyers or
more, bidding the price up between them, no finite slopes solve the equations, except where all are zero.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.equilibrium.game_input import FloatArray, check_count, check_number
from gridpilot.errors import GameError

__all__ = ["best_slope", "equilibrium_slopes", "symmetric_slope"]

MOST_STEPS: Final = 1000  # of Newton's method: some ten, but one for every halving of S with two buyers and a beta near 0
LARGEST: Final = 1e100  # of l and beta, so that no product overflows


def best_slope(residual: float, steepness: float) -> float:
    """The slope b that is optimal against a residual supply of slope ``residual``, for marginal value a - ``steepness`` x.

    Raises :class:`~gridpilot.errors.GameError` for negative or non-finite arguments.
    """
    b, l_i = check_number(residual, "residual", least=0.0), check_number(steepness, "steepness", least=0.0)
    return b / (1.0 + l_i * b)


def symmetric_slope(buyers: int, steepness: float, beta: float) -> float:
    """The equilibrium slope of n equal buyers: the positive root of l (n - 1) b^2 + (l beta + 2 - n) b - beta = 0.

    (n - 2) / (l (n - 1)) with beta = 0 and n > 2; 0 where there is no equilibrium.

    Raises :class:`~gridpilot.errors.GameError` for fewer than one buyer, a negative beta, and l <= 0.
    """
    n, l_i, beta = (
        check_count(buyers, "buyers"),
        check_number(steepness, "steepness", least=0.0),
        check_number(beta, "beta", least=0.0),
    )
    if l_i == 0.0:
        raise GameError(f"steepness is {steepness!r}, expected more than 0")
    if n == 1:
        return beta / (1.0 + l_i * beta)
    half = 0.5 * (n - 2 - l_i * beta)
    root = math.hypot(half, math.sqrt(l_i * (n - 1) * beta))
    if half >= 0.0:
        return (half + root) / (l_i * (n - 1))
    return beta / (root - half)  # the same root, without cancellation


def equilibrium_slopes(steepness: npt.ArrayLike, beta: float) -> FloatArray:
    """Slopes ``(n,)`` of the linear demand-function equilibrium; zeros where there is none (module docstring).

    ``steepness``  ``(n,)`` l_i >= 0, of marginal value a_i - l_i x; at most one of them 0
    ``beta``       slope of supply, >= 0

    Newton's method from above on a concave equation, which falls to the solution without overshooting, for every input.

    Raises :class:`~gridpilot.errors.GameError` for anything else.
    """
    try:
        slopes = np.array(steepness, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise GameError(f"l is {steepness!r:.60}, expected a list of numbers") from error
    if slopes.ndim != 1 or len(slopes) == 0 or not (np.isfinite(slopes).all() and (slopes >= 0.0).all()):
        raise GameError(f"l is {steepness!r:.60}, expected a list of at least one finite number, none below 0")
    beta = check_number(beta, "beta", least=0.0)
    n, flat = len(slopes), int((slopes == 0.0).sum())
    if beta == 0.0 and n <= 2:
        return np.zeros(n)
    if flat >= 2:
        raise GameError(
            f"l is {slopes.tolist()!r:.60} with {flat} zeros, expected at most one: two flat bidders have no finite slopes"
        )
    if not all(l_i == 0.0 or 1.0 / LARGEST <= l_i <= LARGEST for l_i in slopes.tolist()) or beta > LARGEST:
        raise GameError(
            f"l is {slopes.tolist()!r:.60} with beta {beta:g}, expected values up to {LARGEST:g} and no less than its inverse"
        )
    total = _total(slopes, beta)
    scaled = slopes * total
    return np.asarray(2.0 * total / (scaled + 2.0 + np.hypot(scaled, 2.0)))


def _total(slopes: FloatArray, beta: float) -> float:
    """S > 0 with beta + (n/2 - 1) S = sum of S/2 - b_i(S): all terms are positive, so that a small beta is not lost in rounding."""
    n = len(slopes)
    steep = slopes[slopes > 0.0]
    total = beta + float((1.0 / steep).sum())  # no b is above 1/l
    if len(steep) < n:
        total *= 2.0  # the flat buyer's b is S/2
    for _ in range(MOST_STEPS):
        scaled = slopes * total
        root = np.hypot(scaled, 2.0)
        missing = float((total * (scaled + scaled * (scaled / (root + 2.0))) / (2.0 * (scaled + 2.0 + root))).sum())
        excess = missing - beta - (0.5 * n - 1.0) * total
        step = excess / (0.5 * float((scaled / root).sum()) - (0.5 * n - 1.0))
        if not step > 4e-16 * total:  # nothing left but rounding, of either sign
            return total
        total -= step
    raise GameError(f"l {slopes.tolist()!r:.60}, beta {beta:g}: no convergence in {MOST_STEPS} steps")
