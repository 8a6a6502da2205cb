"""The leaderboard in a terminal and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridpilot.tournament.markets import MarketSummary
from gridpilot.tournament.schedule import REFERENCE
from gridpilot.tournament.statistics import LEVEL, MIN_EPISODES, AgentSummary, Estimate, Leaderboard

__all__ = ["as_dict", "market_label", "money", "percent", "render", "spread", "to_json"]

FULL, ROOMY, WIDE = 100, 108, 130  # columns from which there is room for most figures, for all but one, and for every interval


def render(board: Leaderboard, *, width: int, mechanism: str = "") -> RenderableType:
    """The leaderboard and the market's figures for a terminal of ``width`` columns; below 100 without some figures."""
    parts: list[RenderableType] = [_agents(board, width), _legend(board, width), _markets(board, mechanism, width)]
    return Group(*parts, *_failures(board))


def as_dict(board: Leaderboard) -> dict[str, Any]:
    """The leaderboard as plain lists, dicts and scalars; ``None`` stands for what cannot be told."""
    content = dataclasses.asdict(board)
    for agent, summary in zip(content["agents"], board.agents, strict=True):
        agent["failures"] = summary.failures
    enough = board.episodes >= MIN_EPISODES
    winners = [summary.agent for summary in board.agents if summary.in_winner_set] if enough else None
    return {"unit": "$ per site and day", "level": LEVEL, "reference": REFERENCE, "winner_set": winners, **content}


def to_json(board: Leaderboard, more: Mapping[str, Any] | None = None) -> str:
    """The leaderboard as JSON text, with the keys of ``more`` first."""
    return json.dumps({**(more or {}), **as_dict(board)}, indent=2, allow_nan=False)


def money(value: float | None) -> str:
    """Dollars with three or four figures; a dash for ``None``.

    >>> money(1234.5), money(-87.65), money(None)
    ('1,234', '-87.7', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 999.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def percent(value: float | None) -> str:
    """A signed percentage without its sign for percent; a dash for ``None``.

    >>> percent(3.14159), percent(-250.7)
    ('+3.1', '-251')
    """
    if value is None:
        return "–"
    return f"{value:+,.0f}" if abs(value) >= 99.95 else f"{value:+.1f}" if abs(value) >= 0.995 else f"{value:+.2f}"


def spread(estimate: Estimate, form: Any) -> str:
    """``value [low, high]``, or the value alone where there is no interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return str(form(estimate.value))
    low, high = (str(form(end)).removeprefix("+") for end in (estimate.low, estimate.high))
    return f"{form(estimate.value)} [{low}, {high}]"


def market_label(market: MarketSummary) -> str:
    """What a line-up is called."""
    if market.agent is None:
        return "mixed"
    return f"all {market.agent}" if market.lineup == "self" else f"one {market.agent} among {REFERENCE}"


def _table(title: str) -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title, title_justify="left", header_style="bold")


def _agents(board: Leaderboard, width: int) -> Table:
    level = f"\\[{100 * LEVEL:.0f} %]" if board.episodes >= MIN_EPISODES else ""
    table = _table(f"Leaderboard: {board.episodes} episodes of {board.ticks} ticks, {board.seats} seats")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("agent", overflow="ellipsis", no_wrap=True, max_width=30 if width >= WIDE else 18)
    heads = [f"profit, $/site\nand day {level}", f"vs {REFERENCE}\n% {level}"]
    if width >= FULL:
        heads += [f"alone\n% {level if width >= WIDE else ''}", *(["capture\n%"] if _has_capture(board) else [])]
        heads += [
            *(["IQM\n$"] if _has_room(board, width, WIDE) else []),
            *(["CVaR\n5 %, $"] if _has_room(board, width, ROOMY) else []),
        ]
    for head in (*heads, "failed\n%"):
        table.add_column(head, justify="right", no_wrap=True)
    for agent in board.agents:
        style = "bold green" if agent.in_winner_set else "dim" if agent.baseline else ""
        table.add_row(*_cells(agent, board, width), style=style)
    return table


def _cells(agent: AgentSummary, board: Leaderboard, width: int) -> list[str | Text]:
    reference = agent.agent == REFERENCE
    cells: list[str | Text] = [
        f"{'★ ' if agent.in_winner_set else ''}{agent.rank}",
        Text(agent.agent + ("°" if agent.baseline else "")),
        Text(spread(agent.profit, money)),
        Text("–" if reference else spread(agent.gain_percent, percent)),
    ]
    if width >= FULL:
        alone = spread(agent.alone_percent, percent) if width >= WIDE else percent(agent.alone_percent.value)
        share = agent.capture_percent.value
        capture = "–" if share is None or reference else f"{share:.0f}"
        cells += [Text("–" if reference else alone), *([Text(capture)] if _has_capture(board) else [])]
        cells += [money(agent.interquartile_mean)] if _has_room(board, width, WIDE) else []
        cells += [money(agent.cvar)] if _has_room(board, width, ROOMY) else []
    failed = Text(f"{100 * agent.failures / agent.decisions:.2f}", style="bold red") if agent.failures else "0"
    return [*cells, failed]


def _has_capture(board: Leaderboard) -> bool:
    return any(agent.capture_percent.value is not None for agent in board.agents)


def _has_room(board: Leaderboard, width: int, needed: int) -> bool:
    """Whether a figure fits beside the capture, which takes its place in narrower terminals."""
    return width >= needed or not _has_capture(board)


def _legend(board: Leaderboard, width: int) -> Text:
    if board.episodes < MIN_EPISODES:
        text = f"{board.episodes} episodes are too few to tell agents apart, {MIN_EPISODES} might do"
    else:
        text = f"★ may be the best (model confidence set, {100 * LEVEL:.0f} %)"
    known = "   capture: of perfect foresight's gain" if width >= FULL and _has_capture(board) else ""
    return Text(f"{text}   ° frozen baseline   alone: among {REFERENCE}{known}\n", style="dim")


def _markets(board: Leaderboard, mechanism: str, width: int) -> Table:
    table = _table("Market" + (f" ({mechanism})" if mechanism else "") + ", a day")
    table.add_column("line-up", no_wrap=True, overflow="ellipsis", max_width=24)
    heads = ["welfare\n$", f"vs {REFERENCE}\n%", "revenue\n$", "price\n$/MWh", "scarce\n% ticks"]
    for head in (*heads, *(["supply cost\n$", "energy\nMWh"] if width >= FULL else [])):
        table.add_column(head, justify="right", no_wrap=True)
    for market in board.markets:
        if market.lineup == "alone":
            continue
        cells = [
            money(market.welfare),
            "–" if market.agent == REFERENCE else percent(market.welfare_percent),
            money(market.revenue),
            "–" if market.mean_price is None else f"{1000.0 * market.mean_price:,.2f}",
            f"{100.0 * market.scarce_share:.1f}",
        ]
        if width >= FULL:
            cells += [money(market.supply_cost), f"{market.volume_kwh / 1000.0:,.1f}"]
        table.add_row(Text(market_label(market)), *cells)
    return table


def _failures(board: Leaderboard) -> list[Text]:
    lines = []
    for agent in board.agents:
        if agent.failures:
            kinds = f"{agent.timeouts:,} too late, {agent.exceptions:,} exceptions, {agent.invalid_bids:,} invalid bids"
            text = (
                f"{agent.agent}: {agent.failures:,} of {agent.decisions:,} decisions failed ({kinds}); first: {agent.first_error}"
            )
            lines.append(Text(text, style="red"))
    return lines
