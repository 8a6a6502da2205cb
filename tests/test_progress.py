"""How far a long computation is."""

from __future__ import annotations

import io

from rich.console import Console

from gridpilot.progress import Progress


def test_in_lines_where_there_is_no_terminal() -> None:
    now, said = 0.0, io.StringIO()
    lines = Progress("tournament", Console(file=said, width=200), clock=lambda: now)
    with lines.of(100, done=20, what="matches") as advance:
        for _ in range(8):
            now += 4.0
            advance(10)
    assert said.getvalue().splitlines() == [
        "tournament: 50 of 100 matches, 12 s elapsed, about 20 s left",
        "tournament: 80 of 100 matches, 24 s elapsed, about 8 s left",
    ]


def test_nothing_is_said_before_ten_seconds_and_of_what_was_done_before() -> None:
    now, said = 0.0, io.StringIO()
    lines = Progress("backtest", Console(file=said), clock=lambda: now)
    with lines.of(10, what="rows") as advance:
        now = 9.0
        advance(10)
    with lines.of(10, what="rows") as advance:
        now = 99.0
        advance(0, "rls")
    with lines.of(5, done=5, what="rows") as advance:
        advance(0)
    assert said.getvalue() == ""


def test_as_a_bar_in_a_terminal() -> None:
    shown = io.StringIO()
    with Progress("backtest", Console(file=shown, force_terminal=True, width=120)).of(10, what="rows") as advance:
        advance(4, "[rls]")
    for text in ("backtest", "4/10", "rows", "[rls]"):
        assert text in shown.getvalue()


def test_a_note_stays() -> None:
    said = io.StringIO()
    Progress("tournament", Console(file=said)).note("part 3 [is] damaged")
    assert said.getvalue() == "part 3 [is] damaged\n"
