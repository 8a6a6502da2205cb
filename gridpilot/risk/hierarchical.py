"""Hierarchical risk parity by skfolio, and any other skfolio optimiser, as kW under caps.

skfolio's optimisers give weights that sum to 1 and cost 15 to 20 ms and more a fit, so they serve where nothing depends on speed: other
risk measures, clustering, cross-checks. Weights become power by filling in their proportions; a line that reaches its cap stays there
and the others go on.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MissingExtraError, RiskError

__all__ = ["fill_by_weight", "hierarchical_risk_parity", "require_skfolio", "skfolio_weights"]

FloatArray = npt.NDArray[np.float64]


def require_skfolio() -> None:
    """Raise :class:`~gridpilot.errors.MissingExtraError` where skfolio is not installed."""
    try:
        import skfolio.optimization  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("hierarchical risk parity (skfolio)", "forecast") from error


def skfolio_weights(optimiser: Any, scenarios: FloatArray) -> FloatArray:
    """Weights ``(L,)`` that a skfolio optimiser, such as ``MeanRisk(risk_measure=RiskMeasure.EVAR)``, gives ``scenarios (S, L)``.

    Raises :class:`~gridpilot.errors.RiskError` where it fails or gives weights that are negative or not finite.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of covariances it repairs, as those of lines that move together
            weights = np.asarray(optimiser.fit(scenarios).weights_, dtype=np.float64)
    except Exception as error:  # an optimiser, its clustering and its solver may fail in any way; the message says which
        raise RiskError(
            f"skfolio's {type(optimiser).__name__} failed on {scenarios.shape} scenarios: {type(error).__name__}: {error}"
        ) from error
    if weights.shape != scenarios.shape[1:] or not np.isfinite(weights).all() or (weights < -1e-9).any():
        raise RiskError(f"skfolio's {type(optimiser).__name__} gave weights {weights}, expected {scenarios.shape[1]} numbers >= 0")
    return np.maximum(weights, 0.0)


def hierarchical_risk_parity(scenarios: FloatArray) -> FloatArray:
    """Weights ``(L,)`` of hierarchical risk parity (Lopez de Prado, "Building diversified portfolios that outperform out of sample", 2016).

    ``scenarios (S, L)``, every line with a variance. A single line has weight 1.
    """
    if scenarios.shape[1] == 1:
        return np.ones(1)
    from skfolio.optimization import HierarchicalRiskParity

    return skfolio_weights(HierarchicalRiskParity(), scenarios)


def fill_by_weight(weights: FloatArray, caps: FloatArray, total: float) -> FloatArray:
    """``(L,)`` kW ``min(cap, c weight)`` with c such that they sum to ``total``, or all caps where those sum to less.

    Lines without weight get nothing.
    """
    caps = np.where(weights > 0.0, caps, 0.0)
    if total >= caps.sum():
        return caps
    level = np.divide(caps, weights, out=np.zeros_like(caps), where=weights > 0.0)  # the c at which a line is at its cap
    full = np.zeros(len(caps), dtype=bool)
    for i in np.argsort(level, kind="stable"):
        c = (total - caps[full].sum()) / weights[~full].sum() if weights[~full].any() else 0.0
        if c <= level[i]:
            return np.where(full, caps, np.minimum(c * weights, caps))
        full[i] = True
    return caps
