"""What every registered agent must do: a new one is tested because it is in the registry."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.registry import build_agent, find_agent, registered
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import AgentError
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome, observe
from gridpilot.market.physics import WON
from gridpilot.market.site import Battery, Cooling, MachineClass, Site

from .arenas import SITES, Local, day_of_prices, episode, seated

NAMES = sorted(registered())
EVERY = pytest.mark.parametrize("name", [name for name in NAMES if not find_agent(name).clairvoyant])
CLAIRVOYANT = pytest.mark.parametrize("name", [name for name in NAMES if find_agent(name).clairvoyant])


class OneByOne(Agent):
    """Plays a registered agent by its ``bid`` alone, whether or not it could play on arrays."""

    def __init__(self, name: str, through_pickle: bool = False) -> None:
        self.inner, self.through_pickle = build_agent(name), through_pickle

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.inner.reset(site, market, seed)

    def bid(self, observation: Observation) -> Bid:
        if self.through_pickle:
            self.inner = pickle.loads(pickle.dumps(self.inner))
        return self.inner.bid(observation)

    def learn(self, outcome: Outcome) -> None:
        self.inner.learn(outcome)


def full(name: str, markets: int = 2, sites: tuple[Site, ...] = SITES) -> list[list[str]]:
    return [[name] * len(sites)] * markets


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


def play(name: str, spec: AgentSpec | None = None, *, extreme: bool = False, root: int = 0) -> dict[str, np.ndarray]:
    arena, seating = seated(full(name), {name: spec or AgentSpec(name, {})})
    results = episode(arena, seating, day_of_prices(extreme=extreme), root)
    assert seating.first_error == {}
    return results


@EVERY
def test_is_an_agent_with_a_description(name: str) -> None:
    agent = build_agent(name)
    assert isinstance(agent, Agent)
    assert type(agent).__doc__
    assert type(agent).__name__ in __import__(type(agent).__module__, fromlist=["__all__"]).__all__


@EVERY
@pytest.mark.parametrize("extreme", [False, True], ids=["ordinary prices", "extreme prices"])
def test_bids_the_same_alone_and_in_a_batch_to_the_bit(name: str, extreme: bool) -> None:
    together = play(name, extreme=extreme)
    assert same(together, play(name, Local(lambda: OneByOne(name)), extreme=extreme))


@EVERY
def test_survives_pickling_in_the_middle_of_an_episode(name: str) -> None:
    assert same(play(name), play(name, Local(lambda: OneByOne(name, through_pickle=True))))
    assert type(pickle.loads(pickle.dumps(build_agent(name)))) is type(build_agent(name))
    copy.deepcopy(build_agent(name))


@EVERY
@pytest.mark.parametrize("alone", [False, True], ids=["batch", "alone"])
def test_a_reset_forgets_everything(name: str, alone: bool) -> None:
    spec = Local(lambda: OneByOne(name)) if alone else AgentSpec(name, {})
    arena, seating = seated(full(name), {name: spec})
    first = episode(arena, seating, day_of_prices())
    episode(arena, seating, day_of_prices(seed=9, ticks=17, extreme=True), root=1)
    assert same(first, episode(arena, seating, day_of_prices()))


@EVERY
def test_equal_seeds_give_equal_bids(name: str) -> None:
    assert same(play(name, root=3), play(name, root=3))


def test_the_random_agent_depends_on_its_seed() -> None:
    assert not same(play("zero_intelligence", root=3), play("zero_intelligence", root=4))


@EVERY
def test_does_not_depend_on_who_else_is_in_the_batch(name: str) -> None:
    two = play(name)
    arena, seating = seated(full(name, 1), {name: AgentSpec(name, {})})
    scenario = day_of_prices()
    first = scenario._replace(
        prices=scenario.prices[:, :1].copy(),
        ambient=scenario.ambient[:, :1].copy(),
        capacity=scenario.capacity[:, :1].copy(),
        start=scenario.start[:1],
    )
    one = episode(arena, seating, first)
    assert all(one[key][:, 0].tobytes() == two[key][:, 0].tobytes() for key in one)


@EVERY
def test_never_gets_more_than_its_connection(name: str) -> None:
    for extreme in (False, True):
        won = play(name, extreme=extreme)["outcome"][..., WON]
        assert (won <= np.array([site.grid_kw for site in SITES]) + 1e-9).all()


def odd_plants() -> list[Site]:
    machines = MachineClass("machines", "hash", 3.5, 100, 0.2)
    return [
        Site("nothing at all", (), grid_kw=0.0, battery=Battery(), cooling=Cooling(max_kw=0.0)),
        Site("no machines", (), battery=Battery(500.0, 2000.0)),
        Site("no units", (MachineClass("none", "token", 1.0, 0, 1.0),), battery=Battery(500.0, 2000.0)),
        Site("no connection", (machines,), grid_kw=0.0, battery=Battery(500.0, 2000.0)),
        Site("no battery", (machines,), battery=Battery()),
        Site("battery of power only", (machines,), battery=Battery(500.0, 0.0)),
        Site("a battery stuck full", (machines,), battery=Battery(500.0, 2000.0, soc_min=0.5, soc_max=0.5, soc_start=0.5)),
        Site("no ramp", (machines,), ramp_up_kw=0.0, boot_loss=1.0),
        Site("no cooling", (machines,), cooling=Cooling(max_kw=0.0, loss_kw_per_c=0.0)),
        Site(
            "giant", (MachineClass("giant", "hash", 1000.0, 10**6, 50.0),), grid_kw=1e9, ramp_up_kw=1e9, battery=Battery(1e9, 1e9)
        ),
    ]


@EVERY
@pytest.mark.parametrize("site", odd_plants(), ids=lambda site: site.name)
def test_survives_odd_plants_and_extreme_prices(name: str, site: Site) -> None:
    sites = (site, *SITES[:2])
    results = []
    for spec in (AgentSpec(name, {}), Local(lambda: OneByOne(name))):
        arena, seating = seated(full(name, 2, sites), {name: spec}, sites)
        results.append(episode(arena, seating, day_of_prices(ticks=40, extreme=True)))
        assert seating.first_error == {}
        assert not arena.refused.any()
    assert same(*results)
    assert all(np.isfinite(array).all() for key, array in results[0].items() if key != "totals")


@EVERY
@pytest.mark.parametrize("history", [0, 1])
def test_needs_no_history(name: str, history: int) -> None:
    results = []
    for spec in (AgentSpec(name, {}), Local(lambda: OneByOne(name))):
        arena, seating = seated(full(name), {name: spec})
        results.append(episode(arena, seating, day_of_prices(ticks=10, history=history)))
        assert seating.first_error == {}
    assert same(*results)


@EVERY
def test_bids_are_bids_and_the_observation_is_left_alone(name: str) -> None:
    arena, _ = seated(full(name, 1), {name: AgentSpec(name, {})})
    arena.start(day_of_prices(1))
    agent = build_agent(name)
    for seat, site in enumerate(SITES):
        observation = observe(arena, 0, seat)
        before = seen(observation)
        agent.reset(site, observation.market, 7)
        bid = agent.bid(observation)
        agent.learn(Outcome(0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.1, 1.0))
        assert isinstance(bid, Bid)
        assert bid.blocks[:, 0].sum() <= site.grid_kw * (1 + 1e-12)
        assert seen(observation) == before


def seen(observation: Observation) -> list[bytes]:
    return [pickle.dumps(getattr(observation, field.name)) for field in dataclasses.fields(observation)]


@EVERY
def test_writes_to_its_own_seats_only(name: str) -> None:
    agent = build_agent(name)
    if not isinstance(agent, BatchAgent):
        return
    labels = [["", name, "", name, ""], ["", "", name, "", ""]]
    arena, seating = seated(labels, {name: AgentSpec(name, {})})
    mine = np.array(labels) == name
    marks: dict[str, Any] = {"kind": 3, "storage_value": 0.123, "commitment": 0.0625, "shade": -0.25}

    def mark() -> None:
        for key, value in marks.items():
            assert (getattr(arena.orders, key)[~mine] == value).all(), key

    for key, value in marks.items():
        getattr(arena.orders, key)[~mine] = value
    episode(arena, seating, day_of_prices(), each_tick=mark)
    assert math.isclose(arena.outcome[~mine][:, WON].sum(), 0.0)


@CLAIRVOYANT
def test_who_knows_the_future_plays_on_arrays_only(name: str) -> None:
    agent = build_agent(name)
    assert isinstance(agent, BatchAgent)
    assert same(play(name), play(name))
    play(name, extreme=True)
    arena, _ = seated(full(name, 1), {name: AgentSpec(name, {})})
    arena.start(day_of_prices(1))
    with pytest.raises(AgentError, match="future"):
        agent.bid(observe(arena, 0, 0))


@CLAIRVOYANT
@pytest.mark.parametrize("site", odd_plants(), ids=lambda site: site.name)
def test_who_knows_the_future_survives_odd_plants(name: str, site: Site) -> None:
    sites = (site, *SITES[:2])
    arena, seating = seated(full(name, 2, sites), {name: AgentSpec(name, {})}, sites)
    results = episode(arena, seating, day_of_prices(ticks=40, extreme=True))
    assert seating.first_error == {}
    assert not arena.refused.any()
    assert np.isfinite(results["outcome"]).all()
