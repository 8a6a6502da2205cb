"""Faults do what their names say, to the calls that their rules are for and to no others."""

from __future__ import annotations

import json
import math
import socket
from collections import Counter
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridpilot.errors import ConfigError
from gridpilot.live.api import CLASSES, TICK
from gridpilot.live.clock import ManualClock
from gridpilot.live.stand_in import faults as fault_rules
from gridpilot.live.stand_in.app import create_app
from gridpilot.live.stand_in.faults import ENDPOINTS, Faults, Rule, load_faults
from gridpilot.live.stand_in.options import StandInOptions
from tests.live.stand_ins import Caller, calling, rules, served
from tests.live.worlds import START, entry, walk

MACHINES = dict.fromkeys(CLASSES, 1)
ROWS = [entry(row) for row in walk(50)]


def put_and_read(call: Caller) -> tuple[httpx2.Response | str, bool]:
    """The answer to a PUT, or the name of the exception, and whether it was applied."""
    key = call.key()
    try:
        answer: Any = call("PUT /machines", key, MACHINES)
    except httpx2.TransportError as error:
        answer = type(error).__name__
    return answer, call("GET /machines", key).json()["air_miners"] == 1


def on_put(fault: Any) -> Faults:
    return rules({"when": {"endpoint": "PUT /machines"}, "fault": fault})


# Transport, in this process.


@pytest.mark.parametrize("status", [400, 429, 500, 502, 503, 504])
def test_a_status_answers_in_place_of_the_server(status: int) -> None:
    with calling(faults=on_put({"status": status})) as call:
        answer, applied = put_and_read(call)
    assert isinstance(answer, httpx2.Response)
    assert answer.status_code == status
    assert answer.json() == {"detail": "a fault on purpose"}
    assert "retry-after" not in answer.headers
    assert answer.headers["X-Stand-In-Speed"] == "1.0"
    assert not applied


def test_a_gateway_may_fail_when_all_is_done() -> None:
    with calling(faults=on_put({"status": 502, "applied": True})) as call:
        answer, applied = put_and_read(call)
    assert (answer.status_code, applied) == (502, True)  # type: ignore[union-attr]


def test_retry_after_in_seconds_and_as_a_date() -> None:
    faults = rules(
        {"when": {"calls": [0, 1]}, "fault": {"status": 429, "retry_after": 2.5}},
        {"when": {"calls": [1, 2]}, "fault": {"status": 503, "retry_after": 90, "as_date": True}},
    )
    with calling(faults=faults, date_skew_s=10.0) as call:
        assert call("GET /prices").headers["Retry-After"] == "2.5"
        answer = call("GET /prices")
        asked = [parsedate_to_datetime(answer.headers[name]) for name in ("Date", "Retry-After")]
        assert asked == [START + timedelta(seconds=10), START + timedelta(seconds=100)]


def test_lost_answers_are_applied_and_dropped_requests_are_not() -> None:
    for fault, applied in (("lost_answer", True), ("drop", False)):
        with calling(faults=on_put(fault)) as call:
            assert put_and_read(call) == ("RemoteProtocolError", applied)


def test_slow_answers_are_applied_at_once_and_late_requests_at_last() -> None:
    for fault, applied_before in (("slow_first_byte", 1), ("late", 0)):
        with calling(faults=on_put({fault: 3})) as call:
            answer, applied = put_and_read(call)
            assert (answer.status_code, applied) == (200, True)  # type: ignore[union-attr]
            assert call.naps == [(3.0, applied_before)]


def test_a_slow_body_dribbles_and_arrives_whole() -> None:
    with calling(faults=rules({"fault": {"slow_body": 4}}), history=50) as call:
        answer = call("GET /prices")
        assert answer.json() == ROWS[::-1]
        assert len(call.naps) == 20
        assert math.fsum(seconds for seconds, _ in call.naps) == pytest.approx(4.0)
        assert int(answer.headers["content-length"]) == len(answer.content)


def test_truncated_json_is_http_but_no_json() -> None:
    with calling(faults=on_put("truncated_json")) as call:
        answer, applied = put_and_read(call)
        assert isinstance(answer, httpx2.Response)
        assert (answer.status_code, answer.content[:1], applied) == (200, b"{", True)
        assert answer.headers.get_list("content-length") == [str(len(answer.content))]
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            answer.json()


