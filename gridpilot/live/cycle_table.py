"""Cycles for people: the columns of the live table, and a cycle as one line of text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from gridpilot.live.cycle_report import CycleReport
from gridpilot.live.tally import best_single

__all__ = ["REASON_STYLES", "cycles_table", "gain", "money", "plain_line", "short_name"]

SHORT: Final = MappingProxyType(
    {"air_miners": "air", "hydro_miners": "hydro", "immersion_miners": "imm", "gpu_compute": "gpu", "asic_compute": "asic"}
)
REASON_STYLES: Final = MappingProxyType({"agent": "green", "last_good": "cyan", "myopic": "yellow", "off": "red"})
STATUS_MARKS: Final = MappingProxyType(
    {
        "applied": ("✓", "green"),
        "shadow": ("·", "dim"),
        "held": ("‖", "yellow"),
        "abandoned": ("↷", "yellow"),
        "unknown": ("?", "bold red"),
        "refused": ("✗", "bold red"),
    }
)
BAR: Final = 10  # columns of the power bar
CAUSES: Final = (12, 48)  # columns of the causes: fewer are not worth it, more are not given

_UNITS: Final = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))


def cycles_table(reports: list[CycleReport], width: int) -> Table:
    """One or more cycles, newest last, in the columns that ``width`` leaves room for; no number is cut short."""
    columns = _columns(reports[-1], narrow=False)
    if _need(columns, reports) > width:
        columns = _columns(reports[-1], narrow=True)
    while _need(columns, reports) > width and len(columns) > 1:
        columns.remove(min(columns, key=lambda column: column.importance))
    spare, heads = width - _need(columns, reports), [column.head for column in columns]
    if spare > BAR and "kW" in heads:
        columns.insert(heads.index("kW"), _Column("of cap", 0, _bar, left=True))
        spare -= BAR + 1
    longest = max(len(_causes(report)) for report in reports)
    if longest and spare > CAUSES[0]:
        most = min(longest, spare - 1, CAUSES[1])
        columns.append(_Column("causes", 0, lambda report: Text(_causes(report), "dim"), left=True, most=most))
        spare -= most
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, int(spare > len(columns)), 0, 0), pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.left else "right"
        least = None if column.most else column.need(reports)
        table.add_column(column.head, justify=justify, no_wrap=True, min_width=least, max_width=column.most, overflow="ellipsis")
    for report in reports:
        table.add_row(*(column.cell(report) for column in columns), style="dim" if report.kind == "no_row" else "")
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table of cycles. Where there is no room for all, the least important go."""

    head: str
    importance: int
    cell: Callable[[CycleReport], Text]
    left: bool = False
    most: int | None = None  # columns; only where it is text that may be cut short

    def need(self, reports: list[CycleReport]) -> int:
        """Columns it takes to show every cell in full."""
        return max(*map(len, self.head.split("\n")), *(self.cell(report).cell_len for report in reports), 0)


def _need(columns: list[_Column], reports: list[CycleReport]) -> int:
    return sum(column.need(reports) + 1 for column in columns) - 1


def _columns(last: CycleReport, *, narrow: bool) -> list[_Column]:
    """The columns in the units of the API: it pays its own $ a row, and prices energy in these a W."""
    places, figures = (2, 3) if narrow else (3, 4)
    unit, classes = "$" if narrow else "API $", last.classes
    profit = "profit" if last.mode == "live" else "would" if narrow else "would have"

    def price(head: str, index: int) -> _Column:
        return _Column(head, 60, lambda report: Text(f"{report.prices[index]:,.{places}f}"))

    def units(index: int) -> _Column:
        def cell(report: CycleReport) -> Text:
            count = sum(counts[index] for counts in report.counts)
            return Text(f"{count:,}", "" if count else "dim")

        name = short_name(classes[index])
        return _Column(name[:3] if narrow else name, 80, cell)

    return [
        _Column("UTC", 100, lambda report: Text(f"{report.at:%H:%M}")),
        price(f"{'enrg' if narrow else 'energy'}\n{unit}/W", 0),
        price(f"hash\n{unit}", 1),
        price(f"{'tokn' if narrow else 'token'}\n{unit}", 2),
        *map(units, range(len(classes))),
        _Column("kW", 70, lambda report: Text(f"{report.power_w / 1000:{'' if narrow else ','}.0f}")),
        _Column("%" if narrow else "% of\ncap", 50, lambda report: Text(_share(report))),
        _Column(f"{profit}\n{unit}", 95, lambda report: Text(money(report.profit, figures), "bold")),
        _Column(
            "vs $\nbest" if narrow else f"vs best\n{unit}",
            90,
            lambda report: gain(_against(report, report.alternatives.get("best")), figures),
        ),
        _Column(
            "vs $\none" if narrow else f"vs 1 kind\n{unit}",
            75,
            lambda report: gain(_against(report, best_single(report)), figures),
        ),
        _Column("by" if narrow else "decided by", 85, lambda report: _decided(report, narrow), left=True),
    ]


