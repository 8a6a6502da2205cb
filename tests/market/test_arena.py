"""Whole episodes: conservation of money and energy, the seats' independence of each other's faults, and bitwise determinism."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.errors import MarketError
from gridpilot.market.arena import Arena, MarketRules, Scenario
from gridpilot.market.auction import SUPPLY_COST, VOLUME, WELFARE
from gridpilot.market.bids import Bid
from gridpilot.market.physics import (
    CHARGED,
    COOLING,
    DISCHARGED,
    DRAWN,
    MACHINES,
    PAYMENT,
    PROFIT,
    REVENUE,
    WEAR,
    WON,
)  # fmt: skip
from gridpilot.market.site import Battery, MachineClass, Site
from gridpilot.market.step import NO_BID, OWN_CURVE, SHADED_CURVE, STATED_BLOCKS
from gridpilot.market.units import DT

from .plants import random_scenario, random_site

MECHANISMS = ("vcg", "uniform", "pay_as_bid")
STATE = ("machine_kw", "storage", "last_price", "levels", "outcome", "totals", "refused", "cleared")
AGENTS = {name: AgentSpec(name, {}) for name in ("truthful", "threshold", "zero_intelligence")}


def random_arena(seed: int, markets: int, sites: int, mechanism: Any = "vcg") -> Arena:
    r = random.Random(seed)
    plants = [random_site(r, f"site {i}") for i in range(sites)]
    rules = MarketRules(capacity_kw=250.0 * sites, mechanism=mechanism, reserve=r.choice([None, 0.02]))
    return Arena(plants, rules, markets)


def random_orders(arena: Arena, r: np.random.Generator) -> None:
    """Orders of all kinds, blocks that ask for more than the plant can use among them."""
    orders, (b, n) = arena.orders, arena.orders.kind.shape
    orders.kind[:] = r.choice([OWN_CURVE, SHADED_CURVE, STATED_BLOCKS, NO_BID], (b, n))
    orders.storage_value[:] = np.where(r.random((b, n)) < 0.3, math.nan, r.uniform(-0.2, 0.4, (b, n)))
    orders.commitment[:] = np.where(r.random(orders.commitment.shape) < 0.5, math.nan, r.uniform(0.0, 0.2, orders.commitment.shape))
    orders.shade[:] = r.uniform(-1.0, 0.5, orders.shade.shape)
    orders.blocks[..., 0] = r.choice([0.0, 20.0, 400.0], orders.blocks.shape[:3])
    orders.blocks[..., 1] = -np.sort(-r.uniform(-0.1, 2.0, orders.blocks.shape[:3]))


def check_tick(arena: Arena, before: np.ndarray, storage: np.ndarray) -> None:
    """Conservation in the tick just played; ``before`` and ``storage`` are the machines' power and the storage before it."""
    out, plant, totals = arena.outcome, arena.arrays.plant, arena.totals
    now = arena.scenario.history + arena.tick - 1
    ambient, prices = arena.scenario.ambient[now], arena.scenario.prices[now]
    won, drawn = out[..., WON], out[..., DRAWN]
    # the market
    np.testing.assert_allclose(won.sum(axis=1), totals[:, VOLUME], rtol=1e-12, atol=1e-9)
    assert (totals[:, VOLUME] <= arena.rules.capacity_kw * arena.scenario.capacity[now] * (1 + 1e-12) + 1e-9).all()
    assert (won <= plant["grid_kw"] + 1e-9).all()
    assert (won >= 0.0).all()
    money = 1e-9 * (1.0 + np.abs(prices[:, 0]) * totals[:, VOLUME])
    assert (out[..., PAYMENT].sum(axis=1) >= DT * totals[:, SUPPLY_COST] - money).all()  # the seller never loses
    # the plants: energy
    np.testing.assert_allclose(drawn + out[..., DISCHARGED], out[..., MACHINES] + out[..., COOLING] + out[..., CHARGED], atol=1e-9)
    assert (drawn <= won + 1e-9).all()
    assert (drawn >= 0.0).all()
    for column in (MACHINES, COOLING, CHARGED, DISCHARGED):
        assert (out[..., column] >= -1e-9).all()
    assert (out[..., [CHARGED, DISCHARGED]] <= plant["battery_kw"][:, None] + 1e-9).all()
    assert (out[..., COOLING] <= plant["cooling_kw"] + 1e-9).all()
    np.testing.assert_allclose(arena.machine_kw.sum(axis=2), out[..., MACHINES], atol=1e-9)
    assert (arena.machine_kw <= np.minimum(arena.arrays.class_kw, before + plant["ramp_kw"][:, None]) + 1e-9).all()
    moved = DT * (plant["eta_c"] * out[..., CHARGED] - out[..., DISCHARGED] / plant["eta_d"])
    np.testing.assert_allclose(arena.storage[..., 0], storage[..., 0] + moved, atol=1e-9)
    assert (arena.storage[..., 0] >= plant["soc_min"]).all()
    assert (arena.storage[..., 0] <= plant["soc_max"]).all()
    ceiling = np.maximum(np.maximum(storage[..., 1], plant["set_point"]), ambient[:, None])
    assert (arena.storage[..., 1] <= ceiling).all()
    # the plants: money
    price = prices[:, arena.arrays.product]  # (B, N, C)
    started = np.maximum(0.0, arena.machine_kw - before)
    made = arena.machine_kw - plant["boot_loss"][:, None] * started
    np.testing.assert_allclose(out[..., REVENUE], DT * (price * arena.arrays.output * made).sum(axis=2), atol=1e-9)
    np.testing.assert_allclose(out[..., WEAR], DT * plant["wear"] * (out[..., CHARGED] + out[..., DISCHARGED]), atol=1e-9)
    np.testing.assert_allclose(out[..., PROFIT], out[..., REVENUE] - out[..., PAYMENT] - out[..., WEAR], atol=1e-9)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("sites", [5, 51], ids=["few sites", "many sites"])
