"""The portfolio bidder: what it is for, its allotments, its storage values, and bad observations."""

from __future__ import annotations

import dataclasses
import math
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.portfolio import LINES, STORED, Portfolio
from gridpilot.agents.registry import build_agent
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.errors import AgentError
from gridpilot.market.observation import Observation, observe
from gridpilot.market.physics import CHARGED, DISCHARGED, PROFIT
from gridpilot.market.plant import SiteState
from gridpilot.market.site import Battery, MachineClass, Site
from gridpilot.risk.allocation import METHODS
from gridpilot.setup import load_setup

from .arenas import SITES, Local, day_of_prices, episode, seated

METHOD = pytest.mark.parametrize("method", METHODS)


def observed(seat: int = 1, history: int = 300, site: Site | None = None, **changes: Any) -> Observation:
    """The first tick of a day at one of the sites, or at ``site``."""
    sites = SITES if site is None else (site,) * len(SITES)
    arena, _ = seated([["truthful"] * len(sites)], {"truthful": AgentSpec("truthful", {})}, sites)
    arena.start(day_of_prices(1, history=history, ticks=300))
    return dataclasses.replace(observe(arena, 0, seat), **changes)


def started(observation: Observation, seed: int = 3, **parameters: Any) -> Portfolio:
    agent = Portfolio(**parameters)
    agent.reset(observation.site, observation.market, seed)
    return agent


def alone(spec: AgentSpec, episodes: int) -> tuple[float, float]:
    """Profit of an agent playing each seat of the default market alone among truthful ones, and theirs in its place."""
    setup = load_setup()
    n = len(setup.sites)
    numbers, seats = np.repeat(np.arange(episodes), n), np.tile(np.arange(n), episodes)
    profits = []
    for label in ("agent", "truthful"):
        arena = setup.arena(len(numbers))
        labels = [["truthful"] * n for _ in numbers]
        for b, seat in enumerate(seats):
            labels[b][seat] = label
        seating = Seating(arena, {"agent": spec, "truthful": AgentSpec("truthful", {})}, labels)
        arena.start(setup.scenario(0, numbers))
        seating.reset(0, numbers)
        profit = 0.0
        while not arena.done:
            seating.bid()
            arena.step()
            seating.learn()
            profit += float(arena.outcome[np.arange(len(numbers)), seats, PROFIT].sum())
        assert seating.first_error == {}
        profits.append(profit)
    return profits[0], profits[1]


def test_earns_more_than_truthful_on_the_default_market() -> None:
    mine, truthful = alone(AgentSpec("portfolio", {}), 2)
    assert mine > 1.01 * truthful


@pytest.mark.slow
@METHOD
def test_every_method_earns_more_than_truthful_on_the_default_market(method: str) -> None:
    if method == "hierarchical":
        pytest.importorskip("skfolio")
    mine, truthful = alone(AgentSpec("portfolio", {"method": method}), 6)
    assert mine > 1.02 * truthful


@METHOD
def test_every_method_plays_deterministically_and_can_be_pickled(method: str) -> None:
    if method == "hierarchical":
        pytest.importorskip("skfolio")

    class Pickled(Portfolio):
        def bid(self, observation: Observation) -> Any:
            self.__dict__ = pickle.loads(pickle.dumps(self.__dict__))
            return super().bid(observation)

    results = []
    for kind in (Portfolio, Portfolio, Pickled):
        arena, seating = seated([["p"] * 5], {"p": Local(lambda kind=kind: kind(method=method, refresh=10))})
        results.append(episode(arena, seating, day_of_prices(1, ticks=40, history=300)))
        assert seating.first_error == {}
    for name, array in results[0].items():
        assert array.tobytes() == results[1][name].tobytes() == results[2][name].tobytes()


@METHOD
def test_allotments_keep_to_caps_and_connection(method: str) -> None:
    if method == "hierarchical":
        pytest.importorskip("skfolio")
    for seat, site in enumerate(SITES):
        observation = observed(seat)
        agent = started(observation, method=method)
        bid = agent.bid(observation)
        assert agent.notes == ()
        if agent.allotted_kw is not None:
            assert agent.allotted_kw.shape == (len(LINES),)
            assert (agent.allotted_kw >= 0.0).all()
            assert agent.allotted_kw.sum() <= site.grid_kw * (1 + 1e-9)
            assert agent.allotted_kw[STORED] <= site.battery.power_kw
            assert bid.blocks[:, 0].sum() <= agent.allotted_kw.sum() * (1 + 1e-9) or (
                bid.blocks[:, 0] @ (bid.blocks[:, 1] >= observation.last_price) < agent.allotted_kw.sum()
            )


