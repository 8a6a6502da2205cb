"""The command line: dispatch, help, exit codes, and how failures are told."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import gridpilot
from gridpilot.cli import COMMANDS, main
from gridpilot.errors import BidError, ConfigError, GridPilotError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[str]], int]], None]:
    """Make ``gridpilot trial`` call the given function."""

    def install(function: Callable[[list[str]], int]) -> None:
        module = types.ModuleType("trial_command")
        module.main = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "trial_command", module)
        monkeypatch.setitem(COMMANDS, "trial", ("trial_command", "a command of the tests"))

    return install


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def run(argv: list[str]) -> int:
        raise error

    return run


def gridpilot_process(*argv: str, **kwargs: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "gridpilot", *argv], stderr=subprocess.PIPE, **kwargs)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("option", ["--help", "-h", "help"])
def test_help_lists_every_command_with_its_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    out = capsys.readouterr().out
    for name, (_, summary) in COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, summary] for line in out.splitlines())
    assert "Examples:" in out


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: gridpilot" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gridpilot {gridpilot.__version__}\n"


def test_an_unknown_command_is_refused_with_the_closest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tournamnt"]) == 2
    assert capsys.readouterr().err == "gridpilot: error: unknown command 'tournamnt'; did you mean tournament?\n"


def test_a_command_like_no_other_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyzzy"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    for name in COMMANDS:
        assert name in err


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_answers_help(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        code = main([name, "--help"])
    except SystemExit as ended:  # argparse's way
        code = 0 if ended.code is None else int(ended.code)
    out, err = capfd.readouterr()
    assert code == 0
    assert out.startswith(f"usage: gridpilot {name}")
    assert err == ""


def test_a_command_gets_the_rest_of_the_line_and_its_code_is_returned(command: Callable[..., None]) -> None:
    seen: list[list[str]] = []

    def run(argv: list[str]) -> int:
        seen.append(argv)
        return 1

    command(run)
    assert main(["trial", "a=1", "--json"]) == 1
    assert seen == [["a=1", "--json"]]


def test_arguments_come_from_the_process_by_default(command: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    command(len)
    monkeypatch.setattr(sys, "argv", ["gridpilot", "trial", "a", "b"])
    assert main() == 2


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BidError("bid: block 1 has\n  price nan"), "bid: block 1 has price nan"),
        (ConfigError("unknown key 'x'"), "unknown key 'x'"),
        (GridPilotError(), "GridPilotError"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device", "/runs/part.parquet"), "/runs/part.parquet: No space left on device"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "market.json"), "market.json: No such file or directory"),
    ],
)
def test_an_error_is_one_line(
    error: Exception, line: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(error))
    assert main(["trial"]) == 2
    assert capsys.readouterr() == ("", f"gridpilot trial: error: {line}\n")


def test_debug_shows_the_traceback_as_well(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    command(raising(ConfigError("unknown key 'x'")))
    assert main(["trial"]) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.endswith("gridpilot trial: error: unknown key 'x'\n")


def test_interruption_is_one_line_and_130(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(KeyboardInterrupt()))
    assert main(["trial"]) == 130
    assert capsys.readouterr().err == "gridpilot trial: interrupted\n"


def test_a_defect_keeps_its_traceback(command: Callable[..., None]) -> None:
    command(raising(ZeroDivisionError("a defect")))
    with pytest.raises(ZeroDivisionError):
        main(["trial"])


def test_a_reader_that_goes_away_ends_the_program_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = gridpilot_process("--help", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGPIPE
    assert err == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        process = gridpilot_process("--help", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == b"gridpilot: error: No space left on device\n"


def test_names_are_reached_when_first_used() -> None:
    for name in gridpilot.__all__:
        assert getattr(gridpilot, name) is not None
    assert set(gridpilot.__all__) <= set(dir(gridpilot))
    with pytest.raises(AttributeError, match="no attribute 'Bidd'"):
        _ = gridpilot.Bidd
