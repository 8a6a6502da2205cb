"""The leaderboard in a terminal and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridpilot.columns import Column, Form, fitted
from gridpilot.errors import FAILURES
from gridpilot.tournament.intervals import LEVEL, MIN_EPISODES, NO_BASE, SKEWED, Estimate
from gridpilot.tournament.markets import MarketSummary
from gridpilot.tournament.meta_game import MetaGame
from gridpilot.tournament.schedule import REFERENCE
from gridpilot.tournament.statistics import Leaderboard

__all__ = [
    "SUSPECT",
    "as_dict",
    "base_in_dollars",
    "has_regret",
    "in_dollars",
    "market_label",
    "money",
    "percent",
    "render",
    "share",
    "signed",
    "spread",
    "to_json",
    "unsigned",
]

SUSPECT: Final = "†"  # marks an agent that failed its audit
NO_INTERVAL: Final = "‡"  # marks a value whose sample is too skewed for one

GAME_LEGEND: Final = (
    "rating: what deviating to it gains from the strictest equilibrium; copies of others do not move it\n"
    "best: of bootstrap draws in which nobody is rated above it   response: who earns most alone among its copies"
)

LEAST_REGRET: Final = 1e-6  # $ a site and day; below it is what sums round to

# Columns in the order in which they give up their intervals, then their place.
SPARE_AGENTS: Final = (
    *("iqm", "cvar", "capture", "regret", "alone", "profit", "agent", "regret"),
    *("capture", "alone", "failed", "gain", "agent"),
)
SPARE_BASES: Final = ("agent", "with the truth", "agent", "with the truth", "difference", "alone")
SPARE_GAME: Final = ("support", "alpha", "agent", "nash", "rating", "response", "best", "agent")
SPARE_MARKETS: Final = (
    *("supply", "energy", "revenue_change", "scarce", "revenue_change", "price", "revenue", "sites_profit"),
    *("welfare_change", "sites_profit_change", "lineup", "welfare"),
)


def render(
    board: Leaderboard, *, width: int, mechanism: str = "", suspects: Mapping[str, Mapping[str, str]] | None = None
) -> RenderableType:
    """The leaderboard and the market's figures for a terminal of ``width`` columns; narrow ones leave out figures, and cut none.

    ``suspects`` are the agents that failed their audit, with what each check found: they are marked, and told of below.
    """
    agents = _agents(board, width, suspects or {})
    heads = " ".join(str(column.header) for column in agents.columns)
    notes = [*_suspicions(suspects or {}), *_failures(board)]
    bases: list[RenderableType] = [_bases(board, width), Text()] if board.bases else []
    game: list[RenderableType] = [] if board.game is None else [_game(board.game, width), Text(GAME_LEGEND + "\n", style="dim")]
    return Group(agents, _legend(board, heads, width), *bases, *game, _markets(board, mechanism, width), *notes)


def as_dict(board: Leaderboard, suspects: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, Any]:
    """The leaderboard as plain lists, dicts and scalars; ``None`` stands for what cannot be told.

    Each agent has the checks that it failed in its audit, of ``suspects``, and what they found.
    """
    content = dataclasses.asdict(board)
    for agent, summary in zip(content["agents"], board.agents, strict=True):
        agent["failures"] = summary.failures
        agent["failed_checks"] = dict((suspects or {}).get(summary.agent, {}))
    enough = board.episodes >= MIN_EPISODES
    winners = [summary.agent for summary in board.agents if summary.in_winner_set] if enough else None
    return {"unit": "$ per site and day", "level": LEVEL, "reference": REFERENCE, "winner_set": winners, **content}


def to_json(
    board: Leaderboard, more: Mapping[str, Any] | None = None, suspects: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """The leaderboard as JSON text, with the keys of ``more`` first; ``suspects`` as of :func:`as_dict`."""
    return json.dumps({**(more or {}), **as_dict(board, suspects)}, indent=2, allow_nan=False)


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


def signed(value: float | None) -> str:
    """:func:`money` with the sign of a gain.

    >>> signed(72.07), signed(-1234.5), signed(0.0)
    ('+72.1', '-1,234', '0.00')
    """
    return f"+{money(value)}" if value is not None and value > 0.0 else money(value)


def unsigned(value: float | None) -> str:
    """:func:`percent` of what is never below zero.

    >>> unsigned(3.14159)
    '3.1'
    """
    return percent(value).removeprefix("+")


def share(value: float | None) -> str:
    """A whole percentage without its sign for percent; a dash for ``None``."""
    return "–" if value is None else f"{value:,.0f}"


def spread(estimate: Estimate, form: Callable[[float | None], str]) -> str:
    """``value [low, high]``, or the value alone where there is no interval, marked where its sample is too skewed for one."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return _value_alone(estimate, form)
    low, high = (form(end).removeprefix("+") for end in (estimate.low, estimate.high))
    return f"{form(estimate.value)} [{low}, {high}]"


