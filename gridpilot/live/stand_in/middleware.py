"""What every request to a stand-in passes through: some meet a fault, and every answer gets its headers.

A lost answer ends the connection. Under :class:`~gridpilot.live.stand_in.server.HangUpProtocol` the socket is really closed. Without a
server, as under ``httpx2.ASGITransport``, ``httpx2.RemoteProtocolError`` is raised, which is what a client would see of a closed socket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, Final

import httpx2

from gridpilot.live.clock import Clock
from gridpilot.live.stand_in.faults import ENDPOINTS, Fault, Faults
from gridpilot.live.stand_in.rows import Rows
from gridpilot.live.stand_in.serialiser import Serialiser

__all__ = ["HANG_UP", "ROWS", "ROW_FAULT", "ASGIApp", "FaultMiddleware", "Receive", "Scope", "Send"]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

HANG_UP: Final = "gridpilot.hang_up"
"""Extension of the ASGI scope by which a server lets an application end a connection without an answer."""
ROWS: Final = "gridpilot.rows"
"""Key of the scope: how many price rows the request is shown."""
ROW_FAULT: Final = "gridpilot.row_fault"
"""Key of the scope: the fault of the rows it is shown, or None."""

_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>This page is under construction</h1></body></html>"
)
_PIECES: Final = 20  # of a dribbling body


class FaultMiddleware:
    """ASGI middleware. ``began`` is when the server did, on the clock's monotonic; ``sleep`` waits wall seconds."""

    def __init__(
        self, app: ASGIApp, *, faults: Faults, rows: Rows, clock: Clock, serialiser: Serialiser, date_skew_s: float,
        began: float, sleep: Callable[[float], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._app, self._faults, self._rows, self._clock, self._serialiser = app, faults, rows, clock, serialiser
        self._date_skew_s, self._began, self._sleep = date_skew_s, began, sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = await _whole_request(receive)
        if request[-1]["type"] == "http.disconnect":
            return  # the client left in the middle of its request; nobody is there to be answered
        shown = self._rows.visible(self._clock.now())
        fault: Fault | None = None
        endpoint = f"{scope['method']} {scope['path']}"
        if endpoint in ENDPOINTS:
            fault, shown = self._faults.choose(endpoint, shown, self._clock.monotonic() - self._began)
        scope = {**scope, ROWS: shown, ROW_FAULT: fault}
        skew = fault.amount or 0.0 if fault is not None and fault.kind == "clock_skew" else 0.0
        await self._meet(fault, scope, _replay(request, receive), self._with_headers(send, skew))

    async def _meet(self, fault: Fault | None, scope: Scope, receive: Receive, send: Send) -> None:
        kind, amount = ("", 0.0) if fault is None else (fault.kind, fault.amount or 0.0)
        match kind:
            case "drop":
                await _hang_up(scope, receive)
            case "lost_answer":
                await self._serve(scope, receive)
                await _hang_up(scope, receive)
            case "status":
                assert fault is not None
                if fault.applied:
                    await self._serve(scope, receive)
                await self._fail(fault, int(amount), scope, receive, send)
            case "slow_first_byte" | "truncated_json" | "junk_html" | "slow_body":
                await self._deliver(kind, amount, *await self._serve(scope, receive), send)
            case "late":
                await self._sleep(amount)
                await self._app(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """Let the request be answered; keep the answer."""
        start: Message = {}
        body = bytearray()

        async def keep(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, keep)
        return start, bytes(body)

    async def _deliver(self, kind: str, seconds: float, start: Message, body: bytes, send: Send) -> None:
        pieces = [body]
        match kind:
            case "truncated_json":
                pieces = [body[: len(body) // 2]]
                start = _replaced(start, {b"content-length": str(len(pieces[0])).encode()})
            case "junk_html":
                pieces = [_PAGE]
                start = {
                    **_replaced(start, {b"content-length": str(len(_PAGE)).encode(), b"content-type": b"text/html"}),
                    "status": 200,
                }
            case "slow_first_byte":
                await self._sleep(seconds)
            case "slow_body":
                size = max(1, -(-len(body) // _PIECES))
                pieces = [body[i : i + size] for i in range(0, len(body), size)]
        await send(start)
        for piece in pieces:
            if kind == "slow_body":
                await self._sleep(seconds / len(pieces))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _fail(self, fault: Fault, status: int, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._serialiser.refusal(status, "a fault on purpose", "detail")
        if fault.retry_after is not None:
            at = self._clock.now() + timedelta(seconds=fault.retry_after + self._date_skew_s)
            answer.headers["Retry-After"] = format_datetime(at, usegmt=True) if fault.as_date else f"{fault.retry_after:g}"
        await answer(scope, receive, send)

    def _with_headers(self, send: Send, skew: float) -> Send:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                at = self._clock.now() + timedelta(seconds=self._date_skew_s + skew)
                headers = {
                    b"date": format_datetime(at, usegmt=True).encode(),
                    b"x-stand-in-speed": f"{self._clock.speed!r}".encode(),
                }
                message = _replaced(message, headers)
            await send(message)

        return stamped


def _replaced(start: Message, headers: MutableMapping[bytes, bytes]) -> Message:
    kept = [(name, value) for name, value in start.get("headers", []) if name.lower() not in headers]
    return {**start, "headers": [*kept, *headers.items()]}


async def _whole_request(receive: Receive) -> list[Message]:
    """Receive all of a request, so that it can be served even when its client has gone."""
    messages = [await receive()]
    while messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _replay(messages: Iterable[Message], receive: Receive) -> Receive:
    pending = iter(messages)

    async def replay() -> Message:
        return next(pending, None) or await receive()

    return replay


async def _hang_up(scope: Scope, receive: Receive) -> None:
    extension: dict[str, Any] | None = (scope.get("extensions") or {}).get(HANG_UP)
    if extension is None:
        raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")
    extension["close"]()
    # The server must have noticed before this returns, or it would answer in our place.
    while (await receive())["type"] != "http.disconnect":
        continue
