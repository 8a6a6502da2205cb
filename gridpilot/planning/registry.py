"""Finding and building planners: by the name of a ``conf/planner`` file, or by a dotted path to a class of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot import presets
from gridpilot.errors import PlanningError
from gridpilot.planning.base import Planner

__all__ = ["build_planner"]


def build_planner(spec: str | Mapping[str, Any]) -> Planner:
    """A planner from a name, a dotted path, or a mapping whose ``target`` is either and whose other keys are parameters.

    Raises :class:`~gridpilot.errors.PlanningError` for an unknown name or a parameter the planner does not take.
    """
    given: dict[str, Any] = {"target": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("target", None)
    if not isinstance(name, str):
        raise PlanningError(f"planner {spec!r}: target is {name!r}, expected the name of a planner or a dotted path to a class")
    public = "gridpilot.planning.Planner"
    return presets.build("planner", name, given, Planner, PlanningError, public)  # type: ignore[type-abstract]