def money(value: float | None, figures: int = 4) -> str:
    """$ with up to ``figures`` figures (3 or more), and a k, M, G or T; a dash for ``None`` and what is not finite.

    >>> [money(value) for value in (2_764_065.53, -388_859.1, 950.0, -12.345, 1e-9, 999_999.9, None)]
    ['2.764M', '-388.9k', '950.0', '-12.35', '0', '1.000M', '–']
    >>> money(2_764_065.53, figures=3)
    '2.76M'
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size < 0.005:
        return "0"
    scale, unit = next(((scale, unit) for scale, unit in _UNITS if float(f"{size / scale:.{figures}g}") < 1000.0), _UNITS[-1])
    size = float(f"{size / scale:.{figures}g}")
    decimals = figures - (1 if size < 10.0 else 2 if size < 100.0 else 3)
    return f"{'-' if value < 0 else ''}{size:,.{decimals if unit else min(decimals, 2)}f}{unit}"


def gain(difference: float | None, figures: int = 4) -> Text:
    """A difference of money with its sign, green or red."""
    text = money(difference, figures)
    if text in {"0", "–"}:
        return Text(text, "dim")
    return Text(text, "red") if text.startswith("-") else Text(f"+{text}", "green")


def short_name(name: str) -> str:
    """A machine class for a narrow column.

    >>> short_name("hydro_miners"), short_name("my_new_miners")
    ('hydro', 'my_new')
    """
    return SHORT.get(name, name.removesuffix("_miners").removesuffix("_compute"))


def plain_line(report: CycleReport) -> str:
    """A cycle as one line of text."""
    energy, hash_price, token = report.prices
    totals = [sum(counts) for counts in zip(*report.counts, strict=True)]
    running = [f"{short_name(name)} {total}" for name, total in zip(report.classes, totals, strict=True) if total]
    against = [
        f"{gain(_against(report, report.alternatives.get('best')))} vs best",
        f"{gain(_against(report, best_single(report)))} vs one kind",
    ]
    earned = "profit" if report.mode == "live" else "would have earned"
    return (
        f"{report.at:%Y-%m-%d %H:%M} {report.mode} energy {energy:.3f} hash {hash_price:.3f} token {token:.3f} | "
        f"{' '.join(running) or 'all off'} | {report.power_w / 1000:,.0f} kW {_share(report)} % of cap | "
        f"{earned} {money(report.profit)} API $, {', '.join(against)} | {report.kind} {report.reason} {report.status}"
        f"{f' ({_causes(report)})' if report.causes else ''}"
    )


def _against(report: CycleReport, alternative: float | None) -> float | None:
    """Profit minus that of another choice; None where it is not shown what was earned."""
    return None if alternative is None or report.earned.weight <= 0.0 else report.profit - report.earned.weight * alternative


def _share(report: CycleReport) -> str:
    return f"{100 * report.power_w / report.cap_w:.0f}" if report.cap_w else "–"


def _bar(report: CycleReport) -> Text:
    """Power as a share of the cap; red where it is above, which the risk gate rules out."""
    share = report.power_w / report.cap_w if report.cap_w else 0.0
    full = min(BAR, round(BAR * share))
    return Text.assemble(("━" * full, "red" if share > 1.0 else "green"), ("─" * (BAR - full), "dim"))


def _decided(report: CycleReport, narrow: bool) -> Text:
    mark, style = STATUS_MARKS[report.status]
    reason = report.reason.removesuffix("_good") if narrow else report.reason
    return Text.assemble((reason, REASON_STYLES[report.reason]), " ", (mark, style))


def _causes(report: CycleReport) -> str:
    return ", ".join(report.causes)
