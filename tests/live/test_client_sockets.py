"""The client over real sockets, against the server of another mind."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from gridpilot.errors import RefusedError, UnavailableError, UnknownOutcomeError, VenueError
from gridpilot.live.api import INVENTORIES, parse_time
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import ManualClock, SystemClock
from tests.live.clients import Calls, raw_server, timing
from tests.live.other_server import DOCUMENTS, FAULTS, FIELDS, OtherServer

COUNTS = (10, 2, 30, 4, 4)
LONG = 15.0  # s: far above every limit here, far below for ever

BAD_BODIES = ("html", "junk", "truncated", "empty", "deep", "gzip", "endless")
TOO_SLOW = ("hang", "dribble")
NOT_APPLIED = {"429", "500", "502", "503", "redirect", "hang", "drop"}


def connect(server: OtherServer, *keys: str, **options: Any) -> MaraClient:
    options = {"timing": timing(), "clock": ManualClock(), **options}
    return MaraClient(server.url, [SecretStr(key) for key in keys], **options)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"machines": DOCUMENTS},
        {"numbers_as_strings": True, "created_status": 201, "put_status": 201, "before_first_put": "null"},
        {"extra_fields": True, "trailing_z": True, "order": "oldest_first", "before_first_put": "empty"},
        {"wrapped": True, "order": "shuffled", "repeat_rows": True, "before_first_put": "zeros", "key_style": "hex"},
        {"keep_alive": False, "date_header": False, "omitted": "reset", "before_first_put": "nulls"},
    ],
    ids=str,
)
def test_every_choice_of_a_server_is_understood(choices: dict[str, Any]) -> None:
    with OtherServer(**choices) as server, connect(server, server.key()) as client:
        kinds = client.inventory().types
        assert {name: (kind.output, kind.power) for name, kind in zip(FIELDS, kinds, strict=True)} == server.kinds
        assert client.site_power_w(0) == 1_000_000
        assert client.machines(0).counts == (0,) * 5
        assert client.set_machines(0, COUNTS) == COUNTS
        report = client.machines(0)
        energy, hash_price, token = server.price(server.newest())
        outputs = [kind.output * price for kind, price in zip(kinds, [hash_price] * 3 + [token] * 2, strict=True)]
        assert report.counts == COUNTS == server.machines(next(iter(server._sites)))
        assert report.power_w == sum(n * kind.power for n, kind in zip(COUNTS, kinds, strict=True)) == server.peak_w
        assert report.revenue == pytest.approx(sum(n * each for n, each in zip(COUNTS, outputs, strict=True)))
        assert report.cost == pytest.approx(server.peak_w * energy)
        rows = client.prices()
        assert len({parse_time(row["timestamp"]) for row in rows}) == 12
        newest = max(rows, key=lambda row: parse_time(row["timestamp"]))
        assert [float(newest[name]) for name in ("energy_price", "hash_price", "token_price")] == [energy, hash_price, token]
        server.advance_rows()
        assert len({row["timestamp"] for row in client.prices()}) == 13
        key, name, power_w = client.register("another")
        assert (name, power_w) == ("another", 1_000_000)
        assert server.machines(key.get_secret_value()) == (0,) * 5


@pytest.mark.parametrize("status", [400, 409, 422])
def test_over_the_cap_is_refused_and_nothing_changes(status: int) -> None:
    with OtherServer(over_cap_status=status) as server, connect(server, server.key()) as client:
        assert client.set_machines(0, (0, 200, 0, 0, 0)) == (0, 200, 0, 0, 0)  # exactly the cap
        with pytest.raises(RefusedError, match="1005000 W is more than there is") as caught:
            client.set_machines(0, (0, 201, 0, 0, 0))
        assert caught.value.status == status
        assert client.machines(0).counts == (0, 200, 0, 0, 0)
        assert (server.peak_w, server.asked_peak_w, server.refused) == (1_000_000, 1_005_000, [(0, 201, 0, 0, 0)])


def test_a_wrong_key_is_refused() -> None:
    with OtherServer(unauthorised_status=403) as server, connect(server, "0" * 32) as client:
        with pytest.raises(RefusedError, match=r"status 403: .*\[redacted\]") as caught:
            client.machines(0)
        assert caught.value.status == 403


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in (*TOO_SLOW, "slow")])
def test_a_reading_gets_over_a_fault(fault: str) -> None:
    calls = Calls()
    with OtherServer(retry_after="0") as server, connect(server, server.key(), observer=calls) as client:
        server.script("GET /inventory", fault)
        assert client.inventory() == INVENTORIES["live"]
    assert len(calls) == 2
    assert calls.results[-1] == "200"
    assert (calls.results[0] == "unreadable") == (fault in BAD_BODIES)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("slow", "gzip")])
def test_a_change_is_sent_once_and_its_error_tells_what_is_known(fault: str) -> None:
    with OtherServer() as server:
        key = server.key()
        server.script("PUT /machines", fault)
        expected: type[VenueError] = {"429": UnavailableError, "redirect": RefusedError}.get(fault, UnknownOutcomeError)
        with connect(server, key, timing=timing(timeout=0.3 if fault in TOO_SLOW else LONG)) as client, pytest.raises(expected):
            client.set_machines(0, COUNTS)
        assert server.calls == ["PUT /machines"]
        assert server.machines(key) == ((0,) * 5 if fault in NOT_APPLIED else COUNTS)


def test_a_slow_answer_in_time_is_an_answer() -> None:
    with OtherServer(slow_s=0.2) as server, connect(server, server.key()) as client:
        server.script("*", "slow", "slow")
        assert client.set_machines(0, COUNTS) == client.machines(0).counts == COUNTS


@pytest.mark.parametrize("fault", TOO_SLOW)
@pytest.mark.parametrize("call", [MaraClient.prices, MaraClient.inventory, lambda client: client.set_machines(0, COUNTS)])
def test_nothing_holds_the_caller(fault: str, call: Callable[[MaraClient], object]) -> None:
    calls, begun = Calls(), time.monotonic()
    with OtherServer() as server, connect(server, server.key(), observer=calls, timing=timing(timeout=0.3, attempts=50)) as client:
        server.script("*", *[fault] * 50)
        with pytest.raises(VenueError, match="no whole answer in time"):
            call(client)
        assert time.monotonic() - begun < LONG  # 0.6 s, were there nothing else to do on this machine
    assert set(calls.results) == {"timeout"}
    assert len(calls) <= 2


def test_certificates_are_checked() -> None:
    with MaraClient("https://mara.example", timing=timing(), clock=ManualClock()) as client:
        for http in (client._connection._readings, client._connection._changes):
            context = http._transport._pool._ssl_context  # type: ignore[attr-defined]
            assert context.verify_mode is ssl.CERT_REQUIRED
            assert context.check_hostname


def test_a_server_that_takes_the_connection_and_says_nothing_was_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        client = MaraClient(url, [SecretStr("key")], timing=timing(timeout=0.3), clock=ManualClock())
        with client, pytest.raises(UnavailableError, match="no connection"):  # it stays in the TLS handshake
            client.set_machines(0, COUNTS)


def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    calls = Calls()
    with OtherServer() as server:
        client = connect(server, server.key(), observer=calls, timing=timing(attempts=2))
    with client:
        with pytest.raises(UnavailableError, match="no connection"):
            client.set_machines(0, COUNTS)
        with pytest.raises(UnavailableError, match="no connection"):
            client.prices()
    assert calls.results == ["connect_error"] * 3


def test_readings_share_a_connection_and_changes_have_their_own() -> None:
    with OtherServer() as server, connect(server, server.key()) as client:
        for _ in range(5):
            client.prices()
            client.set_machines(0, COUNTS)
        assert server.connections == 1 + 5


def test_a_kept_connection_that_has_died_is_no_failure_of_a_reading() -> None:
    calls = Calls()
    with (
        OtherServer(drop_idle=True) as server,
        connect(server, observer=calls, timing=timing(attempts=1, breaker_failures=1)) as client,
    ):
        for _ in range(5):
            assert client.inventory() == INVENTORIES["live"]
        assert server.connections == 5
    assert calls.results == ["200"] * 5


def test_a_kept_connection_that_has_died_does_not_touch_a_change() -> None:
    with OtherServer(drop_idle=True) as server, connect(server, server.key()) as client:
        client.inventory()
        assert client.set_machines(0, COUNTS) == COUNTS
        assert client.set_machines(0, COUNTS) == COUNTS
        assert server.calls == ["GET /inventory", "PUT /machines", "PUT /machines"]


def test_a_server_that_went_away_and_came_back_is_found_again() -> None:
    with OtherServer() as first:
        client = connect(first)
        client.prices()
    with client:
        with pytest.raises(UnavailableError):
            client.prices()
        port = int(client._url.port or 0)
        body = json.dumps([]).encode()
        with raw_server(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body, port=port):
            assert client.prices() == []


def test_proxies_and_credentials_of_the_environment_are_none_of_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with OtherServer() as server, connect(server) as client:
        assert client.inventory() == INVENTORIES["live"]


def test_a_server_s_clock_that_is_off_is_told() -> None:
    with OtherServer(speed=1.0, clock_off_s=180.0) as server, connect(server, clock=SystemClock()) as client:
        client.prices()
        assert client.skew is not None
        assert timedelta(seconds=150) < client.skew < timedelta(seconds=181)


def test_rows_come_by_the_server_s_clock_and_stop_where_told() -> None:
    with (
        OtherServer(speed=3000.0, tell_speed=True, rows=3, last_row=4) as server,
        connect(server, requests_per_tick=10**6) as client,
    ):
        until = time.monotonic() + LONG
        while len(rows := client.prices()) < 5 and time.monotonic() < until:
            assert len(rows) >= 3
        assert len(rows) == 5
        assert client.speed() == 3000.0
        assert server.now() > parse_time(rows[0]["timestamp"]) > datetime(2025, 6, 21, 12, tzinfo=UTC)
        server.advance_rows(10)
        assert len(client.prices()) == 5


def test_a_spoilt_row_spoils_no_other() -> None:
    with OtherServer(rows=4) as server, connect(server) as client:
        server.spoil(0, {"energy_price": float("nan")})
        server.spoil(1, b'{"energy_price": nan}')
        server.spoil(2, None)
        newest, *spoilt, first = client.prices()
        assert newest["energy_price"] == server.price(3)[0]
        assert spoilt == [None, '{"energy_price": nan}']
        assert math.isnan(first["energy_price"])
        assert first["hash_price"] == server.price(0)[1]


def test_random_faults_are_the_same_for_the_same_seed() -> None:
    def results() -> list[str]:
        calls = Calls()
        server = OtherServer(fault_rate=0.5, random_faults=("500", "html"), seed=3)
        with server, connect(server, observer=calls, timing=timing(attempts=1)) as client:
            for _ in range(20):
                with contextlib.suppress(UnavailableError):
                    client.prices()
        return calls.results

    first = results()
    assert first == results()
    assert {"200", "500", "unreadable"} == set(first)


def test_closing_leaves_nothing_open() -> None:
    with OtherServer() as server:
        client = connect(server)
        client.prices()
        client.close()
        del client
        gc.collect()  # what was left open would warn, and warnings are errors
