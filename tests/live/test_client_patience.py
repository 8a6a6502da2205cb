from __future__ import annotations

import asyncio

import httpx2
import pytest

from gridpilot.errors import RefusedError, UnavailableError, UnknownOutcomeError
from gridpilot.live.clock import ManualClock
from tests.live.clients import COUNTS, FIELDS, ROW, URL, Calls, Handler, always, in_turn, made_up, timing


@pytest.mark.parametrize(
    "bad",
    [
        always(500),
        always(429),
        always(302, Location=URL),
        always(raw=b"<html>"),
        always(raw=b"[{"),
        always(raw=b"[]", Content_Encoding="br"),
    ],
)  # fmt: skip
def test_a_reading_is_repeated_until_it_is_good(bad: Handler) -> None:
    calls = Calls()
    with made_up(in_turn(bad, bad, always(body=[ROW])), observer=calls) as client:
        assert client.prices() == [ROW]
    assert len(calls) == 3
    assert calls.results[-1] == "200"


def test_a_reading_is_given_up_after_its_attempts() -> None:
    calls = Calls()
    with (
        made_up(always(502), observer=calls, timing=timing(attempts=4)) as client,
        pytest.raises(UnavailableError, match="status 502"),
    ):
        client.prices()
    assert calls == [("GET /prices", "502")] * 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refused_reading_is_not_repeated(status: int) -> None:
    calls = Calls()
    with made_up(always(status), observer=calls) as client, pytest.raises(RefusedError) as caught:
        client.site_power_w(0)
    assert (caught.value.status, len(calls)) == (status, 1)


def test_a_reading_has_one_budget_for_all_its_attempts() -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0.35)
        return httpx2.Response(500)

    calls = Calls()
    with made_up(answer, observer=calls, timing=timing(timeout=0.5)) as client, pytest.raises(UnavailableError):
        client.prices()
    # On a machine that has nothing else to do: 500, 500, timeout. The third has what is left of twice 0.5 s, less than it would need.
    assert len(calls) < 3 or calls.results[-1] == "timeout"


def test_a_server_that_is_left_alone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_waiting(_: float) -> None:
        raise AssertionError("nobody should wait here")

    monkeypatch.setattr("asyncio.sleep", no_waiting)
    with made_up(always(500), requests_per_tick=10, timing=timing(attempts=1)) as client:
        for _ in range(8):
            with pytest.raises(UnavailableError, match="status 500"):
                client.prices()
        client.timing = timing(attempts=3)
        with pytest.raises(UnavailableError, match="calls in this tick are enough"):
            client.prices()
    with made_up(always(500), timing=timing(attempts=1, breaker_failures=1)) as client:
        with pytest.raises(UnavailableError, match="status 500"):
            client.prices()
        client.timing = timing(attempts=3)
        with pytest.raises(UnavailableError, match="resting"):
            client.prices()


def test_nobody_calls_before_a_retry_after_has_passed() -> None:
    clock, calls = ManualClock(), Calls()
    answer = in_turn(always(429, Retry_After="40"), always(body=FIELDS))
    with made_up(answer, clock=clock, observer=calls, timing=timing(longest_wait=60.0)) as client:
        with pytest.raises(UnavailableError) as caught:
            client.set_machines(0, COUNTS)
        assert caught.value.retry_after == 40.0
        clock.advance(30.0)
        with pytest.raises(UnavailableError, match=r"another 10\.0 s") as caught:
            client.set_machines(0, COUNTS)
        assert caught.value.retry_after == 10.0
        with pytest.raises(UnavailableError, match=r"another 10\.0 s"):
            client.prices()
        assert len(calls) == 1
        clock.advance(10.0)
        assert client.set_machines(0, COUNTS) == COUNTS


def test_a_retry_after_is_not_believed_beyond_the_longest_wait() -> None:
    clock = ManualClock()
    answer = in_turn(always(503, Retry_After="1e9"), always(body=FIELDS))
    with made_up(answer, clock=clock, timing=timing(longest_wait=60.0)) as client:
        with pytest.raises(UnknownOutcomeError):
            client.set_machines(0, COUNTS)
        clock.advance(60.0)
        assert client.set_machines(0, COUNTS) == COUNTS


