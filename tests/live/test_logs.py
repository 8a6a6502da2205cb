"""Logs: lines of JSON or of text, levels, and no key in any of them."""

from __future__ import annotations

import functools
import io
import json
import logging
import math
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import stamina
import stamina.instrumentation
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr

from gridpilot.errors import ConfigError, RefusedError
from gridpilot.live.logs import EVENTS, REDACTED, Redaction, configure, log_cycle, log_event, printable
from tests.live.reports import report, rough_run

KEY = "6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _stamina_as_it_was() -> Any:
    hooks = stamina.instrumentation.get_on_retry_hooks()
    yield
    stamina.instrumentation.set_on_retry_hooks(hooks)


def logged(*, terminal: bool = False, **fields: Any) -> str:
    stream = Terminal() if terminal else io.StringIO()
    configure("DEBUG", stream).info("event", **fields)
    return stream.getvalue()


class Opaque:
    def __repr__(self) -> str:
        return f"<client with {KEY}>"


LEAKS: dict[str, dict[str, Any]] = {
    "field": {"message": f"key {KEY} refused"},
    "upper case": {"message": KEY.upper()},
    "no hyphens": {"message": f"at /{KEY.replace('-', '')}/x"},
    "two of them": {"keyring": f"{KEY},{KEY}", "message": f"{KEY},{KEY}"},
    "named": {"api_key": "hunter2"},
    "named otherwise": {"X-Api-Key": "hunter2", "clientSecret": "hunter2", "access_token": "hunter2", "password": "hunter2"},
    "token as text": {"token": "hunter2"},
    "nested": {"config": {"sites": [{"name": "a", "auth": {"api_key": "hunter2"}}, (KEY, {KEY})]}},
    "a name that is a key": {"states": {KEY: "applied"}},
    "bytes": {"body": f'{{"api_key": "{KEY}"}}'.encode()},
    "SecretStr": {"value": SecretStr("hunter2"), "many": [SecretStr("hunter2"), SecretBytes(b"hunter2")]},
    "header in text": {"message": "sent X-Api-Key: hunter2 and Authorization: Bearer hunter2"},
    "header in a repr": {"message": "{'x-api-key': 'hunter2'} [(b'X-Api-Key', b'hunter2')]"},
    "environment in text": {"message": "MARA_API_KEY=hunter2"},
    "exception": {"error": RefusedError(f"401 for {KEY}", status=401)},
    "uuid object": {"site": uuid.UUID(KEY)},
    "object": {"client": Opaque()},
    "deep": {"a": functools.reduce(lambda inner, _: {"a": inner}, range(30), KEY)},
}


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("name", LEAKS)
def test_no_key_is_logged(name: str, terminal: bool) -> None:
    text = logged(terminal=terminal, **LEAKS[name])
    assert REDACTED in text
    for secret in (KEY, KEY.upper(), KEY.replace("-", ""), "hunter2"):
        assert secret not in text


@pytest.mark.parametrize("terminal", [False, True])
def test_no_key_is_logged_with_a_traceback_or_in_the_event_itself(terminal: bool) -> None:
    stream = Terminal() if terminal else io.StringIO()
    log = configure("DEBUG", stream)
    local = KEY  # the pretty tracebacks would show it

    def fail() -> None:
        key = local + "!"
        try:
            raise ValueError(f"bad {key}")
        except ValueError as error:
            raise RefusedError(f"401 for {key}", status=401) from error

    try:
        fail()
    except RefusedError:
        log.exception(f"failed with {local}")
    text = stream.getvalue()
    assert "Traceback" in text
    assert text.count(REDACTED) >= 3
    assert KEY not in text


def test_secrets_that_look_like_nothing_are_struck_out_where_they_are_known() -> None:
    stream = io.StringIO()
    log = configure("INFO", stream, secrets=[SecretStr("hunter2"), SecretStr("hunter22"), SecretStr("")])
    log.info("got hunter22", where=["in hunter2", {"hunter2": 1}])
    assert json.loads(stream.getvalue())["event"] == f"got {REDACTED}"
    assert "hunter2" not in stream.getvalue()
    assert "hunter2" not in repr(Redaction([SecretStr("hunter2")]))


def test_bound_values_are_redacted_too() -> None:
    stream = io.StringIO()
    configure("INFO", stream).bind(site=KEY).info("event")
    assert json.loads(stream.getvalue())["site"] == REDACTED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(KEY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just(KEY), inner, max_size=3),
    max_leaves=20,
)


