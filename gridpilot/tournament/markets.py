"""What the market as a whole did under each line-up: the mechanism's side of a tournament."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.tournament.intervals import Estimate, mean, ratio_percent
from gridpilot.tournament.rows import ROW_COLUMNS
from gridpilot.tournament.schedule import LINEUPS, REFERENCE

__all__ = ["MARKET_FIGURES", "MarketFigure", "MarketSummary", "summarise_markets"]

MARKET_FIGURES: Final = ("welfare", "sites_profit", "revenue")
MARKET_COLUMNS: Final = [
    "episode",
    "lineup",
    "agent",
    "ticks",
    "scarce_ticks",
    *(name for name in ROW_COLUMNS if name.startswith("market_")),
]


@dataclass(frozen=True)
class MarketFigure:
    """A figure over the episodes, and paired with the reference's self-play in the same ones. Money in $ per market and day."""

    level: Estimate
    change: Estimate  # in $
    change_percent: Estimate


@dataclass(frozen=True)
class MarketSummary:
    """Means over the matches of a line-up. Money in $ per market and day."""

    lineup: str  # "mixed", "self" or "alone"
    agent: str | None  # who plays everywhere ("self") or once ("alone"); None for "mixed"
    matches: int
    welfare: float  # earned by the sites, before payments, minus the cost of the supply
    welfare_percent: float | None  # compared with the reference's self-play in the same episodes, %
    sites_profit: float  # of all sites together
    revenue: float  # paid by the sites to the auctioneer
    supply_cost: float
    volume_kwh: float  # sold a day
    mean_price: float | None  # $/kWh, weighted by volume; None where nothing was sold
    scarce_share: float  # ticks whose price exceeds the dearest supply step
    figures: dict[str, MarketFigure]  # those of MARKET_FIGURES, with intervals


def summarise_markets(rows: pd.DataFrame) -> tuple[MarketSummary, ...]:
    """One summary a line-up and, but for ``mixed``, agent, in that order: mixed, self, alone. Line-ups not played are absent."""
    matches = _matches(rows[(rows["lineup"] != "pairs").to_numpy()])
    days = matches["ticks"] / TICKS_PER_DAY
    daily = pd.DataFrame(
        {
            "lineup": matches["lineup"],
            "who": matches["agent"].where(matches["lineup"] != "mixed", ""),
            "episode": matches["episode"],
            "welfare": matches["market_welfare"] / days,
            "sites_profit": matches["sites_profit"] / days,
            "revenue": matches["market_revenue"] / days,
        }
    )
    by_episode = daily.groupby(["lineup", "who", "episode"])[list(MARKET_FIGURES)].mean()
    chosen = {(lineup, who): group for (lineup, who), group in matches.groupby([daily["lineup"], daily["who"]], sort=False)}
    usual = by_episode.loc["self", REFERENCE] if ("self", REFERENCE) in chosen else by_episode.iloc[:0].droplevel([0, 1])
    return tuple(
        _summary(chosen[lineup, who], by_episode.loc[lineup, who], usual, lineup, who or None)
        for lineup in LINEUPS
        for _, who in (key for key in chosen if key[0] == lineup)
    )


def _matches(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a match, as the market's figures stand on the rows of all seats: of ``alone`` that of the agent that is alone."""
    own = (rows["role"] != "reference").to_numpy()
    first = (rows["seat"] == rows["seat"].min()).to_numpy()
    match = (rows["episode"] * len(LINEUPS) + pd.factorize(rows["lineup"])[0]) * (rows["rotation"].max() + 1) + rows["rotation"]
    matches = rows.loc[np.where((rows["lineup"] == "alone").to_numpy(), own, first), MARKET_COLUMNS]
    profit = rows["profit"].groupby(match, sort=False).sum()
    return matches.assign(sites_profit=profit.loc[match.loc[matches.index]].to_numpy())


def _summary(matches: pd.DataFrame, here: pd.DataFrame, usual: pd.DataFrame, lineup: str, agent: str | None) -> MarketSummary:
    days = matches["ticks"].sum() / TICKS_PER_DAY
    volume = matches["market_volume_kwh"].to_numpy()
    sold = volume > 0.0
    price = float(np.average(matches["market_mean_price"].to_numpy()[sold], weights=volume[sold])) if sold.any() else None
    figures = {name: _figure(here[name], usual[name]) for name in MARKET_FIGURES}
    return MarketSummary(
        lineup=lineup,
        agent=agent,
        matches=len(matches),
        welfare=float(matches["market_welfare"].sum() / days),
        welfare_percent=figures["welfare"].change_percent.value,
        sites_profit=float(matches["sites_profit"].sum() / days),
        revenue=float(matches["market_revenue"].sum() / days),
        supply_cost=float(matches["market_supply_cost"].sum() / days),
        volume_kwh=float(volume.sum() / days),
        mean_price=price,
        scarce_share=float(matches["scarce_ticks"].sum() / matches["ticks"].sum()),
        figures=figures,
    )


def _figure(here: pd.Series, usual: pd.Series) -> MarketFigure:
    both = here.index.intersection(usual.index)
    x, base = here.loc[both].to_numpy(), usual.loc[both].to_numpy()
    return MarketFigure(mean(here.to_numpy()), mean(x - base), ratio_percent(x - base, base))
