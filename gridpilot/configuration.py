"""Hydra configuration of the commands that run experiments, and its validation.

``run`` is ``hydra.main`` with two habits changed: a single run writes no folder and no log of Hydra's own (a command owns its
output), and what is wrong with an override is told in one line that names the key and what was expected.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import hydra
import yaml
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from gridpilot.errors import ConfigError
from gridpilot.foreign_files import without_environment
from gridpilot.overrides import HELP, CommandLine, quoted, read_command_line, shell_quoted
from gridpilot.suggestions import did_you_mean, expected_one_of, listed
from gridpilot.sweep import Job, Main, code_of, run_all

__all__ = ["composed", "composed_with", "run", "validate"]

Model = TypeVar("Model", bound=BaseModel)

CONFIG_PACKAGE: Final = "gridpilot.conf"

QUIET: Final = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra.job.chdir=false",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)


def composed(config_name: str, overrides: Sequence[str] = (), *, package: str = CONFIG_PACKAGE) -> dict[str, Any]:
    """The configuration ``config_name`` with its defaults and ``overrides``, as plain dicts, lists and scalars."""
    with initialize_config_module(package, version_base=None):
        values = OmegaConf.to_container(compose(config_name, overrides=list(overrides)), resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def composed_with(config_name: str, settings: Mapping[str, Any], *, closed: Collection[str] = ()) -> dict[str, Any]:
    """The configuration with ``settings`` of its keys, of nested ones those that change.

    Raises :class:`~gridpilot.errors.ConfigError` for a key that it has not got, or that is among ``closed``.
    """
    config = composed(config_name)
    known = sorted(set(config) - set(closed))
    for key, value in settings.items():
        if key not in known:
            hint = did_you_mean(key, known) or "known are " + ", ".join(known)
            raise ConfigError(f"{config_name}: unknown setting {key!r}; {hint}")
        config[key] = {**config[key], **value} if isinstance(config[key], dict) and isinstance(value, Mapping) else value
    return config


def run(config_name: str, argv: Sequence[str], main: Main, *, package: str = CONFIG_PACKAGE) -> int:
    """Compose ``config_name`` with the overrides ``argv`` and call ``main`` with the resolved configuration.

    ``config_name``  a yaml file of ``package``, without its extension.
    ``argv``         Hydra's command line: overrides and options such as ``-m`` (one call of ``main`` a combination, see
                     :func:`gridpilot.sweep.run_all`), ``--cfg job``, ``--help``, ``--config-dir``. A group's choice can be a file given by
                     its path; one of ``PARTS`` can be a dotted path or a mapping with ``name`` as well: ``prices=my_file.MyModel``.
    ``main``         gets plain dicts, lists and scalars, and returns an exit code, or :class:`gridpilot.sweep.Found`.

    Returns the largest exit code. Raises :class:`~gridpilot.errors.ConfigError` for an unknown key, an unknown choice, bad syntax
    or a missing value, before ``main`` is called; what ``main`` raises comes out unchanged.
    """
    if {"-h", "--help"}.intersection(argv):
        print(_help(config_name, package))
        return 0
    with tempfile.TemporaryDirectory(prefix="gridpilot-") as folder:
        line = read_command_line(argv, package, Path(folder))
        jobs = _composed_jobs(config_name, line, package)
    if line.multirun:
        return run_all(jobs, main)
    return max((code_of(main(job.config)) for job in jobs), default=0)  # none with --cfg, which prints


def _composed_jobs(config_name: str, line: CommandLine, package: str) -> list[Job]:
    """What is to be run, composed and resolved."""
    jobs: list[Job] = []
    failures: list[ConfigError] = []

    def task(config: Any) -> None:
        # Hydra would add lines of its own to an exception, so that none may reach it.
        try:
            values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            failures.append(ConfigError(_one_line(error)))
            failures[-1].__cause__ = error
        else:
            assert isinstance(values, dict)
            jobs.append(Job(tuple(HydraConfig.get().overrides.task), {str(key): value for key, value in values.items()}))

    with _command_line(config_name, line), without_environment():
        try:
            hydra.main(config_path=f"pkg://{package}", config_name=config_name, version_base=None)(task)()
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
            raise ConfigError(_explain(error, config_name, line, package)) from error
    if failures:
        raise failures[0]
    return jobs


def validate(model: type[Model], data: Mapping[str, Any], where: str) -> Model:
    """Return ``data`` as a ``model``, or raise one :class:`~gridpilot.errors.ConfigError` that names every bad key.

    ``where`` says whose configuration it is and starts the message. Each problem gives the path of the key, what was expected and
    the value found; an unknown key is told with the closest known one.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        problems = [_problem(model, problem) for problem in error.errors(include_url=False)]
        raise ConfigError(f"{where}: {'; '.join(problems)}") from error


