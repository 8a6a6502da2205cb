"""The stand-in says what the API is known to say, and each of its switches changes what it is for."""

from __future__ import annotations

import json
import math
import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, get_args

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpilot.errors import ConfigError, LiveError
from gridpilot.live.api import CLASSES, INVENTORIES, TICK, PriceRow, parse_time
from gridpilot.live.clock import ManualClock, SystemClock
from gridpilot.live.price_feed import generate_rows
from gridpilot.live.stand_in.app import create_app
from gridpilot.live.stand_in.options import ErrorShape, StandInOptions, describe_options, parse_options
from gridpilot.live.stand_in.rows import Rows
from gridpilot.live.stand_in.schema import ERRORS
from tests.live.stand_ins import Caller, calling, served
from tests.live.worlds import START, entry, walk

ENERGY = 0.9
ZEROS = dict.fromkeys(CLASSES, 0)


@pytest.mark.parametrize(
    ("inventory", "machines", "prices", "power", "revenue", "cost"),
    [
        (
            "documented", {"immersion_miners": 10, "gpu_compute": 30, "asic_compute": 5},
            (0.7337426310656494, 1.5059658003406857, 0.8509377397734911), 325_000, 388859.1471706461, 238466.35509633605,
        ),
        ("live", {"hydro_miners": 200}, (ENERGY, 1.382032767339416, 1.0), 1_000_000, 2764065.5346788317, 1_000_000 * ENERGY),
        (
            "live", {"air_miners": 10, "hydro_miners": 2, "immersion_miners": 30, "gpu_compute": 4, "asic_compute": 4},
            (1.2695072872530706, 1.382032767339416, 1.5723370784071644), 396_662, 286501.9880028668, 503565.2995763775,
        ),
    ],
)  # fmt: skip
def test_recorded_states(
    inventory: str, machines: dict[str, int], prices: tuple[float, ...], power: int, revenue: float, cost: float
) -> None:
    with calling([PriceRow(START, *prices)], inventory=inventory) as call:
        key = call.key()
        assert call("PUT /machines", key, ZEROS | machines).status_code == 200
        state = call("GET /machines", key).json()
    assert {name: state[name] for name in CLASSES} == ZEROS | machines
    assert state["total_power_used"] == power
    assert state["total_revenue"] == pytest.approx(revenue, rel=1e-9)
    assert state["total_power_cost"] == pytest.approx(cost, rel=1e-9)
    assert sum(state["power"].values()) == power
    assert math.fsum(state["revenue"].values()) == pytest.approx(revenue, rel=1e-12)
    assert {name for name, watts in state["power"].items() if watts} == set(machines)


def test_a_session_as_it_was_at_the_event() -> None:
    with calling(inventory="documented") as call:
        made = call("POST /sites", body={"name": "north"}).json()
        assert set(made) == {"api_key", "name", "power"}
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made["api_key"])
        assert (made["name"], made["power"]) == ("north", 1_000_000)
        again = call("POST /sites", body={"name": "north"}).json()
        assert again["api_key"] != made["api_key"]

        key = made["api_key"]
        assert call("GET /sites", key).json() == made
        assert call("GET /inventory").json() == {
            "miners": {
                "air": {"hashrate": 1000, "power": 3500},
                "hydro": {"hashrate": 5000, "power": 5000},
                "immersion": {"hashrate": 10000, "power": 10000},
            },
            "inference": {"asic": {"tokens": 50000, "power": 15000}, "gpu": {"tokens": 1000, "power": 5000}},
        }
        put = call("PUT /machines", key, ZEROS | {"hydro_miners": "7", "asic_miners": 10}).json()  # their own example's field
        assert {name: put[name] for name in CLASSES} == ZEROS | {"hydro_miners": 7}
        assert set(put) == {*CLASSES, "id", "site_id", "updated_at"}
        assert re.fullmatch(r"2025-06-21T12:00:00\.\d{6}", put["updated_at"])
        state = call("GET /machines", key).json()
        assert set(state) - set(put) == {"power", "revenue", "total_power_used", "total_power_cost", "total_revenue"}
        assert (put["site_id"], state["site_id"]) == (1, 0)
        other = call("GET /machines", again["api_key"]).json()
        assert {name: other[name] for name in CLASSES} == ZEROS


