"""What agents say of their bids: the same on arrays and seat by seat, with figures of the bid itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.registry import build_agent
from gridpilot.agents.seating import AgentSpec
from gridpilot.agents.truthful import Truthful
from gridpilot.market.observation import observe

from .arenas import SITES, day_of_prices, seated


class Boastful(Truthful):
    """Fails when it is asked why."""

    def rationale_at(self, row: int) -> Mapping[str, Any]:
        raise RuntimeError("why not?")


@pytest.mark.parametrize("name", ["threshold", "mpc"])
def test_on_arrays_and_alone_an_agent_says_the_same(name: str) -> None:
    arena, seating = seated([[name] * 5], {name: AgentSpec(name, {})})
    arena.start(day_of_prices(1))
    seating.reset(0, [0])
    agent = build_agent(name)
    agent.reset(SITES[1], observe(arena, 0, 1).market, 0)
    for _ in range(3):
        bid = agent.bid(observe(arena, 0, 1))
        seating.bid()
        said = seating.rationale(0, 1)
        assert agent.rationale() == said
        low, high = said["full_battery_value_dollars_per_kwh"], said["empty_battery_value_dollars_per_kwh"]
        assert bid.storage_value is not None
        assert low - 1e-6 <= bid.storage_value <= high + 1e-6
        arena.step()
        seating.learn()


def test_a_planner_tells_its_rung_and_its_plan() -> None:
    arena, seating = seated([["mpc"] * 5], {"mpc": AgentSpec("mpc", {"planner": "ladder"})})
    arena.start(day_of_prices(1))
    seating.reset(0, [0])
    assert seating.rationale(0, 2) == {}  # it has not bid yet
    seating.bid()
    said = seating.rationale(0, 2)
    assert said["rung"] in {"linear", "dynamic", "myopic", "no_power"}
    assert said["planned_grid_kw"] >= 0.0
    assert len(said["expected_price_dollars_per_kwh"]) == 24


def test_who_says_nothing_and_who_fails_at_it() -> None:
    arena, seating = seated(
        [["truthful", "mine", "truthful", "truthful", ""]],
        {"truthful": AgentSpec("truthful", {}), "mine": AgentSpec(f"{__name__}.Boastful", {})},
    )
    arena.start(day_of_prices(1))
    seating.reset(0, [0])
    seating.bid()
    assert seating.rationale(0, 0) == seating.rationale(0, 4) == {}
    assert "why not?" in seating.rationale(0, 1)["failed"]
    arena.step()
    assert np.isfinite(arena.outcome).all()
