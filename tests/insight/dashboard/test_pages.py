"""Each page on a small run and a small journal, and on what is empty, damaged or not there: a screen, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from gridpilot.insight import forecast_facts, live_facts, match_facts, run_facts
from gridpilot.insight.alarms import alarms
from gridpilot.insight.dashboard.sources import Sources
from gridpilot.insight.opened import OpenedJournal, OpenedRun
from gridpilot.insight.redecide import redecide
from gridpilot.insight.replay import Change
from gridpilot.live.api import parse_time
from gridpilot.live.journal import Journal
from gridpilot.live.lock import sole_engine
from gridpilot.market.clear_command import clear_document
from gridpilot.market.physics import PAYMENT, WON

PAGES = ("live", "decisions", "leaderboard", "match", "clear", "ask")


def draw(name: str, sources: object) -> None:
    import importlib

    importlib.import_module(f"gridpilot.insight.dashboard.{name}").page(sources)


@pytest.fixture(scope="module")
def sources(folder: Path, journal: Path) -> Sources:
    return Sources([folder], [journal])


def show(name: str, sources: Sources) -> AppTest:
    page = AppTest.from_function(draw, kwargs={"name": name, "sources": sources}, default_timeout=60).run()
    assert [str(found.value) for found in page.exception] == []
    return page


def charts(page: AppTest) -> list[dict[str, Any]]:
    return [json.loads(one.proto.spec) for one in page.get("echarts_chart")]


def html(page: AppTest) -> str:
    return " ".join(str(one.proto.body) for one in page.get("html"))


def test_live_shows_what_the_facts_say(sources: Sources, live: OpenedJournal) -> None:
    page = show("live", sources)
    assert not page.error
    with live.look() as journal:
        day, decision, (alarm,) = live_facts.day(journal), live_facts.decision(journal), alarms(journal)["raised"]
    values = {metric.label: metric.value for metric in page.metric}
    assert values[f"Power of {decision['cap_kw']:,.0f} kW"] == f"{decision['power_kw']:,.0f} kW"
    assert values["Decided by the agent today"] == f"{100 * day['decisions_by_agent_count'] / day['decisions_count']:.0f} %"
    price, profit, power, alternatives = charts(page)
    assert price["series"][0]["markArea"]["data"]  # the hour without rows, when the fallback decided
    assert len(power["series"][1]["data"]) == day["decisions_count"]
    scale = 1e6 if abs(day["best_api_dollars"]) >= 1e6 else 1e3
    assert profit["series"][1]["data"][-1][1] == pytest.approx(day["profit_api_dollars"] / scale, rel=1e-5)
    assert list(alternatives["yAxis"]["data"]) == [one["choice"] for one in decision["alternatives"]]
    assert "LIVE" in html(page)
    assert f"{alarm['meaning']} ({alarm['found']})" in unescape(html(page))


def test_decisions_are_filtered_and_one_opens_its_why(sources: Sources) -> None:
    page = show("decisions", sources)
    assert not page.error
    whole = len(page.dataframe[0].value)
    page.multiselect(key="by_cause").set_value(["feed_stale"]).run()
    assert not page.exception
    few = page.dataframe[0].value
    assert 0 < len(few) < whole
    assert set(few["causes"].str.contains("feed_stale")) == {True}
    assert "was made" in html(page)
    page.multiselect(key="by_reason").set_value(["agent"]).run()
    assert [one.value for one in page.info] == ["No decision is as asked for; take a filter away."]


def test_the_leaderboard_is_the_runs(sources: Sources, opened: OpenedRun) -> None:
    page = show("leaderboard", sources)
    assert not page.error
    board = run_facts.leaderboard(opened)["agents"]
    table = page.dataframe[0].value
    assert list(table["agent"]) == [one["agent"] for one in board]
    assert list(table["profit"]) == [one["profit_dollars_per_day"] for one in board]
    lead = charts(page)[-1]["series"][0]["data"]
    assert sum(part["value"] for part in lead[:-1]) == pytest.approx(lead[-1]["value"], abs=1e-3)
    facts = run_facts.pair(opened, board[0]["agent"], board[1]["agent"])
    assert page.metric[0].value == f"{facts['lead_dollars_per_day']:+,.2f}"
    matrix = charts(page)[1]["series"][0]["data"]
    assert len(matrix) == len(board) * (len(board) - 1)
    page.selectbox(key="lead_other").set_value(board[0]["agent"]).run()
    assert not page.exception
    assert "Two different agents" in page.caption[0].value


def test_a_game_in_the_leaderboard_is_shown(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    path = run / "leaderboard.json"
    board = json.loads(path.read_text()) if path.exists() else {}
    strategies = [{"agent": "mpc", "rating": {"value": 0.0, "low": -1.0, "high": 0.0, "reason": None}, "alpha_rank": 0.7}]
    path.write_text(json.dumps({**board, "game": {"episodes": 2, "strategies": strategies}}))
    table = show("leaderboard", Sources([run])).dataframe[-1].value
    assert list(table["rating low"]) == [-1.0]
    path.write_text("{cut off")
    show("leaderboard", Sources([run]))


def test_a_match_is_played_again_and_with_one_change(sources: Sources, opened: OpenedRun) -> None:
    page = show("match", sources)
    page.text_input(key="match").input("1000000/mixed/0").run()
    assert not page.error
    assert "bit for bit as recorded" in html(page)
    strip, curve, _, battery, same_bids = charts(page)
    assert len(strip["series"][0]["data"]) == 10 * 48
    assert len(battery["series"][0]["data"]) == 49
    assert curve["series"][0]["data"]
    assert len(same_bids["yAxis"]["data"]) == 10
    page.slider(key="tick").set_value(7)
    page.selectbox(key="seat").set_value(3)
    page.button(key="play_again").click().run()
    assert not page.exception
    assert len(charts(page)) == 6
    page.selectbox(key="what_if_kind").set_value("agent").run()
    page.selectbox(key="other_agent").set_value("truthful")
    page.button(key="play_again").click().run()
    agent = charts(page)[-1]
    assert "3 truthful" in agent["yAxis"]["data"]
    page.selectbox(key="what_if_kind").set_value("bid").run()
    page.text_input(key="other_bid_7_3").input("none").run()
    page.button(key="play_again").click().run()
    assert not page.exception
    played, changed = (
        opened.played(opened.match("1000000/mixed/0"), change) for change in (None, Change(seat=3, tick=7, blocks=()))
    )
    gains = [one["profit_change_dollars"] for one in match_facts.what_if(played, changed)["seats"]]
    assert [bar["value"] for bar in charts(page)[-1]["series"][0]["data"]] == pytest.approx(gains, rel=1e-5)
    page.text_input(key="other_bid_7_3").input("a lot").run()
    assert [one.value for one in page.error] == ["This cannot be shown."]
    page.text_input(key="match").input("no match").run()
    assert [one.value for one in page.error] == ["This cannot be shown."]
    assert "expected EPISODE/LINEUP/ROTATION" in page.code[0].value


def test_a_market_is_cleared_under_each_mechanism(sources: Sources) -> None:
    page = show("clear", sources)
    document = json.loads(page.code[0].value)
    table = page.dataframe[-1].value
    for mechanism in ("vcg", "uniform", "pay_as_bid"):
        paid = clear_document(document, mechanism)["payment"]  # type: ignore[arg-type]
        assert list(table[f"pays, {mechanism}"]) == pytest.approx(paid)
    page.number_input(key="capacity").set_value(100.0).run()
    assert not page.exception
    assert page.dataframe[-1].value["won, kW"].sum() == pytest.approx(100.0)


def test_any_tick_of_a_match_is_loaded_and_cleared(sources: Sources, opened: OpenedRun) -> None:
    page = show("clear", sources)
    page.segmented_control(key="clear_what").set_value("a tick of a run").run()
    page.text_input(key="clear_match").input("1000001/mixed/2")
    page.number_input(key="clear_tick").set_value(30).run()
    assert not page.exception
    played = opened.played(opened.match("1000001/mixed/2"))
    outcome = played.trace.outcome[30, 0]
    table = page.dataframe[-1].value
    assert list(table["won, kW"]) == pytest.approx(outcome[:, WON].tolist(), abs=1e-6)
    assert list(table["pays, vcg"]) == pytest.approx((12.0 * outcome[:, PAYMENT]).tolist(), abs=1e-6)
    assert "1000001/mixed/2, tick 30" in html(page)
    page.text_input(key="clear_match").input("7").run()
    assert [one.value for one in page.error] == ["This cannot be shown."]


def test_a_decision_is_made_again_on_the_live_page(planned: Path) -> None:
    page = show("live", Sources([], [planned]))
    assert not page.error
    price = charts(page)[0]
    with Journal(planned, read_only=True) as journal:
        one = list(live_facts.told(journal))[-1]
        (last, *_) = [record.body["rows"][-1] for record in reversed(list(journal.records(kinds={"rows"})))]
        facts = forecast_facts.expected(journal, parse_time(last[0]), one.session)
        cheap = redecide(journal, one.at, {"energy": 90.0})
    middle = next(line for line in price["series"] if line["name"] == "forecast")["data"]
    assert len(middle) == forecast_facts.HORIZON
    assert middle[11][1] == pytest.approx(facts["forecast"][0]["middle_expected_energy_price_api_dollars_per_watt_row"], rel=1e-5)
    assert "the agent: threshold" in html(page)
    page.button(key="again_go").click().run()
    assert "bit for bit as recorded" in html(page)
    page.number_input(key="again_energy").set_value(90.0).run()
    assert "bit for bit as recorded" not in html(page)
    page.button(key="again_go").click().run()
    assert not page.exception
    assert f"{cheap['otherwise_power_kw']:,.0f} kW (recorded: {cheap['power_kw']:,.0f})" in html(page)


@pytest.mark.parametrize("about", [0, 1])
def test_questions_are_answered_with_footnotes(sources: Sources, about: int) -> None:
    page = show("ask", sources)
    page.selectbox(key="ask_about").set_value([*sources.journals, *sources.runs][about]).run()
    assert not page.exception
    assert not page.error
    assert "worded by a template" in html(page)
    assert len(page.dataframe[0].value) > 3
    page.text_input(key="ask_text").input("why does mpc beat threshold?" if about else "is anything wrong?")
    next(button for button in page.button if button.label == "Ask").click().run()
    assert not page.exception
    assert ("kind lead" if about else "kind wrong") in html(page)


@pytest.mark.parametrize("name", PAGES)
def test_with_nothing_to_show_each_page_says_so(name: str) -> None:
    page = show(name, Sources())
    assert page.info or name == "clear"
    assert not page.error


def _absent(path: Path) -> None:
    pass


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _another(path: Path) -> None:
    path.write_text("not a journal, but long enough to be something else" * 30)


def _cut(path: Path) -> None:
    whole = path.with_name("whole.db")
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


@pytest.mark.parametrize("damage", [_absent, _empty, _another, _cut])
@pytest.mark.parametrize("name", ["live", "decisions", "ask"])
def test_a_journal_that_cannot_be_read_has_a_screen(
    name: str, damage: Callable[[Path], None], journal: Path, tmp_path: Path
) -> None:
    with Journal(journal, read_only=True) as whole:
        whole.backup(tmp_path / "whole.db")
    path = tmp_path / "live.db"
    damage(path)
    page = show(name, Sources([], [path]))
    assert [one.value for one in page.error] == ["This cannot be shown."]
    assert str(path) in page.code[0].value
    assert "\n" not in page.code[0].value


def test_a_journal_without_a_session_waits(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    Journal(path).close()
    assert "No engine has begun" in show("live", Sources([], [path])).info[0].value
    assert "No decision was made yet" in show("decisions", Sources([], [path])).info[0].value


@pytest.mark.parametrize("name", ["leaderboard", "match", "ask"])
@pytest.mark.parametrize("damage", ["absent", "no manifest", "manifest", "rows"])
def test_a_run_that_cannot_be_read_has_a_screen(name: str, damage: str, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    if damage != "absent":
        shutil.copytree(folder, run)
    if damage == "no manifest":
        (run / "manifest.json").unlink()
    if damage == "manifest":
        (run / "manifest.json").write_text('{"format": "')
    if damage == "rows":
        for part in run.rglob("*.parquet"):
            part.write_bytes(part.read_bytes()[:100])
    page = show(name, Sources([run], coming="it is being played"))
    assert [one.value for one in page.error] == ["This cannot be shown."]
    assert str(run) in page.code[0].value


def test_what_a_server_was_quoted_with_is_no_markup(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    with Journal(journal, read_only=True) as whole:
        whole.backup(path)
        last = whole.last("decision")
    assert last is not None
    with Journal(path) as own:
        own.append([("halt", {"why": "<img src=//evil.example/x onerror=alert(1)>"})], at=last.at)
    page = show("live", Sources([], [path]))
    assert "<img" not in html(page)
    assert "&lt;img" in html(page)


def test_the_health_in_the_bar(journal: Path, tmp_path: Path) -> None:
    path, cut = tmp_path / "live.db", tmp_path / "cut.db"
    with Journal(journal, read_only=True) as whole:
        whole.backup(path)
        records = [record for record in whole.records() if record.kind != "stop"]
    with Journal(cut) as own:
        own.append([(record.kind, record.body) for record in records], at=records[-1].at)
    assert "STOPPED" in html(show("live", Sources([], [path])))
    assert "ENGINE GONE" in html(show("live", Sources([], [cut])))
    with sole_engine(path):  # as if one ran on it
        assert "STALE" not in html(show("live", Sources([], [path])))
        for one in tmp_path.glob("live.db*"):
            os.utime(one, (1.0, 1.0))
        assert "STALE" in html(show("live", Sources([], [path])))
    with Journal(path) as own:
        own.append([("halt", {"why": "a test"})], at=records[-1].at)
    assert "HALTED" in html(show("live", Sources([], [path])))


def test_a_journal_that_goes_back_is_told(journal: Path, tmp_path: Path) -> None:
    path, older = tmp_path / "live.db", tmp_path / "older.db"
    with Journal(journal, read_only=True) as whole:
        records = list(whole.records())
    with Journal(path) as own:
        own.append([(record.kind, record.body) for record in records[:30]], at=records[29].at)
        own.backup(older)
        own.append([(record.kind, record.body) for record in records[30:]], at=records[-1].at)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.replace(older, path)
    assert "JOURNAL GOES BACK" in html(show("live", Sources([], [path])))
