"""The command line of a configured command, made into overrides that Hydra reads.

What users write and Hydra has no words for is translated here: a class of one's own or a file as the choice of a group, and a folder of
files, whatever signs its name has.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import yaml

from gridpilot.errors import ConfigError
from gridpilot.foreign_files import address_of
from gridpilot.presets import is_file, load_file

__all__ = ["HELP", "CommandLine", "quoted", "read_command_line", "shell_quoted"]

HELP: Final = """\
Options:
  key=value         set a key; nested keys are written a.b=value, lists [a,b]; a config group is chosen by its name,
                    or by a file of one's own: prices=my.yaml, prices=my.csv
  -m, --multirun    run every combination of comma-separated values: seed=1,2,3
  --cfg job         print the configuration instead of running it
  --config-dir DIR  look for configuration files in DIR as well
Values with other signs than letters, digits and /-_.+%*:@?| need quotes inside the quotes: 'column="Price (EUR)"'"""

# Groups whose choices are parts (see gridpilot.presets): a class of the user's own can take a choice's place.
PARTS: Final = ("agent", "prices")
DOTTED: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

# Hydra's options that make sense here, and the number of values each takes.
HYDRA_OPTIONS: Final = {
    **dict.fromkeys(("-m", "--multirun", "-r", "--run", "--resolve", "--hydra-help"), 0),
    **dict.fromkeys(("-c", "--cfg", "-p", "--package", "-cd", "--config-dir", "-i", "--info"), 1),
}
CONFIG_DIR: Final = ("-cd", "--config-dir")


@dataclass(frozen=True)
class CommandLine:
    """Hydra's options and overrides; ``search`` is the override that names the folders beside the package's, or nothing."""

    options: tuple[str, ...]
    overrides: tuple[str, ...]
    search: tuple[str, ...] = ()

    @property
    def multirun(self) -> bool:
        """Whether every combination of values is to be run."""
        return not {"-m", "--multirun"}.isdisjoint(self.options)


def read_command_line(argv: Sequence[str], package: str, folder: Path) -> CommandLine:
    """Options and overrides of ``argv``; files that take a choice's place are copied into ``folder``, an empty one.

    Raises :class:`~gridpilot.errors.ConfigError` for an unknown option, a folder that is not there and a file that cannot be read.
    """
    options, overrides, folders = _split(argv)
    overrides = _own_parts(_own_files(overrides, package, folder))
    # Files given by path take the first place, so that no folder's file of the same name does.
    folders = [*([folder] if any(folder.iterdir()) else []), *folders]
    search = (f"hydra.searchpath=[{','.join(quoted(address_of(one)) for one in folders)}]",) if folders else ()
    return CommandLine(tuple(options), tuple(overrides), search)


def quoted(text: str) -> str:
    """``text`` as Hydra's grammar writes a string, whatever is in it.

    >>> print(quoted("it's (1)"))
    "it's (1)"
    >>> print(quoted('a "b" c'))
    'a "b" c'
    """
    quote = "'" if '"' in text and "'" not in text else '"'
    # A backslash stands for itself but before the quote that ends the string, where it escapes.
    escaped = re.sub(rf"(\\*)({quote}|$)", lambda found: 2 * found[1] + ("\\" if found[2] else "") + found[2], text)
    return f"{quote}{escaped}{quote}"


def shell_quoted(override: str) -> str:
    """``key=value`` with the value as text, to be pasted into a shell.

    >>> print(shell_quoted("column=Price (EUR)"))
    'column="Price (EUR)"'
    """
    key, _, value = override.partition("=")
    return shlex.quote(f"{key}={quoted(str(Path(value).expanduser()) if value.startswith('~') else value)}")


def _split(argv: Sequence[str]) -> tuple[list[str], list[str], list[Path]]:
    """Options with their values, overrides, and folders to look in: Hydra's own parser wants them one after the other."""
    options: list[str] = []
    overrides: list[str] = []
    folders: list[Path] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        name, given, value = argument.partition("=")
        if name not in HYDRA_OPTIONS:
            known = sorted(option for option in (*HYDRA_OPTIONS, "--help") if option.startswith("--"))
            raise ConfigError(f"unknown option {name!r}; keys are set with key=value, and options are {', '.join(known)}")
        takes = HYDRA_OPTIONS[name] and not given
        if takes and not rest:
            raise ConfigError(f"option {name!r} needs a value")
        words = [argument, rest.pop(0)] if takes else [argument]
        if name in CONFIG_DIR:
            folders.append(_folder(name, words[-1] if takes else value))
        else:
            options += words
    return options, overrides, folders


def _folder(option: str, given: str) -> Path:
    folder = Path(given).expanduser()
    if not given or not folder.is_dir():
        reason = "it is a file" if given and folder.exists() else "there is no such folder"
        raise ConfigError(f"{option} {given!r}: {reason}, expected a folder that holds files such as prices/my.yaml")
    return folder.absolute()


def _own_files(overrides: Sequence[str], package: str, folder: Path) -> list[str]:
    """The same overrides with each file that takes a choice's place, ``prices=my.yaml``, put into ``folder`` and named."""
    rewritten = []
    for override in overrides:
        group, _, value = override.partition("=")
        choices = [choice.strip().strip("'\"") for choice in value.split(",")]
        if (
            any(is_file(choice, group) for choice in choices)
            and re.fullmatch(r"\w+", group)
            and (resources.files(package) / group).is_dir()
        ):
            taken = {entry.name for entry in (resources.files(package) / group).iterdir()}
            override = f"{group}={','.join(_copied(group, choice, folder / group, taken) for choice in choices)}"
        rewritten.append(override)
    return rewritten


def _copied(group: str, choice: str, folder: Path, taken: set[str]) -> str:
    """The name under which a choice that is a file stands in ``folder``; any other choice as it is."""
    if not is_file(choice, group):
        return choice
    path = Path(choice).expanduser()
    loaded = load_file(group, choice)
    folder.mkdir(exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)
    while f"{name}.yaml" in taken:
        name += "_"
    taken.add(f"{name}.yaml")
    copy = folder / f"{name}.yaml"
    if path.suffix in (".yaml", ".yml"):
        shutil.copyfile(path, copy)  # with the defaults that it may build on
    else:
        copy.write_text(yaml.safe_dump(loaded), encoding="utf-8")
    return name


def _own_parts(overrides: Sequence[str]) -> list[str]:
    """The same overrides with each part that is no file of its group, ``prices=my_file.Mine`` or ``prices={name: ...}``, put by value.

    Hydra takes a group's choice from files alone: the choice is deleted, its value added, and keys below it may be new.
    """
    own: dict[str, list[str]] = {}
    for override in overrides:
        key, _, value = override.partition("=")
        if key in PARTS and (value.startswith("{") or DOTTED.fullmatch(value)):
            mapping = value if value.startswith("{") else f"{{name: {value}}}"
            found = re.search(r"\bname:\s*([\w.]+)", mapping)
            choice = found.group(1) if found else "null"
            own[key] = [f"~{key}", f"+{key}={mapping}", f"++hydra.runtime.choices.{key}={choice}"]
    rewritten = []
    for override in overrides:
        group = override.partition("=")[0].partition(".")[0]
        if group not in own:
            rewritten.append(override)
        elif override.startswith(f"{group}."):
            rewritten.append(f"++{override}")
        elif own[group]:
            rewritten += own[group]
            own[group] = []
    return rewritten
