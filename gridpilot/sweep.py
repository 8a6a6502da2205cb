"""Several runs of one command, for every combination of the values given: looked at together first, told in one table at the end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.text import Text

from gridpilot.columns import Column, Form, console_for, fitted, printed
from gridpilot.errors import ConfigError
from gridpilot.stdout import results_only

__all__ = ["Found", "Job", "Main", "code_of", "run_all"]


@dataclass(frozen=True)
class Found:
    """What a run found, for a row of a table: figures by their heads, the most important first. ``code`` is its exit code."""

    figures: Mapping[str, str] = field(default_factory=dict)
    code: int = 0


Main = Callable[[dict[str, Any]], int | Found]


class Job(NamedTuple):
    """A run of a sweep: the overrides of its own, and its configuration."""

    overrides: tuple[str, ...]
    config: dict[str, Any]


def code_of(found: int | Found) -> int:
    """The exit code of a run."""
    return found if isinstance(found, int) else found.code


def run_all(jobs: Sequence[Job], main: Main) -> int:
    """Call ``main`` with each configuration in turn, print the table, and return the largest exit code.

    What the first one to fail raises comes out, after the table of those before it. Where all are to print JSON, one array of objects with
    the ``overrides`` and the ``result`` of each is printed instead. Raises :class:`~gridpilot.errors.ConfigError`, before any is run, where
    two would write to one ``out``.
    """
    varied = _varied(jobs)
    _check_outputs(jobs, varied)
    as_json = all(job.config.get("json") is True for job in jobs)
    found: list[int | Found] = []
    texts: list[str] = []
    try:
        for i, job in enumerate(jobs):
            print(f"run {i + 1} of {len(jobs)}: {' '.join(_values(job, varied).values())}", file=sys.stderr)
            text = io.StringIO()
            with contextlib.redirect_stdout(text) if as_json else contextlib.nullcontext():
                found.append(main(job.config))
            texts.append(text.getvalue())
    finally:
        done = jobs[: len(found)]
        if as_json:
            results = [{"overrides": list(job.overrides), "result": _loaded(text)} for job, text in zip(done, texts, strict=True)]
            print(json.dumps(results, indent=2, ensure_ascii=False))
        elif done:
            print_table(done, found, varied)
    return max(map(code_of, found), default=0)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # a line of JSON for each of several things
        return [json.loads(line) for line in text.splitlines()]


def _varied(jobs: Sequence[Job]) -> list[str]:
    """The keys whose overrides are not the same in all runs, in the order in which they were given."""
    keys = dict.fromkeys(override.partition("=")[0] for job in jobs for override in job.overrides)
    return [key for key in keys if len({_values(job, [key])[key] for job in jobs}) > 1]


def _values(job: Job, keys: Sequence[str]) -> dict[str, str]:
    """``key=value`` of a run, by key."""
    given = {override.partition("=")[0]: override for override in job.overrides}
    return {key: given.get(key, "") for key in keys}


def _check_outputs(jobs: Sequence[Job], varied: Sequence[str]) -> None:
    places: dict[str, int] = {}
    for job in jobs:
        if job.config.get("out") is not None:
            place = os.path.realpath(os.path.expanduser(str(job.config["out"])))
            places[place] = places.get(place, 0) + 1
    for job in jobs:
        out = str(job.config.get("out"))
        if places.get(os.path.realpath(os.path.expanduser(out)), 0) > 1:
            root, ending = os.path.splitext(out)
            named = "".join(f"-{_as_written(job.config, key.lstrip('+~'))}" for key in varied if key != "out" and "/" not in key)
            hint = f", such as {shlex.quote(f'out={root}{named}{ending}')}" if named else ""
            raise ConfigError(
                f"{max(places.values())} of the {len(jobs)} runs would write to out={out}, and each would overwrite the last: name it by "
                f"what changes{hint}"
            )


def _as_written(config: Mapping[str, Any], key: str) -> str:
    """What stands for the value of a key, or for the choice of a group, in a name."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return f"${{hydra:runtime.choices.{key}}}" if isinstance(value, Mapping) else f"${{{key}}}"


def print_table(jobs: Sequence[Job], found: Sequence[int | Found], varied: Sequence[str]) -> None:
    """Print a row a run: what was varied, and what was found, as much of it as the terminal is wide."""
    figures = [one.figures if isinstance(one, Found) else {} for one in found]
    heads = list(dict.fromkeys(head for one in figures for head in one))
    columns = [
        Column(key, _forms(key.lstrip("+"), [_values(job, [key])[key].partition("=")[2] for job in jobs]), left=True, stays=True)
        for key in varied
    ]
    columns += [Column(f"found {head}", _forms(head, [one.get(head, "–") for one in figures])) for head in heads]
    if any(map(code_of, found)):
        columns.append(Column("code", (Form("exit code", [str(code_of(one)) for one in found]),)))
    # What is found gives way from the right; a long value of a key is shortened, a number never.
    spare = [*(column.name for column in reversed(columns) if not column.stays for _ in column.forms), *(2 * list(varied))]
    with results_only() as out:
        console = console_for(out)
        printed(console, fitted(f"{len(jobs)} runs", columns, spare, console.width))


def _forms(head: str, cells: Sequence[str]) -> tuple[Form, ...]:
    texts = [Text(cell) for cell in cells]
    if all(_is_number(cell) or len(cell) <= 8 for cell in cells):
        return (Form(head.replace(" ", "\n", 1) if len(head) > 12 else head, texts),)
    return tuple(Form(head, texts, at_most) for at_most in (40, 16))


def _is_number(text: str) -> bool:
    return any(letter.isdigit() for letter in text) and not any(letter.isalpha() and letter not in "eE" for letter in text)
