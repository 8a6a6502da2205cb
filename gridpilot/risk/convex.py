"""Mean-variance and mean-CVaR allocation as convex programmes, solved with cvxpy.

With R the scenarios' profit per kW of each line, mu its mean, Sigma its covariance, and the weight lambda of risk,

    mean-variance   max  mu'x - lambda / 2  x' Sigma x            Markowitz, "Portfolio selection", 1952
    mean-CVaR       max  mu'x - lambda CVaR_alpha(-R x)           Rockafellar and Uryasev (2000): CVaR by its linear programme
    both            s.t. 0 <= x <= cap,  sum x <= total,  mu'x >= floor

lambda = inf minimises risk alone. What is not allotted stands idle, which earns and risks nothing. A problem is compiled once for its
shape (cvxpy's disciplined parametrised programming) and solved again with other numbers in 2 to 3 ms; it does not survive pickling,
and is then compiled again.

No solver is believed by its own status: an answer counts if it keeps the limits, if the objective computed from it is the one the
solver claims, and if it is no worse than standing idle or buying the best means first. Otherwise the next solver is asked.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import RiskError
from gridpilot.risk.measures import conditional_value_at_risk

__all__ = ["ConvexAllocation", "Request", "fill_by_mean"]

FloatArray = npt.NDArray[np.float64]
Kind = Literal["mean_variance", "min_cvar"]

SOLVERS: Final[dict[Kind, tuple[str, ...]]] = {"mean_variance": ("CLARABEL", "OSQP"), "min_cvar": ("CLARABEL", "HIGHS")}
TOLERANCE: Final = 1e-6  # of profits relative to the greatest there is


class Request(NamedTuple):
    """One allocation problem, checked and without lines that have no cap."""

    scenarios: FloatArray  # (S, L) $ per kW
    weights: FloatArray  # (S,) probabilities, > 0
    caps: FloatArray  # (L,) kW, > 0
    total: float  # kW, > 0
    risk_aversion: float  # lambda >= 0; 1/$ for mean-variance, a number for CVaR; may be inf
    floor: float  # $, -inf for none
    alpha: float


def fill_by_mean(mean: FloatArray, caps: FloatArray, total: float) -> FloatArray:
    """``(L,)`` kW: the lines of positive mean up to their caps, the best mean first, until ``total`` is used up. Ties: the first line."""
    x, left = np.zeros(len(caps)), total
    for i in np.argsort(-mean, kind="stable"):
        if mean[i] > 0.0 and left > 0.0:
            x[i] = min(caps[i], left)
            left -= x[i]
    return x


class ConvexAllocation:
    """Solves allocation problems of one kind; keeps the compiled programme of the last shape."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self.attempts: list[str] = []  # of the last call: what each solver asked said
        self._shape = (0, 0)
        self._problem: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"kind": self.kind, "attempts": self.attempts, "_shape": (0, 0), "_problem": None}

    def solve(self, request: Request) -> FloatArray:
        """``(L,)`` kW. Raises :class:`~gridpilot.errors.RiskError` with what each solver said where none found an answer."""
        self.attempts = []
        scenarios, weights, caps, total = request.scenarios, request.weights, request.caps, request.total
        # In units of the greatest power and the greatest profit: solvers' tolerances are absolute.
        kw = min(float(caps.max()), total)
        size = float(np.abs(scenarios).max())
        best = fill_by_mean(weights @ scenarios, caps, total)
        if request.risk_aversion == 0.0 or size == 0.0:
            self.attempts.append("filled by mean, as risk counts nothing")
            return best
        unit = request._replace(
            scenarios=scenarios / size,
            caps=np.minimum(caps / kw, total / kw),
            total=total / kw,
            floor=request.floor / (size * kw),
            risk_aversion=request.risk_aversion * (size * kw if self.kind == "mean_variance" else 1.0),
        )
        if not math.isfinite(unit.risk_aversion) and math.isfinite(request.risk_aversion):
            unit = unit._replace(risk_aversion=math.inf)  # beyond the range of numbers it is the same
        if (unit.floor - float(unit.weights @ unit.scenarios @ (best / kw))) > TOLERANCE:
            attainable = float(weights @ scenarios @ best)
            raise RiskError(f"return_floor is {request.floor:g} $, expected at most {attainable:g} $, the most there is to earn")
        self._set(unit)
        for solver in SOLVERS[self.kind]:
            x, said = self._ask(solver, unit, best / kw)
            self.attempts.append(f"{solver}: {said}")
            if x is not None:
                return x * kw
        raise RiskError(f"{self.kind} allocation of {len(caps)} lines was not found; {'; '.join(self.attempts)}")

    def _ask(self, solver: str, unit: Request, best: FloatArray) -> tuple[FloatArray | None, str]:
        from cvxpy.error import SolverError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of inaccurate answers, which are judged below
                # Never warm: the answer must not depend on the questions before.
                self._problem.solve(solver=solver, warm_start=False)
        except (SolverError, ValueError, ArithmeticError) as error:
            return None, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        status, x = str(self._problem.status), self._variable.value
        if x is None or not np.isfinite(x).all():
            return None, status
        off = max(float(np.max(-x)), float(np.max(x - unit.caps)), float(x.sum() - unit.total))
        x = np.clip(x, 0.0, unit.caps)
        x[x < 1e-9] = 0.0
        x *= min(1.0, unit.total / x.sum()) if x.any() else 1.0
        off = max(off, unit.floor - float(unit.weights @ unit.scenarios @ x))
        if off > TOLERANCE:
            return None, f"{status}, but off its limits by {off:.1e}"
        value, claimed = self._objective(x, unit), -float(self._problem.value)
        if abs(value - claimed) > TOLERANCE:
            return None, f"{status}, but claims {claimed:.9g} where its answer is worth {value:.9g}"
        for other, name in ((np.zeros_like(x), "idle"), (best, "filled by mean")):
            floored = unit.floor > float(unit.weights @ unit.scenarios @ other)
            if not floored and self._objective(other, unit) > value + TOLERANCE:
                return None, f"{status}, but worse than {name}"
        return x, status

    def _factors(self, unit: Request) -> tuple[float, float]:
        """Weights of mean and risk, the greater of them 1."""
        if math.isinf(unit.risk_aversion):
            return 0.0, 1.0
        return 1.0 / max(1.0, unit.risk_aversion), unit.risk_aversion / max(1.0, unit.risk_aversion)

    def _objective(self, x: FloatArray, unit: Request) -> float:
        of_mean, of_risk = self._factors(unit)
        profit = unit.scenarios @ x
        mean = float(unit.weights @ profit)
        if self.kind == "mean_variance":
            return of_mean * mean - of_risk * 0.5 * float(unit.weights @ (profit - mean) ** 2)
        return of_mean * mean - of_risk * conditional_value_at_risk(-profit, unit.alpha, unit.weights)

    def _set(self, unit: Request) -> None:
        """Put a problem's numbers into the compiled programme."""
        if self._problem is None or self._shape != unit.scenarios.shape:
            self._shape = (len(unit.scenarios), unit.scenarios.shape[1])
            self._compile(*self._shape)
        given, (of_mean, of_risk) = self._given, self._factors(unit)
        mean = unit.weights @ unit.scenarios
        given["mean"].value, given["gain"].value = mean, of_mean * mean
        given["caps"].value, given["total"].value = unit.caps, unit.total
        given["floor"].value = max(unit.floor, -1.0 - len(unit.caps))  # profits of a line are at most 1 here
        if self.kind == "mean_variance":
            spread = np.sqrt(unit.weights)[:, None] * (unit.scenarios - mean)
            triangle = np.linalg.qr(spread, mode="r")
            factor = np.zeros((len(mean), len(mean)))
            factor[: len(triangle)] = triangle
            given["factor"].value = math.sqrt(0.5 * of_risk) * factor
        else:
            given["loss"].value = -unit.scenarios
            given["edge"].value, given["tail"].value = of_risk, of_risk * unit.weights / (1.0 - unit.alpha)

    def _compile(self, samples: int, lines: int) -> None:
        import cvxpy

        cp: Any = cvxpy  # has no types of its own

        given: dict[str, Any] = {
            "mean": cp.Parameter(lines),
            "gain": cp.Parameter(lines),
            "caps": cp.Parameter(lines, nonneg=True),
            "total": cp.Parameter(nonneg=True),
            "floor": cp.Parameter(),
        }
        x = cp.Variable(lines, nonneg=True)
        limits = [x <= given["caps"], cp.sum(x) <= given["total"], given["mean"] @ x >= given["floor"]]
        if self.kind == "mean_variance":
            given["factor"] = cp.Parameter((lines, lines))
            risk = cp.sum_squares(given["factor"] @ x)
        else:
            given |= {
                "loss": cp.Parameter((samples, lines)),
                "edge": cp.Parameter(nonneg=True),
                "tail": cp.Parameter(samples, nonneg=True),
            }
            edge, beyond = cp.Variable(), cp.Variable(samples, nonneg=True)
            limits.append(beyond >= given["loss"] @ x - edge)
            risk = given["edge"] * edge + given["tail"] @ beyond
        self._variable, self._given = x, given
        self._problem = cp.Problem(cp.Minimize(risk - given["gain"] @ x), limits)