def test_rows_come_with_the_clock_and_the_state_follows_the_newest() -> None:
    rows, clock = walk(20), ManualClock(START, speed=300.0)
    with calling(rows, clock=clock, history=3) as call:
        key = call.key()
        call("PUT /machines", key, ZEROS | {"gpu_compute": 1})
        for passed in (0.0, 0.5, 1.0, 2.99, 3.0, 10.0):
            clock.at = START + timedelta(seconds=300.0 * passed)
            count = max(3, math.floor(passed) + 1)
            assert call("GET /prices").json() == [entry(row) for row in rows[:count]][::-1]
            assert call("GET /machines", key).json()["total_revenue"] == 1000 * rows[count - 1].token
        clock.at = START + timedelta(days=1)
        assert call("GET /prices").json() == [entry(row) for row in rows][::-1]  # a recording stands still at its end


@pytest.mark.parametrize("feed", ["mara_event", "ercot"])
def test_a_drawn_feed_has_no_end_and_never_changes_its_past(feed: Any) -> None:
    asked: list[int] = []

    def source(count: int) -> list[PriceRow]:
        asked.append(count)
        return generate_rows(feed, 3, count)

    rows = Rows(source)
    early = [rows[i] for i in range(rows.visible(START + 1000 * TICK))]
    assert len(early) == 1001
    assert rows.visible(START + 5000 * TICK) == 5001
    assert [rows[i] for i in range(1001)] == early
    assert len(asked) == 2  # it is not asked row by row
    assert rows.visible(START + 5000 * TICK) == 5001
    assert len(asked) == 2


def test_every_answer_tells_speed_and_date() -> None:
    clock = ManualClock(START + timedelta(seconds=7), speed=60.0)
    with calling(clock=clock, date_skew_s=90.0) as call:
        for endpoint in ("GET /prices", "GET /machines", "GET /nothing", "DELETE /sites", "GET /", "GET /docs", "POST /sites"):
            answer = call(endpoint)
            assert answer.headers["X-Stand-In-Speed"] == "60.0"
            assert parsedate_to_datetime(answer.headers["Date"]) == START + timedelta(seconds=97)


def test_the_clock_of_a_server_starts_at_the_last_row_of_the_history() -> None:
    clock = SystemClock(50_000.0)
    app = create_app(StandInOptions(history=10), walk(400), clock)
    assert clock.now() >= START + 9 * TICK
    assert app.state.stand_in.newest.at >= START + 9 * TICK


# The cap.

WHOLE = st.integers(0, 400)


@given(inventory=st.sampled_from(["documented", "live"]), counts=st.tuples(WHOLE, WHOLE, WHOLE, WHOLE, WHOLE))
def test_the_power_itself_is_allowed_and_a_watt_more_is_not(inventory: str, counts: tuple[int, ...]) -> None:
    power = sum(n * kind.power for n, kind in zip(counts, INVENTORIES[inventory].types, strict=True))  # type: ignore[index]
    body = dict(zip(CLASSES, counts, strict=True))
    with calling(inventory=inventory, power_w=max(1, power)) as call:
        key = call.key()
        assert call("PUT /machines", key, body).status_code == 200
        assert call("GET /machines", key).json()["total_power_used"] == power
    if power > 1:
        with calling(inventory=inventory, power_w=power - 1) as call:
            key = call.key()
            assert call("PUT /machines", key, body).status_code == 400
            assert call("GET /machines", key).json()["total_power_used"] == 0
            assert call.stand_in.sites.puts == []


def test_a_refused_command_leaves_everything_as_it_was() -> None:
    with calling(over_cap_status=409) as call:
        key = call.key()
        call("PUT /machines", key, ZEROS | {"hydro_miners": 200})
        before = call("GET /machines", key).json()
        assert call("PUT /machines", key, {"air_miners": 1}).status_code == 409
        assert call("PUT /machines", key, {"hydro_miners": 201}).status_code == 409
        assert call("PUT /machines", key, {"hydro_miners": 1, "air_miners": -1}).status_code == 422
        assert call("GET /machines", key).json() == before
        assert [put.power_w for put in call.stand_in.sites.puts] == [1_000_000]


