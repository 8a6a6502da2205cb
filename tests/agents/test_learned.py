from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gridpilot.agents.base import Agent
from gridpilot.agents.encoding import READS, decode, decode_seats, encode, encode_seats
from gridpilot.agents.learned import Learned
from gridpilot.agents.registry import build_agent
from gridpilot.agents.seating import AgentSpec
from gridpilot.agents.view import Window
from gridpilot.errors import AgentError, BidError
from gridpilot.market.action import storage_entry, storage_value_of
from gridpilot.market.bids import Bid
from gridpilot.market.encoding import SIZE, fields, n_fields
from gridpilot.market.observation import MarketInfo, Observation, observe
from gridpilot.market.site import MachineClass, Site
from gridpilot.policies import save_policy
from tests.policies.made_up import made_up

from .arenas import SITES, Local, day_of_prices, episode, seated

SEATS = [(0, 1), (0, 3), (1, 0), (1, 1), (1, 2), (3, 4)]  # of markets 0 to 3, in no regular way


class OneByOne(Agent):
    """Plays ``learned`` by its ``bid`` alone."""

    def __init__(self, **params: object) -> None:
        self.inner = build_agent("learned", params)

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.inner.reset(site, market, seed)

    def bid(self, observation: Observation) -> Bid:
        return self.inner.bid(observation)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(made_up(classes=2, shading=3), tmp_path_factory.mktemp("policies") / "shading", "# Policy\n")


def windowed(ticks: int = 30, history: int = 20):
    market, seat = (np.array(column) for column in zip(*SEATS, strict=True))
    arena, seating = seated([["truthful"] * len(SITES)] * 4, {"truthful": AgentSpec("truthful", {})})
    arena.start(day_of_prices(4, ticks=ticks, history=history))
    seating.reset(0, np.arange(4))
    window = Window(arena, market, seat, reads=READS, writes=("storage_value", "commitment", "shade"))
    return arena, seating, window, window.open(np.zeros(len(SEATS), dtype=np.uint64))


def test_a_view_is_encoded_as_the_observations_of_its_seats_are() -> None:
    arena, seating, window, view = windowed()
    batch = np.tile(np.arange(len(SITES)), (4, 1))
    while not arena.done:
        window.look(view)
        found = encode(view)
        assert found.tobytes() == np.stack([observe(arena, b, n).to_vector() for b, n in SEATS]).tobytes()
        whole = encode_seats(arena, batch)  # whose shares of the capacity may differ in the last bit
        np.testing.assert_allclose(found, np.stack([whole[b, n] for b, n in SEATS]), rtol=0.0, atol=1e-6)
        seating.bid()
        arena.step()
        seating.learn()


def test_the_vector_has_room_for_as_many_machine_classes_as_are_asked_for() -> None:
    _, _, _, view = windowed()
    names = {classes: [field.name for field in fields(classes)] for classes in (1, 2, 4)}
    wide = encode(view, 4)
    assert wide.shape == (len(SEATS), n_fields(4))
    for classes, found in ((2, encode(view)), (1, encode(view, 1))):  # the same entries under the same names
        np.testing.assert_array_equal(found, wide[:, [names[4].index(name) for name in names[classes]]])


def test_orders_say_what_actions_mean() -> None:
    _, _, _, view = windowed()
    actions = np.zeros((len(SEATS), 5))
    actions[1] = [0.5, -1.0, 0.2, 0.2, 0.2]
    actions[2] = [9.0, 9.0, -1.0, 0.0, 1.0]
    actions[3] = [-1.0, 0.5, math.nan, 0.0, 0.0]
    decode(actions, view)
    orders, size = view.orders, view.levels[view.market, SIZE]
    np.testing.assert_allclose(orders.storage_value[0], size[0], rtol=1e-15)  # zero: the size of the price, and a boot loss
    plants = view.plants
    revenue = view.prices[view.market[:, None], plants.product[view.plant]] * plants.output[view.plant]
    boot = plants.plant["boot_loss"][view.plant][:, None] * revenue
    np.testing.assert_array_equal(orders.commitment[0], np.maximum(boot[0], 0.0))
    np.testing.assert_allclose(orders.storage_value[1], size[1] * math.sinh(math.asinh(1.0) + 1.1), rtol=1e-12)
    np.testing.assert_array_equal(orders.commitment[1], 0.0)
    np.testing.assert_array_equal(orders.shade[1], 0.2)
    np.testing.assert_allclose(orders.storage_value[2], size[2] * math.sinh(math.asinh(1.0) + 2.2), rtol=1e-12)  # clipped
    np.testing.assert_array_equal(orders.commitment[2], np.maximum(2.0 * boot[2], 0.0))
    np.testing.assert_allclose(orders.shade[2], np.linspace(-1.0, 1.0, orders.shade.shape[1]), atol=1e-15)
    assert math.isinf(orders.storage_value[3])  # which the market refuses


def test_an_environment_decodes_as_an_agent_does() -> None:
    arena, _, _, view = windowed()
    actions = np.random.default_rng(0).uniform(-1.5, 1.5, (len(SEATS), 1, 4))
    decode(actions[:, 0], view)
    for i, (b, n) in enumerate(SEATS):
        decode_seats(actions[i : i + 1], arena, np.array([[n]]), [b])
        for name in ("kind", "storage_value", "commitment", "shade"):
            np.testing.assert_array_equal(getattr(arena.orders, name)[b, n], getattr(view.orders, name)[i], err_msg=name)


