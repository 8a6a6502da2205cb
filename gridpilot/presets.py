"""Named parts: a ``conf/GROUP/NAME.yaml`` with the dotted path of a class as ``target`` and its parameters beside it.

Agents, forecasters and planners are all found and built this way; a dotted path of one's own takes the place of a name.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gridpilot.errors import GridPilotError

__all__ = ["build", "find", "registered"]

Part = TypeVar("Part")


@functools.cache
def registered(group: str) -> dict[str, dict[str, Any]]:
    """The parts of ``conf/GROUP``: name -> ``target`` and its parameters."""
    folder = resources.files("gridpilot.conf") / group
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def find(group: str, name: str, base: type[Part], error: type[GridPilotError], public: str) -> type[Part]:
    """The class behind a name of ``group`` or a dotted path like ``my_file.Mine`` (looked up in the working directory too).

    ``public`` is how users know ``base``. Raises ``error`` when there is none, naming what was looked for and where; what this project
    itself raises on import, such as a missing extra, comes through.
    """
    known = registered(group)
    path = str(known[name]["target"]) if name in known else name
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        raise error(f"{group} {name!r}: expected one of {', '.join(known)}, or a dotted path such as my_file.Mine")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except GridPilotError:
        raise
    except ModuleNotFoundError as missing:
        if missing.name is not None and (module_name == missing.name or module_name.startswith(missing.name + ".")):
            raise error(
                f"{group} {name!r}: there is no module {module_name!r} in {Path.cwd()} or the installed packages"
            ) from missing
        raise error(f"{group} {name!r}: importing {module_name!r} failed: {missing}") from missing
    except Exception as failed:  # a user's file may fail in any way; the message says which
        raise error(f"{group} {name!r}: importing {module_name!r} failed: {type(failed).__name__}: {failed}") from failed
    found = getattr(module, class_name, None)
    if found is None:
        raise error(f"{group} {name!r}: {module_name!r} has no {class_name!r}")
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise error(f"{group} {name!r}: {class_name} is not a subclass of {public}")
    return found


def build(
    group: str, name: str, params: Mapping[str, Any], base: type[Part], error: type[GridPilotError], public: str, **fixed: Any
) -> Part:
    """An instance of ``find(group, name, ...)``: keyword arguments ``params`` on top of those of its file, and ``fixed`` ones.

    Raises ``error`` when the class does not take them, naming what it takes, or when it fails to start; what this project itself raises
    comes through.
    """
    found = find(group, name, base, error, public)
    given = {**registered(group).get(name, {}), **params}
    given.pop("target", None)
    signature = inspect.signature(found)
    try:
        signature.bind(**fixed, **given)
    except TypeError as wrong:
        takes = ", ".join(key for key in signature.parameters if key not in fixed) or "no parameters"
        raise error(f"{group} {name!r}: {wrong}; {found.__name__} takes {takes}") from wrong
    try:
        return found(**fixed, **given)
    except GridPilotError:
        raise
    except Exception as failed:  # a constructor may fail in any way
        raise error(f"{group} {name!r}: {found.__name__} failed to start: {type(failed).__name__}: {failed}") from failed
