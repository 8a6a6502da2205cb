"""Agents that are built in processes of their own: honest ones that remember and learn, and those that attack their surroundings."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gridpilot.agents.base import Agent, BatchAgent, generator
from gridpilot.agents.view import View
from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site
from gridpilot.market.step import OWN_CURVE, SHADED_CURVE, STATED_BLOCKS


class Learner(Agent):
    """Bids by everything it is shown, by chance, and by what it learned."""

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.site, self.market, self.generator, self.weight = site, market, generator(seed), 1.0

    def bid(self, observation: Observation) -> Bid:
        assert observation.site is self.site
        assert observation.market == self.market
        assert len(observation.cleared) == observation.tick
        shown = float(observation.to_vector().sum()) + observation.history.sum() + observation.cleared.sum()
        last = 0.0 if observation.last is None else observation.last.profit + len(observation.last.refused)
        shade = 0.1 * math.sin(self.weight + shown + last) * self.generator.random()
        values = None if observation.tick % 3 else np.full(len(self.site.fleet), 0.01)
        bid = observation.truthful_bid(self.generator.random() * 0.1 if observation.tick % 2 else None, values, min(shade, 0.0))
        observation.history[:] = math.nan  # its own copy
        return bid

    def learn(self, outcome: Outcome) -> None:
        self.weight += outcome.profit * 1e-3 + outcome.clearing_price


class ArrayLearner(BatchAgent):
    """The same on arrays, in every field and every order."""

    stated_blocks = 3

    def bid(self, observation: Observation) -> Bid:
        raise AssertionError("is asked on arrays")

    def reset_batch(self, view: View) -> None:
        self.weight = np.zeros(len(view.seed)) + view.plants.plant["grid_kw"][view.plant] * 1e-6
        self.generators = [generator(int(seed)) for seed in view.seed]
        view.orders.commitment[:] = 0.02

    def bid_batch(self, view: View) -> None:
        market, orders = view.market, view.orders
        assert len(view.cleared) == view.tick
        public = view.history.sum(axis=(0, 2)) + view.cleared.sum(axis=(0, 2)) + view.prices.sum(axis=1) + view.levels.sum(axis=1)
        public += view.ambient_c + view.capacity + view.week_tick + view.last_price
        own = view.storage.sum(axis=1) + view.machine_kw.sum(axis=1) + view.outcome.sum(axis=1) + view.refused
        self.weight += 1e-3 * np.sin(public[market] + own) + [1e-3 * chance.random() for chance in self.generators]
        orders.kind[:] = np.where(view.tick % 3 == 0, SHADED_CURVE, np.where(self.weight > 0, OWN_CURVE, STATED_BLOCKS))
        orders.storage_value[:] = 0.05 + 0.01 * np.sin(self.weight)
        orders.shade[:] = -0.1 * np.cos(self.weight)[:, None] ** 2
        orders.blocks[:, 0, 0], orders.blocks[:, 0, 1] = 100.0, 0.2 + 0.01 * np.sin(self.weight)
        if view.tick == 4:
            orders.storage_value[0] = math.inf  # cannot be carried out
        view.history[:] = view.history * 1.5  # its own copy


class Sparse(BatchAgent):
    """Reads one field, and changes an order that it does not declare."""

    reads = ("last_price",)
    writes = ("storage_value",)

    def bid(self, observation: Observation) -> Bid:
        raise AssertionError("is asked on arrays")

    def reset_batch(self, view: View) -> None:
        view.orders.shade[:] = -0.05

    def bid_batch(self, view: View) -> None:
        view.orders.storage_value[:] = view.last_price[view.market]
        view.orders.kind[:] = SHADED_CURVE


class Faulty(Agent):
    """Answers what ``answers`` names, by turns."""

    def __init__(self, answers: list[str], reset: str = "fine", learn: str = "fine") -> None:
        self.answers, self.in_reset, self.in_learn = answers, reset, learn

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        FAULTS[self.in_reset]()

    def bid(self, observation: Observation) -> Bid:
        answer: Bid = FAULTS[self.answers[observation.tick % len(self.answers)]]()
        return answer

    def learn(self, outcome: Outcome) -> None:
        FAULTS[self.in_learn]()


class FaultyArrays(BatchAgent):
    """Does what ``faults`` names at the tick of that number, in the reset at -1."""

    def __init__(self, fault: str, tick: int) -> None:
        self.fault, self.at = fault, tick

    def bid(self, observation: Observation) -> Bid:
        raise AssertionError("is asked on arrays")

    def reset_batch(self, view: View) -> None:
        if self.at == -1:
            FAULTS[self.fault]()

    def bid_batch(self, view: View) -> None:
        if self.at == view.tick:
            FAULTS[self.fault]()


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def _raise(error: BaseException) -> Callable[[], Any]:
    def fault() -> Any:
        raise error

    return fault


def _changed(**change: Any) -> Callable[[], Bid]:
    def fault() -> Bid:
        bid = Bid([(10.0, 0.1)])
        for key, value in change.items():
            object.__setattr__(bid, key, value)
        return bid

    return fault


def _sleep() -> None:
    time.sleep(30.0)


def _blocks_its_signals() -> None:
    """Late, and out of reach of any alarm."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    while True:
        try:
            time.sleep(30.0)
        except BaseException:
            continue


