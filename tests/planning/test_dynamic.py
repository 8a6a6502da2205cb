"""The dynamic programme against a linear programme of the same problem, and its bid curve against its storage values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import linprog

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState, value_curve
from gridpilot.market.site import Battery, Cooling, MachineClass, Site, pack_sites
from gridpilot.market.units import DT
from gridpilot.planning.base import Outlook
from gridpilot.planning.dynamic import DynamicProgramme
from gridpilot.planning.dynamic_kernels import plan_parallel, plan_range
from gridpilot.planning.terminal import estimate_terminal, terminal_slopes

NO_HEAT = Cooling(max_kw=0.0, capacity_kwh_per_c=1e12, loss_kw_per_c=0.0, set_point_c=1e6)
SEEDS = pytest.mark.parametrize("seed", range(12))


def world(seed: int, lowest: float = 0.0, horizon: int = 8) -> tuple[Site, np.ndarray, np.ndarray]:
    """A site without heat, ramp or boot loss, prices (H, 3) and caps (H,)."""
    rng = np.random.default_rng(seed)
    fleet = tuple(
        MachineClass(f"class {c}", "hash" if c % 2 else "token", 1.0, int(rng.integers(0, 300)), float(rng.uniform(0.02, 0.2)))
        for c in range(int(rng.integers(0, 4)))
    )
    battery = Battery(float(rng.uniform(0.0, 500.0)), float(rng.choice([0.0, 40.0, 2000.0])), 0.9, 0.95, 0.004)
    site = Site(
        "site", fleet, grid_kw=float(rng.uniform(0.0, 800.0)), ramp_up_kw=1e6, boot_loss=0.0, battery=battery, cooling=NO_HEAT
    )
    prices = np.column_stack([rng.uniform(lowest, 0.2, horizon), rng.uniform(0.5, 1.5, (horizon, 2))])
    return site, prices, rng.uniform(0.0, 1000.0, horizon)


def optimum(site: Site, prices: np.ndarray, cap: np.ndarray, soc: float, end: float) -> float:
    """Best profit by one linear programme over all ticks, a stored kWh being worth ``end`` after the last."""
    horizon, battery = len(prices), site.battery
    worth = [
        machines.output / machines.unit_kw * prices[:, 1 if machines.product == "hash" else 2] for machines in site.fleet
    ]  # $/kWh
    n = 3 + len(site.fleet)  # q, b+, b-, machines
    cost, bounds = np.zeros(horizon * n), []
    balance, into = np.zeros((horizon, horizon * n)), np.zeros(horizon * n)
    within = np.zeros((horizon, horizon * n))
    for t in range(horizon):
        at = t * n
        gain = DT * np.array([battery.charge_efficiency, -1.0 / battery.discharge_efficiency])
        cost[at : at + 3] = DT * np.array([prices[t, 0], battery.wear_cost, battery.wear_cost])
        cost[at + 1 : at + 3] -= end * gain
        for c in range(len(site.fleet)):
            cost[at + 3 + c] = -DT * worth[c][t]
        balance[t, at : at + n] = [1.0, -1.0, 1.0, *(-1.0 for _ in site.fleet)]
        into[at + 1 : at + 3] = gain
        within[t, : at + n] = into[: at + n]
        bounds += [(0.0, min(cap[t], site.grid_kw)), (0.0, battery.power_kw), (0.0, battery.power_kw)]
        bounds += [(0.0, machines.capacity_kw) for machines in site.fleet]
    low, high = battery.soc_min * battery.energy_kwh, battery.soc_max * battery.energy_kwh
    solved = linprog(
        cost, A_ub=np.vstack([within, -within]), b_ub=np.concatenate([np.full(horizon, high - soc), np.full(horizon, soc - low)]),
        A_eq=balance, b_eq=np.zeros(horizon), bounds=bounds, method="highs",
    )  # fmt: skip
    assert solved.status == 0
    return float(-solved.fun)


def value(site: Site, prices: np.ndarray, cap: np.ndarray, soc: float, end: float, cells: int) -> float:
    """V(soc) before the first tick by the dynamic programme, less ``end`` a kWh of ``soc``, so that it compares with `optimum`."""
    arrays, one = pack_sites([site]), np.zeros(1, dtype=np.int64)
    table, lowest = np.empty((1, 1, cells)), np.empty(1)
    ambient, terminal = np.full((1, len(prices)), 20.0), np.full((1, cells), end)
    plan_range(0, 1, *arrays, one, one, prices[None].copy(), ambient, cap[None].copy(), 0, len(prices), DT, terminal, table, lowest)
    low = float(arrays.plant["soc_min"][0])
    width = float(arrays.plant["soc_max"][0] - low) / cells
    stored = np.clip((soc - low) - width * np.arange(cells), 0.0, width) @ table[0, 0]
    return float(lowest[0] + stored - end * (soc - low))


@SEEDS
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0], ids=["empty", "part", "full"])
def test_it_finds_the_optimum_of_the_linear_programme(seed: int, share: float) -> None:
    site, prices, cap = world(seed)
    battery = site.battery
    soc = battery.energy_kwh * (battery.soc_min + share * (battery.soc_max - battery.soc_min))
    exact = optimum(site, prices, cap, soc, 0.05)
    scale = 1e-9 + abs(exact)
    assert value(site, prices, cap, soc, 0.05, 2000) == pytest.approx(exact, abs=2e-3 * scale)
    # V on a grid is a chord of the true one: below it, and closer the finer the grid.
    assert value(site, prices, cap, soc, 0.05, 20) <= exact + 1e-9 * scale


@SEEDS
def test_at_negative_prices_it_never_promises_more_than_the_optimum(seed: int) -> None:
    site, prices, cap = world(seed, lowest=-0.3)
    soc = 0.5 * site.battery.energy_kwh
    exact = optimum(site, prices, cap, soc, 0.02)
    assert value(site, prices, cap, soc, 0.02, 300) <= exact + 1e-9 + 1e-9 * abs(exact)


@SEEDS
def test_stored_energy_is_worth_less_the_more_there_is(seed: int) -> None:
    site, prices, cap = world(seed, lowest=-0.1, horizon=30)
    arrays, one = pack_sites([site]), np.zeros(1, dtype=np.int64)
    table = np.empty((1, 10, 40))
    plan_range(
        0,
        1,
        *arrays,
        one,
        one,
        prices[None],
        np.full((1, 30), 20.0),
        cap[None],
        0,
        30,
        DT,
        np.full((1, 40), 0.03),
        table,
        np.empty(1),
    )
    assert (np.diff(table[0], axis=1) <= 1e-12).all()


def test_many_seats_on_threads_get_what_each_gets_by_itself() -> None:
    sites = [world(seed)[0] for seed in range(5)]
    arrays = pack_sites(sites)
    rng = np.random.default_rng(1)
    prices, ambient, cap = rng.uniform(0.0, 0.2, (3, 24, 3)), rng.uniform(10.0, 35.0, (3, 24)), rng.uniform(0.0, 1000.0, (3, 24))
    site, path = rng.integers(0, 5, 40), rng.integers(0, 3, 40)
    terminal = rng.uniform(0.0, 0.1, (40, 1)) * np.ones(16)
    tables, values = [np.empty((40, 4, 16)) for _ in range(2)], [np.empty(40) for _ in range(2)]
    plan_parallel(2, *arrays, site, path, prices, ambient, cap, 0, 24, DT, terminal, tables[0], values[0])
    for m in range(40):
        plan_range(m, m + 1, *arrays, site, path, prices, ambient, cap, 0, 24, DT, terminal, tables[1], values[1])
    assert tables[0].tobytes() == tables[1].tobytes()
    assert values[0].tobytes() == values[1].tobytes()


def planner(site: Site, cells: int = 60) -> DynamicProgramme:
    made = DynamicProgramme(cells)
    made.reset(site)
    return made


MINER = MachineClass("miner", "hash", 3.5, 150, 0.2)
SITE = Site("site", (MINER,), battery=Battery(500.0, 2000.0, soc_start=0.5))
STATE = SiteState(1000.0, 30.0, np.array([525.0]))


def outlook(power: list[float], **more: object) -> Outlook:
    prices = np.column_stack([power, np.full((len(power), 2), 2.0)])
    return Outlook(prices, np.full(len(power), 25.0), **more)  # type: ignore[arg-type]


def test_it_buys_when_power_is_cheap_and_gives_back_when_it_is_dear() -> None:
    look = outlook([0.01] * 12 + [0.1] * 48, terminal=np.array([[1800.0, 0.0]]))
    plan = planner(SITE).plan(dataclasses.replace(STATE, soc_kwh=300.0), look)
    assert plan.charge_kw[:12].sum() > 0.0
    assert plan.discharge_kw[:12].sum() == 0.0
    assert plan.discharge_kw[12:].sum() > 0.0
    assert plan.charge_kw[12:].sum() == 0.0
    assert 0.05 < plan.storage_value < 0.1  # near what it will save
    assert plan.rung == "dynamic"


def test_the_objective_is_what_the_plant_earns_by_following() -> None:
    plan = planner(SITE).plan(STATE, outlook([0.05] * 12, terminal=np.array([[1800.0, 0.04]])))
    output = MINER.output / MINER.unit_kw
    earned = DT * (2.0 * output * plan.machine_kw.sum() - 0.05 * plan.grid_kw.sum())
    wear = DT * SITE.battery.wear_cost * (plan.charge_kw + plan.discharge_kw).sum()
    assert plan.objective == pytest.approx(earned - wear + 0.04 * (plan.soc_kwh[-1] - 100.0))


def test_a_class_that_will_run_again_is_worth_its_boot_loss() -> None:
    revenue = 2.0 * MINER.output / MINER.unit_kw
    cheap = planner(SITE).plan(STATE, outlook([0.01] * 12))
    dear = planner(SITE).plan(STATE, outlook([0.9] * 12))
    assert cheap.commitment_value == pytest.approx([SITE.boot_loss * revenue])
    assert dear.commitment_value == pytest.approx([0.0])


def test_a_cap_is_kept() -> None:
    plan = planner(SITE).plan(STATE, outlook([0.01] * 12, cap_kw=np.full(12, 123.0)))
    assert plan.grid_kw.max() == pytest.approx(123.0)


@pytest.mark.parametrize("soc", [100.0, 700.0, 1900.0])
def test_the_bid_curve_is_the_value_curve_where_the_storage_value_does_not_change(soc: float) -> None:
    # A horizon of one tick: after it stored energy is worth the terminal value, whatever the charge.
    look = outlook([0.05], terminal=np.array([[1800.0, 0.06]]))
    state = SiteState(soc, 30.0, np.array([525.0]))
    curve = planner(SITE).bid_curve(state, look)
    expected = value_curve(SITE, state, look.prices[0], 25.0, 0.05, 0.05, 0.06, np.zeros(1))
    assert np.trapezoid(*_staircase(curve)) == pytest.approx(np.trapezoid(*_staircase(expected)))
    assert curve[:, 0].sum() == pytest.approx(expected[:, 0].sum())


def _staircase(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.concatenate([[0.0], np.cumsum(blocks[:, 0])])
    return np.repeat(blocks[:, 1], 2), np.column_stack([edges[:-1], edges[1:]]).ravel()


def test_the_bid_curve_falls_and_stays_within_the_connection() -> None:
    look = outlook([0.02] * 100 + [0.15] * 60 + [-0.05] * 40)
    for soc in (100.0, 500.0, 1900.0):
        curve = planner(SITE, 30).bid_curve(SiteState(soc, 34.0, np.array([100.0])), look)
        assert (np.diff(curve[:, 1]) <= 0.0).all()
        assert (curve[:, 0] > 0.0).all()
        assert curve[:, 0].sum() <= SITE.grid_kw + 1e-9


def test_without_a_battery_there_is_nothing_to_store() -> None:
    site = Site("bare", (MINER,), battery=Battery())
    plan = planner(site).plan(SiteState(0.0, 30.0, np.array([0.0])), outlook([0.02] * 300))
    assert plan.storage_value == 0.0
    assert not plan.charge_kw.any()
    assert not plan.discharge_kw.any()
    assert estimate_terminal(pack_sites([site]), outlook([0.02] * 300)).shape == (0, 2)


def test_the_terminal_estimate_is_between_the_prices_of_the_day() -> None:
    day = [0.02] * 144 + [0.10] * 144
    blocks = estimate_terminal(pack_sites([SITE]), outlook(day))
    assert blocks[:, 0].sum() == pytest.approx(1800.0)
    assert (np.diff(blocks[:, 1]) <= 1e-12).all()
    assert 0.02 < blocks[0, 1] < 0.10
    flat = estimate_terminal(pack_sites([SITE]), outlook([0.04] * 10))
    assert flat[:, 1] == pytest.approx(0.95 * 0.04)


def test_terminal_blocks_keep_their_worth_on_any_grid() -> None:
    blocks = np.array([[100.0, 0.09], [700.0, 0.05], [200.0, 0.01]])
    for cells in (1, 7, 30):
        assert terminal_slopes(blocks, cells, 1000.0).sum() * 1000.0 / cells == pytest.approx(46.0)
    assert terminal_slopes(blocks, 10, 2000.0)[-1] == 0.0  # nothing is said of what lies beyond the blocks
    assert not terminal_slopes(blocks, 3, 0.0).any()


@pytest.mark.parametrize("cells", [0, -3, 2.5, True])
def test_a_grid_that_is_none_is_refused(cells: object) -> None:
    with pytest.raises(PlanningError, match="cells is"):
        DynamicProgramme(cells)  # type: ignore[arg-type]
