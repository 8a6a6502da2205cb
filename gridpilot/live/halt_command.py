"""``gridpilot live halt``: finds the engines that run, has them switch everything off, and waits until they have."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gridpilot.errors import ConfigError, JournalError, LiveError
from gridpilot.live.journal import HaltState, Journal
from gridpilot.live.lock import is_run_on
from gridpilot.live.running import RunningEngine, running_engines
from gridpilot.live.status import power_of
from gridpilot.live.which_journal import DEFAULT, as_option, listing, pick

__all__ = ["Halted", "add_halt_options", "follow_halt", "halt", "order_halt"]

TIMEOUT_S: Final = 120.0  # an engine looks at its journal every quarter of a minute, and calls may take their time
LOOK_S: Final = 0.1
CONFIRMED: Final = {"applied": "confirmed by the venue", "shadow": "decided in shadow mode, which sends nothing"}


@dataclass
class Halted:
    """What came of a halt at one engine."""

    journal: str
    engine: str
    why: str = ""
    new: bool = True  # it was not halted before
    before_w: int | None = None  # as far as its journal knew
    after_w: int | None = None
    confirmed: str = ""  # how it was confirmed that everything is off; "" where it was not
    seconds: float = 0.0
    problem: str = ""

    def __str__(self) -> str:
        power = f"{_kilowatts(self.before_w)} before, {_kilowatts(self.after_w)} after"
        if self.confirmed:
            return f"halted: {self.engine}: {power}: {self.confirmed} after {self.seconds:.1f} s"
        return f"NOT CONFIRMED: {self.engine}: {power}: {self.problem}"


def add_halt_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``halt``."""
    parser.add_argument("--all", action="store_true", help="every engine that runs on this machine")
    parser.add_argument("--ahead", action="store_true", help="no engine runs yet: write the halt for one that will start")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=TIMEOUT_S, help=f"wait so long for the confirmation (default {TIMEOUT_S:g})"
    )


def halt(arguments: argparse.Namespace) -> int:
    """Halt the engines that are meant; 0 where each has confirmed that everything is off, 1 where one has not.

    Raises :class:`~gridpilot.errors.LiveError` where no engine runs and :class:`~gridpilot.errors.ConfigError` where several do and none
    is named.
    """
    if not 0.0 <= arguments.timeout <= 86_400.0:
        raise ConfigError(f"live halt: --timeout is {arguments.timeout:g}, expected seconds, from 0 to 86400")
    engines = _meant(arguments, running_engines())
    if not engines:
        return _ahead(arguments)
    results = _halt_all(engines, arguments.why, arguments.timeout)
    if arguments.json:
        done = all(result.confirmed for result in results)
        print(json.dumps({"halted": done, "why": results[0].why, "engines": [dataclasses.asdict(result) for result in results]}))
    else:
        for result in results:
            print(result)
            if result.why:
                already = "" if result.new else "halted already, "
                print(f"  {already}{result.why!r}; until  gridpilot live resume {as_option(Path(result.journal))}")
    return 0 if all(result.confirmed for result in results) else 1


def _meant(arguments: argparse.Namespace, engines: Sequence[RunningEngine]) -> list[RunningEngine]:
    """The engines to halt; none where a halt for the future is meant."""
    if arguments.all and (arguments.journal is not None or arguments.name is not None or arguments.ahead):
        raise ConfigError("live halt: --all halts every engine that runs, expected it alone")
    if arguments.journal is not None:
        return _on(arguments.journal, engines)
    if arguments.name is not None:
        return [pick(engines, arguments.name)]
    if arguments.ahead:
        return _on(DEFAULT, engines)
    if not engines:
        raise LiveError(
            "no engine runs on this machine, so nothing was switched off; live.journal=FILE --ahead writes a halt for one that will start"
        )
    if len(engines) > 1 and not arguments.all:
        raise ConfigError(
            f"live halt: which engine? {listing(engines)}; --all halts them all, and a pid, a site or a journal names one"
        )
    return list(engines)


def _on(journal: Path, engines: Sequence[RunningEngine]) -> list[RunningEngine]:
    """The engine on ``journal``, which need not have found the same folder to enter itself."""
    found = [engine for engine in engines if engine.runs_on(journal)]
    if not found and is_run_on(journal):
        found = [RunningEngine(0, str(journal), "a site", "not entered here", (), "")]
    return found[:1]


def _ahead(arguments: argparse.Namespace) -> int:
    """Write a halt that nobody obeys yet: into a journal that is there, or where it is wanted into a new one."""
    path = arguments.journal or DEFAULT
    if not (arguments.ahead or path.exists()):
        raise LiveError(
            f"no engine runs on {path}, which does not exist, so nothing was switched off; --ahead writes a halt for one that will start"
        )
    with Journal(path) as journal:
        before, state = _write(journal, arguments.why)
        session, stop = journal.last("session"), journal.last("stop")
    power = "" if session is None or stop is None or session.body["mode"] == "shadow" else ", and machines stay as they are"
    told = f"no engine runs on {path}{power}: once one starts it has everything off within one cycle"
    if not arguments.ahead:
        raise LiveError(f"{told}; the halt is written down, and nothing was switched off")
    if arguments.json:
        print(json.dumps({"halted": True, "why": state.why, "new": not before.halted}))
        return 0
    since = "" if state.since is None else f" since {state.since:%Y-%m-%d %H:%M:%S} UTC"
    start = f"halted already{since}: {state.why}\n" if before.halted else "halted ahead: "
    print(f"{start}{told}, and stays so until gridpilot live resume {as_option(path)}")
    return 0


