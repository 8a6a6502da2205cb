from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from gridpilot.errors import ConfigError, RefusedError, UnavailableError, UnknownOutcomeError, VenueError
from gridpilot.live.api import CLASSES, INVENTORIES
from gridpilot.live.client import MachineReport, MaraClient
from gridpilot.live.clock import ManualClock
from tests.live.clients import COUNTS, FIELDS, KEY, ROW, URL, Calls, Handler, always, in_turn, made_up, timing

REPORT = {**FIELDS, "total_power_used": 10, "total_revenue": 2.5, "total_power_cost": 1.5}


# What is read.


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (json.dumps([ROW, ROW]).encode(), [ROW, ROW]),
        (json.dumps({"prices": [ROW]}).encode(), [ROW]),
        (json.dumps({"count": 1, "history": [ROW]}).encode(), [ROW]),
        (b"\xef\xbb\xbf[]", []),
        (b'[{"a": Infinity}, null, 7, "x"]', [{"a": float("inf")}, None, 7, "x"]),
        (b'[{"a": 1}, {"a": %s}]' % (b"9" * 5000), [{"a": 1}, {"a": float("inf")}]),
        (b'[{"a": "\xff"}, {"a": 2}]', [{"a": "�"}, {"a": 2}]),
        (b'[{"a": 1}, {"a": nan}, {"a": 3}]', [{"a": 1}, '{"a": nan}', {"a": 3}]),
    ],
)
def test_prices_come_row_by_row_good_or_bad(raw: bytes, expected: list[Any]) -> None:
    with made_up(always(raw=raw)) as client:
        assert client.prices() == expected


@pytest.mark.parametrize("raw", [b"", b"{}", b"7", b'{"a": 1}', b'[{"a": 1}, {"a": 2', b'{"prices": [{"a": nan}]}', b"[" * 100_000])
def test_what_is_no_list_of_rows_is_unavailable(raw: bytes) -> None:
    with made_up(always(raw=raw)) as client, pytest.raises(UnavailableError, match=r"GET /prices: unreadable answer 200"):
        client.prices()


@pytest.mark.parametrize("preset", INVENTORIES.values(), ids=INVENTORIES.keys())
def test_inventory_as_it_is_as_text_and_with_more_in_it(preset: Any) -> None:
    plain = preset.to_json()
    text = {g: {n: {k: str(v) for k, v in kind.items()} for n, kind in group.items()} for g, group in plain.items()}
    more = {**plain, "version": 2, "miners": {**plain["miners"], "steam": {"hashrate": 1, "power": 1}}}
    for body in (plain, text, more, [plain], {"data": plain}):
        with made_up(always(body=body)) as client:
            assert client.inventory() == preset


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("miners", "hydro", "power"), 0, r"miners\.hydro\.power is 0"),
        (("miners", "hydro", "power"), "none", r"power is 'none', expected a whole number"),
        (("inference", "gpu", "tokens"), -1, r"tokens is -1"),
        (("inference", "gpu", "tokens"), 1.5, r"tokens is 1\.5"),
        (("inference", "gpu", "tokens"), True, r"tokens is true"),
        (("inference", "gpu", "tokens"), 10**400, r"tokens is 1000"),
        (("inference", "gpu"), [], r"a list of 0 in place of an object"),
        (("miners",), None, r"null in place of an object"),
    ],
)
def test_an_inventory_with_an_impossible_figure_is_unavailable(where: tuple[str, ...], value: Any, message: str) -> None:
    body: Any = json.loads(json.dumps(INVENTORIES["live"].to_json()))
    inner = body
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    with made_up(always(body=body)) as client, pytest.raises(UnavailableError, match=message):
        client.inventory()


def test_an_inventory_without_a_machine_is_unavailable() -> None:
    body: Any = INVENTORIES["live"].to_json()
    del body["inference"]["asic"]
    with made_up(always(body=body)) as client, pytest.raises(UnavailableError, match="asic is missing"):
        client.inventory()


@pytest.mark.parametrize(
    "body",
    [
        {"power": 5},
        {"power": 5.0},
        {"power": "5"},
        [{"power": 5, "api_key": KEY}],
        {"site": {"power": 5}},
        {"data": [{"power": 5}]},
    ],
)
def test_power_of_a_site(body: Any) -> None:
    with made_up(always(body=body)) as client:
        assert client.site_power_w(0) == 5


@pytest.mark.parametrize(
    "body", [{}, [], {"power": None}, {"power": -1}, {"power": 5.5}, {"power": "much"}, [{"power": 5}, {"power": 6}], "5", 5]
)
def test_a_power_that_cannot_be_told_is_unavailable(body: Any) -> None:
    with made_up(always(body=body)) as client, pytest.raises(UnavailableError):
        client.site_power_w(0)


