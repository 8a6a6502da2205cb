"""Random plants, states and prices, the awkward ones included, and random scenarios for arenas."""

from __future__ import annotations

import random
from typing import Any, Literal, NamedTuple

import numpy as np

from gridpilot.market.arena import Scenario
from gridpilot.market.plant import SiteState
from gridpilot.market.site import Battery, Cooling, MachineClass, Site

__all__ = ["Case", "random_case", "random_scenario", "random_site"]


class Case(NamedTuple):
    """The arguments of ``value_curve`` and ``dispatch``."""

    site: Site
    state: SiteState
    prices: np.ndarray  # (3,) energy, hash, token
    ambient_c: float
    last_price: float
    mean_price: float
    storage_value: float | None
    commitment_value: np.ndarray | None  # (C,)


def product(r: random.Random) -> Literal["hash", "token"]:
    return "hash" if r.random() < 0.5 else "token"


def random_site(r: random.Random, name: str = "site") -> Site:
    """A plant of 0 to 3 machine classes, with or without battery, ramp and cooling."""
    fleet = tuple(
        MachineClass(f"class {c}", product(r), r.choice([3.25, 5.36, 10.2]), r.choice([0, 1, 40, 120]), r.uniform(0.0, 2.0))
        for c in range(r.randint(0, 3))
    )
    low, high = sorted((r.uniform(0.0, 0.4), r.uniform(0.4, 1.0)))
    efficiency = r.choice([0.8, 0.95, 1.0])
    battery = r.choice([
        Battery(),
        Battery(r.uniform(1.0, 800.0), 0.0, soc_min=0.0, soc_start=0.0),
        Battery(r.uniform(1.0, 800.0), r.uniform(1.0, 3000.0), efficiency, efficiency, r.choice([0.0, 0.005]), low, high, low),
        Battery(r.uniform(1.0, 800.0), r.uniform(1.0, 3000.0), efficiency, 0.9, 0.005, low, high, r.uniform(low, high)),
    ])  # fmt: skip
    cooling = Cooling(
        max_kw=r.choice([0.0, 2.0, 60.0, 160.0]), capacity_kwh_per_c=r.choice([1.0, 20.0]), loss_kw_per_c=r.choice([0.0, 8.0]),
        cop_slope=r.choice([0.0, 0.1]),
    )  # fmt: skip
    return Site(
        name,
        fleet,
        r.choice([0.0, 300.0, 1000.0, 2000.0]),
        r.choice([0.0, 50.0, 250.0]),
        r.choice([0.0, 0.3, 1.0]),
        battery,
        cooling,
    )


def random_case(seed: int) -> Case:
    """A site in some state: battery anywhere from empty to full, hall from cold to too hot, machines from off to all on."""
    r = random.Random(seed)
    site = random_site(r)
    battery = site.battery
    soc = r.choice([battery.soc_min, battery.soc_max, r.uniform(battery.soc_min, battery.soc_max)]) * battery.energy_kwh
    theta = r.choice([35.0, 34.5, r.uniform(-20.0, 35.0), r.uniform(35.0, 60.0)])
    running = [machines.capacity_kw * r.choice([0.0, 1.0, r.random()]) for machines in site.fleet] or [0.0]
    prices = np.array([r.uniform(-0.1, 0.3), r.choice([0.0, 2.0, r.uniform(0.0, 4.0)]), r.choice([0.0, r.uniform(0.0, 4.0)])])
    storage_value = r.choice([None, 0.0, r.uniform(-0.3, 0.0), r.uniform(0.0, 0.5), r.uniform(0.0, 5.0)])
    kappa = r.choice([None, np.array([r.choice([0.0, r.uniform(0.0, 0.2)]) for _ in site.fleet])])
    ambient, last_price, mean_price = (
        r.uniform(-30.0, 55.0),
        r.choice([r.uniform(-0.1, 0.3), r.uniform(-0.1, 2.0)]),
        r.uniform(-0.1, 0.3),
    )
    return Case(site, SiteState(soc, theta, np.array(running)), prices, ambient, last_price, mean_price, storage_value, kappa)


def random_scenario(seed: int, markets: int, ticks: int, history: int = 5) -> Scenario:
    """Prices with negative values and spikes, weather and capacity from none to all; market b is the same in every size of batch."""
    shape = history + ticks
    prices, ambient, capacity = np.empty((shape, markets, 3)), np.empty((shape, markets)), np.empty((shape, markets))
    start = np.empty(markets, dtype=np.int64)
    for b in range(markets):
        rng: Any = np.random.default_rng((seed, b))
        prices[:, b, 0] = (
            rng.choice([-0.05, 0.02, 0.05, 0.2], shape) + rng.normal(0.0, 0.02, shape) + 5.0 * (rng.random(shape) < 0.02)
        )
        prices[:, b, 1:] = rng.uniform(0.5, 2.5, (shape, 2))
        ambient[:, b] = rng.uniform(-10.0, 45.0) + rng.normal(0.0, 2.0, shape)
        capacity[:, b] = rng.choice([0.0, 0.2, 0.5, 1.0], shape)
        start[b] = rng.integers(0, 2016)
    return Scenario(prices, ambient, capacity, start, history)
