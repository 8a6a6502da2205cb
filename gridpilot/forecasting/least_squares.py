"""Recursive least squares in information form: discounted sums of products, a ridge in their own units, one solution a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridpilot.market.compilation import kernel

__all__ = ["accumulate", "solve"]


@kernel
def accumulate(gram: Any, moment: Any, x: Any, y: float, weight: float, keep: float) -> None:
    """Add a row to ``gram`` ``(P + 1, P)``, the discounted sum of ``x x'`` (lower triangle) and, in its last row, of weights, and to
    ``moment`` ``(P,)``, that of ``x y``.
    """
    count = len(x)
    for i in range(count):
        wx = weight * x[i]
        moment[i] = keep * moment[i] + wx * y
        for j in range(i + 1):
            gram[i, j] = keep * gram[i, j] + wx * x[j]
    gram[count, 0] = keep * gram[count, 0] + weight


@kernel
def solve(gram: Any, moment: Any, ridge: float, work: Any, coefficients: Any) -> None:
    """``coefficients`` ``(P,)`` of the ridge regression whose penalty on each is ``ridge`` rows of its regressor's mean square.

    A Cholesky factorisation in ``work`` ``(P, P)``. A regressor that was always 0 gets coefficient 0; nothing raises.
    """
    count = len(moment)
    share = 1.0 + ridge / max(gram[count, 0], 1e-300)
    for i in range(count):
        for j in range(i + 1):
            total = gram[i, j] * (share if i == j else 1.0)
            for k in range(j):
                total -= work[i, k] * work[j, k]
            if i == j:
                work[i, i] = np.sqrt(total) if total > 1e-10 * gram[i, i] and total > 1e-280 else 0.0
            else:
                work[i, j] = total / work[j, j] if work[j, j] > 0.0 else 0.0
    for i in range(count):
        total = moment[i]
        for k in range(i):
            total -= work[i, k] * coefficients[k]
        coefficients[i] = total / work[i, i] if work[i, i] > 0.0 else 0.0
    for i in range(count - 1, -1, -1):
        total = coefficients[i]
        for k in range(i + 1, count):
            total -= work[k, i] * coefficients[k]
        coefficients[i] = total / work[i, i] if work[i, i] > 0.0 else 0.0
