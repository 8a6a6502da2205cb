"""Risk measures, and the allocation of power across a site's product lines."""

from __future__ import annotations

from gridpilot.risk.allocation import Allocator, allocate
from gridpilot.risk.drawdown import Drawdown, drawdown
from gridpilot.risk.measures import conditional_value_at_risk, scenario_cvar, value_at_risk
from gridpilot.risk.student_t import StudentT, fit_student_t, student_t_cvar, student_t_var
from gridpilot.risk.tail import tail_weights

__all__ = [
    "Allocator",
    "Drawdown",
    "StudentT",
    "allocate",
    "conditional_value_at_risk",
    "drawdown",
    "fit_student_t",
    "scenario_cvar",
    "student_t_cvar",
    "student_t_var",
    "tail_weights",
    "value_at_risk",
]
