"""Engines know each other: who is entered, who is stale, and who must not start."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from gridpilot.errors import ConfigError, LiveError
from gridpilot.live.running import RUNTIME_VARIABLE, fingerprint, registered, running_engines
from gridpilot.live.which_journal import as_option, choose, option_of, pick

KEY, OTHER = SecretStr("6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"), SecretStr("11111111-0d57-4a41-9a4c-0f3d2f6b8e11")
URL = "http://127.0.0.1:8321"


def folder() -> Path:
    return Path(os.environ[RUNTIME_VARIABLE])


def entered() -> contextlib.AbstractContextManager[None]:
    return registered(Path("a.db"), "replay", None, "live", ())


def test_an_engine_is_entered_while_it_runs_and_never_with_its_key() -> None:
    assert running_engines() == []
    with registered(Path("runs/a.db"), "mara", URL, "live", [KEY]):
        (engine,) = running_engines()
        assert (engine.pid, engine.journal, engine.site, engine.mode) == (
            os.getpid(),
            f"{Path.cwd()}/runs/a.db",
            "127.0.0.1:8321",
            "live",
        )
        assert engine.keys == (fingerprint(KEY),)
        text = "".join(path.read_text() for path in folder().iterdir())
        assert engine.site in text
        assert KEY.get_secret_value() not in text
        assert folder().stat().st_mode & 0o077 == 0
        for name in (str(os.getpid()), "127.0.0.1:8321", "a.db", "a", "runs/a.db", f"{Path.cwd()}/runs/../runs/a.db"):
            assert pick([engine], name) is engine
    assert running_engines() == []
    assert sorted(path.name for path in folder().iterdir()) == ["lock"]


def test_an_engine_that_was_killed_is_stale() -> None:
    program = "import os, sys; from pathlib import Path; from gridpilot.live.running import registered\n"
    program += "with registered(Path('x.db'), 'replay', None, 'live', ()): print('in', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        assert [(engine.pid, engine.site) for engine in running_engines()] == [(process.pid, "replay")]
        process.kill()
    assert len(list(folder().glob("*.json"))) == 1
    assert running_engines() == []
    assert list(folder().glob("*.json")) == []


def test_one_engine_a_key_on_whatever_journal() -> None:
    with registered(Path("a.db"), "mara", URL, "live", [OTHER, KEY]):
        with (
            pytest.raises(LiveError, match=r"another engine runs with the same key: 127\.0\.0\.1:8321 \(pid .*a\.db\)") as told,
            registered(Path("b.db"), "mara", URL, "live", [KEY]),
        ):
            pass
        assert KEY.get_secret_value() not in str(told.value)
        with (
            registered(Path("c.db"), "mara", URL, "live", [SecretStr("of another site")]),
            registered(Path("d.db"), "mara", URL, "shadow", ()),
        ):
            assert len(running_engines()) == 3
    with registered(Path("b.db"), "mara", URL, "live", [KEY]):
        pass


def test_where_engines_are_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUNTIME_VARIABLE)
    session, service, temp = tmp_path / "session", tmp_path / "service", tmp_path / "temp"
    for each in (session, service, temp):
        each.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    own = temp / f"gridpilot-{os.geteuid()}"
    for variable, value, expected in (
        ("LC_ALL", "C", own),
        ("XDG_RUNTIME_DIR", str(session), session / "gridpilot"),
        ("RUNTIME_DIRECTORY", f"{service}:{session}", service),
    ):
        monkeypatch.setenv(variable, value)
        with registered(Path("a.db"), "replay", None, "live", ()):
            assert len(list(expected.glob("*.json"))) == 1
            journals = [engine.journal for engine in running_engines()]
            assert journals.count(f"{Path.cwd()}/a.db") == 1
    with registered(Path("of the service.db"), "replay", None, "live", ()):
        monkeypatch.delenv("RUNTIME_DIRECTORY")
        monkeypatch.setattr("gridpilot.live.running.SERVICE", service)
        assert f"{Path.cwd()}/of the service.db" in [engine.journal for engine in running_engines()]


def test_a_folder_that_others_could_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUNTIME_VARIABLE)
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = tmp_path / f"gridpilot-{os.geteuid()}"
    own.mkdir()
    own.chmod(0o777)
    with (
        pytest.raises(LiveError, match="is not a folder of this user's alone; GRIDPILOT_RUNTIME_DIR"),
        registered(Path("a"), "x", None, "live", ()),
    ):
        pass
    own.rmdir()
    own.symlink_to(tmp_path)
    with pytest.raises(LiveError, match="is not a folder of this user's alone"), entered():
        pass
    monkeypatch.setenv(RUNTIME_VARIABLE, str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(LiveError, match=r"no folder for running engines: .*Not a directory"),
        registered(Path("a"), "x", None, "live", ()),
    ):
        pass


def test_what_is_no_entry_keeps_nobody_from_being_found() -> None:
    with registered(Path("a.db"), "replay", None, "live", ()):
        (entry,) = folder().glob("*.json")
        before = entry.read_text()
        entry.write_text("{")
        assert running_engines() == []
        entry.write_text(json.dumps({**json.loads(before), "more": 1}))
        assert running_engines() == []
        entry.write_text(before)
        assert len(running_engines()) == 1


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("live.journal=runs/live.db", "runs/live.db"),
        ("live.journal='run (a).db'", "run (a).db"),
        ('live.journal="it\'s.db"', "it's.db"),
        ("live.journal=a\\ b.db", "a b.db"),
        ("live.journal=a b.db", "a b.db"),
        ("live.journal=", ""),
        ("--why", None),
    ],
)
def test_a_journal_is_named_as_the_engine_names_it(argument: str, name: str | None) -> None:
    assert option_of(argument) == (argument if name is None else f"--journal={name}")


def test_what_the_engine_cannot_read_is_told_with_quotes() -> None:
    with pytest.raises(ConfigError, match=r"'live.journal=run \(a\).db' cannot be read, expected quotes such as .*live.journal="):
        option_of("live.journal=run (a).db")


@pytest.mark.parametrize(
    "name", ["runs/live.db", "run (a).db", "it's $HOME.db", "a b.db", "-x.db", 'q"uote.db', "\N{SNOWMAN}.db", "a,b=c.db"]
)
def test_printed_names_can_be_pasted(name: str) -> None:
    (argument,) = shlex.split(as_option(Path(name)))
    assert option_of(argument) == f"--journal={name}"


def test_which_journal_is_meant() -> None:
    default = Path("runs/live.db")
    assert choose([], None, None) == default
    with contextlib.ExitStack() as stack:
        stack.enter_context(registered(Path("one.db"), "replay", None, "live", ()))
        assert choose(running_engines(), None, None) == Path.cwd() / "one.db"
        stack.enter_context(registered(Path("two.db"), "simulated", None, "live", ()))
        with pytest.raises(ConfigError, match=r"which journal\? 2 run: replay .*one\.db\); simulated .*two\.db"):
            choose(running_engines(), None, None)
        assert choose(running_engines(), None, "simulated") == Path.cwd() / "two.db"
        assert choose(running_engines(), Path("mine.db"), None) == Path("mine.db")
        with pytest.raises(ConfigError, match="2 engines are called"):
            choose(running_engines(), None, str(os.getpid()))
        with pytest.raises(ConfigError, match="no engine that runs is called 'three'"):
            choose(running_engines(), None, "three")
        stack.enter_context(registered(default, "replay", None, "live", ()))
        assert choose(running_engines(), None, None) == default