def test_money_and_energy_are_conserved_in_every_tick(mechanism: str, sites: int) -> None:
    for seed in range(4 if sites == 5 else 1):
        arena = random_arena(seed, 5, sites, mechanism)
        arena.make_room(3)
        arena.start(random_scenario(seed, 5, 60 if sites == 5 else 20))
        rng = np.random.default_rng(seed)
        while not arena.done:
            random_orders(arena, rng)
            before, storage = arena.machine_kw.copy(), arena.storage.copy()
            arena.step()
            assert not arena.refused.any()
            check_tick(arena, before, storage)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_money_and_energy_are_conserved_among_agents(mechanism: str) -> None:
    arena = random_arena(7, 3, 6, mechanism)
    labels = [["truthful", "threshold", "zero_intelligence"] * 2] * 3
    seating = Seating(arena, AGENTS, labels)
    arena.start(random_scenario(7, 3, 288))
    seating.reset(0, [0, 1, 2])
    while not arena.done:
        seating.bid()
        before, storage = arena.machine_kw.copy(), arena.storage.copy()
        arena.step()
        seating.learn()
        check_tick(arena, before, storage)
    assert seating.failures.sum() == 0


def test_payments_are_those_of_the_auction_and_welfare_adds_up() -> None:
    arena = random_arena(3, 4, 6)
    arena.orders.storage_value[:] = 0.05
    arena.start(random_scenario(3, 4, 40))
    while not arena.done:
        arena.step()
        surplus = arena.totals[:, WELFARE] - (arena.outcome[..., PAYMENT].sum(axis=1) / DT - arena.totals[:, SUPPLY_COST])
        assert (surplus >= -1e-9).all()  # what the seller leaves of the welfare, the bidders have


@pytest.mark.parametrize("storage_value", [0.1, math.nan])
def test_a_stated_bid_is_cut_at_what_the_plant_can_use(storage_value: float) -> None:
    miner = Site("miner", (MachineClass("air", "hash", 3.5, 100, 0.2),), battery=Battery(100.0, 200.0))
    arena = Arena([Site("no machines", (), battery=Battery(100.0, 200.0)), miner], MarketRules(5000.0))
    arena.make_room(1)
    arena.start(random_scenario(2, 1, 30)._replace(capacity=np.ones((35, 1))))
    arena.orders.kind[:] = STATED_BLOCKS
    arena.orders.storage_value[:] = storage_value
    arena.orders.blocks[:, :, 0] = (900.0, 3.0)
    won = []
    while not arena.done:
        before, storage = arena.machine_kw.copy(), arena.storage.copy()
        arena.step()
        check_tick(arena, before, storage)
        room = 0.0 if math.isnan(storage_value) else np.minimum(100.0, (190.0 - storage[0, :, 0]) / (0.95 * DT))
        machines = np.array([0.0, min(350.0, float(before[0, 1, 0]) + 250.0)])
        cooled = np.where(machines > 0.0, arena.outcome[0, :, COOLING], 0.0)
        won.append(arena.outcome[0, :, WON].copy())
        if arena.scenario.prices[arena.scenario.history + arena.tick - 1, 0, 0] < 3.0:
            np.testing.assert_allclose(won[-1], machines + cooled + room, atol=1e-9)
            np.testing.assert_allclose(arena.outcome[0, :, DRAWN], won[-1], atol=1e-9)
    assert np.max(won, axis=0)[0] == pytest.approx(0.0 if math.isnan(storage_value) else 100.0, abs=1e-9)