@pytest.mark.parametrize(
    "value", [-1, 1.5, True, False, None, "", " 7", "7.0", "-7", "+7", "seven", "٧", [], {}, 1e300, math.nan, math.inf, "9" * 30]
)
def test_what_is_no_count_is_refused(value: Any) -> None:
    with calling() as call:
        key = call.key()
        answer = call("PUT /machines", key, content=json.dumps({"air_miners": value}).encode())
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("body.air_miners: ")
        assert call.stand_in.sites.puts == []


@pytest.mark.parametrize("value", [7, 7.0, "7", "007"])
def test_what_is_a_count_is_taken(value: Any) -> None:
    with calling() as call:
        assert call("PUT /machines", call.key(), {"air_miners": value}).json()["air_miners"] == 7


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"7", b'"x"', b"\xff", b"[" * 100_000, b'{"air_miners": 1' + b"0" * 5000 + b"}"]
)
def test_a_body_that_is_none_is_refused(content: bytes) -> None:
    with calling() as call:
        for endpoint in ("PUT /machines", "POST /sites"):
            status = call(endpoint, call.key(), content=content).status_code
            assert status == 422


def test_an_absurd_number_of_machines_is_over_the_cap() -> None:
    with calling() as call:
        assert call("PUT /machines", call.key(), {"air_miners": 10**400}).status_code == 400


# Switches: the same calls with and without, and what differs.


def site(call: Caller) -> Any:
    return call("GET /sites", call.key()).json()


def first_state(call: Caller) -> tuple[int, Any]:
    answer = call("GET /machines", call.key())
    return answer.status_code, answer.json()


def after_partial_put(call: Caller) -> Any:
    key = call.key()
    call("PUT /machines", key, {"air_miners": 3, "gpu_compute": 4})
    answer = call("PUT /machines", key, {"air_miners": 5}).json()
    return int(answer["air_miners"]), int(answer["gpu_compute"])


def over_cap(call: Caller) -> httpx2.Response:
    return call("PUT /machines", call.key(), {"hydro_miners": 201})


def unauthorised(call: Caller) -> list[int]:
    calls = [call("GET /machines"), call("GET /machines", "nobody"), call("PUT /machines", "", ZEROS), call("GET /sites")]
    return [answer.status_code for answer in calls]


def times(call: Caller) -> list[str]:
    return [row["timestamp"] for row in call("GET /prices").json()]


def updated_at(call: Caller) -> str:
    return str(call("PUT /machines", call.key(), ZEROS).json()["updated_at"])


STAMPS = [f"2025-06-21T12:{minute:02}:00" for minute in (0, 5, 10)]

