"""Decisions made again and prices foreseen again, from journals and runs: against the records, the engine and the forecaster itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import JournalError
from gridpilot.forecasting import build_forecaster
from gridpilot.forecasting.base import Row
from gridpilot.insight import live_facts, match_facts
from gridpilot.insight.forecast_facts import Fan, expected, forecaster_of, step_of
from gridpilot.insight.opened import OpenedJournal, OpenedRun
from gridpilot.insight.redecide import redecide
from gridpilot.insight.tools import Toolbox
from gridpilot.live.api import INVENTORIES, TICK, parse_time
from gridpilot.live.journal import Journal
from gridpilot.live.replay_venue import ReplayVenue
from tests.live.loops import run
from tests.live.worlds import START, walk


def test_every_decision_comes_out_again(planned: Path, journal: Path) -> None:
    for path in (planned, journal):
        with Journal(path, read_only=True) as opened:
            decided = list(live_facts.told(opened))
            for one in decided[:: max(1, len(decided) // 8)]:
                facts = redecide(opened, one.at)
                assert facts["as_recorded"], facts["differs"]
                assert facts["decisions_otherwise_count"] == 0
                assert facts["otherwise_power_kw"] == one.body["power_w"] / 1000.0
                said = [live_facts.in_api_money(said) for said in one.rationale]
                assert facts["rationale"] == said
                assert bool(said) == (path == planned)


def test_what_is_not_as_recorded_is_said(planned: Path, tmp_path: Path) -> None:
    """One bit of one machine count, and another agent than the one that ran."""
    with Journal(planned, read_only=True) as opened:
        records = list(opened.records())
    last = next(record for record in reversed(records) if record.kind == "decision")
    session = next(record for record in reversed(records) if record.kind == "session")
    changes: list[tuple[int, dict[str, Any], str]] = [
        (last.seq, {"power_w": last.body["power_w"] ^ 1}, "power_w: "),
        (session.seq, {"agents": [{"target": "gridpilot.agents.zero_intelligence.ZeroIntelligence", "params": {}}]}, "bids: "),
    ]
    for i, (seq, change, told) in enumerate(changes):
        with Journal(tmp_path / f"{i}.db") as own:
            bodies = [(one.kind, one.body | (change if one.seq == seq else {})) for one in records]
            for kind, body in bodies:
                own.append([(kind, body)], at=last.at)
            facts = redecide(own)
        assert not facts["as_recorded"]
        assert any(one.startswith(told) for one in facts["differs"]), facts["differs"]


def test_at_other_prices_it_decides_what_the_engine_would_have(planned: Path, tmp_path: Path) -> None:
    with Journal(planned, read_only=True) as opened:
        first = next(record.body for record in opened.records(kinds={"session"}))
        one = list(live_facts.told(opened))[9]
        facts = redecide(opened, one.at, {"energy": 90.0})
        same = redecide(opened, one.at, {"energy": one.body["prices"][0]})
    rows = [replace(row, energy=90.0) if row.at == one.at else row for row in walk(30)]
    spec = AgentSpec(first["agent"]["target"], first["agent"]["params"])
    venue = ReplayVenue(rows, INVENTORIES["documented"], 1_000_000)
    _, records = run(
        venue, tmp_path / "other.db", rows=12, agents=[spec], risk={"energy": {"low": 0.0, "high": 100.0, "jump": 1e9}}
    )
    body = next(record.body for record in records if record.kind == "decision" and parse_time(record.body["at"]) == one.at)
    assert facts["otherwise_power_kw"] == body["power_w"] / 1000.0 == 0.0
    assert facts["power_kw"] > 0.0
    assert facts["otherwise_expected_profit_api_dollars"] == body["revenue"] - body["cost"]
    assert (facts["same_prices"], facts["as_recorded"], same["as_recorded"]) == (False, False, True)


def test_what_cannot_be_decided_again_is_told_in_a_line(planned: Path, tmp_path: Path) -> None:
    with Journal(planned, read_only=True) as opened:
        records = list(opened.records())
    for change, told in [
        ({"agents": [{"target": "no_such_module.Agent", "params": {}}]}, "nothing can be decided again here"),
        ({"agents": None}, "does not hold all that it takes"),
    ]:
        path = tmp_path / f"{told[:7]}.db"
        with Journal(path) as own:
            own.append([(one.kind, one.body | (change if one.kind == "session" else {})) for one in records], at=records[-1].at)
            with pytest.raises(JournalError, match=told) as problem:
                redecide(own)
        assert "\n" not in str(problem.value)
    with Journal(tmp_path / "none.db") as own:
        own.append([("decision", records[-1].body | {"at": "2025-06-21T12:00:00"})], at=START)
        with pytest.raises(JournalError, match="outside a session"):
            redecide(own)


def by_hand(rows: list[tuple[int, float]], horizon: int) -> Any:
    forecaster = build_forecaster("ensemble", ("energy",), 288)
    for step, price in rows:
        forecaster.update(Row(step, np.array([price])))
    return forecaster.forecast(horizon).quantiles[:, :, 0]


def test_a_journal_s_forecast_is_the_forecaster_s_and_what_came_its_rows(journal: Path) -> None:
    at, rows = datetime(2025, 6, 21, 13, 30, tzinfo=UTC), {row.at: row.energy for row in walk(45)}
    with Journal(journal, read_only=True) as opened:
        one = live_facts.find_decision(opened, at)
        facts = expected(opened, at, one.session)
        seen = {parse_time(row[0]) for record in opened.records(kinds={"rows"}) for row in record.body["rows"]}
        with pytest.raises(JournalError, match="no price row"):
            expected(opened, datetime(2024, 1, 1, tzinfo=UTC), {})
    known = [(step_of(moment), rows[moment]) for moment in sorted(seen) if moment <= at]
    quantiles = by_hand(known, 72)
    assert facts["rows_count"] == len(known)
    names = [f"{name}_expected_energy_price_api_dollars_per_watt_row" for name in ("lowest", "low", "middle", "high", "highest")]
    for h, hour in enumerate(facts["forecast"], start=1):
        assert [hour[name] for name in names] == quantiles[12 * h - 1].tolist()
        then = at + 12 * h * TICK
        assert hour["energy_price_that_came_api_dollars_per_watt_row"] == (rows[then] if then in seen else None)
    assert (
        facts["known_hours_count"] == sum(at + 12 * h * TICK in seen for h in range(1, 7)) == 1
    )  # an hour of the gap is among them
    fan = Fan()
    for step, price in known:  # as rows come, with a look at each
        fan.learn([step], [price])
        fan.quantiles(3)
    assert fan.quantiles().tolist() == quantiles.tolist()


def test_a_match_s_forecast_knows_nothing_of_what_comes(opened: OpenedRun) -> None:
    played = opened.played(opened.match("1000000/mixed/1"))
    scenario = played.trace.arena.scenario
    facts = match_facts.expected(played, 10, 0)
    prices = scenario.prices[: scenario.history + 11, 0, 0].tolist()
    first = int(scenario.start[0]) - scenario.history
    quantiles = by_hand([(first + i, price) for i, price in enumerate(prices)], 72)
    hour = facts["forecast"][1]
    assert hour["middle_expected_energy_price_dollars_per_kwh"] == quantiles[23, 2]
    assert hour["energy_price_that_came_dollars_per_kwh"] == played.prices()[34, 0, 0]
    assert [each["energy_price_that_came_dollars_per_kwh"] is None for each in facts["forecast"]] == [False] * 3 + [True] * 3
    assert facts["known_hours_count"] == 3


def test_an_agent_s_own_forecaster_is_asked() -> None:
    session = {"agent": {"params": {"storage": {"name": "plan", "forecaster": "persistence"}}}}
    assert forecaster_of(session) == "persistence"
    assert forecaster_of({"agent": {"params": {"forecaster": {"name": "rls"}}}}) == {"name": "rls"}
    assert forecaster_of({"agent": {"params": {"forecaster": "climatology"}}}) == forecaster_of({}) == "ensemble"


def test_the_tools_say_the_same(live: OpenedJournal) -> None:
    box, at = Toolbox(live), "2025-06-21T12:05"
    _, choices = box.call("alternatives", at=at)
    with live.look() as journal:
        facts = live_facts.decision(journal, parse_time("2025-06-21T12:05:00"))
        again = redecide(journal, parse_time("2025-06-21T12:05:00"), {"energy": 4.0})
    assert [one["otherwise_profit_api_dollars"] for one in choices["choices"]] == [
        one["profit_api_dollars"] for one in facts["alternatives"]
    ]
    assert box.call("redecide", at=at, energy=4.0)[1] == again
    assert again["energy_price_api_dollars_per_watt_row"] == 4.0
    assert again["otherwise_expected_profit_api_dollars"] != again["expected_profit_api_dollars"]
    assert box.call("expected", at=at)[1]["rows_count"] == 2