def test_a_site_is_not_paid_for_power_that_it_does_not_draw() -> None:
    # A battery that loses 0.06 $/kWh by charging states that it wants to, at any price.
    battery = Battery(100.0, 2000.0, 1.0, 0.8, wear_cost=0.01)
    arena = Arena([Site("battery", (), battery=battery)], MarketRules(1000.0, ((1.0, 0.0),)))
    arena.make_room(1)
    for energy, drawn in ((-0.2, 100.0), (-0.07, 100.0), (-0.05, 0.0), (0.03, 0.0)):
        prices = np.full((2, 1, 3), energy)
        arena.start(Scenario(prices, np.zeros((2, 1)), np.ones((2, 1)), np.zeros(1, dtype=np.int64), 1))
        arena.orders.kind[:], arena.orders.storage_value[:] = STATED_BLOCKS, -0.05
        arena.orders.blocks[:, :, 0] = (1000.0, 1.0)
        arena.step()
        out = arena.outcome[0, 0]
        assert (out[WON], out[DRAWN], out[CHARGED]) == (pytest.approx(100.0, abs=1e-9), drawn, drawn)
        refund = min(energy, 0.0) * (100.0 - drawn)  # what was paid for power that is not drawn goes back
        assert out[PAYMENT] == pytest.approx(DT * (100.0 * energy - refund), abs=1e-9)  # a bid is cut at 100 kW and the last bit
        assert DT * arena.totals[0, SUPPLY_COST] == pytest.approx(out[PAYMENT], abs=1e-12)


# --- faults stay where they are -----------------------------------------------------------------------------------------------