SWITCHES: list[tuple[str, Any, Any, Any]] = [
    # option, value, what is looked at, what is seen
    ("register_status", 200, lambda call: call("POST /sites", body={"name": "x"}).status_code, 200),
    ("register_status", 201, lambda call: call("POST /sites", body={"name": "x"}).status_code, 201),
    ("put_status", 202, lambda call: call("PUT /machines", call.key(), ZEROS).status_code, 202),
    ("sites_shape", "object", lambda call: site(call)["power"], 1_000_000),
    ("sites_shape", "list", lambda call: site(call)[0]["power"], 1_000_000),
    ("sites_shape", "wrapped", lambda call: site(call)["site"]["power"], 1_000_000),
    ("sites_with_key", True, lambda call: set(site(call)), {"api_key", "name", "power"}),
    ("sites_with_key", False, lambda call: set(site(call)), {"name", "power"}),
    ("sites_with_key", False, lambda call: "api_key" in call("POST /sites", body={"name": "x"}).json(), True),
    ("power_w", 5000, lambda call: site(call)["power"], 5000),
    ("inventory", "live", lambda call: call("GET /inventory").json()["miners"]["hydro"]["hashrate"], 10_000),
    ("inventory", "documented", lambda call: call("GET /inventory").json()["miners"]["hydro"]["hashrate"], 5000),
    ("omitted", "keep", after_partial_put, (5, 4)),
    ("omitted", "reset", after_partial_put, (5, 0)),
    ("over_cap_status", 403, lambda call: over_cap(call).status_code, 403),
    ("over_cap_shape", "text", lambda call: over_cap(call).text, "the machines draw more than the site's 1000000 W"),
    ("over_cap_shape", "nested", lambda call: set(over_cap(call).json()["error"]), {"message"}),
    ("error_shape", "text", lambda call: set(over_cap(call).json()), {"detail"}),
    ("wrong_type_status", 400, lambda call: call("PUT /machines", call.key(), {"air_miners": "x"}).status_code, 400),
    ("wrong_type_status", 400, lambda call: call("POST /sites", body={}).status_code, 400),
    ("unauthorised_status", 401, unauthorised, [401] * 4),
    ("unauthorised_status", 403, unauthorised, [403] * 4),
    ("numeric_strings", True, lambda call: call("PUT /machines", call.key(), {"air_miners": "1"}).status_code, 200),
    ("numeric_strings", False, lambda call: call("PUT /machines", call.key(), {"air_miners": "1"}).status_code, 422),
    ("numeric_strings", False, lambda call: call("PUT /machines", call.key(), {"air_miners": 1}).status_code, 200),
    ("unknown_fields", "ignore", lambda call: call("PUT /machines", call.key(), {"asic_miners": 10}).status_code, 200),
    ("unknown_fields", "refuse", lambda call: call("PUT /machines", call.key(), {"asic_miners": 10}).status_code, 422),
    ("before_first_put", "zeros", lambda call: first_state(call)[1]["total_power_used"], 0),
    ("before_first_put", "not_found", lambda call: first_state(call)[0], 404),
    ("before_first_put", "nothing", first_state, (200, None)),
    ("before_first_put", "empty_object", first_state, (200, {})),
    ("before_first_put", "null_fields", first_state, (200, dict.fromkeys(CLASSES))),
    ("before_first_put", "not_found", after_partial_put, (5, 4)),
    ("history", 3, lambda call: len(times(call)), 3),
    ("row_delay_s", 26.0, lambda call: (len(times(call)), call.clock.advance(300.0), len(times(call))), (1, None, 1)),
    ("row_delay_s", 26.0, lambda call: (call.clock.advance(326.0), len(times(call))), (None, 2)),
    ("trailing_z", False, lambda call: (times(call)[0], updated_at(call)), ("2025-06-21T12:00:00", "2025-06-21T12:00:00.000000")),
    ("trailing_z", True, lambda call: (times(call)[0], updated_at(call)), ("2025-06-21T12:00:00Z", "2025-06-21T12:00:00.000000Z")),
    ("row_skew_s", -90.0, times, ["2025-06-21T11:58:30"]),
    ("date_skew_s", 30.0, lambda call: call("GET /prices").headers["date"], "Sat, 21 Jun 2025 12:00:30 GMT"),
    ("numbers_as_strings", True, lambda call: call("GET /prices").json()[0]["energy_price"], "3.0"),
    ("numbers_as_strings", True, lambda call: site(call)["power"], "1000000"),
    ("numbers_as_strings", True, lambda call: call("GET /inventory").json()["inference"]["gpu"]["tokens"], "1000"),
    ("numbers_as_strings", True, lambda call: first_state(call)[1]["revenue"]["air_miners"], "0.0"),
    ("numbers_as_strings", True, after_partial_put, (5, 4)),
    (
        "extra_fields",
        False,
        lambda call: set(call("GET /prices").json()[0]),
        {"energy_price", "hash_price", "token_price", "timestamp"},
    ),
    ("extra_fields", True, lambda call: "hint" in call("GET /prices").json()[0], True),
    ("extra_fields", True, lambda call: "hint" in call("GET /inventory").json()["miners"], True),
    ("extra_fields", True, lambda call: "hint" in first_state(call)[1]["power"], True),
]


