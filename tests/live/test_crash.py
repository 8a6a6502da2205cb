"""Killed at every boundary of the journal and of a command, an engine that comes back converges to what the venue reports."""

from __future__ import annotations

import http.client
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gridpilot.errors import LiveError
from gridpilot.live.api import Counts
from gridpilot.live.journal import Journal, Record
from gridpilot.live.mara_venue import MaraVenue
from gridpilot.live.replica import replay
from tests.live.loops import TiedClock, engine, mara, run
from tests.live.other_server import OtherServer
from tests.live.test_engine import check_record


def die() -> None:
    """As kill -9 does, at once."""
    os.kill(os.getpid(), signal.SIGKILL)


class FatalJournal(Journal):
    """Kills its process before or after the n-th append."""

    fatal = (0, "")

    def append(
        self, records: Sequence[tuple[str, Mapping[str, Any]]], *, at: datetime, hurried: bool = False
    ) -> tuple[Record, ...]:
        n, when = self.fatal
        self.fatal = (n - 1, when)
        if n == 1 and when == "before":
            die()
        written = super().append(records, at=at, hurried=hurried)
        if n == 1 and when == "after":
            die()
        return written


class RemoteClock(TiedClock):
    """Moves the server's rows from another process."""

    def __init__(self, server: OtherServer) -> None:
        super().__init__(server)
        self._host = server.url.removeprefix("http://")
        server.advance_rows = self._advance  # type: ignore[method-assign]  # of this process's copy

    def _advance(self, n: int = 1) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=10)
        connection.request("POST", "/advance")
        connection.getresponse().read()
        connection.close()


def fatal_run(server: OtherServer, key: str, path: Path, where: str, n: int) -> None:
    """Run an engine until it dies; the n-th append or PUT is fatal."""
    clock = RemoteClock(server)
    venue = mara(server, [key], clock)
    if where.startswith("put"):
        _let_puts_kill(venue, where.partition(" ")[2], n)
    journal = FatalJournal(path)
    journal.fatal = (n, where.partition(" ")[2]) if where.startswith("append") else (0, "")
    loop, _ = engine(venue, journal, rows=50)
    loop.run()


def _let_puts_kill(venue: MaraVenue, when: str, n: int) -> None:
    send, count = venue.set_machines, iter(range(1, 100))

    def set_machines(site: int, counts: Counts) -> Counts:
        fatal = next(count) == n
        if fatal and when == "before":
            die()
        answer = send(site, counts)
        if fatal:
            die()
        return answer

    venue.set_machines = set_machines  # type: ignore[method-assign]


# The first appends: session, decision and intent, outcome; then rows, decision and intent, outcome, rows ...
BOUNDARIES = [(f"append {when}", n) for n in range(1, 8) for when in ("before", "after")]
BOUNDARIES += [(f"put {when}", n) for n in (1, 2) for when in ("before", "after")]


@pytest.mark.parametrize(("where", "n"), BOUNDARIES)
@pytest.mark.parametrize("gap", [0, 1])
def test_killed_anywhere_it_converges(where: str, n: int, gap: int, tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with OtherServer(rows=3) as server:
        key = server.key()
        process = multiprocessing.get_context("fork").Process(target=fatal_run, args=(server, key, path, where, n))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        server.advance_rows(gap)
        watch, records = run(mara(server, [key], TiedClock(server)), path, rows=3)
        assert watch.reports[-1].status == "applied"
        assert server.machines(key) == watch.reports[-1].counts[0]
        assert server.peak_w <= 1_000_000
        check_record(records)
        sent = {record.body["command"] for record in records if record.kind == "intent"}
        assert sent <= {record.body["command"] for record in records if record.kind == "outcome"}  # each has an end
        with Journal(path) as journal:
            assert replay(journal).different == 0
            assert journal.verify().problem is None


def test_machines_that_cannot_be_read_keep_it_from_running_again(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server:
        key = server.key()
        process = multiprocessing.get_context("fork").Process(
            target=fatal_run, args=(server, key, tmp_path / "j.db", "put after", 1)
        )
        process.start()
        process.join(60)
        server.script("GET /machines", *["truncated"] * 5000)
        venue = mara(server, [key], TiedClock(server))
        venue.timing = venue.client.timing.__class__(**{**vars(venue.timing), "tick": 0.3})
        with pytest.raises(LiveError, match="cannot start without the machines that run"):
            run(venue, tmp_path / "j.db")
