"""The pages of the reference that are made from the code: commands, configuration, metrics, Python API."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import docutils.core
import docutils.nodes
import docutils.utils
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "gridpilot", "gridpilot.envs", "gridpilot.forecasting", "gridpilot.planning", "gridpilot.policies", "gridpilot.prices",
    "gridpilot.risk", "gridpilot.series", "gridpilot.training",
)  # fmt: skip
LIVE = ("status", "halt", "resume", "verify", "export", "report", "register")
GROUPS = {
    "": "Commands", "live": "Live operation", "venue": "Venues", "market": "Markets", "site": "Sites", "prices": "Prices",
    "agent": "Agents", "space": "Spaces of a study",
    "storage": "Storage rules", "bidding": "Bidding rules", "planner": "Planners", "forecaster": "Forecasters", "tournament": "Tournaments",
}  # fmt: skip


def write_all(folder: Path) -> None:
    """Write every page into ``folder``; a page that has not changed is left alone, so that it need not be built again."""
    for name, text in {
        "_commands.md": commands(), "_configuration.md": configuration(), "_metrics.md": metrics(), "_python.md": python_api(),
    }.items():  # fmt: skip
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def commands() -> str:
    """What ``--help`` prints, command by command."""
    from gridpilot.cli import COMMANDS

    parts = ["```text", help_of([]), "```"]
    for name, (_, summary) in COMMANDS.items():
        parts += [f"\n## gridpilot {name}\n", f"{summary[0].upper()}{summary[1:]}.\n", "```text", help_of([name]), "```"]
        for other in LIVE if name == "live" else ():
            parts += [f"\n### gridpilot live {other}\n", "```text", help_of([name, other]), "```"]
    return "\n".join(parts) + "\n"


def help_of(command: list[str]) -> str:
    """The help of a command, 100 columns wide, without paths of this machine."""
    from gridpilot.cli import main

    out = io.StringIO()
    with (
        patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        main([*command, "--help"])
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).rstrip()
    if not text:
        raise RuntimeError(f"gridpilot {' '.join(command)} --help prints nothing")
    return text.replace(str(ROOT), "...")


def configuration() -> str:
    """Every key of conf with its default and its comment, a table a file."""
    parts = []
    for group, title in GROUPS.items():
        parts.append(f"\n## {title}\n")
        for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
            name = f"{group}={path.stem}" if group else f"gridpilot {path.stem.replace('_', '-')}"
            parts += [f"\n### {name}\n", *table_of(path.read_text(encoding="utf-8"))]
    return "\n".join(parts) + "\n"


def table_of(text: str) -> list[str]:
    """The keys of a YAML file: its first comment, then key, default and comment."""
    lines = text.splitlines()
    head = []
    for line in lines:
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            head.append(line.lstrip("# ") if len(head) == 0 else line[1:])
    rows = ["```text", *head, "```\n"] if len(head) > 1 else [f"{head[0]}\n"] if head else []
    found = [row for row in keys_of(yaml.compose(text), lines) if row[0].split(".")[0] != "defaults"]
    if found:
        rows += ["| key | default | meaning |", "| --- | --- | --- |"]
        rows += [f"| `{key}` | {cell(value, code=True)} | {cell(comment)} |" for key, value, comment in found]
    return rows


def keys_of(node: Any, lines: list[str], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted key, default and comment, of the line or of the lines above it; a mapping gives its own line only where it is commented."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        line = key.start_mark.line
        comment = lines[line].partition(" #")[2].strip()
        above = []
        while not comment and line - 1 - len(above) > 0 and lines[line - 1 - len(above)].lstrip().startswith("#"):
            above.insert(0, lines[line - 1 - len(above)].lstrip("# "))
        comment = comment or " ".join(above)
        name = f"{prefix}{key.value}"
        nested = isinstance(value, yaml.MappingNode) and value.start_mark.line != line and bool(value.value)
        if nested:
            if comment:
                yield name, "", comment
            yield from keys_of(value, lines, f"{name}.")
        else:
            plain = yaml.safe_load(yaml.serialize(value))
            yield name, yaml.safe_dump(plain, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip(), comment


def cell(text: str, *, code: bool = False) -> str:
    """Text that a table's cell holds as it is."""
    short = text if len(text) <= 160 else f"{text[:157]}..."
    if code:
        return f"`{short.replace('|', chr(92) + '|')}`" if short and "`" not in short else short
    return re.sub(r"([|*_<>\[\]$\\`])", r"\\\1", text)


def metrics() -> str:
    """Every metric of an engine, from its registry."""
    from gridpilot.live.metrics import Metrics

    rows = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    registry = Metrics(lambda: 0.0).registry
    collectors = {names[0]: collector for collector, names in registry._collector_to_names.items() if names}
    for name, collector in sorted(collectors.items()):
        if name.startswith("gridpilot_live"):
            kind, labels = type(collector).__name__.lower(), ", ".join(f"`{label}`" for label in collector._labelnames)
            shown = f"{name}_total" if kind == "counter" and not name.endswith("_total") else name
            rows.append(f"| `{shown}` | {kind} | {labels} | {cell(collector._documentation)} |")
    return "\n".join(rows) + "\n"


def python_api() -> str:
    """The public names of each package, by autodoc."""
    parts: list[str] = []
    seen: dict[int, str] = {}  # what stands in two packages is described once
    for package in PACKAGES:
        module = importlib.import_module(package)
        summary = (module.__doc__ or "").strip().partition("\n\n")[0]
        parts.append(f"\n## {package}\n\n{cell(' '.join(summary.split())).replace(chr(92) + '`', '`')}\n")
        for name in sorted(name for name in module.__all__ if not name.startswith("__")):
            value = getattr(module, name)
            if (first := seen.setdefault(id(value), f"{package}.{name}")) != f"{package}.{name}":
                parts.append(f"`{package}.{name}` is `{first}`.\n")
                continue
            kind = "autoclass" if isinstance(value, type) else "autofunction" if callable(value) else "autodata"
            parts.append(
                f"```{{eval-rst}}\n.. {kind}:: {package}.{name}\n" + ("   :members:\n" if kind == "autoclass" else "") + "```\n"
            )
    return "\n".join(parts)


def as_restructured_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A docstring that is no reStructuredText, because its shape carries the meaning, is shown as it was written."""
    plain = re.sub(r":\w+:`~?([^`]*)`", r"``\1``", "\n".join(lines))
    document = docutils.core.publish_doctree(
        plain, settings_overrides={"report_level": 5, "halt_level": 5, "file_insertion_enabled": False}
    )
    bad = [node for node in document.findall(docutils.nodes.system_message) if node["level"] >= 2]
    loud = io.StringIO()
    docutils.core.publish_doctree(plain, settings_overrides={"report_level": 2, "halt_level": 5, "warning_stream": loud})
    if bad or loud.getvalue():
        lines[:] = ["::", "", *(f"    {line}" for line in lines), ""]
