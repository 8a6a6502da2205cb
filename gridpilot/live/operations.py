"""``gridpilot live status | halt | resume | verify | export``: what an operator asks of a journal, while the engine runs or without it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridpilot.errors import ConfigError, GridPilotError, JournalError
from gridpilot.live.api import parse_time
from gridpilot.live.audit import compare, find_breaches
from gridpilot.live.cycles import REASON_STYLES, money, short_name
from gridpilot.live.export import EXPORTS, write_export
from gridpilot.live.journal import GENESIS, Journal

__all__ = ["main"]

DEFAULT: Final = Path("runs/live.db")
DAY: Final = 288  # decisions that the counts by reason are over
HEAD: Final = re.compile("[0-9a-f]{8,64}")  # fewer digits would not tell a head from another
EFFECTS: Final = {
    "none": "no engine has run on this journal yet: one that starts has every machine off within one cycle",
    "stopped": "the engine has stopped and machines stay as they are: once it runs again every machine is off within one cycle",
    "shadow": "the engine is in shadow mode and sends nothing: within one cycle it decides that every machine is off",
    "live": "within one cycle of the engine every machine is off",
}
"""What a halt does, by what runs."""


def main(argv: list[str]) -> int:
    """Run ``argv[0]`` with the arguments after it.

    Raises :class:`~gridpilot.errors.JournalError` for a journal that cannot be used and :class:`~gridpilot.errors.ConfigError` for an
    argument that is not known.
    """
    command, *rest = argv
    parser, run = _COMMANDS[command]
    arguments, unknown = parser().parse_known_args([_plain(argument) for argument in rest])
    if unknown:
        raise ConfigError(f"live {command}: {unknown[0]!r} is not known; gridpilot live {command} --help lists what is")
    return run(arguments)


def _plain(argument: str) -> str:
    """``live.journal=FILE``, as the engine takes it, is ``--journal=FILE`` here."""
    return "--journal=" + argument.removeprefix("live.journal=") if argument.startswith("live.journal=") else argument


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"gridpilot live {command}", description=description)
    parser.add_argument("--journal", metavar="FILE", type=Path, default=DEFAULT, help=f"or live.journal=FILE; by default {DEFAULT}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _readable(text: str) -> str:
    """Text of the command line, which every terminal, log and journal can take: bytes that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode()


# halt and resume


def _halt_parser() -> argparse.ArgumentParser:
    parser = _parser("halt", "Switch everything off within one cycle, and keep it off across restarts until a resume.")
    parser.add_argument("--why", metavar="TEXT", type=_readable, default="by hand", help="for the record")
    return parser


def _halt(arguments: argparse.Namespace) -> int:
    with Journal(arguments.journal) as journal:
        before = journal.halt
        if not before.halted:
            journal.append([("halt", {"why": arguments.why})], at=datetime.now(UTC))
        state, engine = journal.halt, _engine(journal)
    if arguments.json:
        print(json.dumps({"halted": True, "why": state.why, "new": not before.halted}))
        return 0
    since = "" if state.since is None else f" since {state.since:%Y-%m-%d %H:%M:%S} UTC"
    start = f"halted already{since}: {state.why}\n" if before.halted else "halted: "
    print(f"{start}{EFFECTS[engine]}, and stays so until gridpilot live resume live.journal={arguments.journal}")
    return 0


def _engine(journal: Journal) -> str:
    """What runs, as far as the journal tells, as in ``EFFECTS``; a mistyped path is a journal on which nothing has."""
    session, stop = journal.last("session"), journal.last("stop")
    if session is None:
        return "none"
    return "stopped" if stop is not None and stop.seq > session.seq else str(session.body["mode"])


def _resume_parser() -> argparse.ArgumentParser:
    parser = _parser("resume", "End a halt: the next price row has its decision again.")
    parser.add_argument("--why", metavar="TEXT", type=_readable, default="by hand", help="for the record")
    return parser


