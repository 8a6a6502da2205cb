"""``gridpilot serve-mara`` as it is started, used and ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridpilot import cli
from gridpilot.errors import ConfigError, LiveError, PriceError
from gridpilot.live.api import TICK, parse_time
from gridpilot.live.price_feed import OPENING, generate_rows
from gridpilot.live.serve_command import main
from gridpilot.live.stand_in.options import describe_options
from gridpilot.live.stand_in.server import listen
from tests.live.worlds import START, entry, walk


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server in a process of its own, whose errors go to ``errors.txt``."""
    command = [sys.executable, "-m", "gridpilot", "serve-mara", "--port", "0", *arguments]
    errors = Path("errors.txt")
    with errors.open("w") as file, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as process:
        try:
            assert process.stdout is not None
            words, _, url = process.stdout.readline().rstrip("\n").rpartition(" ")
            assert words == "listening on", errors.read_text()
            yield url, process
        finally:
            process.kill()


def write_prices(count: int) -> None:
    Path("rows.json").write_text(json.dumps([entry(row) for row in walk(count)][::-1]), encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_a_recording_with_faults_and_ends_when_asked(number: signal.Signals) -> None:
    write_prices(6)
    Path("faults.yaml").write_text(
        "- when: {endpoint: PUT /machines, calls: [0, 1]}\n  fault: lost_answer\n"
        "- when: {endpoint: GET /inventory}\n  fault: {slow_first_byte: 600}\n",
        encoding="utf-8",
    )
    options = ("--file", "rows.json", "--speed", "0.001", "--history", "4", "--power", "7000", "--inventory", "documented")
    with serving(*options, "--faults", "faults.yaml", "--set", "register_status=201") as (url, process):
        with httpx2.Client(base_url=url) as http:
            made = http.post("/sites", json={"name": "x"})
            assert (made.status_code, made.json()["power"]) == (201, 7000)
            rows = http.get("/prices")
            assert rows.json() == [entry(row) for row in walk(4)][::-1]
            assert rows.headers["X-Stand-In-Speed"] == "0.001"
            key = {"X-Api-Key": made.json()["api_key"]}
            with pytest.raises(httpx2.RemoteProtocolError):
                http.put("/machines", headers=key, json={"air_miners": 2})
            assert http.get("/machines", headers=key).json()["total_power_used"] == 7000
            with pytest.raises(httpx2.ReadTimeout):
                http.get("/inventory", timeout=0.2)  # it is still at it when it is asked to end
        process.send_signal(number)
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait(timeout=60) == 0
    assert Path("errors.txt").read_text() == ""
    assert "rows.json; newest row 2025-06-21T12:15:00 UTC, speed 0.001" in out
    assert "7,000 W, inventory documented" in out
    assert "register_status=201" in out
    assert "2 rules" in out
    assert f"gridpilot live register --name my-site live.url={url}" in out
    assert f"{url}/docs" in out


def feed_at(now: datetime, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], Any]:
    """The rows and faults that a server started at ``now`` would have."""
    from gridpilot.live import serve_command

    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return now

    seen: list[Any] = []
    monkeypatch.setattr(serve_command, "datetime", Then)
    monkeypatch.setattr(serve_command, "_serve", lambda *given: seen.extend(given))
    assert main(arguments) == 0
    _, _, feed, faults, _ = seen
    return list(feed(12) if callable(feed) else feed), faults


