"""The command line: dispatch, help, exit codes, and how failures are told."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import gridpilot
from gridpilot.cli import COMMANDS, main
from gridpilot.errors import BidError, ConfigError, GridPilotError
from gridpilot.stdout import print_whatever_it_takes
from tests.test_structure import ROOT


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
        (MemoryError("Unable to allocate 3 GiB"), "not enough memory: Unable to allocate 3 GiB"),
        (MemoryError(), "not enough memory"),
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


def test_a_very_long_error_is_cut_in_its_middle(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(ConfigError(f"begins {'x' * 50_000} ends")))
    assert main(["trial"]) == 2
    err = capsys.readouterr().err
    assert len(err) < 2100
    assert err.startswith("gridpilot trial: error: begins x")
    assert err.endswith("x ends\n")


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


def test_a_closed_stdout_is_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "gridpilot", "--version"]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"gridpilot: error: stdout is closed, expected somewhere to print to")
    assert done.stderr.count(b"\n") == 1


def test_closed_stdin_and_stderr_are_borne() -> None:
    command = [sys.executable, "-m", "gridpilot", "--version"]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- 2>&-', "sh", *command], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"gridpilot {gridpilot.__version__}\n".encode())
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command[:3], "clear", "-"], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"standard input" in done.stderr


def test_a_folder_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = [sys.executable, "-m", "gridpilot", "simulate-prices", "episodes=1"]
    script = f'cd "{gone}" && rmdir "{gone}" && exec "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"gridpilot simulate-prices: error: the current folder is gone")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", b"* - ~ o \\u20ac \\u00e9 \\ud83d\\ude00 \\udce9\n"),
        ("latin-1", b"* - \xb1 \xb0 \\u20ac \xe9 \\ud83d\\ude00 \\udce9\n"),
        ("cp1252", b"* \x96 \xb1 \xb0 \x80 \xe9 \\ud83d\\ude00 \\udce9\n"),
        ("utf-8", "★ – ± ° € é 😀 \\udce9\n".encode()),
    ],
)
def test_what_a_stream_cannot_encode_is_printed_as_something_alike(encoding: str, printed: bytes) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_whatever_it_takes(stream)
    print("★ – ± ° € é 😀 \udce9", file=stream, flush=True)
    assert stream.detach().getvalue() == printed  # type: ignore[attr-defined]


def test_a_command_may_print_any_sign_whatever_the_encoding(tmp_path: Path) -> None:
    for encoding in ("ascii", "latin-1:strict", "cp1252"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        process = gridpilot_process("no★such–command", stdout=subprocess.PIPE, env=environment)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert err.startswith(b"gridpilot: error: unknown command")
        assert err.count(b"\n") == 1


def test_a_name_of_another_encoding_is_told_in_one_line(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def run(argv: list[str]) -> int:
        return len(argv[0].encode())

    command(run)
    assert main(["trial", "caf\udce9.csv"]) == 2
    out, err = capsys.readouterr()
    assert "'caf\\udce9.csv' cannot be written as utf-8" in err
    assert (out, err.count("\n")) == ("", 1)


def test_an_interrupt_that_python_would_only_report_ends_the_command(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def run(argv: list[str]) -> int:
        Interrupted()
        for _ in range(1000):
            time.sleep(0.001)
        return 0

    command(run)
    assert main(["trial"]) == 130
    assert capsys.readouterr().err == "gridpilot trial: interrupted\n"


SLOW_TO_IMPORT = """
import sys, time, types
import gridpilot.cli as cli
cli.COMMANDS["trial"] = ("slow_to_import", "a command of the tests")
sys.exit(cli.main(["trial"]))
"""


def test_ctrl_c_while_a_command_is_imported_is_one_line_and_130(tmp_path: Path) -> None:
    # A library that swallows the exception would go on.
    swallowing = "try:\n    time.sleep(60)\nexcept BaseException:\n    pass\n\ndef main(argv): return 0\n"
    (tmp_path / "slow_to_import.py").write_text(f"import time\nprint('importing', flush=True)\n{swallowing}")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_IMPORT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "gridpilot trial: interrupted\n")


def test_names_are_reached_when_first_used() -> None:
    for name in gridpilot.__all__:
        assert getattr(gridpilot, name) is not None
    assert set(gridpilot.__all__) <= set(dir(gridpilot))
    with pytest.raises(AttributeError, match="no attribute 'Bidd'"):
        _ = gridpilot.Bidd
