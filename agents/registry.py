"""Finding and building agents, see :mod:`gridpilot.presets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gridpilot import presets
from gridpilot.agents.base import Agent
from gridpilot.errors import AgentError

__all__ = ["AGENT", "build_agent", "find_agent", "registered"]

AGENT: Final = presets.Kind("agent", Agent, AgentError, "gridpilot.Agent")  # type: ignore[type-abstract]


def registered() -> dict[str, dict[str, Any]]:
    """The agents of ``conf/agent``: name -> its file, with the dotted path of the class as ``name`` and the parameters."""
    return presets.registered(AGENT.group)


def find_agent(name: str) -> type[Agent]:
    """The class behind a registered name or a dotted path like ``my_file.MyAgent`` (looked up in the working directory too).

    Raises :class:`~gridpilot.errors.AgentError` when there is none, naming what was looked for and where.
    """
    return presets.find(AGENT, name)


def build_agent(spec: str | Mapping[str, Any], params: Mapping[str, Any] | None = None) -> Agent:
    """The agent that ``spec`` names: a registered name, a dotted path, or a mapping with either as ``name`` and parameters.

    ``params`` are further parameters. Raises :class:`~gridpilot.errors.AgentError` for an agent that there is not and for parameters that
    the class does not take, naming what it takes.
    """
    return presets.build(AGENT, spec, params)
