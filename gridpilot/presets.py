"""Parts by name: agents, forecasters, planners, price models and venues are all found and built here.

A part is named in the same way everywhere: by the name of a file ``conf/GROUP/NAME.yaml``, by the path of such a file of one's own
(``my.yaml``), by the dotted path of a class of one's own such as ``my_file.Mine``, or by a mapping that has one of them as ``name`` and the
part's parameters beside it. A file of ``conf`` is such a
mapping itself: its ``name`` is the dotted path of the class, and what else it holds are the parameters.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import yaml

from gridpilot.documents import read_yaml
from gridpilot.errors import ConfigError, GridPilotError
from gridpilot.file_access import is_installed, search_here_last, where_raised
from gridpilot.suggestions import did_you_mean

__all__ = ["Kind", "build", "described", "find", "is_file", "load_file", "load_preset", "named", "names", "registered"]

Part = TypeVar("Part")

_YAML: Final = (".yaml", ".yml")
_TABLES: Final = (".csv", ".gz", ".parquet", ".pq", ".tsv", ".txt")


@dataclass(frozen=True)
class Kind(Generic[Part]):
    """A kind of part."""

    group: str  # the folder of conf
    base: type[Part]
    error: type[GridPilotError]  # raised where a part cannot be found or built
    public: str  # how users know ``base``
    factory: str = ""  # class method that builds a part, where that is not the class itself


def names(group: str) -> list[str]:
    """The names of ``conf/GROUP``, sorted."""
    folder = resources.files("gridpilot.conf") / group
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


@functools.cache
def _loaded(group: str, name: str) -> Any:
    return yaml.safe_load((resources.files("gridpilot.conf") / group / f"{name}.yaml").read_text(encoding="utf-8"))


def load_preset(group: str, name: str) -> dict[str, Any]:
    """The mapping in ``conf/GROUP/NAME.yaml``, or in the file ``name`` of one's own, ``my.yaml``.

    Raises :class:`~gridpilot.errors.ConfigError` where there is none, with the choices.
    """
    if is_file(name, group):
        return load_file(group, name)
    if name not in names(group):
        raise ConfigError(f"{group}={name}: no such choice, expected one of {', '.join(names(group))}")
    loaded = copy.deepcopy(_loaded(group, name))
    assert isinstance(loaded, dict)
    return loaded


def described(group: str, spec: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """The mapping that ``spec`` stands for: itself, that of a file by its path, or a preset by name; see :func:`load_preset`."""
    return dict(spec) if isinstance(spec, Mapping) else load_preset(group, str(spec))


def is_file(name: str, group: str) -> bool:
    """Whether a choice is a file of one's own, ``my.yaml``, rather than a name; prices can be those of a table, ``my.csv``."""
    return name.endswith(_YAML) or (group == "prices" and name.endswith(_TABLES))


def load_file(group: str, name: str) -> dict[str, Any]:
    """The mapping in a file of one's own. Raises :class:`~gridpilot.errors.ConfigError` where there is none or it holds something else."""
    path = Path(name).expanduser()
    if not name.endswith(_YAML):
        replay = load_preset(group, "replay")
        return {**replay, **importlib.import_module(replay["name"].rpartition(".")[0]).replayed(path)}
    try:
        text = path.read_bytes()
    except OSError as error:
        hint = (
            f"; did you mean {group}={path.stem}?"
            if (resources.files("gridpilot.conf") / group / f"{path.stem}.yaml").is_file()
            else ""
        )
        raise ConfigError(f"{group}: {path} cannot be read: {error.strerror}{hint}") from error
    loaded = read_yaml(text, f"{group}: {path}", ConfigError)
    if not isinstance(loaded, dict):
        raise ConfigError(f"{group}: {path} holds {type(loaded).__name__}, expected a mapping as in conf/{group}")
    return {str(key): value for key, value in loaded.items()}


def registered(group: str) -> dict[str, dict[str, Any]]:
    """The parts of ``conf/GROUP``: name -> its file, with the dotted path of the class as ``name`` and the parameters."""
    return {name: load_preset(group, name) for name in names(group)}


def named(kind: Kind[Part], spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name, or dotted path, and the parameters that ``spec`` gives. Raises ``kind.error`` where it names nothing."""
    given: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
    if isinstance(given.get("name"), str) and is_file(given["name"], kind.group):
        given = {**load_file(kind.group, given["name"]), **{key: value for key, value in given.items() if key != "name"}}
    name = given.pop("name") if "name" in given else given.pop("model", None)  # what a price model is called in words
    if not isinstance(name, str):
        raise kind.error(f"{kind.group} {spec!r:.100}: name is {name!r}, expected {_expected(kind)}")
    return name, given


def find(kind: Kind[Part], name: str) -> type[Part]:
    """The class behind a name or a dotted path like ``my_file.Mine`` (looked up in the working directory too).

    Raises ``kind.error`` when there is none, naming what was looked for and where; what this project itself raises on import, such as a
    missing extra, comes through.
    """
    group, error = kind.group, kind.error
    path = str(_loaded(group, name)["name"]) if name in names(group) else name
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        meant = did_you_mean(name, names(group))
        raise error(f"{group} {name!r}: {meant and meant + ' '}expected {_expected(kind)}")
    if name not in names(group):
        search_here_last()
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
        raise error(
            f"{group} {name!r}: importing {module_name!r} failed: {type(failed).__name__}: {failed}{where_raised(failed)}"
        ) from failed
    found = getattr(module, class_name, None)
    if found is None:
        place = getattr(module, "__file__", None)
        theirs = (
            f" ({place}; a file of yours needs a name that no installed module has)" if place and is_installed(Path(place)) else ""
        )
        raise error(f"{group} {name!r}: {module_name!r} has no {class_name!r}{theirs}")
    if not (inspect.isclass(found) and issubclass(found, kind.base)):
        raise error(f"{group} {name!r}: {class_name} is not a subclass of {kind.public}")
    return found


def build(kind: Kind[Part], spec: str | Mapping[str, Any], params: Mapping[str, Any] | None = None, **fixed: Any) -> Part:
    """The part that ``spec`` names. ``params`` go on top of its parameters, and those on top of its file's; ``fixed`` every part takes.

    Raises ``kind.error`` when there is no such class, when it does not take the parameters, naming what it takes, or when it fails to
    start; what this project itself raises comes through.
    """
    name, own = named(kind, spec)
    found = find(kind, name)
    preset = load_preset(kind.group, name) if name in names(kind.group) else {}
    given = {key: value for key, value in {**preset, **own, **(params or {})}.items() if key != "name"}
    make = getattr(found, kind.factory) if kind.factory else found
    signature = inspect.signature(make)
    try:
        signature.bind(**fixed, **given)
    except TypeError as wrong:
        takes = ", ".join(key for key in signature.parameters if key not in fixed) or "no parameters"
        raise kind.error(f"{kind.group} {name!r}: {wrong}; {found.__name__} takes {takes}") from wrong
    try:
        part: Part = make(**fixed, **given)
    except GridPilotError:
        raise
    except Exception as failed:  # a constructor may fail in any way
        raise kind.error(
            f"{kind.group} {name!r}: {found.__name__} failed to start: {type(failed).__name__}: {failed}{where_raised(failed)}"
        ) from failed
    return part


def _told(failed: Exception) -> str:
    return f"{type(failed).__name__}: {failed}{where_raised(failed)}"


def _expected(kind: Kind[Any]) -> str:
    return f"one of {', '.join(names(kind.group))}, or a dotted path such as my_file.Mine"
