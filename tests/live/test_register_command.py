from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from gridpilot.errors import ConfigError, LiveError, RefusedError, UnavailableError, UnknownOutcomeError
from gridpilot.live.register_command import main
from tests.live.clients import URL, raw_server
from tests.live.other_server import OtherServer


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)  # of whatever capsys puts there


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_key_is_shown(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with OtherServer(created_status=status) as server:
        assert main(["--name", "my site", "--url", server.url]) == 0
        (key,) = server._sites
        out, err = capsys.readouterr()
        assert (
            out
            == f"site 'my site' at {server.url}, 1,000,000 W. Its key belongs in the environment:\n  export MARA_API_KEY={key}\n"
        )
        assert err == ""


@pytest.mark.parametrize("override", [True, False])
def test_a_key_file_is_for_its_owner_and_keeps_the_key_off_the_screen(override: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with OtherServer() as server:
        address = [f"live.url={server.url}"] if override else ["--url", server.url]
        assert main([*address, "--name", "a", "--key-file", "my key"]) == 0
        (key,) = server._sites
    path = Path("my key")
    assert path.read_text() == f"{key}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    out = "".join(capsys.readouterr())
    assert key not in out
    assert """export MARA_API_KEY="$(cat 'my key')"\n""" in out


def test_a_key_with_nowhere_to_go_is_not_asked_for() -> None:
    with OtherServer() as server:
        with pytest.raises(ConfigError, match="give --key-file FILE"):
            main(["--name", "a", "--url", server.url])
        assert server.calls == []


@pytest.mark.parametrize("path", ["there", "no/such/folder/key"])
def test_a_key_file_must_be_new_and_writable_before_a_site_is_made(path: str) -> None:
    Path("there").write_text("precious")
    with OtherServer() as server:
        with pytest.raises(ConfigError, match=f"--key-file {path}: .*expected a new file"):
            main(["--name", "a", "--url", server.url, "--key-file", path])
        assert server.calls == []
    assert Path("there").read_text() == "precious"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("503", UnknownOutcomeError),
        ("lost", UnknownOutcomeError),
        ("html", UnknownOutcomeError),
        ("429", UnavailableError),
        ("redirect", RefusedError),
    ],
)  # fmt: skip
def test_where_no_site_is_made_there_is_no_key_file(fault: str, error: type[LiveError]) -> None:
    with OtherServer() as server:
        server.script("POST /sites", fault)
        with pytest.raises(error):
            main(["--name", "a", "--url", server.url, "--key-file", "key"])
        assert server.calls == ["POST /sites"]  # once: every further one would be another site
    assert not Path("key").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", " "], "--name is empty"),
        (["--name", "a", "live.url=http://mara.example"], r"live\.url is 'http://mara\.example'"),
        (["--name", "a", "--url", URL, "live.url=http://127.0.0.1:2"], "2 different addresses"),
        (["--name", "a", "live.speed=3"], r"'live\.speed' is no option of register"),
    ],
)
@pytest.mark.usefixtures("terminal")
def test_bad_arguments(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main(arguments)


@pytest.mark.usefixtures("terminal")
def test_a_server_cannot_steer_the_terminal_or_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    body = rb'{"api_key": "a;reboot", "name": "\u001b[2J", "power": "?"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with raw_server(lambda _: head + body) as url:
        assert main(["--name", "a", "--url", url]) == 0
    out = capsys.readouterr().out
    assert "export MARA_API_KEY='a;reboot'\n" in out
    assert "\x1b" not in out
    assert "power not told" in out


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "a lost key means a new site" in capsys.readouterr().out