def test_junk_is_a_page() -> None:
    with calling(faults=on_put("junk_html")) as call:
        answer, applied = put_and_read(call)
        assert isinstance(answer, httpx2.Response)
        assert (answer.status_code, answer.headers["content-type"], applied) == (200, "text/html", True)
        assert answer.text.startswith("<!DOCTYPE html>")


def test_the_clock_of_the_header_may_be_off() -> None:
    with calling(faults=rules({"fault": {"clock_skew": -3600}})) as call:
        assert parsedate_to_datetime(call("GET /prices").headers["Date"]) == START - timedelta(hours=1)
        assert call("GET /prices").json() == ROWS[:1]


# Rows.


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("nan_row", math.nan),
        ("null_row", None),
        ("negative_row", -ROWS[9]["hash_price"]),
        ({"jump_row": 40}, 40 * ROWS[9]["hash_price"]),
    ],
)
@pytest.mark.parametrize("order", ["newest_first", "oldest_first"])
def test_the_newest_row_is_bad_and_the_others_are_not(fault: Any, seen: Any, order: Any) -> None:
    with calling(faults=rules({"when": {"calls": [0, 1]}, "fault": fault}), history=10, order=order) as call:
        bad, good = call("GET /prices").json(), call("GET /prices").json()
    bad, good = (rows if order == "oldest_first" else rows[::-1] for rows in (bad, good))
    assert good == ROWS[:10]
    assert bad[:9] == good[:9]
    assert bad[9]["timestamp"] == good[9]["timestamp"]
    assert bad[9]["hash_price"] == pytest.approx(seen, nan_ok=True) if seen is not None else bad[9]["hash_price"] is None


def test_rows_may_come_twice_or_in_any_order() -> None:
    with calling(faults=rules({"fault": "repeat_rows"}), history=5) as call:
        assert call("GET /prices").json() == [row for row in ROWS[4::-1] for _ in range(2)]
    orders = []
    for _ in range(2):
        with calling(faults=rules({"fault": "reorder_rows"}, seed=4), history=30) as call:
            orders.append([call("GET /prices").json(), call("GET /prices").json()])
            assert all(sorted(rows, key=lambda row: row["timestamp"]) == ROWS[:30] for rows in orders[-1])
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]


def test_a_stale_feed_stands_still_for_a_while_and_catches_up() -> None:
    clock = ManualClock(START)
    faults = rules({"when": {"from_row": 3, "until_row": 6}, "fault": "stale"})
    shown = []
    with calling(clock=clock, faults=faults) as call:
        key = call.key()
        call("PUT /machines", key, {"gpu_compute": 1})
        for newest in range(8):
            clock.at = START + newest * TICK
            rows = call("GET /prices").json()
            assert rows == ROWS[: len(rows)][::-1]
            assert call("GET /machines", key).json()["total_revenue"] == 1000 * rows[0]["token_price"]
            shown.append(len(rows) - 1)
    assert shown == [0, 1, 2, 3, 3, 3, 6, 7]


def test_a_stale_feed_stays_where_it_was_when_another_rule_decides_in_between() -> None:
    faults = rules({"when": {"calls": [2, 3]}, "fault": "repeat_rows"}, {"when": {"from_row": 1}, "fault": "stale"})
    shown = []
    with calling(faults=faults) as call:
        for newest in range(5):
            call.clock.at = START + newest * TICK  # type: ignore[attr-defined]
            shown.append(len(call("GET /prices").json()))
    assert shown == [1, 2, 6, 2, 2]


def test_a_feed_that_was_stale_begins_anew() -> None:
    shown = []
    with calling(faults=rules({"when": {"every": 2}, "fault": "stale"})) as call:
        for newest in range(6):
            call.clock.at = START + newest * TICK  # type: ignore[attr-defined]
            shown.append(len(call("GET /prices").json()))
    assert shown == [1, 2, 3, 4, 5, 6]


# Rules.


def statuses(call: Caller, endpoint: str, times: int) -> list[int]:
    return [call(endpoint).status_code for _ in range(times)]


