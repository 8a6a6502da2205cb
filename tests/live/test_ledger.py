"""Profit has one definition: what was confirmed, at the prices of its row, for as long as it was in force; and everybody tells the same."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from gridpilot.live.api import INVENTORIES, TICK, PriceRow
from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.day_book import read_book
from gridpilot.live.export import write_export
from gridpilot.live.journal import Journal
from gridpilot.live.ledger import Earned, Ledger, earned_of, total_profit
from gridpilot.live.live_table import Heading, LiveTable
from gridpilot.live.recovery import recover
from gridpilot.live.replay_venue import ReplayVenue
from gridpilot.live.replica import replay
from gridpilot.live.status import read_status
from tests.live.loops import Seen, TiedClock, engine, mara, quick
from tests.live.other_server import FAULTS, OtherServer
from tests.live.worlds import START, facility, walk

ROW = PriceRow(START, 2.0, 3.0, 1.5)
ON, LESS, OFF = ((0, 100, 0, 0, 0),), ((0, 40, 0, 0, 0),), ((0, 0, 0, 0, 0),)
SURE, UNSURE = (True,), (False,)


def value(hydro: int, row: PriceRow = ROW) -> float:
    """Profit of hydro miners of the event in a row, as the API's own products."""
    return hydro * (10_000 * row.hash - 5_000 * row.energy)


def book(ledger: Ledger, counts: Any, confirmed: Any = SURE, *, at: Any = START, row: Any = ROW, late: float = 0.0) -> float:
    return ledger.book(at, row, counts, confirmed, now=at + late * TICK).profit


def test_a_row_pays_whole_for_what_is_confirmed_in_it() -> None:
    assert book(Ledger(facility("live")), ON, late=0.3) == pytest.approx(value(100), rel=1e-12)
    assert book(Ledger(facility("live")), ON, UNSURE) == 0.0
    assert book(Ledger(facility("live")), ON, ()) == 0.0
    assert book(Ledger(facility("live")), OFF) == 0.0
    assert book(Ledger(facility("live")), ON, at=START + TICK) == 0.0  # its row has not been seen


def test_what_changes_within_a_row_counts_for_its_share() -> None:
    ledger = Ledger(facility("live"))
    parts = [book(ledger, ON), book(ledger, LESS, late=0.25), book(ledger, OFF, late=0.75)]
    assert sum(parts) == pytest.approx(0.25 * value(100) + 0.5 * value(40), rel=1e-12)
    assert book(ledger, ON, late=1.5) == 0.0  # the tick is over
    assert book(ledger, LESS, at=START - TICK, row=PriceRow(START - TICK, 1.0, 1.0, 1.0)) == 0.0
    following = PriceRow(START + TICK, 1.0, 3.0, 1.5)
    assert book(ledger, ON, at=following.at, row=following) == pytest.approx(value(100, following), rel=1e-12)


def test_a_doubt_earns_nothing_until_it_ends() -> None:
    ledger = Ledger(facility("live"))
    assert book(ledger, ON, UNSURE) == 0.0
    found = ledger.rebook(ROW, LESS, now=START + 0.2 * TICK)
    assert found is not None
    assert found.profit == pytest.approx(0.8 * value(40), rel=1e-12)
    assert found.weight == pytest.approx(0.8)
    assert book(ledger, OFF, UNSURE, late=0.6) == pytest.approx(-0.4 * value(40), rel=1e-12)  # from then on nobody knows
    assert Ledger(facility("live")).rebook(ROW, ON, now=START) is None


def test_sites_are_booked_each_for_itself() -> None:
    ledger = Ledger(facility("live", 500_000, 500_000))
    earned = ledger.book(START, ROW, (*ON, *LESS), (True, False), now=START)
    assert [revenue - cost for revenue, cost in earned.sites] == [pytest.approx(value(100), rel=1e-12), 0.0]
    assert earned.weight == 0.0  # not of all of them it is known


def test_a_restart_within_a_tick_books_nothing_twice() -> None:
    before = Ledger(facility("live"))
    first = before.book(START, ROW, ON, SURE, now=START)
    again = earned_of({"earned": json.loads(json.dumps(first.to_json()))})
    assert again == first
    assert book(Ledger(facility("live"), again), ON, late=0.5) == 0.0
    assert book(Ledger(facility("live"), again), OFF, late=0.5) == pytest.approx(-0.5 * value(100), rel=1e-12)
    later = PriceRow(START + TICK, 1.0, 1.0, 1.0)
    assert book(Ledger(facility("live"), again), OFF, row=later, late=0.5) == 0.0  # its prices are not at hand any more
    assert book(Ledger(facility("live", 500_000, 500_000), again), (*OFF, *OFF), (True, True), late=0.5) == 0.0
    assert earned_of({"counts": []}) is None


class Told(Seen):
    """A watch with a table."""

    def __init__(self, monotonic: Any) -> None:
        super().__init__(monotonic)
        heading = Heading("mara", "http://x", "truthful", ("one",), 1.0, "live")
        self._table = self.shown = LiveTable(heading, console=Console(file=io.StringIO(), width=200))
        self.found = list[Earned]()

    def earned(self, earned: Earned) -> None:
        super().earned(earned)
        self.found.append(earned)


