"""The process in which agents are examined: started apart from whoever asks, it forks one process an agent and one a play.

It is told what to do by a line of JSON on its standard input, and answers with a line of JSON an agent on its standard output, which
agents cannot reach. A second one, *elsewhere*, with another hash seed and another time of day, answers with traces of single plays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib
import json
import marshal
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from gridpilot.agents.base import BatchAgent
from gridpilot.agents.deadline import Overdue, deadline
from gridpilot.agents.registry import find_agent, registered
from gridpilot.agents.seating import AgentSpec
from gridpilot.audit.ask import command, environment
from gridpilot.audit.checks import SHORT, Subject, judge
from gridpilot.audit.fork import ForkError, die_with_parent, forked
from gridpilot.audit.play import Incident, Play, Size, Trace, perform, seed_globally
from gridpilot.audit.state import ModulesState, ProcessState
from gridpilot.audit.verdict import LAWS, Verdict
from gridpilot.audit.watch import Watch, raw_memory
from gridpilot.errors import GridPilotError
from gridpilot.file_access import search_here_last

__all__ = ["serve"]

BUILD_SECONDS: Final = 60.0  # to import an agent
WHOLE_SECONDS: Final = 900.0  # for an agent; every play has a limit of its own
UNHURRIED: Final = 30.0  # s a decision, where an agent is not played as it is in tournaments
SHIFT: Final = 100 * 86400.0 + 27060.0  # s by which the clock is put on elsewhere

Request = Mapping[str, Any]


def serve(request: Request) -> None:
    """Answer ``request``: an array of ``agents`` (``target``, ``params``), ``short``, ``deadline``, ``patience``, ``elsewhere``."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    search_here_last()
    if request["elsewhere"]:
        _serve_plays(request, answers)
        return
    other = None if request["short"] else _Elsewhere(request)
    _warm_up(request)
    for agent in request["agents"]:
        started = time.perf_counter()
        try:
            answer = forked(partial(_examine, AgentSpec(**agent), request, other), WHOLE_SECONDS)
        except ForkError as error:
            found = str(error).splitlines()[0]
            answer = json.dumps(
                {"verdicts": [dataclasses.asdict(Verdict("builds", "failed", f"when imported: {found}"))], "clairvoyant": False}
            )
        answers.write(json.dumps({**json.loads(answer), "seconds": time.perf_counter() - started}).encode() + b"\n")
    if other is not None:
        other.close()


def _warm_up(request: Request) -> None:
    """Load kernels once for all forks: the market's, and those of the project's own agents that are asked about."""
    own = [AgentSpec(**agent) for agent in request["agents"] if agent["target"] in registered()]
    for spec in (AgentSpec("truthful", {}), *own):
        for alone in (False, True)[: 1 if find_agent(spec.target).clairvoyant else 2]:
            perform(spec, Play(alone=alone), Size(1, 2), math.inf)  # it may have to compile


def _examine(spec: AgentSpec, request: Request, other: _Elsewhere | None) -> str:
    """In the process of one agent, which imports it and lets it play in further ones: its verdicts as JSON."""
    short, limit = bool(request["short"]), float(request["deadline"])
    watch = Watch(spec.target)
    modules, process = ModulesState(watch.is_own), ProcessState()
    watch.install()
    try:
        with deadline(BUILD_SECONDS):
            clairvoyant = find_agent(spec.target).clairvoyant
    except GridPilotError as error:
        return json.dumps({"error": str(error)})
    except (Overdue, SystemExit) as error:
        return _answer([Verdict("builds", "failed", f"when imported: {type(error).__name__}: {error}")], clairvoyant=False)
    imported = [*watch.incidents, *raw_memory(spec.target), *modules.changes(), *process.changes()]

    def in_a_fork(play: Play, size: Size) -> Trace:
        seconds = max(limit, UNHURRIED) if play.alone else limit
        trace = _unpack(forked(lambda: _pack(_noted(spec, play, size, seconds, watch, modules)), float(request["patience"])))
        for name in trace.imported:  # once for all further plays, as a process does that plays more than one episode
            with contextlib.suppress(ImportError):  # a module that its package makes up
                importlib.import_module(name)
        return trace

    def apart(play: Play, size: Size) -> Trace:
        assert other is not None
        return other.play(spec, play, size, max(limit, UNHURRIED))

    try:
        on_arrays = bool(forked(lambda: _plays_on_arrays(spec), BUILD_SECONDS))
    except ForkError as error:
        if error.why == "raised" and "Error: agent " in str(error):
            return json.dumps({"error": str(error).splitlines()[0].partition(": ")[2]})
        return _answer([Verdict("builds", "failed", f"when built: {str(error).splitlines()[0]}")], clairvoyant=clairvoyant)
    subject = Subject(
        in_a_fork,
        None if short else apart,
        on_arrays=on_arrays,
        clairvoyant=clairvoyant,
        deadline=limit,
        short=short,
    )
    subject.incidents += imported
    verdicts = [Verdict("builds", "passed"), *judge(subject, SHORT if short else tuple(LAWS))]
    return _answer(verdicts, clairvoyant=clairvoyant)


