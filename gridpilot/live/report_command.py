"""``gridpilot live report``: a day or a week of a journal as one HTML page, or as JSON."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from gridpilot.columns import SafeConsole
from gridpilot.errors import ConfigError, JournalError
from gridpilot.files import check_output, replacing
from gridpilot.live.export import refuse_own_files
from gridpilot.live.journal import Journal
from gridpilot.live.report_facts import Period, day_of, read_facts, week_of
from gridpilot.live.report_page import headline_of, render_page
from gridpilot.live.running import running_engines
from gridpilot.live.which_journal import DEFAULT, choose, journal_path, option_of

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.JournalError` for a journal that cannot be read and
    :class:`~gridpilot.errors.ConfigError` for an argument that is not known.
    """
    parser = argparse.ArgumentParser(
        prog="gridpilot live report",
        description="Write what a journal tells of a day or a week as one HTML page: profit against other choices, what was left on the "
        "table and why, availability, alarms, halts.",
    )
    parser.add_argument(
        "name", metavar="JOURNAL", nargs="?", help="its file, or the engine that runs on it; not needed where one alone runs"
    )
    parser.add_argument(
        "--journal",
        metavar="FILE",
        type=journal_path,
        help=f"or live.journal=FILE; by default that of the engine that runs, or {DEFAULT}",
    )
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--day", metavar="DATE", type=_date, help="a UTC day, such as 2025-06-21")
    when.add_argument(
        "--week", metavar="DATE", type=_date, help="the week, from Monday on, that holds a day; by default the last one"
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="the page; by default beside the journal. A page that is there is replaced"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and write a page only where --out is given")
    arguments, unknown = parser.parse_known_args([option_of(argument) for argument in argv])
    if unknown:
        raise ConfigError(f"live report: {unknown[0]!r} is not known; gridpilot live report --help lists what is")
    period = None if arguments.day is None and arguments.week is None else _period(arguments)
    path, out = _journal(arguments), arguments.out
    if out is not None:
        refuse_own_files(path, out)
        check_output(out, JournalError)
    with Journal(path, read_only=True) as journal:
        facts = read_facts(journal, period)
    if out is None and not arguments.json:
        out = path.with_name(f"{path.stem}-{facts['period']['name']}-{facts['period']['start'][:10]}.html")
    if out is not None:
        with replacing(out, JournalError, mode=0o600) as temporary:
            temporary.write_text(render_page(facts), encoding="utf-8")
    if arguments.json:
        print(json.dumps(facts, indent=2))
    else:
        SafeConsole().print(f"{headline_of(facts)}\nreport  {out}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _date(text: str) -> date:
    """Raises :class:`~gridpilot.errors.ConfigError` for what is no date."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"live report: {text!r:.40} is no date, expected one such as 2025-06-21") from error


def _period(arguments: argparse.Namespace) -> Period:
    day = arguments.day or arguments.week
    try:
        return day_of(day) if arguments.day is not None else week_of(day)
    except OverflowError as error:
        raise ConfigError(f"live report: {day} is at an end of the calendar, expected a day that a journal can hold") from error


def _journal(arguments: argparse.Namespace) -> Path:
    """The journal that is meant: a file that is there is one, whatever engines are called."""
    name = arguments.name
    if arguments.journal is None and name is not None and (Path(name).is_file() or not running_engines()):
        return journal_path(name)
    return choose(running_engines() if arguments.journal is None else [], arguments.journal, name)
