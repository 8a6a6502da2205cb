"""What planning is worth: in markets where it must pay, and with every planner and forecaster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.mpc import MPC
from gridpilot.agents.mpc_cvar import MPCCVaR
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.agents.storage.day_plan import DayPlan, load_climatologies
from gridpilot.agents.storage.planner import SeatPlanner
from gridpilot.errors import AgentError, ConfigError, ForecastError, PlanningError
from gridpilot.market.encoding import MEAN
from gridpilot.market.observation import observe
from gridpilot.market.physics import PROFIT
from gridpilot.setup import MarketSetup, load_setup

from .arenas import SITES, day_of_prices, episode, seated

EPISODES = np.arange(500, 512)


@pytest.fixture(scope="module")
def setup() -> MarketSetup:
    return load_setup()


def profits(setup: MarketSetup, name: str, seats: tuple[int, ...], params: dict[str, Any] | None = None) -> np.ndarray:
    """Profit of the agent at each of ``seats``, alone among truthful ones, (episode, seat)."""
    found = np.empty((len(EPISODES), len(seats)))
    for column, seat in enumerate(seats):
        arena = setup.arena(len(EPISODES))
        arena.start(setup.scenario(0, EPISODES))
        labels = [["x" if n == seat else "truthful" for n in range(arena.n_sites)]] * len(EPISODES)
        seating = Seating(arena, {"x": AgentSpec(name, params or {}), "truthful": AgentSpec("truthful", {})}, labels)
        seating.reset(0, EPISODES)
        total = np.zeros(len(EPISODES))
        while not arena.done:
            seating.bid()
            arena.step()
            seating.learn()
            total += arena.outcome[:, seat, PROFIT]
        assert seating.first_error == {}
        plant = arena.arrays.plant[seat]
        found[:, column] = total + (arena.storage[:, seat, 0] - plant["soc_start"]) * plant["eta_d"] * arena.levels[:, MEAN]
    return found


def test_planning_earns_more_than_a_rule_and_the_rule_more_than_none(setup: MarketSetup) -> None:
    seats = (1, 3, 8)
    truthful, threshold, mpc, foresight = (profits(setup, name, seats) for name in ("truthful", "threshold", "mpc", "foresight"))
    assert truthful.mean() < threshold.mean() < mpc.mean() < foresight.mean()
    gain = mpc - threshold
    assert gain.mean() > 2.0 * gain.std() / np.sqrt(gain.size)
    assert (mpc - truthful).mean() > 0.8 * (foresight - truthful).mean()


def test_fear_of_dear_days_changes_what_is_stored_and_costs_little(setup: MarketSetup) -> None:
    seats = (3,)
    truthful, neutral, averse = (
        profits(setup, "truthful", seats), profits(setup, "mpc_cvar", seats, {"risk_weight": 0.0}),
        profits(setup, "mpc_cvar", seats, {"risk_weight": 1.0}),
    )  # fmt: skip
    assert not np.array_equal(neutral, averse)
    assert (averse - truthful).mean() > 0.5 * (neutral - truthful).mean() > 0.0


@pytest.mark.parametrize("wrong", [{"risk_weight": 1.5}, {"risk_weight": -0.1}, {"tail": 0.0}, {"tail": 2.0}])
def test_a_risk_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(AgentError, match=r"risk_weight is .* and tail"):
        MPCCVaR(**wrong)


@pytest.mark.parametrize("planner", ["linear", "ladder", {"name": "dynamic", "cells": 12}, {"name": "ladder", "deadline": 0.5}])
def test_every_planner_plays(planner: Any) -> None:
    name = "mpc"
    arena, seating = seated([[name] * len(SITES)], {name: AgentSpec(name, {"planner": planner, "horizon": 24})})
    results = episode(arena, seating, day_of_prices(1, ticks=8))
    assert seating.first_error == {}
    assert np.isfinite(results["outcome"]).all()
    assert results["storage"][..., 0].max() > 0.0


def test_the_plans_of_two_planners_earn_alike(setup: MarketSetup) -> None:
    arena = setup.arena(1)
    earned = {}
    for label, params in {"dynamic": {"replan": 1, "cells": 60}, "linear": {"planner": "linear"}}.items():
        arena.start(setup.scenario(0, EPISODES[:1]))
        labels = [[label] + ["truthful"] * 9]
        seating = Seating(arena, {label: AgentSpec("mpc", params), "truthful": AgentSpec("truthful", {})}, labels)
        seating.reset(0, EPISODES[:1])
        total = 0.0
        while not arena.done:
            seating.bid()
            arena.step()
            total += arena.outcome[0, 0, PROFIT]
        assert seating.first_error == {}
        earned[label] = total
    assert earned["linear"] == pytest.approx(earned["dynamic"], rel=0.02)


def test_a_forecaster_takes_the_place_of_the_climatology() -> None:
    name = "mpc"
    params = {"forecaster": "seasonal_naive", "horizon": 24}
    arena, seating = seated([[name] * len(SITES)] * 2, {name: AgentSpec(name, params)})
    results = episode(arena, seating, day_of_prices(2, ticks=12))
    assert seating.first_error == {}
    assert np.isfinite(results["outcome"]).all()


def test_a_planner_that_looks_at_risk_gets_scenarios() -> None:
    name = "mpc"
    params = {"planner": {"name": "cvar"}, "forecaster": "persistence", "horizon": 24, "scenarios": 5}
    arena, seating = seated(
        [[name, "truthful", "truthful", "truthful", "truthful"]],
        {name: AgentSpec(name, params), "truthful": AgentSpec("truthful", {})},
    )
    episode(arena, seating, day_of_prices(1, ticks=3))
    assert seating.first_error == {}


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"planner": "best"}, PlanningError, "planner 'best': expected one of .*dynamic"),
        ({"planner": {"cells": 3}}, PlanningError, "name is None"),
        ({"forecaster": "oracle"}, ForecastError, "forecaster 'oracle': expected one of"),
        ({"climatologies": ["mars"]}, ConfigError, "climatology=mars: no such choice"),
        ({"climatologies": ["mars.yaml"]}, AgentError, "climatology 'mars.yaml' cannot be read"),
        ({"horizon": 0}, AgentError, "horizon is 0"),
        ({"replan": 1.5}, AgentError, "replan is 1.5"),
        ({"hold": -1.0}, AgentError, "hold is -1.0"),
        ({"hold": float("nan")}, AgentError, "hold is nan"),
    ],
)
def test_what_it_cannot_use_is_told_at_once(params: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MPC(**params)


def test_the_last_plan_can_be_looked_at(setup: MarketSetup) -> None:
    seat = SeatPlanner("ladder", "persistence", [], 36)
    arena = setup.arena(1)
    arena.start(setup.scenario(0, EPISODES[:1]))
    observation = observe(arena, 0, 0)
    seat.reset(observation.site, observation.market, 0)
    value, kappa = seat.worth(observation)
    assert kappa is not None
    assert seat.plan is not None
    assert seat.forecast is not None
    assert value == seat.plan.storage_value
    assert seat.plan.rung == "linear"
    assert (kappa >= seat.plan.commitment_value).all()


def test_a_climatology_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("energy: {weekday: [0.02], weekend: [0.02]}\npremium: {weekday: [0.0], weekend: [0.0]}\n", encoding="utf-8")
    assert load_climatologies([str(path)])[0].energy.tolist() == [[0.02], [0.02]]
    assert isinstance(MPC(climatologies=[str(path)]).storage, DayPlan)
    path.write_text("- nothing\n", encoding="utf-8")
    with pytest.raises(AgentError, match="expected a mapping"):
        MPC(climatologies=[str(path)])


@pytest.mark.parametrize("params", [{}, {"planner": "linear", "forecaster": "persistence", "horizon": 24}], ids=["batch", "seat"])
def test_it_can_take_over_in_the_midst_of_a_day(setup: MarketSetup, params: dict[str, Any]) -> None:
    arena = setup.arena(1)
    arena.start(setup.scenario(0, EPISODES[:1]))
    for _ in range(200):
        arena.step()
    agent, observation = MPC(**params), observe(arena, 0, 3)
    agent.reset(observation.site, observation.market, 0)
    bid = agent.bid(observation)
    assert bid.storage_value is not None
    assert 0.03 < bid.storage_value < 0.3  # five in the afternoon, scarcity at hand