def full_speed(observation: Observation) -> SiteState:
    return SiteState(200.0, 30.0, np.array([machines.capacity_kw for machines in observation.site.fleet]))


def competing() -> Observation:
    """A site whose machines and battery want more than its connection, with all machines running."""
    machines = (MachineClass("air", "hash", 3.5, 100, 0.2), MachineClass("gpu", "token", 10.0, 30, 1.2))
    observation = observed(0, site=Site("tight", machines, grid_kw=600.0, battery=Battery(400.0, 1600.0)))
    return dataclasses.replace(observation, state=full_speed(observation))


@pytest.mark.parametrize(
    ("allotted", "most"),
    [
        ([200.0, 100.0, 100.0], (200.0, 100.0, 100.0)),  # idle power stays idle
        ([300.0, 300.0, 0.0], (300.0, 300.0, 0.0)),
        ([0.0, 300.0, 300.0], (0.0, 300.0, 300.0)),
        ([500.0, 0.0, 100.0], (500.0, 0.0, 199.0)),  # what hash cannot use is free for the others
    ],
)
def test_lines_that_compete_are_held_to_their_allotments(allotted: list[float], most: tuple[float, float, float]) -> None:
    observation = competing()
    agent = started(observation)
    agent.bid(observation)
    agent.allotted_kw = np.array(allotted)
    agent._worth[:] = 0.5  # a stored kWh is worth more than anything a machine earns
    later = dataclasses.replace(observation, tick=1)
    bid = agent.bid(later)
    assert bid.storage_value == 0.5
    charging = bid.blocks[:, 1] == observation.site.battery.charge_efficiency * 0.5 - observation.site.battery.wear_cost
    charge = bid.blocks[charging, 0].sum()
    assert bid.blocks[:, 0].sum() <= sum(allotted) * (1 + 1e-12)
    assert charge <= most[2] + 1.0
    truthful = later.truthful_bid(0.5)
    assert truthful.blocks[:, 0].sum() > sum(allotted) - 1e-9
    assert charge >= 0.9 * most[2]


def test_lines_that_do_not_compete_are_left_alone() -> None:
    observation = competing()
    agent = started(observation)
    agent.bid(observation)
    agent.allotted_kw = np.array([100.0, 100.0, 400.0])
    agent._worth[:] = -1.0  # charging is worth nothing: what is allotted to it is free
    dear = observation.history.copy()
    dear[-1, 0] = 10.0  # no block can win at this energy price
    later = dataclasses.replace(observation, tick=1, history=dear)
    np.testing.assert_array_equal(agent.bid(later).blocks, later.truthful_bid(-1.0).blocks)


def square(hours: int = 12, ticks: int = 288 * 2) -> np.ndarray:
    """Half the day power costs 0.01, half of it 0.05."""
    return np.where(np.arange(ticks) % 288 < 12 * hours, 0.01, 0.05)


def test_a_stored_kwh_is_worth_the_best_ticks_to_come() -> None:
    observation = observed(0)
    history = np.column_stack([square(), np.full((576, 2), 2.0)])
    observation = dataclasses.replace(observation, history=history, cleared=np.zeros((0, 2)))
    agent = started(observation)
    agent.bid(observation)
    battery = observation.site.battery
    expected = battery.discharge_efficiency * (0.05 - battery.wear_cost)
    np.testing.assert_allclose(agent._worth, expected, rtol=0.05)  # half a day is enough to sell all of it dear
    assert (np.diff(agent._worth) <= 1e-12).all()
    end = dataclasses.replace(observation, tick=observation.market.ticks - 1 - (observation.market.ticks - 1) % 12)
    agent.bid(dataclasses.replace(end, market=dataclasses.replace(end.market, ticks=end.tick + 1)))
    # Nothing comes after the last tick: what is left is counted at the mean energy price.
    np.testing.assert_allclose(agent._worth, battery.discharge_efficiency * end.default_storage_value)