def _value_alone(estimate: Estimate, form: Callable[[float | None], str]) -> str:
    """The value without its interval; the mark of what can have none stays."""
    return form(estimate.value) + (NO_INTERVAL if estimate.reason == SKEWED else "")


def in_dollars(board: Leaderboard, figure: str) -> bool:
    """Whether ``figure``, "gain", "alone" or "regret", has no percentage, as what it would be a share of is not clearly positive."""
    return any(getattr(agent, f"{figure}_percent").reason == NO_BASE for agent in board.agents)


def has_regret(board: Leaderboard) -> bool:
    """Whether somebody has left something to be had by bidding otherwise; under VCG nobody has who bids the truth."""
    return any(agent.regret.value is not None and agent.regret.value > LEAST_REGRET for agent in board.agents)


def market_label(market: MarketSummary) -> str:
    """What a line-up is called."""
    if market.agent is None:
        return "mixed"
    return f"all {market.agent}" if market.lineup == "self" else f"one {market.agent} among {REFERENCE}"


def _agents(board: Leaderboard, width: int, suspects: Mapping[str, Any]) -> Table:
    agents = board.agents
    level = _level(board)
    title = f"Leaderboard: {board.episodes} episodes of {board.ticks} ticks, {board.seats} seats"
    ranks = [f"{'★ ' if agent.in_winner_set else ''}{agent.rank}" for agent in agents]
    names = [Text(_marked(agent.agent, suspects) + ("°" if agent.baseline else "")) for agent in agents]
    failed = [Text(f"{100 * a.failures / a.decisions:.2f}", style="bold red") if a.failures else "0" for a in agents]
    columns = [
        Column("rank", (Form("#", ranks),), stays=True),
        Column("agent", tuple(Form("agent", names, at_most) for at_most in (30, 18, 10)), left=True, stays=True),
        Column("profit", _with_interval("profit, $/\nsite, day", level, [a.profit for a in agents], money), stays=True),
        Column("gain", _gains(board, "gain", f"vs {REFERENCE}"), stays=True),
        Column("alone", _gains(board, "alone", "alone")),
    ]
    if any(agent.capture_percent.value is not None for agent in agents):
        columns.append(Column("capture", _with_interval("capture\n%", level, [a.capture_percent for a in agents], share)))
    columns += [
        *([Column("regret", _regrets(board))] if has_regret(board) else []),
        Column("iqm", (Form("IQM\n$", [money(agent.interquartile_mean) for agent in agents]),)),
        Column("cvar", (Form("CVaR\n5 %, $", [money(agent.cvar) for agent in agents]),)),
        Column("failed", (Form("failed\n%", failed),)),
    ]
    styles = ["bold green" if agent.in_winner_set else "dim" if agent.baseline else "" for agent in agents]
    return fitted(title, columns, SPARE_AGENTS, width, styles)


def base_in_dollars(board: Leaderboard, figure: str) -> bool:
    """Whether "difference" or "alone" of the storage bases has no percentage, as in :func:`in_dollars`."""
    return any(getattr(one, f"{figure}_percent").reason == NO_BASE for one in board.bases)


