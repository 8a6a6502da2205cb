"""Who comes in: nobody without the token's cookie, from another page, or by another name of this machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gridpilot.insight.dashboard.gate import TokenGate, cookie_name

TOKEN = "a-token-of-this-test"
HOST = ("host", "127.0.0.1:8501")
ORIGIN = ("origin", "http://127.0.0.1:8501")
COOKIE = ("cookie", f"other=1; gridpilot_8501={TOKEN}")
Headers = list[tuple[str, str]]


def ask(headers: Headers, *, kind: str = "http", path: str = "/", query: str = "", method: str = "GET") -> tuple[list[Any], bool]:
    """What the gate answers, and whether the application behind it was reached."""
    sent: list[Any] = []
    reached = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send(
            {"type": "http.response.start", "status": 200, "headers": []} if kind == "http" else {"type": "websocket.accept"}
        )

    async def receive() -> Any:
        return {"type": "http.request" if kind == "http" else "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "method": method,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(TokenGate(behind, token=TOKEN, port=8501)(scope, receive, send))
    return sent, bool(reached)


@pytest.mark.parametrize(
    ("kind", "headers"),
    [("http", [HOST, COOKIE]), ("http", [HOST, COOKIE, ORIGIN]), ("websocket", [HOST, COOKIE, ORIGIN]),
     ("http", [("host", "localhost:8501"), COOKIE]),
     ("websocket", [("host", "localhost:8501"), ("origin", "http://localhost:8501"), COOKIE])],
)  # fmt: skip
def test_who_has_the_cookie_comes_in_from_the_pages_of_this_server(kind: str, headers: Headers) -> None:
    sent, reached = ask(headers, kind=kind)
    assert reached
    if kind == "http":
        names = dict(sent[0]["headers"])
        assert b"frame-ancestors 'none'" in names[b"content-security-policy"]
        assert b"https:" not in names[b"content-security-policy"]


WRONG: dict[str, Headers] = {
    "nothing": [],
    "no cookie": [HOST, ORIGIN],
    "another's token": [HOST, ORIGIN, ("cookie", "gridpilot_8501=guess")],
    "a token of another encoding": [HOST, ORIGIN, ("cookie", "gridpilot_8501=t\xf6ken")],
    "an empty token": [HOST, ORIGIN, ("cookie", "gridpilot_8501=")],
    "the cookie of another port": [HOST, ORIGIN, ("cookie", f"gridpilot_8502={TOKEN}")],
    "no host": [ORIGIN, COOKIE],
    "a rebound name": [("host", "evil.example:8501"), ("origin", "http://evil.example:8501"), COOKIE],
    "another port": [("host", "127.0.0.1:8502"), ("origin", "http://127.0.0.1:8502"), COOKIE],
    "no port": [("host", "127.0.0.1"), ("origin", "http://127.0.0.1"), COOKIE],
    "two hosts": [HOST, ("host", "evil.example"), ORIGIN, COOKIE],
    "another page": [HOST, ("origin", "http://evil.example"), COOKIE],
    "a page of another port": [HOST, ("origin", "http://127.0.0.1:3000"), COOKIE],
    "its other name": [HOST, ("origin", "http://localhost:8501"), COOKIE],
    "a page without origin": [HOST, ("origin", "null"), COOKIE],
    "two origins": [HOST, ORIGIN, ("origin", "http://evil.example"), COOKIE],
}


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("why", WRONG)
def test_everything_else_gets_403_and_reaches_nothing(kind: str, why: str) -> None:
    sent, reached = ask(WRONG[why], kind=kind)
    assert not reached
    if kind == "http":
        assert sent[0]["status"] == 403
        assert TOKEN.encode() not in sent[1]["body"]
    else:
        assert sent == [{"type": "websocket.close", "code": 1008}]  # before it is accepted: the server answers 403


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_what_changes_something_must_say_where_it_comes_from(kind: str) -> None:
    assert not ask([HOST, COOKIE], kind=kind, method="POST")[1]
    assert ask([HOST, COOKIE, ORIGIN], kind=kind, method="POST")[1]


def test_the_printed_address_sets_the_cookie_and_goes_on_without_the_token() -> None:
    sent, reached = ask([HOST], path="/match", query=f"tick=12&token={TOKEN}&match=1000000%2Fmixed%2F0")
    headers = dict(sent[0]["headers"])
    assert (sent[0]["status"], reached) == (303, False)
    assert headers[b"location"] == b"/match?tick=12&match=1000000%2Fmixed%2F0"
    assert headers[b"set-cookie"] == f"{cookie_name(8501)}={TOKEN}; Path=/; HttpOnly; SameSite=Strict".encode()


@pytest.mark.parametrize(
    ("headers", "query", "kind", "method"),
    [([HOST], "token=guess", "http", "GET"), ([HOST], "token=", "http", "GET"), ([HOST], f"token={TOKEN}", "http", "POST"),
     ([HOST, ORIGIN], f"token={TOKEN}", "websocket", "GET"), ([("host", "evil.example")], f"token={TOKEN}", "http", "GET"),
     ([HOST, ("origin", "http://evil.example")], f"token={TOKEN}", "http", "GET")],
)  # fmt: skip
def test_a_token_in_the_address_is_for_opening_a_page_alone(headers: Headers, query: str, kind: str, method: str) -> None:
    sent, reached = ask(headers, query=query, kind=kind, method=method)
    assert not reached
    assert sent[0].get("status", 403) == 403


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "/a\r\nset-cookie: x=1"])
def test_the_way_on_leads_to_no_other_host_and_adds_no_header(path: str) -> None:
    sent, _ = ask([HOST], path=path, query=f"token={TOKEN}")
    location = dict(sent[0]["headers"])[b"location"]
    assert location.startswith(b"/")
    assert not location.startswith((b"//", b"/\\"))
    assert b"\r" not in location
    assert b"\n" not in location


def test_the_life_of_the_server_is_none_of_its_business() -> None:
    assert ask([], kind="lifespan")[1]