def test_what_machines_earn_limits_what_a_stored_kwh_is_worth() -> None:
    observation = observed(0)
    history = np.column_stack([np.full(576, 3.0), np.full((576, 2), 2.0)])  # power at 3 $/kWh, which no machine earns
    agent = started(dataclasses.replace(observation, history=history))
    agent.bid(dataclasses.replace(observation, history=history))
    assert agent._worth.max() < 2.0 * 0.2 / 3.5
    assert agent._worth.min() > 0.5 * 2.0 * 0.2 / 3.5


def test_scarcity_makes_storing_worth_more() -> None:
    observation = observed(0)
    worth = []
    for premium in (0.0, 0.04):
        cleared = np.column_stack([observation.history[-25:-1, 0] + premium, np.full(24, 1000.0)])
        later = dataclasses.replace(observation, tick=24, cleared=cleared)
        agent = started(later)
        agent.bid(later)
        worth.append(agent._worth[0])
    assert worth[1] > worth[0] + 0.005


def test_charges_low_and_discharges_high() -> None:
    arena, seating = seated([["p", "truthful", "truthful", "truthful", "truthful"]], {"p": AgentSpec("portfolio", {}),
                            "truthful": AgentSpec("truthful", {})})  # fmt: skip
    scenario = day_of_prices(1, ticks=288, history=576)
    energy = np.where(np.arange(864) % 288 < 144, 0.01, 0.09)
    scenario.prices[:, 0, 0] = energy
    scenario.capacity[:] = 1.0
    outcome = episode(arena, seating, scenario)["outcome"][:, 0, 0]
    low = energy[576:] < 0.05
    assert outcome[low, CHARGED].sum() > 20.0 * outcome[~low, CHARGED].sum()
    assert outcome[~low, DISCHARGED].sum() > 20.0 * outcome[low, DISCHARGED].sum()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_survives_observations_that_are_not_finite(value: float) -> None:
    observation = observed(1)
    for rows in (slice(0, 5), slice(100, 110), slice(0, -1), slice(-2, -1)):
        history = observation.history.copy()
        history[rows] = value
        broken = dataclasses.replace(observation, history=history)
        bid = started(broken).bid(broken)
        assert np.isfinite(bid.blocks).all()
        assert bid.storage_value is None or math.isfinite(bid.storage_value)
    history = observation.history.copy()
    history[-1, 1] = value
    assert len(started(observation).bid(dataclasses.replace(observation, history=history)).blocks) == 0
    cleared = np.full((12, 2), value)
    broken = dataclasses.replace(observation, tick=12, cleared=cleared)
    assert math.isfinite(started(broken).bid(broken).storage_value or 0.0)


def test_an_allocation_that_fails_is_noted_and_the_last_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from gridpilot.risk import budgeting

    observation = competing()
    agent = started(observation)
    agent.bid(observation)
    before = agent.allotted_kw
    assert before is not None
    monkeypatch.setattr(budgeting, "ATTEMPTS", ())
    later = dataclasses.replace(observation, tick=36)
    assert len(agent.bid(later).blocks)
    assert len(agent.notes) == 1
    assert agent.notes[0].startswith("tick 36: risk_parity")
    np.testing.assert_array_equal(agent.allotted_kw, before)


def test_hierarchical_needs_skfolio_at_construction_and_no_other_method_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "skfolio" or name.startswith("skfolio.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skfolio", None)
    with pytest.raises(ImportError, match=r"\[forecast\]"):
        Portfolio("hierarchical")
    observation = observed(1)
    for method in ("risk_parity", "mean_variance", "min_cvar"):
        assert len(started(observation, method=method).bid(observation).blocks)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "greedy"}, "method is 'greedy'"),
        ({"risk_aversion": -1.0}, "risk_aversion is -1.0"),
        ({"risk_aversion": math.nan}, "risk_aversion is nan"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"refresh": 0}, "refresh is 0"),
        ({"refresh": 1.5}, "refresh is 1.5"),
        ({"scenarios": 1}, "scenarios is 1"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        build_agent("portfolio", params)
