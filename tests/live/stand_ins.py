"""Stand-ins in a test: called in its own process, or served on an ephemeral port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
from fastapi import FastAPI

from gridpilot.live.api import PriceRow
from gridpilot.live.clock import Clock, ManualClock
from gridpilot.live.stand_in.app import create_app
from gridpilot.live.stand_in.endpoints import StandIn
from gridpilot.live.stand_in.faults import Faults, Rule
from gridpilot.live.stand_in.options import StandInOptions
from gridpilot.live.stand_in.server import listen, make_server
from tests.live.worlds import START, walk


class Caller:
    """Calls an application without a server.

    ``naps`` holds the wall seconds that each slow fault would have waited, and how many commands had been applied by then.
    """

    def __init__(
        self, feed: Sequence[PriceRow] | None = None, *, clock: Clock | None = None, faults: Faults | None = None, **options: Any
    ) -> None:
        self.naps: list[tuple[float, int]] = []
        self.clock = clock or ManualClock(START)
        self.app = create_app(StandInOptions(**options), walk(50) if feed is None else feed, self.clock, faults, sleep=self._nap)
        self.stand_in: StandIn = self.app.state.stand_in
        self._runner = asyncio.Runner()
        self._http = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="http://stand-in")

    async def _nap(self, seconds: float) -> None:
        self.naps.append((seconds, len(self.stand_in.sites.puts)))

    def __call__(self, endpoint: str, key: str | None = None, body: Any = None, content: bytes | None = None) -> httpx2.Response:
        method, path = endpoint.split(" ")
        headers = {} if key is None else {"X-Api-Key": key}
        return self._runner.run(self._http.request(method, path, headers=headers, json=body, content=content))

    def key(self) -> str:
        """The key of a new site."""
        return self.stand_in.sites.register("a site").key

    def close(self) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()


@contextlib.contextmanager
def calling(*feed: Any, **choices: Any) -> Iterator[Caller]:
    """A ``Caller``, closed at the end."""
    caller = Caller(*feed, **choices)
    try:
        yield caller
    finally:
        caller.close()


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of ``app`` on a real socket."""
    server = make_server(app)
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def rules(*entries: Any, seed: int = 0) -> Faults:
    """Faults from rules as a file holds them."""
    return Faults([Rule.model_validate(entry) for entry in entries], seed)
