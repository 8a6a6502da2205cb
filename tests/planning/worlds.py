"""Random sites with outlooks, the awkward ones included, and the closed loop that planners are compared in."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np

from gridpilot.market.plant import SiteState, dispatch, value_curve
from gridpilot.market.site import Battery, Cooling, MachineClass, Site
from gridpilot.market.units import DT
from gridpilot.planning.base import Outlook, Planner
from tests.market.plants import random_site

__all__ = ["World", "ercot_like", "play", "random_world", "standard_site"]


class World(NamedTuple):
    site: Site
    state: SiteState
    outlook: Outlook


def random_world(seed: int, horizon: int, scenarios: int = 0) -> World:
    """A site in some state, possibly beyond its limits, and an outlook with spikes, negative prices, hot days, caps and terminal values."""
    r, rng = random.Random(seed), np.random.default_rng(seed)
    site = random_site(r)
    low, high = site.battery.soc_min * site.battery.energy_kwh, site.battery.soc_max * site.battery.energy_kwh
    soc = r.choice([low, high, r.uniform(low, high), r.uniform(low, high), high + 10.0, 0.0])
    theta = r.choice([35.0, 20.0, r.uniform(-20.0, 35.0), r.uniform(35.0, 45.0)])
    running = [machines.capacity_kw * r.choice([0.0, 1.0, r.random()]) for machines in site.fleet] or [0.0]

    def paths(n: int) -> np.ndarray:
        prices = np.empty((n, horizon, 3))
        walk = np.cumsum(rng.normal(0.0, 0.01, (n, horizon)), axis=1)
        prices[..., 0] = r.choice([-0.02, 0.05, 0.05, 0.12]) + walk + rng.normal(0.0, r.choice([0.0, 0.03]), (n, horizon))
        prices[..., 0] += (rng.random((n, horizon)) < 0.03) * rng.choice([-0.5, 1.0, 20.0], (n, horizon))
        prices[..., 1:] = r.choice([0.0, 1.0, 2.0]) * np.exp(rng.normal(0.0, 0.05, (n, horizon, 2)))
        return prices

    prices = paths(1)[0]
    several = None
    if scenarios:
        several = paths(scenarios)
        several[:, 0] = prices[0]
    ambient = r.uniform(-20.0, 45.0) + rng.normal(0.0, 2.0, horizon)
    cap = r.choice([None, rng.uniform(0.0, 1.2, horizon) * site.grid_kw, np.where(rng.random(horizon) < 0.3, 0.0, site.grid_kw)])
    room = high - low
    terminal = r.choice([None, np.array([[room, 0.04]]), np.array([[0.3 * room, 0.1], [0.4 * room, 0.05], [0.1 * room, -0.02]])])
    return World(site, SiteState(soc, theta, np.array(running)), Outlook(prices, ambient, cap, several, terminal))


def standard_site(**changes: object) -> Site:
    """A site of the default market's kind."""
    fleet = (MachineClass("hydro", "hash", 5.36, 39, 0.335), MachineClass("air", "hash", 3.5, 60, 0.2))
    fleet += (MachineClass("gpu", "token", 10.2, 21, 5.78),)
    return Site(**{"name": "site", "fleet": fleet, "battery": Battery(500.0, 2000.0), "cooling": Cooling(), **changes})  # type: ignore[arg-type]


def ercot_like(seed: int, ticks: int) -> tuple[np.ndarray, np.ndarray]:
    """Prices (ticks, 3) with cheap nights, dear evenings, spikes and negative hours, and ambient temperature (ticks,)."""
    rng = np.random.default_rng(seed)
    hour = (np.arange(ticks) * DT) % 24.0
    noise = np.zeros(ticks)
    for t in range(1, ticks):
        noise[t] = 0.97 * noise[t - 1] + 0.1 * rng.standard_t(4)
    energy = (
        0.035 + 0.03 * np.exp(-(((hour - 19.0) / 2.0) ** 2)) + 0.02 * np.sinh(noise) - 0.02 * np.exp(-(((hour - 13.0) / 2.0) ** 2))
    )
    prices = np.column_stack([energy, np.full(ticks, 2.1), np.full(ticks, 0.3)])
    return prices, 25.0 + 5.0 * np.sin((hour - 10.0) / 24.0 * 2.0 * np.pi)


def play(planner: Planner, site: Site, prices: np.ndarray, ambient: np.ndarray, ticks: int, horizon: int) -> float:
    """Profit of a price taker who plans every tick with the true future and bids by the plan's values; what is left stored counts too."""
    planner.reset(site)
    battery = site.battery
    start = battery.soc_start * battery.energy_kwh
    state = SiteState(start, min(ambient[0], site.cooling.set_point_c), np.zeros(len(site.fleet)))
    terminal = np.array([[max(0.0, (battery.soc_max - battery.soc_min)) * battery.energy_kwh, 0.03]])
    profit = 0.0
    for t in range(ticks):
        plan = planner.plan(state, Outlook(prices[t : t + horizon], ambient[t : t + horizon], terminal=terminal))
        values = (plan.storage_value, plan.commitment_value)
        row, price = prices[t], float(prices[t, 0])
        curve = value_curve(site, state, row, ambient[t], price, price, *values)
        done = dispatch(site, state, float(curve[curve[:, 1] > price, 0].sum()), row, ambient[t], price, price, *values)
        profit += done.revenue - done.wear - DT * price * done.grid_kw
        state = done.state
    return profit + 0.03 * (state.soc_kwh - start)