def test_conditions_of_a_rule() -> None:
    def on(**when: Any) -> Any:
        return rules({"when": when, "fault": {"status": 500}})

    with calling(faults=on(calls=[1, 3])) as call:
        assert statuses(call, "GET /prices", 4) == [200, 500, 500, 200]
    with calling(faults=on(every=3)) as call:
        assert statuses(call, "GET /inventory", 7) == [200, 200, 500, 200, 200, 500, 200]
    with calling(faults=on(endpoint="GET /prices", every=2)) as call:
        assert [*statuses(call, "GET /prices", 1), *statuses(call, "GET /inventory", 3), *statuses(call, "GET /prices", 1)] == [
            200, 200, 200, 200, 500,
        ]  # fmt: skip
    with calling(faults=on(from_row=1, until_row=2)) as call:
        seen = []
        for newest in range(4):
            call.clock.at = START + newest * TICK  # type: ignore[attr-defined]
            seen += statuses(call, "GET /prices", 1)
        assert seen == [200, 500, 200, 200]
    with calling(faults=on(after=60, until=120), clock=ManualClock(START, speed=300.0)) as call:
        seen = []
        for _ in range(5):
            seen += statuses(call, "GET /prices", 1)
            call.clock.advance(30.0)  # type: ignore[attr-defined]
        assert seen == [200, 200, 500, 500, 200]
    with calling(faults=on(after=60)) as call:
        call.clock.advance(60.0)  # type: ignore[attr-defined]
        assert statuses(call, "GET /prices", 1) == [500]  # counted from the start, not from the first call


def test_the_first_rule_that_matches_decides() -> None:
    faults = rules(
        {"when": {"every": 2}, "fault": {"status": 502}}, {"when": {"endpoint": "GET /prices"}, "fault": [{"status": 429}]}
    )
    with calling(faults=faults) as call:
        assert statuses(call, "GET /prices", 4) == [429, 502, 429, 502]


def test_chance_is_seeded_and_about_as_often_as_asked() -> None:
    def kinds(seed: int, calls: int = 4000) -> list[str]:
        faults = Faults.random(0.1, seed, slow_s=0.25)
        chosen = [faults.choose("GET /prices", 1, 0.0)[0] for _ in range(calls)]
        return ["" if fault is None else f"{fault.kind}{fault.amount or ''}" for fault in chosen]

    assert kinds(0) == kinds(0)
    assert kinds(0) != kinds(1)
    counts = Counter(kinds(7))
    assert 320 < 4000 - counts.pop("") < 480
    assert set(counts) == {
        "status500.0", "status503.0", "status429.0", "lost_answer", "drop", "truncated_json", "junk_html", "slow_first_byte0.25",
    }  # fmt: skip
    assert min(counts.values()) > 20


def test_faults_are_of_the_api_and_not_of_its_pages() -> None:
    with calling(faults=rules({"fault": {"status": 500}})) as call:
        assert all(call(endpoint).status_code == 500 for endpoint in ENDPOINTS)
        assert [call(f"GET {path}").status_code for path in ("/", "/docs", "/openapi.json", "/nothing")] == [200, 200, 200, 404]


