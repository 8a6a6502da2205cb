"""A model that is asked: what it is sent, how its answers are held to the facts, and what happens when it fails in any way."""

from __future__ import annotations

import json
import logging
import os
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridpilot.cli import main
from gridpilot.insight import claude
from gridpilot.insight.claude import BUDGET, DEFAULT_MODEL, ask
from gridpilot.insight.opened import OpenedRun
from gridpilot.insight.tools import Toolbox

anthropic = pytest.importorskip("anthropic", reason="gridpilot[insight] is not installed")

KEY = "sk-ant-planted-0123456789-abcdefghij"
Answering = Callable[[httpx2.Request], httpx2.Response]

GOOD = {
    "statements": [
        {
            "text": "Over {n} days {a} earned a profit of {p}.",
            "values": [
                {"name": "n", "op": "value", "of": ["c1/episodes_count"]},
                {"name": "a", "op": "value", "of": ["c1/agent"]},
                {"name": "p", "op": "value", "of": ["c1/profit_dollars_per_day"]},
            ],
        }
    ]
}
LIE = {"statements": [{"text": "It earned 99 dollars, which is a planted lie.", "values": []}]}


@pytest.fixture(autouse=True)
def nothing_of_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ANTHROPIC_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("GRIDPILOT_MODEL", raising=False)


@pytest.fixture
def box(opened: OpenedRun) -> Toolbox:
    return Toolbox(opened)


