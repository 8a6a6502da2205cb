"""The HTTP server on loopback for what machines see of a running engine: ``/metrics`` and ``/health``."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gridpilot.errors import LiveError
from gridpilot.live.metrics import Health, Metrics

__all__ = ["MetricsServer"]

MOST_READERS: Final = 8
ANSWER_S: Final = 10.0  # of a connection, from first to last
HOST: Final = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.IGNORECASE)


class MetricsServer:
    """``/metrics`` and ``/health`` over HTTP on loopback, from threads of its own; a context manager.

    ``/health`` answers 503 where the loop has not turned for ``heartbeat_limit`` wall seconds or has made no correct cycle for
    ``correct_limit`` (the defaults are one tick and three ticks at speed 1), and 200 otherwise: whoever restarts what answers 503 must
    not restart an engine that is halted, or whose venue is away. A newest row older than ``feed_limit`` engine seconds degrades.
    ``port`` 0 takes any free one. Raises ``LiveError`` where the port cannot be had.
    """

    def __init__(
        self,
        metrics: Metrics,
        port: int,
        *,
        heartbeat_limit: float = 300.0,
        correct_limit: float = 900.0,
        feed_limit: float = 600.0,
    ) -> None:
        health = functools.partial(
            metrics.health, heartbeat_limit=heartbeat_limit, correct_limit=correct_limit, feed_limit=feed_limit
        )
        try:
            self._server = _Server(port, metrics.registry, health)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LiveError(f"live.metrics_port is {port}: {reason}; expected a free port of 127.0.0.1, or 0 for any") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and give the port back; a second time nothing happens."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Server(socketserver.ThreadingTCPServer):
    """Answers few readers at a time, each for a short time: who holds connections open leaves the engine its own."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, registry: CollectorRegistry, health: Callable[[], Health]) -> None:
        self.registry, self.health = registry, health
        self._room = threading.BoundedSemaphore(MOST_READERS)
        super().__init__(("127.0.0.1", port), _Request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, or hang up where there is no room."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and hang up on who is not done in time: a byte now and then would keep any pause between bytes short."""
        late = threading.Timer(ANSWER_S, _hang_up, (request,))
        late.daemon = True
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that has gone away is no error of this program."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _hang_up(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        request.shutdown(socket.SHUT_RDWR)


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5.0  # s, of a reader that does not finish its request
    server_version = "gridpilot"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one request; a page of the web that has its name point here has a Host of its own, and is told nothing."""
        if not HOST.fullmatch(self.headers.get("Host", "")):
            self._answer(403, "text/plain; charset=utf-8", b"expected Host: 127.0.0.1:PORT or localhost:PORT\n")
            return
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(200, content_type, encode(self.server.registry))
            case "/health":
                health = self.server.health()
                body = json.dumps(asdict(health), allow_nan=False)
                self._answer(503 if health.status == "stuck" else 200, "application/json", body.encode() + b"\n")
            case _:
                self._answer(404, "text/plain; charset=utf-8", b"try /metrics or /health\n")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Scrapes every few seconds are not worth a line."""

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
