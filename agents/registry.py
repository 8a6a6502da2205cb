"""Finding and building agents, see :mod:`gridpilot.presets`."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gridpilot import presets
from gridpilot.agents.base import Agent
from gridpilot.agents.by_value import BY_VALUE, carried
from gridpilot.errors import AgentError

__all__ = ["AGENT", "agent_class", "build_agent", "file_defaults", "find_agent", "is_own", "registered"]

AGENT: Final = presets.Kind("agent", Agent, AgentError, "gridpilot.Agent")  # type: ignore[type-abstract]

_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_OURS: Final = "gridpilot."


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


def agent_class(target: str, params: Mapping[str, Any]) -> type[Agent]:
    """The class that plays: the one that ``target`` names, or that of the agent which ``params`` carry."""
    if target != BY_VALUE:
        return find_agent(target)
    one = carried(params["pickled"])
    return one if isinstance(one, type) else type(one)


def is_own(target: str, params: Mapping[str, Any]) -> bool:
    """Whether an agent is the library's own, its parts included: no parameter names code of others, as ``planner: my_file.Mine`` does."""
    if target == BY_VALUE:
        return False
    others = [text for text in _strings(params) if _DOTTED.fullmatch(text) and not text.startswith(_OURS)]
    return (target in registered() or target.startswith(_OURS)) and not others


def file_defaults(target: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Default arguments that hold where an agent of one's own is built with ``params``, and name a file."""
    if target in registered():
        return {}
    if target == BY_VALUE and not isinstance(carried(params["pickled"]), type):
        return {}
    found = inspect.signature(agent_class(target, params)).parameters.items()
    texts = {name: parameter.default for name, parameter in found if name not in params}
    return {
        name: text
        for name, text in texts.items()
        if isinstance(text, str) and ("/" in text or "." in text) and os.path.isfile(text)
    }


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
