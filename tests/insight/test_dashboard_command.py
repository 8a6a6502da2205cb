"""``gridpilot dashboard``: what it shows when nothing is named, and bad input in one line."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path

import pytest

from gridpilot.cli import main
from gridpilot.errors import ConfigError
from gridpilot.insight.dashboard.demo import demo
from gridpilot.insight.dashboard.serve import CONFIG
from gridpilot.insight.dashboard_command import newest


def test_the_newest_run_and_journal_are_shown(tmp_path: Path) -> None:
    for i, name in enumerate(("old", "new", "older")):
        (tmp_path / name).mkdir()
        manifest = tmp_path / name / "manifest.json"
        manifest.touch()
        os.utime(manifest, (i % 3 if name != "new" else 9, i if name != "new" else 9))
        os.utime(tmp_path / name, (1, 1))
    for name, at in (("a.db", 5), ("b.db", 3), ("b.db-wal", 8)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    assert newest(tmp_path) == [tmp_path / "new", tmp_path / "b.db"]
    with pytest.raises(ConfigError, match="expected RUN or JOURNAL, or --demo"):
        newest(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.db"], "nowhere.db does not exist, expected the folder of a tournament or the journal of gridpilot live"),
        (["."], ". has no manifest.json, expected the folder of a tournament"),
        ([], "runs/ holds no tournament and no journal to show, expected RUN or JOURNAL, or --demo"),
        (["--port", "70000"], "--port is 70000, expected a number from 0 to 65535"),
        (["--demo", "a"], "--demo shows what it starts itself, and a was given"),
    ],
)
def test_bad_input_ends_in_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--no-browser", *(["--port", "0"] if "--port" not in arguments else []), *arguments]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_told_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["dashboard", "--demo", "--port", str(port)]) == 2
    assert f"--port {port}: Address already in use, expected a free port, or 0 for any" in capsys.readouterr().err


def test_without_the_extra_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "streamlit" else found(name))
    assert main(["dashboard", "--demo"]) == 2
    err = capsys.readouterr().err
    assert "gridpilot dashboard needs an optional dependency: " in err
    assert "[insight]" in err
    assert err.count("\n") == 1


def test_nothing_is_left_to_files_and_variables_that_would_open_it() -> None:
    assert CONFIG["server.address"] == CONFIG["browser.serverAddress"] == "127.0.0.1"
    assert CONFIG["browser.gatherUsageStats"] is False
    assert CONFIG["server.enableAgentApi"] is False
    assert CONFIG["client.showErrorDetails"] == "type"


@pytest.mark.slow
def test_what_the_demo_starts_ends_with_it() -> None:
    import time

    with demo() as sources:
        (journal,), started = sources.journals, time.monotonic()
        while not journal.exists() and time.monotonic() - started < 120.0:
            time.sleep(0.2)
        assert journal.exists()
        folder = journal.parent
    assert not folder.exists()
