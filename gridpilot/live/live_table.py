"""What people see of a running engine: a live table on a terminal, a plain line a cycle elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from gridpilot.columns import SafeConsole
from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.cycle_table import REASON_STYLES, cycles_table, gain, money, plain_line, short_name
from gridpilot.live.ledger import Earned
from gridpilot.live.logs import is_clean, printable
from gridpilot.live.tally import Tally

__all__ = ["Heading", "LiveTable"]

LIVE, SHADOW = "bold white on dark_green", "bold white on blue"
TABLE_LINES: Final = 5  # blank, two of heads, rule, blank


@dataclass(frozen=True, slots=True)
class Heading:
    """What a session is, for the first lines."""

    venue: str
    url: str
    agent: str
    sites: tuple[str, ...]  # names; none before a session has begun
    speed: float  # engine seconds a wall second
    mode: str = "shadow"  # or "live"
    cap_w: int = 0  # W, until the first report says it


class LiveTable:
    """Shows each cycle as it is reported; a context manager. Used by one thread.

    On a terminal the last ``rows`` cycles are shown between a heading and the sums of the run, as many as there is room for. Where
    ``console`` (by default stdout) is no terminal, each cycle is one line, and so is each note. Numbers are never cut short: a column
    that does not fit is left out, wanted ones last.
    """

    def __init__(self, heading: Heading, *, console: Console | None = None, rows: int = 12) -> None:
        self.console = console or SafeConsole()
        self._heading = heading
        self._reports: deque[CycleReport] = deque(maxlen=rows)
        self._tally = Tally()
        self._halted: str | None = None
        self._drift = 0
        self._note = ""
        terminal = self.console.is_terminal and not self.console.is_dumb_terminal
        self._live = Live(console=self.console, auto_refresh=False) if terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._show()
        else:
            heading = self._heading
            self._line(f"{heading.mode.upper()} {heading.agent} on {heading.venue} {heading.url}, speed {heading.speed:g}")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._line(", ".join(part.plain for part in self._summary()))

    def started(self, sites: Sequence[str]) -> None:
        """A session of these sites has begun."""
        self._heading = replace(self._heading, sites=tuple(sites))
        self._show(f"{_plural(len(sites), 'site')}: {', '.join(map(printable, sites))}")

    def update(self, report: CycleReport) -> None:
        """Show a cycle."""
        self._reports.append(report)
        self._tally.add(report)
        self._show(plain_line(report))

    def earned(self, earned: Earned) -> None:
        """Count what was found out between cycles."""
        self._tally.book(earned)

    def note(self, text: str) -> None:
        """Show what just happened, until the next note; control characters are shown as such."""
        self._note = printable(text)
        self._show(self._note)

    def halted(self, why: str | None) -> None:
        """Show that the engine is halted and why, or with ``None`` that it is not. Saying the same again changes nothing."""
        if why == self._halted:
            return
        self._halted = why
        self._show("resumed" if why is None else f"HALTED: {printable(why)}")

    def drift(self, count: int) -> None:
        """Show how many decisions the replica has made differently since the start."""
        if count != self._drift:
            self._drift = count
            self._show(f"drift: {_plural(count, 'decision')} made differently by the replica")

    def render(self, width: int, height: int | None = None) -> RenderableType:
        """The whole table for ``width`` columns (80 and more), with no more cycles than ``height`` lines leave room for."""
        heading, footer = self._head(width), self._foot(width)
        reports = list(self._reports)
        if height is not None:
            reports = reports[-max(1, height - len(heading) - len(footer) - TABLE_LINES) :]
        body = cycles_table(reports, width - 1) if reports else Text("waiting for the first row", style="dim")
        return Group(*heading, Padding(body, (1, 0, 1, 1)), *footer)

    def _show(self, line: str = "") -> None:
        if self._live is not None:
            self._live.update(self.render(self.console.width, self.console.height), refresh=True)
        elif line:
            self._line(line)

    def _line(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def _head(self, width: int) -> list[Text]:
        """What runs where, in which mode, and how it is; a banner above all while halted."""
        heading = self._heading
        last = self._reports[-1] if self._reports else None
        mode = last.mode if last else heading.mode
        parts = [
            Text.assemble((f" {mode.upper()} ", LIVE if mode == "live" else SHADOW), " ", (heading.agent, "bold")),
            Text.assemble(heading.venue, " ", (printable(heading.url), "dim")),
            *(
                [Text(", ".join(heading.sites) if len(heading.sites) <= 3 else f"{len(heading.sites)} sites")]
                if heading.sites
                else []
            ),
            _labelled("cap", f"{(last.cap_w if last else heading.cap_w) / 1000:,.0f} kW"),
        ]
        state = [
            _labelled("speed", f"{heading.speed:g}"),
            _labelled("drift", str(self._drift), "bold red" if self._drift else "green"),
        ]
        if last:
            share = f"{100 * last.fresh / last.ticks:.2f} %" if last.ticks else "–"
            state.append(_labelled("available", f"{share} of {_plural(last.ticks, 'tick')}"))
            state.insert(0, Text(f"{last.now:%Y-%m-%d %H:%M:%S} UTC"))
        banner = [] if self._halted is None else [Text(f" HALTED  {printable(self._halted)}".ljust(width), "bold white on red")]
        return [*banner, *_flow(parts, width), *_flow(state, width)]

    def _summary(self) -> list[Text]:
        """The sums of the run: profit, and profit against every other choice on the same rows, the hardest to beat first."""
        tally = self._tally
        mode = self._reports[-1].mode if self._reports else self._heading.mode
        earned = _labelled("would have earned" if mode == "shadow" else "profit", f"{money(tally.profit)} API $", "bold")
        parts = [earned + Text(f" over {_plural(round(tally.rows), 'row')}", "dim")]
        for name in sorted(tally.alternatives, key=lambda name: (name != "best", -tally.alternatives[name])):
            label = name if name in {"best", "off"} else f"all {short_name(name)}"
            parts.append(_labelled(f"vs {label}", gain(tally.against(name))))
        median, late = tally.latency(0.5), tally.latency(0.99)
        if median is not None and late is not None:
            parts.append(
                _labelled("latency p50", f"{1000 * median:,.0f} ms") + Text(" p99 ", "dim") + Text(f"{1000 * late:,.0f} ms")
            )
        return parts

    def _foot(self, width: int) -> list[Text]:
        """The sums, what was wrong with the last cycle, and the last note."""
        lines = _flow(self._summary(), width)
        last = self._reports[-1] if self._reports else None
        if last and not is_clean(last):
            causes = f": {', '.join(last.causes)}" if last.causes else ""
            lines += _flow(
                [Text(f"{last.at:%H:%M} {last.kind}, {last.reason}, {last.status}{causes}", REASON_STYLES[last.reason])], width
            )
        return [*lines, *(_flow([Text(self._note, "yellow")], width) if self._note else [])]


def _labelled(label: str, value: str | Text, style: str = "") -> Text:
    return Text.assemble((f"{label} ", "dim"), value if isinstance(value, Text) else (value, style))


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _flow(parts: list[Text], width: int) -> list[Text]:
    """``parts`` with dots between, on as few lines of ``width`` columns as they take; one longer than a line ends in an ellipsis."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + 3 + part.cell_len <= width:
            lines[-1] += Text.assemble((" · ", "dim"), part)
        else:
            lines.append(Text.assemble(" ", part, no_wrap=True, overflow="ellipsis"))
    return lines
