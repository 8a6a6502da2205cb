"""Value at risk and conditional value at risk of a sample: observed losses, or scenarios with their probabilities.

Signs: a loss is positive, so a profit enters as its negative (:func:`scenario_cvar` turns profits around itself), and a negative measure
says that even the tail is profitable. With F the distribution function of the loss X and alpha the confidence level in [0, 1),

    VaR_alpha  = inf { x : F(x) >= alpha }
    CVaR_alpha = min_z  z + E[(X - z)+] / (1 - alpha),   attained at z = VaR_alpha

(Rockafellar and Uryasev, "Optimization of conditional value-at-risk", 2000; with atoms in the tail, as samples have, their "Conditional
value-at-risk for general loss distributions", 2002). CVaR is the mean of the worst 1 - alpha of the probability: a scenario at the edge
counts with the part of its probability that lies beyond. alpha = 0 gives the mean. Ties need no rule: equal losses are one atom.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import RiskError

__all__ = ["check_alpha", "check_sample", "check_weights", "conditional_value_at_risk", "scenario_cvar", "value_at_risk"]

FloatArray = npt.NDArray[np.float64]

# Sums of probabilities that differ by less are the same: 100 scenarios of 0.01 reach 0.95 with the 95th, whatever rounding says.
TIE: Final = 1e-12


def value_at_risk(losses: npt.ArrayLike, alpha: float = 0.95, weights: npt.ArrayLike | None = None) -> float:
    """The least loss that is not exceeded with probability ``alpha``, in the unit of the losses.

    ``losses``   ``(S,)`` loss positive, finite, S >= 1; one sample is its own value at risk
    ``weights``  ``(S,)`` >= 0, probabilities up to a common factor; ``None`` is equal ones

    Raises :class:`~gridpilot.errors.RiskError` for an empty sample, values that are not finite, alpha outside [0, 1) and weights
    that are negative or sum to nothing.

    >>> value_at_risk([1.0, 2.0, 3.0, 4.0], alpha=0.75)
    3.0
    """
    ordered, probability = _tail(losses, alpha, weights)
    return _quantile(ordered, probability, alpha)


def conditional_value_at_risk(losses: npt.ArrayLike, alpha: float = 0.95, weights: npt.ArrayLike | None = None) -> float:
    """The mean of the worst ``1 - alpha`` of the losses, in their unit; arguments and errors are those of :func:`value_at_risk`.

    >>> conditional_value_at_risk([1.0, 2.0, 3.0, 4.0], alpha=0.5)
    3.5
    """
    ordered, probability = _tail(losses, alpha, weights)
    edge = _quantile(ordered, probability, alpha)
    # Relative to the edge, so that large losses of almost equal size lose no digits.
    return edge + float(probability @ np.maximum(ordered - edge, 0.0)) / (1.0 - alpha)


def scenario_cvar(profits: npt.ArrayLike, alpha: float = 0.95, weights: npt.ArrayLike | None = None) -> float:
    """CVaR of scenarios of *profit* ``(S,)`` in $: the mean loss of the worst ``1 - alpha`` of them, loss positive.

    Other arguments and errors are those of :func:`value_at_risk`.

    >>> scenario_cvar([10.0, -5.0, 20.0, -15.0], alpha=0.5)
    10.0
    """
    return conditional_value_at_risk(-check_sample(profits, "profits"), alpha, weights)


def check_sample(values: npt.ArrayLike, what: str) -> FloatArray:
    """``values`` as ``(S,)`` float64, S >= 1 and finite, or :class:`~gridpilot.errors.RiskError` saying what is wrong with them."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise RiskError(f"{what}: expected a list of numbers, got {values!r:.100}") from error
    if array.ndim != 1 or array.size == 0:
        raise RiskError(f"{what} have shape {array.shape}, expected (S,) with at least one sample")
    if not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise RiskError(f"{what}: sample {first} is {array[first]}, expected finite numbers")
    return array


def check_weights(weights: npt.ArrayLike | None, n: int) -> FloatArray:
    """Probabilities ``(n,)`` that sum to 1, or :class:`~gridpilot.errors.RiskError`; ``None`` is equal ones."""
    if weights is None:
        return np.full(n, 1.0 / n)
    array = check_sample(weights, "weights")
    if len(array) != n:
        raise RiskError(f"weights have shape {array.shape}, expected ({n},), one a scenario")
    greatest = float(array.max())
    if (array < 0.0).any() or not greatest > 0.0:
        raise RiskError(f"weights lie between {array.min():g} and {greatest:g}, expected numbers >= 0 and one above 0")
    array = array / greatest  # their sum may overflow
    return np.asarray(array / array.sum())


def check_alpha(alpha: float) -> float:
    """``alpha``, or :class:`~gridpilot.errors.RiskError` where it is not in [0, 1)."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not (math.isfinite(alpha) and 0.0 <= alpha < 1.0):
        raise RiskError(f"alpha is {alpha!r}, expected a confidence level in [0, 1)")
    return float(alpha)


def _tail(losses: npt.ArrayLike, alpha: float, weights: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Losses in ascending order with their probabilities, those without any left out."""
    check_alpha(alpha)
    sample = check_sample(losses, "losses")
    probability = check_weights(weights, len(sample))
    order = np.argsort(sample, kind="stable")
    order = order[probability[order] > 0.0]
    return sample[order], probability[order]


def _quantile(ordered: FloatArray, probability: FloatArray, alpha: float) -> float:
    reached = np.cumsum(probability) >= alpha - TIE
    return float(ordered[np.argmax(reached)] if reached.any() else ordered[-1])
