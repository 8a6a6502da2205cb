"""Bidders that learn by PPO what equilibrium theory has them bid. They need the extra ``[rl]``, and are left out without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gridpilot.training.games import Game, learned_shares
from gridpilot.validation.row import Figure, Result, close
from gridpilot.validation.study import Study

__all__ = ["LEARNED", "NEAR"]

NEAR: Final = 0.03
"""How far a share of the value may be from the equilibrium's: gradient steps end near it, and never at it."""


def _first_price(study: Study) -> Iterator[Figure]:
    for n in (2, 5):
        (share,) = learned_shares(Game("pay_as_bid", n), study.auctioneer.clear_batch, seed=study.seed)
        yield close(f"first price, n = {n}: mean bid over mean value", (n - 1) / n, float(share), NEAR)


def _second_price(study: Study) -> Iterator[Figure]:
    (share,) = learned_shares(Game("vcg", 3), study.auctioneer.clear_batch, seed=study.seed)
    yield close("vcg, n = 3: mean bid over mean value", 1.0, float(share), NEAR)


def _demand_reduction(study: Study) -> Iterator[Figure]:
    # What is bid for the first unit does not matter once nothing is bid for the second: everybody gets one, for nothing.
    _, share = learned_shares(Game("uniform", 2, units=2), study.auctioneer.clear_batch, seed=study.seed, updates=400)
    yield close("uniform, two bidders for two units each: mean bid over mean value, second unit", 0.0, float(share), NEAR)


_PPO: Final = "Schulman et al. 2017"
LEARNED: Final = (
    Result("first_price_by_ppo", f"Krishna, Auction Theory, ch. 2; {_PPO}", _first_price),
    Result("second_price_by_ppo", f"Vickrey 1961; {_PPO}", _second_price),
    Result("demand_reduction_by_ppo", f"Noussair 1995; Engelbrecht-Wiggans and Kahn 1998; {_PPO}", _demand_reduction),
)
