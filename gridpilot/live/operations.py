"""``gridpilot live status | halt | resume | verify | export``: what an operator asks of a journal, while the engine runs or without it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gridpilot.errors import ConfigError, GridPilotError, JournalError
from gridpilot.live.audit import compare, find_breaches
from gridpilot.live.export import EXPORTS, write_export
from gridpilot.live.journal import GENESIS, Journal
from gridpilot.live.status import print_status, read_status

__all__ = ["main"]

DEFAULT: Final = Path("runs/live.db")
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
        status = read_status(journal)
    if arguments.json:
        print(json.dumps(status, indent=2))
    else:
        print_status(status, arguments.journal)
    return 0


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
    from gridpilot.live.replica import replay

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
        "--what",
        choices=sorted({*EXPORTS, "backup"}),
        default="decisions",
        help="rows and decisions are CSV, records JSON lines; backup is a whole journal, taken while it is being written",
    )
    parser.add_argument("--kind", metavar="KIND", nargs="+", help="of records, only these")
    parser.add_argument("--out", metavar="FILE", required=True, help="a new file; - for stdout")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser


def _export(arguments: argparse.Namespace) -> int:
    if arguments.kind is not None and arguments.what != "records":
        raise ConfigError(f"live export: --kind chooses among records, and --what is {arguments.what}")
    with Journal(arguments.journal, read_only=True) as journal:
        if arguments.what == "backup":
            if arguments.out == "-" or arguments.force:
                raise ConfigError("live export: --what backup needs a new file as --out, and replaces none")
            journal.backup(Path(arguments.out))
            print(json.dumps({"out": arguments.out}) if arguments.json else f"{arguments.out}: a copy of {arguments.journal}")
            return 0
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
