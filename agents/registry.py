"""Finding and building agents: by the name of a ``conf/agent`` file, or by a dotted path to a class of one's own."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from gridpilot.agents.base import Agent
from gridpilot.errors import AgentError

__all__ = ["build_agent", "find_agent", "registered"]


@functools.cache
def registered() -> dict[str, dict[str, Any]]:
    """The agents of ``conf/agent``: name -> ``target`` (dotted path of the class) and its parameters."""
    folder = resources.files("gridpilot.conf") / "agent"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def find_agent(name: str) -> type[Agent]:
    """The class behind a registered name or a dotted path like ``my_file.MyAgent`` (looked up in the working directory too).

    Raises :class:`~gridpilot.errors.AgentError` when there is none, naming what was looked for and where.
    """
    path = registered()[name]["target"] if name in registered() else name
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        raise AgentError(f"agent {name!r}: expected one of {', '.join(registered())}, or a dotted path such as my_file.MyAgent")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise AgentError(
                f"agent {name!r}: there is no module {module_name!r} in {Path.cwd()} or the installed packages"
            ) from error
        raise AgentError(f"agent {name!r}: importing {module_name!r} failed: {error}") from error
    except Exception as error:  # a user's file may fail in any way; the message says which
        raise AgentError(f"agent {name!r}: importing {module_name!r} failed: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise AgentError(f"agent {name!r}: {module_name!r} has no {class_name!r}")
    if not (inspect.isclass(found) and issubclass(found, Agent)):
        raise AgentError(f"agent {name!r}: {class_name} is not a subclass of gridpilot.Agent")
    return found


def build_agent(name: str, params: Mapping[str, Any] | None = None) -> Agent:
    """An instance of ``find_agent(name)``; ``params`` are keyword arguments, on top of those of its ``conf/agent`` file.

    Raises :class:`~gridpilot.errors.AgentError` when the class does not take them, naming what it takes.
    """
    found = find_agent(name)
    given = {**registered().get(name, {}), **(params or {})}
    given.pop("target", None)
    signature = inspect.signature(found)
    try:
        signature.bind(**given)
    except TypeError as error:
        takes = ", ".join(parameter for parameter in signature.parameters) or "no parameters"
        raise AgentError(f"agent {name!r}: {error}; {found.__name__} takes {takes}") from error
    try:
        return found(**given)
    except AgentError:
        raise
    except Exception as error:  # a constructor may fail in any way
        raise AgentError(f"agent {name!r}: {found.__name__} failed to start: {type(error).__name__}: {error}") from error