def _write(journal: Journal, why: str) -> tuple[HaltState, HaltState]:
    """Halt a journal that is not halted yet; the states before and after."""
    before = journal.halt
    if not before.halted:
        journal.append([("halt", {"why": why})], at=datetime.now(UTC))
    return before, journal.halt


def order_halt(journal: Path, why: str) -> Halted:
    """Write a halt for the engine on ``journal`` and wait for nothing: :func:`follow_halt` tells what has come of it.

    Where no engine runs on it the halt is written too, and ``problem`` says that nothing was switched off. Raises
    :class:`~gridpilot.errors.JournalError` where it cannot be written.
    """
    engines = _on(journal, running_engines())
    result = Halted(str(journal), engines[0].name if engines else "no engine")
    _order(result, why)
    if not engines:
        result.problem = "no engine runs on it, so nothing was switched off: once one starts it has everything off within one cycle"
    return result


def follow_halt(result: Halted, *, late: bool = False, alive: Sequence[RunningEngine] | None = None) -> None:
    """See whether the engine has confirmed that everything is off; ``late`` gives up waiting. ``alive`` are the engines that run."""
    path = Path(result.journal)
    ended = not (is_run_on(path) or any(engine.runs_on(path) for engine in (running_engines() if alive is None else alive)))
    _look(result, late=late, ended=ended)


def _halt_all(engines: Sequence[RunningEngine], why: str, timeout: float) -> list[Halted]:
    """Write every halt, and wait for all of them together."""
    started, results = time.monotonic(), [Halted(engine.journal, engine.name) for engine in engines]
    while waiting := [result for result in results if not (result.confirmed or result.problem)]:
        late = time.monotonic() - started > timeout
        for result in waiting:
            try:
                _order(result, why)
            except JournalError as error:  # of one engine, which must not keep the others running
                result.problem = f"the halt cannot be written: {error}"
        alive = running_engines()
        for result in waiting:
            follow_halt(result, late=late, alive=alive)
            result.seconds = time.monotonic() - started
        time.sleep(LOOK_S if any(not (result.confirmed or result.problem) for result in results) else 0.0)
    return results


def _order(result: Halted, why: str) -> None:
    """Write the halt, as soon as the engine has made its journal: nobody else makes one."""
    path = Path(result.journal)
    if result.why or not path.exists():
        return
    with Journal(path) as journal:
        before, state = _write(journal, why)
        result.why, result.new, result.before_w = state.why, not before.halted, power_of(journal)


def _look(result: Halted, *, late: bool, ended: bool) -> None:
    """See whether the engine has confirmed that everything is off."""
    status = message = ""
    if result.why and not result.problem:
        try:
            with Journal(Path(result.journal), read_only=True) as journal:
                status, message = _outcome(journal)
                result.after_w = power_of(journal)
        except JournalError as error:
            result.problem = str(error)
    if result.problem:
        return
    if status in CONFIRMED:
        result.confirmed = CONFIRMED[status]
    elif ended:
        result.problem = "the engine ended before it confirmed: machines stay as they are, and it obeys once it runs again"
    elif late and not result.why:
        result.problem = "the engine still waits for its venue and has no journal yet, so the halt could not be written"
    elif late:
        told = f"; its last command: {status}{f', {message}' if message else ''}" if status else "; it has sent nothing since"
        result.problem = f"no confirmation in time{told}. The halt stands, and the engine goes on trying"


def _outcome(journal: Journal) -> tuple[str, str]:
    """Status and message of the newest command since the halt; as a status "" where there is none, or where something still runs."""
    order, told, read = (journal.last(kind) for kind in ("halt", "outcome", "reconciliation"))
    first = journal.last("off")
    if order is not None and first is not None and first.seq > max(order.seq, told.seq if told else 0, read.seq if read else 0):
        return ("applied", "") if first.body["confirmed"] else ("unknown", str(first.body["message"]))
    if order is None or told is None or told.seq < order.seq:
        return "", ""
    body: dict[str, Any] = told.body
    off = body["command"].endswith(" halt") and not any(map(any, body["counts"]))
    if read is not None and read.seq > told.seq and any(map(any, read.body["counts"])):
        off = False
    status = str(body["status"])
    return (status if off or status not in CONFIRMED else ""), str(body["message"])


def _kilowatts(watts: int | None) -> str:
    return "unknown" if watts is None else f"{watts / 1000:,.0f} kW"
