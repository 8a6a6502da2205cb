"""Planners in a closed loop over a day: CPU a decision, and how much of it is the solver's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.benchmark.timing import Measurement
from gridpilot.market.plant import SiteState, dispatch, value_curve
from gridpilot.market.site import Site, pack_sites
from gridpilot.planning.base import Outlook, Planner
from gridpilot.planning.blocks import DAY, FULL, Blocks
from gridpilot.planning.convex import ConvexReference
from gridpilot.planning.dynamic import DynamicProgramme
from gridpilot.planning.limits import terminal_blocks
from gridpilot.planning.linear import LinearProgramme
from gridpilot.planning.linear_cvar import CVaRProgramme, RiskSolver
from gridpilot.planning.linear_model import LinearModel
from gridpilot.planning.linear_solver import HotSolver
from gridpilot.setup import MarketSetup

__all__ = ["measure_planner"]

FloatArray = npt.NDArray[np.float64]

STEPS: Final = 288  # ticks each decision looks ahead
DECISIONS = 288  # of the closed loop
SCENARIOS: Final = 10
RISK: Final = (0.5, 0.2)  # risk weight, tail

Decision = tuple[SiteState, Outlook]


def measure_planner(repeats: int, setup: MarketSetup) -> Iterator[Measurement]:
    """Yield p50 and p99 of each planner's CPU a decision, as a multiple of a bare HiGHS call: the same programme solved again, hot.

    The site has every machine class of the market. Fast planners play the day ``repeats`` times, the slow ones (CVaR, every tick a block,
    cvxpy) once.
    """
    site = _all_machines(setup.sites)
    prices, ambient = _world(setup)
    blocked = "a hot solve of its model"
    played, decisions = _played(LinearProgramme(), site, prices, ambient, repeats)
    bare = _solver_alone(decisions, site, repeats)
    yield from _rows("HiGHS alone, hot, 44 blocks", bare)
    yield from _rows("linear programme, 44 blocks", played, bare, blocked)
    played, _ = _played(LinearProgramme(), site, prices, ambient, repeats, points=11)
    yield from _rows("linear programme, 44 blocks, with a bid curve of 11 points", played, bare, blocked)
    played, _ = _played(DynamicProgramme(), site, prices, ambient, repeats)
    yield from _rows("dynamic programme", played, bare, "a hot solve of 44 blocks")

    played, decisions = _played(CVaRProgramme(*RISK), site, prices, ambient, 1)
    name = f"linear programme, 44 blocks, CVaR over {SCENARIOS} scenarios"
    yield from _rows(name, played, _solver_alone(decisions, site, 1, risk=True), blocked)
    played, decisions = _played(LinearProgramme(FULL), site, prices, ambient, 1)
    yield from _rows(f"linear programme, {STEPS} ticks", played, _solver_alone(decisions, site, 1, FULL), blocked)
    played, _ = _played(ConvexReference(), site, prices, ambient, 1)
    yield from _rows("cvxpy, 44 blocks", played, bare, "a hot solve of 44 blocks")


def _rows(name: str, played: FloatArray, bare: FloatArray | None = None, against: str = "") -> Iterator[Measurement]:
    """A row for the median decision and one for the 99th percentile; medians and the fastest of the repeats ``(R, DECISIONS)``."""
    for percent in (50, 99):
        us = 1e6 * np.percentile(played, percent, axis=1)
        ratio = None if bare is None else float(np.median(us) / np.median(1e6 * np.percentile(bare, percent, axis=1)))
        label = f"{name}: p{percent} of {DECISIONS} decisions"
        yield Measurement("planner", label, float(np.median(us)), float(us.min()), ratio=ratio, against=against if ratio else "")


def _all_machines(sites: tuple[Site, ...]) -> Site:
    """The first site with equal shares of every machine class there is, as much power as it has."""
    classes = {machines.name: machines for site in sites for machines in site.fleet}
    share = sites[0].fleet_kw / len(classes)
    fleet = tuple(replace(machines, units=round(share / machines.unit_kw)) for machines in classes.values())
    return replace(sites[0], fleet=fleet)


def _world(setup: MarketSetup) -> tuple[FloatArray, FloatArray]:
    """Prices ``(1 + SCENARIOS, 2 STEPS, 3)`` and ambient temperature ``(2 STEPS,)``: what comes, and what else might."""
    scenario = setup.world.simulate(0, np.arange(1 + SCENARIOS), 2 * STEPS, 0)
    return np.ascontiguousarray(scenario.prices.transpose(1, 0, 2)), scenario.ambient[:, 0]


def _played(
    planner: Planner, site: Site, prices: FloatArray, ambient: FloatArray, repeats: int, points: int = 0
) -> tuple[FloatArray, list[Decision]]:
    """CPU seconds of each decision ``(R, DECISIONS)``, of a price taker that sees the day to come, and the decisions of the last repeat."""
    seconds = np.empty((repeats, DECISIONS))
    for times in seconds:
        planner.reset(site)
        start = site.battery.soc_start * site.battery.energy_kwh
        state = SiteState(start, min(site.cooling.set_point_c, float(ambient[0])), np.zeros(len(site.fleet)))
        decisions = []
        for t in range(-1, DECISIONS):  # the first, cold one is not counted: it is the start of the loop
            now = max(t, 0)
            ahead = slice(now, now + STEPS)
            outlook = Outlook(prices[0, ahead], ambient[ahead], scenarios=prices[1:, ahead])
            began = time.process_time()
            plan = planner.plan(state, outlook)
            if points:
                planner.bid_curve(state, outlook, points)
            if t < 0:
                continue
            times[t] = time.process_time() - began
            decisions.append((state, outlook))
            values = (plan.storage_value, plan.commitment_value)
            row, price = prices[0, t], float(prices[0, t, 0])
            curve = value_curve(site, state, row, float(ambient[t]), price, price, *values)
            won = float(curve[curve[:, 1] > price, 0].sum())
            state = dispatch(site, state, won, row, float(ambient[t]), price, price, *values).state
    return seconds, decisions


def _solver_alone(
    decisions: list[Decision], site: Site, repeats: int, layout: str | tuple[tuple[int, int], ...] = DAY, *, risk: bool = False
) -> FloatArray:
    """CPU seconds of HiGHS alone ``(R, DECISIONS)`` in the programmes of ``decisions``, its numbers changed off the clock."""
    arrays = pack_sites([site])
    model = LinearModel(arrays, Blocks(layout, STEPS), SCENARIOS if risk else 1)
    seconds = np.empty((repeats, DECISIONS))
    for times in seconds:
        solver = RiskSolver(model, *RISK) if risk else HotSolver(model)
        for t in range(-1, DECISIONS):
            state, outlook = decisions[max(t, 0)]
            paths = outlook.prices[None]
            if risk and outlook.scenarios is not None:
                paths = np.concatenate([np.repeat(paths[:, :1], SCENARIOS, axis=0), outlook.scenarios[:, 1:]], axis=1)
            terminal = terminal_blocks(arrays, outlook)
            numbers = model.numbers(state.soc_kwh, state.theta_c, state.machine_kw, paths, outlook.ambient_c, None, terminal)
            solver.load(numbers)
            began = time.process_time()
            solver.solve()
            if t >= 0:
                times[t] = time.process_time() - began
    return seconds
