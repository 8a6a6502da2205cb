"""The five questions, answered by templates: right to the digit, every figure with its note, in one command."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from gridpilot.cli import main
from gridpilot.insight import live_facts
from gridpilot.insight.forecast_facts import foresee
from gridpilot.insight.opened import OpenedRun
from gridpilot.insight.replay import Change, play, reclear
from gridpilot.live.api import TICK
from gridpilot.live.journal import Journal
from gridpilot.live.journal_json import facility_from_json
from gridpilot.market.auction import PRICE_LO
from gridpilot.market.physics import PAYMENT, WON
from gridpilot.tournament.statistics import scores
from tests.insight.recomputed import asked, check, lead, of_journal, of_run
from tests.live.worlds import START, walk


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, and no way to anybody."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "GRIDPILOT_MODEL"):
        monkeypatch.delenv(name, raising=False)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection is made")

    monkeypatch.setattr(socket, "create_connection", refuse)


def explain(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert main(["explain", *argv, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    inside = {i for span in answer["spans"] for i in range(span["start"], span["end"])}
    loose = [sign for i, sign in enumerate(answer["text"]) if i not in inside and sign.isnumeric()]
    assert loose == []
    assert {span["note"] for span in answer["spans"]} == {note["note"] for note in answer["notes"]}
    return answer


def dollars(value: float, sign: str = "") -> str:
    number = round(value, 2) + 0.0  # zero has no sign
    return f"{number:{sign if number else ''},.2f} $"


def test_why_this_bid(opened: OpenedRun, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    match = opened.match("1000000/mixed/1")
    trace = play(opened.run, [match]).trace
    for seat in (match.seats.index("mpc"), match.seats.index("threshold"), match.seats.index("zero_intelligence")):
        answer = explain(capsys, str(folder), "--match", "1000000/mixed/1", "--tick", "20", "--seat", str(seat))
        text, bid = answer["text"], trace.bids[20, 0, seat]
        blocks = bid[bid[:, 0] > 0.0]
        assert answer["question"]["kind"] == "bid"
        assert f"This is {match.seats[seat]} in seat {seat}" in text
        assert f"asked for {blocks[:, 0].sum():,.1f} kW from the grid in {len(blocks)} blocks" in text
        low, high = 1000.0 * blocks[-1, 1], 1000.0 * blocks[0, 1]
        assert f"from {low:,.2f} $/MWh to {high:,.2f} $/MWh" in text
        assert f"The clearing price was {1000.0 * trace.price[20, 0]:,.2f} $/MWh" in text
        won, paid = trace.outcome[20, 0, seat, WON], trace.outcome[20, 0, seat, PAYMENT]
        assert f"it won {won:,.1f} kW and paid {dollars(paid)}" in text
        if match.seats[seat] == "mpc":
            value, battery = trace.storage_value[20, 0, seat], trace.arena.sites[seat].battery
            buy = 1000.0 * (battery.charge_efficiency * value - battery.wear_cost)
            sell = 1000.0 * (value / battery.discharge_efficiency + battery.wear_cost)
            assert (
                f"worth {1000.0 * value:,.2f} $/MWh; with losses and wear, charging then pays up to a price of {buy:,.2f} $/MWh"
                in text
            )
            assert f"and delivering from a price of {sell:,.2f} $/MWh" in text
            assert "its plan expects prices of" in text
        first = int(trace.arena.scenario.start[0]) - 24
        known = trace.arena.scenario.prices[: 24 + 21, 0, 0].tolist()
        band, came = (
            1000.0 * foresee(range(first, first + len(known)), known)[11],
            1000.0 * trace.arena.scenario.prices[24 + 32, 0, 0],
        )
        assert f"was expected to be {band[0]:,.2f} $/MWh to {band[-1]:,.2f} $/MWh; it came to {came:,.2f} $/MWh" in text


def test_why_this_seat_lost(opened: OpenedRun, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    match = opened.match("1000001/mixed/0")
    seat = match.seats.index("zero_intelligence")
    answer = explain(capsys, str(folder), "--match", "1000001/mixed/0", "--seat", str(seat), "--ask", "Why did this seat lose?")
    rows = opened.run.rows.query(f"episode == 1000001 and lineup == 'mixed' and seat == {seat}").set_index("agent")
    other = rows["profit"].drop("zero_intelligence").idxmax()
    own, theirs = rows.loc["zero_intelligence"], rows.loc[other]
    text = answer["text"]
    assert f"earned {dollars(own['profit'])}; on that day {other} in that seat earned {dollars(theirs['profit'])}" in text
    assert f"zero_intelligence is below {other} in profit, with a difference of {dollars(theirs['profit'] - own['profit'])}" in text
    assert f"{dollars(own['revenue'] - theirs['revenue'], '+')} is from revenue" in text
    assert f"{dollars(theirs['payment'] - own['payment'], '+')} from what was paid" in text
    mean = [1000.0 * row["payment"] / row["drawn_kwh"] for row in (own, theirs)]
    assert f"at a mean price of {mean[0]:,.2f} $/MWh" in text
    assert f"the {mean[1]:,.2f} $/MWh paid by {other}" in text


def test_what_uniform_price_would_have_changed(opened: OpenedRun, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = explain(
        capsys, str(folder), "--match", "1000000/mixed/2", "--ask", "What would uniform pricing have changed?", "--seat", "5"
    )
    played = play(opened.run, [opened.match("1000000/mixed/2")])
    paid = played.trace.outcome[..., PAYMENT]
    won, low = played.trace.outcome[..., WON], played.trace.totals[..., PRICE_LO]
    by_hand = (won * low[..., None] / 12.0).sum()  # the highest losing price for every kWh
    uniform, text = reclear(played, "uniform"), answer["text"]
    assert uniform.sum() == pytest.approx(by_hand, rel=1e-9)
    assert f"the sites paid {dollars(paid.sum())} in all under the mechanism vcg" in text
    assert f"they would have paid {dollars(uniform.sum())}: a change in payment of {dollars((uniform - paid).sum(), '+')}" in text
    assert f"from {dollars(paid[:, 0, 5].sum())} to {dollars(uniform[:, 0, 5].sum())}" in text
    changed = play(opened.run, [opened.match("1000000/mixed/2")], Change(mechanism="uniform"))
    assert f"a profit of {dollars(changed.trace.rows['profit'].sum())} where they earned" in text


def test_why_mpc_beats_threshold(opened: OpenedRun, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = explain(capsys, str(folder), "--ask", "Why does mpc beat threshold?")
    assert (answer["question"]["agent"], answer["question"]["other"]) == ("mpc", "threshold")
    rows = opened.run.rows
    means = {name: scores(rows.assign(profit=rows[name])).mean() for name in ("profit", "revenue", "payment", "wear", "stored")}
    lead = {name: column["mpc"] - column["threshold"] for name, column in means.items()}
    text = answer["text"]
    assert f"Over 2 days mpc earned {dollars(means['profit']['mpc'])} a day" in text
    assert f"the difference in profit is {dollars(lead['profit'], '+')} a day" in text
    assert (
        f"{dollars(lead['revenue'], '+')} a day comes from revenue, {dollars(-lead['payment'], '+')} a day from what was paid"
        in text
    )
    assert (
        f"{dollars(-lead['wear'], '+')} a day from battery wear and {dollars(lead['stored'], '+')} a day from energy left" in text
    )
    assert "Too few days were played to be sure of it: 2 episodes." in text


def test_every_figure_of_the_five_answers_comes_out_another_way(folder: Path, journal: Path) -> None:
    """At full size: python -m tests.insight.recomputed RUN JOURNAL."""
    counted = of_run(folder, "mpc", "threshold", "1000000/mixed/1", 20) | of_journal(journal)
    assert len(counted) == 9
    assert sum(counted.values()) > 120
    answer = asked(str(folder), "--agent", "mpc", "--agent", "threshold")
    facts = lead(OpenedRun(folder).run.rows, "mpc", "threshold")
    with pytest.raises(AssertionError, match="lead_dollars_per_day"):  # a cent
        check(answer, facts | {"c1/lead_dollars_per_day": facts["c1/lead_dollars_per_day"] + 0.01})


def test_whether_anything_is_wrong_now(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = explain(capsys, str(journal))
    text = answer["text"]
    assert text.startswith("Yes: as of 2025-06-21 15:40 UTC, alarms that are raised: 1.")
    assert (
        "Alarm Unavailable (warn). Less than 99.9 % of the last day's ticks had a fresh, feasible decision: 33 of 45 ticks." in text
    )
    assert "Of the last 45 decisions 12 were not made by the agent itself." in text
    assert "the price row of the tick has not come (12 times)" in text
    with Journal(journal, read_only=True) as opened:
        session = opened.last("session")
        opened.backup(tmp_path / "copy.db")
    assert session is not None
    with Journal(tmp_path / "copy.db") as copy:
        copy.append([("session", session.body)], at=next(copy.records(after=copy.head[0] - 1)).at)
    text = explain(capsys, str(tmp_path / "copy.db"), "--ask", "is anything wrong now?")["text"]
    assert "Alarm EngineGone (page)." in text
    assert ": the journal ends in the midst of a session, and no engine runs on it here." in text


def test_a_decision_within_the_outage_and_the_day(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = explain(capsys, str(journal), "--at", "2025-06-21T14:00")["text"]
    assert "without a new price row, on prices taken to go on as they were" in stale
    assert "the newest price row is older than two ticks" in stale
    first = explain(capsys, str(journal), "--tick", "3")["text"]
    assert "The decision of 2025-06-21 12:15 UTC was made on a new price row, by the agent" in first
    day = explain(capsys, str(journal), "--at", "2025-06-21")["text"]
    with Journal(journal, read_only=True) as opened:
        bodies = [record.body["earned"]["sites"] for record in opened.records(kinds={"outcome", "reconciliation"})
                  if record.body.get("earned")]  # fmt: skip
    profit = sum(revenue - cost for sites in bodies for revenue, cost in sites)
    assert f"earned a profit of {profit:,.2f} API $" in day
    assert "12 had no price row" in day


def test_what_else_what_was_expected_and_whether_it_decides_so_again(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--at", "2025-06-21T12:40")
    with Journal(planned, read_only=True) as opened:
        one = next(told for told in live_facts.told(opened) if told.body["at"] == "2025-06-21T12:40:00")
        session = one.session
    prices = one.body["prices"]
    answer = explain(capsys, str(planned), *at, "--ask", "What else could it have done?")
    assert answer["question"]["kind"] == "alternatives"
    best = facility_from_json(session).alternatives((prices[0] * 12_000.0, *prices[1:]))
    assert f"The ideal choice would have earned {best['best']:,.2f} API $." in answer["text"]
    for name in ("air_miners", "asic_compute"):
        assert f"Full power of {name} alone would have earned {best[name]:,.2f} API $." in answer["text"]
    text = explain(capsys, str(planned), *at, "--ask", "What was expected?")["text"]
    rows = {row.at: row.energy for row in walk(30)}
    assert (
        f"the energy price was {prices[0]:.4f} API $/W. This forecaster, asked again with the 9 rows known then: ensemble." in text
    )
    assert f"; it came to {rows[START + 20 * TICK]:.4f} API $/W." in text  # an hour after 12:40
    again = explain(capsys, str(planned), *at, "--ask", "Would it decide so again?")["text"]
    assert "comes out as it was recorded, bit for bit (0 differences)" in again
    assert "To know that, 9 decisions of its session were made again; of them 0 came out otherwise." in again
    assert "By its own account it went by this rule: threshold." in explain(capsys, str(planned), *at)["text"]


def test_it_is_printed_with_notes_and_calls(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(folder), "--agent", "mpc", "--agent", "threshold"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^ ?\[1\] 2: c2/episodes_count$", out, re.MULTILINE)
    assert out.rstrip().endswith("c2 = overview()")
    assert err == "explain: worded by template (no ANTHROPIC_API_KEY is set)\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--agent", "nobody"], "no agent 'nobody' played in this run"),
        (["--match", "7"], "episode 7 was not played"),
        (["--match", "1000000/mixed/0", "--seat", "11"], "--seat is 11, expected 0 to 9"),
        (["--at", "2025-06-21"], "--at 2025-06-21 is for a journal"),
        (["--ask", ""], "expected 1 to 2,000"),
    ],
)
def test_bad_options_end_in_one_line(options: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(folder), *options]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert told in err


def test_bad_options_of_a_journal(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, told in [
        (["--seat", "1"], "--seat is for a run"),
        (["--tick", "999"], "no decision of tick 999"),
        (["--at", "noon"], "expected a time in UTC"),
        (["--tick", "1", "--at", "2025-06-21"], "one of them"),
    ]:
        assert main(["explain", str(journal), *options]) == 2
        assert told in capsys.readouterr().err


def test_a_run_that_is_not_as_it_was_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridpilot.tournament.replay.code_hash", lambda: "0" * 64)
    shutil.copytree(folder, tmp_path / "run")
    text = explain(capsys, str(tmp_path / "run"), "--match", "1000000/mixed/0", "--tick", "3", "--seat", "1")["text"]
    assert "is not what was recorded: the library's source has changed since." in text
    text = explain(capsys, str(tmp_path / "run"), "--ask", "Is anything wrong?")["text"]
    assert "cannot be vouched" in text
