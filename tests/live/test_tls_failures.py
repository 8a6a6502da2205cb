"""A certificate that is not to be trusted is told apart from a server that is down, in a line of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from gridpilot.errors import UnavailableError, VenueError
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import ManualClock
from gridpilot.live.tls_failures import why_no_connection
from tests.live import certificates
from tests.live.clients import COUNTS, KEY, raw_server, timing

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"


@contextlib.contextmanager
def secure_server(certificate: str) -> Iterator[tuple[int, list[bytes]]]:
    """A server of https, its port and what it was sent."""
    Path("leaf.pem").write_text(certificates.KEY + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("leaf.pem")
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return  # closed
            with plain, contextlib.suppress(OSError):
                plain.settimeout(5.0)
                with context.wrap_socket(plain, server_side=True) as connection:
                    received.append(connection.recv(65536))
                    connection.sendall(ANSWER)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], received
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that knows the tests' authority."""
    context = ssl.create_default_context(cadata=certificates.AUTHORITY)
    monkeypatch.setattr(httpx2, "create_ssl_context", lambda trust_env: context)


def client(url: str) -> MaraClient:
    return MaraClient(url, [SecretStr(KEY)], timing=timing(attempts=1), clock=ManualClock())


def told(url: str) -> list[str]:
    messages = []
    for call in (MaraClient.prices, lambda each: each.set_machines(0, COUNTS)):
        with client(url) as asking, pytest.raises(VenueError) as error:
            call(asking)
        assert isinstance(error.value, UnavailableError)  # nothing was applied, and it may come right
        assert error.value.__cause__ is error.value.__context__ is None
        messages.append(str(error.value).partition(": ")[2])
    return messages


@pytest.mark.parametrize(
    ("certificate", "known", "fault"),
    [
        ("EXPIRED", True, "has expired, unless this machine's clock is ahead"),
        ("EARLY", True, "is not valid yet, unless this machine's clock is behind"),
        ("OTHER_HOST", True, "is of another host than live.url names"),
        ("SELF_SIGNED", True, "is self-signed, by no authority that this machine knows"),
        ("GOOD", False, "is of an authority that this machine does not know"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_each_bad_certificate_is_told_apart_and_nothing_is_sent(
    certificate: str, known: bool, fault: str, host: str, request: pytest.FixtureRequest
) -> None:
    if known:
        request.getfixturevalue("trusting")
    with secure_server(getattr(certificates, certificate)) as (port, received):
        for message in told(f"https://{host}:{port}"):
            assert message == f"no connection was made: the server's certificate {fault}; nothing was sent"
    assert received == []


def test_a_good_certificate_is_accepted(trusting: None) -> None:
    with secure_server(certificates.GOOD) as (port, received), client(f"https://127.0.0.1:{port}") as asking:
        assert asking.prices() == []
    assert len(received) == 1


def test_a_server_that_speaks_no_tls_is_told() -> None:
    with raw_server(lambda _: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as url:
        for message in told(url.replace("http://", "https://")):
            assert "what answers there does not speak TLS" in message


@pytest.mark.parametrize("payload", [b"", b"\x15\x03\x03\x00\x02\x02\x28"])
def test_an_end_and_an_alert_are_no_certificates(payload: bytes) -> None:
    with raw_server(lambda _: payload) as url:
        for message in told(url.replace("http://", "https://")):
            assert message.startswith("no connection ")
            assert "certificate" not in message


def test_what_a_server_wrote_into_its_certificate_is_not_quoted() -> None:
    error = ssl.SSLCertVerificationError(1, f"the key is {KEY}")
    error.verify_code, error.verify_message = 77, f"the key is {KEY}"
    outer = httpx2.ConnectError("no")
    outer.__cause__ = error
    assert why_no_connection(outer).endswith("is not to be trusted (OpenSSL's code 77); nothing was sent")
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert why_no_connection(first) == "no connection could be made"
