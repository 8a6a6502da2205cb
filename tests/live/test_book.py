"""What agents are shown, and what a journal gives back to an engine that starts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from gridpilot.live.api import INVENTORIES, TICK, PriceRow
from gridpilot.live.book import Book, Table, week_tick
from gridpilot.live.journal import Journal
from gridpilot.live.past import read_past
from gridpilot.live.recorded import ReplayVenue
from gridpilot.live.twin import Twin, replay
from tests.live.loops import run
from tests.live.worlds import START, plant, walk


def started(rows: list[PriceRow], keep: int = 100) -> Book:
    book = Book(plant("documented"), keep)
    book.add(rows[:1])
    book.start()
    book.add(rows[1:])
    return book


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
    book = started([*rows[:4], *rows[7:]])
    assert book.tick == 9
    assert np.array_equal(book.observe(0).history[4:7], [rows[3].prices] * 3)
    book.add([rows[5]])
    assert np.array_equal(book.observe(0).history[4:7], [rows[3].prices, rows[5].prices, rows[3].prices])
    assert book.row == rows[9]


def test_only_so_many_rows_are_shown_and_time_goes_on() -> None:
    book = started(walk(1000), keep=50)
    observation = book.observe(0)
    assert observation.history.shape == (50, 3)
    assert observation.tick == 999
    assert len(book._rows._data) <= 64 + 50  # memory does not grow with time


def test_observations_are_copies() -> None:
    book = started(walk(5))
    book.observe(0).history[:] = 0.0
    assert book.observe(0).history.all()


def test_the_result_of_a_tick_is_paid_as_drawn() -> None:
    rows = walk(3)
    book = started(rows[:2])
    one = book.plant
    bid = book.observe(0).truthful_bid()
    allocation = one.allocate([bid], rows[1].prices, [1_000_000])
    book.settle(allocation, allocation.counts, rows[1].prices)
    outcome = book.outcome(0)
    assert outcome is not None
    revenue, cost = one.totals(allocation.counts, rows[1].prices)
    assert outcome.revenue == pytest.approx(revenue)
    assert outcome.payment == pytest.approx(cost)  # what was won and is not drawn is not paid for
    assert outcome.drawn_kw == one.total_w(allocation.counts) / 1000.0 <= outcome.won_kw
    book.add(rows[2:])
    observation = book.observe(0)
    assert observation.last == outcome
    assert observation.last_price == allocation.price
    assert observation.state.machine_kw.sum() == pytest.approx(outcome.drawn_kw)
    assert observation.cleared[1].tolist() == [allocation.price, outcome.volume_kw]


def test_a_table_grows_keeps_and_forgets() -> None:
    table = Table(2, keep=3)
    for i in range(1000):
        table.append((i, -i))
    assert table.array.tolist() == [[997, -997], [998, -998], [999, -999]]
    endless = Table(1)
    endless.append((1.0,), 500)
    endless.truncate(7)
    assert len(endless) == 7


def test_a_journal_gives_back_what_an_engine_needs(tmp_path: Path) -> None:
    watch, _ = run(ReplayVenue(walk(12), INVENTORIES["documented"], 1_000_000), tmp_path / "j.db", rows=10)
    with Journal(tmp_path / "j.db") as journal:
        past = read_past(journal, 5)
        assert past.rows == tuple(walk(12)[5:10])
        assert past.row_at == past.mark_at == START + 9 * TICK
        assert past.unfinished is None
        assert past.state(plant("documented")).counts == watch.reports[-1].counts
        assert past.state(plant("documented", 500_000, 500_000)).counts == plant("documented", 500_000, 500_000).off
        journal.append([("intent", {"at": "2025-06-21T13:00:00", "command": "x", "counts": [[0] * 5], "attempt": 1})], at=START)
        unfinished = read_past(journal, 5).unfinished
        assert unfinished is not None
        assert unfinished["command"] == "x"


def test_the_twin_follows_sessions_and_names_what_differs(tmp_path: Path) -> None:
    for _ in range(2):  # two sessions on one journal
        run(ReplayVenue(walk(8), INVENTORIES["documented"], 1_000_000), tmp_path / "j.db", rows=4)
    with Journal(tmp_path / "j.db") as journal:
        assert (replay(journal).decisions, replay(journal).different) == (8, 0)
        last = journal.last("decision")
        session = journal.last("session")
        assert last is not None
        assert session is not None
        twin = Twin()
        twin.follow(journal)
        journal.append([("session", session.body), ("decision", {**last.body, "power_w": 1})], at=START)
        twin.follow(journal)
        assert (twin.drift.different, twin.drift.first) == (1, f"{last.body['at']} row")
