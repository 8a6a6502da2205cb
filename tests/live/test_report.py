"""The report of a week: its figures are the export's, its causes add up, and what it shows is what the journal holds."""

from __future__ import annotations

import csv
import json
import os
import random
import re
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gridpilot.agents.seating import AgentSpec
from gridpilot.cli import main
from gridpilot.errors import UnavailableError, UnknownOutcomeError, VenueError
from gridpilot.live.api import INVENTORIES, TICK, format_time
from gridpilot.live.export import write_export
from gridpilot.live.journal import Journal
from gridpilot.live.ledger import total_profit
from gridpilot.live.replay_venue import ReplayVenue
from gridpilot.live.report_facts import Period, day_of, read_facts, week_of
from gridpilot.live.report_page import WORDS, render_page
from tests.live.loops import Seen, TiedClock, engine, mara, quick, run
from tests.live.other_server import OtherServer
from tests.live.test_journal import tamper
from tests.live.worlds import START, walk
from tests.test_structure import ROOT


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hours over a Monday's midnight: failing calls, a foreign hand, a halt, an outage, a row that is no number, an engine that is gone."""
    path = tmp_path_factory.mktemp("week") / "site.db"
    choices = {"fault_rate": 0.05, "random_faults": ("500", "503", "html", "lost"), "retry_after": "0", "seed": 3}
    with OtherServer(rows=3, start=datetime(2025, 6, 22, 22, tzinfo=UTC), slow_s=0.02, **choices) as server:
        key, clock = server.key(), TiedClock(server)

        def turn(rows: int, **changes: Any) -> None:
            with Journal(path) as journal:
                watch = Seen(clock.monotonic)
                venue = mara(server, [key], clock, timing=quick(timeout=0.2))
                venue.timing = quick(timeout=0.1, backoff=5.0, longest_wait=60.0)  # of the engine, whose clock takes no time
                loop, _ = engine(venue, journal, watch=watch, rows=rows, **changes)

                def on_report(report: Any) -> None:
                    match len(watch.reports):
                        case 5:
                            server.script("GET /machines", None, None)
                            server.interfere(key, (0, 7, 0, 0, 0))
                        case 8:
                            journal.append([("halt", {"why": "smoke <b>in hall 2</b>"})], at=clock.now())
                        case 11:
                            journal.append([("resume", {"why": "false alarm"})], at=clock.now())
                        case 15:
                            server.script("*", *["500"] * 100_000)
                        case 19:
                            server._scripts.clear()
                        case 21:
                            server.spoil(server.newest() + 1, {"energy_price": None})

                watch.on_report = on_report if rows > 10 else watch.on_report
                loop.run()
                venue.close()

        turn(24)
        clock.advance(7 * TICK.total_seconds())  # nobody is there
        turn(5)
    return path


@pytest.fixture(scope="module")
def exported(troubled: Path) -> list[dict[str, str]]:
    """The lines of ``gridpilot live export``."""
    out = troubled.with_name("decisions.csv")
    with Journal(troubled, read_only=True) as journal:
        write_export(journal, "decisions", str(out))
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def facts_of(path: Path, period: Period | None = None) -> dict[str, Any]:
    with Journal(path, read_only=True) as journal:
        return read_facts(journal, period)


SUNDAY, MONDAY = date(2025, 6, 22), date(2025, 6, 23)


@pytest.mark.parametrize(
    "period", [week_of(SUNDAY), week_of(MONDAY), day_of(SUNDAY), day_of(MONDAY)], ids=lambda period: period.label
)
def test_profit_is_that_of_the_export(period: Period, troubled: Path, exported: list[dict[str, str]]) -> None:
    facts = facts_of(troubled, period)
    lines = [line for line in exported if format_time(period.start) <= line["time"] < format_time(period.end)]
    assert len(lines) == facts["summary"]["decisions_count"] > 0
    for name in ("profit", "revenue", "cost"):
        total = sum(float(line[f"{name}_api_dollars"]) for line in lines)
        assert facts["summary"][f"{name}_api_dollars"] == pytest.approx(total, rel=1e-9, abs=1e-9)
        assert sum(part.get(f"{name}_api_dollars", 0.0) for part in facts["parts"]) == pytest.approx(total, rel=1e-9, abs=1e-9)
    by = defaultdict(int)
    for line in lines:
        by[line["reason"]] += 1
    assert {row["reason"]: row["decisions_count"] for row in facts["decided_by"]} == by


