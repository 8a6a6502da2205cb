"""Who may come in: only a browser on this machine that was given the address that ``gridpilot dashboard`` printed.

A server on loopback can be reached by every page that a browser has open, and by every user of the machine. So each request, HTTP and
websocket alike, must name this server as its Host (no DNS rebinding), come from its own pages (Origin), and bring the cookie that the
printed address ``/?token=...`` sets (SameSite=Strict and HttpOnly). Everything else gets 403 and reaches nothing behind.
"""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["TokenGate", "cookie_name"]

REFUSED: Final = b"403: open the address that gridpilot dashboard printed, with its token, in a browser on this machine.\n"
POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1; before a websocket is accepted it is answered with 403
SAFE: Final = ("GET", "HEAD")  # methods that a browser sends without an Origin

# Charts are drawn by WebAssembly and inline styles; nothing is loaded from, or sent to, another host, whatever a page holds.
CONTENT_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws://{host}; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)


def cookie_name(port: int) -> str:
    """The cookie's name; cookies know no ports, so that two dashboards of one machine must not share one."""
    return f"gridpilot_{port}"


class TokenGate:
    """ASGI middleware that lets in who has ``token``; ``port`` is the one that is listened on at 127.0.0.1."""

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app, self._token, self._port = app, token, port
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, set the cookie of one that brings the token in its address, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        host, from_own_pages = self._host(scope), self._comes_from_own_pages(scope)
        if host is None or not from_own_pages:
            await _refuse(scope, send)
        elif self._has_cookie(scope):
            await self._app(scope, receive, send if scope["type"] == "websocket" else _guarded(send, host))
        elif scope["type"] == "http" and scope["method"] in SAFE and self._brings_token(scope):
            await self._welcome(scope, send)
        else:
            await _refuse(scope, send)

    def _host(self, scope: Scope) -> str | None:
        """The Host, where it is one of this server's names."""
        given = _headers(scope, b"host")
        return given[0] if len(given) == 1 and given[0] in self._hosts else None

    def _comes_from_own_pages(self, scope: Scope) -> bool:
        given = _headers(scope, b"origin")
        if not given:  # a browser names the Origin of all websockets, and of requests that change something
            return scope["type"] == "http" and scope["method"] in SAFE
        return given == [f"http://{host}" for host in _headers(scope, b"host")]

    def _has_cookie(self, scope: Scope) -> bool:
        name = cookie_name(self._port)
        values = [cookie_parser(header).get(name) for header in _headers(scope, b"cookie")]
        return any(self._is_token(value) for value in values if value is not None)

    def _brings_token(self, scope: Scope) -> bool:
        return any(key == "token" and self._is_token(value) for key, value in _query(scope))

    def _is_token(self, value: str) -> bool:
        return hmac.compare_digest(value.encode("utf-8", "replace"), self._token.encode())

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """Set the cookie, and go on to the same address without the token, which then is in no history and no link."""
        rest = urlencode([pair for pair in _query(scope) if pair[0] != "token"])
        path = "/" + scope["path"].lstrip("/\\")  # two slashes would name another host
        target = f"{path}?{rest}" if rest else path
        cookie = f"{cookie_name(self._port)}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [
            (b"location", _quoted(target)),
            (b"set-cookie", cookie.encode("ascii")),
            (b"cache-control", b"no-store"),
            (b"content-length", b"0"),
        ]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _headers(scope: MutableMapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _quoted(target: str) -> bytes:
    return quote(target, safe="/?&=%+-._~").encode("ascii")


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(REFUSED)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": REFUSED})


def _guarded(send: Send, host: str) -> Send:
    """Add the headers that keep a page from reaching other hosts, and others from framing it."""
    extra = [
        (b"content-security-policy", CONTENT_POLICY.format(host=host).encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    ]

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return guarded
