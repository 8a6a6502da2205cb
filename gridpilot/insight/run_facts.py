"""Facts of a tournament: what is open, who leads and why, which matches show it. JSON's types, a unit in the suffix of every key."""

from __future__ import annotations

import math
from typing import Any, Literal

import pandas as pd

from gridpilot.errors import FAILURES, TournamentError
from gridpilot.insight.decomposition import PARTS, lead_in_run
from gridpilot.insight.opened import OpenedRun
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.intervals import LEVEL, Estimate
from gridpilot.tournament.schedule import REFERENCE

__all__ = ["find_matches", "leaderboard", "overview", "pair"]

Facts = dict[str, Any]
Order = Literal["best", "worst", "typical"]


def overview(opened: OpenedRun) -> Facts:
    """What was played, and whether it can be played again as it was."""
    run, board = opened.run, opened.board
    config = run.manifest["config"]
    failed = run.rows[list(FAILURES)].to_numpy().sum()
    return {
        "name": config["name"],
        "mechanism": config["market"].get("mechanism", "vcg"),
        "prices": str(config["prices"].get("name", "")),
        "purpose": config["purpose"],
        "episodes_count": board.episodes,
        "first_episode_number": int(run.rows["episode"].min()),
        "episode_length_ticks": board.ticks,
        "seats_count": board.seats,
        "matches_count": len(opened.matches),
        "agents": [agent.agent for agent in board.agents],
        "failed_decisions_count": int(failed),
        "playable_as_it_was": not run.changed,
        "changed_since": list(run.changed),
    }


def leaderboard(opened: OpenedRun) -> Facts:
    """Ranks, profit a site and day with its interval, and the gain over the reference."""
    board = opened.board
    return {
        "episodes_count": board.episodes,
        "reference": REFERENCE,
        "agents": [
            {
                "rank_number": agent.rank,
                "agent": agent.agent,
                "baseline": agent.baseline,
                "may_be_the_best": agent.in_winner_set,
                **_interval("profit", "dollars_per_day", agent.profit),
                **_interval("gain", "dollars_per_day", agent.gain),
                "gain_percent": agent.gain_percent.value,
                "regret_dollars_per_day": agent.regret.value,
                "failed_decisions_count": agent.failures,
            }
            for agent in board.agents
        ],
    }


def pair(opened: OpenedRun, agent: str, other: str) -> Facts:
    """How far ``agent`` is ahead of ``other`` a site and day, how sure that is, and where it comes from; the parts sum to the lead.

    Raises :class:`~gridpilot.errors.TournamentError` for an agent that is not ranked.
    """
    if agent == other:
        raise TournamentError(f"pair: {agent!r} twice, expected two agents")
    parts = lead_in_run(opened.run.rows, agent, other)
    found = {(pair.agent, pair.other): (pair, 1.0) for pair in opened.board.pairs}
    found |= {(pair.other, pair.agent): (pair, -1.0) for pair in opened.board.pairs}
    summary, sign = found[agent, other]
    ends = [summary.difference.low, summary.difference.high]
    low, high = ends if sign > 0 else [None if end is None else -end for end in reversed(ends)]
    profit = {one.agent: one.profit.value for one in opened.board.agents}
    mixed = opened.run.rows[opened.run.rows["lineup"] == "mixed"]
    bought = mixed.groupby("agent")[["drawn_kwh", "payment", "machine_kwh", "discharged_kwh", "ticks"]].sum()

    def a_day(label: str, column: str) -> float:
        return float(bought.loc[label, column] * TICKS_PER_DAY / bought.loc[label, "ticks"])

    def paid(label: str) -> float | None:
        energy = float(bought.loc[label, "drawn_kwh"])
        return float(bought.loc[label, "payment"]) / energy if energy else None

    return {
        "agent": agent,
        "other": other,
        "episodes_count": opened.board.episodes,
        "profit_dollars_per_day": profit[agent],
        "other_profit_dollars_per_day": profit[other],
        "lead_dollars_per_day": math.fsum(parts.values()),
        "lead_low_dollars_per_day": low,
        "lead_high_dollars_per_day": high,
        "certainty_percent": 100.0 * LEVEL,
        "chance_p_value": summary.p_holm,
        **{f"lead_by_{name}_dollars_per_day": parts[name] for name in PARTS},
        "main_part": max(PARTS, key=lambda name: parts[name]),
        "price_paid_dollars_per_kwh": paid(agent),
        "other_price_paid_dollars_per_kwh": paid(other),
        "energy_bought_kwh_per_day": a_day(agent, "drawn_kwh"),
        "other_energy_bought_kwh_per_day": a_day(other, "drawn_kwh"),
        "battery_delivered_kwh_per_day": a_day(agent, "discharged_kwh"),
        "other_battery_delivered_kwh_per_day": a_day(other, "discharged_kwh"),
    }


def find_matches(opened: OpenedRun, agent: str, order: Order = "best", lineup: str = "mixed", n: int = 3) -> Facts:
    """Matches of ``agent`` by its profit less the reference's in the same seat, episode and line-up, ``n`` of them.

    ``typical`` are those nearest to the median. Raises :class:`~gridpilot.errors.TournamentError` where the agent did not play.
    """
    rows = opened.run.rows
    own = rows[(rows["agent"] == agent) & (rows["lineup"] == lineup)]
    usual = rows[(rows["agent"] == REFERENCE) & (rows["lineup"] == ("mixed" if lineup == "mixed" else "self"))]
    table = own.merge(usual, on=["episode", "seat"], suffixes=("", "_usual"))
    if table.empty:
        raise TournamentError(f"{agent!r} has no {lineup} matches beside {REFERENCE!r}, expected one of {', '.join(_agents(rows))}")
    table["gain"] = table["profit"] - table["profit_usual"]
    by = {"best": -table["gain"], "worst": table["gain"], "typical": (table["gain"] - table["gain"].median()).abs()}[order]
    chosen = table.loc[by.sort_values(kind="stable").index[: max(n, 1)]]
    return {
        "agent": agent,
        "reference": REFERENCE,
        "order": order,
        "matches": [
            {
                "match": f"{row.episode}/{row.lineup}/{row.rotation}",
                "seat_number": int(row.seat),
                "site": row.site,
                "profit_dollars": float(row.profit),
                "reference_profit_dollars": float(row.profit_usual),
                "gain_dollars": float(row.gain),
            }
            for row in chosen.itertuples()
        ],
    }


def _agents(rows: pd.DataFrame) -> list[str]:
    return sorted(rows["agent"].unique())


def _interval(name: str, unit: str, estimate: Estimate) -> Facts:
    return {f"{name}_{unit}": estimate.value, f"{name}_low_{unit}": estimate.low, f"{name}_high_{unit}": estimate.high}
