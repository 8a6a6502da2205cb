"""Laws of the client: whatever a server answers, errors are the venue's, and a key is told to the server alone."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gridpilot.errors import UnavailableError, VenueError
from gridpilot.live.api import CLASSES, INVENTORIES, Inventory
from gridpilot.live.client import MachineReport, MaraClient
from gridpilot.live.clock import ManualClock
from tests.live.clients import KEY, Calls, made_up, raw_server, timing
from tests.live.other_server import FAULTS, OtherServer

PLANTED = "planted-7d1e-not-a-uuid"

READINGS: dict[str, Callable[[MaraClient], Any]] = {
    "prices": MaraClient.prices,
    "inventory": MaraClient.inventory,
    "site_power_w": lambda client: client.site_power_w(0),
    "machines": lambda client: client.machines(0),
}
CHANGES: dict[str, Callable[[MaraClient], Any]] = {
    "set_machines": lambda client: client.set_machines(0, (1, 2, 3, 4, 5)),
    "register": lambda client: client.register("name"),
}
CALLS = {**READINGS, **CHANGES}

names = st.sampled_from(
    [*CLASSES, "power", "prices", "data", "site", "miners", "inference", "air", "gpu", "hashrate", "api_key", "x"]
)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([0, 1, "7", 10**400, -1, 2.0])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=12)
machines = st.fixed_dictionaries(dict.fromkeys(CLASSES, scalars), optional={"total_power_used": scalars, "total_revenue": scalars})
documents = (values | machines).map(lambda value: json.dumps(value).encode())
bodies = (
    documents
    | documents.map(lambda body: body[:-3])
    | st.binary(max_size=40)
    | st.just(json.dumps(INVENTORIES["live"].to_json()).encode())
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30) | st.sampled_from(
    [
        "0",
        "-1",
        "nan",
        "1e308",
        "Sat, 21 Jun 2025 12:00:09 GMT",
        "Sat, 21 Jun 0001 12:00:09 +2359",
        "Sat, 21 Jun 99999 12:00:09 GMT",
    ]
)
header_names = ["Retry-After", "Date", "X-Stand-In-Speed", "Content-Type", "Content-Encoding", "Location", "Set-Cookie"]
headers = st.dictionaries(st.sampled_from(header_names), header_values)
replies = st.tuples(st.sampled_from([200, 201, 204, 301, 400, 404, 429, 500, 503]) | st.integers(200, 599), headers, bodies)


def is_sound(name: str, value: Any) -> bool:
    match name:
        case "prices":
            return isinstance(value, list)
        case "inventory":
            return isinstance(value, Inventory) and all(kind.power > 0 <= kind.output for kind in value.types)
        case "site_power_w":
            return type(value) is int and value >= 0
        case "machines":
            return isinstance(value, MachineReport) and is_sound("set_machines", value.counts)
        case "set_machines":
            return len(value) == 5 and all(type(count) is int and count >= 0 for count in value)
        case _:
            return isinstance(value[0], SecretStr) and type(value[2]) is int


def check(name: str, client: MaraClient) -> None:
    """A sound value, or an error of the venue that stands alone: nothing of the server's is chained to it."""
    failure: VenueError | None = None
    try:
        value = CALLS[name](client)
    except VenueError as error:
        failure = error
    if failure is None:
        assert is_sound(name, value)
    else:
        assert failure.__cause__ is failure.__context__ is None
        retry_after = failure.retry_after if isinstance(failure, UnavailableError) else None
        assert retry_after is None or 0.0 <= retry_after < float("inf")


@pytest.mark.parametrize("name", CALLS)
@given(answers=st.lists(replies, min_size=1, max_size=4))
def test_whatever_is_answered_the_errors_are_the_venue_s(name: str, answers: list[tuple[int, dict[str, str], bytes]]) -> None:
    remaining = list(answers)

    def answer(_: httpx2.Request) -> httpx2.Response:
        status, fields, body = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return httpx2.Response(status, headers=fields, content=body)

    with made_up(answer, timing=timing(backoff=1e-5, longest_wait=1e-4)) as client:
        check(name, client)
        assert client.speed() is None or 0.0 < client.speed() <= 100_000.0


@pytest.fixture(scope="module")
def bytes_server() -> Iterator[tuple[str, list[bytes]]]:
    payload = [b""]
    with raw_server(lambda _: payload[0]) as url:
        yield url, payload


