"""Clients for tests: quick to give up, on answers that are made up or on real sockets."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx2
from pydantic import SecretStr

from gridpilot.live.api import CLASSES
from gridpilot.live.client import MaraClient
from gridpilot.live.clock import ManualClock
from gridpilot.live.config import Timing

URL = "http://127.0.0.1:1"  # where nobody listens
Handler = Callable[[httpx2.Request], httpx2.Response | Coroutine[None, None, httpx2.Response]]
COUNTS = (1, 2, 3, 4, 5)
FIELDS = dict(zip(CLASSES, COUNTS, strict=True))
ROW = {"energy_price": 1.5, "hash_price": 2.5, "token_price": 3.5, "timestamp": "2025-06-21T12:00:00"}
KEY = "6f1c2b9e-0d57-4a41-9a4c-0f3d2f6b8e11"


def timing(**changes: Any) -> Timing:
    """Wall times that a test can wait for."""
    usual = Timing(
        tick=300.0, timeout=5.0, attempts=3, backoff=0.001, longest_wait=0.05, breaker_failures=1000, breaker_rest=30.0,
        deadline=1.0, poll=0.01, poll_early=0.01,
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)


class Calls(list[tuple[str, str]]):
    """An observer that keeps endpoints and results."""

    def __call__(self, endpoint: str, result: str, seconds: float) -> None:
        assert seconds >= 0.0
        self.append((endpoint, result))

    @property
    def results(self) -> list[str]:
        return [result for _, result in self]


def made_up(answer: Handler, *, keys: tuple[str, ...] = (KEY,), **options: Any) -> MaraClient:
    """A client whose every request gets what ``answer`` says."""
    options = {"timing": timing(), "clock": ManualClock(), **options}
    return MaraClient(URL, [SecretStr(key) for key in keys], transport=httpx2.MockTransport(answer), **options)


def always(status: int = 200, body: Any = None, raw: bytes | None = None, **headers: str) -> Handler:
    """The same answer to every request: ``body`` as JSON, or ``raw`` as it is; headers with ``_`` for ``-``."""
    content = json.dumps(body).encode() if raw is None else raw
    return lambda _: httpx2.Response(status, content=content, headers={n.replace("_", "-"): v for n, v in headers.items()})


def in_turn(*answers: Handler) -> Handler:
    """One answer after the other; the last of them again and again."""
    remaining = list(answers)
    return lambda request: (remaining.pop(0) if len(remaining) > 1 else remaining[0])(request)


@contextlib.contextmanager
def raw_server(payload: Callable[[bytes], bytes], *, port: int = 0) -> Iterator[str]:
    """The address of a server that answers the first bytes of a connection with ``payload`` of them, and closes it."""
    listener = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5.0)
                if request := connection.recv(65536):
                    connection.sendall(payload(request))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
