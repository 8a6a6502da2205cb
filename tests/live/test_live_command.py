"""``gridpilot live`` as it is started, watched, halted and ended, beside a ``gridpilot serve-mara``; each in a process of its own."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from gridpilot import cli
from gridpilot.errors import GridPilotError
from gridpilot.live.api import CLASSES
from gridpilot.live.config import LiveConfig
from gridpilot.live.deployment import load_deployment
from gridpilot.live.journal import Journal
from gridpilot.live.ledger import total_profit
from gridpilot.live.open_venue import open_venue
from gridpilot.live.running import registered
from gridpilot.presets import load_preset
from tests.live.other_server import OtherServer
from tests.live.test_deployment import write
from tests.live.test_serve_command import serving

PATIENT = ("live.timeout=5", "live.deadline=5")  # wall s: a machine that is busy with other tests is no fault of the engine
OFF = (0,) * len(CLASSES)


@contextlib.contextmanager
def flying(*arguments: str, key: str | None = None, level: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """An engine in a process of its own, whose stderr goes to ``log.txt``; its journal is ``runs/live.db`` unless said otherwise."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MARA_API_KEY", "LOG_LEVEL")}
    environment |= {} if key is None else {"MARA_API_KEY": key}
    environment |= {} if level is None else {"LOG_LEVEL": level}
    command = [sys.executable, "-m", "gridpilot", "live", *arguments]
    with (
        Path("log.txt").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def flown(*arguments: str, key: str | None = None, level: str | None = None) -> str:
    """What an engine says on stdout that ends by itself, and well."""
    with flying(*arguments, key=key, level=level) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, Path("log.txt").read_text()
    return out


def resident_mib(pid: int) -> float | None:
    """Resident memory of a process, MiB; None where it has ended."""
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) / 1024.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stand-in whose ticks are half a second."""
    with contextlib.chdir(tmp_path_factory.mktemp("server")):
        server = serving("--speed", "600")
        address, _ = server.__enter__()
    try:
        yield address
    finally:
        server.__exit__(None, None, None)


def register(url: str) -> str:
    return str(httpx2.post(f"{url}/sites", json={"name": "test"}).json()["api_key"])


def machines(url: str, key: str) -> tuple[int, ...]:
    body = httpx2.get(f"{url}/machines", headers={"X-Api-Key": key}).json()
    return tuple(body[name] for name in CLASSES)


def read(kind: str, path: str = "runs/live.db") -> list[dict[str, Any]]:
    """Bodies of a journal's records of one kind."""
    with Journal(Path(path), read_only=True) as journal:
        assert journal.verify().problem is None
        return [dict(record.body) for record in journal.records(kinds={kind})]


def counts(body: dict[str, Any]) -> list[tuple[int, ...]]:
    return [tuple(site) for site in body["counts"]]