def test_the_weeks_add_up_to_the_journal(troubled: Path) -> None:
    weeks = [facts_of(troubled, week_of(day))["summary"]["profit_api_dollars"] for day in (SUNDAY, MONDAY)]
    with Journal(troubled, read_only=True) as journal:
        assert sum(weeks) == pytest.approx(total_profit(journal), rel=1e-9)


@pytest.mark.parametrize("day", [SUNDAY, MONDAY])
def test_causes_add_up_to_what_was_left(day: date, troubled: Path) -> None:
    facts = facts_of(troubled, week_of(day))
    summary = facts["summary"]
    best = next(row["profit_api_dollars"] for row in facts["baselines"] if row["name"] == "best")
    assert sum(row["forgone_api_dollars"] for row in facts["forgone"]) == pytest.approx(
        best - summary["profit_api_dollars"], rel=1e-9
    )
    assert sum(row["ticks_count"] for row in facts["forgone"]) == summary["ticks_count"]
    assert {row["cause"] for row in facts["forgone"]} <= set(WORDS)


def test_what_happened_is_in_it(troubled: Path) -> None:
    sunday, monday = (facts_of(troubled, day_of(day)) for day in (SUNDAY, MONDAY))
    causes = {row["cause"]: row for facts in (sunday, monday) for row in facts["forgone"]}
    assert {"agent", "halted", "no_decision", "foreign_command"} <= set(causes)
    assert causes["halted"]["forgone_api_dollars"] > 0.0
    assert [(halt["why"], halt["resumed_why"]) for halt in sunday["halts"]] == [("smoke <b>in hall 2</b>", "false alarm")]
    names = {alarm["name"] for facts in (sunday, monday) for alarm in facts["alarms"]}
    assert {"ReadBackDiffers", "EngineGone", "FallbackDecides"} <= names
    assert monday["mode"] == "live"
    assert monday["verification"]["problems"] == []
    assert monday["before"]["profit_api_dollars"] == sunday["summary"]["profit_api_dollars"]
    assert 0.0 < sunday["summary"]["availability_share"] < 1.0


def test_the_best_possible_is_that_of_the_rows_worked_out_otherwise(tmp_path: Path) -> None:
    """Of one class alone the best is as many machines as fit, where a machine makes money: a figure on the back of an envelope."""
    rows = walk(30)
    run(ReplayVenue(rows, INVENTORIES["live"], 1_000_000), tmp_path / "j.db", rows=30, mode="shadow")
    facts = facts_of(tmp_path / "j.db")
    by_name = {row["name"]: row["profit_api_dollars"] for row in facts["baselines"]}
    hydro = sum(200 * (10_000 * row.hash - 5_000 * row.energy) for row in rows)
    assert by_name["hydro_miners"] == pytest.approx(hydro, rel=1e-12)
    assert by_name["off"] == 0.0
    assert by_name["best"] >= max(value for name, value in by_name.items() if name != "best")
    assert facts["summary"]["profit_api_dollars"] == pytest.approx(
        by_name["best"], rel=1e-9
    )  # truthful is myopic, and so is the best
    assert facts["forgone"] == [{"cause": "agent", "forgone_api_dollars": pytest.approx(0.0, abs=1e-3), "ticks_count": 30}]
    assert facts["summary"]["availability_share"] == 1.0
    page = render_page(facts)
    assert "shadow: would have" in page
    assert "The site would have earned" in page


