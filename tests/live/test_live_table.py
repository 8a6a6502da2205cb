"""The live table: every number is there at every width, and what people must not miss is."""

from __future__ import annotations

import io
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.cycle_table import cycles_table, money, plain_line
from gridpilot.live.live_table import Heading, LiveTable
from gridpilot.live.tally import best_single
from tests.live.reports import CAP_W, earned, report, rough_run

WIDTHS = (80, 100, 140)
HEADING = Heading("mara", "https://mara-hackathon-api.onrender.com", "mpc", ("north",), 300.0, "live", CAP_W)


def quiet(heading: Heading = HEADING, rows: int = 12) -> LiveTable:
    """A table whose console leads nowhere."""
    return LiveTable(heading, console=Console(file=io.StringIO()), rows=rows)


def draw(table: LiveTable, width: int, height: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(table.render(width, height))
    return capture.get()


def filled(reports: list[CycleReport]) -> LiveTable:
    table = quiet()
    for each in reports:
        table.update(each)
    return table


def line_of(text: str, at: str) -> list[str]:
    """The words of the line of one cycle."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [at])


@pytest.mark.parametrize("width", WIDTHS)
def test_every_number_of_every_cycle_is_there_in_full(width: int) -> None:
    reports = rough_run()
    text = draw(filled(reports), width)
    places, figures = (2, 3) if width == 80 else (3, 4)
    for each in reports[-12:]:
        words = line_of(text, f"{each.at:%H:%M}")
        expected = [
            *(f"{price:.{places}f}" for price in each.prices),
            *(str(count) for count in each.counts[0]),
            f"{each.power_w / 1000:{'' if width == 80 else ','}.0f}",
            f"{100 * each.power_w / each.cap_w:.0f}",
            money(each.profit, figures),
            *(
                signed(each.profit - other, figures)
                for other in (each.alternatives["best"], best_single(each) or 0.0)
                if each.earned.weight
            ),
        ]
        numbers = [word for word in words[1:] if re.fullmatch(r"[-+]?[\d.,]+[kMGT]?", word)]
        assert numbers == expected


def signed(value: float, figures: int) -> str:
    text = money(value, figures)
    return text if text.startswith("-") or text == "0" else f"+{text}"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("halted", [False, True])
def test_nothing_is_wider_than_the_terminal(width: int, halted: bool) -> None:
    table = filled(rough_run())
    table.note("a note that is rather long, as messages of a server may be: " + 20 * "word ")
    table.halted("maintenance " * 30 if halted else None)
    lines = draw(table, width).splitlines()
    assert max(map(len, lines)) <= width
    assert len([line for line in lines if re.match(r" \d\d:\d\d ", line)]) == 12  # one line a cycle: none is wrapped


@pytest.mark.parametrize("width", WIDTHS)
def test_heading_and_footer(width: int) -> None:
    reports = rough_run()
    table = filled(reports)
    table.drift(3)
    text = draw(table, width)
    for part in (
        "LIVE", "mpc", "mara https://mara-hackathon-api.onrender.com", "north", "cap 1,000 kW", "2025-06-21 13:10:05 UTC", "speed 300",
        "drift 3", "available 78.57 % of 14 ticks", "over 9 rows", "latency p50 12 ms p99 31 ms",
    ):  # fmt: skip
        assert part in text
    counted = [each for each in reports if each.kind == "row" and each.status == "applied"]
    profit = sum(each.profit for each in counted)
    assert f"profit {money(profit)} API $" in text
    for name, label in [("best", "best"), ("off", "off"), ("hydro_miners", "all hydro"), ("gpu_compute", "all gpu")]:
        assert f"vs {label} {signed(profit - sum(each.alternatives[name] for each in counted), 4)}" in text


def test_a_halt_is_a_banner_above_all_until_it_ends() -> None:
    table = filled([report()])
    table.halted("by the operator")
    assert draw(table, 80).splitlines()[0].startswith(" HALTED  by the operator")
    table.halted(None)
    assert "HALTED" not in draw(table, 80)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_was_wrong_with_the_last_cycle_is_told_at_every_width(width: int) -> None:
    bad = report(3, reason="myopic", causes=("agent_error", "last_good_infeasible"), status="refused")
    text = draw(filled([report(1), report(2), bad]), width)
    assert "12:15 row, myopic, refused: agent_error, last_good_infeasible" in text
    assert "refused:" not in draw(filled([report(1), bad, report(4)]), width)


def test_causes_have_a_column_where_there_is_room() -> None:
    reports = [report(1, reason="last_good", causes=("agent_late",)), report(2)]
    assert "agent_late" in draw(filled(reports), 140)
    assert "causes" not in draw(filled([report(1)]), 140)


def test_control_characters_of_a_server_do_not_reach_the_terminal() -> None:
    table = filled([report()])
    table.note("no such\x1b[2J site\r\nat all")
    table.halted("\x1b]0;title\x07")
    text = draw(table, 100)
    assert "\x1b" not in text
    assert r"no such\x1b[2J site\r\nat all" in text


def test_markup_in_names_is_text() -> None:
    text = draw(quiet(Heading("mara", "http://127.0.0.1:1", "[bold]mine[/bold]", ("[red]a",), 1.0)), 80)
    assert "[bold]mine[/bold]" in text
    assert "[red]a" in text


def test_a_low_terminal_shows_fewer_cycles_and_all_of_the_rest() -> None:
    table = filled(rough_run())
    text = draw(table, 100, height=16)
    assert len(text.splitlines()) <= 16
    assert "13:10 " in text
    assert "12:15 " not in text
    assert "latency p50" in text


def test_before_the_first_cycle() -> None:
    text = draw(quiet(), 80)
    assert "waiting for the first row" in text
    assert "profit 0 API $ over 0 rows" in text


def test_sites_are_added_up() -> None:
    two = report(1, counts=((1, 2, 3, 4, 5), (10, 20, 30, 40, 50)))
    assert line_of(draw(filled([two]), 100), "12:05")[4:9] == ["11", "22", "33", "44", "55"]


def test_numbers_too_large_for_the_width_cost_columns_not_digits() -> None:
    huge = report(1, (123_456, 234_567, 345_678, 456_789, 567_890), cap_w=10**12)
    words = line_of(draw(filled([huge]), 80), "12:05")
    assert {"123,456", "234,567", "345,678", "456,789", "567,890", money(huge.profit, 3)} <= set(words)
    assert words[-2:] == ["agent", "✓"]
    assert not any("…" in word for word in words)


money_values = st.floats(min_value=-1e14, max_value=1e14)


@given(st.lists(st.tuples(money_values, money_values, st.integers(0, 2_000)), min_size=1, max_size=12), st.sampled_from(WIDTHS))
def test_any_run_fits_and_is_never_cut_short(drawn: list[tuple[float, float, int]], width: int) -> None:
    drawn_money = [(count, earned(tick, gain, cost, shown=True)) for tick, (gain, cost, count) in enumerate(drawn)]
    reports = [report(tick, (0, count, 0, 0, 0), earned=each) for tick, (count, each) in enumerate(drawn_money)]
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(cycles_table(reports, width))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in capture.get()
    assert all(
        line.rstrip().endswith("agent ✓") for line in lines if re.match(r"\d\d:\d\d ", line)
    )  # nothing is cut off at the right
    assert len({tuple(line.split()) for line in lines if re.match(r"\d\d:\d\d ", line)}) == len(reports)
    assert all(money(each.profit, 3) in capture.get() or money(each.profit) in capture.get() for each in reports)


@given(money_values)
def test_money_is_short_and_close(value: float) -> None:
    text = money(value)
    assert len(text) <= 7
    scale = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1], 1.0)
    assert float(text.rstrip("kMGT").replace(",", "")) * scale == pytest.approx(value, rel=6e-4, abs=0.006)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6, 1e9, 1e12])
def test_money_never_shows_a_thousand_of_a_unit(scale: float) -> None:
    for size, sign in itertools.product((999.9, 999.94, 999.95, 999.99, 999.999, 1000.0), (1, -1)):
        if scale < 1e12:
            assert not money(sign * size * scale).lstrip("-").startswith("1000")


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (float("nan"), "–"), (float("inf"), "–"), (-0.0, "0"), (-1e-12, "0")])
def test_money_of_what_is_none(value: float | None, text: str) -> None:
    assert money(value) == text


def test_without_a_terminal_every_event_is_a_line() -> None:
    stream = io.StringIO()
    with LiveTable(HEADING, console=Console(file=stream, width=80)) as table:
        table.update(report(1))
        table.halted("maintenance")
        table.halted("maintenance")
        table.drift(0)
        table.drift(1)
        table.note("API down")
        table.halted(None)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "LIVE mpc on mara https://mara-hackathon-api.onrender.com, speed 300"
    assert lines[1] == plain_line(report(1))
    assert lines[2:6] == ["HALTED: maintenance", "drift: 1 decision made differently by the replica", "API down", "resumed"]
    assert lines[6].startswith("profit 1.495M API $ over 1 row, vs best 0")
    assert len(lines) == 7
    assert "\x1b" not in stream.getvalue()


def test_a_plain_line_tells_all() -> None:
    line = plain_line(report(1, (10, 2, 30, 4, 4), reason="last_good", causes=("agent_late",), mode="shadow", status="shadow"))
    assert line == (
        "2025-06-21 12:05 shadow energy 1.270 hash 1.382 token 1.572 | air 10 hydro 2 imm 30 gpu 4 asic 4 | 397 kW 40 % of cap | "
        "would have earned -217.1k API $, -1.712M vs best, -1.712M vs one kind | row last_good shadow (agent_late)"
    )
    assert "all off" in plain_line(report(1, (0,) * 5))


def test_on_a_terminal_the_table_is_drawn_in_place() -> None:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=100, height=30, color_system="truecolor", _environ={"TERM": "xterm-256color"}
    )
    with LiveTable(HEADING, console=console) as table:
        table.update(report(1))
        table.update(report(2, reason="off", causes=("feed_off",)))
    text = stream.getvalue()
    assert "\x1b[?25l" in text  # the cursor is hidden
    assert text.rstrip().endswith("\x1b[?25h")  # and shown again
    assert "feed_off" in text
