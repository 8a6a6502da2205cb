"""The checks, each a law that a :class:`Subject` is held to. Every play is made in a process of its own, and only its trace comes back."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.audit.fork import MEMORY, ForkError
from gridpilot.audit.play import LATE, Incident, Play, Size, Trace, World
from gridpilot.audit.veil import Veiled
from gridpilot.audit.verdict import LAWS, Verdict

__all__ = ["CHECKS", "SHORT", "Subject", "first_difference", "judge"]

FAR_TOO_SLOW: Final = 0.25  # s a seat, above which a play is cut to one seat and a few ticks

Arrays = dict[str, npt.NDArray[Any]]


class Subject:
    """An agent under examination.

    ``perform``      makes a play in a process of its own; raises :class:`~gridpilot.audit.fork.ForkError`
    ``elsewhere``    makes it in a process that was started apart; ``None`` where that is not wanted
    ``on_arrays``, ``clairvoyant``  what its instances and its class say of themselves
    ``deadline``     s a decision
    ``short``        whether plays are short, and few
    """

    def __init__(
        self,
        perform: Callable[[Play, Size], Trace],
        elsewhere: Callable[[Play, Size], Trace] | None,
        *,
        on_arrays: bool,
        clairvoyant: bool,
        deadline: float,
        short: bool = False,
    ) -> None:
        self._perform, self.elsewhere = perform, elsewhere
        self.on_arrays, self.clairvoyant, self.deadline, self.short = on_arrays, clairvoyant, deadline, short
        self.size = Size(seats=1, ticks=4)
        self.incidents: list[Incident] = []
        self.traces: dict[Play, Trace] = {}
        self.failures: dict[Play, ForkError] = {}
        self.is_slow = False  # so that it is not worth while to go on
        self._fit()

    @property
    def ways(self) -> tuple[bool, ...]:
        """The values of ``Play.alone`` that it is examined with; that of tournaments is False."""
        return (False, True) if self.on_arrays and not (self.clairvoyant or self.short) else (False,)

    def play(self, play: Play) -> Trace:
        """The trace of ``play``, which is made once. Raises :class:`~gridpilot.audit.fork.ForkError`."""
        if play in self.failures:
            raise self.failures[play]
        if play not in self.traces:
            try:
                self.traces[play] = self._perform(play, self.size)
            except ForkError as error:
                self.failures[play] = error
                self.is_slow = self.is_slow or error.why == "late"
                raise
            self.incidents += self.traces[play].incidents
        return self.traces[play]

    @property
    def is_late(self) -> bool:
        """Whether a decision came too late in some play."""
        return any(trace.is_late for trace in self.traces.values())

    def play_again(self, play: Play) -> Trace:
        """The trace of another such play."""
        return self._perform(play, self.size)

    def differs(self, play: Play, other: Play | None = None) -> Verdict | None:
        """Where its orders in ``other``, by default the plain play, are not those in ``play``; the check is still to be named."""
        plain = other or dataclasses.replace(Play(), alone=play.alone)
        return first_difference(self.play(plain), self.play(play))

    def _fit(self) -> None:
        """Choose a size that a play of takes a second or two at the most, if that can be."""
        try:
            traces = [self.play(Play(alone=alone)) for alone in self.ways]
        except ForkError:
            return  # it stays small; the checks find the failure where it was kept
        # The first decision may have to compile or import: it is neither counted nor held to the deadline.
        # Who has nothing to write but once an episode is not asked every tick.
        decision = max(statistics.median(trace.decisions[1:] or [math.inf if trace.is_late else 0.0]) for trace in traces)
        if decision >= FAR_TOO_SLOW:
            self.is_slow = any(trace.is_late for trace in traces)
            return
        reset = max(max(trace.resets, default=0.0) for trace in traces)
        full, seconds = (Size(2, 12), 0.1) if self.short else (Size(), 1.5)
        room = max(seconds - 2 * full.seats * reset, 0.1)
        ticks = int(room / (2 * full.seats * max(decision, 1e-6)))
        self.size = full._replace(ticks=min(max(ticks, 8), full.ticks))
        self.traces.clear()


def judge(subject: Subject, names: Sequence[str]) -> Iterator[Verdict]:
    """The verdicts of the checks ``names``, in the order of LAWS; what one play's failure keeps from being judged is said to be so."""
    verdicts: dict[str, Verdict] = {}
    for name in (name for name in CHECKS if name in names):
        if name in _COMPARED and subject.is_slow:
            verdicts[name] = Verdict(name, "not judged", "it is too slow")
        elif name in _COMPARED and name != "seeds" and verdicts["seeds"].outcome == "failed":
            verdicts[name] = Verdict(name, "not judged", "its bids differ from play to play anyway")
        else:
            try:
                verdicts[name] = dataclasses.replace(CHECKS[name](subject), check=name)
                if name in _COMPARED and verdicts[name].outcome == "failed" and subject.is_late:
                    verdicts[name] = Verdict(name, "not judged", "it is late at times, which makes a difference of its own")
            except ForkError as error:
                verdicts[name] = Verdict(name, "not judged", _first_line(str(error)))
    for name in (name for name in LAWS if name in names and name in _FROM_INCIDENTS):
        found = [incident.found for incident in subject.incidents if incident.check == name]
        verdict = verdicts.get(name)
        if found and (verdict is None or verdict.outcome != "failed"):
            more = f"; and {len(set(found)) - 1} more" if len(set(found)) > 1 else ""
            verdicts[name] = Verdict(name, "failed", f"{found[0]}{more}")
        elif verdict is None:
            verdicts[name] = Verdict(name, "passed") if subject.traces else Verdict(name, "not judged", "it could not be played")
    yield from (verdicts[name] for name in LAWS if name in verdicts)


