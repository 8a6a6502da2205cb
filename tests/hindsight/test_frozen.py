"""Replays of one seat against frozen bids: the match itself to the bit, and plans that come near the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.hindsight.frozen import best_replay, plans, replay, replay_recorded
from gridpilot.hindsight.programme import Programme
from tests.hindsight.days import MECHANISMS, days_of, traced

GAP = {"vcg": 0.01, "uniform": 0.02, "pay_as_bid": 0.02}  # of the best, over these few short days; docs/regret.md has whole ones


@pytest.mark.parametrize("prices", ["ercot", "aemo_nsw"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_recorded_bids_give_the_profit_of_the_match_bit_for_bit(mechanism: str, prices: str) -> None:
    for day in days_of(traced(mechanism, prices)):
        assert replay_recorded(day) == day.profit


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_best_replay_comes_near_the_optimum_and_never_above(mechanism: str) -> None:
    own, best, optimum, names = 0.0, 0.0, 0.0, set()
    for day in days_of(traced(mechanism)):
        found = Programme(day.arrays, day.ticks).solve(day)
        earned, name = best_replay(day, found)
        assert day.profit <= earned <= found.value + 1e-9
        own, best, optimum = own + day.profit, best + earned, optimum + found.value
        names.add(name)
    assert best > own
    assert (optimum - best) / best < GAP[mechanism]
    assert len(names) > 1


def test_a_plan_is_better_than_a_battery_that_is_filled_whatever_it_costs() -> None:
    for day in days_of(traced("vcg"))[:4]:
        optimum = Programme(day.arrays, day.ticks).solve(day)
        worth, commitment = next(iter(plans(day, optimum)))[1]
        assert replay(day, np.full_like(worth, 1.0), commitment) < replay(day, worth, commitment)