def test_the_example_of_the_documentation_is_a_file_of_rules() -> None:
    told = str(fault_rules.__doc__)
    example = told[told.index("    - when") : told.index("The first rule")]
    Path("faults.yaml").write_text(example, encoding="utf-8")
    found = load_faults(Path("faults.yaml"))
    assert [len(rule.fault) for rule in found] == [1, 1, 1, 3]
    assert found[0].when.calls == (3, 5)
    assert found[2].fault[0].retry_after == 2.0
    Path("faults.json").write_text(json.dumps([rule.model_dump() for rule in found]), encoding="utf-8")
    assert load_faults(Path("faults.json")) == found
    for kind in fault_rules.KINDS:
        assert kind in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "faults.yaml: cannot be read: No such file or directory"),
        ("{", "faults.yaml is not YAML: "),
        ("when: {}", "faults.yaml: expected a list of rules"),
        (
            "- {fault: drop}\n- {fault: explode}",
            "faults.yaml: rule 2: fault.0.kind='explode': input should be 'status', 'lost_answer'",
        ),
        ("- {when: {}}", "faults.yaml: rule 1: fault="),
        ("- {fault: []}", "rule 1: fault="),
        ("- 7", "rule 1: =7: input should be a valid dictionary"),
        ("- {fault: drop, wen: {}}", "rule 1: wen={}: extra inputs are not permitted"),
        ("- {fault: {status: 200}}", "status is 200.0, expected a number from 400 to 599"),
        ("- {fault: {status: 500.5}}", "status is 500.5, expected"),
        ("- {fault: status}", "status is None, expected a number from 400 to 599"),
        ("- {fault: {drop: 5}}", "drop is 5.0, expected the name alone"),
        ("- {fault: {slow_body: -1}}", "slow_body is -1.0, expected a number from 0 to 3600"),
        ("- {fault: {slow_body: 1, late: 1}}", "expected one of status, lost_answer"),
        ("- {fault: {slow_body: 1, retry_after: 1}}", "slow_body takes no retry_after"),
        (
            "- {when: {endpoint: GET /price}, fault: drop}",
            "rule 1: when.endpoint='GET /price': input should be 'any', 'POST /sites'",
        ),
        ("- {when: {calls: [3]}, fault: drop}", "rule 1: when.calls"),
        ("- {when: {probability: 5}, fault: drop}", "rule 1: when.probability=5: input should be less than or equal to 1"),
    ],
)
def test_a_wrong_file_is_told_in_a_line(content: str | None, message: str) -> None:
    path = Path("faults.yaml")
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_faults(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# On real sockets.


def test_connections_really_end(capfd: pytest.CaptureFixture[str]) -> None:
    faults = rules(
        {"when": {"endpoint": "PUT /machines", "calls": [0, 1]}, "fault": "lost_answer"},
        {"when": {"endpoint": "PUT /machines", "calls": [1, 2]}, "fault": "drop"},
    )
    app = create_app(StandInOptions(), walk(3), ManualClock(START), faults)
    stand_in = app.state.stand_in
    key = stand_in.sites.register("a site").key
    with served(app) as url, httpx2.Client(base_url=url, headers={"X-Api-Key": key}) as http:
        http.get("/prices")  # so that the connection is an old one
        with pytest.raises(httpx2.RemoteProtocolError):
            http.put("/machines", json={"air_miners": 1})
        assert [put.counts for put in stand_in.sites.puts] == [(1, 0, 0, 0, 0)]
        with pytest.raises(httpx2.RemoteProtocolError):
            http.put("/machines", json={"air_miners": 2})
        assert len(stand_in.sites.puts) == 1
        assert http.put("/machines", json={"air_miners": 3}).status_code == 200
    assert [put.counts[0] for put in stand_in.sites.puts] == [1, 3]
    assert capfd.readouterr() == ("", "")  # and nobody complains


def test_a_late_command_comes_after_its_client_has_gone() -> None:
    app = create_app(StandInOptions(), walk(3), ManualClock(START), on_put({"late": 0.2}))
    stand_in = app.state.stand_in
    key = stand_in.sites.register("a site").key
    with served(app) as url:
        with httpx2.Client(base_url=url, timeout=0.05) as http, pytest.raises(httpx2.ReadTimeout):
            http.put("/machines", json={"air_miners": 1}, headers={"X-Api-Key": key})
        assert stand_in.sites.puts == []
    assert [put.counts[0] for put in stand_in.sites.puts] == [1]  # the server's end waits for it


def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    app = create_app(StandInOptions(), walk(3), ManualClock(START), rules({"when": {"calls": [1, 2]}, "fault": "truncated_json"}))
    key = app.state.stand_in.sites.register("a site").key
    with served(app) as url:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10.0) as connection:
                head = f"PUT /machines HTTP/1.1\r\nHost: x\r\nX-Api-Key: {key}\r\nContent-Length: 100\r\n\r\n{{"
                connection.sendall(head.encode())
        assert httpx2.get(f"{url}/prices").json() == ROWS[:1]
    assert app.state.stand_in.sites.puts == []
    assert capfd.readouterr() == ("", "")


def test_a_body_dribbles_over_a_socket() -> None:
    app = create_app(StandInOptions(), walk(3), ManualClock(START), rules({"fault": {"slow_body": 0.2}}))
    with served(app) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=10.0) as connection:
            connection.sendall(b"GET /prices HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            pieces = []
            while piece := connection.recv(65536):
                pieces.append(piece)
    assert len(pieces) > 5
    assert json.loads(b"".join(pieces).partition(b"\r\n\r\n")[2]) == ROWS[:1]


def test_random_faults_never_break_the_server() -> None:
    app = create_app(StandInOptions(), walk(3), ManualClock(START), Faults.random(0.6, 3, slow_s=0.01))
    with served(app) as url, httpx2.Client(base_url=url) as http:
        results: Counter[str] = Counter()
        for _ in range(120):
            try:
                answer = http.get("/prices")
            except httpx2.TransportError as error:
                results[type(error).__name__] += 1
            else:
                results[str(answer.status_code)] += 1
    assert set(results) == {"200", "429", "500", "503", "RemoteProtocolError"}


def test_equal_rules_are_equal() -> None:
    assert Rule.model_validate({"fault": "drop"}) == Rule.model_validate({"fault": [{"kind": "drop"}], "when": {}})
