"""Usual prices by time of day, and which of several a history fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gridpilot.errors import ForecastError
from gridpilot.forecasting.climatology import Climatology, recognise
from gridpilot.market.units import TICKS_PER_DAY, TICKS_PER_WEEK


def described(level: float = 0.02, evening: float = 0.08) -> dict[str, Any]:
    """Four slots a day; dear from 18:00 on weekdays."""
    return {
        "energy": {"weekday": [level, level, level, level + evening], "weekend": [level] * 4},
        "premium": {"weekday": [0.0, 0.01, 0.02, 0.03], "weekend": [0.0] * 4},
        "days": [[level] * 4, [2 * level] * 4],
    }


def test_prices_follow_the_slots_of_weekday_and_weekend() -> None:
    one = Climatology.from_mapping("one", described())
    friday_evening, saturday_evening = 4 * TICKS_PER_DAY + 280, 5 * TICKS_PER_DAY + 280
    energy, premium = one.expected(np.array([0, 71, 72, friday_evening, saturday_evening, TICKS_PER_WEEK + 72]))
    assert energy == pytest.approx([0.02, 0.02, 0.02, 0.10, 0.02, 0.02])
    assert premium == pytest.approx([0.0, 0.0, 0.01, 0.03, 0.0, 0.01])


def test_it_recognises_the_market_it_knows() -> None:
    calm, swinging = (Climatology.from_mapping("x", described(0.02, evening)) for evening in (0.0, 0.08))
    ticks = np.arange(TICKS_PER_DAY)[:, None] + np.array([[0, TICKS_PER_DAY, 3 * TICKS_PER_DAY]])
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.004, ticks.shape)
    energy = swinging.expected(ticks)[0] + noise
    assert recognise([calm, swinging], energy, ticks).tolist() == [1, 1, 1]
    assert recognise([calm, swinging], calm.expected(ticks)[0] + noise, ticks).tolist() == [0, 0, 0]
    spikes = energy.copy()
    spikes[::40] += 5.0
    assert recognise([calm, swinging], spikes, ticks).tolist() == [1, 1, 1]


def test_a_market_it_does_not_know_fits_nothing() -> None:
    known = [Climatology.from_mapping("x", described())]
    ticks = np.arange(TICKS_PER_DAY)[:, None]
    assert recognise(known, np.full((TICKS_PER_DAY, 1), 0.5), ticks).tolist() == [-1]
    assert recognise([], np.full((TICKS_PER_DAY, 1), 0.5), ticks).tolist() == [-1]
    assert recognise(known, np.zeros((0, 2)), np.zeros((0, 2), dtype=np.int64)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": [0.1] * 4}, "energy is .* expected a list for each of weekday and weekend"),
        ({"premium": {"weekday": [0.0] * 4}}, "premium is"),
        ({"energy": {"weekday": [0.0] * 5, "weekend": [0.0] * 5}}, "5 slots of energy"),
        ({"energy": {"weekday": [0.0, "x", 0.0, 0.0], "weekend": [0.0] * 4}}, "energy is"),
        ({"energy": {"weekday": [0.0, float("nan"), 0.0, 0.0], "weekend": [0.0] * 4}}, "finite"),
        ({"days": [[0.1] * 3]}, "days have 3 slots, expected 4"),
    ],
)
def test_what_is_not_a_climatology_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ForecastError, match=message):
        Climatology.from_mapping("broken", {**described(), **change})