def first_difference(a: Trace, b: Trace, *, results: bool = False) -> Verdict | None:
    """The first tick, market and seat where the orders (or the ``results``) of two plays differ, to the bit.

    What one of the two has fewer of, markets or ticks, is not compared.
    """
    if {text for *_, text in a.errors} != {text for *_, text in b.errors} and a.results["last_price"].shape == b.results[
        "last_price"
    ].shape:
        market, seat, text = next(error for error in (*b.errors, *a.errors) if error not in a.errors or error not in b.errors)
        return Verdict("", "failed", f"seat {seat} of market {market}, {text}", market=market, seat=seat, field="error")
    left, right = (a.results, b.results) if results else (a.orders, b.orders)
    return _first_difference(left, right, a.seats)


def _first_difference(a: Arrays, b: Arrays, seats: Sequence[int]) -> Verdict | None:
    found: list[tuple[int, int, int, str, float, float]] = []
    for name in a:
        ticks, markets = (min(a[name].shape[axis], b[name].shape[axis]) for axis in (0, 1))
        x, y = (np.ascontiguousarray(array[name][:ticks, :markets]) for array in (a, b))
        other = ~((x == y) & (np.signbit(x) == np.signbit(y)) | ((x != x) & (y != y)))
        if other.any():
            where = tuple(int(i) for i in np.argwhere(other)[0])
            found.append(
                (
                    where[0],
                    where[1],
                    where[2] if len(where) > 2 and name != "totals" else -1,
                    name,
                    float(x[where]),
                    float(y[where]),
                )
            )
    if not found:
        return None
    tick, market, index, name, left, right = min(found)
    seat = None if index < 0 else seats[index] if name.startswith("orders.") else index
    name = name.removeprefix("orders.")
    place = f"tick {tick}, market {market}" + (f", seat {seat}" if seat is not None else "")
    return Verdict("", "failed", f"{place}: {name} is {left:.6g} and {right:.6g}", tick, market, seat, name)


# The checks. Each returns a verdict without the check's name, which is added by ``judge``.

_PASSED: Final = Verdict("", "passed")


def _of(verdict: Verdict | None, prefix: str = "") -> Verdict:
    return _PASSED if verdict is None else dataclasses.replace(verdict, found=f"{prefix}{verdict.found}")


def _no_errors(subject: Subject, plays: Sequence[Play]) -> Verdict:
    for play in plays:
        trace = subject.play(play)
        where = "" if play.world == "ordinary" else f"{_WORLDS[play.world]}, "
        for market, seat, text in trace.errors:
            if LATE not in text:
                return Verdict("", "failed", f"{where}seat {seat} of market {market}, {text}", market=market, seat=seat)
        for tick, market, seat in trace.refused:
            if seat in trace.seats:
                found = f"{where}tick {tick}, market {market}, seat {seat}: its order was not finite, or its prices rose"
                return Verdict("", "failed", found, tick, market, seat)
    return _PASSED


_WORLDS: Final = {"extreme": "extreme prices", "bare": "no history", "odd": "odd plants"}


def _valid(subject: Subject) -> Verdict:
    return _no_errors(subject, [Play(alone=alone) for alone in subject.ways])


def _inputs(subject: Subject) -> Verdict:
    worlds: tuple[World, ...] = ("extreme", "bare", "odd")
    return _no_errors(subject, [Play(world=world, alone=alone) for world in worlds for alone in subject.ways])


def _future(subject: Subject) -> Verdict:
    if subject.clairvoyant:
        return Verdict(
            "",
            "does not apply",
            "it is clairvoyant by its class: shown the future or the others' bids, a yardstick that is never ranked",
        )
    return _veiled(subject, "future")


def _rivals(subject: Subject) -> Verdict:
    if subject.clairvoyant:
        return Verdict("", "does not apply", "it is clairvoyant")
    return _veiled(subject, "rivals")


