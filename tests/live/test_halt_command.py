"""A halt reaches the engines that run, from wherever it is called, and is a success only where everything is confirmed to be off."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridpilot import cli
from gridpilot.live.journal import Journal
from gridpilot.live.lock import sole_engine
from gridpilot.live.running import registered
from tests.live.loops import run
from tests.live.replays import replay_venue
from tests.live.test_live_command import OFF, PATIENT, flying, machines, register
from tests.live.test_serve_command import serving


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = cli.main(["live", *argv])
    out, err = capsys.readouterr()
    return code, out, err


@contextlib.contextmanager
def engine_in(folder: str, url: str, key: str, *arguments: str) -> Iterator[None]:
    """An engine in a folder of its own that has switched machines on."""
    Path(folder).mkdir()
    with contextlib.chdir(folder):
        flight = flying("agent=truthful", f"live.url={url}", "live.mode=live", "live.table=false", *PATIENT, *arguments, key=key)
        flight.__enter__()
    try:
        until = time.monotonic() + 60.0
        while machines(url, key) == OFF:
            assert time.monotonic() < until, Path(folder, "log.txt").read_text()
            time.sleep(0.1)
        yield
    finally:
        flight.__exit__(None, None, None)


def test_two_engines_are_halted_from_a_third_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with serving("--speed", "300") as (url, _):
        keys = [register(url), register(url)]
        with engine_in("one", url, keys[0]), engine_in("two", url, keys[1], "live.journal='run (b).db'"):
            Path("third").mkdir()
            with contextlib.chdir("third"):
                code, out, err = call(capsys, "halt", "--why", "smoke")
                assert (code, out, err.count("\n")) == (2, "", 1)
                assert "which engine? 2 run" in err
                assert all(machines(url, key) != OFF for key in keys)  # nobody was halted by a guess
                code, out, err = call(capsys, "halt", "--all", "--why", "smoke", "--timeout", "30")
                assert (code, err) == (0, ""), out
                assert [machines(url, key) for key in keys] == [OFF, OFF]
                told = re.findall(
                    r"^halted: .*: ([\d,]+) kW before, 0 kW after: confirmed by the venue after ([\d.]+) s$", out, re.MULTILINE
                )
                assert len(told) == 2
                assert all(int(before.replace(",", "")) > 0 for before, _ in told)
                assert all(float(seconds) < 5.0 for _, seconds in told)  # a tick lasts a second, and the machine is busy
                assert list(Path().iterdir()) == []
                assert call(capsys, "halt", "--all", "--timeout", "30")[0] == 0  # a second time it is so already
                # What was printed can be pasted, and status and resume find the same journals.
                pasted = re.findall(r"until  gridpilot (live resume .*)$", out, re.MULTILINE)
                assert call(capsys, "status", "run (b)")[1].count("HALTED: smoke") == 1
                for line in pasted:
                    assert cli.main(shlex.split(line)) == 0
                assert "HALTED" not in call(capsys, "status", "live")[1]
                code, out, _ = call(capsys, "halt", "live.journal='../two/run (b).db'", "--json", "--timeout", "30")
                body = json.loads(out)
                assert (code, body["halted"], len(body["engines"])) == (0, True, 1)
                assert (body["engines"][0]["after_w"], machines(url, keys[1])) == (0, OFF)
        code, out, err = call(capsys, "halt", "--all")
        assert (code, out) == (2, "")
        assert "no engine runs on this machine, so nothing was switched off" in err


def test_without_an_engine_a_halt_is_no_success_and_makes_no_journal(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, told in (
        ((), "no engine runs on this machine"),
        (("--all",), "no engine runs on this machine"),
        (("live.journal=runs/live.db",), "no engine runs on runs/live.db, which does not exist"),
        (("one",), "no engine that runs is called 'one'; none runs on this machine"),
        (("--all", "--ahead"), "--all halts every engine that runs, expected it alone"),
        (("--timeout", "-1"), "--timeout is -1, expected seconds"),
    ):
        code, out, err = call(capsys, "halt", *argv)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert told in err
    assert list(Path().iterdir()) == []
    code, out, _ = call(capsys, "halt", "--ahead")
    assert (code, out.startswith("halted ahead: no engine runs on runs/live.db: once one starts")) == (0, True)
    assert out.endswith("until gridpilot live resume live.journal=runs/live.db\n")


def test_a_journal_that_no_engine_runs_on_is_halted_and_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    run(replay_venue(5), Path("run (a).db"), rows=5)
    code, out, err = call(capsys, "halt", "live.journal='run (a).db'", "--why", "a test")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no engine runs on run (a).db, and machines stay as they are" in err
    assert json.loads(call(capsys, "status", "--journal=run (a).db", "--json")[1])["halt_why"] == "a test"
    assert [path.name for path in Path().iterdir() if path.suffix == ".db"] == ["run (a).db"]


@pytest.mark.parametrize("command", [[], ["status"], ["halt"], ["resume"], ["verify"], ["export", "--out", "x.csv"]])
@pytest.mark.parametrize("name", ["", "''", ".", ".."])
def test_an_empty_name_is_one_clear_line(command: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*command, f"live.journal={name}"] if command else ["live=simulated", f"live.journal={name}"]
    code, out, err = call(capsys, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "journal" in err
    assert "expected the name of a file" in err
    assert list(Path().iterdir()) == []


def test_an_engine_that_does_not_obey_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    with registered(Path("deaf.db"), "replay", None, "live", ()), sole_engine(Path("deaf.db")):
        run(replay_venue(5), Path("deaf.db"), rows=5)
        code, out, _ = call(capsys, "halt", "--timeout", "0.3")
        assert code == 1
        assert re.match(
            r"NOT CONFIRMED: replay .*: [\d,]+ kW before, [\d,]+ kW after: no confirmation in time; it has sent nothing since", out
        )
        with Journal(Path("deaf.db")) as journal:
            told = journal.last("outcome")
            assert told is not None
            off = {
                **told.body,
                "command": "2025-06-21T12:25:00 halt",
                "counts": [[0] * 5],
                "status": "unknown",
                "message": "no answer",
            }
            journal.append([("outcome", off)], at=told.at)
        code, out, _ = call(capsys, "halt", "--timeout", "0")
        assert (code, "its last command: unknown, no answer" in out, "halted already" in out) == (1, True, True)
    with sole_engine(Path("deaf.db")):  # one that has not entered itself here
        assert call(capsys, "halt", "live.journal=deaf.db", "--timeout", "0")[0] == 1


def test_one_journal_that_cannot_be_written_does_not_keep_the_others_running(capsys: pytest.CaptureFixture[str]) -> None:
    Path("none.db").write_text("no journal" * 1000)
    Journal(Path("new.db")).close()
    with contextlib.ExitStack() as stack:
        for name in ("none.db", "new.db", "not yet.db"):
            stack.enter_context(registered(Path(name), "replay", None, "live", ()))
        code, out, _ = call(capsys, "halt", "--all", "--timeout", "0")
    assert code == 1
    assert "the halt cannot be written: journal" in out
    assert "still waits for its venue and has no journal yet" in out
    assert not Path("not yet.db").exists()  # an engine makes its own
    with Journal(Path("new.db"), read_only=True) as journal:
        assert journal.halt.halted
