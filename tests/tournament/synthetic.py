"""A deterministic stand-in for the market: rows with known differences between agents."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridpilot.tournament import schedule as of_agents
from gridpilot.tournament.config import Inspection, TournamentSpec
from gridpilot.tournament.schedule import Match

SKILL = {
    "truthful": 0.0,
    "zero_intelligence": -120.0,
    "threshold": 18.0,
    "twin": 18.0,
    "strategist": 27.0,
    "oracle": 30.0,
    "foresight": 36.0,
}
SOULS = [*sorted(set(SKILL) - {"strategist", "oracle"}), "strategist", "oracle"]  # whose noise is drawn in this order
ROLE = {
    "truthful": "reference",
    "zero_intelligence": "baseline",
    "foresight": "yardstick",
    "oracle": "clairvoyant",
}  # any other is ranked
BASE = {"strategist": "threshold", "oracle": "threshold"}  # the agents with their storage rule that bid the truth
N_SEATS = 4
schedule = functools.partial(of_agents.schedule, clairvoyant=["foresight", "oracle"])


def spec(**changes: Any) -> TournamentSpec:
    agents = {name: {"target": name, "params": {}} for name in ("truthful", "threshold", "zero_intelligence")}
    values: dict[str, Any] = {
        "market": {},
        "prices": {},
        "agents": agents,
        "seed": 100,
        "ticks": 288,
        "history": 0,
        "deadline": 1.0,
    }
    return TournamentSpec(**(values | changes))


def inspect(spec: TournamentSpec) -> Inspection:
    return Inspection(N_SEATS, {label: ROLE.get(label, "ranked") for label in spec.agents})


def configuration(**changes: Any) -> dict[str, Any]:
    """A composed configuration like that of ``conf/tournament/default.yaml``."""
    values: dict[str, Any] = {
        "name": "test",
        "agents": ["truthful", "threshold"],
        "seed": 3,
        "episodes": 8,
        "first_episode": 0,
        "purpose": "evaluation",
        "evaluation_offset": 1000,
        "ticks": 288,
        "history": 0,
        "lineups": ["mixed", "self", "alone"],
        "deadline": 1.0,
        "isolation": "none",
        "agent_memory_gib": 2.0,
        "backend": "serial",
        "workers": None,
        "chunk": 7,
        "out": None,
        "json": False,
        "market": {"mechanism": "vcg"},
        "prices": {"name": "flat"},
    }
    return values | changes


def play(spec: TournamentSpec, matches: Sequence[Match]) -> pd.DataFrame:
    """Profit = 500 + world (sd 100) + 25 seat + the agent's skill + noise (sd 10); the twin is threshold under another name."""
    rows = []
    for match in matches:
        world = _draw(spec.seed, match.episode)
        total = sum(SKILL[agent] for agent in match.seats)
        for seat, agent in enumerate(match.seats):
            soul = "threshold" if agent == "twin" else agent
            noise = _draw(spec.seed, match.episode, seat, SOULS.index(soul))
            profit = (500.0 + 100.0 * world + 25.0 * seat + SKILL[agent] + 10.0 * noise) * spec.ticks / 288
            rows.append(_row(spec, match, seat, agent, profit, total))
    return pd.DataFrame(rows)


def _row(spec: TournamentSpec, match: Match, seat: int, agent: str, profit: float, total: float) -> dict[str, Any]:
    return {
        "episode": match.episode,
        "lineup": match.lineup,
        "rotation": match.rotation,
        "seat": seat,
        "site": f"site {seat}",
        "agent": agent,
        "role": ROLE.get(agent, "ranked"),
        "base": BASE.get(agent, ""),
        "profit": profit,
        "revenue": profit + 100.0,
        "payment": 95.0,
        "wear": 5.0,
        "stored": 0.0,
        "regret": 0.02 * abs(profit),
        "won_kwh": 1000.0,
        "drawn_kwh": 1000.0,
        "machine_kwh": 900.0,
        "charged_kwh": 50.0,
        "discharged_kwh": 45.0,
        "ticks": spec.ticks,
        "timeouts": 0,
        "exceptions": 2 if agent == "zero_intelligence" and match.lineup == "self" else 0,
        "invalid_bids": 0,
        "first_error": "ValueError: <b>no</b>" if agent == "zero_intelligence" and match.lineup == "self" else "",
        "market_welfare": 2000.0 + total,
        "market_revenue": 380.0,
        "market_supply_cost": 300.0,
        "market_volume_kwh": 4000.0,
        "market_mean_price": 0.05,
        "scarce_ticks": spec.ticks // 4,
    }


def _draw(*key: int) -> float:
    return float(np.random.default_rng(np.random.SeedSequence(key[0], spawn_key=key[1:])).standard_normal())


def play_and_die_once(spec: TournamentSpec, matches: Sequence[Match]) -> pd.DataFrame:
    """Kills its process the first time it meets the episode, and leaves a mark so as not to do it again."""
    mark = Path(spec.market["mark"])
    if matches[0].episode == spec.market["deadly"] and not (mark.exists() and spec.market["once"]):
        mark.touch()
        os._exit(9)
    return play(spec, matches)


def play_slowly(spec: TournamentSpec, matches: Sequence[Match]) -> pd.DataFrame:
    time.sleep(0.4)
    return play(spec, matches)
