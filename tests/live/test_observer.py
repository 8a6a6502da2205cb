"""What agents are shown: observations that are made of rows and results alone."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpilot.live.api import TICK, PriceRow
from gridpilot.live.observer import Observer, RowBuffer, week_tick
from gridpilot.market.bids import Bid
from gridpilot.market.units import DT
from tests.live.worlds import START, facility, walk


def started(rows: list[PriceRow], keep: int = 100) -> Observer:
    observer = Observer(facility("documented"), keep)
    observer.add(rows[:1])
    observer.start()
    observer.add(rows[1:])
    return observer


@pytest.mark.parametrize(
    ("at", "tick"),
    [
        (datetime(2025, 6, 23, tzinfo=UTC), 0),  # a Monday
        (datetime(2025, 6, 21, 12, 5, tzinfo=UTC), 5 * 288 + 145),
        (datetime(2025, 6, 22, 23, 59, 59, tzinfo=UTC), 2015),
        (datetime(2025, 6, 23, 0, 3, tzinfo=UTC), 0),  # a server whose clock is off
    ],
)
def test_the_tick_of_the_week(at: datetime, tick: int) -> None:
    assert week_tick(at) == tick


def test_an_observation_is_what_the_rows_say() -> None:
    rows = walk(20)
    observation = started(rows).observe(0)
    assert (observation.tick, observation.week_tick) == (19, week_tick(rows[-1].at))
    assert np.array_equal(observation.history, [row.prices for row in rows])
    assert observation.hour == pytest.approx(13 + 35 / 60)
    assert observation.cleared.shape == (19, 2)
    assert observation.last is None
    assert observation.last_price == rows[-2].prices[0]
    assert observation.capacity_kw == observation.site.grid_kw == 1000.0
    assert np.isfinite(observation.to_vector()).all()


def test_a_gap_repeats_the_row_before_it_and_a_late_row_takes_its_place() -> None:
    rows = walk(10)
    observer = started([*rows[:4], *rows[7:]])
    assert observer.tick == 9
    assert np.array_equal(observer.observe(0).history[4:7], [rows[3].prices] * 3)
    observer.add([rows[5]])
    assert np.array_equal(observer.observe(0).history[4:7], [rows[3].prices, rows[5].prices, rows[3].prices])
    assert observer.row == rows[9]


@given(late=st.lists(st.integers(1, 29), unique=True), keep=st.integers(2, 40), cut=st.integers(1, 29))
def test_rows_that_come_late_in_any_order_make_the_same_history(late: list[int], keep: int, cut: int) -> None:
    rows = walk(30)
    observer, whole = Observer(facility("documented"), keep), Observer(facility("documented"), keep)
    whole.add(rows)
    in_time = [row for i, row in enumerate(rows) if i not in late]
    for part in (in_time[:cut], in_time[cut:], [rows[i] for i in late]):  # however many come at once
        observer.add(part)
    for one in (observer, whole):
        one.start()
    shown, expected = observer.observe(0).history, whole.observe(0).history
    assert np.array_equal(shown, expected)
    assert observer.row == whole.row == rows[-1]
    assert observer.prices == rows[-1].prices


def test_a_gap_longer_than_what_is_kept_and_a_row_older_than_that() -> None:
    rows = walk(3)
    observer = started([rows[0]], keep=10)
    later = PriceRow(START + 10**6 * TICK, *rows[1].raw)  # nine years
    observer.add([later, PriceRow(START + (10**6 - 10) * TICK, *rows[2].raw), rows[2]])  # too old by one, and by far
    observation = observer.observe(0)
    assert np.array_equal(observation.history, [rows[0].prices] * 9 + [rows[1].prices])
    assert (observation.tick, observer.row) == (10**6, later)
    observer.add([PriceRow(START + (10**6 - 9) * TICK, *rows[2].raw)])
    assert np.array_equal(observer.observe(0).history[:2], [rows[2].prices, rows[0].prices])


def test_only_so_many_rows_are_shown_and_time_goes_on() -> None:
    observer = started(walk(1000), keep=50)
    observation = observer.observe(0)
    assert observation.history.shape == (50, 3)
    assert observation.tick == 999
    assert len(observer._rows._data) <= 64 + 50  # memory does not grow with time


def test_a_year_takes_no_more_memory_than_its_results() -> None:
    keep, ticks, counts = 2016, 365 * 288, facility("documented").off
    observer = Observer(facility("documented"), keep)
    row = walk(1)[0]
    sizes = set()
    for i in range(ticks):
        observer.add([PriceRow(START + i * TICK, *row.raw)])
        if i == 0:
            observer.start()
        observer.settle(None, counts, row.prices)
        sizes.add(len(observer._rows._data))
    assert max(sizes) <= 2 * keep
    assert len(sizes) < 10  # it is seldom moved
    assert (len(observer._cleared), observer._cleared._data.shape[1]) == (ticks, 2)
    assert len(observer._cleared._data) < 2 * ticks
    observation = observer.observe(0)
    assert (observation.history.shape, observation.cleared.shape) == ((keep, 3), (ticks - 1, 2))


def test_equal_rows_and_results_give_equal_observations() -> None:
    rows = walk(40)

    def play(parts: int) -> list[object]:
        observer, seen = started(rows[:1]), list[object]()
        for i in range(1, len(rows), parts):
            for row in rows[i : i + parts]:
                observer.add([row]) if parts == 1 else None
            if parts > 1:
                observer.add(rows[i : i + parts])
            if observer.tick % 3 == 0:
                observation = observer.observe(0)
                seen += [
                    observation.to_vector().tolist(),
                    observation.history.tolist(),
                    observation.cleared.tolist(),
                    observation.last,
                ]
                allocation = observer.facility.allocate([observation.truthful_bid()], observer.prices, [1_000_000])
                observer.settle(allocation, allocation.counts, observer.prices)
        return seen

    assert play(1) == play(1) == play(3)


def test_observations_are_copies() -> None:
    observer = started(walk(5))
    observer.observe(0).history[:] = 0.0
    assert observer.observe(0).history.all()


def test_the_result_of_a_tick_is_paid_as_drawn() -> None:
    rows = walk(3)
    observer = started(rows[:2])
    one = observer.facility
    bid = observer.observe(0).truthful_bid()
    allocation = one.allocate([bid], rows[1].prices, [1_000_000])
    observer.settle(allocation, allocation.counts, rows[1].prices)
    outcome = observer.outcome(0)
    assert outcome is not None
    revenue, cost = one.totals(allocation.counts, rows[1].prices)
    assert outcome.revenue == pytest.approx(revenue)
    assert outcome.payment == pytest.approx(cost)  # what was won and is not drawn is not paid for
    assert outcome.drawn_kw == one.total_w(allocation.counts) / 1000.0 <= outcome.won_kw
    observer.add(rows[2:])
    observation = observer.observe(0)
    assert observation.last == outcome
    assert observation.last_price == allocation.price
    assert observation.state.machine_kw.sum() == pytest.approx(outcome.drawn_kw)
    assert observation.cleared[1].tolist() == [allocation.price, outcome.volume_kw]


def test_power_that_was_won_and_is_not_drawn_is_not_paid_for() -> None:
    rows = walk(1)
    observer = started(rows)
    allocation = observer.facility.allocate([Bid([(997.0, 1e9)])], rows[0].prices, [1_000_000])  # no machines draw 997 kW
    observer.settle(allocation, allocation.counts, rows[0].prices)
    outcome = observer.outcome(0)
    assert outcome is not None
    assert outcome.won_kw == pytest.approx(997.0)
    assert outcome.drawn_kw == observer.facility.total_w(allocation.counts) / 1000.0 < 997.0
    assert outcome.payment == pytest.approx(outcome.drawn_kw * DT * rows[0].prices[0])


def test_a_result_without_an_auction_is_paid_at_the_energy_price() -> None:
    rows, counts = walk(2), (0, 3, 0, 0, 7)
    observer = started(rows[:1])
    observer.settle(None, (counts,), rows[0].prices, ["agent_late"])
    outcome = observer.outcome(0)
    assert outcome is not None
    drawn_kw = (3 * 5_000 + 7 * 15_000) / 1000.0
    assert (outcome.won_kw, outcome.drawn_kw, outcome.volume_kw) == (drawn_kw, drawn_kw, drawn_kw)
    assert outcome.payment == pytest.approx(drawn_kw * DT * rows[0].prices[0])
    assert outcome.payment == pytest.approx(drawn_kw * 1000.0 * rows[0].energy)  # the API's own product
    assert outcome.revenue == pytest.approx(3 * 5_000 * rows[0].hash + 7 * 50_000 * rows[0].token)
    assert outcome.profit == pytest.approx(outcome.revenue - outcome.payment)
    assert (outcome.clearing_price, outcome.refused) == (rows[0].prices[0], "agent_late")
    observer.add(rows[1:])
    assert observer.observe(0).last == outcome


def test_two_sites_pay_for_what_they_draw_together() -> None:
    rows = walk(2)
    observer = Observer(facility("documented", 600_000, 600_000, cap_w=1_000_000), 10)
    observer.add(rows[:1])
    observer.start()
    bids = [observer.observe(i).truthful_bid() for i in range(2)]
    allocation = observer.facility.allocate(bids, rows[0].prices, [600_000, 600_000])
    observer.settle(allocation, allocation.counts, rows[0].prices)
    outcomes = [observer.outcome(i) for i in range(2)]
    drawn = sum(outcome.drawn_kw for outcome in outcomes if outcome is not None)
    assert drawn == pytest.approx(observer.facility.total_w(allocation.counts) / 1000.0)
    assert [outcome.volume_kw for outcome in outcomes if outcome is not None] == [drawn, drawn]
    observer.add(rows[1:])
    for i in range(2):
        observation = observer.observe(i)
        assert (observation.market.n_sites, observation.market.seat) == (2, i)
        assert (observation.capacity_kw, observation.site.grid_kw) == (1000.0, 600.0)
        assert observation.last == outcomes[i]


def test_ticks_without_a_decision_and_a_second_decision_within_one() -> None:
    rows, on = walk(8), ((0, 10, 0, 0, 0),)
    observer = started(rows[:1])
    observer.settle(None, on, (5.0, 1.0, 1.0))
    observer.add(rows[1:5])  # none for the ticks 1, 2 and 3
    observer.settle(None, on, (6.0, 1.0, 1.0))
    observer.settle(None, observer.facility.off, (6.0, 1.0, 1.0), ["halted"])  # of the same tick
    observer.add(rows[5:6])
    observation = observer.observe(0)
    assert observation.cleared.tolist() == [[5.0, 50.0], [5.0, 0.0], [5.0, 0.0], [5.0, 0.0], [6.0, 0.0]]
    assert observation.last is not None
    assert (observation.last.tick, observation.last.drawn_kw, observation.last_price) == (4, 0.0, 6.0)
    observer.start()  # anew
    observation = observer.observe(0)
    assert (observation.tick, observation.last, observation.cleared.shape) == (0, None, (0, 2))
    assert len(observation.history) == 6


def test_what_runs_is_known_before_the_first_decision() -> None:
    observer = Observer(facility("documented"), 5)
    observer.settle(None, ((0, 10, 0, 0, 0),), (1.0, 1.0, 1.0))  # as a venue reports it
    observer.add(walk(1))
    assert not observer.started
    observer.start()
    assert observer.observe(0).state.machine_kw.tolist() == [0.0, 50.0, 0.0, 0.0, 0.0]
    assert observer.outcome(0) is None


def test_a_buffer_grows_keeps_and_forgets() -> None:
    buffer = RowBuffer(2, keep=3)
    for i in range(1000):
        buffer.append((i, -i))
    assert buffer.array.tolist() == [[997, -997], [998, -998], [999, -999]]
    endless = RowBuffer(1)
    endless.append((1.0,), 500)
    endless.truncate(7)
    assert len(endless) == 7