def _problem(model: type[BaseModel], problem: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            known = _fields(model, problem["loc"][:-1])
            return f"unknown key {path!r}{_suggest(str(problem['loc'][-1]), known)}"
        case "missing":
            return f"key {path!r} is missing"
        case _:
            message = str(problem["msg"]).removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
            if problem["type"] == "string_type" and isinstance(problem["input"], int | float):
                message += f"; as text it goes in quotes inside the quotes: '{path}=\"...\"'"
            return f"{path}={_shorten(problem['input'])}: {message}" if path else message


def _fields(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Names of the fields of the model found at ``path`` below ``model``; none where a path leads through a container of models."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return sorted(model.model_fields)


@contextlib.contextmanager
def _command_line(config_name: str, line: CommandLine) -> Iterator[None]:
    """Hand the command line to Hydra, which reads ``sys.argv``, and make it raise its errors instead of printing them."""
    before, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    with tempfile.TemporaryDirectory(prefix="gridpilot-") as sweep:
        quiet = [*QUIET, f"hydra.sweep.dir={sweep}", f"hydra.job.name={config_name}"]
        given = {override.partition("=")[0] for override in line.overrides}
        kept = [override for override in quiet if override.partition("=")[0] not in given]
        sys.argv = ["gridpilot", *line.options, *kept, *line.search, *line.overrides]
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            yield
        finally:
            sys.argv = before
            if full_error is None:
                del os.environ["HYDRA_FULL_ERROR"]
            else:
                os.environ["HYDRA_FULL_ERROR"] = full_error


def _explain(error: Exception, config_name: str, line: CommandLine, package: str) -> str:
    """Say in one line which override Hydra refused and what it could have been."""
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, _one_line(error))
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={choice}: no such choice, {did_you_mean(choice, error.options) or expected_one_of(sorted(error.options))}"
    if isinstance(error, yaml.YAMLError):
        return f"a configuration file is not YAML: {_one_line(error)}"
    _, groups = _known(config_name, line.search, package)
    set_keys = _keys(line.overrides)
    chosen = [override for override, key, sweep in set_keys if key in groups and not sweep]
    keys, _ = _known(config_name, [*line.search, *chosen], package)
    known = sorted({*keys, *groups})
    for override, key, _ in set_keys:
        if key not in known:
            return f"unknown key {key!r:.100} in {override!r:.200}{_suggest(key, known)}"
    for override, _, sweep in set_keys:
        if sweep and not line.multirun:
            as_list = f"{override.replace('=', '=[', 1)}]"
            return (
                f"override {override!r:.200} has several values: add -m to run one after the other, or write {shlex.quote(as_list):.200} "
                f"for a list, or {shell_quoted(override):.200} for text, with the quotes inside the quotes"
            )
    return _one_line(error)


def _unreadable(override: str, reason: str) -> str:
    """What to say of an override that Hydra's grammar does not take."""
    key, given, value = override.partition("=")
    told = f"override {override!r:.200} cannot be read, expected key=value"
    parser = OverridesParser.create()
    try:
        parser.parse_override(f"{key}={quoted(value)}")
    except HydraException:
        return f"{told}: {reason:.300}"  # it is the key that is wrong
    if value.startswith("[") and value.endswith("]"):
        as_texts = f"{key}=[{','.join(quoted(part.strip()) for part in value[1:-1].split(','))}]"
        return f"{told}; in a list, values with such signs go in quotes inside the quotes: {shlex.quote(as_texts):.400}"
    if not given or value.startswith(("[", "{")):
        return f"{told}: {reason:.300}"
    return f"{told}; a value with such signs goes in quotes inside the quotes: {shell_quoted(override):.400}"


def _keys(overrides: Sequence[str]) -> list[tuple[str, str, bool]]:
    """The overrides that set an existing key or choose from a group, each with its key or group and whether it is a sweep."""
    parsed = [(text, OverridesParser.create().parse_override(text)) for text in overrides]
    return [
        (text, override.get_key_element().lstrip("~"), override.is_sweep_override())
        for text, override in parsed
        if not (override.is_add() or override.is_force_add() or override.is_hydra_override())
    ]


def _known(config_name: str, overrides: Sequence[str], package: str) -> tuple[list[str], dict[str, str]]:
    """Dotted keys of the configuration with these choices, and its groups with the choice made in each."""
    with initialize_config_module(package, version_base=None):
        config = compose(config_name, overrides=list(overrides), return_hydra_config=True)
    choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
    groups = {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    del values["hydra"]
    return list(_dotted(values)), groups


def _dotted(values: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")


def _help(config_name: str, package: str) -> str:
    """Describe a command from its configuration: its first comment, the groups and their choices, the keys with defaults."""
    folder = resources.files(package)
    comment = []
    for line in folder.joinpath(f"{config_name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    with initialize_config_module(package, version_base=None):
        values = OmegaConf.to_container(compose(config_name), resolve=False)
    assert isinstance(values, dict)
    _, groups = _known(config_name, [], package)
    # The command's own keys first, the long contents of groups after them.
    ordered = {key: _abridged(values[key]) for key in sorted(values, key=lambda key: key in groups)}
    defaults = yaml.safe_dump(ordered, default_flow_style=None, sort_keys=False, width=110).rstrip()
    choices = []
    for group, chosen in groups.items():
        names = sorted(Path(entry.name).stem for entry in folder.joinpath(group).iterdir() if entry.name.endswith(".yaml"))
        choices.append(f"  {group}: " + ", ".join(f"{name} (default)" if name == chosen else name for name in names))
    parts = [
        f"usage: gridpilot {config_name.replace('_', '-')} [key=value ...] [options]",
        "\n".join(comment),
        HELP,
        "Groups:\n" + "\n".join(choices) if choices else "",
        "Keys and their defaults:\n" + "\n".join(f"  {line}" for line in defaults.splitlines()),
    ]
    return "\n\n".join(part for part in parts if part)


def _abridged(values: Any) -> Any:
    """The same configuration with long lists, such as a price model's hourly profile, told by their length."""
    if isinstance(values, dict):
        return {key: _abridged(value) for key, value in values.items()}
    if isinstance(values, list):
        return f"({len(values)} values)" if len(values) > 10 else [_abridged(value) for value in values]
    return values


def _suggest(key: str, known: Sequence[str]) -> str:
    top = [name for name in known if "." not in name]
    hint = did_you_mean(key, known, alike=0.7) or (f"known keys are {listed(top)}" if top else "")
    return f"; {hint}" if hint else ""


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _one_line(error: Exception) -> str:
    """An error of Hydra's as one line, without the internals and the links it ends in."""
    text = str(error).strip() or str(error.__cause__).strip() or type(error).__name__
    lines = (line.strip() for line in text.splitlines())
    return " ".join(line for line in lines if not line.startswith(("object_type", "reference_type", "See http")))
