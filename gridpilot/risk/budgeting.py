"""Risk budgeting: power such that every line carries its share of the risk, as far as its cap lets it.

With Sigma the covariance of the lines' profits per kW, x kW of each carry the risk contributions x_i (Sigma x)_i, which sum to the variance
of the whole. Contributions in the proportions b solve the convex problem

    min  x' Sigma x / 2 - lambda sum_i b_i ln x_i,   0 <= x <= cap

where a line at its cap may carry less (Maillard, Roncalli and Teiletche, "The properties of equally weighted risk contribution
portfolios", 2010; with caps Richard and Roncalli, "Constrained risk budgeting portfolios", 2019). lambda is the scale: it is chosen
such that x sums to the power there is. The inner problem is solved by cyclical coordinate descent (Griveau-Billion, Richard and
Roncalli, "A fast algorithm for computing high-dimensional risk parity portfolios", 2013), each coordinate exactly:

    x_i = min(cap_i, (sqrt(c^2 + 4 Sigma_ii lambda b_i) - c) / (2 Sigma_ii)),   c = sum_{j != i} Sigma_ij x_j

Lines that nearly cancel each other's risk make the descent slow; then projected Newton steps are taken instead (Bertsekas, "Projected
Newton methods for optimization problems with simple constraints", 1982), which cost more each and are few.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import RiskError
from gridpilot.market.compilation import kernel

__all__ = ["budget_risk"]

FloatArray = npt.NDArray[np.float64]

SWEEPS: Final = 5_000
NEWTON_STEPS: Final = 200
BISECTIONS: Final = 200
PRECISE: Final = 1e-13  # relative change of every coordinate in a sweep, and least relative descent of a Newton step

# What is tried in turn: a name, whether by Newton steps, and what is added to each line's variance, relative. Lines that hedge each other
# completely, as with fewer scenarios than lines, would take unlimited power at no risk: the last shrinks their correlation.
ATTEMPTS: Final = (
    ("coordinate descent", False, 1e-10),
    ("projected Newton", True, 1e-10),
    ("coordinate descent, variances + 1 %", False, 1e-2),
)


def budget_risk(covariance: FloatArray, caps: FloatArray, total: float, budgets: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """``(L,)`` kW that sum to the lesser of ``total`` and the sum of the caps, with risk contributions in proportion to the budgets.

    ``covariance``  ``(L, L)`` of profit per kW, positive semidefinite, diagonal > 0; ``caps (L,)`` kW > 0; ``budgets (L,)`` > 0

    Also returns what was tried. Raises :class:`~gridpilot.errors.RiskError` with the same where nothing settled.
    """
    if total >= caps.sum():
        return caps.copy(), ("all caps",)
    # In units of each line's own standard deviation, so that no line's scale decides about convergence.
    sd = np.sqrt(np.diagonal(covariance))
    correlation = covariance / np.outer(sd, sd)
    said: list[str] = []
    for name, newton, ridge in ATTEMPTS:
        x = np.empty(len(caps))
        correlation[np.diag_indices(len(sd))] = 1.0 + ridge
        if _solve(newton, correlation, caps * sd, 1.0 / sd, total, budgets / budgets.sum(), x):
            kw = np.minimum(x / sd, caps)
            return kw * min(1.0, total / float(kw.sum())), (*said, f"{name}: settled")
        said.append(f"{name}: did not settle")
    raise RiskError("; ".join(said))


@kernel
def _solve(newton: bool, correlation: Any, caps: Any, kw: Any, total: float, budgets: Any, x: Any) -> bool:
    """Search lambda; ``x`` in standard deviations, of which one takes ``kw`` kW. False where an inner problem did not settle."""
    x[:] = caps
    low, high = 1.0, 1.0  # of lambda; power is 0 at 0 and that of the caps at infinity, and continuous in between
    while True:
        if low < 1e-280 or not _settle(newton, correlation, caps, budgets, low, x):
            return False
        if _power(x, kw) <= total:
            break
        low *= 1e-4
    while True:
        if high > 1e280 or not _settle(newton, correlation, caps, budgets, high, x):
            return False
        if _power(x, kw) >= total * (1.0 - 1e-12):
            break
        high *= 1e4
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        if not _settle(newton, correlation, caps, budgets, middle, x):
            return False
        power = _power(x, kw)
        if abs(power - total) <= 1e-12 * total or middle <= low or middle >= high:
            break
        if power < total:
            low = middle
        else:
            high = middle
    return True


@kernel
def _power(x: Any, kw: Any) -> float:
    total = 0.0
    for i in range(len(x)):
        total += x[i] * kw[i]
    return total


@kernel
def _settle(newton: bool, correlation: Any, caps: Any, budgets: Any, scale: float, x: Any) -> bool:
    """Solve for this lambda, from ``x`` on."""
    if newton:
        settled: bool = _step_on(correlation, caps, budgets, scale, x)
    else:
        settled = _descend(correlation, caps, budgets, scale, x)
    return settled


@kernel
def _descend(correlation: Any, caps: Any, budgets: Any, scale: float, x: Any) -> bool:
    n = len(x)
    for _ in range(SWEEPS):
        moved = 0.0
        for i in range(n):
            others = 0.0
            for j in range(n):
                if j != i:
                    others += correlation[i, j] * x[j]
            root = math.sqrt(others * others + 4.0 * correlation[i, i] * scale * budgets[i])
            # Each in the form without a difference of almost equal numbers.
            best = 2.0 * scale * budgets[i] / (root + others) if others > 0.0 else 0.5 * (root - others) / correlation[i, i]
            best = min(best, caps[i])
            moved = max(moved, abs(best - x[i]) / best)
            x[i] = best
        if moved <= PRECISE:
            return True
    return False


@kernel
def _step_on(correlation: Any, caps: Any, budgets: Any, scale: float, x: Any) -> bool:
    n = len(x)
    hessian, gradient, ahead = np.empty((n, n)), np.empty(n), np.empty(n)
    # A start of the right size: alone, a line would stand at the root.
    for i in range(n):
        x[i] = min(caps[i], math.sqrt(scale * budgets[i]))
    value = _objective(correlation, budgets, scale, x)
    for _ in range(NEWTON_STEPS):
        gradient[:] = correlation @ x - scale * budgets / x
        hessian[:] = correlation
        for i in range(n):
            hessian[i, i] += scale * budgets[i] / (x[i] * x[i])
        for i in range(n):
            if x[i] >= caps[i] and gradient[i] <= 0.0:  # held at its cap, which it would rather exceed
                hessian[i, :], hessian[:, i], hessian[i, i], gradient[i] = 0.0, 0.0, 1.0, 0.0
        step = np.linalg.solve(hessian, -gradient)
        slope = gradient @ step
        if not slope < 0.0 or -slope <= PRECISE * scale:
            return bool(math.isfinite(slope))
        # As far as to the first cap, which is then met exactly: bending the step there would spoil a hedge.
        length, first = 1.0, -1
        for i in range(n):
            if step[i] > 0.0 and x[i] + length * step[i] > caps[i]:
                length, first = (caps[i] - x[i]) / step[i], i
            elif step[i] < 0.0 and x[i] + length * step[i] < 0.1 * x[i]:
                length, first = -0.9 * x[i] / step[i], -1
        while True:
            for i in range(n):
                ahead[i] = min(caps[i], x[i] + length * step[i])
            if first >= 0:
                ahead[first] = caps[first]
            reached = _objective(correlation, budgets, scale, ahead)
            if reached <= value + 1e-4 * length * slope:
                break
            length, first = 0.5 * length, -1
            if length < 1e-12:  # no descent left that rounding would not hide
                return bool(-slope <= 1e-12 * scale)
        x[:], value = ahead, reached
    return False


@kernel
def _objective(correlation: Any, budgets: Any, scale: float, x: Any) -> float:
    value: float = 0.5 * (x @ (correlation @ x))
    for i in range(len(x)):
        value -= scale * budgets[i] * math.log(x[i])
    return value