def _answer(verdicts: list[Verdict], *, clairvoyant: bool) -> str:
    return json.dumps({"verdicts": [dataclasses.asdict(verdict) for verdict in verdicts], "clairvoyant": clairvoyant})


def _plays_on_arrays(spec: AgentSpec) -> bool:
    agent = spec.build()
    return isinstance(agent, BatchAgent) and bool(agent.on_arrays)


def _noted(spec: AgentSpec, play: Play, size: Size, limit: float, watch: Watch, modules: ModulesState) -> Trace:
    """The play with everything that was seen beside it."""
    seed_globally(play.random)
    process, before = ProcessState(), set(sys.modules)
    trace = perform(spec, play, size, limit)
    imported = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name not in before}
    trace.imported = [name for name, file in imported.items() if file and not watch.is_own(file)]
    trace.incidents += [*watch.incidents, *modules.changes(), *process.changes()]
    return trace


# Traces between processes: by marshal, which runs no code of whoever sent them.


def _pack(trace: Trace) -> dict[str, Any]:
    packed: dict[str, Any] = {}
    for field in dataclasses.fields(trace):
        value = getattr(trace, field.name)
        if isinstance(value, dict):
            value = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in value.items()}
        elif field.name == "incidents":
            value = [tuple(incident) for incident in value]
        packed[field.name] = value
    return packed


def _unpack(packed: Mapping[str, Any]) -> Trace:
    arrays = ("orders", "results", "repeated")
    values: dict[str, Any] = {
        name: {key: np.frombuffer(content, dtype=kind).reshape(shape) for key, (kind, shape, content) in value.items()}
        if name in arrays
        else value
        for name, value in packed.items()
    }
    values["incidents"] = [Incident(*incident) for incident in values["incidents"]]
    return Trace(**values)


class _Elsewhere:
    """Another process of this kind, started apart, that makes plays."""

    def __init__(self, request: Request) -> None:
        self._process = subprocess.Popen(
            command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**environment(), "PYTHONHASHSEED": "20517"}
        )
        self._patience = float(request["patience"])
        self._send({**request, "elsewhere": True, "path": sys.path})

    def play(self, spec: AgentSpec, play: Play, size: Size, limit: float) -> Trace:
        """Raises :class:`~gridpilot.audit.fork.ForkError`."""
        self._send(
            {
                "agent": {"target": spec.target, "params": spec.params},
                "play": dataclasses.asdict(play),
                "size": size,
                "deadline": limit,
                "patience": self._patience,
            }
        )
        assert self._process.stdout is not None
        good, value = marshal.load(self._process.stdout)
        if not good:
            raise ForkError(*value)
        return _unpack(value)

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()


def _serve_plays(request: Request, answers: Any) -> None:
    _warm_up(request)
    for line in sys.stdin:
        asked = json.loads(line)

        def play(asked: Any = asked) -> dict[str, Any]:
            _put_the_clock_on(SHIFT)
            seed_globally(0)
            return _pack(perform(AgentSpec(**asked["agent"]), Play(**asked["play"]), Size(*asked["size"]), asked["deadline"]))

        try:
            answer: Any = (True, forked(play, asked["patience"] + BUILD_SECONDS))
        except ForkError as error:
            answer = (False, (error.why, str(error)))
        answers.write(marshal.dumps(answer))


def _put_the_clock_on(seconds: float) -> None:
    """Before the agent is imported, so that ``from time import time`` is met as well; the clocks that only measure stay as they are."""

    def shifted(function: Callable[..., Any], by: float) -> Callable[..., Any]:
        return lambda *given: function(*given) + by

    def of_now(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: function(*(given or (time.time(),)))

    time.time, time.time_ns = shifted(time.time, seconds), shifted(time.time_ns, int(seconds) * 10**9)
    time.localtime, time.gmtime, time.ctime = of_now(time.localtime), of_now(time.gmtime), of_now(time.ctime)
    ours = datetime.timedelta(seconds=seconds)

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, cls.__mro__[1])

    class Later(datetime.datetime, metaclass=Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return super().now(tz) + ours

        @classmethod
        def utcnow(cls) -> Any:
            return datetime.datetime.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    class LaterDay(datetime.date, metaclass=Kind):
        @classmethod
        def today(cls) -> Any:
            return super().today() + ours

    datetime.datetime, datetime.date = Later, LaterDay  # type: ignore[misc]