def _bases(board: Leaderboard, width: int) -> Table:
    columns = [
        _labels("agent", [one.agent for one in board.bases]),
        _labels("with the truth", [one.base for one in board.bases]),
    ]
    for head, figure in (("mixed", "difference"), (f"alone among\n{REFERENCE}", "alone")):
        dollars = base_in_dollars(board, figure)
        found = [getattr(one, figure if dollars else f"{figure}_percent") for one in board.bases]
        if any(one.value is not None for one in found):
            head, form = (f"{head}, $", signed) if dollars else (f"{head}, %", percent)
            columns.append(Column(figure, _with_interval(head, _level(board), found, form), stays=True))
    return fitted("What bids earn, over the truth with the same storage", columns, SPARE_BASES, width)


def _labels(head: str, labels: list[str]) -> Column:
    texts = [Text(label) for label in labels]
    return Column(head, tuple(Form(head, texts, at_most) for at_most in (30, 18, 10)), left=True, stays=True)


def _regrets(board: Leaderboard) -> tuple[Form, ...]:
    if in_dollars(board, "regret"):
        return _with_interval("regret\n$", _level(board), [agent.regret for agent in board.agents], money)
    return _with_interval("regret\n%", _level(board), [agent.regret_percent for agent in board.agents], unsigned)


def _gains(board: Leaderboard, figure: str, head: str) -> tuple[Form, ...]:
    dollars = in_dollars(board, figure)
    field = {"gain": "gain", "alone": "alone_gain"}[figure] if dollars else f"{figure}_percent"
    gains = [Estimate(None) if agent.agent == REFERENCE else getattr(agent, field) for agent in board.agents]
    return _with_interval(f"{head}\n{'$' if dollars else '%'}", _level(board), gains, signed if dollars else percent)


def _with_interval(
    head: str, level: str, estimates: list[Estimate], form: Callable[[float | None], str], at_most: int | None = None
) -> tuple[Form, ...]:
    """A column with intervals, then without."""
    narrow = Form(head, [Text(_value_alone(estimate, form)) for estimate in estimates], at_most)
    if all(estimate.low is None for estimate in estimates):
        return (narrow, narrow)
    return (Form(head + level, [Text(spread(estimate, form)) for estimate in estimates], at_most), narrow)


def _level(board: Leaderboard) -> str:
    return f" [{100 * LEVEL:.0f} %]" if board.episodes >= MIN_EPISODES else ""


def _legend(board: Leaderboard, heads: str, width: int) -> Text:
    """What the signs in the columns under ``heads`` mean, broken between signs."""
    if board.episodes < MIN_EPISODES:
        parts = [f"{board.episodes} episodes are too few to tell agents apart, {MIN_EPISODES} might do"]
    else:
        parts = [f"★ may be the best ({100 * LEVEL:.0f} % confidence set)"]
    parts.append("° frozen baseline")
    if "alone" in heads:
        parts.append(f"alone: among {REFERENCE}")
    if "capture" in heads:
        parts.append(f"capture: of {board.yardstick}'s gain")
        if any(agent.capture_percent.reason == SKEWED for agent in board.agents):
            parts.append(f"{NO_INTERVAL} days too unequal for an interval to hold")
    if "regret" in heads:
        parts.append("regret: what best responses would have got more, a tick at a time")
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f"   {part}"
        else:
            lines.append(part)
    return Text("\n".join(lines) + "\n", style="dim")


def _game(game: MetaGame, width: int) -> Table:
    level = f" [{100 * LEVEL:.0f} %]" if game.draws else ""
    columns = [
        _labels("agent", [strategy.agent for strategy in game.strategies]),
        Column("rating", _with_interval("rating\n$", level, [strategy.rating for strategy in game.strategies], money), stays=True),
        Column("best", (Form("best\n% draws", [_of_draws(strategy.best) for strategy in game.strategies]),)),
        Column("nash", (Form("Nash\n%", [_of_draws(strategy.equilibrium) for strategy in game.strategies]),)),
        Column("support", (Form("in support\n% draws", [_of_draws(strategy.support) for strategy in game.strategies]),)),
        Column("alpha", (Form("α-rank\n%", [_of_draws(strategy.alpha_rank) for strategy in game.strategies]),)),
        Column("response", (Form("response", [Text(strategy.best_response) for strategy in game.strategies]),), left=True),
    ]
    several = f", {game.equilibria} equilibria, the first shown" if game.equilibria is not None and game.equilibria > 1 else ""
    title = f"As strategies of a game: {game.episodes} episodes of pairs, {game.draws} bootstrap draws{several}"
    return fitted(title, columns, SPARE_GAME, width)


