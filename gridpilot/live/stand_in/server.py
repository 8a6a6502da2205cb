"""A stand-in on a socket: uvicorn, which ends on Ctrl-C and SIGTERM, and can hang up on a client in the middle of a request."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from gridpilot.errors import LiveError
from gridpilot.live.stand_in.middleware import HANG_UP, Receive, Scope, Send

__all__ = ["HangUpProtocol", "listen", "make_server", "run"]


class HangUpProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, where the application may end the connection: ``scope["extensions"][HANG_UP]["close"]()``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Serve a connection."""
        super().connection_made(transport)
        serve: Any = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            extensions = {**(scope.get("extensions") or {}), HANG_UP: {"close": transport.close}}
            await serve({**scope, "extensions": extensions}, receive, send)

        self.app = app


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises :class:`~gridpilot.errors.LiveError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise LiveError(f"--host is {host!r}, expected a name or address of this machine: {error}") from error
    # With its protocol named, or asyncio would not switch off delays on the connections.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise LiveError(f"{host} port {port}: {error.strerror}, expected a free one; --port 0 picks one") from error
    return listener


def make_server(app: FastAPI, *, access_log: bool = False) -> uvicorn.Server:
    """A uvicorn server for ``server.run(sockets=[listener])``."""
    config = uvicorn.Config(
        app, http=HangUpProtocol, loop="asyncio", ws="none", lifespan="off", log_level="info" if access_log else "error",
        access_log=access_log, date_header=False, server_header=False, timeout_keep_alive=75, timeout_graceful_shutdown=1,
    )  # fmt: skip
    return uvicorn.Server(config)


def run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM. In the main thread."""

    def stop(*_: Any) -> None:
        server.should_exit = True

    # uvicorn raises the signals that ended it again for whoever listened before; that is us, and we are done.
    before: dict[signal.Signals, Callable[..., Any] | int | None] = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    log = logging.getLogger("uvicorn.error")

    def matters(_: logging.LogRecord) -> bool:
        return not server.should_exit  # then, slow answers are cut off, and it would tell each with its traceback

    log.addFilter(matters)
    try:
        server.run(sockets=[listener])
    finally:
        log.removeFilter(matters)
        for number, handler in before.items():
            signal.signal(number, handler)
        listener.close()
