"""The hindsight programme bounds what really happens, its duals prove it, and no exhaustive play beats it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from gridpilot.hindsight.frozen import RECORDED, best_replay, play_frozen, replay_recorded
from gridpilot.hindsight.programme import Programme, proven_bound, solved
from gridpilot.hindsight.seat_day import seat_day
from gridpilot.market.physics import DRAWN, WON
from gridpilot.tournament.replay import trace_matches
from gridpilot.tournament.schedule import schedule
from tests.hindsight.days import AGENTS, MECHANISMS, PRICES, days_of, realised, spec_of, traced, violation


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
    # Above all others; where bids are paid, just above R(x-).
    ends = [np.cumsum(day.supply.kw[slice(*day.supply.start[t : t + 2])]) for t in range(4)]
    least = [
        dict(zip((300.0, 700.0), day.supply.price[day.supply.start[t] + np.searchsorted(ends[t], (300.0, 700.0))], strict=True))
        for t in range(4)
    ]
    best = -np.inf
    for choice in itertools.product(plays, repeat=4):
        trace.bids[:, 0, 9] = 0.0
        for t, (kw, _) in enumerate(choice):
            if kw:
                trace.bids[t, 0, 9, 0] = kw, least[t][kw] + 1e-9 if mechanism == "pay_as_bid" else 0.5
        best = max(best, play_frozen(day, RECORDED, np.array([[v] for _, v in choice]), commitment, refused))
    assert 0.98 * optimum.value < best <= optimum.value + 1e-9


def test_a_plant_without_battery_and_cooling() -> None:
    spec = spec_of("vcg", "ercot", 24)
    bare = {"name": "bare", "fleet": {"hydro": 118, "gpu": 10}, "battery": {"power_kw": 0.0, "energy_kwh": 0.0}, "cooling": None}
    hot = {"name": "hot", "fleet": {"air": 184}, "cooling": {"max_kw": 0.0}}
    market = {**spec.market, "sites": [bare, hot, {"name": "gpu", "fleet": {"gpu": 62}}], "capacity_kw": 1500}
    spec = dataclasses.replace(spec, market=market)
    trace = trace_matches(spec, schedule(list(AGENTS), 3, [1], ["mixed"]))
    for b, seat in itertools.product(range(4), range(2)):
        day = seat_day(trace, b, seat)
        programme = Programme(day.arrays, day.ticks)
        numbers, optimum = programme.numbers(day), programme.solve(day)
        columns = realised(day, programme, numbers)
        if not programme.heats:
            columns[programme.theta] = 0.0  # says nothing where heat is no matter
        assert violation(numbers, columns) < 1e-9
        assert optimum.value - day.profit > -1e-9
        best, _ = best_replay(day, optimum)
        assert day.profit <= best <= optimum.value + 1e-9
        assert replay_recorded(day) == day.profit
