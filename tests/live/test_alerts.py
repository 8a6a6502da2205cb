"""Alerts: whatever the servers do that are to be told, the engine goes on, nothing secret leaves, and each is told once."""

from __future__ import annotations

import contextlib
import io
import json
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from gridpilot import cli
from gridpilot.errors import ConfigError
from gridpilot.live.alert_channels import Channel, NotSent, Smtp, Webhook, channels_of
from gridpilot.live.alerts import END_S, WAITING, Alerts, told_path
from gridpilot.live.alerts_config import AlertsConfig, SmtpConfig, WebhookConfig
from gridpilot.live.api import INVENTORIES, TICK
from gridpilot.live.journal import Journal
from gridpilot.live.logs import Redaction, configure
from gridpilot.live.metrics import Health
from gridpilot.live.replay_venue import ReplayVenue
from tests.live import certificates
from tests.live.loops import run
from tests.live.test_alarms import SESSION, well
from tests.live.worlds import START, config, walk

TOKEN = "T0AB12CD3/B0EF45GH6/zzTopSecretPart9"
NOTICE = {
    "alarm": "FeedStale", "state": "firing", "severity": "warn", "summary": "No new price row for two ticks", "detail": "11 min <old>",
    "at": "2025-06-21T12:11:00", "since": "2025-06-21T12:10:00", "site": "hall 2", "venue": "mara", "agent": "Mpc", "mode": "live",
}  # fmt: skip
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Takes connections on loopback and has each served by a function of its socket; what came in is kept."""

    def __init__(self, serve: Callable[[socket.socket, list[bytes]], None]) -> None:
        self._serve, self.received = serve, list[bytes]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(connection, self.received)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def request(connection: socket.socket) -> bytes:
    """A whole HTTP request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(4096) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(next((line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-length")), b"0"))
    while len(body) < length:
        body += connection.recv(4096) or b" " * length
    return head + b"\r\n\r\n" + body


def answering(*answers: bytes) -> Callable[[socket.socket, list[bytes]], None]:
    """Answers one request after the other; the last one for ever."""
    left = list(answers)

    def serve(connection: socket.socket, received: list[bytes]) -> None:
        received.append(request(connection))
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return serve


def hang(connection: socket.socket, received: list[bytes]) -> None:
    received.append(request(connection))
    time.sleep(30.0)


def dribble(connection: socket.socket, received: list[bytes]) -> None:
    received.append(request(connection))
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for i in range(600):
        connection.sendall(b"X-%d: 1\r\n" % (i % 50))
        time.sleep(0.05)


def webhook(port: int, form: str = "json", token: str = "") -> Webhook:
    return Webhook(WebhookConfig.model_validate({"url": f"http://127.0.0.1:{port}/hook", "form": form}), SecretStr(token))


def test_a_notice_arrives_in_each_form() -> None:
    with Server(answering(OK)) as server:
        webhook(server.port, token="a-token").send(NOTICE, 5.0)
        head, _, body = server.received[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /hook HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nAuthorization: Bearer a-token" in head
        assert json.loads(body) == NOTICE
        webhook(server.port, "slack", TOKEN).send({**NOTICE, "state": "resolved"}, 5.0)
        head, _, body = server.received[1].partition(b"\r\n\r\n")
        assert head.startswith(f"POST /hook/{TOKEN} HTTP/1.1".encode())
        assert b"Authorization" not in head
        assert set(json.loads(body)) == {"text"}
        text = json.loads(body)["text"]
        assert "[over] FeedStale at hall 2 (live)" in text
        assert "11 min &lt;old&gt;" in text


REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/elsewhere\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "message", "again"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered 500", True),
        (b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", "answered 429", True),
        (b"HTTP/1.1 404 secret-echo\r\nContent-Length: 0\r\n\r\n", "answered 404", False),
        (b"nonsense\r\n\r\n", "no connection, or it was lost: BadStatusLine", True),
        (b"", "no connection, or it was lost", True),
    ],
)
def test_an_answer_that_is_no_yes_is_told(answer: bytes, message: str, again: bool) -> None:
    with Server(answering(answer)) as server, pytest.raises(NotSent) as told:
        webhook(server.port).send(NOTICE, 5.0)
    assert str(told.value).startswith(message)
    assert "secret-echo" not in str(told.value)
    assert told.value.again is again


def test_redirects_are_not_followed() -> None:
    with Server(answering(OK)) as other, Server(answering(REDIRECT % other.port)) as server:
        with pytest.raises(NotSent, match="answered 302, and redirects are not followed") as told:
            webhook(server.port, token="a-token").send(NOTICE, 5.0)
        assert not told.value.again
        assert other.connections == 0


@pytest.mark.parametrize("serve", [hang, dribble, lambda connection, received: time.sleep(30.0)], ids=["hangs", "dribbles", "deaf"])
def test_a_send_ends_in_time_whatever_the_server_does(serve: Any) -> None:
    with Server(serve) as server:
        for channel in (webhook(server.port), mail(server.port)):
            begun = time.monotonic()
            with pytest.raises(NotSent, match="no answer in time") as told:
                channel.send(NOTICE, 0.4)
            assert told.value.again
            assert time.monotonic() - begun < 2.0


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for channel in (webhook(port), mail(port)):
        with pytest.raises(NotSent, match="Connection refused") as told:
            channel.send(NOTICE, 5.0)
        assert told.value.again


def mail(port: int, **changes: Any) -> Smtp:
    body = {
        "host": "127.0.0.1", "port": port, "security": "none", "sender": "s@example.org", "recipients": ["a@example.org", "b@example.org"],
    }  # fmt: skip
    return Smtp(SmtpConfig.model_validate({**body, **changes}), SecretStr("pass-word-1234"))


def post_office(**answers: bytes) -> Callable[[socket.socket, list[bytes]], None]:
    """A mail server that answers each command as told, and takes everything otherwise."""

    def serve(connection: socket.socket, received: list[bytes]) -> None:
        connection.sendall(answers.get("greeting", b"220 here\r\n"))
        usual = {"ehlo": b"250-here\r\n250 AUTH PLAIN\r\n", "data": b"354 go on\r\n", "quit": b"221 bye\r\n", "auth": b"235 in\r\n"}
        in_data = False
        with connection.makefile("rb") as stream:
            for line in stream:
                received.append(line)
                if in_data:
                    in_data = line != b".\r\n"
                    if not in_data:
                        connection.sendall(answers.get("data", b"250 taken\r\n"))
                    continue
                word = line.split()[0].decode().lower()
                in_data = word == "data"
                connection.sendall(usual["data"] if in_data else answers.get(word, usual.get(word, b"250 well\r\n")))

    return serve


def starting_tls(folder: Path, certificate: str) -> Callable[[socket.socket, list[bytes]], None]:
    """A mail server that goes on in TLS, with this certificate, when it is asked to."""
    leaf = folder / "leaf.pem"
    leaf.write_text(certificates.KEY + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf)

    def serve(connection: socket.socket, received: list[bytes]) -> None:
        connection.sendall(b"220 here\r\n")
        with connection.makefile("rb") as stream:
            for line in stream:
                received.append(line)
                if line.upper().startswith(b"STARTTLS"):
                    connection.sendall(b"220 begin\r\n")
                    break
                connection.sendall(b"250-here\r\n250 STARTTLS\r\n")
        with context.wrap_socket(connection, server_side=True) as secure:
            post_office(greeting=b"")(secure, received)

    return serve


@pytest.mark.parametrize("certificate", [certificates.SELF_SIGNED, certificates.GOOD], ids=["self-signed", "of an own authority"])
def test_a_mail_goes_to_nobody_whose_certificate_is_not_trusted(tmp_path: Path, certificate: str) -> None:
    with Server(starting_tls(tmp_path, certificate)) as server:
        with pytest.raises(NotSent, match=r"^its certificate is not trusted: (self-signed certificate|unable to get)") as problem:
            mail(server.port, security="starttls", user="site").send(NOTICE, 5.0)
        assert "\n" not in str(problem.value)
        assert not any(line.upper().startswith((b"AUTH", b"MAIL", b"DATA")) for line in server.received)


@pytest.mark.parametrize(("certificate", "authority"), [("SELF_SIGNED", "SELF_SIGNED"), ("GOOD", "AUTHORITY")])
def test_an_authority_of_one_s_own_is_trusted(tmp_path: Path, certificate: str, authority: str) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(getattr(certificates, authority))
    with Server(starting_tls(tmp_path, getattr(certificates, certificate))) as server:
        mail(server.port, security="starttls", user="site", ca=str(ca)).send(NOTICE, 5.0)
        words = [line.split()[0].upper() for line in server.received if line.strip()]
    assert words.index(b"STARTTLS") < words.index(b"AUTH") < words.index(b"DATA")
    assert b"Subject: " in b"".join(server.received)
    for other in ("EXPIRED", "OTHER_HOST"):  # of that authority, and of no use here
        with Server(starting_tls(tmp_path, getattr(certificates, other))) as server, pytest.raises(NotSent, match="not trusted"):
            mail(server.port, security="starttls", ca=str(ca)).send(NOTICE, 5.0)


def test_an_authority_that_is_none_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name, told in (("empty.pem", "holds no certificate"), ("none.pem", "No such file")):
        with pytest.raises(ConfigError, match=told):
            mail(25, security="tls", ca=str(tmp_path / name))


def test_a_mail_arrives() -> None:
    with Server(post_office()) as server:
        mail(server.port).send({**NOTICE, "site": "hall\r\nBcc: x@y.z"}, 5.0)
        text = b"".join(server.received).decode()
        assert "rcpt TO:<a@example.org>" in text
        assert "rcpt TO:<b@example.org>" in text
        assert "Subject: [warn] FeedStale at hall Bcc: x@y.z (live)" in text
        assert "\nBcc:" not in text
        assert "Found: 11 min <old>." in text
        assert "pass-word" not in text


@pytest.mark.parametrize(
    ("answers", "changes", "message", "again"),
    [
        ({"auth": b"535 pass-word-1234 is wrong\r\n"}, {"user": "site"}, "the server does not let this user in (535)", False),
        ({"rcpt": b"550 nobody\r\n"}, {}, "recipients were refused (550)", False),
        ({"rcpt": b"451 later\r\n"}, {}, "recipients were refused (451)", True),
        ({"mail": b"554 spam\r\n"}, {}, "the server answered 554", False),
        ({"data": b"452 full\r\n"}, {}, "the server answered 452", True),
        ({"greeting": b"421 busy\r\n"}, {}, "the server answered 421", True),
        ({}, {"security": "starttls"}, "the server does not offer STARTTLS", False),
        ({"greeting": b"garbage"}, {}, "no answer in time", True),
    ],
)
def test_a_mail_that_is_not_taken_is_told(answers: dict[str, bytes], changes: dict[str, Any], message: str, again: bool) -> None:
    with Server(post_office(**answers)) as server, pytest.raises(NotSent) as told:
        mail(server.port, **changes).send(NOTICE, 0.8)
    assert str(told.value).startswith(message)
    assert "pass-word" not in str(told.value)
    assert told.value.again is again


class Sink:
    """A channel that keeps what it is told, after failing as often as it is to."""

    name = "sink"

    def __init__(self, *problems: Exception, block: float = 0.0) -> None:
        self.told: list[dict[str, Any]] = []
        self._problems, self._block = list(problems), block

    def send(self, notice: Any, within: float) -> None:
        if self._block:
            time.sleep(self._block)
        if self._problems:
            raise self._problems.pop(0)
        self.told.append(dict(notice))


class Watched:
    """Alerts on a journal of their own, with a clock and a health to be set."""

    def __init__(self, path: Path, channels: Sequence[Channel], **changes: Any) -> None:
        self.path, self.now, self.health = path, START, well()
        self.log, self.results = io.StringIO(), list[tuple[str, str]]()
        self.journal = Journal(path)
        if not self.journal.head[0]:
            self.journal.append([("session", SESSION)], at=START)
        self.alerts = Alerts(
            AlertsConfig.model_validate({"calm": 0.0, **changes}), channels, path, health=self._health, now=lambda: self.now,
            log=configure("DEBUG", self.log), told=lambda *told: self.results.append(told),
            redaction=Redaction([SecretStr("0123-planted-key")]), poll=0.02, pauses=(0.02, 0.05),
        )  # fmt: skip

    def _health(self) -> Health:
        return self.health

    def __enter__(self) -> Watched:
        self.alerts.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.alerts.__exit__(kind, error, trace)
        self.journal.close()

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.log.getvalue().splitlines()) if line["event"] == event]


def until(found: Callable[[], Any]) -> None:
    """Wait for what is to come."""
    for _ in range(500):
        if found():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_an_alarm_is_told_once_and_once_when_it_is_over(tmp_path: Path) -> None:
    sink = Sink()
    with Watched(tmp_path / "j.db", [sink]) as watched:
        watched.health = well(why=("drift",))
        until(lambda: sink.told)
        time.sleep(0.2)
        watched.health = well()
        until(lambda: len(sink.told) == 2)
        time.sleep(0.1)
    assert [(told["alarm"], told["state"], told["severity"], told["site"]) for told in sink.told] == [
        ("Drift", "firing", "page", "hall"), ("Drift", "resolved", "page", "hall"),
    ]  # fmt: skip
    assert watched.results == [("sink", "sent")] * 2
    assert json.loads(told_path(tmp_path / "j.db").read_text()) == {"raised": {}}


def test_what_the_journal_tells_is_told_without_keys(tmp_path: Path) -> None:
    sink = Sink()
    with Watched(tmp_path / "j.db", [sink], least="info") as watched:
        watched.journal.append([("halt", {"why": "key 0123-planted-key and 6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"})], at=START)
        until(lambda: watched.now and True)
        time.sleep(0.1)
        watched.now = START + 13 * TICK
        until(lambda: sink.told)
    text = json.dumps(sink.told) + watched.log.getvalue().replace("why", "")
    assert sink.told[0]["alarm"] == "HaltedLong"
    assert "0123-planted-key" not in json.dumps(sink.told)
    assert "6f1c2b9e" not in json.dumps(sink.told)
    assert "[redacted]" in text


def test_mild_alarms_are_not_told(tmp_path: Path) -> None:
    sink = Sink()
    with Watched(tmp_path / "j.db", [sink], least="page") as watched:
        watched.journal.append([("refused_row", {"row": {}, "reason": "price_nan", "message": ""})], at=START)
        watched.health = well(why=("no_heartbeat",))
        until(lambda: sink.told)
    assert [told["alarm"] for told in sink.told] == ["LoopStands"]


def test_a_channel_that_fails_is_told_once_and_tried_again(tmp_path: Path) -> None:
    again = [NotSent("answered 503", again=True) for _ in range(4)]
    sink, other = Sink(*again), Sink()
    other.name = "other"
    with Watched(tmp_path / "j.db", [sink, other]) as watched:
        watched.health = well(why=("drift",))
        until(lambda: sink.told)
    assert len(sink.told) == len(other.told) == 1
    assert [(line["channel"], line["why"]) for line in watched.lines("alert_failed")] == [("sink", "answered 503")]
    assert len(watched.lines("alert_restored")) == 1
    assert sorted(watched.results) == [("other", "sent")] + [("sink", "failed")] * 4 + [("sink", "sent")]


def test_what_is_refused_or_a_fault_of_a_channel_is_no_end(tmp_path: Path) -> None:
    sink = Sink(NotSent("answered 404", again=False), ValueError("a fault"))
    with Watched(tmp_path / "j.db", [sink]) as watched:
        watched.health = well(why=("drift",))
        until(lambda: ("sink", "refused") in watched.results)
        watched.health = well()
        until(lambda: watched.results.count(("sink", "refused")) == 2)
        watched.health = well(why=("drift",))
        until(lambda: sink.told)
    assert [told["state"] for told in sink.told] == ["firing"]


def test_few_wait_and_the_end_waits_for_nobody(tmp_path: Path) -> None:
    hanging = Sink(block=20.0)
    with Watched(tmp_path / "j.db", [hanging]) as watched:
        for i in range(WAITING + 30):
            watched.alerts._outboxes[0].put({**NOTICE, "detail": str(i)})
        assert watched.results.count(("sink", "dropped")) >= 28
        begun = time.monotonic()
    assert time.monotonic() - begun < END_S + 0.7


def test_an_engine_that_fails_is_told_of_and_its_successor_tells_when_it_is_over(tmp_path: Path) -> None:
    sink = Sink()
    with pytest.raises(RuntimeError), Watched(tmp_path / "j.db", [sink]):
        raise RuntimeError("the disk is gone; key 0123-planted-key")
    assert [(told["alarm"], told["detail"]) for told in sink.told] == [
        ("EngineGone", "RuntimeError: the disk is gone; key [redacted]")
    ]
    after = Sink()
    with Watched(tmp_path / "j.db", [after]) as watched:
        watched.now = START + TICK
        until(lambda: after.told)
    assert [(told["alarm"], told["state"]) for told in after.told] == [("EngineGone", "resolved")]


def test_who_is_stopped_tells_nothing(tmp_path: Path) -> None:
    sink = Sink()
    with Watched(tmp_path / "j.db", [sink]) as watched:
        watched.journal.append([("stop", {"why": "SIGTERM"})], at=START)
    assert sink.told == []


def test_a_journal_that_cannot_be_read_is_told_once_and_looked_at_again(tmp_path: Path) -> None:
    sink = Sink()
    watched = Watched(tmp_path / "j.db", [sink])
    elsewhere = tmp_path / "elsewhere.db"
    watched.journal.close()
    (tmp_path / "j.db").rename(elsewhere)
    with watched:
        time.sleep(0.2)
        elsewhere.rename(tmp_path / "j.db")
        watched.health = well(why=("drift",))
        until(lambda: sink.told)
    assert [line["channel"] for line in watched.lines("alert_failed")] == ["journal"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"webhook": {"url": "http://example.org/hook"}},
            "it goes to http://example.org; expected an address such as https://host",
        ),
        ({"webhook": {"url": "https://u:pass-word@example.org/"}}, "it holds more than host and path"),
        ({"webhook": {"url": "https://example.org/?token=pass-word"}}, "it holds more than host and path"),
        ({"webhook": {"url": "file:///etc/passwd"}}, "it goes to file://"),
        ({"webhook": {"url": "https://hooks.slack.com/services/pass-word/B/C"}}, "the rest in GRIDPILOT_WEBHOOK_TOKEN"),
        ({"smtp": {"host": "mail.example.org"}}, "expected sender and recipients beside it"),
        ({"smtp": {"host": "m", "sender": "a@b.c", "recipients": ["x\r\nRCPT"]}}, "is no mail address"),
        (
            {"smtp": {"host": "m.example.org", "sender": "a@b.c", "recipients": ["a@b.c"], "security": "none"}},
            "that is for loopback alone",
        ),
        ({"deadline": 0}, "greater than 0"),
        ({"least": "all"}, "'page', 'warn' or 'info'"),
    ],
)
def test_what_is_no_configuration_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as told:
        AlertsConfig.model_validate(changes)
    assert message in str(told.value.errors()[0]["msg"])
    assert "pass-word" not in str(told.value.errors()[0]["msg"])