def spoil_nan_shade(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = SHADED_CURVE
    arena.orders.shade[:, seat, 0] = math.nan


def spoil_inf_shade(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = SHADED_CURVE
    arena.orders.shade[:, seat, -1] = math.inf


def spoil_storage(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = OWN_CURVE
    arena.orders.storage_value[:, seat] = math.inf


def spoil_commitment(arena: Arena, seat: int) -> None:
    arena.orders.commitment[:, seat, 0] = -0.01


def spoil_infinite_commitment(arena: Arena, seat: int) -> None:
    arena.orders.commitment[:, seat, -1] = math.inf


def spoil_rising(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = STATED_BLOCKS
    arena.orders.blocks[:, seat] = [(10.0, 0.1), (10.0, 0.2)]


def spoil_rising_after_a_gap(arena: Arena, seat: int) -> None:
    arena.make_room(3)
    arena.orders.kind[:, seat] = STATED_BLOCKS
    arena.orders.blocks[:, seat] = [(10.0, 0.1), (0.0, math.nan), (10.0, 0.2)]


def spoil_negative(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = STATED_BLOCKS
    arena.orders.blocks[:, seat] = [(-10.0, 0.1), (10.0, 0.05)]


def spoil_nan_quantity(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = STATED_BLOCKS
    arena.orders.blocks[:, seat] = [(math.nan, 0.1), (10.0, 0.05)]


def spoil_infinite_quantity(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = STATED_BLOCKS
    arena.orders.blocks[:, seat] = [(math.inf, 0.1), (10.0, 0.05)]


def spoil_nan_price(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = STATED_BLOCKS
    arena.orders.blocks[:, seat] = [(10.0, 0.1), (10.0, math.nan)]


def spoil_infinite_price(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = STATED_BLOCKS
    arena.orders.blocks[:, seat] = [(10.0, math.inf), (10.0, 0.1)]


def spoil_kind(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = 77


SPOILS = [
    spoil_nan_shade, spoil_inf_shade, spoil_storage, spoil_commitment, spoil_infinite_commitment, spoil_rising, spoil_rising_after_a_gap,
    spoil_negative, spoil_nan_quantity, spoil_infinite_quantity, spoil_nan_price, spoil_infinite_price, spoil_kind,
]  # fmt: skip


def no_bid(arena: Arena, seat: int) -> None:
    arena.orders.kind[:, seat] = NO_BID


@pytest.mark.parametrize("sites", [4, 50], ids=["few sites", "many sites"])
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_refused_order_counts_as_no_bid_and_touches_nobody(spoil: Any, sites: int) -> None:
    def play(order: Any) -> list[tuple[np.ndarray, ...]]:
        arena = random_arena(11, 2, sites)
        arena.make_room(2)
        arena.start(random_scenario(11, 2, 6))
        states = []
        while not arena.done:
            arena.orders.clear()
            arena.orders.storage_value[:] = 0.05
            arena.orders.storage_value[:, 1] = math.nan
            order(arena, 1)
            arena.step()
            expected = np.zeros_like(arena.refused)
            expected[:, 1] = order is not no_bid
            np.testing.assert_array_equal(arena.refused, expected)
            states.append(tuple(getattr(arena, name).copy() for name in STATE if name not in ("refused", "cleared")))
        return states

    for spoiled, nothing in zip(play(spoil), play(no_bid), strict=True):
        for a, b in zip(spoiled, nothing, strict=True):
            assert a.tobytes() == b.tobytes()


def test_stated_blocks_may_have_empty_blocks_of_any_price_among_them() -> None:
    for sites in (4, 50):
        results = []
        for filler in (math.nan, 9.0, -9.0):
            arena = random_arena(5, 2, sites)
            arena.make_room(4)
            arena.start(random_scenario(5, 2, 5))
            arena.orders.kind[:, 0] = STATED_BLOCKS
            arena.orders.blocks[:, 0] = [(0.0, filler), (200.0, 0.5), (0.0, filler), (100.0, 0.02)]
            while not arena.done:
                arena.step()
                assert not arena.refused.any()
            results.append(b"".join(getattr(arena, name).tobytes() for name in STATE))
        assert results[0] == results[1] == results[2]


def test_bids_that_do_not_fit_the_plant_are_refused() -> None:
    arena = random_arena(0, 1, 3)
    arena.make_room(2)
    classes = len(arena.sites[0].fleet)
    with pytest.raises(MarketError, match="3 blocks, expected at most 2"):
        arena.place(0, 0, Bid([(1, 3), (1, 2), (1, 1)]))
    with pytest.raises(MarketError, match=f"commitment_value has {classes + 1} entries, expected {classes}"):
        arena.place(0, 0, Bid([(1, 3)], commitment_value=[0.0] * (classes + 1)))


def test_without_make_room_any_bid_fits_and_those_before_it_are_kept() -> None:
    roomy, growing = random_arena(0, 2, 3), random_arena(0, 2, 3)
    roomy.make_room(40)
    bids = [Bid([(5.0, 0.3)]), Bid([(1.0, 0.5 - 0.01 * k) for k in range(40)]), Bid([(2.0, 0.4), (2.0, 0.1)]), None]
    for arena in (roomy, growing):
        arena.start(random_scenario(7, 2, 5))
        for (market, seat), bid in zip(((0, 0), (1, 2), (0, 1), (1, 0)), bids, strict=True):
            arena.place(market, seat, bid)
        arena.step()
    assert growing.orders.blocks.shape == roomy.orders.blocks.shape
    for name in STATE:
        assert getattr(growing, name).tobytes() == getattr(roomy, name).tobytes()
    growing.place(0, 0, Bid([(1.0, 0.5 - 0.01 * k) for k in range(45)]))
    growing.make_room(50)
    assert growing.orders.blocks[0, 0, 44].tolist() == pytest.approx([1.0, 0.06])
    with pytest.raises(MarketError, match="51 blocks, expected at most 50"):
        growing.place(0, 0, Bid([(1.0, 0.1)] * 51))


def test_what_an_arena_refuses() -> None:
    arena = random_arena(0, 2, 3)
    with pytest.raises(MarketError, match="n_markets is 0"):
        Arena(arena.sites, arena.rules, 0)
    with pytest.raises(MarketError, match="3 markets, expected 2"):
        arena.start(random_scenario(0, 3, 2))
    arena.start(random_scenario(0, 2, 1))
    arena.step()
    with pytest.raises(MarketError, match="ends after 1 ticks"):
        arena.step()
    for rules in (
        {"capacity_kw": -1.0},
        {"capacity_kw": math.nan},
        {"supply": ((0.5, 0.1), (0.5, 0.0))},
        {"mechanism": "dutch"},
        {"reserve": math.inf},
    ):
        with pytest.raises(MarketError):
            MarketRules(**rules)  # type: ignore[arg-type]


# --- determinism --------------------------------------------------------------------------------------------------------------


def part(scenario: Scenario, markets: slice) -> Scenario:
    return Scenario(
        np.ascontiguousarray(scenario.prices[:, markets]), np.ascontiguousarray(scenario.ambient[:, markets]),
        np.ascontiguousarray(scenario.capacity[:, markets]), scenario.start[markets], scenario.history,
    )  # fmt: skip


def play(scenario: Scenario, first: int, sites: int = 6, ticks: int = 24) -> dict[str, np.ndarray]:
    """Everything an episode leaves behind; the agents of market b are seeded by episode ``first + b``."""
    markets = scenario.n_markets
    arena = random_arena(21, markets, sites)
    labels = [[("truthful", "threshold", "zero_intelligence")[i % 3] for i in range(sites)]] * markets
    seating = Seating(arena, AGENTS, labels)
    arena.start(scenario)
    seating.reset(5, np.arange(first, first + markets))
    vectors = []
    while not arena.done:
        seating.bid()
        vector = np.zeros((markets, 2, len(arena_fields(arena))), dtype=np.float32)
        arena.encode(np.tile([0, 2], (markets, 1)), vector)
        vectors.append(vector)
        arena.step()
        seating.learn()
    return {name: getattr(arena, name).copy() for name in STATE if name != "cleared"} | {
        "cleared": arena.cleared.swapaxes(0, 1).copy(),
        "vectors": np.stack(vectors, axis=1),
    }


def arena_fields(arena: Arena) -> list[Any]:
    from gridpilot.market.encoding import fields

    return fields(arena.arrays.n_classes)


@pytest.mark.parametrize("sites", [6, 50], ids=["few sites", "many sites"])
def test_results_do_not_depend_on_the_size_of_the_batch_to_the_bit(sites: int) -> None:
    markets = 100 if sites == 6 else 66  # enough for the parallel kernel
    scenario = random_scenario(4, markets, 24 if sites == 6 else 6)
    together = play(scenario, 0, sites)
    for first, size in ((0, 1), (3, 7), (markets - 1, 1), (20, 30)):
        alone = play(part(scenario, slice(first, first + size)), first, sites)
        for name, array in alone.items():
            assert array.tobytes() == together[name][first : first + size].tobytes(), name


def test_results_do_not_depend_on_the_number_of_threads_to_the_bit() -> None:
    scenario = random_scenario(8, 70, 12)
    results = []
    before = numba.get_num_threads()
    for threads in {1, before}:
        numba.set_num_threads(threads)
        results.append(play(scenario, 0))
    numba.set_num_threads(before)
    for other in results[1:]:
        for name, array in other.items():
            assert array.tobytes() == results[0][name].tobytes(), name


def test_results_do_not_depend_on_the_process_to_the_bit() -> None:
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys, json, hashlib; sys.path.insert(0, sys.argv[1]);"
        "from tests.market.test_arena import play, digest, random_scenario;"
        "print(json.dumps(digest(play(random_scenario(6, 3, 12), 0))))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == digest(play(random_scenario(6, 3, 12), 0))


def digest(results: dict[str, np.ndarray]) -> dict[str, str]:
    import hashlib

    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in results.items()}


def test_an_arena_can_be_started_again() -> None:
    arena = random_arena(1, 3, 5)
    scenario = random_scenario(1, 3, 20)
    results = []
    for _ in range(2):
        arena.start(scenario)
        while not arena.done:
            arena.step()
        results.append([getattr(arena, name).tobytes() for name in STATE])
        arena.start(random_scenario(2, 3, 7))  # something else in between
        arena.step()
    assert results[0] == results[1]