@given(json_values)
def test_whatever_is_logged_is_one_line_of_json_without_a_key(value: Any) -> None:
    stream = io.StringIO()
    structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[Redaction(), structlog.processors.JSONRenderer()],
        wrapper_class=structlog.BoundLogger,
    ).info("event", value=value)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    json.loads(lines[0], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert KEY not in lines[0]


def test_prices_of_tokens_and_ordinary_values_are_left_alone() -> None:
    fields = {
        "token": 1.57, "token_price": 2.0, "tokens": 5000, "prices": {"energy": 3.0, "hash": 4.0, "token": 2.0}, "flag": True,
        "nothing": None, "digest": 64 * "a", "counts": [0, 200, 0, 0, 0], "path": "/sites/12345678",
    }  # fmt: skip
    body = json.loads(logged(**fields))
    assert {name: body[name] for name in fields} == fields


def test_what_json_has_no_word_for() -> None:
    body = json.loads(logged(nan=math.nan, inf=[math.inf], at=datetime(2025, 6, 21, 12, tzinfo=UTC), several={1}, kind=int))
    assert (body["nan"], body["inf"], body["at"], body["several"]) == ("nan", ["inf"], "2025-06-21T12:00:00+00:00", [1])


def test_lines_are_json_with_level_and_utc_time() -> None:
    body = json.loads(logged(number=1))
    assert (body["event"], body["level"], body["number"]) == ("event", "info", 1)
    assert datetime.fromisoformat(body["timestamp"]).utcoffset() == datetime.now(UTC).utcoffset()


def test_a_terminal_gets_readable_lines_that_cannot_steer_it() -> None:
    stream = Terminal()
    configure("INFO", stream).info("lost\x1b[2J\nit", message="gone\x1b[2J\nnow", several=["\x1b[2J"], reason="agent")
    text = stream.getvalue()
    assert r"lost\x1b[2J\nit" in text
    assert r"gone\x1b[2J\nnow" in text
    assert "\x1b[2J" not in text
    assert "{" not in text
    assert len(text.splitlines()) == 1


def test_printable_leaves_text_alone() -> None:
    assert printable("größer ≥ 3, 漢字") == "größer ≥ 3, 漢字"


LEVELS = ("debug", "info", "warning", "error")


@pytest.mark.parametrize(
    ("level", "environment", "table", "first"),
    [
        (None, None, False, "info"),
        (None, "", False, "info"),
        (None, "debug", False, "debug"),
        (None, "ERROR", False, "error"),
        ("warning", "DEBUG", False, "warning"),
        (None, "DEBUG", True, "warning"),
        (None, None, True, "warning"),
        ("ERROR", None, True, "error"),
    ],
)
def test_levels(level: str | None, environment: str | None, table: bool, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if environment is not None:
        monkeypatch.setenv("LOG_LEVEL", environment)
    stream = io.StringIO()
    log = configure(level, stream, table=table)
    for name in LEVELS:
        getattr(log, name)("event")
    written = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    assert written == list(LEVELS[LEVELS.index(first) :])


def test_a_level_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(ConfigError, match=r"^LOG_LEVEL is 'LOUD', expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL$"):
        configure(None, io.StringIO())
    with pytest.raises(ConfigError, match=r"^log level is 'loud', expected"):
        configure("loud", io.StringIO())


def test_the_hosts_logging_is_not_touched(capsys: pytest.CaptureFixture[str]) -> None:
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    configure("DEBUG", io.StringIO()).info("event")
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
    assert not structlog.is_configured()
    assert capsys.readouterr() == ("", "")


def test_without_a_stream_lines_go_to_stderr_as_it_is_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = configure("INFO")
    later = io.StringIO()
    log.info("first")
    monkeypatch.setattr("sys.stderr", later)
    log.info("second")
    assert json.loads(later.getvalue())["event"] == "second"
    assert json.loads(capsys.readouterr().err)["event"] == "first"


def test_a_reader_that_has_gone_does_not_stop_the_engine() -> None:
    configure("INFO", Broken()).error("event")


def test_retries_are_logged_here_and_without_their_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure("DEBUG", stream)
    failures = iter([OSError(f"reset by {KEY}"), None])

    @stamina.retry(on=OSError, attempts=2, wait_initial=0.0, wait_jitter=0.0)
    def call(api_key: str) -> None:
        if (failure := next(failures)) is not None:
            raise failure

    call(api_key="hunter2")
    body = json.loads(stream.getvalue())
    assert (body["event"], body["number"], body["cause"]) == ("retry", 1, f"OSError: reset by {REDACTED}")
    assert "hunter2" not in stream.getvalue()
    assert capsys.readouterr() == ("", "")


def test_a_cycle_is_a_line_with_everything_in_it() -> None:
    stream = io.StringIO()
    each = report(3, counts=((1, 2, 3, 4, 5), (0, 0, 0, 0, 7)), fresh=2)
    log_cycle(configure("INFO", stream), each)
    body = json.loads(stream.getvalue())
    del body["timestamp"]
    assert body == {
        "event": "cycle", "level": "info", "at": "2025-06-21T12:15:00", "mode": "live", "kind": "row", "reason": "agent", "causes": [],
        "status": "applied", "prices": dict(zip(("energy", "hash", "token"), each.prices, strict=True)),
        "counts": {"air_miners": [1, 0], "hydro_miners": [2, 0], "immersion_miners": [3, 0], "gpu_compute": [4, 0], "asic_compute": [5, 7]},
        "power_w": each.power_w, "cap_w": each.cap_w, "profit": each.profit, "best": each.alternatives["best"], "attempts": 1,
        "latency": 0.012, "fresh": 2, "ticks": 3,
    }  # fmt: skip


def test_a_cycle_that_is_not_clean_is_a_warning() -> None:
    stream = io.StringIO()
    log = configure("WARNING", stream)
    for each in rough_run():
        log_cycle(log, each)
    marks = [json.loads(line)["at"][11:16] for line in stream.getvalue().splitlines()]
    assert marks == ["12:40", "12:45", "12:50", "12:55", "13:00"]  # not 13:05, the halt that was carried out


@pytest.mark.parametrize("event", EVENTS)
def test_events_have_their_levels(event: str) -> None:
    stream = io.StringIO()
    log_event(configure("DEBUG", stream), event, why="because")
    body = json.loads(stream.getvalue())
    assert (body["event"], body["level"], body["why"]) == (event, EVENTS[event], "because")


def test_an_event_there_is_not() -> None:
    with pytest.raises(KeyError):
        log_event(configure("DEBUG", io.StringIO()), "exploded")
