"""Nobody peeks and nobody reaches into others: what an agent is handed holds its own seats, the public past, and its own orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.base import Agent, BatchAgent
from gridpilot.agents.bidder import Bidder
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.agents.view import READABLE, View
from gridpilot.errors import AgentError
from gridpilot.market.arena import Arena, Scenario
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation
from gridpilot.market.physics import WON
from gridpilot.market.step import NO_BID

from .arenas import SITES, Local, day_of_prices, episode, seated
from .reach import arrays_within_reach

TICKS, OWN = 12, 1  # length of the episodes, the seat of the agent in question
LABELS = ["threshold", "own", "mpc", "zero_intelligence", "truthful"]
RIVALS = {name: AgentSpec(name, {}) for name in ("threshold", "mpc", "zero_intelligence", "truthful")}


class OnArrays(BatchAgent):
    """Calls a function of its view every tick."""

    kind: Any

    def __init__(self, look: Callable[[OnArrays, View], None], reset: Callable[[OnArrays, View], None] | None = None) -> None:
        self.look, self.look_first = look, reset

    def bid(self, observation: Observation) -> Bid:
        raise AssertionError("is asked on arrays")

    def reset_batch(self, view: View) -> None:
        if self.look_first is not None:
            self.look_first(self, view)

    def bid_batch(self, view: View) -> None:
        self.look(self, view)


class Alone(Agent):
    """Calls a function of its observation every tick."""

    def __init__(self, look: Callable[[Alone, Observation], None]) -> None:
        self.look = look

    def bid(self, observation: Observation) -> Bid:
        self.look(self, observation)
        return observation.truthful_bid()


def seats(build: Callable[[], Agent], markets: int = 2) -> tuple[Arena, Seating]:
    return seated([LABELS] * markets, {**RIVALS, "own": Local(build)})


def told_apart(scenario: Scenario) -> Scenario:
    """With a value of its own in every row of every series, so that it is known wherever it turns up."""
    rows = np.arange(len(scenario.prices))
    return scenario._replace(
        prices=scenario.prices + (rows * 2.0**-30)[:, None, None],
        ambient=20.0 + (rows * 2.0**-10)[:, None] + np.zeros_like(scenario.ambient),
        capacity=0.5 + (rows * 2.0**-15)[:, None] + np.zeros_like(scenario.capacity),
    )


class Search:
    """Looks for what must not be there in every array within reach of an agent."""

    def __init__(self) -> None:
        self.arena: Arena | None = None
        self.found: set[str] = set()
        self.arrays = 0

    def __call__(self, agent: Agent, shown: Any) -> None:
        arena = self.arena
        assert arena is not None
        agent.__dict__.pop("search", None)
        hidden = self._hidden(arena)
        within = [array for array in arrays_within_reach(*vars(shown).values(), type(shown)) if array.dtype.kind == "f"]
        self.arrays += len(within)
        for name, values in hidden.items():
            if any(np.isin(values, array).any() for array in within):
                self.found.add(f"{name} at tick {arena.tick}")

    @staticmethod
    def _hidden(arena: Arena) -> dict[str, np.ndarray]:
        scenario, rivals = arena.scenario, np.arange(arena.n_sites) != OWN
        later = scenario.history + arena.tick + 1
        hidden = {
            "future prices": scenario.prices[later:], "future weather": scenario.ambient[later:],
            "future capacity": scenario.capacity[later:], "rivals' discounts": arena.orders.shade[:, rivals],
            "rivals' storage values": arena.orders.storage_value[:, rivals],
            "rivals' charge": arena.storage[:, rivals, 0], "rivals' machines": arena.machine_kw[:, rivals],
            "rivals' results": arena.outcome[:, rivals],
        }  # fmt: skip
        own = (arena.storage[:, OWN], arena.machine_kw[:, OWN], arena.outcome[:, OWN])
        plants = [arena.arrays.class_kw, *(arena.arrays.plant[name] for name in ("soc_start", "soc_min", "soc_max", "ramp_kw"))]
        usual = {0.0}.union(*(array.ravel().tolist() for array in (*own, *plants)))  # what a rival may have in common with it
        published = arena.published_bids()  # without names, a tick later
        if published is not None:
            usual.update(published.ravel().tolist())
        return {
            name: np.array([x for x in np.unique(values) if np.isfinite(x) and x not in usual]) for name, values in hidden.items()
        }


@pytest.mark.parametrize("on_arrays", [True, False], ids=["on arrays", "alone"])
def test_no_array_within_reach_holds_the_future_or_what_is_the_rivals(on_arrays: bool) -> None:
    search = Search()
    arena, seating = seats(lambda: OnArrays(search, search) if on_arrays else Alone(search))
    search.arena = arena
    results = episode(arena, seating, told_apart(day_of_prices(2, TICKS)))
    assert seating.first_error == {}
    assert search.arrays > TICKS * 5
    assert search.found == set()
    assert results["outcome"][..., WON].max() > 0.0


def test_the_search_finds_what_is_there() -> None:
    # A clairvoyant agent is handed the scenario, and a leak of the rivals is planted: both are noticed.
    search = Search()

    class Clairvoyant(OnArrays):
        clairvoyant = True

    arena, seating = seats(lambda: Clairvoyant(search))
    search.arena = arena
    episode(arena, seating, told_apart(day_of_prices(2, TICKS)))
    assert {f"future {what} at tick 0" for what in ("prices", "weather", "capacity")} <= search.found

    leak = Search()

    def with_leak(agent: OnArrays, view: View) -> None:
        view.__dict__["leak"] = arena.storage[0, :1].base
        leak(agent, view)

    arena, seating = seats(lambda: OnArrays(with_leak))
    leak.arena = arena
    episode(arena, seating, told_apart(day_of_prices(2, TICKS)))
    assert any(found.startswith("rivals' charge") for found in leak.found)


def test_only_a_class_is_clairvoyant() -> None:
    shown: list[type] = []
    agent = OnArrays(lambda self, view: shown.append(type(view)))
    agent.__dict__["clairvoyant"] = True  # no instance can make itself one
    arena, seating = seats(lambda: agent)
    episode(arena, seating, day_of_prices(2, TICKS))
    assert set(shown) == {View}
    with pytest.raises(AgentError, match="its storage rule is clairvoyant"):
        Bidder(storage="gridpilot.agents.storage.perfect_plan.PerfectPlan")


# --- sabotage -----------------------------------------------------------------------------------------------------------------


def overwrite(agent: Agent, view: View) -> None:
    for array in arrays_within_reach(*vars(view).values()):
        try:
            array.setflags(write=True)
        except ValueError:
            continue
        if array.dtype.kind in "fiu":
            array[...] = NO_BID


def reshape(agent: Agent, view: View) -> None:
    for array in (*view.orders, view.storage, view.history, view.prices, view.market, view.plant):
        array.shape = (array.size,)


def replace(agent: Agent, view: View) -> None:
    for name in (*READABLE, "market", "plant", "orders", "tick"):
        setattr(view, name, None)


def rearrange(agent: Agent, view: View) -> None:
    view.market[:], view.plant[:], view.tick = 0, 0, 10**6
    for name in ("capacity_kw", "supply", "mechanism"):
        object.__setattr__(view.rules, name, 0.0)


SABOTAGE = [overwrite, reshape, replace, rearrange]


def played(build: Callable[[], Agent]) -> dict[str, np.ndarray]:
    arena, seating = seats(build)
    return episode(arena, seating, day_of_prices(2, TICKS))


def silent(agent: Agent, view: View) -> None:
    view.orders.kind[:] = NO_BID


@pytest.mark.parametrize("sabotage", SABOTAGE)
@pytest.mark.parametrize("when", ["bid", "reset"])
def test_sabotage_harms_nobody_else(sabotage: Callable[[Agent, View], None], when: str) -> None:
    def at_first(agent: OnArrays, view: View) -> None:
        agent.kind = view.orders.kind.base  # its own still, whatever it does to the view
        if when == "reset":
            sabotage(agent, view)

    def every_tick(agent: OnArrays, view: View) -> None:
        if when == "bid":
            sabotage(agent, view)
        agent.kind[...] = NO_BID

    attacked, expected = played(lambda: OnArrays(every_tick, at_first)), played(lambda: OnArrays(silent))
    for name, array in expected.items():
        if name == "outcome":
            assert np.delete(attacked[name], OWN, axis=2).tobytes() == np.delete(array, OWN, axis=2).tobytes()
        elif name in ("totals", "last_price"):
            assert attacked[name].tobytes() == array.tobytes()


def test_the_rivals_orders_are_not_to_be_had() -> None:
    # Ten lines that won the tournament once: bid nothing in the name of all others.
    def silence_all(agent: OnArrays, view: View) -> None:
        view.orders.kind[:] = 0
        view.orders.kind.base[...] = 0
        wide: np.ndarray = np.lib.stride_tricks.as_strided(view.orders.kind, (len(view.orders.kind),))
        wide[...] = 0

    arena, seating = seats(lambda: OnArrays(silence_all))
    seen: list[np.ndarray] = []
    episode(arena, seating, day_of_prices(2, TICKS), each_tick=lambda: seen.append(arena.orders.kind.copy()))
    assert all((kind != NO_BID).all() for kind in seen)


def test_what_an_observation_shows_is_the_agents_own() -> None:
    def tamper(agent: Alone, observation: Observation) -> None:
        object.__setattr__(observation.site, "fleet", ())
        object.__setattr__(observation.site, "grid_kw", 1e9)
        object.__setattr__(observation.site.battery, "power_kw", 1e9)
        for name in ("capacity_kw", "supply", "mechanism"):
            object.__setattr__(observation.market.rules, name, 0.0)
        observation.history[:] = observation.cleared[:] = observation.state.machine_kw[:] = math.nan

    class Tampers(Alone):
        def bid(self, observation: Observation) -> Bid:
            self.look(self, observation)
            return Bid([])

    arena, seating = seated([["own", "threshold", "own", "truthful", "mpc"]] * 2, {**RIVALS, "own": Local(lambda: Tampers(tamper))})
    attacked = episode(arena, seating, day_of_prices(2, TICKS))
    arena, seating = seated(
        [["own", "threshold", "own", "truthful", "mpc"]] * 2, {**RIVALS, "own": Local(lambda: Tampers(lambda *_: None))}
    )
    expected = episode(arena, seating, day_of_prices(2, TICKS))
    assert all(attacked[name].tobytes() == expected[name].tobytes() for name in expected)


# --- what is declared -----------------------------------------------------------------------------------------------------------


def test_only_what_is_declared_is_filled_and_taken_in() -> None:
    class Declares(OnArrays):
        reads, writes = ("soc",), ("shade",)

    with pytest.raises(AgentError, match="its reads names 'soc', expected some of history, cleared"):
        seats(lambda: Declares(silent))

    class Narrow(OnArrays):
        reads, writes = ("storage",), ("storage_value",)

    def look(agent: OnArrays, view: View) -> None:
        assert view.soc.shape == view.theta.shape == (2,)
        view.orders.storage_value[:] = 0.25
        view.orders.kind[:] = NO_BID  # not declared, and so not taken in after the reset
        with pytest.raises(AgentError, match="'prices' is not filled, as the agent's reads does not name it"):
            _ = view.prices
        with pytest.raises(AttributeError, match="has no 'arena'"):
            _ = view.arena

    arena, seating = seats(lambda: Narrow(look))
    episode(arena, seating, day_of_prices(2, TICKS))
    assert seating.first_error == {}
    assert (arena.orders.kind[:, OWN] == 0).all()
    assert (arena.orders.storage_value[:, OWN] == 0.25).all()


def test_a_view_shows_what_an_observation_shows() -> None:
    observed: list[Observation] = []
    labels = [["", "", "own", "both", ""], ["own", "", "both", "", ""], ["", "", "", "", "own"]]
    seen: list[dict[str, np.ndarray]] = []

    def keep(agent: OnArrays, view: View) -> None:
        seen.append(
            {name: np.array(getattr(view, name)) for name in (*READABLE, "market", "plant")} | {"tick": np.array(view.tick)}
        )

    arena, seating = seated(
        labels, {"own": Local(lambda: OnArrays(keep)), "both": Local(lambda: Alone(lambda self, o: observed.append(o)))}
    )
    episode(arena, seating, day_of_prices(3, TICKS))
    assert seating.first_error == {}
    for tick in range(TICKS):
        view = seen[tick]
        assert view["tick"] == tick
        for market, observation in enumerate(observed[2 * tick : 2 * tick + 2]):
            assert view["history"][:, market].tobytes() == observation.history.tobytes()
            assert view["cleared"][:, market].tobytes() == observation.cleared.tobytes()
            assert view["prices"][market].tolist() == observation.prices.tolist()
            assert view["ambient_c"][market] == observation.ambient_c
            assert view["capacity"][market] * 3000.0 == observation.capacity_kw
            assert view["week_tick"][market] == observation.week_tick
            assert view["last_price"][market] == observation.last_price
            assert view["levels"][market].tolist() == observation.levels.tolist()
    assert seen[0]["market"].tolist() == [0, 1, 2]
    assert seen[0]["plant"].tolist() == [1, 0, 2]
    assert seen[-1]["storage"].shape == (3, 2)
    assert not seen[-1]["refused"].any()


def test_blocks_can_be_stated_on_arrays() -> None:
    class States(OnArrays):
        stated_blocks = 2

    def state(agent: OnArrays, view: View) -> None:
        view.orders.kind[:] = 2
        view.orders.blocks[:] = [(10.0, 5.0), (20.0, 4.0)]

    arena, seating = seats(lambda: States(state))
    episode(arena, seating, day_of_prices(2, TICKS))
    assert seating.first_error == {}
    assert arena.orders.blocks.shape[2] == 2
    assert (arena.outcome[:, OWN, WON] == 30.0).all()
    agents = {"many": Local(lambda: Alone(lambda *_: None)), "own": Local(lambda: States(state))}
    arena, seating = seated([["many", "own", "", "", ""]], agents)
    episode(arena, seating, day_of_prices(1, TICKS))
    assert (arena.orders.blocks[:, OWN, 2:] == 0.0).all()
    assert (arena.outcome[:, OWN, WON] == 30.0).all()


@pytest.mark.parametrize("storage", ["none", "threshold", "mpc", "mpc_cvar", {"name": "planner", "horizon": 12}])
def test_every_storage_rule_goes_with_every_bidding_rule(storage: Any) -> None:
    for bidding in ("truthful", {"name": "zero_intelligence", "max_shade": 0.5}):
        results = []
        for on_arrays in (True, False):

            def build(on_arrays: bool = on_arrays, bidding: Any = bidding) -> Agent:
                agent = Bidder(storage, bidding)
                agent.on_arrays = agent.on_arrays and on_arrays
                return agent

            arena, seating = seated([["own"] * len(SITES)], {"own": Local(build)})
            results.append(episode(arena, seating, day_of_prices(1, 8)))
            assert seating.first_error == {}
        assert all(results[0][name].tobytes() == results[1][name].tobytes() for name in results[0])


@pytest.mark.parametrize(
    ("storage", "bidding", "message"),
    [
        ("hoard", "truthful", "storage 'hoard': expected one of mpc, mpc_cvar, none"),
        ("none", "lie", "bidding 'lie': expected one of best_response, demand_function, nash"),
        ({"low": 0.5}, "truthful", "storage {'low': 0.5}: name is None, expected one of mpc"),
        ({"name": "threshold", "lo": 0.5}, "truthful", "storage 'threshold': .*lo.*; Quantiles takes low, high, gain"),
        ("none", {"name": "zero_intelligence", "max_shade": 2}, "max_shade is 2"),
    ],
)
def test_rules_that_do_not_exist_get_one_error(storage: Any, bidding: Any, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        Bidder(storage, bidding)