def test_secrets_come_from_the_environment_alone() -> None:
    usual = config().alerts
    assert channels_of(usual, {"GRIDPILOT_WEBHOOK_TOKEN": "x"}) == []  # off by default
    slack = AlertsConfig.model_validate({"webhook": {"url": "https://hooks.slack.com/services", "form": "slack"}})
    with pytest.raises(ConfigError, match="GRIDPILOT_WEBHOOK_TOKEN is not set"):
        channels_of(slack, {})
    with pytest.raises(ConfigError, match="holds a blank or a sign"):
        channels_of(slack, {"GRIDPILOT_WEBHOOK_TOKEN": "a\r\nb"})
    with_user = {"smtp": {"host": "127.0.0.1", "sender": "a@b.c", "recipients": ["a@b.c"], "user": "site"}}
    with pytest.raises(ConfigError, match="GRIDPILOT_SMTP_PASSWORD is not, expected"):
        channels_of(AlertsConfig.model_validate(with_user), {})
    assert [channel.name for channel in channels_of(slack, {"GRIDPILOT_WEBHOOK_TOKEN": TOKEN})] == ["webhook"]
    assert smtplib.SMTP_PORT == 25


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GRIDPILOT_WEBHOOK_TOKEN", TOKEN)
    return TOKEN