def _segfault() -> None:
    ctypes.string_at(0)


def _eat_memory() -> None:
    hoard = []
    while True:
        hoard.append(np.empty(1 << 24))  # refused before it is used


def _eat_shared_memory() -> None:
    hoard = []
    while True:
        hoard.append(mmap.mmap(-1, 1 << 24))
        hoard[-1].write(b"x" * (1 << 24))


def _fork() -> None:
    """Twenty children in sessions of their own, unless one is refused."""
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            time.sleep(60.0)
            os._exit(0)


def _print_without_end() -> None:
    while True:
        print("x" * 10_000)
        os.write(1, b"y" * 10_000)
        os.write(2, b"z" * 10_000)


def _burn_in_threads() -> None:
    for _ in range(4):
        threading.Thread(target=lambda: [0 for _ in iter(int, 1)], daemon=True).start()


def _pipes() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
        except OSError:
            continue
    return found


def _write_to_parent(data: bytes) -> Callable[[], None]:
    def fault() -> None:
        for descriptor in _pipes():
            os.write(descriptor, data)

    return fault


def _hang_up() -> None:
    for descriptor in _pipes():
        os.close(descriptor)


def _patch_modules() -> Bid:
    """Turns the market off, as far as it reaches."""
    Arena.step = lambda self: None  # type: ignore[method-assign]
    Arena.place = lambda *_: None  # type: ignore[method-assign, assignment]
    np.where = random.random = math.sqrt = os.kill = None  # type: ignore[assignment]
    return Bid([])


def _patch_bids() -> Bid:
    Bid.__init__ = lambda self, *_: None  # type: ignore[method-assign, assignment]
    return Bid([])


def _reach_out() -> None:
    """Names of all that succeeded where it should not, as an error."""
    parent = os.getppid()
    tries: dict[str, Callable[[], Any]] = {
        "signal": lambda: os.kill(parent, 0),
        "group": lambda: os.kill(0, 0),
        "memory": lambda: Path(f"/proc/{parent}/mem").open("rb+").close(),
        "environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "network": lambda: socket.socket(),
        "program": lambda: subprocess.run(["true"], check=False),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
        "limits": lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_CORE, (0, 0)),
        "secrets": lambda: [os.environ[name] for name in ("MARA_API_KEY", "ANTHROPIC_API_KEY", "OTHER_TOKEN")],
    }
    reached = []
    for name, attempt in tries.items():
        try:
            attempt()
        except (OSError, KeyError, ValueError):  # what resource makes of a refusal
            continue
        reached.append(name)
    threading.Thread(target=int).start()  # and a thread is no process
    raise RuntimeError(f"reached: {reached}")


FAULTS: dict[str, Callable[[], Any]] = {
    "fine": lambda: Bid([(10.0, 0.2)]),
    "raise": _raise(ValueError("out of ideas")),
    "exit": _raise(SystemExit("enough")),
    "unreadable": _raise(Unreadable()),
    "none": lambda: None,
    "nan": _changed(blocks=np.array([[math.nan, 1.0]])),
    "text": _changed(blocks="all of it"),
    "storage": _changed(storage_value=math.inf),
    "commitments": lambda: Bid([(1.0, 1.0)], 0.1, [0.0] * 9),
    "blocks": lambda: Bid([(1.0, 1.0)] * 99),
    "two thousand blocks": lambda: Bid(np.ones((2_000, 2))),
    "rising": lambda: Bid([(1.0, 1.0), (1.0, 2.0)]),
    "late": _sleep,
    "hang": _blocks_its_signals,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "_exit": lambda: os._exit(3),
    "interrupt": _raise(KeyboardInterrupt()),
    "segfault": _segfault,
    "memory": _eat_memory,
    "shared memory": _eat_shared_memory,
    "fork": _fork,
    "print": _print_without_end,
    "burn": _burn_in_threads,
    "garbage": _write_to_parent(b"garbage" * 1000),
    "huge": _write_to_parent(struct.pack("<IIQ", 3, 5, 2**60)),
    "hang up": _hang_up,
    "patch": _patch_modules,
    "patch bids": _patch_bids,
    "reach out": _reach_out,
}


class Impatient(Agent):
    """Cannot be built for long: so far fewer times than ``times``, as counted in a file."""

    starts: ClassVar[Path] = Path("starts")

    def __init__(self, times: int) -> None:
        count = int(self.starts.read_text()) if self.starts.exists() else 0
        self.starts.write_text(str(count + 1))
        if count >= times:
            os._exit(7)

    def bid(self, observation: Observation) -> Bid:
        os._exit(8)


class Nested(Agent):
    """Shows what it prints, and where it runs."""

    def bid(self, observation: Observation) -> Bid:
        print("from the agent")
        print("from the agent", file=sys.stderr)
        return Bid([])
