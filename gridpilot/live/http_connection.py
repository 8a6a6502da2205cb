"""One HTTP request and its answer within a total wall time, whatever the server does.

The limit runs from connecting to the last byte, so that a server that dribbles cannot hold the engine. Nothing is followed, stored or
taken from the environment: no redirects, no cookies, no proxies. What went wrong is a value, not an exception, because what an HTTP
library says in its exceptions may quote the server, and the server may quote a key.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Literal

import httpx2

from gridpilot.errors import ConfigError
from gridpilot.live.tls_failures import why_no_connection

__all__ = ["HttpConnection", "Reply", "Silence", "check_url", "is_loopback"]

BODY_LIMIT: Final = 16 * 2**20  # bytes of an answer; a year of prices is about 14 MB
_KEEP_ALIVE: Final = 30.0  # s that an idle connection is kept
_CONNECT: Final = 0.45  # of a call's time for a TCP connection, and again for TLS
_LIMITS: Final = httpx2.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE)
_ONE_USE: Final = httpx2.Limits(max_connections=2, max_keepalive_connections=0)
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "gridpilot"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]  # names of any case
    body: bytes


@dataclass(frozen=True, slots=True)
class Silence:
    """No whole answer."""

    result: Literal["timeout", "connect_error", "lost", "unreadable"]
    sent: bool  # whether the request may have reached the server
    stale: bool  # whether it went into a kept-alive connection that ended without a word: most likely before it arrived
    message: str


class HttpConnection:
    """The connection to one server. ``url`` is checked by :func:`check_url`. To be used and closed in one event loop."""

    def __init__(self, url: httpx2.URL, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        # Reading the authorities takes tens of milliseconds; without TLS a context that trusts nobody will do.
        tls = httpx2.create_ssl_context(trust_env=False) if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

        def connections(limits: httpx2.Limits) -> httpx2.AsyncClient:
            return httpx2.AsyncClient(
                base_url=url, transport=transport, headers=_HEADERS, trust_env=False, follow_redirects=False, timeout=None,
                verify=tls, limits=limits, cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            )  # fmt: skip

        self._readings = connections(_LIMITS)
        # A change goes into a connection of its own: one that the server gives up at that moment would leave its fate unknown.
        self._changes = connections(_ONE_USE)
        # Their lines quote headers and reason phrases of the server, which may quote a key.
        for library in ("httpx2", "httpcore2"):
            logging.getLogger(library).setLevel(logging.WARNING)

    async def send(self, method: str, path: str, *, within: float, key: str | None = None, body: Any = None) -> Reply | Silence:
        """Send a request and read its whole answer within so many wall seconds.

        A GET that went into a connection which the server had given up is sent again, once, on a new one.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        answer = await self._send(method, path, until, key, body)
        if method == "GET" and isinstance(answer, Silence) and answer.stale:
            answer = await self._send(method, path, until, key, body)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._readings.aclose()
        await self._changes.aclose()

    async def _send(self, method: str, path: str, until: float, key: str | None, body: Any) -> Reply | Silence:
        headers = {} if key is None else {"X-Api-Key": key}
        # TCP and TLS each end by themselves before the whole does: cut off from outside, a handshake would leave its socket open.
        connect = httpx2.Timeout(None, connect=_CONNECT * max(0.0, until - asyncio.get_running_loop().time()))
        seen = set[str]()

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            seen.add(event)

        def silence(result: Literal["timeout", "connect_error", "lost", "unreadable"], message: str) -> Silence:
            kept = "http11.send_request_headers.started" in seen and "connection.connect_tcp.started" not in seen
            stale = result == "lost" and kept and "http11.receive_response_headers.complete" not in seen
            return Silence(result, result != "connect_error", stale, message)

        client = self._readings if method == "GET" else self._changes
        try:
            async with (
                asyncio.timeout_at(until),
                client.stream(method, path, headers=headers, json=body, timeout=connect, extensions={"trace": trace}) as response,
            ):
                encoding = response.headers.get("content-encoding", "identity").strip().lower()
                if encoding not in ("", "identity"):
                    return silence("unreadable", "a compressed answer, which was not asked for")
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > BODY_LIMIT:
                        return silence("unreadable", f"an answer of more than {BODY_LIMIT >> 20} MiB")
                return Reply(response.status_code, response.headers, bytes(content))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return silence("connect_error", why_no_connection(error))
        except (TimeoutError, httpx2.TimeoutException):
            return silence("timeout", "no whole answer in time")
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
            return silence("lost", f"the connection was lost ({type(error).__name__})")


def check_url(text: str) -> httpx2.URL:
    """The base address of an API: https, or http on loopback; without credentials, query or fragment.

    Raises :class:`~gridpilot.errors.ConfigError`, which names ``live.url`` and quotes no credentials.
    """
    expected = "expected an address such as https://host or, on this machine, http://127.0.0.1:8321"
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError):
        url = None
    if url is None:
        raise ConfigError(f"live.url is no address, {expected}")
    if url.userinfo or "@" in text:
        raise ConfigError(f"live.url holds a user or password, {expected}")
    if url.query or url.fragment or "?" in text or "#" in text:
        raise ConfigError(f"live.url holds a query or fragment, {expected}")
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ConfigError(f"live.url is {text!r:.80}, {expected}")
    if url.scheme == "http" and not is_loopback(url):
        raise ConfigError(f"live.url is {text!r:.80}: a key must not travel unencrypted, expected https://")
    return url


def is_loopback(url: httpx2.URL) -> bool:
    """Whether ``url`` is on this machine: 127.0.0.0/8, ::1 or localhost, literally."""
    host = url.raw_host.decode("ascii").strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
