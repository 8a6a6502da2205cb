"""Which journal an operator means: named as the engine names it, by its engine, or that of the only engine that runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gridpilot.errors import ConfigError
from gridpilot.live.config import check_journal
from gridpilot.live.running import RunningEngine

__all__ = ["DEFAULT", "as_option", "choose", "journal_path", "option_of", "pick"]

DEFAULT: Final = Path("runs/live.db")
OVERRIDE: Final = "live.journal="
PLAIN: Final = re.compile(r"[A-Za-z0-9_./@%-]+")


def option_of(argument: str) -> str:
    """``live.journal=FILE``, read as the engine reads it, quotes and all, is ``--journal=FILE`` here; all else is as it was.

    Raises :class:`~gridpilot.errors.ConfigError` where the engine could not read it either.
    """
    if not argument.startswith(OVERRIDE):
        return argument
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        value = OverridesParser.create().parse_override(argument).value()
    except HydraException as error:
        text = argument.removeprefix(OVERRIDE)
        raise ConfigError(f"{argument!r} cannot be read, expected quotes such as {shlex.quote(f'{OVERRIDE}{text!r}')}") from error
    return f"--journal={'' if value is None else value}"


def as_option(journal: Path) -> str:
    """The argument that names ``journal``, to be pasted into a shell."""
    text = str(journal)
    return f"{OVERRIDE}{text}" if PLAIN.fullmatch(text) else shlex.quote(f"--journal={text}")


def journal_path(text: str) -> Path:
    """The value of ``--journal``. Raises :class:`~gridpilot.errors.ConfigError` for one that can be no file's name."""
    try:
        return Path(check_journal(text))
    except ValueError as error:
        raise ConfigError(f"live.journal: {error}") from error


def pick(engines: Sequence[RunningEngine], name: str) -> RunningEngine:
    """The engine called ``name``. Raises :class:`~gridpilot.errors.ConfigError` where there is none or more than one."""
    called = [engine for engine in engines if engine.is_called(name)]
    if len(called) == 1:
        return called[0]
    problem = f"{len(called)} engines are called {name!r}" if called else f"no engine that runs is called {name!r}"
    raise ConfigError(f"{problem}; {listing(engines)}")


def listing(engines: Sequence[RunningEngine]) -> str:
    """The engines that run, in words."""
    if not engines:
        return "none runs on this machine"
    return f"{len(engines)} run{'s' if len(engines) == 1 else ''}: {'; '.join(engine.name for engine in engines)}"


def choose(engines: Sequence[RunningEngine], journal: Path | None, name: str | None) -> Path:
    """The journal to read: the one named, that of the engine named, or what is meant where nothing is named.

    That is the working folder's own where its engine runs or none does, and that of the only engine that runs otherwise. Raises
    :class:`~gridpilot.errors.ConfigError` where that does not tell.
    """
    if journal is not None:
        return journal
    if name is not None:
        return Path(pick(engines, name).journal)
    if not engines or any(engine.runs_on(DEFAULT) for engine in engines):
        return DEFAULT
    if len(engines) == 1:
        return Path(engines[0].journal)
    raise ConfigError(f"which journal? {listing(engines)}; name one of them, or live.journal=FILE")
