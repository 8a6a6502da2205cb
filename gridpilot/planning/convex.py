"""The planner's problem as it is read, in cvxpy: the definition that the fast planners are checked against, and the place for variants.

It is written from :mod:`gridpilot.planning.base` and :mod:`gridpilot.market.physics` and shares nothing with the linear programme but the
blocks. Everything about a site and a tick is a parameter of a disciplined parametrised programme (Agrawal et al., "Differentiable convex
optimization layers", 2019), so that cvxpy compiles it once for each number of machine classes, blocks and scenarios.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState
from gridpilot.market.site import Site, pack_sites
from gridpilot.market.units import DT
from gridpilot.planning.base import Outlook, Plan, Planner
from gridpilot.planning.blocks import DAY, Blocks, block_ticks
from gridpilot.planning.convex_problem import ConvexProblem
from gridpilot.planning.limits import check_state, soft_limits, terminal_blocks

__all__ = ["ConvexReference"]

FloatArray = npt.NDArray[np.float64]

SOLVERS: Final[dict[str, dict[str, Any]]] = {  # in the order they are tried, with their tolerances
    "PIQP": {"eps_abs": 1e-10, "eps_rel": 1e-10, "max_iter": 500},
    "CLARABEL": {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10},
    "HIGHS": {},
}


class ConvexReference(Planner):
    """Plans by cvxpy with the first of ``solvers`` that is installed and finds an optimum.

    ``blocks``          as those of :class:`~gridpilot.planning.linear.LinearProgramme`
    ``quadratic_wear``  $/kWh on top of the wear cost where the battery runs at full power, in proportion to its power below
    ``risk_weight``     [0, 1] and ``tail`` (0, 1]: weight of the CVaR, where the outlook has scenarios
    ``solvers``         cvxpy's names; ``None`` is PIQP, Clarabel, HiGHS (which takes no quadratic wear)
    """

    name: ClassVar[str] = "convex"

    def __init__(
        self,
        blocks: str | Sequence[tuple[int, int]] = DAY,
        quadratic_wear: float = 0.0,
        risk_weight: float = 0.0,
        tail: float = 0.2,
        solvers: Sequence[str] | None = None,
    ) -> None:
        block_ticks(blocks, 1)
        if not (math.isfinite(quadratic_wear) and quadratic_wear >= 0.0):
            raise PlanningError(f"convex reference: quadratic_wear is {quadratic_wear}, expected $/kWh >= 0")
        if not (0.0 <= risk_weight <= 1.0 and 0.0 < tail <= 1.0):
            raise PlanningError(f"convex reference: risk_weight is {risk_weight}, tail {tail}, expected [0, 1] and (0, 1]")
        self.blocks, self.quadratic_wear, self.risk_weight, self.tail = blocks, quadratic_wear, risk_weight, tail
        self.solvers = tuple(SOLVERS) if solvers is None else tuple(solvers)
        self._problems: dict[tuple[int, int, int, int], ConvexProblem] = {}

    def reset(self, site: Site) -> None:
        """Take up ``site``; problems compiled for others of the same shape are kept."""
        self._arrays = pack_sites([site])
        self._classes = len(site.fleet)

    def plan(self, state: SiteState, outlook: Outlook) -> Plan:
        """Plan from ``state``; see :class:`~gridpilot.planning.base.Planner`."""
        problem = self._filled(state, outlook)
        self._solve(problem)
        return problem.read(self._classes, self.name, soft_limits(self._arrays, state))

    def bid_curve(self, state: SiteState, outlook: Outlook, points: int = 11) -> FloatArray:
        """The worth of the first tick's grid power by ``points`` (>= 2) solves with that power pinned: differences between them."""
        if points < 2:
            raise PlanningError(f"bid curve: points is {points}, expected at least 2")
        problem = self._filled(state, outlook)
        widest = problem.most_power()
        if widest <= 0.0:
            return np.zeros((0, 2))
        at, worth = np.linspace(0.0, widest, points), np.empty(points)
        for k, kw in enumerate(at):
            problem.pin(float(kw))
            self._solve(problem)
            worth[k] = problem.objective / DT + float(outlook.prices[0, 0]) * kw
        kw = np.diff(at)
        return np.column_stack([kw, np.minimum.accumulate(np.diff(worth) / kw)])

    def _filled(self, state: SiteState, outlook: Outlook) -> ConvexProblem:
        check_state(state, self._classes)
        terminal = terminal_blocks(self._arrays, outlook)
        blocks = Blocks(self.blocks, outlook.horizon)
        scenarios = outlook.prices[None]
        if self.risk_weight > 0.0 and outlook.scenarios is not None and len(outlook.scenarios):
            scenarios = np.array(outlook.scenarios)
            scenarios[:, 0] = outlook.prices[0]
        shape = (self._arrays.n_classes, len(blocks), len(scenarios), max(12, len(terminal)))
        if shape not in self._problems:
            self._problems[shape] = ConvexProblem(*shape, quadratic=self.quadratic_wear > 0.0)
        problem = self._problems[shape]
        problem.fill_site(self._arrays, state, outlook, blocks)
        problem.fill_prices(self._arrays, scenarios, terminal)
        problem.fill_measure(self.risk_weight if len(scenarios) > 1 else 0.0, self.tail, self.quadratic_wear)
        return problem

    def _solve(self, problem: ConvexProblem) -> None:
        """Solve, and again with every block held to charging or to discharging if one did both at once."""
        self._optimum(problem)
        if problem.hold_to_one():
            self._optimum(problem)

    def _optimum(self, problem: ConvexProblem) -> None:
        cvxpy: Any = importlib.import_module("cvxpy")

        tried = []
        for name in self.solvers:
            if name not in cvxpy.installed_solvers():
                tried.append(f"{name}: not installed")
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "ignore"
                    )  # of solutions that may be inaccurate: their status says so, and the next is tried
                    problem.programme.solve(solver=name, warm_start=False, **SOLVERS.get(name, {}))
            except (cvxpy.SolverError, ValueError) as error:  # the next solver is tried, and this one named if none succeeds
                tried.append(f"{name}: {error}")
                continue
            if problem.programme.status == "optimal":
                return
            tried.append(f"{name}: {problem.programme.status}")
        raise PlanningError(f"convex reference: no solver found an optimum ({'; '.join(tried)}), expected one of them to")
