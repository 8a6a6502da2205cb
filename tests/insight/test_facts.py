"""Facts against what they are made from: rows, traces, journals, and another way to work them out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gridpilot.errors import ConfigError, JournalError, MarketError, TournamentError
from gridpilot.insight import live_facts, match_facts
from gridpilot.insight.alarms import alarms
from gridpilot.insight.opened import OpenedJournal, OpenedRun, open_path
from gridpilot.insight.tools import Toolbox
from gridpilot.insight.units import unit_of
from gridpilot.live.export import write_export
from gridpilot.live.facility import Facility
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import facility_from_json
from gridpilot.live.ledger import total_profit
from gridpilot.market.clearing import clear
from gridpilot.market.units import DT
from tests.insight.conftest import DAY, GAP

MATCH = "1000000/mixed/1"


@pytest.fixture(scope="module")
def box(opened: OpenedRun) -> Toolbox:
    return Toolbox(opened)


def call(box: Toolbox, tool: str, **arguments: Any) -> dict[str, Any]:
    return box.call(tool, **arguments)[1]


def test_overview_and_leaderboard_are_the_run_s(box: Toolbox, opened: OpenedRun) -> None:
    about, board = call(box, "overview"), call(box, "leaderboard")
    assert (about["episodes_count"], about["seats_count"], about["matches_count"]) == (2, 10, len(opened.matches))
    assert about["playable_as_it_was"] is True
    assert [one["agent"] for one in board["agents"]] == [one.agent for one in opened.board.agents]
    assert board["agents"][0]["profit_dollars_per_day"] == opened.board.agents[0].profit.value


def test_a_pair_is_the_leaderboard_s_whichever_way_round(box: Toolbox, opened: OpenedRun) -> None:
    one, other = call(box, "pair", agent="mpc", other="threshold"), call(box, "pair", agent="threshold", other="mpc")
    profit = {summary.agent: summary.profit.value for summary in opened.board.agents}
    assert one["lead_dollars_per_day"] == pytest.approx(profit["mpc"] - profit["threshold"], abs=1e-9)
    assert one["lead_dollars_per_day"] == pytest.approx(-other["lead_dollars_per_day"], abs=1e-9)
    rows = opened.run.rows.query("lineup == 'mixed' and agent == 'mpc'")
    assert one["price_paid_dollars_per_kwh"] == pytest.approx(rows["payment"].sum() / rows["drawn_kwh"].sum())
    with pytest.raises(TournamentError, match="'nobody' is not ranked"):
        call(box, "pair", agent="mpc", other="nobody")


def test_matches_are_found_by_their_gain(box: Toolbox, opened: OpenedRun) -> None:
    best = call(box, "find_matches", agent="threshold", order="best", n=50)["matches"]
    gains = [match["gain_dollars"] for match in best]
    assert gains == sorted(gains, reverse=True)
    assert len(best) == 20  # every seat of two episodes
    worst = call(box, "find_matches", agent="threshold", order="worst", n=1)["matches"][0]
    assert worst["gain_dollars"] == gains[-1]
    match = opened.match(worst["match"])
    assert match.seats[worst["seat_number"]] == "threshold"


def test_a_tick_is_its_clearing(box: Toolbox, opened: OpenedRun) -> None:
    facts = call(box, "tick", match=MATCH, tick=30)
    played = opened.played(opened.match(MATCH))
    bids = [bid[bid[:, 0] > 0.0] for bid in played.trace.bids[30, 0]]
    cleared = clear(bids, played.supply()[30, 0], float(played.capacity_kw()[30, 0]))
    assert [seat["won_kw"] for seat in facts["seats"]] == cleared.allocation.tolist()
    assert [seat["paid_dollars"] for seat in facts["seats"]] == pytest.approx((cleared.payment * DT).tolist(), abs=1e-9)
    assert facts["clearing_price_dollars_per_kwh"] == cleared.price_lo
    assert facts["sold_kw"] == pytest.approx(cleared.allocation.sum())


def test_a_seat_is_its_blocks(box: Toolbox, opened: OpenedRun) -> None:
    played, seen = opened.played(opened.match(MATCH)), set()
    for t in range(0, 48, 5):
        for n in range(10):
            facts = match_facts.seat(played, t, n)
            assert sum(block["won_kw"] for block in facts["blocks"]) == pytest.approx(facts["won_kw"], abs=1e-9)
            assert facts["asked_kw"] == pytest.approx(facts["won_kw"] + facts["lost_kw"])
            seen |= set(facts["bound"])
            if "priced_out" in facts["bound"]:
                assert facts["first_lost_bid_price_dollars_per_kwh"] < facts["clearing_price_dollars_per_kwh"]
    assert {"all_won", "priced_out"} <= seen
    with pytest.raises(TournamentError, match="tick is 48, expected 0 to 47"):
        match_facts.seat(played, 48, 0)


def test_hours_sum_to_the_row(box: Toolbox, opened: OpenedRun) -> None:
    facts = call(box, "window", match=MATCH, seat=4)
    row = opened.run.stored([opened.match(MATCH)]).iloc[4]
    assert sum(hour["paid_dollars"] for hour in facts["hours"]) == pytest.approx(row["payment"])
    assert facts["total"]["revenue_dollars"] == pytest.approx(row["revenue"])
    assert len(facts["hours"]) == 4
    part = call(box, "window", match=MATCH, seat=4, first=10, last=13)
    assert [hour["hour_number"] for hour in part["hours"]] == [0, 1]


def test_a_comparison_is_the_difference_of_two_rows(box: Toolbox, opened: OpenedRun) -> None:
    facts = call(box, "compare", match=MATCH, seat=4, other_agent="threshold")
    rows = opened.run.rows.query("episode == 1000000 and lineup == 'mixed' and seat == 4").set_index("agent")["profit"]
    assert facts["lead_dollars"] == pytest.approx(rows[facts["agent"]] - rows["threshold"], abs=1e-9)
    assert sum(hour["lead_dollars"] for hour in facts["hours"]) == pytest.approx(facts["lead_dollars"], abs=1e-9)
    same = call(box, "compare", match=MATCH, seat=4, other_seat=6)
    assert same["other_match"] == MATCH
    with pytest.raises(ConfigError, match="expected either"):
        call(box, "compare", match=MATCH, seat=4)


def test_what_was_expected_stands_beside_what_came(box: Toolbox, opened: OpenedRun) -> None:
    seat = opened.match(MATCH).seats.index("mpc")
    facts = call(box, "expected", match=MATCH, tick=0, seat=seat)
    assert len(facts["price_that_came_dollars_per_kwh"]) == len(facts["rationale"]["expected_price_dollars_per_kwh"]) == 4


def test_calls_that_are_none_are_refused(box: Toolbox) -> None:
    for tool, arguments, told in [
        ("nothing", {}, "tool 'nothing' is not known"),
        ("tick", {"match": MATCH}, "tick is missing"),
        ("tick", {"match": MATCH, "tick": 1, "seat": 2}, "'seat' is no argument"),
        ("tick", {"match": MATCH, "tick": "1"}, "tick is '1', expected integer"),
        ("tick", {"match": "x", "tick": 1}, "expected EPISODE/LINEUP/ROTATION"),
        ("recleared", {"match": MATCH, "mechanism": "dutch"}, "expected one of vcg"),
        ("what_if", {"match": MATCH}, "nothing is changed"),
        ("what_if", {"match": MATCH, "seat": True}, "seat is True, expected integer"),
    ]:
        with pytest.raises(ConfigError, match=told):
            call(box, tool, **arguments)


def test_a_market_in_full_is_cleared_three_ways(box: Toolbox) -> None:
    facts = call(box, "clear_market", document=json.dumps({"bids": [[[1, 10]], [[1, 8]], [[1, 5]]], "supply": [[1, 0]]}))
    assert [facts[name]["seats"][0]["paid_dollars_per_hour"] for name in ("vcg", "uniform", "pay_as_bid")] == [8.0, 8.0, 10.0]
    with pytest.raises(MarketError):
        call(box, "clear_market", document="{}")


def figures(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from figures(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from figures(inner, key)
    else:
        yield key, value


def test_every_figure_has_a_unit_in_its_key_and_every_result_is_json(opened: OpenedRun, live: OpenedJournal) -> None:
    box, journal = Toolbox(opened), Toolbox(live)
    calls: list[tuple[Toolbox, str, dict[str, Any]]] = [
        (box, "overview", {}), (box, "leaderboard", {}), (box, "pair", {"agent": "mpc", "other": "threshold"}),
        (box, "find_matches", {"agent": "mpc"}), (box, "tick", {"match": MATCH, "tick": 3}), (box, "window", {"match": MATCH, "seat": 1}),
        (box, "compare", {"match": MATCH, "seat": 1, "other_seat": 2}), (box, "recleared", {"match": MATCH, "mechanism": "uniform"}),
        (box, "what_if", {"match": MATCH, "mechanism": "uniform"}),
        *((box, "seat", {"match": MATCH, "tick": 3, "seat": n}) for n in range(10)),
        (journal, "status", {}), (journal, "alarms", {}), (journal, "decision", {}), (journal, "day", {}),
        (box, "expected", {"match": MATCH, "tick": 3, "seat": 1}), (journal, "alternatives", {}), (journal, "expected", {}),
        (journal, "redecide", {}), (journal, "redecide", {"energy": 3}),
    ]  # fmt: skip
    for tools, name, arguments in calls:
        result = call(tools, name, **arguments)
        assert json.loads(json.dumps(result, allow_nan=False)) == result
        for key, value in figures(result):
            assert isinstance(value, str | bool | None) or unit_of(key) is not None, f"{name}: {key} is {value!r}"


# Journals.


def test_a_day_is_what_export_says(journal: Path, live: OpenedJournal, capsys: pytest.CaptureFixture[str]) -> None:
    with live.look() as opened:
        day, everything = live_facts.day(opened, DAY), total_profit(opened)
        write_export(opened, "decisions", "-")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert day["profit_api_dollars"] == pytest.approx(sum(float(row["profit_api_dollars"]) for row in rows), abs=1e-9)
    assert day["profit_api_dollars"] == pytest.approx(everything, abs=1e-9)
    assert (day["decisions_count"], day["without_row_count"]) == (45, len(GAP))
    assert day["unshown_count"] == sum(float(row["revenue_api_dollars"]) == 0.0 for row in rows)
    assert day["forgone_api_dollars"] == pytest.approx(day["best_api_dollars"] - day["profit_api_dollars"], abs=1e-6)
    assert day["forgone_api_dollars"] == pytest.approx(
        sum(part["forgone_api_dollars"] for part in day["forgone_by_cause"]), abs=1e-9
    )
    assert day["forgone_api_dollars"] > 0.0


def test_a_decision_stands_beside_its_alternatives(live: OpenedJournal) -> None:
    with live.look() as journal:
        facts = live_facts.decision(journal, datetime(2025, 6, 21, 12, 7, tzinfo=UTC))
        session = journal.last("session")
        assert session is not None
        facility: Facility = facility_from_json(session.body)
        record = next(one for one in journal.records(kinds={"decision"}) if one.body["at"] == "2025-06-21T12:05:00")
    prices = record.body["prices"]
    best = facility.alternatives((prices[0] * 1000.0 / DT, prices[1], prices[2]))["best"]
    assert facts["decided_at"] == "2025-06-21 12:05 UTC"
    assert facts["alternatives"][0]["profit_api_dollars"] == pytest.approx(best)
    assert facts["best_api_dollars"] == facts["alternatives"][0]["profit_api_dollars"]
    assert facts["expected_profit_api_dollars"] == record.body["revenue"] - record.body["cost"]
    with live.look() as journal, pytest.raises(JournalError, match="expected a time from 2025-06-21 12:00"):
        live_facts.decision(journal, datetime(2024, 1, 1))


def test_alarms_hold_when_they_should(journal: Path, tmp_path: Path) -> None:
    def raised(path: Path, now: datetime | None = None) -> set[str]:
        with Journal(path, read_only=True) as opened:
            return {one["alarm"] for one in alarms(opened, now)["raised"]}

    assert raised(journal) == {"Unavailable"}
    # The last row before the gap is of 13:35, the next of 14:40.
    with Journal(journal, read_only=True) as opened:
        opened.backup(tmp_path / "copy.db")
    with Journal(tmp_path / "copy.db") as copy:
        at = datetime(2025, 6, 21, 15, 45, tzinfo=UTC)
        session = copy.last("session")
        assert session is not None
        copy.append([("session", session.body), ("api", {"state": "down"}), ("halt", {"why": "smoke"})], at=at)
    assert raised(tmp_path / "copy.db", datetime(2025, 6, 21, 16, 50, tzinfo=UTC)) == {
        "Unavailable", "EngineGone", "ApiDown", "HaltedLong",
    }  # fmt: skip


def test_what_is_neither_run_nor_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no manifest\.json"):
        open_path(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        open_path(tmp_path / "nothing")
    (tmp_path / "file").write_text("x" * 5000)
    with pytest.raises(JournalError):
        open_path(tmp_path / "file")
