"""Small made-up markets that agents are checked in."""

from __future__ import annotations

from typing import Final

import numpy as np

from gridpilot.market.arena import Scenario
from gridpilot.market.site import Battery, Cooling, MachineClass, Site

__all__ = ["ODD_SITES", "SITES", "made_up_day"]

_AIR: Final = MachineClass("air", "hash", 3.5, 140, 0.2)
_GPU: Final = MachineClass("gpu", "token", 10.2, 40, 1.0)
_BATTERY: Final = Battery(400.0, 1600.0, soc_start=0.5)

SITES: Final = (
    Site("miner", (_AIR,), battery=_BATTERY),
    Site("both", (_AIR, _GPU), battery=_BATTERY, boot_loss=0.0),
    Site("no battery", (_GPU,), battery=Battery()),
    Site("empty", (), battery=_BATTERY),
    Site("hot", (_AIR,), grid_kw=300.0, battery=_BATTERY, cooling=Cooling(max_kw=20.0)),
)
"""Ordinary plants."""

_MACHINES: Final = MachineClass("machines", "hash", 3.5, 100, 0.2)
_STORE: Final = Battery(500.0, 2000.0)

ODD_SITES: Final = (
    Site("nothing at all", (), grid_kw=0.0, battery=Battery(), cooling=Cooling(max_kw=0.0)),
    Site("no machines", (), battery=_STORE),
    Site("no units", (MachineClass("none", "token", 1.0, 0, 1.0),), battery=_STORE),
    Site("no connection", (_MACHINES,), grid_kw=0.0, battery=_STORE),
    Site("no battery", (_MACHINES,), battery=Battery()),
    Site("battery of power only", (_MACHINES,), battery=Battery(500.0, 0.0)),
    Site("a battery stuck full", (_MACHINES,), battery=Battery(500.0, 2000.0, soc_min=0.5, soc_max=0.5, soc_start=0.5)),
    Site("no ramp", (_MACHINES,), ramp_up_kw=0.0, boot_loss=1.0),
    Site("no cooling", (_MACHINES,), cooling=Cooling(max_kw=0.0, loss_kw_per_c=0.0)),
    Site("giant", (MachineClass("giant", "hash", 1000.0, 10**6, 50.0),), grid_kw=1e9, ramp_up_kw=1e9, battery=Battery(1e9, 1e9)),
)
"""Plants at the edges of what a plant can be."""


def made_up_day(markets: int = 2, ticks: int = 60, history: int = 20, seed: int = 0, extreme: bool = False) -> Scenario:
    """Prices with a daily swing; with ``extreme`` negative ones, spikes of 20 $/kWh, worthless products, and heat."""
    rng = np.random.default_rng(seed)
    rows = history + ticks
    prices = np.empty((rows, markets, 3))
    swing = 0.06 + 0.04 * np.sin(np.arange(rows) / rows * 12.0)[:, None]
    prices[..., 0] = swing + rng.normal(0.0, 0.01, (rows, markets))
    prices[..., 1:] = rng.uniform(1.5, 2.0, (rows, markets, 2))
    ambient = rng.uniform(10.0, 30.0, (rows, markets))
    if extreme:
        prices[..., 0] = rng.choice([-2.0, -0.03, 0.0, 0.05, 20.0], (rows, markets))
        prices[..., 1:] = rng.choice([0.0, 1e-9, 2.0, 1e4], (rows, markets, 2))
        ambient = rng.choice([-40.0, 20.0, 60.0], (rows, markets))
    return Scenario(prices, ambient, rng.choice([0.3, 0.6, 1.0], (rows, markets)), np.arange(markets) * 100, history)
