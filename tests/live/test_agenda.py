"""What calls for a decision, and how old a row is where the clock is wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gridpilot.live.accepted_rows import RefusedRow
from gridpilot.live.agenda import Agenda
from gridpilot.live.api import TICK, PriceRow
from tests.live.worlds import START, config

LIMITS = config().risk
HALF_AN_HOUR = timedelta(minutes=30)


def row(at: datetime) -> PriceRow:
    return PriceRow(at, 3.0, 4.0, 2.0)


def refused(at: datetime) -> RefusedRow:
    return RefusedRow(at, "row_from_the_future", "", "")


def kind(agenda: Agenda, newest: PriceRow, now: datetime, wall: float) -> str | None:
    due = agenda.due(newest, now, wall, halted=False, newer=False, late="feed_late")
    return None if due is None else due.kind


@pytest.mark.parametrize("tick_s", [300.0, 10.0])  # wall seconds
def test_a_row_that_a_clock_put_back_calls_the_future_grows_old(tick_s: float) -> None:
    agenda = Agenda(LIMITS, tick_s, row_at=START, mark_at=START, now_wall=0.0)
    assert kind(agenda, row(START), START, 0.0) is None
    shown, back = START + TICK, START + TICK - HALF_AN_HOUR
    agenda.refuse(refused(shown), row(START), back, tick_s)  # a tick later; the clock says half an hour before
    accepted_at = 1.2 + HALF_AN_HOUR / TICK - 2.0  # ticks: the clock is within two ticks of the row
    agenda.arrive(shown, accepted_at * tick_s)
    assert kind(agenda, row(shown), shown - 1.8 * TICK, accepted_at * tick_s) == "no_row"
    assert agenda.arrived == 0.0  # nor does the next one, which was refused as well, bring the feed back
    agenda.refuse(refused(shown + TICK), row(shown), back + TICK, 2 * tick_s)
    agenda.arrive(shown + TICK, (accepted_at + 1.0) * tick_s)
    assert agenda.arrived == 0.0
    agenda.arrive(shown + 6 * TICK, 7 * tick_s)  # the clock was put right
    assert agenda.arrived == 7 * tick_s


def test_a_row_that_is_published_ahead_is_as_old_as_its_time() -> None:
    agenda = Agenda(LIMITS, 300.0, row_at=START, mark_at=START, now_wall=0.0)
    ahead = START + 12 * TICK
    agenda.refuse(refused(ahead), row(START), START, 0.0)  # of the next hour, while the clock is right
    agenda.arrive(ahead, 10 * 300.0)
    assert kind(agenda, row(ahead), START + 10 * TICK, 10 * 300.0) == "row"
    assert agenda.arrived == 10 * 300.0


def test_rows_of_a_clock_that_was_put_right_come_when_they_come() -> None:
    agenda = Agenda(LIMITS, 300.0, row_at=START, mark_at=START, now_wall=0.0)
    assert kind(agenda, row(START), START + 6 * HALF_AN_HOUR + TICK / 5, 0.0) == "no_row"  # three hours ahead
    agenda.arrive(START + TICK, 300.0)
    assert kind(agenda, row(START + TICK), START + TICK, 300.0) == "row"


def test_what_may_be_sent_ends_with_the_age_that_its_kind_allows() -> None:
    agenda = Agenda(LIMITS, 300.0, row_at=None, mark_at=None, now_wall=0.0)
    for kind, ticks in (("row", LIMITS.fallback_after), ("no_row", LIMITS.off_after), ("bad_row", LIMITS.off_after)):
        for wall in (0.0, ticks * 300.0):  # by the clock alone, and by when the row came alone
            clock = START if wall else START + ticks * TICK
            assert agenda.may_be_sent(kind, row(START), clock, wall)
            assert not agenda.may_be_sent(kind, row(START), clock + TICK / 60, wall + 5.0)