def _resume(arguments: argparse.Namespace) -> int:
    _must_exist(arguments.journal)
    with Journal(arguments.journal) as journal:
        if not journal.halt.halted:
            raise JournalError(f"journal {arguments.journal} is not halted, there is nothing to resume")
        journal.append([("resume", {"why": arguments.why})], at=datetime.now(UTC))
    print(json.dumps({"halted": False}) if arguments.json else "resumed: the next price row has its decision again")
    return 0


# status


def _status_parser() -> argparse.ArgumentParser:
    return _parser("status", "What runs, what was decided last and what came of it, from the journal alone.")


def _status(arguments: argparse.Namespace) -> int:
    with Journal(arguments.journal, read_only=True) as journal:
        status = _read_status(journal)
    if arguments.json:
        print(json.dumps(status, indent=2))
        return 0
    lines = [(name, _printable(value)) for name, value in _describe(status, arguments.journal)]
    if not sys.stdout.isatty():  # a line each, however long, for grep and the like
        print("\n".join(f"{name:<10}  {value.plain}" for name, value in lines))
        return 0
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(name, value)
    Console().print(table)
    return 0


def _read_status(journal: Journal) -> dict[str, Any]:
    def body(kind: str) -> dict[str, Any] | None:
        record = journal.last(kind)
        return None if record is None else record.body

    session, decided, told, read = (journal.last(kind) for kind in ("session", "decision", "outcome", "reconciliation"))
    stop, halt, head = journal.last("stop"), journal.halt, journal.head
    last, decision, outcome = (None if record is None else record.body for record in (session, decided, told))
    runs = max((record for record in (told, read) if record is not None), key=lambda record: record.seq, default=None)
    counts = None if runs is None else runs.body["counts"]
    first = max(0, head[0] - 6 * DAY)
    decisions = [record.body for record in journal.records(kinds={"decision"}, after=first)][-DAY:]
    reasons = Counter(each["reason"] for each in decisions)
    causes = Counter(cause for each in decisions for cause in each["causes"])
    # The last rows may be late ones, older than what was known.
    rows = [record.body for record in journal.records(kinds={"rows"}, after=first)] or [body("rows") or {"rows": []}]
    return {
        "session": None if last is None else {key: last[key] for key in ("id", "mode", "venue", "url", "speed", "agent", "cap_w")},
        "running": session is not None and (stop is None or stop.seq < session.seq),
        "stopped": None if stop is None or (session is not None and stop.seq < session.seq) else stop.body["why"],
        "newest_row": max((row[0] for each in rows for row in each["rows"]), default=None),
        "decision": None if decision is None else {k: decision[k] for k in ("at", "kind", "reason", "causes", "counts", "power_w")},
        "pending": decided is not None and (told is None or told.seq < decided.seq),
        "outcome": None if outcome is None else {k: outcome[k] for k in ("at", "status", "counts", "message")},
        "counts": counts,
        "power_w": None if counts is None or last is None else _power_w(last["sites"], counts),
        "read_back": runs is not None and runs is read,
        "classes": [] if last is None else [kind["name"] for kind in last["sites"][0]["fleet"]],
        "day": None if outcome is None else {"date": outcome["state"]["day"], "profit": outcome["state"]["day_profit"]},
        "reasons": dict(reasons),
        "causes": dict(causes),
        "halted": halt.halted,
        "halt_why": halt.why if halt.halted else None,
        "api": (body("api") or {"state": "up"})["state"],
        "records": head[0],
        "head": head[1],
    }


def _power_w(sites: list[dict[str, Any]], counts: list[list[int]]) -> int:
    """W that these machines draw; the plant may have changed since they were counted."""
    fleets = [[kind["power_w"] for kind in site["fleet"]] for site in sites]
    pairs = zip(fleets, counts, strict=False)
    return sum(n * power for fleet, each in pairs for n, power in zip(each, fleet, strict=False))