def test_a_server_that_is_killed_goes_on_where_it_would_be() -> None:
    options = ("--speed", "300", "--seed", "4", "--state", "state.json", "--history", "3")
    with serving(*options) as (url, process), httpx2.Client(base_url=url) as http:
        made = http.post("/sites", json={"name": "a site"}).json()
        key = {"X-Api-Key": made["api_key"]}
        http.put("/machines", headers=key, json={"hydro_miners": 7})
        http.post("/sites", json={"name": "another"})
        before = http.get("/prices").json()
        process.kill()
    assert Path("state.json").stat().st_mode & 0o077 == 0
    time.sleep(1.0)
    with serving(*options) as (url, _), httpx2.Client(base_url=url) as http:
        after = http.get("/prices").json()
        assert after[-len(before) :] == before  # newest first
        assert len(after) >= len(before) + 1  # a second is a tick
        assert after == [entry(row) for row in generate_rows("mara_event", 4, len(after))][::-1]
        machines = http.get("/machines", headers=key).json()
        assert (machines["hydro_miners"], machines["id"]) == (7, 1)
        assert http.get("/sites", headers=key).json()["name"] == "a site"
        third = http.post("/sites", json={"name": "third"}).json()
        assert http.put("/machines", headers={"X-Api-Key": third["api_key"]}, json={}).json()["id"] == 3