def _veiled(subject: Subject, what: Veiled) -> Verdict:
    differences = (subject.differs(Play(veil=what, alone=alone)) for alone in subject.ways)
    return _of(next((difference for difference in differences if difference is not None), None), f"with {_VEILS[what]}, ")


_VEILS: Final = {"future": "another future", "rivals": "other rivals"}


def _arrays(subject: Subject) -> Verdict:
    if not subject.on_arrays:
        return Verdict("", "does not apply", "it plays seat by seat only")
    if subject.clairvoyant:
        return Verdict("", "does not apply", "it plays on arrays only, being clairvoyant")
    worlds: tuple[World, ...] = ("ordinary",) if subject.short else ("ordinary", "extreme", "bare", "odd")
    for world in worlds:
        pair = [subject.play(Play(world=world, alone=alone)) for alone in (False, True)]
        difference = first_difference(*pair, results=True)
        if difference is not None:
            return _of(difference, f"{_WORLDS[world]}, " if world in _WORLDS else "")
    return _PASSED


def _seeds(subject: Subject) -> Verdict:
    plain = Play(alone=subject.ways[-1])
    return _of(first_difference(subject.play(plain), subject.play_again(plain)))


def _elsewhere(subject: Subject) -> Verdict:
    assert subject.elsewhere is not None
    plain = Play(alone=subject.ways[-1])
    return _of(first_difference(subject.play(plain), subject.elsewhere(plain, subject.size)))


def _reset(subject: Subject) -> Verdict:
    for alone in subject.ways:
        trace = subject.play(Play(alone=alone, again=True))
        difference = _first_difference(trace.orders, trace.repeated, trace.seats)
        if difference is not None:
            return difference
    return _PASSED


def _batch(subject: Subject) -> Verdict:
    differences = (subject.differs(Play(alone=alone, markets=1)) for alone in subject.ways)
    return _of(next((difference for difference in differences if difference is not None), None), "in two markets and in one, ")


def _pickle(subject: Subject) -> Verdict:
    if subject.clairvoyant:
        return Verdict("", "does not apply", "it plays on arrays only, being clairvoyant")
    alone = subject.ways[-1]
    for play in (Play(alone=alone, carried="pickled"), Play(alone=alone, carried="copied")):
        difference = subject.differs(play)
        if difference is not None:
            return _of(difference, f"{play.carried}: ")
    return _PASSED


def _random(subject: Subject) -> Verdict:
    return _of(subject.differs(Play(random=1)), "at another state of random and numpy.random, ")


def _deadline(subject: Subject) -> Verdict:
    late = [error for error in subject.failures.values() if error.why == "late"]
    if late:
        return Verdict("", "failed", f"a whole play: {late[0]}")
    # An agent on arrays is timed as tournaments play it.
    traces = [trace for play, trace in subject.traces.items() if not play.alone]
    for trace in traces:
        for market, seat, text in trace.errors:
            if LATE in text:
                return Verdict("", "failed", f"seat {seat} of market {market}, {text}", market=market, seat=seat)
    times = [time for trace in traces for time in trace.decisions]
    if not times:
        return Verdict("", "passed", "none was asked of it") if traces else Verdict("", "not judged", "it could not be played")
    slow, reset = float(np.quantile(times, 0.99)), max(time for trace in traces for time in trace.resets or [0.0])
    said = f"99 of 100 decisions within {1000 * slow:.3g} ms, resets within {1000 * reset:.3g} ms; it has {subject.deadline:g} s"
    return Verdict("", "failed" if slow > subject.deadline else "passed", said)


def _resources(subject: Subject) -> Verdict:
    dead = [error for error in subject.failures.values() if error.why != "late"]
    if dead:
        return Verdict("", "failed", _first_line(str(dead[0])))
    for trace in subject.traces.values():
        for _, _, text in trace.errors:
            if "MemoryError" in text:
                return Verdict("", "failed", f"{text}: more than {MEMORY >> 30} GiB")
    return _PASSED


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "no reason was given"


CHECKS: Final[dict[str, Callable[[Subject], Verdict]]] = {
    "seeds": _seeds,
    "valid": _valid,
    "inputs": _inputs,
    "future": _future,
    "rivals": _rivals,
    "arrays": _arrays,
    "elsewhere": _elsewhere,
    "reset": _reset,
    "batch": _batch,
    "pickle": _pickle,
    "random": _random,
    "deadline": _deadline,
    "resources": _resources,
}
"""Check: what judges it; beside what was noticed in all plays."""

_COMPARED: Final = {"seeds", "inputs", "future", "rivals", "arrays", "elsewhere", "reset", "batch", "pickle", "random"}
_FROM_INCIDENTS: Final = {"valid", "random", "outside", "files", "barrier", "resources"}
SHORT: Final = tuple(name for name in LAWS if name not in ("inputs", "elsewhere", "pickle"))
"""The checks of the short form."""