def events(content: list[dict[str, Any]], stop: str | None, tokens: int = 10) -> bytes:
    """A stream as the API sends it; without ``stop`` it is cut off before it says that it is done."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
               "stop_sequence": None, "usage": {"input_tokens": tokens, "output_tokens": 1}}  # fmt: skip
    told: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": message})]
    for i, block in enumerate(content):
        text = block.get("text", json.dumps(block.get("input", {})))
        empty = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
        delta = (
            {"type": "text_delta", "text": text} if block["type"] == "text" else {"type": "input_json_delta", "partial_json": text}
        )
        told += [
            ("content_block_start", {"index": i, "content_block": empty}),
            ("content_block_delta", {"index": i, "delta": delta}),
        ]
        told.append(("content_block_stop", {"index": i}))
    if stop is not None:
        told.append(("message_delta", {"delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": tokens}}))
        told.append(("message_stop", {}))
    return "".join(f"event: {name}\ndata: {json.dumps({'type': name, **body})}\n\n" for name, body in told).encode()


def text(answer: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": answer if isinstance(answer, str) else json.dumps(answer)}]


def tool(name: str, **arguments: Any) -> list[dict[str, Any]]:
    return [{"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}]


PAIR = events(tool("pair", agent="mpc", other="threshold"), "tool_use")


class Service:
    """Answers in turn, the last one for ever; keeps what it was sent."""

    def __init__(self, *answers: bytes | Answering) -> None:
        self.answers, self.sent = list(answers), list[httpx2.Request]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            return answer(request)
        return httpx2.Response(200, content=answer, headers={"content-type": "text/event-stream"})

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.sent]


def asked(service: Service, box: Toolbox, said: list[str] | None = None) -> claude.Outcome:
    client = httpx2.Client(transport=httpx2.MockTransport(service))
    say = (said if said is not None else []).append
    return ask("Why does mpc beat threshold?", box, key=KEY, say=say, http_client=client)


def test_an_answer_is_made_of_the_tools_results(box: Toolbox, opened: OpenedRun) -> None:
    service, said = Service(PAIR, events(text(GOOD), "end_turn")), list[str]()
    outcome = asked(service, box, said)
    assert outcome.answer is not None, outcome.why
    profit = next(one.profit.value for one in opened.board.agents if one.agent == "mpc")
    assert outcome.answer.text == f"Over 2 days mpc earned a profit of {profit:,.2f} $ a day."
    assert (outcome.usage.messages, outcome.usage.tokens_in, outcome.usage.tokens_out) == (2, 20, 20)
    (notice,) = said
    assert "go to api.anthropic.com" in notice
    first, second = service.bodies()
    assert first["model"] == DEFAULT_MODEL
    assert first["stream"] is True
    assert "temperature" not in first
    assert all(one["strict"] and one["input_schema"]["additionalProperties"] is False for one in first["tools"])
    assert first["tools"][-1]["cache_control"] == first["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert first["output_config"]["format"]["type"] == "json_schema"
    (result,) = second["messages"][-1]["content"]
    assert json.loads(result["content"])["c1"]["agent"] == "mpc"


def test_a_refusal_is_sent_back_and_repaired(box: Toolbox) -> None:
    service = Service(PAIR, events(text(LIE), "end_turn"), events(text("no JSON"), "end_turn"), events(text(GOOD), "end_turn"))
    outcome = asked(service, box)
    assert outcome.answer is not None
    assert outcome.usage.refusals == 2
    told = service.bodies()[2]["messages"][-1]["content"]
    assert "'9'" in told
    assert "it cites no fact" in told


def test_a_call_that_fails_is_told_to_the_model(box: Toolbox) -> None:
    wrong = [tool("tick", match="9/mixed/0", tick=1), tool("nothing"), tool("pair", agent="mpc", other=7)]
    service = Service(*(events(one, "tool_use") for one in wrong), PAIR, events(text(GOOD), "end_turn"))
    outcome = asked(service, box)
    assert outcome.answer is not None, outcome.why
    results = [body["messages"][-1]["content"][0] for body in service.bodies()[1:4]]
    assert [result["is_error"] for result in results] == [True] * 3
    assert "episode 9 was not played" in results[0]["content"]


def broken(_: httpx2.Request) -> httpx2.Response:
    def body() -> Iterator[bytes]:
        yield PAIR[:300]
        raise httpx2.ReadError("the line is gone")

    return httpx2.Response(200, content=body(), headers={"content-type": "text/event-stream"})


def down(_: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("nobody there")


def status(code: int, **body: Any) -> Answering:
    error = {"type": "error", "error": {"type": "some_error", "message": f"no, {KEY}"}, **body}
    return lambda _: httpx2.Response(code, json=error, headers={"retry-after": "0"})


FAILURES: list[tuple[str, tuple[bytes | Answering, ...], str, int]] = [
    ("cut off", (events(text(GOOD), None),), "the stream ended early", 1),
    ("cut off in a call", (events(tool("pair"), None),), "the stream ended early", 1),
    ("nothing", (b"",), "the stream ended before it began", 1),
    ("broken", (broken,), "", 1),
    ("garbage", (b"event: message_start\ndata: {nonsense\n\n",), "", 1),
    ("not in order", (b'event: message_stop\ndata: {"type": "message_stop"}\n\n',), "", 1),
    ("too long", (events(text(GOOD), "max_tokens"),), "stopped with max_tokens", 1),
    ("declined", (events(text("no"), "refusal"),), "stopped with refusal", 1),
    ("lying", (events(text(LIE), "end_turn"),), "its statements were refused 3 times", 3),
    ("endless", (PAIR,), "no answer in 8 messages", 8),
    ("dear", (events(tool("pair", agent="mpc", other="threshold"), "tool_use", BUDGET),), "budget of 150,000 tokens", 1),
    ("down", (down,), "", 3),
    ("overloaded", (status(529),), "", 3),
    ("no key", (status(401),), "", 1),
    ("no page", (status(404),), "", 1),
]


@pytest.mark.parametrize(("answers", "why", "requests"), [one[1:] for one in FAILURES], ids=[one[0] for one in FAILURES])
def test_failures_of_every_kind_say_why(
    answers: tuple[bytes | Answering, ...], why: str, requests: int, box: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropic._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("anthropic._base_client.MAX_RETRY_DELAY", 0.002)
    service = Service(*answers)
    outcome = asked(service, box)
    assert outcome.answer is None
    assert outcome.why
    assert why in outcome.why
    assert len(service.sent) == requests
    assert KEY not in outcome.why
    assert "planted lie" not in outcome.why


def test_no_client_is_built_without_a_key(box: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anthropic, "Anthropic", lambda **_: pytest.fail("a client is built"))
    assert ask("Why?", box, key="  ").why == "no ANTHROPIC_API_KEY is set"


def test_the_default_model_is_one_of_the_library_s() -> None:
    from anthropic._data import DEPRECATED_MODELS

    names = typing.get_args(typing.get_args(anthropic.types.Model)[0])
    assert DEFAULT_MODEL in names
    assert DEFAULT_MODEL not in DEPRECATED_MODELS


@pytest.mark.parametrize("stops", ["end_turn", None])
def test_the_command_answers_either_way_and_a_planted_key_is_nowhere(
    stops: str | None,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    service = Service(PAIR, events(text(GOOD), stops))
    real = anthropic.Anthropic

    def client(**options: Any) -> Any:
        options["http_client"] = httpx2.Client(transport=httpx2.MockTransport(service))
        return real(**options)

    monkeypatch.setattr(anthropic, "Anthropic", client)
    assert main(["explain", str(folder), "--ask", f"Why does mpc beat threshold? My key is {KEY}.", "--model", "some-model"]) == 0
    out, err = capsys.readouterr()
    if stops is None:
        assert "Of that lead," in out
        assert "explain: worded by template (the stream ended early)" in err
    else:
        assert out.startswith("Over 2[1] days mpc[2] earned a profit of")
        assert "explain: worded by some-model" in err
    assert "tokens in" in err
    assert err.index("go to api.anthropic.com") < err.index("tokens in")
    everything = out + err + caplog.text + "".join(request.content.decode() for request in service.sent)
    assert KEY not in everything
    assert main(["explain", str(folder), "--ask", "Why does mpc beat threshold?", "--offline"]) == 0
    assert "asked to stay offline" in capsys.readouterr().err
    assert len(service.sent) == 2
