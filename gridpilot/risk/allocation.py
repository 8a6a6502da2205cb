"""Allocation of power to product lines under risk: one interface, four methods.

A line is anything a kW can be used for over the coming horizon: mining, inference, storing. Scenarios say what a kW of each would earn;
what is allotted to no line stands idle, earns nothing and risks nothing.

    risk_parity     every line carries its share of the variance (:mod:`gridpilot.risk.budgeting`); ``budgets``, equal by default.
                    Uses all power the caps allow, whatever the means.
    mean_variance   most mean less ``risk_aversion`` / 2 times the variance (:mod:`gridpilot.risk.convex`); 0 by default, in 1/$
    min_cvar        most mean less ``risk_aversion`` times the CVaR of the loss; infinite by default: least CVaR
    hierarchical    hierarchical risk parity by skfolio (:mod:`gridpilot.risk.hierarchical`), needs the extra ``forecast``

Lines without variance have no risk to share out: both parities serve them first, the best mean first, if it is above 0.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from gridpilot.errors import RiskError
from gridpilot.risk.budgeting import budget_risk
from gridpilot.risk.convex import ConvexAllocation, Request, fill_by_mean
from gridpilot.risk.hierarchical import fill_by_weight, hierarchical_risk_parity, require_skfolio
from gridpilot.risk.measures import check_alpha, check_sample, check_weights

__all__ = ["METHODS", "Allocator", "Method", "allocate"]

FloatArray = npt.NDArray[np.float64]
Method = Literal["risk_parity", "mean_variance", "min_cvar", "hierarchical"]

METHODS: Final[tuple[str, ...]] = get_args(Method)
RISKLESS: Final = 1e-9  # standard deviation of a line relative to its greatest profit below which it has none


class Allocator:
    """Allocates by one method, again and again: convex programmes are compiled once. Can be pickled.

    ``risk_aversion``  >= 0 and ``return_floor``, least expected profit in $, are for mean_variance and min_cvar
    ``alpha``          confidence level in [0, 1) of min_cvar
    ``budgets``        ``(L,)`` > 0, shares of the risk, for risk_parity

    ``attempts`` tells, after a call, what was tried. Raises :class:`~gridpilot.errors.RiskError` for an unknown method and for parameters
    that are out of range or not the method's, :class:`~gridpilot.errors.MissingExtraError` where skfolio is needed and missing.
    """

    def __init__(
        self,
        method: Method = "risk_parity",
        *,
        risk_aversion: float | None = None,
        return_floor: float | None = None,
        alpha: float = 0.95,
        budgets: npt.ArrayLike | None = None,
    ) -> None:
        if method not in METHODS:
            raise RiskError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
        convex = method in ("mean_variance", "min_cvar")
        for name, value, fits in (
            ("risk_aversion", risk_aversion, convex),
            ("return_floor", return_floor, convex),
            ("budgets", budgets, method == "risk_parity"),
        ):
            if value is not None and not fits:
                raise RiskError(f"{name} is {value!r}, but {method} takes none")
        if risk_aversion is None:
            risk_aversion = math.inf if method == "min_cvar" else 0.0
        if not risk_aversion >= 0.0:
            raise RiskError(f"risk_aversion is {risk_aversion!r}, expected a number >= 0")
        if return_floor is not None and not math.isfinite(return_floor):
            raise RiskError(f"return_floor is {return_floor!r} $, expected a finite number")
        if method == "hierarchical":
            require_skfolio()
        self.method: Method = method
        self.risk_aversion, self.alpha = float(risk_aversion), check_alpha(alpha)
        self.return_floor = -math.inf if return_floor is None else float(return_floor)
        self.budgets = None if budgets is None else check_sample(budgets, "budgets")
        if self.budgets is not None and (self.budgets <= 0.0).any():
            raise RiskError(f"budgets are {self.budgets}, expected numbers above 0")
        self.attempts: tuple[str, ...] = ()
        self._convex: dict[str, ConvexAllocation] = {}

    def allocate(
        self, scenarios: npt.ArrayLike, caps_kw: npt.ArrayLike, total_kw: float, weights: npt.ArrayLike | None = None
    ) -> FloatArray:
        """Power for each line, ``(L,)`` kW, >= 0, at most its cap, at most ``total_kw`` together.

        ``scenarios``  ``(S, L)`` profit $ per kW of each line over the horizon, finite, S >= 1, L >= 1
        ``caps_kw``    ``(L,)`` >= 0;  ``total_kw`` >= 0
        ``weights``    ``(S,)`` >= 0, probabilities up to a common factor; ``None`` is equal ones

        Raises :class:`~gridpilot.errors.RiskError` for anything else, for a floor that cannot be reached, and where no solver found an
        answer, with what each of them said.
        """
        self.attempts = ()
        profits, caps, total = _check(scenarios, caps_kw, total_kw)
        probability = check_weights(weights, len(profits))
        if self.method == "hierarchical" and weights is not None:
            raise RiskError("weights were given, but hierarchical takes equally likely scenarios")
        if self.budgets is not None and len(self.budgets) != len(caps):
            raise RiskError(f"budgets have shape {self.budgets.shape}, expected ({len(caps)},), one a line")
        known, lines = probability > 0.0, caps > 0.0
        kw = np.zeros(len(caps))
        if total > 0.0 and lines.any():
            request = Request(
                profits[np.ix_(known, lines)],
                probability[known],
                caps[lines],
                total,
                self.risk_aversion,
                self.return_floor,
                self.alpha,
            )
            if self.method in ("mean_variance", "min_cvar"):
                kw[lines] = self._convex_allocation(request)
            else:
                kw[lines] = self._parity(request, None if self.budgets is None else self.budgets[lines])
        elif self.return_floor > 0.0:
            raise RiskError(f"return_floor is {self.return_floor:g} $, expected at most 0 where no line may have power")
        return kw

    def _convex_allocation(self, request: Request) -> FloatArray:
        kind: Any = self.method
        solver = self._convex.setdefault(self.method, ConvexAllocation(kind))
        try:
            return solver.solve(request)
        finally:
            self.attempts = tuple(solver.attempts)

    def _parity(self, request: Request, budgets: FloatArray | None) -> FloatArray:
        """Lines without variance first, then those with it share what is left."""
        profits, caps = request.scenarios, request.caps
        size = np.abs(profits).max(axis=0)
        unit = profits / np.where(size > 0.0, size, 1.0)
        mean = request.weights @ unit
        spread = np.sqrt(request.weights)[:, None] * (unit - mean)
        risky = np.sqrt((spread**2).sum(axis=0)) > RISKLESS
        kw = np.zeros(len(caps))
        kw[~risky] = fill_by_mean((mean * size)[~risky], caps[~risky], request.total)
        left = request.total - kw.sum()
        if not risky.any() or left <= 0.0:
            self.attempts = ("filled by mean, as no line with risk is left",)
            return kw
        if self.method == "hierarchical":
            kw[risky] = fill_by_weight(hierarchical_risk_parity(profits[:, risky]), caps[risky], left)
            self.attempts = ("skfolio: hierarchical risk parity",)
            return kw
        covariance = spread[:, risky].T @ spread[:, risky] * np.outer(size[risky], size[risky])
        share = np.ones(int(risky.sum())) if budgets is None else budgets[risky]
        try:
            kw[risky], self.attempts = budget_risk(covariance, caps[risky], left, share)
        except RiskError as error:
            raise RiskError(f"risk_parity of {len(share)} lines was not found; {error}") from error
        return kw


def allocate(
    scenarios: npt.ArrayLike,
    caps_kw: npt.ArrayLike,
    total_kw: float,
    *,
    method: Method = "risk_parity",
    weights: npt.ArrayLike | None = None,
    risk_aversion: float | None = None,
    return_floor: float | None = None,
    alpha: float = 0.95,
    budgets: npt.ArrayLike | None = None,
) -> FloatArray:
    """Allocate once: arguments and errors of :class:`Allocator` and :meth:`Allocator.allocate`. Returns ``(L,)`` kW.

    >>> allocate([[1.0, 0.5], [3.0, 1.5]], caps_kw=[100.0, 900.0], total_kw=300.0)
    array([100., 200.])
    """
    allocator = Allocator(method, risk_aversion=risk_aversion, return_floor=return_floor, alpha=alpha, budgets=budgets)
    return allocator.allocate(scenarios, caps_kw, total_kw, weights)


def _check(scenarios: npt.ArrayLike, caps_kw: npt.ArrayLike, total_kw: float) -> tuple[FloatArray, FloatArray, float]:
    try:
        profits = np.asarray(scenarios, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise RiskError(f"scenarios: expected (S, L) numbers, got {scenarios!r:.100}") from error
    if profits.ndim != 2 or 0 in profits.shape:
        raise RiskError(f"scenarios have shape {profits.shape}, expected (S, L) with at least one scenario and one line")
    if not np.isfinite(profits).all():
        s, line = np.argwhere(~np.isfinite(profits))[0]
        raise RiskError(f"scenario {s} of line {line} is {profits[s, line]} $ per kW, expected finite numbers")
    caps = check_sample(caps_kw, "caps_kw")
    if len(caps) != profits.shape[1]:
        raise RiskError(f"caps_kw have shape {caps.shape}, expected ({profits.shape[1]},), one a line")
    if (caps < 0.0).any():
        raise RiskError(f"caps_kw are {caps}, expected numbers >= 0")
    if isinstance(total_kw, bool) or not isinstance(total_kw, int | float) or not 0.0 <= total_kw < math.inf:
        raise RiskError(f"total_kw is {total_kw!r}, expected a finite number >= 0")
    return profits, caps, float(total_kw)
