"""The client understands the stand-in, whatever the API turns out to be like."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gridpilot.errors import RefusedError, UnavailableError, UnknownOutcomeError
from gridpilot.live.accepted_rows import AcceptedRows
from gridpilot.live.api import INVENTORIES
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import ManualClock
from gridpilot.live.config import Timing
from gridpilot.live.stand_in.app import create_app
from gridpilot.live.stand_in.options import StandInOptions
from tests.live.stand_ins import rules
from tests.live.worlds import START, risk, walk

CHOICES: list[dict[str, Any]] = [
    {},
    *({"before_first_put": value} for value in ("zeros", "not_found", "nothing", "empty_object", "null_fields")),
    *({"sites_shape": value, "sites_with_key": key} for value in ("object", "list", "wrapped") for key in (True, False)),
    *({"over_cap_status": status} for status in (400, 403, 409, 422)),
    *({"over_cap_shape": shape, "error_shape": shape} for shape in ("detail_list", "error", "nested", "text", "empty")),
    *({"put_status": status, "register_status": 201} for status in (201, 202)),
    {"unauthorised_status": 403},
    {"omitted": "reset", "unknown_fields": "refuse", "numeric_strings": False, "wrong_type_status": 400},
    {"numbers_as_strings": True, "trailing_z": True, "extra_fields": True},
    {"order": "oldest_first"},
    {"keep_rows": 4},
    {"date_skew_s": 90.0},
]


def client_of(app: Any, clock: ManualClock, *keys: Any) -> MaraClient:
    return MaraClient("http://127.0.0.1", keys, timing=Timing.of(1.0), clock=clock, transport=httpx2.ASGITransport(app))


@pytest.mark.parametrize("choice", CHOICES, ids=repr)
def test_the_client_understands_every_choice(choice: dict[str, Any]) -> None:
    rows, clock = walk(12), ManualClock(START, speed=300.0)
    app = create_app(StandInOptions(history=12, inventory="live", **choice), rows, clock)
    with client_of(app, clock) as client:
        key, name, power = client.register("north")
        assert (name, power) == ("north", 1_000_000)
    with client_of(app, clock, key) as client:
        assert client.inventory() == INVENTORIES["live"]
        assert client.site_power_w(0) == 1_000_000
        assert client.machines(0).counts == (0, 0, 0, 0, 0)
        read = AcceptedRows(risk(), 100).merge(client.prices(), START + timedelta(hours=2))
        assert read.accepted == tuple(rows[-choice.get("keep_rows", 12) :])
        assert read.refused == ()
        assert client.set_machines(0, (1, 2, 3, 4, 5)) == (1, 2, 3, 4, 5)
        assert client.set_machines(0, (0, 200, 0, 0, 0)) == (0, 200, 0, 0, 0)
        with pytest.raises(RefusedError):
            client.set_machines(0, (1, 200, 0, 0, 0))
        report = client.machines(0)
        assert (report.counts, report.power_w) == ((0, 200, 0, 0, 0), 1_000_000)
        assert report.revenue == pytest.approx(2_000_000 * rows[-1].hash, rel=1e-12)
        assert report.cost == pytest.approx(1_000_000 * rows[-1].energy, rel=1e-12)
        assert client.speed() == 300.0
        assert client.skew == timedelta(seconds=choice.get("date_skew_s", 0.0))


@pytest.mark.parametrize(
    ("fault", "error", "applied"),
    [
        ("lost_answer", UnknownOutcomeError, True),
        ("drop", UnknownOutcomeError, False),
        ("truncated_json", UnknownOutcomeError, True),
        ("junk_html", UnknownOutcomeError, True),
        ({"status": 500}, UnknownOutcomeError, False),
        ({"status": 502, "applied": True}, UnknownOutcomeError, True),
        ({"status": 429, "retry_after": 2}, UnavailableError, False),
        ({"status": 418}, RefusedError, False),
    ],
)
def test_the_client_knows_what_it_does_not_know(fault: Any, error: type[Exception], applied: bool) -> None:
    clock = ManualClock(START)
    app = create_app(StandInOptions(), walk(3), clock, rules({"when": {"endpoint": "PUT /machines"}, "fault": fault}))
    with client_of(app, clock) as client:
        key, _, _ = client.register("north")
    with client_of(app, clock, key) as client:
        with pytest.raises(error):
            client.set_machines(0, (1, 0, 0, 0, 0))
        assert len(app.state.stand_in.sites.puts) == applied
