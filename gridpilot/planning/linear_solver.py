"""HiGHS with a model that stays: every tick changes its numbers in place and solves from the basis of the last one.

Most of what a warm solve costs is factoring that basis once; presolve is off because a presolved model forgets it. Money is scaled up
by a power of two, which rounds nothing, since the solver's tolerances are absolute and a kW over a tick is worth fractions of a cent.
"""

from __future__ import annotations

from typing import Any, Final

import highspy
import numpy as np
import numpy.typing as npt

from gridpilot.errors import PlanningError
from gridpilot.planning.linear_model import LinearModel, Numbers

__all__ = ["MONEY", "HotSolver"]

FloatArray = npt.NDArray[np.float64]

MONEY: Final = 4096.0  # $ to the solver's unit of money
OPTIONS: Final[dict[str, bool | int | float | str]] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "presolve": "off",
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
}


class HotSolver:
    """Solves one :class:`~gridpilot.planning.linear_model.LinearModel` with ever new numbers."""

    def __init__(self, model: LinearModel) -> None:
        self.model = model
        self.held = False  # whether `forbid` has been called since the last `load`
        self._solver: Any = None
        c = model.columns
        blocks = (c.x, c.started, c.charge, c.discharge, c.heat_removed, c.segment)
        self._priced = np.concatenate([at.ravel() for at in blocks]).astype(np.int32)
        self._bounded = np.concatenate([at.ravel() for at in (c.discharge, c.heat_removed, c.heat, c.segment)]).astype(np.int32)
        rows = (model.start_row[0], model.draw_row, model.storage_row[:1], model.hall_row)
        self._sided = np.concatenate(rows).astype(np.int32)
        self._cooling = list(zip(model.draw_row.tolist(), c.heat_removed.tolist(), strict=True))
        self._per_cop = np.zeros(0)

    def load(self, numbers: Numbers) -> None:
        """Take the numbers of a tick."""
        self.held = False
        if self._solver is None:
            self._solver = self._built(numbers)
            return
        solver = self._solver
        solver.changeColsCost(len(self._priced), self._priced, MONEY * numbers.profit[self._priced])
        at = self._bounded
        solver.changeColsBounds(len(at), at, numbers.col_lower[at], numbers.col_upper[at])
        at = self._sided
        solver.changeRowsBounds(len(at), at, numbers.row_lower[at], numbers.row_upper[at])
        if not np.array_equal(numbers.per_cop, self._per_cop):
            for (row, column), value in zip(self._cooling, numbers.per_cop.tolist(), strict=True):
                solver.changeCoeff(row, column, value)
            self._per_cop = numbers.per_cop

    def solve(self, deadline: float | None = None) -> None:
        """Find the optimum, within ``deadline`` seconds if one is given.

        Raises :class:`~gridpilot.errors.PlanningError` naming the solver's status; the next tick then begins with a new solver.
        """
        solver = self._solver
        for attempt in ("warm", "cold"):  # a basis can be numerically bad for the next solve; from scratch it need not be
            if deadline is not None:
                solver.setOptionValue("time_limit", solver.getRunTime() + deadline)
            solver.run()
            status = solver.getModelStatus()
            if status == highspy.HighsModelStatus.kOptimal:
                return
            if status == highspy.HighsModelStatus.kTimeLimit:
                break
            if attempt == "warm":
                solver.clearSolver()
                solver.setOptionValue("threads", 0)  # HiGHS refuses 1 where somebody else in the process began with more
        self._solver = None
        name, within = solver.modelStatusToString(status), "" if deadline is None else f" within {deadline} s"
        raise PlanningError(f"linear programme: HiGHS stopped with status {name!r}, expected 'Optimal'{within}")

    def solution(self) -> tuple[FloatArray, FloatArray]:
        """Values of the columns, and dual prices of the rows in $: what one more unit of a row's bound is worth."""
        solution = self._solver.getSolution()
        return np.array(solution.col_value), np.array(solution.row_dual) / MONEY

    def row(self, row: int) -> tuple[float, float]:
        """Value and dual price, $, of one row."""
        solution = self._solver.getSolution()
        return float(solution.row_value[row]), float(solution.row_dual[row]) / MONEY

    def dual(self, row: int) -> float:
        """The dual price of one row, $."""
        return float(self._solver.getSolution().row_dual[row]) / MONEY

    @property
    def objective(self) -> float:
        """Value of the optimum, $."""
        return float(self._solver.getObjectiveValue()) / MONEY

    def pin(self, row: int, lower: float, upper: float) -> None:
        """Hold a row between new bounds until the next :meth:`load`."""
        self._solver.changeRowBounds(row, lower, upper)

    def forbid(self, columns: npt.NDArray[np.int64]) -> None:
        """Hold columns at 0 until the next :meth:`load`."""
        self.held = True
        nothing = np.zeros(len(columns))
        self._solver.changeColsBounds(len(columns), columns.astype(np.int32), nothing, nothing)

    def _built(self, numbers: Numbers) -> Any:
        row, column, value = self.model.matrix
        value = value.copy()
        value[: self.model.n_steps] = numbers.per_cop
        self._per_cop = numbers.per_cop
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.model.n_columns, self.model.n_rows
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_ = MONEY * numbers.profit
        lp.col_lower_, lp.col_upper_ = numbers.col_lower, numbers.col_upper
        lp.row_lower_, lp.row_upper_ = numbers.row_lower, numbers.row_upper
        order = np.argsort(row, kind="stable")
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = row_starts(row, self.model.n_rows)
        lp.a_matrix_.index_ = column[order].astype(np.int32)
        lp.a_matrix_.value_ = value[order]
        return new_solver(lp)


def row_starts(row: npt.NDArray[np.int64], n_rows: int) -> npt.NDArray[np.int32]:
    """Where each row of a matrix sorted by rows begins, and the end: ``(n_rows + 1,)``."""
    return np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_rows))]).astype(np.int32)


def new_solver(lp: Any) -> Any:
    """A silent HiGHS holding ``lp``. Raises :class:`~gridpilot.errors.PlanningError` if it is refused."""
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in OPTIONS.items():
        solver.setOptionValue(name, value)
    if solver.passModel(lp) == highspy.HighsStatus.kError:
        raise PlanningError("linear programme: HiGHS refuses the programme, expected finite numbers")
    return solver
