"""Finding and building agents by name."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridpilot.agents.base import Agent
from gridpilot.errors import AgentError

__all__ = ["AGENTS", "build_agent", "find_agent"]

AGENTS: dict[str, str] = {
    "threshold": "gridpilot.agents.threshold.Threshold",
    "truthful": "gridpilot.agents.truthful.Truthful",
    "zero_intelligence": "gridpilot.agents.zero_intelligence.ZeroIntelligence",
}


def find_agent(target: str) -> type[Agent]:
    """The class behind a registered name or a dotted path like ``my_file.MyAgent`` (looked up in the working directory too).

    Raises :class:`~gridpilot.errors.AgentError` when there is none, naming what was looked for and where.
    """
    path = AGENTS.get(target, target)
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        raise AgentError(f"agent {target!r}: expected one of {', '.join(AGENTS)}, or a dotted path such as my_file.MyAgent")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise AgentError(
                f"agent {target!r}: there is no module {module_name!r} in {Path.cwd()} or the installed packages"
            ) from error
        raise AgentError(f"agent {target!r}: importing {module_name!r} failed: {error}") from error
    except Exception as error:  # a user's file may fail in any way; the message says which
        raise AgentError(f"agent {target!r}: importing {module_name!r} failed: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise AgentError(f"agent {target!r}: {module_name!r} has no {class_name!r}")
    if not (inspect.isclass(found) and issubclass(found, Agent)):
        raise AgentError(f"agent {target!r}: {class_name} is not a subclass of gridpilot.Agent")
    return found


def build_agent(target: str, params: Mapping[str, Any] | None = None) -> Agent:
    """An instance of ``find_agent(target)`` with keyword arguments ``params``. Raises :class:`~gridpilot.errors.AgentError`."""
    found = find_agent(target)
    try:
        return found(**(params or {}))
    except TypeError as error:
        raise AgentError(
            f"agent {target!r}: {error}; {found.__name__}{inspect.signature(found)} was given {dict(params or {})}"
        ) from error