def _of_draws(value: float | None) -> str:
    return "–" if value is None else f"{100.0 * value:.0f}"


def _markets(board: Leaderboard, mechanism: str, width: int) -> Table:
    markets = [market for market in board.markets if market.lineup != "alone"]
    prices = ["–" if market.mean_price is None else f"{1000.0 * market.mean_price:,.2f}" for market in markets]
    labels = [Text(market_label(market)) for market in markets]
    columns = [
        Column("lineup", tuple(Form("line-up", labels, at_most) for at_most in (24, 12)), left=True, stays=True),
        Column("welfare", (Form("welfare\n$", [money(market.welfare) for market in markets]),)),
        Column("welfare_change", _changes(board, markets, "welfare", "welfare,"), stays=True),
        Column("sites_profit", (Form("sites'\nprofit, $", [money(market.sites_profit) for market in markets]),)),
        Column("sites_profit_change", _changes(board, markets, "sites_profit", "sites' profit,"), stays=True),
        Column("revenue", (Form("revenue\n$", [money(market.revenue) for market in markets]),)),
        Column("revenue_change", _changes(board, markets, "revenue", "revenue,")),
        Column("price", (Form("price\n$/MWh", prices),)),
        Column("scarce", (Form("scarce\n% ticks", [f"{100.0 * market.scarce_share:.1f}" for market in markets]),)),
        Column("supply", (Form("supply\ncost, $", [money(market.supply_cost) for market in markets]),)),
        Column("energy", (Form("energy\nMWh", [f"{market.volume_kwh / 1000.0:,.1f}" for market in markets]),)),
    ]
    title = "Market" + (f" ({mechanism})" if mechanism else "") + f", a day; ± against all {REFERENCE}"
    return fitted(title, columns, SPARE_MARKETS, width)


def _changes(board: Leaderboard, markets: list[MarketSummary], name: str, head: str) -> tuple[Form, ...]:
    dollars = any(market.figures[name].change_percent.reason == NO_BASE for market in markets)
    found = [market.figures[name].change if dollars else market.figures[name].change_percent for market in markets]
    found = [Estimate(None) if market.agent == REFERENCE else one for market, one in zip(markets, found, strict=True)]
    return _with_interval(f"{head}\n{'± $' if dollars else '± %'}", _level(board), found, signed if dollars else percent)


def _marked(agent: str, suspects: Mapping[str, Any]) -> str:
    return f"{agent}{SUSPECT}" if agent in suspects else agent


def _suspicions(suspects: Mapping[str, Mapping[str, str]]) -> list[Text]:
    lines = []
    for agent, failed in suspects.items():
        told = "; ".join(f"{check} ({found:.120})" for check, found in failed.items())
        lines.append(Text(f"{SUSPECT} {agent} failed its audit: {told}", style="bold red"))
    return lines


def _failures(board: Leaderboard) -> list[Text]:
    ranked = {agent.agent: dataclasses.asdict(agent) for agent in board.agents if agent.failures}
    lines = []
    for agent, found in {**ranked, **board.unranked_failures}.items():
        kinds = f"{found['timeouts']:,} too late, {found['exceptions']:,} exceptions, {found['invalid_bids']:,} invalid bids"
        failures = sum(found[name] for name in FAILURES)
        text = f"{agent}: {failures:,} of {found['decisions']:,} decisions failed ({kinds}); first: {found['first_error']}"
        lines.append(Text(text, style="red"))
    return lines
