"""The report of a tournament: one HTML file that needs nothing else, a pure function of the rows and the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

import jinja2
import numpy as np
import pandas as pd

from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.audits import failed_audits
from gridpilot.tournament.intervals import LEVEL, MIN_EPISODES, NO_BASE, SKEWED, Estimate
from gridpilot.tournament.leaderboard import (
    SUSPECT,
    base_in_dollars,
    has_regret,
    in_dollars,
    market_label,
    money,
    percent,
    share,
    signed,
    spread,
    unsigned,
)
from gridpilot.tournament.markets import MarketSummary
from gridpilot.tournament.plots import axis_over, diverging_colour, dots_track, interval_track, response_graph, scale_track
from gridpilot.tournament.schedule import REFERENCE
from gridpilot.tournament.statistics import Leaderboard, rank, scores

__all__ = ["render_report"]

FORMS: Final = {"money": money, "signed": signed, "percent": percent, "share": share, "unsigned": unsigned}


def render_report(rows: pd.DataFrame, manifest: Mapping[str, Any], board: Leaderboard | None = None) -> str:
    """HTML text of the report of ``rows``; ``board`` is their ranking where that is at hand.

    The manifest adds what was configured and is printed whole. Raises :class:`~gridpilot.errors.TournamentError` when no episode is
    complete.
    """
    board = board or rank(rows)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"money": money, "percent": percent}
    template = environment.from_string(resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        board=board,
        reference=REFERENCE,
        level=f"{100 * LEVEL:.0f} %",
        min_episodes=MIN_EPISODES,
        certain=board.episodes >= MIN_EPISODES,
        title=manifest["config"]["name"],
        prices=str(manifest["config"]["prices"].get("name", "")),
        mechanism=str(manifest["config"]["market"].get("mechanism", "")),
        manifest=manifest,
        manifest_text=json.dumps(manifest, indent=2, ensure_ascii=False),
        matches=len(rows.drop_duplicates(["episode", "lineup", "rotation"])),
        headline=_headline(board),
        suspects=failed_audits(dict(manifest)),
        suspect=SUSPECT,
        spread=lambda estimate, kind: spread(estimate, FORMS[kind]),
        gain_in_dollars=in_dollars(board, "gain"),
        alone_in_dollars=in_dollars(board, "alone"),
        base_in_dollars=base_in_dollars(board, "difference"),
        base_alone_in_dollars=base_in_dollars(board, "alone"),
        skewed=any(agent.capture_percent.reason == SKEWED for agent in board.agents),
        has_regret=has_regret(board),
        regret_in_dollars=in_dollars(board, "regret"),
        has_capture=any(agent.capture_percent.value is not None for agent in board.agents),
        market_change=_market_change,
        market_label=market_label,
        **_profit_plot(board),
        **_pair_plot(board),
        **_distribution_plot(board, scores(rows)),
        **_heat_map(board, rows),
        **_game(board),
    )


def _headline(board: Leaderboard) -> str:
    best = board.agents[0]
    profit = f"{best.agent} earned most: ${money(best.profit.value)} per site and day"
    more = f"{signed(best.gain.value)} $" if in_dollars(board, "gain") else f"{percent(best.gain_percent.value)} %"
    gain = f", {more} against {REFERENCE}" if best.agent != REFERENCE else ""
    if board.episodes < MIN_EPISODES:
        return f"{profit}{gain}. {board.episodes} episodes are too few to say that it is the best."
    winners = [agent.agent for agent in board.agents if agent.in_winner_set]
    if len(winners) == 1:
        return f"{profit}{gain}, and it is the only agent that may be the best."
    return f"{profit}{gain}; {', '.join(winners[:-1])} and {winners[-1]} cannot be told apart as the best."


def _market_change(market: MarketSummary, name: str) -> str:
    """The change of a market figure against the reference's self-play: in %, or in $ where that is of nothing."""
    figure = market.figures[name]
    if market.lineup == "self" and market.agent == REFERENCE:
        return "–"
    if figure.change_percent.reason == NO_BASE:
        return f"{spread(figure.change, signed)} $"
    return spread(figure.change_percent, percent)


