"""The risk-averse linear programme: one decision now, a path of its own for every price scenario, and a premium on the worst of them.

Maximises ``(1 - risk_weight) mean + risk_weight CVaR`` of the profit over equally likely scenarios, where the conditional value at risk is
the mean of the worst ``tail`` of them, in the linear form of Rockafellar and Uryasev, "Optimization of conditional value-at-risk",
Journal of Risk 2 (2000):

    CVaR = max over eta of  eta - 1 / (tail S) sum_s max(0, eta - profit_s)

What is earned in the first tick is the same in all scenarios and adds to either measure as it is, so that only later profits stand
in the risk rows, and the dual prices are $ of the objective as in the riskless programme.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import highspy
import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.planning.base import Outlook
from gridpilot.planning.blocks import DAY
from gridpilot.planning.linear import LinearProgramme
from gridpilot.planning.linear_model import LinearModel, Numbers
from gridpilot.planning.linear_solver import MONEY, HotSolver, new_solver, row_starts

__all__ = ["CVaRProgramme", "RiskSolver"]

FloatArray = npt.NDArray[np.float64]


class CVaRProgramme(LinearProgramme):
    """Plans over the outlook's scenarios; over its prices, without risk, where it has none.

    ``risk_weight``  [0, 1], 0 is the mean alone
    ``tail``         (0, 1], share of the scenarios that counts as the tail

    The plan's trajectories beyond the first tick are means over the scenarios, its objective is the measure that is maximised.
    """

    name: ClassVar[str] = "cvar"

    def __init__(
        self,
        risk_weight: float = 0.5,
        tail: float = 0.2,
        blocks: str | Sequence[tuple[int, int]] = DAY,
        deadline: float | None = None,
    ) -> None:
        super().__init__(blocks, deadline)
        if not 0.0 <= risk_weight <= 1.0:
            raise PlanningError(f"cvar: risk_weight is {risk_weight}, expected 0 to 1")
        if not 0.0 < tail <= 1.0:
            raise PlanningError(f"cvar: tail is {tail}, expected a share above 0 and at most 1")
        self.risk_weight, self.tail = risk_weight, tail

    def _scenarios(self, outlook: Outlook) -> FloatArray:
        if outlook.scenarios is None or len(outlook.scenarios) == 0:
            return super()._scenarios(outlook)
        scenarios = np.array(outlook.scenarios, dtype=np.float64)
        scenarios[:, 0] = outlook.prices[0]
        return scenarios

    def _new_solver(self, model: LinearModel) -> HotSolver:
        return RiskSolver(model, self.risk_weight, self.tail)


class RiskSolver(HotSolver):
    """The model with eta, a shortfall for every scenario and a row that defines it.

    Prices stand in those rows, so the whole matrix changes with every tick: it is passed anew, and the last basis given back.
    """

    def __init__(self, model: LinearModel, risk_weight: float, tail: float) -> None:
        super().__init__(model)
        n_scenarios, c = model.n_scenarios, model.columns
        self._basis: Any = None
        steps = np.arange(1, model.n_steps).reshape(n_scenarios, -1)
        parts = [
            np.concatenate([at[own].ravel() for at in (c.x, c.started, c.charge, c.discharge, c.heat_removed)] + [c.segment[s]])
            for s, own in enumerate(steps)
        ]
        self._earning = np.concatenate(parts)  # columns that earn after the first tick, scenario by scenario
        risk_row = model.n_rows + np.arange(n_scenarios)
        eta, shortfall = model.n_columns, model.n_columns + 1 + np.arange(n_scenarios)
        row, column, value = model.matrix
        earned = np.repeat(risk_row, [len(part) for part in parts])
        row = np.concatenate([row, earned, risk_row, risk_row])
        column = np.concatenate([column, self._earning, np.full(n_scenarios, eta), shortfall])
        self._value = np.concatenate([value, np.zeros(len(earned)), np.full(n_scenarios, -1.0), np.ones(n_scenarios)])
        self._cooling_at = slice(0, model.n_steps)
        self._earned_at = slice(len(value), len(value) + len(earned))
        self._order = np.argsort(row, kind="stable")
        self._starts, self._column = row_starts(row, model.n_rows + n_scenarios), column[self._order].astype(np.int32)

        self._share = np.ones(model.n_columns)  # of a column's profit that the objective has without the risk rows
        self._share[self._earning] = (1.0 - risk_weight) / n_scenarios
        self._cost = np.concatenate([[risk_weight], np.full(n_scenarios, -risk_weight / (tail * n_scenarios))])

    def load(self, numbers: Numbers) -> None:
        """Take the numbers of a tick."""
        self.held = False
        n_scenarios = self.model.n_scenarios
        self._value[self._cooling_at] = numbers.per_cop
        self._value[self._earned_at] = MONEY * numbers.profit[self._earning]
        none, without_end = np.zeros(n_scenarios), np.full(n_scenarios, np.inf)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.model.n_columns + 1 + n_scenarios, self.model.n_rows + n_scenarios
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_ = np.concatenate([MONEY * numbers.profit * self._share, self._cost])
        lp.col_lower_ = np.concatenate([numbers.col_lower, [-np.inf], none])
        lp.col_upper_ = np.concatenate([numbers.col_upper, [np.inf], without_end])
        lp.row_lower_ = np.concatenate([numbers.row_lower, none])
        lp.row_upper_ = np.concatenate([numbers.row_upper, without_end])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = self._starts, self._column, self._value[self._order]
        if self._solver is None:
            self._solver, self._basis = new_solver(lp), None
            return
        if self._solver.passModel(lp) == highspy.HighsStatus.kError:
            self._solver = None
            raise PlanningError("cvar: HiGHS refuses the programme, expected finite numbers")
        if self._basis is not None:
            self._solver.setBasis(self._basis)

    def solve(self, deadline: float | None = None) -> None:
        """Find the optimum and keep its basis."""
        super().solve(deadline)
        self._basis = self._solver.getBasis()
