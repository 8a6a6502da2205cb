"""A second server of the MARA API, of the standard library alone and of another mind, to hold the client and the engine against.

    with OtherServer(numbers_as_strings=True, put_status=201) as server:
        key = server.key()
        server.script("PUT /machines", "lost")
        ...
        assert server.peak_w <= 1_000_000

Every choice that the API's description leaves open is a field of ``Choices``; faults are scripted by endpoint, or drawn at random.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

FIELDS = ("air_miners", "hydro_miners", "immersion_miners", "gpu_compute", "asic_compute")
EVENT = {"air_miners": (1000, 3333), "hydro_miners": (10000, 5000), "immersion_miners": (5000, 10000),
         "gpu_compute": (1000, 3333), "asic_compute": (5000, 10000)}  # fmt: skip
DOCUMENTS = {"air_miners": (1000, 3500), "hydro_miners": (5000, 5000), "immersion_miners": (10000, 10000),
             "gpu_compute": (1000, 5000), "asic_compute": (50000, 15000)}  # fmt: skip
OPENING = datetime(2025, 6, 21, 12, tzinfo=UTC)
STEP = timedelta(minutes=5)

FAULTS = (
    "429", "500", "502", "503", "redirect",  # statuses
    "html", "junk", "truncated", "empty", "deep", "gzip",  # bodies of a 200, where a change has been applied
    "slow", "hang", "dribble", "endless",  # time
    "lost", "half", "reset",  # applied, then the connection ends: without a word, within the answer, with a reset
    "drop",  # not applied, and the connection ends without a word
)  # fmt: skip


@dataclass
class Choices:
    """What this server is like."""

    machines: Mapping[str, tuple[int, int]] = None  # type: ignore[assignment]  # field: (output, W); the event's by default
    power_w: int = 1_000_000
    numbers_as_strings: bool = False
    extra_fields: bool = False
    trailing_z: bool = False
    order: str = "newest_first"  # or oldest_first, shuffled
    repeat_rows: bool = False
    wrapped: bool = False  # prices in an object, everything else in a list of one
    created_status: int = 200
    put_status: int = 200
    unauthorised_status: int = 401
    over_cap_status: int = 400  # 0: applied all the same
    omitted: str = "kept"  # or reset
    before_first_put: str = "404"  # or null, empty, nulls, zeros
    key_style: str = "uuid"  # or hex
    retry_after: str = "1"  # of 429 and 503
    slow_s: float = 0.5
    date_header: bool = True
    clock_off_s: float = 0.0  # of the Date header and of the rows
    speed: float = 0.0  # server seconds a wall second; 0: rows come by hand
    tell_speed: bool = False
    rows: int = 12  # at the start
    last_row: int | None = None  # the feed stops there
    start: datetime | None = None  # of the first row; by default the event's opening, or at speed 1 so that it is now
    seed: int = 0
    fault_rate: float = 0.0  # of calls that fail, at random
    random_faults: tuple[str, ...] = ("429", "500", "503", "html", "truncated", "slow", "lost", "drop")
    keep_alive: bool = True
    drop_idle: bool = False  # end a kept-alive connection when the next request comes in on it


class OtherServer:
    """The server, running in threads of its own on an ephemeral port of loopback between ``with`` and its end."""

    def __init__(self, **choices: Any) -> None:
        self.choices = Choices(**choices)
        self.kinds = dict(self.choices.machines or EVENT)
        self.puts: list[tuple[datetime, tuple[int, ...]]] = []  # applied, with the server's time
        self.refused: list[tuple[int, ...]] = []  # over the cap
        self.calls: list[str] = []  # endpoints, in the order of their arrival
        self.connections = 0
        self.peak_w = 0  # most that all sites together ever drew
        self.asked_peak_w = 0  # most that a PUT ever asked for, applied or not
        self.spoilt: dict[int, Any] = {}  # number of a row: what to send in its place, a value or raw text in bytes
        self._lock = threading.RLock()
        self._sites: dict[str, dict[str, Any]] = {}
        self._scripts: dict[str, deque[str | None]] = {}
        self._chance = random.Random(f"faults {self.choices.seed}")
        self._walk = random.Random(f"walk {self.choices.seed}")
        self._prices = [(3.0, 4.0, 2.0)]
        self._by_hand = self.choices.rows - 1
        self._born = time.monotonic()
        self._start, self._into = self.choices.start or OPENING, 0.0
        if self.choices.speed == 1.0 and self.choices.start is None:
            self._into = time.time() % STEP.total_seconds()
            self._start = datetime.fromtimestamp(time.time() - self._into, UTC).replace(microsecond=0)
            self._start -= (self.choices.rows - 1) * STEP
        self._ending = threading.Event()
        self._open: set[socket.socket] = set()
        self._http: _Listener | None = None

    def __enter__(self) -> Self:
        self._http = _Listener(self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._http is not None
        self._ending.set()
        self._http.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was first
        self._http.server_close()  # waits for the threads of connections

    @property
    def url(self) -> str:
        assert self._http is not None
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    # For tests.

    def key(self, name: str = "a site") -> str:
        """The key of a new site."""
        with self._lock:
            key = str(uuid.uuid4()) if self.choices.key_style == "uuid" else uuid.uuid4().hex
            self._sites[key] = {"number": len(self._sites) + 1, "name": name, "counts": None, "at": None}
            return key

    def machines(self, key: str) -> tuple[int, ...]:
        """What runs at a site."""
        with self._lock:
            return self._sites[key]["counts"] or (0,) * len(FIELDS)

    def interfere(self, key: str, counts: tuple[int, ...]) -> None:
        """Let somebody else set a site's machines."""
        with self._lock:
            self._apply(self._sites[key], counts)

    def script(self, endpoint: str, *faults: str | None) -> None:
        """The next calls of ``endpoint`` (``GET /prices``, or ``*`` for any) meet these faults; None is a good answer."""
        unknown = {fault for fault in faults if fault is not None} - {*FAULTS}
        if unknown:
            raise ValueError(f"no such faults: {unknown}")
        with self._lock:
            self._scripts.setdefault(endpoint, deque()).extend(faults)

    def advance_rows(self, n: int = 1) -> None:
        """Let rows come; where they also come by the clock, these come on top."""
        with self._lock:
            self._by_hand += n

    def spoil(self, row: int, content: Any) -> None:
        """Send ``content`` in place of a row, counted from 0; bytes are sent as they are. A mapping changes the row's fields."""
        self.spoilt[row] = content

    def now(self) -> datetime:
        """The server's time; where rows come by hand, a few seconds after the newest."""
        with self._lock:
            off = timedelta(seconds=self.choices.clock_off_s)
            if self.choices.speed:
                return self._start + (self.choices.rows - 1) * STEP + timedelta(seconds=self._passed()) + off
            return self._start + self._by_hand * STEP + timedelta(seconds=3.0) + off

    def newest(self) -> int:
        """The number of the newest row."""
        with self._lock:
            number = self._by_hand + int(self._passed() / STEP.total_seconds())
            return number if self.choices.last_row is None else min(number, self.choices.last_row)

    def price(self, row: int) -> tuple[float, float, float]:
        """Energy, hash and token price of a row: a walk within bounds, the same for the same seed."""
        with self._lock:
            while len(self._prices) <= row:
                bounds = ((0.10, 0.6, 6.0), (0.25, 1.0, 5.0), (0.25, 0.5, 4.0))
                moved = (
                    min(high, max(low, price * (1.0 + self._walk.uniform(-step, step))))
                    for price, (step, low, high) in zip(self._prices[-1], bounds, strict=True)
                )
                self._prices.append(tuple(moved))  # type: ignore[arg-type]
            return self._prices[row]

    def power_w(self, counts: tuple[int, ...]) -> int:
        return sum(count * self.kinds[field][1] for count, field in zip(counts, FIELDS, strict=True))

    def _passed(self) -> float:
        """Seconds of the server's since the newest of the first rows."""
        return (time.monotonic() - self._born) * self.choices.speed + self._into

    # What the API does. Each returns a status and a body.

    def fault(self, endpoint: str) -> str | None:
        with self._lock:
            self.calls.append(endpoint)
            for name in (endpoint, "*"):
                if self._scripts.get(name):
                    return self._scripts[name].popleft()
            if self._chance.random() < self.choices.fault_rate:
                return self._chance.choice(self.choices.random_faults)
            return None

    def answer(self, endpoint: str, key: str | None, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            if endpoint == "GET /prices":
                return 200, self._price_list()
            if endpoint == "POST /advance":  # of tests that live in another process
                self.advance_rows(1)
                return 200, b"null"
            if endpoint == "GET /inventory":
                return 200, self._dump(self._inventory())
            if endpoint == "POST /sites":
                try:
                    name = json.loads(body)["name"]
                except (ValueError, KeyError, TypeError):
                    return 422, b'{"detail": "a name is needed"}'
                made = self.key(name)
                return self.choices.created_status, self._dump({"api_key": made, "name": name, "power": self.choices.power_w})
            if endpoint not in ("GET /sites", "GET /machines", "PUT /machines"):
                return 404, b'{"detail": "Not Found"}'
            site = self._sites.get(key or "")
            if site is None:
                return self.choices.unauthorised_status, json.dumps({"error": f"no site has the key {key}"}).encode()
            if endpoint == "GET /sites":
                return 200, self._dump({"api_key": key, "name": site["name"], "power": self.choices.power_w})
            return self._get_machines(site) if endpoint == "GET /machines" else self._put_machines(site, body)

    def _put_machines(self, site: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        try:
            asked = json.loads(body)
            former = site["counts"] or (0,) * len(FIELDS)
            default = dict(zip(FIELDS, former, strict=True)) if self.choices.omitted == "kept" else dict.fromkeys(FIELDS, 0)
            counts = tuple(int(asked.get(field, default[field])) for field in FIELDS)
        except (ValueError, TypeError, AttributeError, OverflowError):
            return 422, b'{"error": {"message": "whole numbers, please"}}'
        if min(counts) < 0:
            return 422, b'{"error": {"message": "not below zero, please"}}'
        watts = self.power_w(counts)
        self.asked_peak_w = max(self.asked_peak_w, watts)
        if watts > self.choices.power_w and self.choices.over_cap_status:
            self.refused.append(counts)
            return self.choices.over_cap_status, json.dumps({"error": f"{watts} W is more than there is"}).encode()
        self._apply(site, counts)
        return self.choices.put_status, self._dump(self._allocation(site))

    def _apply(self, site: dict[str, Any], counts: tuple[int, ...]) -> None:
        site["counts"], site["at"] = counts, self.now()
        self.puts.append((site["at"], counts))
        self.peak_w = max(self.peak_w, sum(self.power_w(each["counts"]) for each in self._sites.values() if each["counts"]))

    def _allocation(self, site: dict[str, Any]) -> dict[str, Any]:
        at = (site["at"] or self.now()).replace(tzinfo=None, microsecond=123456)
        counts = dict(zip(FIELDS, site["counts"] or (0,) * len(FIELDS), strict=True))
        return {**counts, "id": 7 * site["number"], "site_id": site["number"], "updated_at": at.isoformat()}

    def _get_machines(self, site: dict[str, Any]) -> tuple[int, bytes]:
        if site["counts"] is None and self.choices.before_first_put != "zeros":
            nothing = {"null": b"null", "empty": b"{}", "nulls": json.dumps(dict.fromkeys(FIELDS)).encode()}
            return (404, b'{"error": "nothing yet"}') if self.choices.before_first_put == "404" else (
                200, nothing[self.choices.before_first_put])  # fmt: skip
        answer = self._allocation(site)
        energy, hash_price, token = self.price(self.newest())
        earned = {
            field: answer[field] * self.kinds[field][0] * (token if field.endswith("compute") else hash_price) for field in FIELDS
        }
        drawn = {field: answer[field] * self.kinds[field][1] for field in FIELDS}
        total = sum(drawn.values())
        return 200, self._dump(
            {**answer, "site_id": 0, "power": drawn, "revenue": earned, "total_power_used": total,
             "total_power_cost": total * energy, "total_revenue": sum(earned.values())}
        )  # fmt: skip

    def _inventory(self) -> dict[str, Any]:
        inventory: dict[str, Any] = {"inference": {}, "miners": {}}
        for field, (output, power) in self.kinds.items():
            name, _, group = field.partition("_")
            if group == "miners":
                inventory["miners"][name] = {"power": power, "hashrate": output}
            else:
                inventory["inference"][name] = {"power": power, "tokens": output}
        return inventory

    def _price_list(self) -> bytes:
        off = timedelta(seconds=self.choices.clock_off_s)
        rows = []
        for number in range(self.newest() + 1):
            energy, hash_price, token = self.price(number)
            stamp = (self._start + number * STEP + off).replace(tzinfo=None).isoformat(timespec="seconds")
            row: Any = {"timestamp": stamp + ("Z" if self.choices.trailing_z else ""),
                        "token_price": token, "hash_price": hash_price, "energy_price": energy}  # fmt: skip
            spoilt = self.spoilt.get(number, {})
            row = {**row, **spoilt} if isinstance(spoilt, Mapping) else spoilt
            rows.append(row if isinstance(row, bytes) else json.dumps(self._dressed(row)).encode())
        if self.choices.repeat_rows:
            rows = [row for row in rows for _ in range(2)]
        if self.choices.order == "newest_first":
            rows.reverse()
        elif self.choices.order == "shuffled":
            random.Random(f"order {len(rows)}").shuffle(rows)
        listed = b"[" + b",\n".join(rows) + b"]"
        return b'{"count": %d, "prices": %s}' % (len(rows), listed) if self.choices.wrapped else listed

    def _dump(self, answer: dict[str, Any]) -> bytes:
        dressed = self._dressed(answer)
        return json.dumps([dressed] if self.choices.wrapped else dressed, indent=1).encode()

    def _dressed(self, value: Any) -> Any:
        if isinstance(value, dict):
            more = {"_version": 3, "hints": ["none", None]} if self.choices.extra_fields else {}
            return {name: self._dressed(inner) for name, inner in value.items()} | more
        if self.choices.numbers_as_strings and isinstance(value, int | float) and not isinstance(value, bool):
            return repr(value)
        return value


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    block_on_close = True
    request_queue_size = 64

    def __init__(self, owner: OtherServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Conversation)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are nothing to talk about."""


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30.0  # s without a word from the client
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.owner = self.server.owner
        self.served = 0
        with self.owner._lock:
            self.owner._open.add(self.connection)
            self.owner.connections += 1

    def finish(self) -> None:
        with self.owner._lock:
            self.owner._open.discard(self.connection)
        try:
            super().finish()
        except OSError:
            return  # nobody is left to flush to

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._converse()

    do_PUT = do_POST = do_GET

    def _converse(self) -> None:
        owner, choices = self.owner, self.owner.choices
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.served += 1
        if choices.drop_idle and self.served > 1:
            self.close_connection = True
            return
        endpoint = f"{self.command} {self.path}"
        fault = owner.fault(endpoint)
        if fault in ("429", "500", "502", "503"):
            page = f"<html><body><h1>{fault}</h1>your key: {self.headers.get('X-Api-Key')}</body></html>".encode()
            asked = {"Retry-After": choices.retry_after} if fault in ("429", "503") else {}
            self._send(int(fault), page, "text/html", asked)
        elif fault == "redirect":
            self._send(307, b"", "text/plain", {"Location": f"{owner.url}/inventory"})
        elif fault == "hang":
            self._linger(60.0)
            self.close_connection = True
        elif fault == "drop":
            self.close_connection = True
        else:
            if fault == "slow":
                self._linger(choices.slow_s)
            status, answer = owner.answer(endpoint, self.headers.get("X-Api-Key"), body)
            self._deliver(fault, status, answer)

    def _deliver(self, fault: str | None, status: int, answer: bytes) -> None:
        match fault:
            case "html":
                self._send(200, b"<!DOCTYPE html><title>Welcome</title>", "text/html")
            case "junk":
                self._send(200, bytes(range(1, 256)), "application/json")
            case "truncated":
                self._send(status, answer[: len(answer) // 2], "application/json")
            case "empty":
                self._send(200, b"", "application/json")
            case "deep":
                self._send(200, b"[" * 200_000, "application/json")
            case "gzip":
                self._send(status, answer, "application/json", {"Content-Encoding": "gzip"})
            case "dribble" | "endless":
                self._dribble(answer, endless=fault == "endless")
            case "half":
                self._head(status, len(answer), "application/json", {})
                self.wfile.write(answer[: len(answer) // 2])
                self.close_connection = True
            case "lost":
                self.close_connection = True
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
            case _:
                self._send(status, answer, "application/json")

    def _send(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self._head(status, len(body), kind, headers or {})
        self.wfile.write(body)

    def _head(self, status: int, length: int | None, kind: str, headers: Mapping[str, str]) -> None:
        choices = self.owner.choices
        self.send_response_only(status)
        if choices.date_header:
            self.send_header("Date", format_datetime(self.owner.now().replace(microsecond=0), usegmt=True))
        if choices.tell_speed:
            self.send_header("X-Stand-In-Speed", repr(choices.speed))
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if not choices.keep_alive or length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _dribble(self, answer: bytes, *, endless: bool) -> None:
        """A byte at a time, never done within a minute; or as fast as it goes, without an end."""
        self._head(200, None, "application/json", {})
        if endless:
            while not self.owner._ending.is_set():
                self.wfile.write(b" " * 2**20)
        for byte in answer + b" " * 1200:
            if self._linger(0.05):
                return
            self.wfile.write(bytes([byte]))

    def _linger(self, seconds: float) -> bool:
        """Wait; True at once where the client hangs up or the server ends."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0.0:
            if self.owner._ending.is_set():
                return True
            readable, _, _ = select.select([self.connection], [], [], min(0.05, left))
            if readable:
                return True
        return False
