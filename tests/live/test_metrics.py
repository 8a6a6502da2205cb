"""Metrics, the health endpoint, systemd's watchdog, and the files of docs/live that speak of them."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import itertools
import json
import math
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gridpilot.errors import LiveError
from gridpilot.live import metrics_server
from gridpilot.live.metrics import LABELS, Metrics, is_correct, notify
from gridpilot.live.metrics_server import MetricsServer
from tests.live.reports import CAP_W, START, earned, report, rough_run

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/live"
KEY = "6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"


class Wall:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def metrics(wall: Wall) -> Metrics:
    return Metrics(wall)


def fetch(port: int, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and body of a GET."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"gridpilot_live_{name}", labels)


def everything(metrics: Metrics, wall: Wall) -> None:
    """Call every method at least once."""
    for each in rough_run():
        metrics.cycle(each)
    metrics.called("PUT /machines", "200", 0.012)
    metrics.called("GET /prices", "timeout", 12.0)
    metrics.heartbeat(wall.seconds)
    metrics.feed(31.0)
    metrics.halted(True)
    metrics.drift(2)
    metrics.refused_row("price_nan")
    metrics.breaker(True)
    metrics.skew(-0.4)
    metrics.mismatch()
    metrics.alert("webhook", "sent")


def test_a_cycle_sets_the_gauges_and_counts(metrics: Metrics) -> None:
    row = report(3, (10, 2, 30, 4, 4), latency=0.02, fresh=2, causes=("agent_late",), reason="last_good")
    metrics.cycle(row)
    assert value(metrics, "decisions_total", kind="row", reason="last_good") == 1
    assert value(metrics, "decisions_total", kind="row", reason="agent") == 0  # there from the start, so that a rate can be taken
    assert value(metrics, "causes_total", cause="agent_late") == 1
    assert value(metrics, "outcomes_total", status="applied") == 1
    assert value(metrics, "price", product="hash") == 1.382032767339416
    assert value(metrics, "power_watts") == 396_662  # mara-api.md
    assert value(metrics, "cap_watts") == CAP_W
    assert value(metrics, "machines", site="1", **{"class": "immersion_miners"}) == 30
    assert value(metrics, "profit_dollars") == pytest.approx(286_501.9880028668 - 503_565.2995763775, rel=1e-9)
    assert value(metrics, "forgone_dollars") == pytest.approx(row.alternatives["best"] - row.profit)
    assert value(metrics, "availability_ratio") == pytest.approx(2 / 3)
    assert value(metrics, "row_timestamp_seconds") == START.timestamp() + 900
    assert value(metrics, "decision_latency_seconds_bucket", le="0.025") == 1
    assert value(metrics, "decision_latency_seconds_bucket", le="0.01") == 0
    assert value(metrics, "sending") == 1


def test_sums_hold_the_rows_that_took_effect_and_each_of_them_once(metrics: Metrics) -> None:
    counted = [report(1), report(2, (0, 100, 0, 0, 0)), report(3, status="shadow", mode="shadow", attempts=0, latency=0.0)]
    left_out = [
        report(2, reason="off", kind="halt"),  # the row has been counted
        report(4, kind="no_row"),
        report(5, kind="bad_row"),
        *(report(6, status=status) for status in ("refused", "unknown", "abandoned", "held")),
    ]
    for each in (*counted[:2], left_out[0], counted[2], *left_out[1:]):
        metrics.cycle(each)
    profit = sum(each.profit for each in counted)
    best = sum(each.alternatives["best"] for each in counted)
    assert value(metrics, "profit_since_start_dollars") == pytest.approx(profit)
    assert value(metrics, "forgone_since_start_dollars") == pytest.approx(best - profit)
    assert value(metrics, "decision_latency_seconds_count") == 9  # of ten cycles, one sent nothing
    assert value(metrics, "puts_total") == 9


def test_ticks_are_counted_from_the_reports_running_totals(metrics: Metrics) -> None:
    for ticks, fresh in [(1, 1), (2, 2), (5, 3), (5, 3), (6, 4)]:
        metrics.cycle(report(ticks, ticks=ticks, fresh=fresh))
    assert (value(metrics, "ticks_total"), value(metrics, "fresh_ticks_total")) == (6, 4)


def test_before_the_first_cycle_nothing_is_claimed(metrics: Metrics) -> None:
    for name in ("availability_ratio", "feed_age_seconds"):
        assert math.isnan(value(metrics, name) or 0.0)
    assert value(metrics, "profit_since_start_dollars") == 0


def test_registries_do_not_share_anything(wall: Wall) -> None:
    first, second = Metrics(wall), Metrics(wall)
    first.mismatch()
    assert (value(first, "mismatches_total"), value(second, "mismatches_total")) == (1, 0)


def test_no_label_is_unbounded_and_none_holds_a_key(metrics: Metrics) -> None:
    metrics.called(f"/sites/{KEY}", "200", 0.1)
    metrics.called(KEY.replace("-", ""), KEY, 0.1)
    metrics.refused_row("price is nan, expected\na number")
    for number in range(3 * LABELS):
        metrics.cycle(report(1, causes=(f"cause_{number}",)))
    text = exposition(metrics)
    assert KEY not in text
    assert KEY.replace("-", "") not in text
    assert value(metrics, "calls_total", endpoint="other", result="200") == 1
    assert value(metrics, "calls_total", endpoint="other", result="other") == 1
    assert value(metrics, "refused_rows_total", reason="other") == 1
    assert value(metrics, "causes_total", cause="other") == 2 * LABELS
    assert value(metrics, "causes_total", cause="cause_0") == 1


def exposition(metrics: Metrics) -> str:
    with MetricsServer(metrics, 0) as server:
        return fetch(server.port, "/metrics")[2]


def test_the_exposition_parses_and_follows_the_naming_rules(metrics: Metrics, wall: Wall) -> None:
    everything(metrics, wall)
    families = {family.name: family for family in text_string_to_metric_families(exposition(metrics))}
    ours = {name: family for name, family in families.items() if name.startswith("gridpilot_live_")}
    assert len(ours) > 30
    assert any(name.startswith("process_") for name in families) or sys.platform != "linux"
    for name, family in ours.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]+", name)
        assert family.documentation, name
        assert not re.search(r"_(ms|milliseconds|kw|kilowatts|percent|minutes)(_|$)", name), f"{name}: base units"


def test_openmetrics_is_spoken_where_it_is_asked_for(metrics: Metrics) -> None:
    with MetricsServer(metrics, 0) as server:
        status, kind, body = fetch(server.port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    assert kind.startswith("application/openmetrics-text")
    assert any(family.name == "gridpilot_live_decisions" for family in parse_openmetrics(body))


@pytest.mark.parametrize(
    ("changes", "correct"),
    [
        ({}, True),
        ({"reason": "off", "counts": ((0,) * 5,), "power_w": 0}, True),
        ({"status": "unknown"}, True),  # the venue's fault, which a restart would not mend
        ({"power_w": CAP_W}, True),
        ({"power_w": CAP_W + 1}, False),
        ({"counts": ((-1, 0, 0, 0, 0),)}, False),
        ({"counts": ((1, 0, 0, 0),)}, False),
        ({"counts": ()}, False),
        ({"earned": earned(1, 0.0, math.nan, shown=True)}, False),
    ],
)
def test_a_correct_cycle(changes: dict[str, Any], correct: bool) -> None:
    assert is_correct(report(1, **changes)) is correct


# what happens on the way, in order -> status, what speaks against ok
HEALTH = {
    "clean": (["feed", "cycle"], "ok", []),
    "shadow": (["feed", "shadow"], "ok", []),
    "just started": ([], "degraded", ["no_row"]),
    "no row yet": (["no feed", "cycle"], "degraded", ["no_row"]),
    "stale feed": (["stale", "cycle"], "degraded", ["stale_feed"]),
    "breaker": (["feed", "cycle", "breaker"], "degraded", ["breaker_open"]),
    "fallback": (["feed", "myopic"], "degraded", ["decided_by_myopic"]),
    "recovered": (["feed", "myopic", "cycle"], "ok", []),
    "lost command": (["feed", "unknown"], "degraded", ["command_unknown"]),
    "drift": (["feed", "cycle", "drift"], "degraded", ["drift"]),
    "halted": (["feed", "cycle", "halt"], "halted", ["halted"]),
    "halted, API away": (["feed", "cycle", "halt", "breaker"], "halted", ["halted", "breaker_open"]),
    "resumed": (["feed", "cycle", "halt", "resume", "cycle"], "ok", []),
    "no heartbeat": (["feed", "cycle", "wait 61"], "stuck", ["no_heartbeat"]),
    "at the limit": (["feed", "cycle", "wait 60"], "ok", []),
    "spins without deciding": (["feed", "cycle", *["wait 60", "beat"] * 4], "stuck", ["no_correct_cycle"]),
    "decides wrongly": (["feed", *["wait 60", "beat", "over the cap"] * 4], "stuck", ["no_correct_cycle"]),
    "decides, without a heartbeat": (["feed", "wait 61", "cycle"], "stuck", ["no_heartbeat"]),
    "never decided": ([*["wait 50", "beat"] * 5], "stuck", ["no_correct_cycle", "no_row"]),
    "stuck while halted": (["feed", "cycle", "halt", "wait 61"], "stuck", ["no_heartbeat", "halted"]),
}


@pytest.mark.parametrize("name", HEALTH)
def test_health(name: str, metrics: Metrics, wall: Wall) -> None:
    steps, status, why = HEALTH[name]
    for step in steps:
        match step.split(maxsplit=1):
            case ["wait", seconds]:
                wall.seconds += float(seconds)
            case ["beat"]:
                metrics.heartbeat(wall.seconds)
            case ["feed"]:
                metrics.feed(20.0)
            case ["no", "feed"]:
                metrics.feed(math.inf)
            case ["stale"]:
                metrics.feed(601.0)
            case ["cycle"]:
                metrics.cycle(report())
            case ["shadow"]:
                metrics.cycle(report(mode="shadow", status="shadow", attempts=0))
            case ["over", _]:
                metrics.cycle(report(power_w=CAP_W + 1))
            case ["myopic"]:
                metrics.cycle(report(reason="myopic", causes=("agent_error",)))
            case ["unknown"]:
                metrics.cycle(report(status="unknown"))
            case ["breaker"]:
                metrics.breaker(True)
            case ["drift"]:
                metrics.drift(1)
            case ["halt"]:
                metrics.halted(True)
                metrics.cycle(report(2, (0,) * 5, kind="halt", reason="off", causes=("halted",)))
            case ["resume"]:
                metrics.halted(False)
            case _:
                raise AssertionError(step)
    with MetricsServer(metrics, 0, heartbeat_limit=60.0, correct_limit=200.0) as server:
        code, kind, text = fetch(server.port, "/health")
    body = json.loads(text)
    assert (body["status"], body["why"]) == (status, why)
    assert code == (503 if status == "stuck" else 200)
    assert kind == "application/json"
    assert body["halted"] == ("halted" in why)
    assert body["heartbeat_age"] >= 0.0


def test_heartbeat_and_correct_cycle_age_on_their_own(metrics: Metrics, wall: Wall) -> None:
    metrics.cycle(report())
    wall.seconds += 40.0
    metrics.heartbeat(wall.seconds)
    wall.seconds += 2.0
    assert (value(metrics, "heartbeat_age_seconds"), value(metrics, "correct_age_seconds")) == (2.0, 42.0)


def test_other_paths_and_queries(metrics: Metrics) -> None:
    with MetricsServer(metrics, 0) as server:
        assert fetch(server.port, "/")[0] == 404
        assert fetch(server.port, "/health?verbose=1")[0] == 200


def test_a_port_that_is_taken_is_one_clear_line(metrics: Metrics) -> None:
    with MetricsServer(metrics, 0) as server, pytest.raises(LiveError) as caught:
        MetricsServer(metrics, server.port)
    assert str(caught.value) == (
        f"live.metrics_port is {server.port}: address already in use; expected a free port of 127.0.0.1, or 0 for any"
    )


def test_the_port_is_given_back_and_closing_twice_is_fine(metrics: Metrics) -> None:
    server = MetricsServer(metrics, 0)
    server.close()
    server.close()
    with MetricsServer(metrics, server.port) as again:
        assert again.port == server.port
        assert fetch(again.port, "/health")[0] == 200


def test_a_reader_that_goes_away_leaves_no_trace(metrics: Metrics, capfd: pytest.CaptureFixture[str]) -> None:
    with MetricsServer(metrics, 0) as server:
        for _ in range(5):
            reader = socket.create_connection(("127.0.0.1", server.port))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close with a reset
            reader.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            reader.close()
        assert fetch(server.port, "/health")[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(abstract: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if abstract and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    name = f"@gridpilot-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        systemd.settimeout(10.0)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        for state in ("READY=1", "WATCHDOG=1", "STOPPING=1"):
            assert notify(state)
            assert systemd.recv(64).decode() == state


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "vsock:2:1234", "/" + 200 * "x"])
def test_notify_where_nobody_listens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert notify("WATCHDOG=1") is False


# The dashboard, the alerts and the unit.

NOT_SHOWN: set[str] = set()  # metrics the dashboard leaves out on purpose


def sample_names(metrics: Metrics) -> set[str]:
    """Names of all series, as a query writes them."""
    return {sample.name for family in metrics.registry.collect() for sample in family.samples}


def queried(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:gridpilot_live|process)_\w+", expression))


@pytest.fixture
def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return content


def test_the_dashboard_asks_for_what_is_there_and_shows_all_of_it(dashboard: dict[str, Any], metrics: Metrics, wall: Wall) -> None:
    everything(metrics, wall)
    known = sample_names(metrics)
    asked = set()
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            names = queried(target["expr"])
            assert names, f"{panel['title']}: {target['expr']}"
            assert names <= known, f"{panel['title']}: {names - known}"
            asked |= names
    families = {family.name for family in metrics.registry.collect() if family.name.startswith("gridpilot_live_")}
    shown = {family for family in families if any(name == family or name.startswith(f"{family}_") for name in asked)}
    assert families - shown == NOT_SHOWN


def test_the_dashboard_is_laid_out_without_overlaps(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert dashboard["schemaVersion"] >= 39
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    cells: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
        for cell in itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])):
            assert cell not in cells, f"{panel['title']} lies on {cells[cell]}"
            cells[cell] = panel["title"]


def test_the_dashboard_takes_its_source_from_a_variable(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert "datasource" in variables
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"], panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            asked = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert asked <= variables, target["expr"]
            assert target["expr"].count("(") == target["expr"].count(")")


def test_the_alerts_ask_for_what_is_there(metrics: Metrics, wall: Wall) -> None:
    everything(metrics, wall)
    scrape = yaml.safe_load((DOCS / "prometheus.yml").read_text(encoding="utf-8"))
    assert [(DOCS / name).is_file() for name in scrape["rule_files"]] == [True]
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    jobs = {job["job_name"] for job in scrape["scrape_configs"]}
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert queried(rule["expr"]) <= sample_names(metrics), rule["alert"]
        assert set(re.findall(r'job="([^"]+)"', rule["expr"])) <= jobs
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"page", "warn", "info"}


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DOCS / "gridpilot-live.service", encoding="utf-8")
    return parser


def test_the_unit_starts_a_command_there_is(unit: configparser.ConfigParser) -> None:
    program, command, *overrides = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "gridpilot"
    assert command == "live"
    live = yaml.safe_load((ROOT / "conf/live/base.yaml").read_text(encoding="utf-8"))
    top = yaml.safe_load((ROOT / "conf/live.yaml").read_text(encoding="utf-8"))
    groups = {name for entry in top["defaults"] if isinstance(entry, dict) for name in entry}
    for override in overrides:
        key, _, chosen = override.partition("=")
        assert chosen
        if key in groups:
            assert (ROOT / "conf" / key / f"{chosen}.yaml").is_file()
        else:
            assert key in top if "." not in key else key.removeprefix("live.") in live, override
    chosen = dict(override.split("=", 1) for override in overrides)
    assert chosen["live.journal"].startswith(f"/var/lib/{unit['Service']['StateDirectory']}/")
    scrape = yaml.safe_load((DOCS / "prometheus.yml").read_text(encoding="utf-8"))
    assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == [f"127.0.0.1:{chosen['live.metrics_port']}"]


def test_the_unit_is_watched_and_locked_in(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    expected = {
        "Type": "notify",
        "Restart": "on-failure",
        "EnvironmentFile": "/etc/gridpilot/live.env",
        "DynamicUser": "yes",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
    }
    assert {name: service[name] for name in expected} == expected
    assert service["WatchdogSec"]
    assert "MemoryDenyWriteExecute" not in service  # numba would not start
    assert "MARA_API_KEY" not in service["Environment"]


def test_a_host_that_only_watches_does_not_load_the_numerics() -> None:
    program = "import sys, gridpilot.live.metrics, gridpilot.live.live_table, gridpilot.live.logs; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pandas", "pyarrow", "matplotlib", "scipy"} & set(done.stdout.split())


def _ask(port: int, host: str) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)) as connection:
        connection.putrequest("GET", "/health", skip_host=True)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        return connection.getresponse().status


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1:9464", True), ("localhost", True), ("LOCALHOST:1", True), ("", False), ("evil.example", False),
     ("127.0.0.1.evil.example:80", False), ("127.0.0.1:80@evil", False)],
)  # fmt: skip
def test_a_page_whose_name_points_here_is_told_nothing(host: str, told: bool) -> None:
    with MetricsServer(Metrics(time.monotonic), 0) as server:
        assert (_ask(server.port, host) != 403) == told


def test_readers_that_hold_on_take_few_descriptors_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "ANSWER_S", 1.5)
    with MetricsServer(Metrics(time.monotonic), 0) as server, contextlib.ExitStack() as stack:
        before = len(os.listdir("/proc/self/fd"))
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(60)]
        started = time.monotonic()
        while time.monotonic() - started < 1.0:  # a byte now and then, as from a reader that is only slow
            for one in held:
                with contextlib.suppress(OSError):
                    one.send(b"G")
            time.sleep(0.2)
        assert len(os.listdir("/proc/self/fd")) - before - len(held) <= metrics_server.MOST_READERS
        until = time.monotonic() + 10.0
        while time.monotonic() < until:
            with contextlib.suppress(OSError, http.client.HTTPException):
                assert _ask(server.port, "localhost") in (200, 503)
                break
            time.sleep(0.1)
        else:
            pytest.fail("nobody else is answered")
