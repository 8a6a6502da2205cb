"""The agent's process: confines itself, builds the agent, and answers its parent's questions until there are none."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import sys
import time
from typing import Any

import numba

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.isolation import wire
from gridpilot.agents.isolation.confinement import confine
from gridpilot.agents.isolation.mirror import ObservationMirror, ViewMirror
from gridpilot.agents.players import EXCEPTIONS, LocalArrayPlayer, LocalSeatPlayers, Refusal, describe
from gridpilot.agents.registry import build_agent, file_defaults
from gridpilot.agents.view import ORDERS
from gridpilot.file_access import FilesRead, refuse_other_files, watch_files

__all__ = ["main"]

_FLUSH = 0.01  # s, the longest that answers wait for those of other seats: the parent counts the time since the last one


def main(descriptor: int) -> None:
    """Serve the parent at the other end of a socket."""
    _Host(socket.socket(fileno=descriptor)).serve()


class _Host:
    """What the process holds: an agent on arrays, or one a seat. Questions are pickled by our parent, whom we have to trust."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._source = end, end.makefile("rb")
        self._waiting, self._flushed = bytearray(), time.monotonic()
        self._watch = contextlib.ExitStack()  # over the files that the agent reads
        self._read: FilesRead | None = None

    def serve(self) -> None:
        """Answer question by question, until the parent is gone."""
        answer = {
            wire.START: self._start,
            wire.BUILD: self._build,
            wire.OPEN: self._open,
            wire.LOOK: self._look,
            wire.RESET: self._reset,
            wire.BID: self._bid,
            wire.LEARN: self._learn,
            wire.FILES: self._report,
        }
        while len(header := self._source.read(wire.HEADER.size)) == wire.HEADER.size:
            self._number, self._kind, size = wire.HEADER.unpack(header)
            self._flushed = time.monotonic()
            answer[self._kind](self._source.read(size))
            self._flush()

    def _say(self, answer: bytes) -> None:
        self._waiting += wire.HEADER.pack(self._number, self._kind, len(answer)) + answer
        if time.monotonic() - self._flushed > _FLUSH:
            self._flush()

    def _flush(self) -> None:
        self._end.sendall(self._waiting)
        self._waiting.clear()
        self._flushed = time.monotonic()

    def _start(self, content: bytes) -> None:
        limits, parent, threads = pickle.loads(content)
        numba.set_num_threads(threads)
        confine(limits, parent)
        # From here on, what is printed is the agent's: it goes nowhere, as there may be no end to it.
        sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        self._say(b"")

    def _build(self, content: bytes) -> None:
        target, params, seats, files = pickle.loads(content)
        self._target, self._params = target, params
        if self._read is None:  # the first time; what is read at import is read once
            self._read = FilesRead()
            if files is None:
                self._read = self._watch.enter_context(watch_files())
            else:
                self._watch.enter_context(refuse_other_files(files))
        try:
            agent = build_agent(target, params)
            on_arrays = isinstance(agent, BatchAgent) and agent.on_arrays
            if isinstance(agent, BatchAgent) and on_arrays:
                self._player = LocalArrayPlayer(agent)
                self._writes = [ORDERS.index(name) for name in ORDERS if name in agent.writes]
            else:
                self._players = LocalSeatPlayers([agent, *(build_agent(target, params) for _ in range(seats - 1))])
            answer = _facts(agent, on_arrays).encode()
        except BaseException as error:  # the agent's own code may raise anything, which all means that there is no agent
            answer = wire.encode_refusal(Refusal(EXCEPTIONS, describe(error)))
        self._say(answer)

    def _report(self, content: bytes) -> None:
        opened = [] if self._read is None else [str(path) for path in self._read.paths]
        self._say(wire.Report(opened, file_defaults(self._target, self._params)).encode())

    def _open(self, content: bytes) -> None:
        limit, view = pickle.loads(content)
        self._mirror = ViewMirror(view)
        self._say_orders(self._player.reset(self._mirror.view, limit), self._mirror.orders)

    def _look(self, content: bytes) -> None:
        view, limit = self._mirror.look(content)
        self._say_orders(self._player.bid(view, limit), [self._mirror.orders[i] for i in self._writes])

    def _say_orders(self, refusal: Refusal | None, orders: Any) -> None:
        self._say(wire.encode_orders(orders) if refusal is None else wire.encode_refusal(refusal))

    def _reset(self, content: bytes) -> None:
        limit, starts = pickle.loads(content)
        self._mirrors = {start.place: ObservationMirror(start.site, start.market) for start in starts}
        for start in starts:
            self._say(wire.encode_refusal(self._players.reset([start], limit)[0]))

    def _bid(self, content: bytes) -> None:
        limit, asked = pickle.loads(content)
        for index, news in asked:
            observation = self._mirrors[index].observation(news)
            self._say(wire.encode_bid(self._players.bid([(index, observation)], limit)[0]))

    def _learn(self, content: bytes) -> None:
        limit, told = pickle.loads(content)
        for index, outcome in told:
            self._say(wire.encode_refusal(self._players.learn([(index, outcome)], limit)[0]))


def _facts(agent: Agent, on_arrays: bool) -> wire.Facts:
    reads, writes, blocks = (agent.reads, agent.writes, agent.stated_blocks) if isinstance(agent, BatchAgent) else ((), (), 0)
    return wire.Facts(
        on_arrays=on_arrays,
        clairvoyant=type(agent).clairvoyant,
        learns=type(agent).learn is not Agent.learn,
        reads=list(reads) if on_arrays else [],
        writes=list(writes) if on_arrays else [],
        stated_blocks=blocks if on_arrays else 0,
    )