status_lines = [b"200 OK", b"307 X", b"204", b"99 ?", b"101 Switch", b"100 Continue"]
fields = [b"", b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Location: http://[", b":"]
parts = st.tuples(st.sampled_from(status_lines), st.sampled_from(fields), st.binary(max_size=40))
garbage = st.binary(max_size=80) | parts.map(lambda part: b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % part)


@given(payload=garbage)
def test_whatever_comes_out_of_the_socket_the_errors_are_the_venue_s(bytes_server: tuple[str, list[bytes]], payload: bytes) -> None:
    url, sent = bytes_server
    sent[0] = payload
    with MaraClient(url, [SecretStr(KEY)], timing=timing(attempts=1), clock=ManualClock()) as client:
        for name in CALLS:
            check(name, client)


class Ears(logging.Handler):
    """Everything that anybody logs, with arguments and exceptions."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard += [record.getMessage(), repr(record.args), repr(record.exc_info)]


@pytest.fixture
def ears() -> Iterator[Ears]:
    root, ears = logging.getLogger(), Ears()
    level = root.level
    root.addHandler(ears)
    root.setLevel(logging.DEBUG)
    yield ears
    root.removeHandler(ears)
    root.setLevel(level)


def told(error: BaseException | None) -> Iterator[str]:
    """All that an exception and those behind it say."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)), "".join(traceback.format_exception(error)))
        if error.__cause__ is not None:
            yield from told(error.__cause__)
        error = error.__context__


def use(client: MaraClient) -> Iterator[str]:
    """Everything that calls bring forth in public."""
    for call in CALLS.values():
        try:
            yield repr(call(client))
        except VenueError as error:
            yield from told(error)
    yield from (repr(client), str(client), repr(vars(client)["_keys"]), repr(client._redact))


@pytest.mark.parametrize("key", [KEY, PLANTED])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("hang", "dribble", "endless")] + ["unauthorised"])
def test_a_key_is_told_to_the_server_alone(key: str, fault: str, ears: Ears, capfd: pytest.CaptureFixture[str]) -> None:
    calls = Calls()
    with OtherServer(retry_after="0", slow_s=0.01) as server:
        if fault != "unauthorised":
            server._sites[key] = {"number": 1, "name": key, "counts": None, "at": None}
            server.script("*", *[fault] * 20)
        with MaraClient(server.url, [SecretStr(key)], timing=timing(), clock=ManualClock(), observer=calls) as client:
            public = list(use(client))
        assert len(server.calls) >= len(CALLS)
    output = "".join(capfd.readouterr())
    for text in (*public, *ears.heard, *calls.results, output):
        assert key not in text


@pytest.mark.parametrize("key", [KEY, PLANTED])
@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 401 {key}\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 {key}\r\nX-Echo: {key}\r\nSet-Cookie: k={key}\r\nContent-Length: 38\r\n\r\n{key}",
        "{key} what is this",
        "HTTP/1.1 200 OK\r\n{key} : {key}\r\n\r\n",
        "HTTP/1.1 302 OK\r\nLocation: http://{key}\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: {key}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: {key}\r\n\r\n",
        "HTTP/1.1 400 OK\r\n\r\n" + "{key}{key} " * 40,
        'HTTP/1.1 200 OK\r\n\r\n{{"power": "the key of this site is {key}"}}',
        'HTTP/1.1 200 OK\r\n\r\n{{"power": "{key}", "miners": "{key}", "{key}": 1, "gpu_compute": ["{key}"], "api_key": " {key}"}}',
        'HTTP/1.1 200 OK\r\n\r\n["{key}"]',
        'HTTP/1.1 200 OK\r\n\r\n"{key}',
    ],
)
def test_a_key_that_the_server_echoes_is_not_passed_on(
    answer: str, key: str, ears: Ears, capfd: pytest.CaptureFixture[str]
) -> None:
    server = raw_server(lambda _: answer.format(key=key).encode())
    with server as url, MaraClient(url, [SecretStr(key)], timing=timing(attempts=2), clock=ManualClock()) as client:
        public = [text for text in use(client) if not text.startswith("[")]  # prices are as the server sent them
    for text in (*public, *ears.heard, *capfd.readouterr()):
        assert key[:8] not in text  # nor a part of it
