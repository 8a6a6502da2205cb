"""Finding and building agents: by the name of a ``conf/agent`` file, or by a dotted path to a class of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot import presets
from gridpilot.agents.base import Agent
from gridpilot.errors import AgentError

__all__ = ["build_agent", "find_agent", "registered"]


def registered() -> dict[str, dict[str, Any]]:
    """The agents of ``conf/agent``: name -> ``target`` (dotted path of the class) and its parameters."""
    return presets.registered("agent")


def find_agent(name: str) -> type[Agent]:
    """The class behind a registered name or a dotted path like ``my_file.MyAgent`` (looked up in the working directory too).

    Raises :class:`~gridpilot.errors.AgentError` when there is none, naming what was looked for and where.
    """
    return presets.find("agent", name, Agent, AgentError, "gridpilot.Agent")  # type: ignore[type-abstract]


def build_agent(name: str, params: Mapping[str, Any] | None = None) -> Agent:
    """An instance of ``find_agent(name)``; ``params`` are keyword arguments, on top of those of its ``conf/agent`` file.

    Raises :class:`~gridpilot.errors.AgentError` when the class does not take them, naming what it takes.
    """
    return presets.build("agent", name, params or {}, Agent, AgentError, "gridpilot.Agent")  # type: ignore[type-abstract]
