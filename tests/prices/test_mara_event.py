"""The bounded multiplicative walk of the event's feed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gridpilot.errors import ConfigError
from gridpilot.presets import load_preset
from gridpilot.prices import load_prices

SHIPPED = load_preset("prices", "mara_event")
SCALE = np.array([SHIPPED[name]["scale"] for name in ("energy", "hash", "token")])


def test_it_opens_as_the_event_did() -> None:
    prices = load_prices({**SHIPPED, "begin": "opening"}).simulate(0, [0, 1], 2)[0]
    np.testing.assert_allclose(prices[0] / SCALE, [[3.0, 4.0, 2.0]] * 2)
    assert (prices[1] != prices[0]).all()


def test_steps_are_uniform_within_the_bounds() -> None:
    raw = load_prices(SHIPPED).simulate(0, range(2000), 100)[0] / SCALE
    for channel, (step, low, high) in enumerate([(0.10, 0.5, 5.0), (0.25, 1.0, 5.0), (0.25, 0.5, 5.0)]):
        price = raw[:, :, channel]
        assert price.min() == pytest.approx(low)
        assert price.max() <= high * (1 + 1e-12)
        moves = price[1:] / price[:-1] - 1.0
        assert np.abs(moves).max() <= step * (1 + 1e-9)
        free = moves[(price[:-1] > 1.5 * low) & (price[:-1] < high / 1.5)]
        assert free.std() == pytest.approx(step / np.sqrt(3.0), rel=0.02)
        assert free.mean() == pytest.approx(0.0, abs=0.01 * step)


def test_the_stationary_start_is_stationary_and_has_the_documented_means() -> None:
    raw = load_prices(SHIPPED).simulate(0, range(6000), 200)[0] / SCALE
    np.testing.assert_allclose(raw[0].mean(axis=0), [1.26, 1.98, 1.25], rtol=0.05)
    np.testing.assert_allclose(raw[-1].mean(axis=0), [1.26, 1.98, 1.25], rtol=0.05)


@pytest.mark.parametrize("change", [{"low": 6.0}, {"step": 1.0}, {"opening": 0.1}, {"scale": 0.0}, {"low": -1.0}])
def test_impossible_walks_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="energy"):
        load_prices({**SHIPPED, "energy": {**SHIPPED["energy"], **change}})
