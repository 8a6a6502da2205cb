"""The command line: ``gridpilot <command> ...``.

Each command is a module with ``main(argv: list[str]) -> int``, imported when it is called, so that ``gridpilot --help`` is quick.
Exit codes: 0 done, 1 a command's own "no" (a fit that is not good), 2 bad input or a failed operation, told in one line on stderr
(with the traceback where ``LOG_LEVEL=DEBUG``), 130 interrupted.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final

from gridpilot import __version__
from gridpilot.errors import ConfigError, GridPilotError
from gridpilot.redaction import redacted
from gridpilot.stdout import print_whatever_it_takes, printable
from gridpilot.suggestions import did_you_mean

__all__ = ["COMMANDS", "main"]

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "tournament": ("gridpilot.tournament.tournament_command", "let agents compete and rank them"),
    "evolve": ("gridpilot.simulation.evolve_command", "let strategies spread by what they earn"),
    "train": ("gridpilot.training.train_command", "train a policy that bids, and tell what it is worth"),
    "tune": ("gridpilot.training.tune_command", "search for the settings of a training, and judge the best once"),
    "league": (
        "gridpilot.training.league_command",
        "let policies learn to beat the equilibrium of those so far (PSRO), or themselves",
    ),
    "policy": ("gridpilot.training.policy_command", "write a policy of another library as a folder to be played"),
    "check": ("gridpilot.audit.check_command", "tell whether an agent plays fair and sound"),
    "report": ("gridpilot.tournament.report_command", "write the HTML report of a tournament's folder"),
    "exploit": ("gridpilot.hindsight.exploit_command", "tell how far from the optimum a tournament's agents were"),
    "replay": ("gridpilot.insight.replay_command", "play matches of a tournament again, as they were or with a change"),
    "explain": (
        "gridpilot.insight.explain_command",
        "answer why: a bid, a loss, a lead, what is wrong, each figure with its source",
    ),
    "dashboard": ("gridpilot.insight.dashboard_command", "show an engine and a tournament in a browser on this machine"),
    "deploy": ("gridpilot.deploy", "write a tournament's agent to a checked folder for live operation"),
    "live": ("gridpilot.live.live_command", "run an agent on a site, or on a stand-in of it"),
    "serve-mara": ("gridpilot.live.serve_command", "serve the MARA API on this machine, with faults on demand"),
    "clear": ("gridpilot.market.clear_command", "clear one market or an array of them from a JSON file"),
    "best-response": ("gridpilot.equilibrium.best_response_command", "find what each bidder of a market could have got instead"),
    "solve-game": ("gridpilot.equilibrium.solve_game_command", "solve one game or an array of them from a JSON file"),
    "simulate-prices": ("gridpilot.prices.simulate_command", "simulate energy, hash and token prices"),
    "climatology": ("gridpilot.tournament.climatology_command", "learn what a market's prices usually are at a time of day"),
    "backtest": ("gridpilot.backtest.backtest_command", "judge forecasters on a price preset or a file of prices"),
    "inspect": ("gridpilot.series.inspect_command", "show how a file of prices is read"),
    "calibrate": ("gridpilot.prices.calibrate_command", "fit a price model to a CSV or Parquet file"),
    "validate": ("gridpilot.validation.validate_command", "find known results of auction theory again with this auctioneer"),
    "benchmark": ("gridpilot.benchmark.benchmark_command", "measure the speed of the core on this machine"),
}
"""Command: (module, what it does in one line)."""

EXAMPLES: Final = """\
Examples:
  gridpilot tournament
  gridpilot tournament agents=[truthful,my_file.MyAgent] episodes=20 seed=7
  gridpilot check my_file.MyAgent greed=2
  gridpilot live agent=mpc live=stand_in
  gridpilot clear market.json --mechanism uniform
  gridpilot simulate-prices prices=ercot episodes=100 ticks=288 out=prices.parquet
  gridpilot calibrate prices.csv --column lmp --out my_prices.yaml"""

FAILED: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, what a shell expects
LONGEST: Final = 2000  # characters of a message; what is cut out of the middle of a longer one nobody reads


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. ``argv`` is what follows the program's name, by default ``sys.argv[1:]``.

    Lets no exception out except in the event of a defect of the program itself, whose traceback is wanted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    label = f"gridpilot {arguments[0]}" if arguments and arguments[0] in COMMANDS else "gridpilot"
    try:
        _check_surroundings()
        with _interrupts_that_arrive():
            code = _dispatch(arguments, label)
        sys.stdout.flush()  # a reader that has gone away or a full disk shows here at the latest
        if argv is None and sys.stdout is sys.__stdout__ and sys.stdout.fileno() == 1:  # type: ignore[union-attr]
            os.dup2(2, 1)  # what others' code prints while the interpreter ends is no result
        return code
    except BrokenPipeError:
        # `gridpilot ... | head` has read enough. The interpreter must not fail when it flushes stdout once more at its end.
        _drop_output()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print(f"{label}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except GridPilotError as error:
        return _fail(label, error)
    except OSError as error:
        _drop_output()
        return _fail(label, error)
    except MemoryError as error:
        return _fail(label, ConfigError(f"not enough memory: {error}" if str(error) else "not enough memory"))
    except UnicodeEncodeError as error:  # a name given in another encoding, on its way into a file
        return _fail(label, ConfigError(f"{error.object!r:.100} cannot be written as {error.encoding}, expected a name that can"))


def _check_surroundings() -> None:
    """Refuse what no command can do with: nowhere to print to, and no folder that relative paths begin at."""
    # Python sets a stream to None whose descriptor was closed; the next file to be opened would get its number.
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the process's own, until it ends
    if sys.stdout is None:
        raise ConfigError("stdout is closed, expected somewhere to print to: a terminal, a file, a pipe or /dev/null")
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - the process's own, until it ends
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ConfigError("the current folder is gone (it was moved or deleted), expected one that is there: cd to it") from None
    print_whatever_it_takes(sys.stdout)
    print_whatever_it_takes(sys.stderr)


@contextlib.contextmanager
def _ended_at_once(label: str) -> Iterator[None]:
    """While modules are imported Ctrl-C ends the process on the spot: there is nothing to tidy up, and libraries lose the exception."""

    def end(signum: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"{label}: interrupted\n".encode())
        os._exit(INTERRUPTED)

    try:
        before = signal.signal(signal.SIGINT, end) if signal.getsignal(signal.SIGINT) is signal.default_int_handler else None
    except ValueError:  # not in the main thread, which signals do not reach
        before = None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _interrupts_that_arrive() -> Iterator[None]:
    """Ctrl-C that falls into code whose exceptions Python only reports, as when an object is deleted, is raised once more after it."""
    before = sys.unraisablehook

    def report(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            again = threading.Timer(0.01, _thread.interrupt_main)  # at once it would be raised in here, and lost as well
            again.daemon = True
            again.start()
        else:
            before(unraisable)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before


def _dispatch(arguments: list[str], label: str) -> int:
    match arguments:
        case [] | ["-h" | "--help" | "help", *_]:
            print(_help())
            return 0 if arguments else FAILED
        case ["--version", *_]:
            print(f"gridpilot {__version__}")
            return 0
        case [command, *rest] if command in COMMANDS:
            with _ended_at_once(label):
                module = importlib.import_module(COMMANDS[command][0])
            return int(module.main(rest))
        case _:
            hint = did_you_mean(arguments[0], COMMANDS) or f"expected one of {', '.join(COMMANDS)}"
            print(f"gridpilot: error: unknown command {arguments[0]!r:.100}; {hint}", file=sys.stderr)
            return FAILED


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {command:<{width}}  {summary}" for command, (_, summary) in COMMANDS.items())
    return (
        "usage: gridpilot <command> ...\n\n"
        "An arena in which mining and AI-inference sites compete for power every five minutes.\n\n"
        f"Commands:\n{commands}\n\n"
        f"{EXAMPLES}\n\n"
        "gridpilot <command> --help tells about a command. LOG_LEVEL=DEBUG shows where an error comes from."
    )


def _fail(label: str, error: Exception) -> int:
    if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
        import traceback

        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    message = printable(redacted(" ".join(text.split()))) or type(error).__name__
    if len(message) > LONGEST:
        message = f"{message[: LONGEST - 300]} ... {message[-300:]}"
    print(f"{label}: error: {message}", file=sys.stderr)
    return FAILED


def _drop_output() -> None:
    """Send what stdout still holds to nowhere, where stdout is a real file that can no longer take it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
