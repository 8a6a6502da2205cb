"""``gridpilot check``: whether agents play fair and sound."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import yaml
from rich import box
from rich.table import Table
from rich.text import Text

from gridpilot.audit.ask import DEADLINE, audit
from gridpilot.audit.verdict import LAWS, Audit, Verdict
from gridpilot.columns import console_for
from gridpilot.errors import AgentError

__all__ = ["main", "parse_agents", "render"]

DESCRIPTION: Final = """\
Let agents play in small made-up markets, and tell whether they play fair and sound: a row a check, and below it where a failed one
differs first. An AGENT is a registered name or the dotted path of a class, looked up in the working directory too; the KEY=VALUE
after it are its parameters, with values in YAML."""

EPILOG: Final = """\
Exit code: 0 all passed, 1 some check failed, 2 bad input. It is judged what agents do, not how they are written: numbers that they
must not see are replaced by made-up ones, in place, and their bids have to stay the same. Every play is made in a process of its own
with 2 GiB of memory.

What cannot be seen:
  - an agent that tells a check from a tournament, and cheats in the second only;
  - one that simulates the world from a guessed root seed: choose seeds that nobody knows;
  - one that looks up the prices of a replayed file, which is history to everybody: replay what came later than the agent;
  - what compiled code does beside Python: files, frames and memory that it reads of its own accord; and deeds that change neither a bid
    nor anything in the process, such as reading a rival's state and not using it;
  - an agent that takes over the process it is played in and forges what it did. Only a process of its own holds such an agent.
An agent that needs more than a quarter of a second a decision plays four ticks only, which may show less."""

MARKS: Final = {
    "passed": Text("ok", style="green"),
    "failed": Text("failed", style="bold red"),
    "not judged": Text("?", style="yellow"),
    "does not apply": Text("–", style="dim"),
}


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.AgentError` for an agent that cannot be found or built."""
    parser = argparse.ArgumentParser(
        "gridpilot check", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("agents", metavar="AGENT [KEY=VALUE ...]", nargs="+", help="one agent or more")
    parser.add_argument("--short", action="store_true", help="what a tournament does at its start: fewer checks, shorter plays")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, an array with an object an agent")
    parser.add_argument(
        "--deadline", type=float, default=DEADLINE, metavar="S", help="what a decision may take (default: %(default)g)"
    )
    options = parser.parse_args(argv)
    if not options.deadline > 0.0:
        parser.error(f"--deadline is {options.deadline:g}, expected a number of seconds above 0")
    audits = audit(parse_agents(options.agents), short=options.short, deadline=options.deadline)
    if options.json:
        print(json.dumps([one.as_dict() for one in audits], indent=2, allow_nan=False))
    else:
        console = console_for(sys.stdout)
        for one in audits:
            console.print(render(one))
    return 0 if all(one.passed for one in audits) else 1


def parse_agents(words: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Agents and the parameters that follow each. Raises :class:`~gridpilot.errors.AgentError`.

    >>> parse_agents(["mpc", "my_file.MyAgent", "greed=2"])
    [('mpc', {}), ('my_file.MyAgent', {'greed': 2})]
    """
    agents: list[tuple[str, dict[str, Any]]] = []
    for word in words:
        key, given, value = word.partition("=")
        if not given:
            if not re.fullmatch(r"\w+(\.\w+)*", word):
                raise AgentError(f"{word!r}: expected an agent's name, a dotted path like my_file.MyAgent, or KEY=VALUE after one")
            agents.append((word, {}))
        elif not agents or not key.isidentifier():
            raise AgentError(f"{word!r}: expected an agent's name or dotted path, and its parameters as KEY=VALUE after it")
        else:
            try:
                agents[-1][1][key] = yaml.safe_load(value)
            except yaml.YAMLError as error:
                raise AgentError(f"{word!r}: {value!r} is no value, expected YAML") from error
    return agents


def render(result: Audit) -> Table:
    """The verdicts as a table, with what was found below each that did not pass."""
    given = " ".join(f"{key}={value}" for key, value in result.params.items())
    said = "passed" if result.passed else f"failed {', '.join(result.failed)}"
    title = f"{result.target}{f' {given}' if given else ''}: {said}, in {result.seconds:.1f} s"
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title, title_justify="left", header_style="bold"
    )
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("the agent")
    for verdict in result.verdicts:
        table.add_row(verdict.check, MARKS[verdict.outcome], _law(verdict))
    return table


def _law(verdict: Verdict) -> Text:
    text = Text(LAWS[verdict.check])
    if verdict.outcome in ("failed", "not judged"):
        text.append(f"\n{verdict.found[:300]}", style="bold" if verdict.outcome == "failed" else "dim")
    elif verdict.found:
        text.append(f": {verdict.found}", style="dim")
    return text