def check_all_agree(journal: Journal, watch: Told, day_profit: float) -> float:
    """Table, metrics, status, export, report, loss limit and the journal's own sum: one figure, by day and together."""
    out = journal.path.with_name("decisions.csv")
    write_export(journal, "decisions", str(out), force=True)
    by_day: dict[str, float] = defaultdict(float)
    with out.open(newline="") as file:
        for line in csv.DictReader(file):
            by_day[line["time"][:10]] += float(line["profit_api_dollars"])
    status = read_status(journal)
    total = total_profit(journal)
    metrics = watch.metrics.registry.get_sample_value("gridpilot_live_profit_since_start_dollars")
    assert metrics == pytest.approx(total, rel=1e-9, abs=1e-6)
    assert watch.shown._tally.profit == pytest.approx(total, rel=1e-9, abs=1e-6)
    assert sum(report.profit for report in watch.reports) + sum(each.profit for each in watch.found) == pytest.approx(
        total, rel=1e-9, abs=1e-6
    )
    assert status["profit"] == total
    assert sum(by_day.values()) == pytest.approx(total, rel=1e-9, abs=1e-6)
    assert status["day"]["profit"] == day_profit == pytest.approx(by_day[status["day"]["date"]], rel=1e-9, abs=1e-6)
    book = read_book(journal)
    for day, profit in by_day.items():
        told = sum(tick.profit for at, tick in book.ticks.items() if at.date().isoformat() == day)
        assert told == pytest.approx(profit, rel=1e-9, abs=1e-6)
    state = recover(journal, 5).last_state
    assert state is not None
    assert state.day_profit == day_profit  # that a restart goes on from
    return total


def test_a_smooth_run_is_worth_the_products_of_its_rows(tmp_path: Path) -> None:
    venue = ReplayVenue(walk(40), INVENTORIES["live"], 1_000_000)
    with Journal(tmp_path / "j.db") as journal:
        watch = Told(venue.clock.monotonic)
        loop, _ = engine(venue, journal, watch=watch, rows=30)
        loop.run()
        total = check_all_agree(journal, watch, loop.controller.state.day_profit)
        products = 0.0
        for report in watch.reports:
            energy, hashing, token = report.prices
            for count, kind, price in zip(
                report.counts[0], INVENTORIES["live"].types, (hashing, hashing, hashing, token, token), strict=True
            ):
                products += count * kind.output * price - count * kind.power * energy
        assert total == pytest.approx(products, rel=1e-12)
        assert total > 0.0


def test_a_server_that_is_gone_for_ten_ticks(tmp_path: Path) -> None:
    with OtherServer(rows=3) as server, Journal(tmp_path / "j.db") as journal:
        key, clock = server.key(), TiedClock(server)
        venue = mara(server, [key], clock, timing=quick())
        venue.timing = quick(backoff=5.0, longest_wait=60.0)  # of the engine, whose clock takes no time
        watch = Told(clock.monotonic)
        loop, _ = engine(venue, journal, watch=watch, rows=12)
        gone = [0]

        def on_report(report: CycleReport) -> None:
            if len(watch.reports) == 4:
                server.script("*", *["drop"] * 100_000)
            if report.kind == "no_row":
                gone[0] += 1
                assert report.profit == 0.0
                if gone[0] == 10:
                    server._scripts.clear()

        watch.on_report = on_report
        loop.run()
        venue.close()
        assert gone[0] >= 10
        total = check_all_agree(journal, watch, loop.controller.state.day_profit)
        shown = [report for report in watch.reports if report.status == "applied" and report.kind == "row"]
        assert total == pytest.approx(sum(each.profit for each in shown), rel=1e-9)
        assert len(shown) == 12
        assert replay(journal).different == 0


plans = st.lists(st.sampled_from([*sorted({*FAULTS} - {"hang", "endless", "dribble", "deep"}), None, None, None]), max_size=40)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    prices=plans,
    puts=plans,
    gets=plans,
    halts=st.dictionaries(st.integers(1, 12), st.sampled_from(["halt", "resume"]), max_size=4),
    foreign=st.sets(st.integers(1, 12), max_size=2),
    sites=st.integers(1, 2),
    limit=st.sampled_from([None, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_everybody_tells_the_same_profit_under_every_schedule_of_faults(
    tmp_path_factory: pytest.TempPathFactory,
    prices: list[Any],
    puts: list[Any],
    gets: list[Any],
    halts: dict[int, str],
    foreign: set[int],
    sites: int,
    limit: float | None,
    seed: int,
) -> None:
    with OtherServer(rows=3, slow_s=0.3, seed=seed) as server:
        keys = [server.key() for _ in range(sites)]
        clock = TiedClock(server, delay=2.0 + seed % 100)
        clock.advance(timedelta(hours=11, minutes=30).total_seconds() if seed % 2 else 0.0)  # a midnight comes
        venue = mara(server, keys, clock, timing=quick(timeout=0.2), power_w=1_000_000)
        with Journal(tmp_path_factory.mktemp("run") / "j.db") as journal:
            watch = Told(clock.monotonic)
            loop, _ = engine(venue, journal, watch=watch, rows=10, risk={"max_loss_per_day": limit})

            def on_report(report: CycleReport) -> None:
                n = len(watch.reports)
                if n == 1:
                    server.script("GET /prices", *prices)
                    server.script("PUT /machines", *puts)
                    server.script("GET /machines", *gets)
                if n in halts and journal.halt.halted != (halts[n] == "halt"):
                    journal.append([(halts[n], {"why": "a test"})], at=clock.now())
                if n in foreign:
                    server.interfere(keys[0], (0, 7, 0, 0, 0))
                if n == 30:
                    loop.stop("enough")

            watch.on_report = on_report
            loop.run()
            venue.close()
            check_all_agree(journal, watch, loop.controller.state.day_profit)
            assert replay(journal).different == 0
            bodies = [record.body for record in journal.records(kinds={"outcome"})]
            for body in bodies:
                earned = earned_of(body)
                assert earned is not None
                if not any(body["confirmed"]):
                    assert earned.profit <= 0.0 or earned.weight <= 0.0  # nothing is claimed, at most taken back