class Links(HTMLParser):
    """Everything of a page that could ask another host, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attributes}
        if tag in {"script", "link", "img", "iframe", "object", "embed", "form", "base"} or names & {
            "src",
            "href",
            "srcset",
            "onload",
        }:
            self.found.append(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("period", [week_of(SUNDAY), day_of(MONDAY), day_of(date(2024, 1, 1))], ids=lambda period: period.label)
def test_the_page_needs_nothing_else(period: Period, troubled: Path) -> None:
    page = render_page(facts_of(troubled, period))
    links = Links()
    links.feed(page)
    assert (links.found, links.open) == ([], [])
    assert not re.search(r"url\(|@import|<b>in hall", page)
    if period.start.year == 2024:
        assert "Nothing was decided in this time." in page


def test_the_command_writes_it_and_prints_it(troubled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert main(["live", "report", str(troubled), "--week", "2025-06-22", "--out", str(out)]) == 0
    assert f"report  {out}" in capsys.readouterr().out
    assert out.stat().st_mode & 0o777 == 0o600
    assert "Week of 16 to 22 June 2025" in out.read_text(encoding="utf-8")
    assert main(["live", "report", f"live.journal={troubled}", "--day", "2025-06-23", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(json.dumps(facts_of(troubled, day_of(MONDAY))))
    assert main(["live", "report", str(troubled)]) == 0  # of the week that the journal ends in
    assert (troubled.parent / "site-week-2025-06-23.html").is_file()


@pytest.fixture
def damaged(troubled: Path, tmp_path: Path) -> Path:
    with Journal(troubled, read_only=True) as original:
        original.backup(tmp_path / "copy.db")
    tamper(
        tmp_path / "copy.db", "UPDATE records SET body = replace(body, '\"fresh\":true', '\"fresh\":false') WHERE kind = 'decision'"
    )
    return tmp_path / "copy.db"


def test_a_journal_that_was_changed_is_told_in_red(damaged: Path) -> None:
    facts = facts_of(damaged)
    (problem,) = facts["verification"]["problems"]
    assert "is not what was written" in problem
    assert "WRONG: record" in render_page(facts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["JOURNAL", "--day", "2025-13-01"], "'2025-13-01' is no date, expected one such as 2025-06-21"),
        (["JOURNAL", "--week", "9999-12-31"], "9999-12-31 is at an end of the calendar"),
        (["JOURNAL", "--out", "JOURNAL"], "is the journal itself"),
        (["JOURNAL", "--out", "/nowhere/page.html"], "cannot write /nowhere/page.html"),
        (["none.db"], "journal none.db does not exist"),
        (["JOURNAL", "--month"], "'--month' is not known"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    arguments: list[str],
    message: str,
    troubled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(troubled.parent))
    assert main(["live", "report", *(argument.replace("JOURNAL", str(troubled)) for argument in arguments)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert (os.listdir(tmp_path), sorted(os.listdir(troubled.parent))) == ([], before)


def test_every_cause_of_the_documentation_has_words() -> None:
    table = (ROOT / "docs" / "live" / "README.md").read_text(encoding="utf-8").partition("| cause |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    codes = {code for cell in cells for code in re.findall(r"`(\w+)`", cell)}
    assert codes - {"last_good_none", "last_good_unprofitable"} <= set(WORDS)
    assert START.year == 2025


class FailingVenue(ReplayVenue):
    """A recording of which one call in twenty fails, a change with its fate unknown."""

    name = "failing"

    def __init__(self, rows: int) -> None:
        super().__init__(
            [replace(row, at=row.at - timedelta(days=5, hours=12)) for row in walk(rows)], INVENTORIES["live"], 1_000_000
        )
        self._chance = random.Random(7)
        self.failed = 0

    def _may_fail(self, error: type[VenueError]) -> None:
        if self._begun and self._chance.random() < 0.05:
            self.failed += 1
            raise error("one in twenty")

    def prices(self) -> Any:
        self._may_fail(UnavailableError)
        return super().prices()

    def machines(self, site: int) -> Any:
        self._may_fail(UnavailableError)
        return super().machines(site)

    def set_machines(self, site: int, counts: Any) -> Any:
        self._may_fail(UnavailableError)
        answer = super().set_machines(site, counts)
        self._may_fail(UnknownOutcomeError)
        return answer


@pytest.mark.slow
def test_a_week_with_faults_is_the_export_to_the_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    venue = FailingVenue(2016)
    run(venue, tmp_path / "week.db", rows=2016, agents=[AgentSpec("zero_intelligence", {})])
    facts = facts_of(tmp_path / "week.db")
    with Journal(tmp_path / "week.db", read_only=True) as journal:
        write_export(journal, "decisions", str(tmp_path / "decisions.csv"))
    with (tmp_path / "decisions.csv").open(newline="") as file:
        total = sum(float(line["profit_api_dollars"]) for line in csv.DictReader(file))
    summary = facts["summary"]
    assert venue.failed > 200
    assert (facts["period"]["start"], summary["ticks_count"]) == ("2025-06-16T00:00:00", 2016)
    assert summary["profit_api_dollars"] == pytest.approx(total, rel=1e-9)
    assert sum(row["forgone_api_dollars"] for row in facts["forgone"]) == pytest.approx(summary["forgone_api_dollars"], rel=1e-9)
    assert summary["forgone_api_dollars"] > 0.01 * summary["best_api_dollars"]
    with capsys.disabled():
        print(f"\n{venue.failed} calls failed; {summary}")
