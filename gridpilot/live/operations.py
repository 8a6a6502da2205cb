"""``gridpilot live status | halt | resume | verify | export``: what an operator asks of an engine and of its journal."""

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
from gridpilot.live.halt_command import add_halt_options, halt
from gridpilot.live.journal import GENESIS, Journal
from gridpilot.live.noted_head import read_note
from gridpilot.live.running import running_engines
from gridpilot.live.status import print_status, read_status
from gridpilot.live.trust import NOT_NOTED, accept, distrust
from gridpilot.live.which_journal import DEFAULT, choose, journal_path, option_of

__all__ = ["main"]

HEAD: Final = re.compile("[0-9a-f]{8,64}")  # fewer digits would not tell a head from another


def main(argv: list[str]) -> int:
    """Run ``argv[0]`` with the arguments after it.

    Raises :class:`~gridpilot.errors.JournalError` for a journal that cannot be used and :class:`~gridpilot.errors.ConfigError` for an
    argument that is not known.
    """
    command, *rest = argv
    parser, run = _COMMANDS[command]
    arguments, unknown = parser().parse_known_args([option_of(argument) for argument in rest])
    if unknown:
        raise ConfigError(f"live {command}: {unknown[0]!r} is not known; gridpilot live {command} --help lists what is")
    return run(arguments)


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"gridpilot live {command}", description=description)
    parser.add_argument(
        "name",
        metavar="ENGINE",
        nargs="?",
        help="an engine that runs: its pid, its site or its journal; not needed where one alone runs",
    )
    parser.add_argument(
        "--journal",
        metavar="FILE",
        type=journal_path,
        help=f"or live.journal=FILE; by default that of the engine that runs, or {DEFAULT}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _chosen(arguments: argparse.Namespace) -> Path:
    """The journal that is meant."""
    return choose(running_engines() if arguments.journal is None else [], arguments.journal, arguments.name)


def _readable(text: str) -> str:
    """Text of the command line, which every terminal, log and journal can take: bytes that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode()


# halt and resume


def _halt_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "halt",
        "Have the engine that runs, wherever it was started, switch everything off within one cycle, and keep it off across restarts "
        "until a resume. Waits until it is confirmed that everything is off; exit code 1 where it is not.",
    )
    parser.add_argument("--why", metavar="TEXT", type=_readable, default="by hand", help="for the record")
    add_halt_options(parser)
    return parser


def _resume_parser() -> argparse.ArgumentParser:
    parser = _parser("resume", "End a halt: the next price row has its decision again.")
    parser.add_argument("--why", metavar="TEXT", type=_readable, default="by hand", help="for the record")
    return parser


def _resume(arguments: argparse.Namespace) -> int:
    path = _chosen(arguments)
    _must_exist(path)
    with Journal(path) as journal:
        if not journal.halt.halted:
            raise JournalError(f"journal {path} is not halted, there is nothing to resume")
        journal.append([("resume", {"why": arguments.why})], at=datetime.now(UTC))
    print(json.dumps({"halted": False}) if arguments.json else "resumed: the next price row has its decision again")
    return 0


# status


def _status_parser() -> argparse.ArgumentParser:
    return _parser("status", "What runs, what was decided last and what came of it, from the journal alone.")


def _status(arguments: argparse.Namespace) -> int:
    path = _chosen(arguments)
    with Journal(path, read_only=True) as journal:
        status = read_status(journal)
    if arguments.json:
        print(json.dumps(status, indent=2))
    else:
        print_status(status, path)
    return 0


# verify


def _verify_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "verify", "Check the chain of hashes and what must hold in every journal; exit code 1 where something is wrong."
    )
    parser.add_argument("--head", metavar="HASH", help="a head noted earlier, or its beginning, which must still be in the chain")
    parser.add_argument(
        "--accept",
        action="store_true",
        help="go on with this journal though it goes back, as a backup does; a halt that was noted stays",
    )
    parser.add_argument("--replay", action="store_true", help="make every decision again, from the journal alone")
    parser.add_argument("--against", metavar="FILE", type=Path, help="compare decisions with those of another journal, row by row")
    return parser


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.head is not None and not HEAD.fullmatch(arguments.head.lower()):
        raise ConfigError(f"live verify: --head is {arguments.head!r:.80}, expected 8 to 64 hexadecimal digits")
    path = _chosen(arguments)
    if arguments.accept:
        _must_exist(path)
        with Journal(path) as journal:
            accept(journal, at=datetime.now(UTC))
    with Journal(path, read_only=True) as journal:
        verification = journal.verify()
        problems = [] if verification.problem is None else [verification.problem]
        note = read_note(path)
        result: dict[str, Any] = {
            "records": verification.records,
            "head": verification.head,
            "noted": None if note is None else dataclasses.asdict(note),
        }
        if not problems:
            problems += [told for told in (journal.setback(), distrust(path)) if told is not None]
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
        if note is None and verification.records:
            print(f"note: {NOT_NOTED}")
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
    path = _chosen(arguments)
    with Journal(path, read_only=True) as journal:
        if arguments.what == "backup":
            if arguments.out == "-" or arguments.force:
                raise ConfigError("live export: --what backup needs a new file as --out, and replaces none")
            journal.backup(Path(arguments.out))
            print(json.dumps({"out": arguments.out}) if arguments.json else f"{arguments.out}: a copy of {path}")
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
    "halt": (_halt_parser, halt),
    "resume": (_resume_parser, _resume),
    "verify": (_verify_parser, _verify),
    "export": (_export_parser, _export),
}
