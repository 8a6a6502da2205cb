"""The MARA API, asked one thing at a time and never for longer than its time.

Readings are repeated within one budget of twice the time of a call; changes are sent once, and what became of them is told by the class of
the error. A server that fails again and again, or asks for a pause, is left alone; so is one that has been asked enough in this tick.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx2
import stamina
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import HalfOpenedState
from pydantic import SecretStr

from gridpilot.errors import ConfigError, RefusedError, UnavailableError, UnknownOutcomeError, VenueError
from gridpilot.live import answers
from gridpilot.live.answers import MachineReport
from gridpilot.live.api import CLASSES, TICK, Counts, Inventory
from gridpilot.live.clock import Clock
from gridpilot.live.config import Timing
from gridpilot.live.http_connection import HttpConnection, Reply, Silence, check_url, is_loopback
from gridpilot.live.logs import Redaction, printable

__all__ = ["MachineReport", "MaraClient"]

Observer = Callable[[str, str, float], None]
T = TypeVar("T")

_BUDGET: Final = 2.0  # times of a call that a reading may take, repetitions and waits included
_RESERVED: Final = 0.2  # of a tick's calls, kept for machines
_MACHINES: Final = ("GET /machines", "PUT /machines")
_EXCERPT: Final = 200  # characters of a refusal that are quoted
_CIRCUIT: Final = "mara"


class _NotAskedError(UnavailableError):
    """The server was left alone on purpose: asking again at once would be no use."""


class MaraClient:
    """The API at ``url`` for the sites behind ``keys``, which are numbered from 0.

    ``timing``             of calls, repetitions and rests, wall seconds
    ``clock``              its ``now`` counts calls a tick and tells the server's skew; its ``monotonic`` times pauses and rests
    ``requests_per_tick``  most calls in a tick of ``clock``; the last fifth of them is kept for machines
    ``observer``           is told of each call: endpoint such as ``GET /prices``; its status, ``timeout``, ``connect_error``, ``lost`` or
                           ``unreadable``; wall seconds
    ``transport``          in place of real sockets

    Readings raise ``UnavailableError``, after some repetitions, where there is no usable answer, and ``RefusedError`` for a 4xx but 429.
    Changes raise ``UnavailableError`` where nothing was sent or 429 came, ``RefusedError`` where the server said no, and
    ``UnknownOutcomeError`` where they may or may not have been applied. A call without the key it needs, a bad key or ``url`` is a
    ``ConfigError``. Not for use inside a running event loop, nor by two threads at once.
    """

    def __init__(
        self,
        url: str,
        keys: Sequence[SecretStr] = (),
        *,
        timing: Timing,
        clock: Clock,
        requests_per_tick: int = 120,
        observer: Observer | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.timing, self.clock, self.requests_per_tick = timing, clock, requests_per_tick
        self._url = check_url(url)
        for number, key in enumerate(keys, 1):
            if not answers.is_key(key.get_secret_value()):
                raise ConfigError(f"MARA_API_KEY: key {number} cannot be one, expected printable characters without spaces")
        self._keys, self._redact = tuple(keys), Redaction(keys)
        self.observer = observer
        self._runner, self._closed = asyncio.Runner(), False
        self._connection = HttpConnection(self._url, transport)
        self._breakers = AsyncCircuitBreakerFactory(timing.breaker_failures, timing.breaker_rest, exclude=[RefusedError])
        self._breakers.add_listener(self._breaker_changed)
        self._rest_until = self._pause_until = -math.inf  # on the clock's monotonic
        self._tick, self._calls = 0, 0
        self._set_before = set[int]()  # sites whose machines have been seen
        self._skew: timedelta | None = None
        self._speed: float | None = None

    def prices(self) -> list[Any]:
        """``GET /prices``: the rows as decoded, good or bad, in the order given."""
        return self._read("GET /prices", answers.price_entries)

    def inventory(self) -> Inventory:
        """``GET /inventory``."""
        return self._read("GET /inventory", lambda body: answers.inventory(answers.decode(body)))

    def site_power_w(self, site: int) -> int:
        """``GET /sites``: the site's power, W."""
        return self._read("GET /sites", lambda body: answers.site_power_w(answers.decode(body)), site)

    def machines(self, site: int) -> MachineReport:
        """``GET /machines``; all zero as long as nothing was ever set."""

        def parse(body: bytes) -> MachineReport:
            report = answers.machine_report(answers.decode(body))
            if report is None and site in self._set_before:
                raise answers.Unreadable("no machines, where some had been set before")
            if report is None:
                return MachineReport((0,) * len(CLASSES), 0, 0.0, 0.0)
            self._set_before.add(site)
            return report

        return self._read("GET /machines", parse, site)

    def set_machines(self, site: int, counts: Counts) -> Counts:
        """``PUT /machines``, all five fields, sent once. Returns the counts that the server says it set, which may be others."""
        body = {name: int(count) for name, count in zip(CLASSES, counts, strict=True)}

        def parse(answer: bytes) -> Counts:
            machines = answers.machine_counts(answers.decode(answer))
            self._set_before.add(site)
            return machines

        return self._change("PUT /machines", parse, body, site)

    def register(self, name: str) -> tuple[SecretStr, str, int]:
        """``POST /sites``, sent once: a new site's key, name and power in W (0 where the answer does not tell)."""

        def parse(answer: bytes) -> tuple[SecretStr, str, int]:
            key, given, power_w = answers.new_site(answers.decode(answer))
            return key, given or name, power_w or 0

        return self._change("POST /sites", parse, {"name": name})

    def speed(self) -> float | None:
        """How fast the clock of a stand-in on this machine runs, as its last answer says; None where it does not."""
        return self._speed

    @property
    def skew(self) -> timedelta | None:
        """The server's clock minus this one's at the last answer, to about a second; None where it is not known."""
        return self._skew

    def close(self) -> None:
        """Close the connections and the event loop. A second time it does nothing."""
        if not self._closed:
            self._closed = True
            self._runner.run(self._connection.close())
            self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._url)!r}, {len(self._keys)} keys)"

    # Readings and changes.

    def _read(self, endpoint: str, parse: Callable[[bytes], T], site: int | None = None) -> T:
        return self._runner.run(self._reading(endpoint, parse, self._key(endpoint, site)))

    def _change(self, endpoint: str, parse: Callable[[bytes], T], body: Any, site: int | None = None) -> T:
        key = self._key(endpoint, site)
        return self._runner.run(self._call(endpoint, parse, key, self.timing.timeout, body))

    def _key(self, endpoint: str, site: int | None) -> str | None:
        if site is None:
            return None
        if not 0 <= site < len(self._keys):
            raise ConfigError(f"{endpoint} needs the key of site {site} and there are {len(self._keys)} keys: set MARA_API_KEY")
        return self._keys[site].get_secret_value()

    async def _reading(self, endpoint: str, parse: Callable[[bytes], T], key: str | None) -> T:
        loop, timing = asyncio.get_running_loop(), self.timing
        deadline = loop.time() + _BUDGET * timing.timeout
        longest = min(timing.longest_wait, timing.timeout / 2.0)

        def again(error: Exception) -> bool | float:
            if not isinstance(error, UnavailableError) or isinstance(error, _NotAskedError):
                return False
            room = deadline - loop.time()
            if error.retry_after is None:
                return longest < room
            wait = max(timing.backoff, self._pause_until - self.clock.monotonic())
            return wait if wait < room else False

        backoff = min(timing.backoff, longest)
        async for attempt in stamina.retry_context(
            on=again, attempts=timing.attempts, timeout=None, wait_initial=backoff, wait_max=longest, wait_jitter=backoff
        ):
            with attempt:
                return await self._call(endpoint, parse, key, min(timing.timeout, deadline - loop.time()))
        raise AssertionError("stamina lets the last error through")

    # A call.

    async def _call(self, endpoint: str, parse: Callable[[bytes], T], key: str | None, within: float, body: Any = None) -> T:
        breaker = await self._breakers.get_breaker(_CIRCUIT)
        if breaker.context.state == "opened":
            rest = self._rest_until - self.clock.monotonic()
            if rest > 0.0:
                failed = f"the server failed {self.timing.breaker_failures} times in a row"
                raise _NotAskedError(f"{endpoint}: {failed} and is resting for another {rest:.1f} s", retry_after=rest)
            # The breaker itself would ask the wall clock, which may be set back.
            breaker.context.set_state(HalfOpenedState())
        pause = self._pause_until - self.clock.monotonic()
        if pause > 0.0:
            raise UnavailableError(f"{endpoint}: the server asked to be left alone for another {pause:.1f} s", retry_after=pause)
        self._count(endpoint)
        async with breaker:
            loop = asyncio.get_running_loop()
            started = loop.time()
            method, path = endpoint.split(" ")
            answer = await self._connection.send(method, path, within=within, key=key, body=body)
            result, outcome = self._judge(endpoint, answer, parse)
            if self.observer is not None:
                self.observer(endpoint, result, loop.time() - started)
            if isinstance(outcome, VenueError):
                raise outcome
            return outcome

    def _count(self, endpoint: str) -> None:
        """Count a call. Raises ``UnavailableError`` where there have been enough of them in this tick."""
        tick = math.floor(self.clock.now().timestamp() / TICK.total_seconds())
        if tick != self._tick:
            self._tick, self._calls = tick, 0
        reserved = 0 if endpoint in _MACHINES else math.ceil(_RESERVED * self.requests_per_tick)
        if self._calls >= self.requests_per_tick - reserved:
            text = f"{endpoint}: {self._calls} calls in this tick are enough (requests_per_tick={self.requests_per_tick}"
            raise _NotAskedError(text + (f", the last {reserved} for machines)" if reserved else ")"))
        self._calls += 1

    def _breaker_changed(self, circuit: str, kind: str, event: Any) -> None:
        if kind == "state_changed" and event.state == "opened":
            self._rest_until = self.clock.monotonic() + self.timing.breaker_rest

    # What an answer means. Errors are made here and raised by the caller, so that none carries another with the server's words in it.

    def _judge(self, endpoint: str, answer: Reply | Silence, parse: Callable[[bytes], T]) -> tuple[str, T | VenueError]:
        """The result as the observer is told it, and what was read or the error to raise."""
        changes = not endpoint.startswith("GET ")
        if isinstance(answer, Silence):
            return answer.result, self._failure(endpoint, answer.message, unknown=changes and answer.sent)
        asked = self._note(answer.headers, answer.status)
        status = answer.status
        # A 404 of the API itself, not of some proxy, is one way to say that nothing has been set yet.
        none_yet = endpoint == "GET /machines" and status == 404 and answers.is_json(answer.body)
        if 200 <= status < 300 or none_yet:
            try:
                value = parse(b"null" if none_yet else answer.body)
            except (ValueError, RecursionError) as error:
                problem = str(error)
            else:
                return str(status), value
            return "unreadable", self._failure(endpoint, f"unreadable answer {status}: {problem}", unknown=changes)
        text = f"status {status}{self._excerpt(answer.body)}"
        if _is_unavailable(status) or (status < 400 and not changes):
            return str(status), self._failure(endpoint, text, unknown=changes and status >= 500, retry_after=asked)
        return str(status), RefusedError(self._safe(f"{endpoint}: {text}"), status=status)

    def _failure(self, endpoint: str, text: str, *, unknown: bool, retry_after: float | None = None) -> VenueError:
        message = self._safe(f"{endpoint}: {text}")
        if unknown:
            return UnknownOutcomeError(f"{message}; it may or may not have been applied")
        return UnavailableError(message, retry_after=retry_after)

    def _note(self, headers: Mapping[str, str], status: int) -> float | None:
        """Take what the headers say about clocks and pauses; return the pause asked for, s."""
        at: datetime | None = answers.http_date(headers.get("Date"))
        now = self.clock.now()
        self._skew = None if at is None else at - now
        self._speed = answers.stand_in_speed(headers.get("X-Stand-In-Speed")) if is_loopback(self._url) else None
        if not _is_unavailable(status):
            return None
        server_now = at if at is not None else now if self.clock.speed == 1.0 else None
        asked = answers.retry_after(headers.get("Retry-After"), server_now)
        if asked is not None:
            self._pause_until = self.clock.monotonic() + min(asked, self.timing.longest_wait)
        return asked

    def _excerpt(self, body: bytes) -> str:
        text = self._safe(body[: 20 * _EXCERPT].decode(errors="replace"))[:_EXCERPT]  # keys are struck out before it is cut
        words = " ".join(text.split())
        return f": {words}" if words else ""

    def _safe(self, text: str) -> str:
        return printable(self._redact.text(text))


def _is_unavailable(status: int) -> bool:
    return status == 429 or status >= 500