def _describe(status: dict[str, Any], path: Path) -> list[tuple[str, Text]]:
    session, decision, day = status["session"], status["decision"], status["day"]
    halted = Text(f"HALTED: {status['halt_why']}", style="bold red") if status["halted"] else Text("no")
    if session is None:
        return [("journal", Text(f"{path}: no session yet")), ("halted", halted)]
    mode = Text(session["mode"].upper(), style="bold green" if session["mode"] == "live" else "bold blue")
    state = "as far as the journal tells running" if status["running"] else f"stopped: {status['stopped']}"
    lines = [
        ("agent", Text(f"{session['agent']['target'].rpartition('.')[2]} on {session['venue']} {session['url'] or ''}".rstrip())),
        ("mode", Text.assemble(mode, f", {state}")),
        ("halted", halted),
        ("newest row", Text(f"{_time(status['newest_row'])}{_age(status['newest_row'], session)}")),
    ]
    if decision is not None:
        reason = Text(decision["reason"], style=REASON_STYLES.get(decision["reason"], ""))
        causes = f" after {', '.join(decision['causes'])}" if decision["causes"] else ""
        pending = ", and what came of it is not known yet" if status["pending"] else ""
        lines.append(("decided", Text.assemble(f"{_time(decision['at'])} by ", reason, causes, pending)))
    lines += _describe_machines(status)
    if day is not None and day["date"] is not None:
        lines.append(("profit", Text(f"{money(day['profit'])} $ on {day['date']}")))
    lines.append(("lately", Text(_by_count(status["reasons"]) or "no decision")))
    if status["causes"]:
        lines.append(("causes", Text(_by_count(status["causes"]), style="yellow")))
    return [
        *lines,
        ("API", Text("reachable") if status["api"] == "up" else Text("DOWN", style="bold red")),
        ("journal", Text(f"{path}, {status['records']:,} records, head {status['head'][:16]}")),
    ]


def _describe_machines(status: dict[str, Any]) -> list[tuple[str, Text]]:
    session, outcome = status["session"], status["outcome"]
    if status["counts"] is None:
        return []
    counts = [sum(site) for site in zip(*status["counts"], strict=True)]
    machines = ", ".join(f"{n:,} {short_name(name)}" for name, n in zip(status["classes"], counts, strict=False) if n)
    word = "as the venue reports" if status["read_back"] else outcome["status"]
    style = "bold yellow" if word in ("unknown", "refused", "abandoned") else ""
    power = f"{status['power_w'] / 1000:,.0f} of {session['cap_w'] / 1000:,.0f} kW"
    value = Text.assemble(f"{machines or 'nothing'}; {power}; ", (word, style))
    lines = [("would run" if session["mode"] == "shadow" else "runs", value)]
    if outcome is not None and outcome["message"]:
        lines.append(("", Text(outcome["message"], style="yellow")))
    return lines


def _by_count(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda pair: -pair[1]))


