"""The scenarios behind a conditional value at risk, for many decisions at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gridpilot.errors import RiskError

__all__ = ["tail_weights"]

FloatArray = npt.NDArray[np.float64]


def tail_weights(profits: npt.ArrayLike, tail: float) -> FloatArray:
    """Weights of equally likely scenarios in the mean of the worst ``tail`` of them: ``(..., S)``, each row sums to 1.

    ``profits``  ``(..., S)`` $, finite, S >= 1
    ``tail``     (0, 1], the share of the probability that counts; the scenario at the edge counts with the part that lies in it

    The product with the profits is minus their CVaR of level ``1 - tail`` (Rockafellar and Uryasev 2002, proposition 8), of which the
    weights are a supergradient. Raises :class:`~gridpilot.errors.RiskError`.

    >>> tail_weights([3.0, 1.0, 2.0, 4.0], 0.375)
    array([0.        , 0.66666667, 0.33333333, 0.        ])
    """
    array = np.asarray(profits, dtype=np.float64)
    if array.ndim < 1 or array.shape[-1] < 1 or not np.isfinite(array).all():
        raise RiskError(f"profits have shape {array.shape}, expected (..., S) finite numbers with at least one scenario")
    if not 0.0 < tail <= 1.0:
        raise RiskError(f"tail is {tail}, expected a share above 0 and at most 1")
    rank = np.argsort(np.argsort(array, axis=-1, kind="stable"), axis=-1)
    mass = tail * array.shape[-1]
    weights: FloatArray = np.clip(mass - rank, 0.0, 1.0) / mass
    return weights
