"""What the market as a whole did under each line-up: the mechanism's side of a tournament."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.rows import MATCH_KEY
from gridpilot.tournament.schedule import REFERENCE

__all__ = ["MarketSummary", "summarise_markets"]


@dataclass(frozen=True)
class MarketSummary:
    """Means over the matches of a line-up. Money in $ per market and day."""

    lineup: str  # "mixed", "self" or "alone"
    agent: str | None  # who plays everywhere ("self") or once ("alone"); None for "mixed"
    matches: int
    welfare: float  # earned by the sites, before payments, minus the cost of the supply
    welfare_percent: float | None  # compared with the reference's self-play in the same episodes, %
    revenue: float  # paid by the sites to the auctioneer
    supply_cost: float
    volume_kwh: float  # sold a day
    mean_price: float | None  # $/kWh, weighted by volume; None where nothing was sold
    scarce_share: float  # ticks whose price exceeds the dearest supply step


def summarise_markets(rows: pd.DataFrame) -> tuple[MarketSummary, ...]:
    """One summary a line-up and, but for ``mixed``, agent, in that order: mixed, self, alone. Line-ups not played are absent."""
    matches = rows.drop_duplicates(MATCH_KEY)
    matches = matches.assign(who=_who(rows, matches))
    daily = TICKS_PER_DAY / matches["ticks"]
    matches = matches.assign(welfare_day=matches["market_welfare"] * daily)
    usual = matches[(matches["lineup"] == "self") & (matches["who"] == REFERENCE)].set_index("episode")["welfare_day"]
    summaries = []
    for lineup in ("mixed", "self", "alone"):
        played = matches[matches["lineup"] == lineup]
        for who in dict.fromkeys(played["who"]):
            chosen = played[played["who"] == who]
            summaries.append(_summary(chosen, usual, lineup, who or None))
    return tuple(summaries)


def _who(rows: pd.DataFrame, matches: pd.DataFrame) -> list[str]:
    deviators = rows[(rows["lineup"] == "alone") & (rows["agent"] != REFERENCE)]
    alone: dict[tuple[int, int], str] = deviators.set_index(["episode", "rotation"])["agent"].to_dict()
    names: list[str] = []
    for episode, lineup, rotation, agent in matches[[*MATCH_KEY, "agent"]].itertuples(index=False, name=None):
        names.append("" if lineup == "mixed" else agent if lineup == "self" else alone[episode, rotation])
    return names


def _summary(matches: pd.DataFrame, usual: pd.Series, lineup: str, agent: str | None) -> MarketSummary:
    days = matches["ticks"].sum() / TICKS_PER_DAY
    volume = matches["market_volume_kwh"].to_numpy()
    sold = volume > 0.0
    price = float(np.average(matches["market_mean_price"].to_numpy()[sold], weights=volume[sold])) if sold.any() else None
    here = matches.groupby("episode")["welfare_day"].mean()
    both = here.index.intersection(usual.index)
    base = float(usual.loc[both].mean()) if len(both) else 0.0
    return MarketSummary(
        lineup=lineup,
        agent=agent,
        matches=len(matches),
        welfare=float(matches["market_welfare"].sum() / days),
        welfare_percent=100.0 * (float(here.loc[both].mean()) - base) / abs(base) if base else None,
        revenue=float(matches["market_revenue"].sum() / days),
        supply_cost=float(matches["market_supply_cost"].sum() / days),
        volume_kwh=float(volume.sum() / days),
        mean_price=price,
        scarce_share=float(matches["scarce_ticks"].sum() / matches["ticks"].sum()),
    )
