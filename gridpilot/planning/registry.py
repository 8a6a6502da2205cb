"""Finding and building planners, see :mod:`gridpilot.presets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gridpilot import presets
from gridpilot.errors import PlanningError
from gridpilot.planning.base import Planner

__all__ = ["PLANNER", "build_planner"]

PLANNER: Final = presets.Kind("planner", Planner, PlanningError, "gridpilot.planning.Planner")  # type: ignore[type-abstract]


def build_planner(spec: str | Mapping[str, Any]) -> Planner:
    """The planner that ``spec`` names: a name of ``conf/planner``, a dotted path, or a mapping with either as ``name`` and parameters.

    Raises :class:`~gridpilot.errors.PlanningError` for a planner that there is not or a parameter that it does not take.
    """
    return presets.build(PLANNER, spec)