def test_what_is_no_array_of_actions_is_refused() -> None:
    arena, _, _, view = windowed()
    for wrong in (np.zeros((len(SEATS), 1)), np.zeros(len(SEATS)), np.zeros((2, 2)), np.full((len(SEATS), 2), "a")):
        with pytest.raises(BidError, match=r"expected an array of numbers of shape \(6, 2 \+ K\)"):
            decode(wrong, view)
    with pytest.raises(BidError, match=r"\(4, 1, 2 \+ K\)"):
        decode_seats(np.zeros((4, 2)), arena, np.zeros((4, 1), dtype=np.int64))


def test_a_storage_value_and_its_entry_are_inverse() -> None:
    entries = np.linspace(-1.0, 1.0, 21)
    np.testing.assert_allclose(storage_entry(storage_value_of(entries, 0.07), 0.07), entries, atol=1e-12)
    np.testing.assert_array_equal(storage_entry([-9.0, 9.0, math.nan], 0.07), [-1.0, 1.0, math.nan])


@pytest.mark.parametrize("hold", [1, 5])
def test_a_policy_that_shades_plays_alike_on_arrays_and_seat_by_seat(folder: Path, hold: int) -> None:
    results = []
    params = {"policy": str(folder), "hold": hold}
    for spec in (AgentSpec("learned", params), Local(lambda: OneByOne(**params))):
        arena, seating = seated([["learned"] * len(SITES)] * 2, {"learned": spec})
        results.append(episode(arena, seating, day_of_prices()))
        assert seating.first_error == {}
    assert {name: array.tobytes() for name, array in results[0].items()} == {name: a.tobytes() for name, a in results[1].items()}


@pytest.fixture(scope="module")
def valuation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that says what things are worth, of which a rule makes bids."""
    policy = made_up(classes=2, bidding="best_response")
    return save_policy(policy, tmp_path_factory.mktemp("policies") / "valuation", "# Policy\n")


@pytest.mark.parametrize(
    ("mechanism", "curve_delay"), [("pay_as_bid", 1), ("pay_as_bid", 12), ("pay_as_bid", None), ("uniform", 1), ("vcg", 1)]
)
def test_a_policy_whose_values_a_rule_bids_plays_alike_on_arrays_and_seat_by_seat(
    valuation: Path, mechanism: str, curve_delay: int | None
) -> None:
    results = []
    params = {"policy": str(valuation)}
    labels = [["learned", "truthful"] * (len(SITES) // 2) + ["learned"] * (len(SITES) % 2)] * 2
    for spec in (AgentSpec("learned", params), Local(lambda: OneByOne(**params))):
        agents = {"learned": spec, "truthful": AgentSpec("truthful", {})}
        arena, seating = seated(labels, agents, mechanism=mechanism, curve_delay=curve_delay, capacity_kw=900.0)
        results.append(episode(arena, seating, day_of_prices()))
        assert seating.first_error == {}
    assert {name: array.tobytes() for name, array in results[0].items()} == {name: a.tobytes() for name, a in results[1].items()}


def test_under_vcg_the_rule_bids_the_truth_at_the_values_of_the_policy(valuation: Path, tmp_path: Path) -> None:
    plain = save_policy(made_up(classes=2), tmp_path / "plain", "# Policy\n")
    results = []
    for folder in (valuation, plain):
        arena, seating = seated([["learned"] * len(SITES)] * 2, {"learned": AgentSpec("learned", {"policy": str(folder)})})
        results.append(episode(arena, seating, day_of_prices(ticks=20)))
    assert {name: array.tobytes() for name, array in results[0].items()} == {name: a.tobytes() for name, a in results[1].items()}


def test_a_rule_says_what_it_expects(valuation: Path) -> None:
    agent = Learned(str(valuation))
    agents = {"learned": Local(lambda: agent), "truthful": AgentSpec("truthful", {})}
    arena, seating = seated([["learned"] + ["truthful"] * (len(SITES) - 1)], agents, mechanism="pay_as_bid")
    episode(arena, seating, day_of_prices(1, ticks=5))
    assert set(agent.rationale_at(0)) >= {"best_response_kw", "expected_price_paid_dollars_per_kwh"}
    assert Learned().rationale_at(0) == {}


def test_an_action_is_held(folder: Path) -> None:
    asked = []
    agent = Learned(str(folder), hold=6)
    act = agent.policy.act
    object.__setattr__(agent.policy, "act", lambda rows: asked.append(len(rows)) or act(rows))
    arena, seating = seated([["learned"] * len(SITES)] * 2, {"learned": Local(lambda: agent)})
    episode(arena, seating, day_of_prices(ticks=20))
    assert asked == [2 * len(SITES)] * 4


def test_a_plant_of_more_machine_classes_than_in_training_is_played_alike_in_both_ways(folder: Path) -> None:
    machines = tuple(MachineClass(f"m{i}", "hash", 3.0, 10 + i, 0.1 + 0.05 * i) for i in range(4))
    sites = (Site(name="four", fleet=machines, grid_kw=100.0, ramp_up_kw=50.0), *SITES[:2])
    results = []
    for spec in (AgentSpec("learned", {"policy": str(folder)}), Local(lambda: OneByOne(policy=str(folder)))):
        arena, seating = seated([["learned"] * 3] * 2, {"learned": spec}, sites)
        results.append(episode(arena, seating, day_of_prices(ticks=20)))
        assert seating.first_error == {}
    assert {name: array.tobytes() for name, array in results[0].items()} == {name: a.tobytes() for name, a in results[1].items()}


@pytest.mark.parametrize("hold", [0, True, 1.5])
def test_hold_is_a_number_of_ticks(hold: object) -> None:
    with pytest.raises(AgentError, match=r"learned: hold is .*expected a whole number of at least 1"):
        Learned(hold=hold)  # type: ignore[arg-type]