@pytest.mark.parametrize("speed", ["1", "300"])
def test_the_start_of_a_feed_is_kept(speed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_prices(6)
    for source in (["--feed", "mara_event"], ["--file", "rows.json"]):
        Path("state.json").unlink(missing_ok=True)
        arguments = [*source, "--speed", speed, "--history", "4", "--state", "state.json"]
        first = kept_at(NOW, arguments, monkeypatch)
        assert kept_at(NOW + timedelta(hours=3), arguments, monkeypatch)[:6] == first[:6]


def kept_at(now: datetime, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of a server with a state, which is written down."""
    from gridpilot.live import serve_command
    from gridpilot.live.api import INVENTORIES
    from gridpilot.live.stand_in.sites import Sites

    rows: list[Any] = []

    def serve(_: Any, __: Any, feed: Any, ___: Any, state: Any) -> None:
        rows.extend(feed(12) if callable(feed) else feed)
        state.now(300.0)
        state.keep(Sites(INVENTORIES["live"], 1, lambda: now))

    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return now

    monkeypatch.setattr(serve_command, "datetime", Then)
    monkeypatch.setattr(serve_command, "_serve", serve)
    assert main(arguments) == 0
    return rows


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no state of serve-mara"),
        ('{"format": 2}', "is no state of serve-mara: format 2, expected 1"),
        ("[]", "is no state of serve-mara"),
        (None, "was begun with seed 0, and 5 is asked for; expected the same, or a new name"),
    ],
)
def test_a_state_that_does_not_fit_is_told(text: str | None, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if text is None:
        kept_at(NOW, ["--state", "state.json"], monkeypatch)
    else:
        Path("state.json").write_text(text)
    with pytest.raises(ConfigError, match=told):
        main(["--state", "state.json", "--seed", "5"])


NOW = datetime(2026, 3, 1, 0, 3, 59, 7, tzinfo=UTC)


@pytest.mark.parametrize("feed", ["mara_event", "ercot"])
@pytest.mark.parametrize("speed", ["1", "300"])
def test_at_speed_one_the_newest_row_is_of_now(feed: Any, speed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = feed_at(NOW, ["--feed", feed, "--speed", speed, "--history", "10", "--seed", "5"], monkeypatch)
    start = datetime(2026, 3, 1, tzinfo=UTC) - 9 * TICK if speed == "1" else OPENING
    assert rows == generate_rows(feed, 5, 12, start=start)


def test_at_speed_one_a_recording_is_moved_to_now(monkeypatch: pytest.MonkeyPatch) -> None:
    write_prices(12)
    still, _ = feed_at(NOW, ["--file", "rows.json", "--speed", "60"], monkeypatch)
    assert still == walk(12)
    moved, _ = feed_at(NOW, ["--feed", "replay", "--file", "rows.json", "--history", "3"], monkeypatch)
    assert moved[2].at == datetime(2026, 3, 1, tzinfo=UTC)
    assert [row.raw for row in moved] == [row.raw for row in still]
    assert {row.at - old.at for row, old in zip(moved, still, strict=True)} == {moved[0].at - START}


def test_random_faults_come_after_those_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("faults.json").write_text('[{"fault": "drop"}]', encoding="utf-8")
    arguments = ["--faults", "faults.json", "--fault-rate", "0.25", "--fault-slow", "0.5", "--fault-seed", "9"]
    _, faults = feed_at(NOW, arguments, monkeypatch)
    assert [rule.when.probability for rule in faults.rules] == [None, 0.25]
    assert [fault.amount for fault in faults.rules[1].fault if fault.kind == "slow_first_byte"] == [0.5]
    _, none = feed_at(NOW, [], monkeypatch)
    assert none.rules == ()


def test_a_server_at_speed_one_is_fresh() -> None:
    with serving("--history", "3") as (url, _), httpx2.Client(base_url=url) as http:
        rows = [parse_time(row["timestamp"]) for row in http.get("/prices").json()]
    age = datetime.now(UTC) - rows[0]
    assert timedelta(0) <= age < timedelta(minutes=10)
    assert len(rows) in (3, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--set", "order=random"], ConfigError, "order is 'random', expected newest_first, oldest_first"),
        (["--set", "order"], ConfigError, "--set 'order': expected OPTION=VALUE"),
        (["--set", "order=["], ConfigError, "--set 'order=[': the value cannot be read"),
        (["--set", "oder=oldest_first"], ConfigError, "unknown option 'oder'; did you mean order"),
        (["--history", "0"], ConfigError, "history is '0', expected a whole number above 0"),
        (["--power", "much"], ConfigError, "power_w is 'much', expected a whole number above 0"),
        (["--speed", "0"], ConfigError, "--speed is 0, expected a number above 0 and at most 100,000"),
        (["--speed", "nan"], ConfigError, "--speed is nan"),
        (["--fault-rate", "2"], ConfigError, "--fault-rate is 2, expected a number from 0 to 1"),
        (["--faults", "gone.yaml"], ConfigError, "gone.yaml: cannot be read: No such file or directory"),
        (["--feed", "replay"], ConfigError, "--feed replay needs a file of prices: --file FILE"),
        (["--feed", "ercot", "--file", "rows.json"], ConfigError, "--file is given with --feed ercot, expected --feed replay"),
        (["--file", "rows.json", "--history", "4"], ConfigError, "--history is 4, expected at most the 3 rows of rows.json"),
        (["--file", "gone.csv"], PriceError, "gone.csv: no such file"),
        (["--host", "x" * 64], LiveError, "xxx', expected a name or address of this machine"),
        (["--port", "70000"], ConfigError, "--port is 70000, expected a number from 0 to 65535"),
        (["--seed", "-1"], PriceError, "root seed is -1"),
        (["--fault-slow", "-1", "--fault-rate", "0.5"], ConfigError, "--fault-slow is -1, expected"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(arguments: list[str], error: type[Exception], message: str) -> None:
    write_prices(3)
    with pytest.raises(error) as caught:
        main(arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_taken_port_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve-mara", "--port", str(port)]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors == (
        f"gridpilot serve-mara: error: 127.0.0.1 port {port}: Address already in use, expected a free one; --port 0 picks one\n"
    )


def test_options_are_listed_and_help_explains_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-options"]) == 0
    assert capsys.readouterr().out == describe_options() + "\n"
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: gridpilot serve-mara")
    assert "{endpoint: PUT /machines, calls: [3, 5]}" in told
    assert "lost_answer" in told


def test_a_server_that_others_can_reach_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from gridpilot.live.stand_in import server

    monkeypatch.setattr(server, "run", lambda _, listener: listener.close())
    assert main(["--host", "0.0.0.0", "--port", "0"]) == 0
    assert "warning: 0.0.0.0 is not loopback" in capsys.readouterr().err
    assert main(["--host", "localhost", "--port", "0"]) == 0
    assert capsys.readouterr().err == ""


def test_connections_are_answered_without_delay() -> None:
    import socket

    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # or asyncio leaves Nagle's algorithm on