def _profit_plot(board: Leaderboard) -> dict[str, Any]:
    profit = axis_over(x for agent in board.agents for x in (agent.profit.value, agent.profit.low, agent.profit.high))
    tracks = [
        interval_track(profit, agent.profit, f"{agent.agent}: {spread(agent.profit, money)} $", strong=bool(agent.in_winner_set))
        for agent in board.agents
    ]
    figures = [money(agent.profit.value) for agent in board.agents]
    return {"profit_figures": figures, "profit_tracks": tracks, "profit_scale": scale_track(profit)}


def _pair_plot(board: Leaderboard) -> dict[str, Any]:
    # Random bidding loses so much that on its scale other differences would look like none.
    close = [pair for pair in board.pairs if "zero_intelligence" not in (pair.agent, pair.other)] or board.pairs
    axis = axis_over((x for pair in close for x in _ends(pair.difference)), zero=True)
    tracks, names, figures = [], [], []
    for pair in board.pairs:
        label = f"{pair.agent} minus {pair.other}: {spread(pair.difference, money)} $"
        tracks.append(interval_track(axis, pair.difference, label, strong=pair.p_holm < 1.0 - LEVEL))
        names.append(f"{pair.agent} − {pair.other}")
        figures.append(f"{spread(pair.difference, money)}, p {_p_value(pair.p_holm)}")
    return {"pair_names": names, "pair_figures": figures, "pair_tracks": tracks, "pair_scale": scale_track(axis)}


def _distribution_plot(board: Leaderboard, table: pd.DataFrame) -> dict[str, Any]:
    axis = axis_over(table.to_numpy().ravel().tolist())
    tracks = [dots_track(axis, table[agent.agent].to_numpy(), f"profits of {agent.agent} by episode") for agent in board.agents]
    figures = [money(float(table[agent.agent].median())) for agent in board.agents]
    return {"distribution_figures": figures, "distribution_tracks": tracks, "distribution_scale": scale_track(axis)}


def _heat_map(board: Leaderboard, rows: pd.DataFrame) -> dict[str, Any]:
    """Profit by seat (row) and agent (column) of the mixed line-up, coloured by the difference to the reference in that seat."""
    mixed = rows[rows["lineup"] == "mixed"]
    daily = mixed["profit"] * TICKS_PER_DAY / mixed["ticks"]
    table = daily.groupby([mixed["seat"], mixed["agent"]]).mean().unstack()[[agent.agent for agent in board.agents]]
    sites = mixed.drop_duplicates("seat").set_index("seat")["site"]
    profit = table.to_numpy()
    lead = profit - table[[REFERENCE]].to_numpy()
    colours = diverging_colour(np.nan_to_num(lead).ravel().tolist())
    columns = len(board.agents)
    heat = []
    for i, seat in enumerate(table.index):
        cells = [{"profit": _number(profit[i, j]), "colours": colours[i * columns + j]} for j in range(columns)]
        heat.append({"seat": seat, "site": sites[seat], "cells": cells})
    return {"heat": heat}


def _game(board: Leaderboard) -> dict[str, Any]:
    """The picture of best responses, and the table of payoffs coloured by what they are beyond those of all alike."""
    game = board.game
    if game is None:
        return {}
    names = [strategy.agent for strategy in game.strategies]
    responses = [names.index(strategy.best_response) for strategy in game.strategies]
    labels = ["" if strategy.response_share is None else f"{100.0 * strategy.response_share:.0f} %" for strategy in game.strategies]
    alike = [row[i].value or 0.0 for i, row in enumerate(game.payoff)]
    lead = [(cell.value or 0.0) - alike[t] for row in game.payoff for t, cell in enumerate(row)]
    return {"response_graph": response_graph(names, responses, labels), "payoff_colours": diverging_colour(lead)}


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _ends(estimate: Estimate) -> tuple[float | None, ...]:
    return estimate.value, estimate.low, estimate.high