@pytest.mark.parametrize(("option", "value", "look", "seen"), SWITCHES)
def test_a_switch_changes_what_it_says(option: str, value: Any, look: Any, seen: Any) -> None:
    with calling(**{option: value}) as call:
        assert look(call) == seen


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"order": "newest_first"}, STAMPS[::-1]),
        ({"order": "oldest_first"}, STAMPS),
        ({"keep_rows": 2}, STAMPS[:0:-1]),
        ({"keep_rows": 2, "order": "oldest_first"}, STAMPS[1:]),
        ({"keep_rows": 9}, STAMPS[::-1]),
    ],
)
def test_order_and_length_of_the_history(options: dict[str, Any], seen: list[str]) -> None:
    with calling(history=3, **options) as call:
        assert times(call) == seen


@pytest.mark.parametrize("shape", get_args(ErrorShape))
def test_refusals_have_the_shape_that_was_chosen(shape: Any) -> None:
    with calling(error_shape=shape) as call:
        for endpoint in ("GET /machines", "POST /sites", "GET /nothing", "DELETE /sites"):
            answer = call(endpoint)
            assert answer.status_code in (401, 404, 405, 422)
            model = ERRORS[shape]
            if model is not None:
                assert model.model_validate_json(answer.content).model_dump() == answer.json()
            elif shape == "empty":
                assert answer.content == b""
            else:
                assert answer.headers["content-type"] == "text/plain; charset=utf-8"
                assert answer.text
        assert call("DELETE /sites").headers["allow"]


def test_every_option_is_tested_here_and_explained() -> None:
    tested = {option for option, *_ in SWITCHES} | {"order", "keep_rows"}
    assert tested == set(StandInOptions.model_fields)
    told = describe_options()
    for name, field in StandInOptions.model_fields.items():
        assert f"\n{name}=" in f"\n{told}"
        assert field.description
        assert field.description in told


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"register_status": 202}, "register_status is 202, expected 200, 201"),
        ({"order": "random"}, "order is 'random', expected newest_first, oldest_first"),
        ({"power": 5}, "unknown option 'power'; did you mean power_w?"),
        ({"xyzzy": 5}, "unknown option 'xyzzy'; --list-options names them all"),
        ({"power_w": 0, "history": "x"}, "power_w is 0, expected a whole number above 0; history is 'x', expected a whole number above 0"),
        ({"keep_rows": "all"}, "keep_rows is 'all', expected a whole number above 0 or null"),
        ({"over_cap_status": 200}, "over_cap_status is 200, expected a whole number from 400 to 499"),
        ({"trailing_z": "perhaps"}, "trailing_z is 'perhaps', expected true or false"),
        ({"row_skew_s": math.nan}, "row_skew_s is nan, expected a number from -1e+09 to 1e+09"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told_in_a_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(values)
    assert str(caught.value) == message


def test_a_feed_that_is_too_short_is_refused() -> None:
    with pytest.raises(LiveError, match="the feed has 2 rows, expected at least history=3"):
        create_app(StandInOptions(history=3), walk(2), ManualClock())


# Pages and sockets.


def test_pages_tell_everything_and_ask_nobody() -> None:
    with calling(history=4, over_cap_status=418) as call:
        home, docs = call("GET /").text, call("GET /docs").text
        document = call("GET /openapi.json").json()
    assert "2025-06-21T12:15:00 UTC" in home
    for page in (home, docs):
        assert not re.search(r"""(src|href)=["'](?!data:|/[a-z]|/["'])""", page)
        assert "://" not in page
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in docs
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == {
        ("/sites", "post"), ("/sites", "get"), ("/prices", "get"), ("/inventory", "get"), ("/machines", "put"), ("/machines", "get"),
    }  # fmt: skip
    for words in ("418: More power than the site has", "&quot;total_power_cost&quot;: number", "over_cap_status"):
        assert words in docs


def test_over_a_socket_it_is_the_same() -> None:
    rows = walk(5)
    app = create_app(StandInOptions(history=2), rows, ManualClock(START))
    with served(app) as url, httpx2.Client(base_url=url) as http:
        answer = http.get("/prices")
        assert answer.json() == [entry(row) for row in rows[:2]][::-1]
        assert parse_time(answer.json()[0]["timestamp"]) == START + TICK
        assert answer.headers["X-Stand-In-Speed"] == "1.0"
        assert answer.headers.get_list("date") == ["Sat, 21 Jun 2025 12:00:00 GMT"]
        assert "server" not in answer.headers