def test_a_short_retry_after_is_waited_for_within_a_reading() -> None:
    with made_up(in_turn(always(429, Retry_After="0"), always(503, Retry_After="0"), always(body=[ROW]))) as client:
        assert client.prices() == [ROW]


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("7", None, 7.0), ("0.5", None, 0.5), ("-3", None, 0.0),
        ("nan", None, None), ("inf", None, None), ("soon", None, None), ("", None, None),
        ("Sat, 21 Jun 2025 12:00:09 GMT", None, 9.0), ("Sat, 21 Jun 2025 11:00:00 GMT", None, 0.0),
        ("Sat, 21 Jun 2025 13:00:09 GMT", "Sat, 21 Jun 2025 13:00:00 GMT", 9.0), ("Sat, 99 Jun 2025 13:00:09 GMT", None, None),
    ],
)  # fmt: skip
def test_retry_after(value: str, date: str | None, seconds: float | None) -> None:
    headers = {"Retry_After": value} | ({} if date is None else {"Date": date})
    with made_up(always(429, **headers), timing=timing(attempts=1)) as client, pytest.raises(UnavailableError) as caught:
        client.prices()
    assert caught.value.retry_after == seconds


def test_a_server_that_fails_in_a_row_is_left_alone_for_a_while() -> None:
    clock, calls = ManualClock(), Calls()
    answer = in_turn(*[always(500)] * 6, always(body=[ROW]))
    with made_up(answer, clock=clock, observer=calls, timing=timing(attempts=3, breaker_failures=5, breaker_rest=30.0)) as client:
        with pytest.raises(UnavailableError, match="status 500"):
            client.prices()
        with pytest.raises(UnavailableError, match="resting"):
            client.prices()
        assert len(calls) == 5
        with pytest.raises(UnavailableError, match="resting for another 30"):
            client.set_machines(0, COUNTS)
        clock.advance(29.0)
        with pytest.raises(UnavailableError, match="resting") as caught:
            client.prices()
        assert caught.value.retry_after == pytest.approx(1.0)
        assert len(calls) == 5
        clock.advance(1.5)
        with pytest.raises(UnavailableError, match="resting"):  # one try, the sixth failure, and it rests again
            client.prices()
        assert len(calls) == 6
        clock.advance(31.0)
        assert client.prices() == [ROW]
        assert client.prices() == [ROW]


def test_a_rest_does_not_hang_on_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    with made_up(in_turn(always(500), always(body=[ROW])), clock=clock, timing=timing(attempts=1, breaker_failures=1)) as client:
        with pytest.raises(UnavailableError, match="status 500"):
            client.prices()
        monkeypatch.setattr("purgatory.domain.model.time.time", lambda: 0.0)  # set back by decades
        clock.advance(31.0)
        assert client.prices() == [ROW]


def test_refusals_are_no_failures_and_end_a_row_of_them() -> None:
    answer = in_turn(always(500), always(500), always(401), always(500), always(500), always(401))
    with made_up(answer, timing=timing(attempts=1, breaker_failures=3)) as client:
        for error in (UnavailableError, UnavailableError, RefusedError) * 2:
            with pytest.raises(error, match="status"):
                client.site_power_w(0)
        for _ in range(10):
            with pytest.raises(RefusedError):
                client.site_power_w(0)


def test_calls_a_tick_are_limited_and_the_last_are_for_machines() -> None:
    clock, calls = ManualClock(), Calls()

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=[] if request.url.path == "/prices" else FIELDS)

    with made_up(answer, clock=clock, observer=calls, requests_per_tick=10) as client:
        for _ in range(8):
            client.prices()
        with pytest.raises(UnavailableError, match="the last 2 for machines"):
            client.prices()
        client.set_machines(0, COUNTS)
        client.machines(0)
        with pytest.raises(UnavailableError, match="10 calls in this tick are enough"):
            client.set_machines(0, COUNTS)
        assert len(calls) == 10
        clock.advance(300.0)
        client.prices()