def test_a_whole_run_with_a_dead_webhook_goes_on_and_keeps_its_secrets(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Server(hang) as server:
        begun = time.monotonic()
        arguments = [
            "agent=truthful", "live=simulated", "live.rows=30", "live.journal=j.db", "json=true", "live.alerts.least=info",
            f"live.alerts.webhook.url=http://127.0.0.1:{server.port}/hook",
        ]  # fmt: skip
        assert cli.main(["live", *arguments]) == 0
        assert time.monotonic() - begun < 60.0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 30
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file()).decode("utf-8", "replace")
    assert "zzTopSecretPart9" not in out + err + written


def test_decisions_are_the_same_with_and_without(tmp_path: Path) -> None:
    """Alerts beside an engine change nothing of what it decides."""
    rows, found = walk(20), []
    for name in ("without", "beside"):
        path = tmp_path / f"{name}.db"
        with contextlib.ExitStack() as stack:
            if name == "beside":
                Journal(path).close()
                sink = Sink(block=0.05)
                alerts = Alerts(
                    AlertsConfig(), [sink], path, health=lambda: well(why=("drift",)), now=lambda: START,
                    log=configure("DEBUG", io.StringIO()),                    told=lambda *told: None, redaction=Redaction(), poll=0.001,
                )  # fmt: skip
                stack.enter_context(alerts)
            _, records = run(ReplayVenue(rows, INVENTORIES["live"], 1_000_000), path, rows=20)
        found.append([json.dumps(record.body) for record in records if record.kind == "decision"])
    assert found[0] == found[1]
    assert sink.told