@pytest.mark.parametrize(
    "answer",
    [
        always(404, {"detail": "none yet"}), always(404, raw=b""), always(body=None), always(body={}), always(body=[]),
        always(body=dict.fromkeys(CLASSES)), always(body={**dict.fromkeys(CLASSES), "site_id": 0}), always(body={"machines": None}),
    ],
)  # fmt: skip
def test_machines_before_the_first_put_are_none(answer: Handler) -> None:
    with made_up(answer) as client:
        assert client.machines(0) == MachineReport((0, 0, 0, 0, 0), 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (REPORT, MachineReport(COUNTS, 10, 2.5, 1.5)),
        ({name: str(value) for name, value in REPORT.items()}, MachineReport(COUNTS, 10, 2.5, 1.5)),
        ([{**REPORT, "more": {}}], MachineReport(COUNTS, 10, 2.5, 1.5)),
        (FIELDS, MachineReport(COUNTS, None, None, None)),
        (
            {**FIELDS, "total_power_used": 1.5, "total_revenue": float("nan"), "total_power_cost": []},
            MachineReport(COUNTS, None, None, None),
        ),
    ],
)
def test_machines_as_reported(body: Any, expected: MachineReport) -> None:
    with made_up(always(body=body)) as client:
        assert client.machines(0) == expected


@pytest.mark.parametrize("change", [{"gpu_compute": -1}, {"gpu_compute": 1.5}, {"gpu_compute": None}, {"gpu_compute": 2**60}])
def test_impossible_counts_are_unavailable_and_never_zero(change: dict[str, Any]) -> None:
    with made_up(always(body={**REPORT, **change})) as client, pytest.raises(UnavailableError, match="gpu_compute is"):
        client.machines(0)


@pytest.mark.parametrize("name", CLASSES)
def test_a_missing_count_is_unavailable_and_never_zero(name: str) -> None:
    body = {field: value for field, value in REPORT.items() if field != name}
    with made_up(always(body=body)) as client, pytest.raises(UnavailableError, match=f"{name} is missing"):
        client.machines(0)


@pytest.mark.parametrize("nothing", [always(body=None), always(404, {"detail": "none"})])
def test_machines_that_were_seen_do_not_vanish_into_zeros(nothing: Handler) -> None:
    with made_up(in_turn(always(body=FIELDS), nothing)) as client:
        client.set_machines(0, COUNTS)
        with pytest.raises(UnavailableError, match="some had been set before"):
            client.machines(0)


def test_a_404_of_a_proxy_does_not_mean_that_nothing_runs() -> None:
    with made_up(always(404, raw=b"<h1>no server</h1>")) as client, pytest.raises(RefusedError) as caught:
        client.machines(0)
    assert caught.value.status == 404


# What is sent.


def test_a_change_always_has_all_five_fields_and_the_site_s_key() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(201, json=FIELDS)

    with made_up(answer, keys=("first", "second")) as client:
        assert client.set_machines(1, (0, 0, 7, 0, 0)) == COUNTS  # what the server says, not what was asked for
    (request,) = seen
    assert (request.method, request.url.path) == ("PUT", "/machines")
    assert json.loads(request.content) == {**dict.fromkeys(CLASSES, 0), "immersion_miners": 7}
    assert request.headers["X-Api-Key"] == "second"


def test_keys_go_only_where_one_is_needed() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert "X-Api-Key" not in request.headers
        body = [] if request.url.path == "/prices" else INVENTORIES["live"].to_json()
        return httpx2.Response(200, json=body)

    with made_up(answer) as client:
        client.prices()
        client.inventory()


def test_a_path_of_the_address_is_kept() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=[str(request.url)])

    with MaraClient(f"{URL}/api/v1/", timing=timing(), clock=ManualClock(), transport=httpx2.MockTransport(answer)) as client:
        assert client.prices() == [f"{URL}/api/v1/prices"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (always(200, raw=b""), UnknownOutcomeError),
        (always(204, raw=b""), UnknownOutcomeError),
        (always(200, {**FIELDS, "asic_compute": None}), UnknownOutcomeError),
        (always(200, {}), UnknownOutcomeError),
        (always(200, raw=b"<html>"), UnknownOutcomeError),
        (always(500, {}), UnknownOutcomeError),
        (always(503, {}, Retry_After="9"), UnknownOutcomeError),
        (always(301, {}, Location="/elsewhere"), RefusedError),
        (always(400, {}), RefusedError),
        (always(404, {}), RefusedError),
        (always(422, {}), RefusedError),
        (always(429, {}), UnavailableError),
    ],
)
def test_what_becomes_of_a_change(answer: Handler, error: type[VenueError]) -> None:
    calls = Calls()
    with made_up(answer, observer=calls) as client, pytest.raises(error):
        client.set_machines(0, COUNTS)
    assert len(calls) == 1  # sent exactly once, whatever comes


