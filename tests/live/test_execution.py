"""Carrying a command out against a venue that loses answers, refuses and lies: what runs is never in doubt for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpilot.errors import RefusedError, UnavailableError, UnknownOutcomeError
from gridpilot.live.api import Counts
from gridpilot.live.clock import ManualClock
from gridpilot.live.config import Timing
from gridpilot.live.execution import Execution, Result
from gridpilot.live.facility import Facility
from gridpilot.live.venue import Venue
from tests.live.worlds import facility

ON: Counts = (0, 100, 0, 0, 0)  # 500 kW
OFF: Counts = (0, 0, 0, 0, 0)


class Flaky(Venue):
    """Follows a script of faults, one a call: ok, lost (applied, no answer), dropped (not applied, no answer), refused, away, lie, late.

    What is late is applied two calls after it was given up.
    """

    name = "flaky"

    def __init__(self, one: Facility, puts: Sequence[str] = (), gets: Sequence[str] = ()) -> None:
        self.clock, self.timing = ManualClock(), Timing.of(1.0)
        self.facility, self.running = one, list(one.off)
        self.puts, self.gets = list(puts), list(gets)
        self.log: list[tuple[str, int, Any]] = []
        self.peak = 0
        self.under_way: list[tuple[int, int, Counts]] = []  # calls until it arrives, site, counts

    def _arrive(self) -> None:
        self.under_way = [(calls - 1, site, counts) for calls, site, counts in self.under_way]
        for calls, site, counts in self.under_way:
            if calls == 0:
                self._apply(site, counts)

    def _apply(self, site: int, counts: Counts) -> None:
        self.running[site] = counts
        self.peak = max(self.peak, self.facility.total_w(self.running))

    def open(self) -> Facility:
        return self.facility

    def prices(self) -> Sequence[Any]:
        return ()

    def machines(self, site: int) -> Counts:
        self._arrive()
        fault = self.gets.pop(0) if self.gets else "ok"
        self.log.append(("get", site, fault))
        if fault != "ok":
            raise UnavailableError("away")
        return self.running[site]

    def set_machines(self, site: int, counts: Counts) -> Counts:
        self._arrive()
        fault = self.puts.pop(0) if self.puts else "ok"
        self.log.append(("put", site, fault))
        if fault == "refused":
            raise RefusedError("no", status=400)
        if fault == "away":
            raise UnavailableError("busy", retry_after=3.0)
        if fault in ("ok", "lost"):
            self._apply(site, counts)
        if fault == "late":
            self.under_way.append((2, site, counts))
        if fault in ("lost", "dropped", "late"):
            raise UnknownOutcomeError("no answer")
        return counts  # a lie is confirmed, and not applied


def carry_out(
    venue: Flaky, *desired: Counts, is_current: Callable[[], bool | None] = lambda: True, known: bool = True
) -> tuple[Execution, Result]:
    execution = Execution(venue, venue.facility)
    if known:
        gets, venue.gets = venue.gets, []
        execution.reconcile()
        venue.gets = gets
        venue.log.clear()
    now = venue.clock.monotonic()
    return execution, execution.carry_out(desired, is_current=is_current, started=now, until=now + 200.0)


CASES = [
    ([], [], "applied", 1),
    (["lost"], [], "applied", 1),  # read back, found applied, not sent again
    (["dropped"], [], "applied", 2),  # read back, found missing, sent again
    (["lost", "lost"], ["x"], "applied", 2),  # the read-back fails too: the same state once more does no harm
    (["away", "away"], [], "applied", 1),
    (["refused"], [], "refused", 1),
    (["lie"], [], "applied", 2),
    (["lie", "lie", "lie"], [], "unknown", 3),
    ([], ["x"], "applied", 1),  # confirmed by the answer; the read-back adds nothing
]


@pytest.mark.parametrize(("puts", "gets", "status", "attempts"), CASES)
def test_one_site(puts: list[str], gets: list[str], status: str, attempts: int) -> None:
    venue = Flaky(facility("live"), puts, gets)
    execution, result = carry_out(venue, ON)
    assert (result.status, result.attempts) == (status, attempts)
    assert result.counts == (tuple(venue.running[0]),)
    assert execution.certain
    assert (venue.running[0] == ON) == (status == "applied")
    assert result.mismatches == puts.count("lie")


def test_a_command_dies_with_its_row() -> None:
    venue = Flaky(facility("live"), ["dropped"])
    _, result = carry_out(venue, ON, is_current=lambda: False)
    assert (result.status, result.attempts, venue.running[0]) == ("abandoned", 1, OFF)


def test_nothing_is_repeated_while_prices_cannot_be_read() -> None:
    venue = Flaky(facility("live"), ["dropped"])
    _, result = carry_out(venue, ON, is_current=lambda: None)
    assert (result.status, result.attempts) == ("unknown", 1)
    assert venue.clock.monotonic() >= 200.0


def test_a_doubt_stays_on_record_until_a_reading_ends_it() -> None:
    venue = Flaky(facility("live"), ["lost"], ["x"] * 50)
    execution, result = carry_out(venue, ON, is_current=lambda: None)
    assert (result.status, result.counts, execution.certain) == ("unknown", (ON,), False)
    venue.gets = []
    assert execution.reconcile() == (ON,)
    assert execution.certain


def test_power_is_taken_before_it_is_given() -> None:
    venue = Flaky(facility("live", 600_000, 600_000, cap_w=600_000))
    venue.running = [ON, OFF]
    _, result = carry_out(venue, OFF, ON)
    assert [(what, site) for what, site, _ in venue.log if what == "put"] == [("put", 0), ("put", 1)]
    assert (result.status, venue.peak) == ("applied", 500_000)


@pytest.mark.parametrize("fault", ["refused", "lost", "away", "dropped"])
def test_a_site_does_not_grow_while_another_may_still_draw_the_power(fault: str) -> None:
    venue = Flaky(facility("live", 600_000, 600_000, cap_w=600_000), [fault] * 100, ["x"] * 200)
    venue.running = [ON, OFF]
    _, result = carry_out(venue, OFF, ON, is_current=lambda: None)
    assert result.status in ("unknown", "refused")
    assert ("put", 1) not in [(what, site) for what, site, _ in venue.log]


faults = st.lists(st.sampled_from(["ok", "lost", "dropped", "refused", "away", "lie", "late"]), max_size=30)
readings = st.lists(st.sampled_from(["ok", "x"]), max_size=30)
wishes = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)).filter(lambda pair: sum(pair) <= 120), min_size=1, max_size=6)
currents = st.lists(st.sampled_from([True, False, None]), max_size=20)


@given(faults, readings, wishes, currents, st.booleans())
def test_whatever_fails_two_sites_never_draw_more_than_their_connection(
    puts: list[str], gets: list[str], pairs: list[tuple[int, int]], current: list[bool | None], known: bool
) -> None:
    venue = Flaky(facility("live", 600_000, 600_000, cap_w=600_000), puts, gets)
    execution = Execution(venue, venue.facility)
    if known:
        venue.gets = []
        execution.reconcile()
        venue.gets = list(gets)
    for a, b in pairs:
        now = venue.clock.monotonic()
        desired = ((0, a, 0, 0, 0), (0, b, 0, 0, 0))
        result = execution.carry_out(desired, is_current=lambda: current.pop() if current else True, started=now, until=now + 200.0)
        assert venue.peak <= 600_000
        if result.status == "applied" and not {"late", "lie"} & {*puts}:
            assert tuple(venue.running) == desired