def _printable(text: Text) -> Text:
    """Without what could steer a terminal: messages may quote a server."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text.plain)
    return Text(plain, style=text.style, spans=text.spans)


def _time(text: str | None) -> str:
    return "none" if text is None else f"{parse_time(text):%Y-%m-%d %H:%M}"


def _age(text: str | None, session: dict[str, Any]) -> str:
    """How long ago, where rows and this machine tell the same time."""
    if text is None or session["speed"] != 1.0 or session["venue"] != "mara":
        return ""
    minutes = max(0.0, (datetime.now(UTC) - parse_time(text)).total_seconds() / 60.0)
    if minutes < 120.0:
        return f", {minutes:.0f} min ago"
    return f", {minutes / 60.0:.0f} h ago" if minutes < 48.0 * 60.0 else f", {minutes / 1440.0:,.0f} days ago"


# verify


def _verify_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "verify", "Check the chain of hashes and what must hold in every journal; exit code 1 where something is wrong."
    )
    parser.add_argument("--head", metavar="HASH", help="a head noted earlier, or its beginning, which must still be in the chain")
    parser.add_argument("--replay", action="store_true", help="make every decision again, from the journal alone")
    parser.add_argument("--against", metavar="FILE", type=Path, help="compare decisions with those of another journal, row by row")
    return parser


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.head is not None and not HEAD.fullmatch(arguments.head.lower()):
        raise ConfigError(f"live verify: --head is {arguments.head!r:.80}, expected 8 to 64 hexadecimal digits")
    with Journal(arguments.journal, read_only=True) as journal:
        verification = journal.verify()
        problems = [] if verification.problem is None else [verification.problem]
        result: dict[str, Any] = {"records": verification.records, "head": verification.head}
        if not problems:
            heads = [GENESIS, *(record.hash for record in journal.records())] if arguments.head is not None else []
            if arguments.head is not None and not any(head.startswith(arguments.head.lower()) for head in heads):
                problems.append(f"the head {arguments.head} is not in the chain: records were cut off, or it is another's")
            problems += find_breaches(journal)
            if arguments.replay:
                problems += _replay(journal, result)
            if arguments.against is not None:
                problems += _compare(journal, arguments.against, result)
    if arguments.json:
        print(json.dumps({**result, "problems": problems}, indent=2))
    else:
        print(f"{verification.records:,} records, head {verification.head}")
        if "replay" in result:
            print(f"{result['replay']['decisions']:,} decisions made again, {result['replay']['different']} otherwise")
        if "against" in result:
            told = result["against"]
            print(
                f"{told['equal']:,} decisions equal, {told['different']} different, {told['here_only'] + told['there_only']} in one only"
            )
        print("\n".join(f"WRONG: {problem}" for problem in problems) or "chain and record are sound")
    return 1 if problems else 0


def _replay(journal: Journal, result: dict[str, Any]) -> list[str]:
    from gridpilot.live.twin import replay

    try:
        drift = replay(journal)
    except GridPilotError:  # such as an agent that is not there any more: nothing is wrong with the journal
        raise
    except Exception as error:  # what was forged or cut may fail in any way, and is told
        return [f"decisions cannot be made again from what is there: {type(error).__name__}: {error}"]
    result["replay"] = dataclasses.asdict(drift)
    if not drift.different:
        return []
    return [f"{drift.different} of {drift.decisions} decisions come out otherwise, first {drift.first}"]


def _compare(journal: Journal, path: Path, result: dict[str, Any]) -> list[str]:
    with Journal(path, read_only=True) as other:
        comparison = compare(journal, other)
    result["against"] = dataclasses.asdict(comparison)
    if not comparison.different:
        return []
    return [f"{comparison.different} decisions differ from those of {path}, first {comparison.first}"]


# export


def _export_parser() -> argparse.ArgumentParser:
    parser = _parser("export", "Write what a journal holds as CSV or JSON lines.")
    parser.add_argument(
        "--what", choices=sorted(EXPORTS), default="decisions", help="rows and decisions are CSV, records JSON lines"
    )
    parser.add_argument("--kind", metavar="KIND", nargs="+", help="of records, only these")
    parser.add_argument("--out", metavar="FILE", required=True, help="a new file; - for stdout")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser


def _export(arguments: argparse.Namespace) -> int:
    if arguments.kind is not None and arguments.what != "records":
        raise ConfigError(f"live export: --kind chooses among records, and --what is {arguments.what}")
    with Journal(arguments.journal, read_only=True) as journal:
        lines = write_export(journal, arguments.what, arguments.out, kinds=arguments.kind, force=arguments.force)
    if arguments.out != "-":
        print(
            json.dumps({"out": arguments.out, "lines": lines}) if arguments.json else f"{arguments.out}: {lines:,} {arguments.what}"
        )
    return 0


def _must_exist(path: Path) -> None:
    Journal(path, read_only=True).close()


_COMMANDS: Final[dict[str, tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], int]]]] = {
    "status": (_status_parser, _status),
    "halt": (_halt_parser, _halt),
    "resume": (_resume_parser, _resume),
    "verify": (_verify_parser, _verify),
    "export": (_export_parser, _export),
}