@pytest.mark.parametrize(
    ("error", "expected", "result"),
    [
        (httpx2.ConnectError("no"), UnavailableError, "connect_error"),
        (httpx2.ConnectTimeout("no"), UnavailableError, "connect_error"),
        (httpx2.ReadTimeout("no"), UnknownOutcomeError, "timeout"),
        (httpx2.WriteError("no"), UnknownOutcomeError, "lost"),
        (httpx2.ReadError("no"), UnknownOutcomeError, "lost"),
        (httpx2.RemoteProtocolError("no"), UnknownOutcomeError, "lost"),
    ],
)
def test_a_change_without_an_answer(error: Exception, expected: type[VenueError], result: str) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error

    calls = Calls()
    with made_up(answer, observer=calls) as client, pytest.raises(expected):
        client.set_machines(0, COUNTS)
    assert calls == [("PUT /machines", result)]


def test_a_refusal_tells_why_without_telling_the_key() -> None:
    text = f"key {KEY}: 2 W is\n more than \x1b[31m1 W"
    with made_up(always(409, raw=text.encode())) as client, pytest.raises(RefusedError) as caught:
        client.set_machines(0, COUNTS)
    assert caught.value.status == 409
    assert str(caught.value) == r"PUT /machines: status 409: key [redacted]: 2 W is\n more than \x1b[31m1 W"


# Clocks, addresses, keys.


def test_skew_and_speed_are_those_of_the_last_answer() -> None:
    answers = in_turn(
        always(body=[], Date="Sat, 21 Jun 2025 12:03:00 GMT", X_Stand_In_Speed="300"),
        always(500, Date="Sat, 21 Jun 2025 11:59:00 GMT", X_Stand_In_Speed="nan"),
        always(body=[], Date="yesterday"),
    )
    with made_up(answers, timing=timing(attempts=1)) as client:
        assert (client.skew, client.speed()) == (None, None)
        client.prices()
        assert (client.skew, client.speed()) == (timedelta(minutes=3), 300.0)
        with pytest.raises(UnavailableError):
            client.prices()
        assert (client.skew, client.speed()) == (-timedelta(minutes=1), None)
        client.prices()
        assert client.skew is None


def test_only_a_server_on_this_machine_may_say_how_fast_time_goes() -> None:
    transport = httpx2.MockTransport(always(body=[], X_Stand_In_Speed="300"))
    with MaraClient("https://mara.example", timing=timing(), clock=ManualClock(), transport=transport) as client:
        client.prices()
        assert client.speed() is None


@pytest.mark.parametrize(
    "url", ["https://mara.example", "http://127.0.0.1:8321", "http://localhost/", "http://[::1]:80", "http://127.9.9.9/api"]
)
def test_addresses_that_are_accepted(url: str) -> None:
    MaraClient(url, timing=timing(), clock=ManualClock()).close()


@pytest.mark.parametrize(
    "url",
    [
        "", "mara.example", "http://mara.example", "http://10.0.0.1", "http://0.0.0.0", "http://localhost.example", "http://127.0.0.1.example",
        "ftp://127.0.0.1", "https://user:secret-word@mara.example", "https://secret-word@mara.example", "https://mara.example/?key=secret-word",
        "https://mara.example/#secret-word", "https://mara.example:port", "https://", "http://127.0.0.1\\@mara.example", "http://127.0.0.1:1@mara.example",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"live\.url") as caught:
        MaraClient(url, timing=timing(), clock=ManualClock())
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a b", "a\nX-Other: 1", "schlüssel", "x" * 1000])
def test_keys_that_no_header_can_hold_are_refused_without_being_told(key: str) -> None:
    with pytest.raises(ConfigError, match="MARA_API_KEY: key 2") as caught:
        MaraClient(URL, [SecretStr(KEY), SecretStr(key)], timing=timing(), clock=ManualClock())
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("site", [0, -1])
def test_a_call_that_needs_a_key_says_how_to_give_it(site: int) -> None:
    with made_up(always(), keys=()) as client:
        for call in (client.site_power_w, client.machines, lambda site: client.set_machines(site, COUNTS)):
            with pytest.raises(ConfigError, match="set MARA_API_KEY"):
                call(site)


# New sites.


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"api_key": KEY, "name": "given", "power": "1000000"}, (KEY, "given", 1_000_000)),
        ([{"api_key": KEY, "power": None}], (KEY, "asked", 0)),
    ],
)
def test_register(status: int, body: Any, expected: tuple[str, str, int]) -> None:
    with made_up(always(status, body), keys=()) as client:
        key, name, power_w = client.register("asked")
    assert (key.get_secret_value(), name, power_w) == expected


@pytest.mark.parametrize("body", [{}, {"api_key": ""}, {"api_key": 7}, {"api_key": "a\nb"}, None])
def test_a_new_site_without_a_key_is_a_doubt(body: Any) -> None:
    with made_up(always(201, body)) as client, pytest.raises(UnknownOutcomeError, match=r"api_key|in place of the new site"):
        client.register("asked")


def test_closing_twice_is_once() -> None:
    client = made_up(always(body=[]))
    client.prices()
    client.close()
    client.close()
