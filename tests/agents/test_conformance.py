"""What every registered agent must do: a new one is tested because it is in the registry.

The laws are those of ``gridpilot check``; what follows them here is stricter, or concerns only the project's own agents.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.registry import build_agent, find_agent, registered
from gridpilot.agents.seating import AgentSpec
from gridpilot.audit.ask import audit
from gridpilot.audit.verdict import LAWS, Audit
from gridpilot.audit.worlds import ODD_SITES
from gridpilot.errors import AgentError
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome, observe
from gridpilot.market.physics import WON
from gridpilot.market.site import Site

from .arenas import SITES, Local, day_of_prices, episode, seated

NAMES = sorted(registered())
EVERY = pytest.mark.parametrize("name", [name for name in NAMES if not find_agent(name).clairvoyant])
CLAIRVOYANT = pytest.mark.parametrize("name", [name for name in NAMES if find_agent(name).clairvoyant])


class OneByOne(Agent):
    """Plays a registered agent by its ``bid`` alone, whether or not it could play on arrays."""

    def __init__(self, name: str) -> None:
        self.inner = build_agent(name)

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.inner.reset(site, market, seed)

    def bid(self, observation: Observation) -> Bid:
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


AUDITED = (
    "truthful",
    "zero_intelligence",
    "mpc",
    "best_response",
    "learned",
    "foresight",
)  # one of each kind; the others when there is time


def audited(names: Sequence[str]) -> dict[str, Audit]:
    # How fast the machine is that the tests run on is not judged here.
    return {result.target: result for result in audit([(name, {}) for name in names], deadline=60.0)}


@pytest.fixture(scope="module")
def audits() -> dict[str, Audit]:
    return audited(AUDITED)


@pytest.mark.timeout(1500)  # of which the first of them takes nearly all
@pytest.mark.parametrize("law", list(LAWS))
@pytest.mark.parametrize("name", AUDITED)
def test_passes_the_audit(audits: dict[str, Audit], name: str, law: str) -> None:
    keeps_the_law(audits[name], name, law)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_all_others_pass_the_audit() -> None:
    for name, found in audited([name for name in NAMES if name not in AUDITED]).items():
        for law in LAWS:
            keeps_the_law(found, name, law)


def keeps_the_law(found: Audit, name: str, law: str) -> None:
    verdict = next(verdict for verdict in found.verdicts if verdict.check == law)
    agent = build_agent(name)
    on_arrays = isinstance(agent, BatchAgent) and agent.on_arrays
    spared = {"future", "rivals", "arrays", "pickle"} if agent.clairvoyant else set() if on_arrays else {"arrays"}
    assert verdict.outcome == ("does not apply" if law in spared else "passed"), verdict.found


def test_the_random_agent_depends_on_its_seed() -> None:
    assert not same(play("zero_intelligence", root=3), play("zero_intelligence", root=4))


@EVERY
def test_never_gets_more_than_its_connection(name: str) -> None:
    for extreme in (False, True):
        won = play(name, extreme=extreme)["outcome"][..., WON]
        assert (won <= np.array([site.grid_kw for site in SITES]) + 1e-9).all()


@EVERY
@pytest.mark.parametrize("site", ODD_SITES, ids=lambda site: site.name)
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
def test_needs_no_more_than_a_tick_of_history(name: str) -> None:
    results = []
    for spec in (AgentSpec(name, {}), Local(lambda: OneByOne(name))):
        arena, seating = seated(full(name), {name: spec})
        results.append(episode(arena, seating, day_of_prices(ticks=10, history=1)))
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
    with pytest.raises(AgentError, match="in simulated markets, through reset_batch and bid_batch"):
        agent.bid(observe(arena, 0, 0))


@CLAIRVOYANT
@pytest.mark.parametrize("site", ODD_SITES, ids=lambda site: site.name)
def test_who_knows_the_future_survives_odd_plants(name: str, site: Site) -> None:
    sites = (site, *SITES[:2])
    arena, seating = seated(full(name, 2, sites), {name: AgentSpec(name, {})}, sites)
    results = episode(arena, seating, day_of_prices(ticks=40, extreme=True))
    assert seating.first_error == {}
    assert not arena.refused.any()
    assert np.isfinite(results["outcome"]).all()
