"""The hindsight programme bounds what really happens, its duals prove it, and no exhaustive play beats it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from gridpilot.hindsight.frozen import RECORDED, play_frozen
from gridpilot.hindsight.programme import Programme, proven_bound, solved
from gridpilot.hindsight.seat_day import seat_day
from gridpilot.market.physics import DRAWN, WON
from tests.hindsight.days import AGENTS, MECHANISMS, PRICES, days_of, realised, traced, violation


@pytest.mark.parametrize("prices", PRICES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_what_really_happens_satisfies_every_row_and_earns_no_more(mechanism: str, prices: str) -> None:
    days = days_of(traced(mechanism, prices))
    assert {day.trace.matches[day.market].seats[day.seat] for day in days} == set(AGENTS)
    for day in days:
        programme = Programme(day.arrays, day.ticks)
        numbers = programme.numbers(day)
        columns = realised(day, programme, numbers)
        assert violation(numbers, columns) < 1e-9
        slack = float(numbers.profit @ columns) + numbers.constant - day.profit
        assert slack > -1e-9
        outcome = day.trace.outcome[:, day.market, day.seat]
        if mechanism == "vcg" and np.abs(outcome[:, WON] - outcome[:, DRAWN]).max() < 1e-9:  # nothing was handed back
            assert abs(slack) < 1e-9


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_duals_prove_the_optimum(mechanism: str) -> None:
    for day in days_of(traced(mechanism))[::3]:
        optimum = Programme(day.arrays, day.ticks).solve(day)
        assert optimum.value == pytest.approx(optimum.primal, abs=1e-6)
        assert optimum.value >= day.profit - 1e-9


def test_any_row_prices_give_a_bound() -> None:
    day = days_of(traced("vcg"))[0]
    programme = Programme(day.arrays, day.ticks)
    numbers, generator = programme.numbers(day), np.random.default_rng(1)
    for scale in (0.0, 0.01, 1.0):
        assert proven_bound(numbers, scale * generator.normal(size=programme.n_rows)) >= programme.solve(day).primal


def test_a_dual_is_what_one_more_stored_kilowatt_hour_earns() -> None:
    day = days_of(traced("vcg"))[4]
    programme = Programme(day.arrays, day.ticks)
    optimum = programme.solve(day)
    richer = programme.numbers(day)
    row = programme.storage_row[20]
    richer.row_lower[row] += 0.01
    richer.row_upper[row] += 0.01
    columns, _ = solved(richer, programme.n_rows)
    more = float(richer.profit @ columns) + richer.constant - optimum.primal
    assert more == pytest.approx(0.01 * optimum.storage_value[20], rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_four_ticks_of_stated_plays_never_exceed_it(mechanism: str) -> None:
    trace = traced(mechanism, ticks=4, episode=5)
    trace = dataclasses.replace(trace, bids=trace.bids.copy())
    day = seat_day(trace, 0, 9)
    optimum = Programme(day.arrays, day.ticks).solve(day)
    plays = list(itertools.product((0.0, 300.0, 700.0), (0.0, 0.05, 0.3)))  # kW stated, $/kWh stored
    commitment, refused = np.full((4, trace.arena.arrays.n_classes), 0.05), np.zeros(4, dtype=np.bool_)
    price = 0.06 if mechanism == "pay_as_bid" else 0.5  # above all others, and what is paid where bids are
    best = -np.inf
    for choice in itertools.product(plays, repeat=4):
        trace.bids[:, 0, 9] = 0.0
        trace.bids[:, 0, 9, 0] = [(kw, price if kw else 0.0) for kw, _ in choice]
        best = max(best, play_frozen(day, RECORDED, np.array([[v] for _, v in choice]), commitment, refused))
    assert 0.5 * optimum.value < best <= optimum.value + 1e-9