def files_with(text: str) -> list[str]:
    """Files of the working folder that hold ``text``."""
    return [str(path) for path in Path().rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_shadow_decides_and_sends_nothing(url: str) -> None:
    key = register(url)
    out = flown("agent=mpc", "live=stand_in", f"live.url={url}", "live.rows=5", key=key, level="DEBUG")
    records, head = re.findall(r"journal  runs/live\.db: (\d+) records, head (\w{16})\n", out)[0]
    assert out.endswith("verify   gridpilot live verify live.journal=runs/live.db --replay\n")
    with Journal(Path("runs/live.db"), read_only=True) as journal:
        assert (journal.head[0], journal.head[1][:16]) == (int(records), head)
    (session,) = read("session")
    assert (session["mode"], session["speed"]) == ("shadow", 600.0)  # which the server told
    assert len({each["at"] for each in read("decision") if each["kind"] == "row"}) == 5
    assert {each["status"] for each in read("outcome")} <= {"shadow", "held"}
    assert read("intent") == []
    assert read("stop") == [{"why": "done"}]
    assert machines(url, key) == OFF
    assert key not in out
    assert {"log.txt", "runs/live.db"} <= set(files_with("hydro_miners"))  # where a key would be found
    assert files_with(key) == []


def test_live_leaves_the_machines_as_it_wrote_down(url: str) -> None:
    keys = [register(url), register(url)]
    out = flown("agent=truthful", f"live.url={url}", "live.mode=live", "live.rows=4", *PATIENT, key=", ".join(keys))
    assert "journal  runs/live.db" in out
    last = read("outcome")[-1]
    assert last["status"] == "applied"
    assert counts(last) == [machines(url, key) for key in keys]
    assert len(read("session")[0]["sites"]) == 2
    assert not [path for key in keys for path in files_with(key)]


def test_watched_halted_resumed_and_ended(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    key = register(url)
    options = ("agent=mpc", f"live.url={url}", "live.mode=live", "live.metrics_port=0", "json=true", *PATIENT)
    with flying(*options, key=key, level="DEBUG") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while json.loads(lines[-1])["power_w"] == 0:  # there is something to switch off
            lines.append(process.stdout.readline())
        (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/metrics", Path("log.txt").read_text())
        metrics = httpx2.get(f"http://127.0.0.1:{port}/metrics")
        health = httpx2.get(f"http://127.0.0.1:{port}/health")
        assert (metrics.status_code, health.status_code) == (200, 200)
        assert "gridpilot_live_sending 1.0" in metrics.text
        assert health.json()["cycles"] >= 1
        command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes() if Path("/proc").is_dir() else b""

        assert cli.main(["live", "halt", "--why", "a test"]) == 0
        # A cycle may have begun before; then comes the halt, and nothing else.
        assert any(is_halt(lines, process) for _ in range(3))
        assert machines(url, key) == OFF
        assert [is_halt(lines, process) for _ in range(3)] == [True] * 3
        assert machines(url, key) == OFF
        assert cli.main(["live", "resume"]) == 0
        while is_halt(lines, process):
            continue

        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
        assert process.returncode == 0, Path("log.txt").read_text()
    bodies = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    assert {"at", "kind", "reason", "prices", "counts", "status", "latency"} <= set.intersection(*map(set, bodies))
    assert read("stop") == [{"why": "SIGTERM"}]
    outcomes = read("outcome")
    assert [body["status"] for body in bodies] == [each["status"] for each in outcomes]
    assert outcomes[-1]["status"] == "applied"
    assert counts(outcomes[-1]) == [machines(url, key)]
    log = Path("log.txt").read_text()
    assert log
    assert "Traceback" not in log
    told = capsys.readouterr()
    assert key not in "".join((*lines, rest, metrics.text, health.text, told.out, told.err))
    assert key.encode() not in command_line
    assert files_with(key) == []  # the log and the journal among them


def is_halt(lines: list[str], process: subprocess.Popen[str]) -> bool:
    """Whether the next line that the engine writes, kept in ``lines``, is of a halt."""
    assert process.stdout is not None
    lines.append(process.stdout.readline())
    return bool(json.loads(lines[-1])["kind"] == "halt")


@pytest.mark.slow
def test_a_server_killed_for_ten_ticks_leaves_one_figure_of_profit(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ("--port", port, "--speed", "300", "--state", "state.json")
    url = f"http://127.0.0.1:{port}"
    engine_options = ("agent=truthful", "live=stand_in", f"live.url={url}", "live.mode=live", "live.metrics_port=0", "json=true")
    lines: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        with serving(*options) as (_, server):
            key = register(url)
            process = stack.enter_context(flying(*engine_options, key=key, level="DEBUG"))
            assert process.stdout is not None
            while sum(line["status"] == "applied" for line in lines) < 3:
                lines.append(json.loads(process.stdout.readline()))
            server.kill()
        died = len(lines)
        while len(lines) < died + 10:
            lines.append(json.loads(process.stdout.readline()))
        assert lines[-1]["causes"][-1] == "api_down"
        with serving(*options):
            while [line["status"] for line in lines[-3:]] != ["applied"] * 3:
                lines.append(json.loads(process.stdout.readline()))
            (found,) = re.findall(r"http://127\.0\.0\.1:(\d+)/metrics", Path("log.txt").read_text())
            metrics = httpx2.get(f"http://127.0.0.1:{found}/metrics").text
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=30)
    lines += [json.loads(line) for line in rest.splitlines()]
    capsys.readouterr()
    assert cli.main(["live", "status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert cli.main(["live", "export", "--out", "decisions.csv"]) == 0
    with Path("decisions.csv").open(newline="") as file:
        exported = sum(float(line["profit_api_dollars"]) for line in csv.DictReader(file))
    with Journal(Path("runs/live.db"), read_only=True) as journal:
        total = total_profit(journal)
    told = float(re.findall(r"(?m)^gridpilot_live_profit_since_start_dollars (\S+)$", metrics)[0])
    sums = list(itertools.accumulate(line["profit"] for line in lines))
    assert any(told == pytest.approx(each, rel=1e-9) for each in sums[-5:])
    assert total > 0.0
    assert sums[-1] == pytest.approx(total, rel=1e-9)
    assert status["profit"] == pytest.approx(total, rel=1e-9)
    assert exported == pytest.approx(total, rel=1e-9)
    assert sum(body["state"]["day_profit"] for body in read("outcome")[-1:]) == pytest.approx(total, rel=1e-9)  # of one day
    gone = [line for line in lines[died:] if line["kind"] == "no_row"]
    assert len(gone) >= 9
    assert {line["profit"] for line in gone} == {0.0}


def test_an_agent_of_the_working_folder() -> None:
    Path("my_file.py").write_text(
        "from gridpilot.agents.truthful import Truthful\n\nclass MyAgent(Truthful):\n    pass\n", encoding="utf-8"
    )
    flown("agent=my_file.MyAgent", "live=simulated", "live.rows=20", "live.journal=own.db")
    assert read("session", "own.db")[0]["agent"] == {"target": "my_file.MyAgent", "params": {}}
    assert {each["reason"] for each in read("decision", "own.db")} == {"agent"}


def test_a_venue_and_a_price_feed_of_the_working_folder() -> None:
    Path("my_site.py").write_text(
        textwrap.dedent("""\
        import numpy as np
        from gridpilot import PriceModel
        from gridpilot.live.replay_venue import SimulatedVenue

        class Flat(PriceModel):
            def simulate(self, root, episodes, ticks, *, history=0):
                prices = np.tile([0.03, 2.1, 0.3], (history + ticks, len(episodes), 1))
                return prices, np.zeros(len(episodes), dtype=np.int64)

        class Quiet(SimulatedVenue):
            name = "quiet"

            @classmethod
            def configured(cls, live, keys, rows_a_day=288):
                venue = super().configured(live, keys)
                venue.address = f"{rows_a_day} rows"
                return venue
        """),
        encoding="utf-8",
    )
    quiet = ["live=simulated", "live.venue={name: my_site.Quiet, rows_a_day: 12}", "live.feed=my_site.Flat"]
    flown("agent=truthful", *quiet, "live.rows=6", "live.journal=quiet.db")
    assert {each["reason"] for each in read("decision", "quiet.db")} == {"agent"}
    assert len({json.dumps(each["counts"]) for each in read("decision", "quiet.db")[1:]}) == 1


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"venue": "moon"}, "venue 'moon': expected one of mara, replay, simulated"),
        ({"venue": {"port": 3}}, "name is None, expected one of mara"),
        ({"venue": {"name": "simulated", "port": 3}}, "'port'; SimulatedVenue takes no parameters"),
        ({"feed": "moon"}, "prices 'moon': expected one of"),
        ({"venue": "replay"}, "live.file is not set"),
    ],
)
def test_venues_and_feeds_that_there_are_not_get_one_error(keys: dict[str, Any], words: str) -> None:
    live = LiveConfig.model_validate({**load_preset("live", "base"), "venue": "simulated", **keys})
    with pytest.raises(GridPilotError, match=words):
        open_venue(live)


def test_a_deployment() -> None:
    folder = write(Path("site"), "threshold", {"low": 0.7})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    flown(f"deployment={folder}", "live=simulated", "live.rows=20", "live.journal=deployed.db", key="planted-key", level="DEBUG")
    (session,) = read("session", "deployed.db")
    assert session["origin"] == {"deployment": "one", "fingerprint": load_deployment(folder).fingerprint}
    assert session["agent"]["params"] == {"low": 0.7}
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert files_with("planted-key") == []
    assert f"gridpilot live: {folder}: max_loss_per_day is null: no loss, however large" in Path("log.txt").read_text()


def test_a_deployment_whose_fingerprint_is_demanded(capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(Path("site"))
    found = load_deployment(folder).fingerprint
    demand = f"deployment.fingerprint={found}"
    flown(f"deployment={folder}", demand, "live=simulated", "live.rows=3", "live.journal=deployed.db")
    (session,) = read("session", "deployed.db")
    assert session["origin"]["fingerprint"] == found
    for other in ("1" * 64, "1e" * 32, ""):  # what Hydra would read as a number, and what an unset variable leaves
        told = failed([f"deployment={folder}", f"deployment.fingerprint={other}", "live=simulated"], capsys)
        assert f"expected {other}: it is another deployment" in told or "expected all 64 hexadecimal digits" in told
    assert "no deployment is" in failed([demand, "live=simulated"], capsys)


def test_simulated_exported_and_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    flown("live=simulated", "live.rows=40", "live.mode=live", "live.journal=simulated.db")
    assert cli.main(["live", "export", "--what", "rows", "--out", "rows.csv", "live.journal=simulated.db"]) == 0
    for file in ("rows.csv", "simulated.db"):
        flown("live=replay", f"live.file={file}", f"live.journal=replay of {file}.db")
        assert len(read("decision", f"replay of {file}.db")) == 40
        capsys.readouterr()
        assert cli.main(["live", "verify", "--replay", "--against", "simulated.db", f"live.journal=replay of {file}.db"]) == 0
        assert "40 decisions equal, 0 different, 0 in one only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["live.mode=live"], "live.mode=live needs a key in MARA_API_KEY, which is not set"),
        (["agent=nobody"], "agent=nobody: no such choice, expected one of best_response, demand_function, foresight"),
        (["agent=no_file.Nobody"], "there is no module 'no_file'"),
        (["agent=foresight"], "is clairvoyant, shown what no venue can show"),
        (["agent=oracle_response"], "is clairvoyant, shown what no venue can show"),
        (["live.spede=2"], "unknown key 'live.spede' in 'live.spede=2'; did you mean live.speed"),
        (["live.speed=0"], "live.speed=0: input should be greater than 0"),
        (["live.speed=fast"], "live.speed='fast': input should be a valid number"),
        (["live.speed=1e9"], "live.speed is 1000000000.0, expected a number above 0 and at most 100,000"),
        (["live.speed=2", "live.url=https://mara.invalid"], "live.speed is 2 for https://mara.invalid, expected 1"),
        (["live.url=http://mara.invalid"], "a key must not travel unencrypted, expected https://"),
        (["live.url=http://mara.invalid", "live.speed=1"], "a key must not travel unencrypted, expected https://"),
        (["live=replay"], "live.file is not set, expected a CSV file of prices or a journal"),
        (["live=replay", "live.file=none.csv"], "none.csv: no such file"),
        (["deployment=nowhere"], "nowhere does not exist, expected a folder written by gridpilot deploy"),
        (["deployment=site", "agent=truthful"], "agent is part of the deployment, which is never changed"),
        (["deployment=site", "live.risk.off_after=9"], "live.risk.off_after is part of the deployment"),
        (["begin"], "there is no 'begin', expected status, halt, resume"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    overrides: Sequence[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def contacted(*_: Any, **__: Any) -> Any:
        raise AssertionError("no host is to be contacted")

    monkeypatch.setattr("socket.getaddrinfo", contacted)
    monkeypatch.setattr("socket.socket.connect", contacted)
    monkeypatch.delenv("MARA_API_KEY", raising=False)
    assert failed(overrides, capsys).count(message) == 1


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = ["live.url=http://127.0.0.1:9", "live.patience=0.02"]
    waiting = "gridpilot live: waiting up to 0.02 min (live.patience) for an answer: GET /"
    assert "http://127.0.0.1:9: GET /prices: no connection could be made" in failed(nobody, capsys, before=waiting)
    assert cli.main(["live", *nobody, "live.speed=3000", "live.table=true"]) == 2
    shown = capsys.readouterr()
    assert "cannot start without the site" in shown.err
    assert "waiting up to 0.02 min (live.patience) for an answer: GET /" in shown.out  # the table is what tells it


def test_the_first_answers_may_take_longer_than_a_tick() -> None:
    with OtherServer(rows=3, speed=200.0, tell_speed=True, slow_s=3.0) as server:  # a tick lasts a second and a half
        key = server.key()
        for endpoint in ("GET /prices", "GET /inventory", "GET /sites", "GET /machines"):
            server.script(endpoint, "slow")
        options = (
            "agent=truthful",
            f"live.url={server.url}",
            "live.mode=live",
            "live.rows=3",
            "live.speed=200",
            "live.table=false",
        )
        flown(*options, key=key)
        assert len(server.puts) >= 3
    assert read("outcome")[-1]["status"] == "applied"


def test_a_server_that_starts_after_the_engine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with flying(
        "agent=truthful", f"live.url=http://127.0.0.1:{port}", "live=stand_in", "live.rows=2", "live.table=false"
    ) as engine:
        until = time.monotonic() + 60.0
        while "waiting up to 2 min" not in Path("log.txt").read_text():
            assert time.monotonic() < until
            time.sleep(0.1)
        with serving("--port", str(port), "--speed", "300"):
            assert engine.wait(timeout=60) == 0, Path("log.txt").read_text()
    assert {each["status"] for each in read("outcome")} <= {"shadow", "held"}


def test_a_key_that_is_refused_is_not_quoted(url: str) -> None:
    key = "6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"
    with flying(f"live.url={url}", "live.mode=live", *PATIENT, key=key, level="DEBUG") as process:
        out, _ = process.communicate(timeout=60)
    log = Path("log.txt").read_text()
    assert process.returncode == 2
    assert "Traceback" in log  # as DEBUG asks for
    assert log.splitlines()[-1].startswith("gridpilot live: error: mara: cannot start without the site: GET /sites: status 401")
    assert key not in out
    assert files_with(key) == []


def test_a_second_engine_with_the_same_key_does_not_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"
    monkeypatch.setenv("MARA_API_KEY", f"another, {key}")
    nobody = ["live.url=http://127.0.0.1:9", "live.patience=0.01", "live.journal=second.db"]
    with registered(Path("first.db"), "mara", "http://127.0.0.1:9", "live", [SecretStr(key)]):
        for mode in ("live", "shadow"):
            error = failed([*nobody, f"live.mode={mode}"], capsys)
            assert "another engine runs with the same key: 127.0.0.1:9 (pid" in error
            assert key not in error
        flown("live=simulated", "live.rows=2", "live.journal=simulated.db")  # has no use for a key
    assert not Path("second.db").exists()


def test_a_key_that_cannot_be_one_is_not_quoted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARA_API_KEY", "not a key")
    error = failed(["live.mode=live", "live.speed=600"], capsys)
    assert "MARA_API_KEY: key 1 cannot be one" in error
    assert "not a key" not in error


def failed(overrides: Sequence[str], capsys: pytest.CaptureFixture[str], before: str = "") -> str:
    """The one line in which the command says why it does not run; ``before`` begins a line that may precede it."""
    assert cli.main(["live", *overrides]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    *earlier, last = told.err.splitlines()
    assert last.startswith("gridpilot live: error: ")
    assert len(earlier) == bool(before)
    assert all(line.startswith(before) for line in earlier)
    return last
