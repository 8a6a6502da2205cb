"""Clones under a rule that bids their values: what they are trained for, and the calibration of their entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gridpilot
from gridpilot.agents.seating import AgentSpec
from gridpilot.policies import Policy
from gridpilot.presets import described
from gridpilot.setup import load_setup
from gridpilot.training.calibration import calibrate
from gridpilot.training.config import TRAINING, CalibrationConfig
from gridpilot.training.evaluation import profits
from gridpilot.training.markets import Field, specs_of
from gridpilot.training.run import Training

pytest.importorskip("torch")

SITES = {"sites": [{"name": "hydro", "fleet": {"hydro": 118}}, {"name": "gpu", "fleet": {"gpu": 62}}]}
TINY: dict[str, Any] = {
    "ticks": 24, "history": 24, "layers": [8], "clone": {"markets": 8, "rounds": 2, "last_passes": 4, "batch": 64}, "quiet": True,
    "mechanism": "pay_as_bid", "calibration": {"rounds": 1, "episodes": 40},
}  # fmt: skip


def no_advance(count: int, whose: str = "") -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def market() -> dict[str, Any]:
    return described("market", "default") | SITES


@pytest.fixture(scope="module")
def field(market: dict[str, Any]) -> Field:
    return Field(load_setup(market, ticks=24, history=24, mechanism="pay_as_bid"), "rotating", specs_of(["truthful", "threshold"]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, market: dict[str, Any]) -> Training:
    out = tmp_path_factory.mktemp("trained") / "mine"
    return gridpilot.train(out, market=market, evaluation={"episodes": 12, "elsewhere": 0}, **TINY)


def test_under_pay_as_bid_a_rule_bids_the_values_of_a_clone(trained: Training, field: Field) -> None:
    assert trained.policy.layout.bidding == "best_response"
    assert "bids by `best_response`), its storage and commitment entries moved by" in trained.card
    assert "`best_response` makes bids of" in trained.card
    assert [one.other for one in trained.comparisons] == ["truthful", "mpc", "best_response"]
    assert trained.policy.training["episodes"] == {"first": TRAINING, "count": 56}
    agent = AgentSpec("learned", {"policy": str(trained.folder)})
    alone, as_agent = (profits(bidder, field, 12, 0, no_advance) for bidder in (trained.policy, agent))
    np.testing.assert_allclose(alone, as_agent, rtol=1e-6)
    assert (alone - profits(AgentSpec("mpc", {}), field, 12, 0, no_advance)).mean() > 0.0


def test_calibration_finds_back_what_was_moved(trained: Training, field: Field) -> None:
    arrays = dict(trained.policy.arrays)
    arrays["layers.1.bias"] = arrays["layers.1.bias"] + np.float32([0.5, 0.0])  # stores at any price
    wrong = Policy(trained.policy.layout, arrays)
    settings, rounds = CalibrationConfig(rounds=None, episodes=150), []
    assert [settings.rounds_under(bidding) for bidding in (None, "best_response")] == [0, 3]
    found, moved = calibrate(wrong, field, settings, rounds=1, seed=0, first=0, advance=rounds.append)
    assert moved[0] < -0.1
    assert rounds == [1]
    gain = profits(found, field, 60, 0, no_advance) - profits(wrong, field, 60, 0, no_advance)  # on other days
    assert gain.mean() > 0.0
    np.testing.assert_allclose(found.arrays["layers.1.bias"] - wrong.arrays["layers.1.bias"], np.float32(moved), atol=1e-6)
    same, unmoved = calibrate(wrong, field, settings, rounds=0, seed=0, first=0, advance=rounds.append)
    assert unmoved == (0.0, 0.0)
    assert all(same.arrays[name].tobytes() == array.tobytes() for name, array in wrong.arrays.items())
