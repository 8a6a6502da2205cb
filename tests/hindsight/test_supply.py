"""The inverse residual supply of a seat against the auctioneer, and the hull below what a uniform price takes."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.equilibrium.best_response import best_response
from gridpilot.hindsight.seat_day import SeatDay
from gridpilot.hindsight.supply import Segments
from gridpilot.market.clearing import clear
from tests.hindsight.days import MECHANISMS, days_of, traced


def market(day: SeatDay, t: int, bid: list[tuple[float, float]]) -> tuple[list[object], list[tuple[float, float]]]:
    """The bids of a tick with another one for the seat, and the supply."""
    trace, arena = day.trace, day.trace.arena
    now = arena.scenario.history + t
    total = arena.rules.capacity_kw * arena.scenario.capacity[now, day.market]
    energy = arena.scenario.prices[now, day.market, 0]
    bids: list[object] = [[tuple(block) for block in blocks if block[0] > 0.0] for blocks in trace.bids[t, day.market].tolist()]
    bids[day.seat] = bid
    return bids, [(share * total, energy + adder) for share, adder in arena.rules.supply]


@pytest.mark.parametrize("kw", [1.0, 333.0, 1000.0])
def test_it_is_what_the_auctioneer_charges(kw: float) -> None:
    for day in days_of(traced("vcg"))[::3]:
        for t in range(0, day.ticks, 5):
            bids, supply = market(day, t, [(kw, 1e3)])
            at = slice(day.supply.start[t], day.supply.start[t + 1])
            steps, price = day.supply.kw[at], day.supply.price[at]
            taken = np.clip(kw - (np.cumsum(steps) - steps), 0.0, steps)
            won = float(taken.sum())
            vcg, uniform = clear(bids, supply), clear(bids, supply, mechanism="uniform")
            assert vcg.allocation[day.seat] == pytest.approx(won)
            assert vcg.payment[day.seat] == pytest.approx(float(taken @ price), abs=1e-9)
            # The last kW is priced at R(x-) or, at the very end of a step, above it by rounding.
            last = price[np.flatnonzero(taken > 1e-6)[-1]]
            assert uniform.payment[day.seat] >= won * last - 1e-6


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_best_responses_to_it_are_those_of_the_kernel(mechanism: str) -> None:
    for day in days_of(traced("uniform"))[::4]:
        for t in range(0, day.ticks, 7):
            value = [(250.0, 0.2), (250.0, 0.06), (250.0, 0.03)]
            bids, supply = market(day, t, value)
            found = best_response(bids, supply, caps=[1000.0] * len(bids), mechanism=mechanism)  # type: ignore[arg-type]
            at = slice(day.supply.start[t], day.supply.start[t + 1])
            ends = np.cumsum(day.supply.kw[at])
            grid = np.unique([*ends, 250.0, 500.0, 750.0])
            grid = grid[grid <= min(750.0, ends[-1])]
            worth = np.interp(grid, [0.0, 250.0, 500.0, 750.0], [0.0, 50.0, 65.0, 72.5])
            cost = np.interp(grid, [0.0, *ends], [0.0, *np.cumsum(day.supply.kw[at] * day.supply.price[at])])
            if mechanism != "vcg":
                cost = grid * day.supply.price[at][np.minimum(np.searchsorted(ends, grid), len(ends) - 1)]
            assert max(0.0, float((worth - cost).max())) == pytest.approx(found.best[day.seat], rel=1e-9, abs=1e-9)


def test_the_hull_of_three_steps_by_hand() -> None:
    # x R is 10 at 10, 120 at 30, 200 at 40: convex already. The second tick has nothing.
    hull = Segments(np.array([10.0, 20.0, 10.0]), np.array([1.0, 4.0, 5.0]), np.array([0, 3, 3])).hull()
    assert hull.start.tolist() == [0, 3, 3]
    assert hull.price.tolist() == pytest.approx([1.0, 5.5, 8.0])
    flat = Segments(np.array([10.0, 1.0, 29.0]), np.array([1.0, 4.0, 5.0]), np.array([0, 3])).hull()
    assert flat.price.tolist() == pytest.approx(
        [1.0, (200.0 - 10.0) / 30.0]
    )  # (11, 44) lies above the line from (10, 10) to (40, 200)
    assert flat.kw.tolist() == [10.0, 30.0]


def test_the_hull_is_convex_and_never_above_what_a_uniform_price_takes() -> None:
    for day in days_of(traced("uniform"))[::3]:
        for t in range(day.ticks):
            at, hat = slice(*day.supply.start[t : t + 2]), slice(*day.paid.start[t : t + 2])
            x = np.cumsum(day.supply.kw[at])
            assert (np.diff(day.paid.price[hat]) > 0.0).all()
            bound = np.interp(x, [0.0, *np.cumsum(day.paid.kw[hat])], [0.0, *np.cumsum(day.paid.kw[hat] * day.paid.price[hat])])
            assert (bound <= x * day.supply.price[at] + 1e-9).all()
            assert bound[-1] == pytest.approx(x[-1] * day.supply.price[at][-1])
