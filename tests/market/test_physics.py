"""What power is worth to a plant, held against an independent linear programme, and what the plant does with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridpilot.market.plant import Dispatch, SiteState, default_commitment_value, dispatch, value_curve
from gridpilot.market.site import Battery, Cooling, MachineClass, Site
from gridpilot.market.units import DT

from .plants import Case, random_case

MIN_COP = 1.0


def cop_of(case: Case) -> float:
    cooling = case.site.cooling
    return max(MIN_COP, cooling.cop - cooling.cop_slope * (case.ambient_c - cooling.cop_reference_c))


def free_heat(case: Case) -> float:
    """Power of machines that needs no cooling this tick, kW."""
    cooling = case.site.cooling
    theta = case.state.theta_c
    warming = (cooling.set_point_c - theta) * cooling.capacity_kwh_per_c / DT + cooling.loss_kw_per_c * (theta - case.ambient_c)
    return max(0.0, warming)


def stored_value(case: Case) -> float:
    """The storage value, not below where charging would outbid discharging."""
    battery = case.site.battery
    spread = 1.0 / battery.discharge_efficiency - battery.charge_efficiency
    value = 0.0 if case.storage_value is None else case.storage_value
    return max(value, -2.0 * battery.wear_cost / spread) if spread > 0.0 else value


def worths(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Revenue and commitment value of each class, $/kWh."""
    price = {"hash": case.prices[1], "token": case.prices[2]}
    revenue = np.array([price[m.product] * m.output / m.unit_kw for m in case.site.fleet])
    if case.commitment_value is not None:
        return revenue, case.commitment_value
    draw, boot = 1.0 + 1.0 / cop_of(case), case.site.boot_loss * revenue
    kappa = []
    for machines, r, loss in zip(case.site.fleet, revenue, boot, strict=True):
        if case.site.ramp_up_kw == 0.0 or case.last_price * draw < r:
            kappa.append(loss)
        else:
            ticks = max(0, math.ceil(machines.capacity_kw / case.site.ramp_up_kw) - 1) / 2
            kappa.append(min(loss, (loss + ticks * max(0.0, r - draw * case.mean_price)) / 3))
    return revenue, np.array(kappa)


def floor_of(case: Case) -> float:
    """What power given back is worth, $/kWh."""
    return min(0.0, float(case.prices[0]))


def power_limits(case: Case) -> tuple[float, float]:
    """Most the battery can charge and discharge, kW; 0 where it stands idle."""
    battery = case.site.battery
    if case.storage_value is None:
        return 0.0, 0.0
    room = (battery.soc_max * battery.energy_kwh - case.state.soc_kwh) / (battery.charge_efficiency * DT)
    left = (case.state.soc_kwh - battery.soc_min * battery.energy_kwh) * battery.discharge_efficiency / DT
    return max(0.0, min(battery.power_kw, room)), max(0.0, min(battery.power_kw, left))


def best_value(case: Case, q: float) -> float:
    """Maximum of the tick's programme with q kW won, $/h: with the cooling off, and with it on, each linear."""
    site, battery, cop = case.site, case.site.battery, cop_of(case)
    revenue, kappa = worths(case)
    capacity = np.array([m.capacity_kw for m in site.fleet])
    running = np.minimum(case.state.machine_kw[: len(capacity)], capacity)
    v, p_free, (charge, discharge) = stored_value(case), free_heat(case), power_limits(case)
    n = len(capacity)
    # x continued, x started, charge, discharge, cooling, given back
    gain = [
        *(revenue + kappa), *(revenue * (1.0 - site.boot_loss) + kappa), battery.charge_efficiency * v - battery.wear_cost,
        -v / battery.discharge_efficiency - battery.wear_cost, 0.0, floor_of(case),
    ]  # fmt: skip
    machines = [1.0] * (2 * n) + [0.0, 0.0]
    top = [*running, *np.minimum(site.ramp_up_kw, capacity - running), charge, discharge]
    best = -math.inf
    for cooled in (False, True):
        rows, right = [[*machines, 0.0, 0.0]], [p_free]
        equal, total = [[*([1.0] * (2 * n)), 1.0, -1.0, 1.0, 1.0]], [q]
        if cooled:
            rows, right = [[-1.0 * x for x in rows[0]]], [-p_free]
            equal.append([*machines, -cop, 0.0])
            total.append(p_free)
        bounds = [(0.0, float(limit)) for limit in [*top, site.cooling.max_kw if cooled else 0.0, q]]
        result = linprog([-g for g in gain], A_ub=rows, b_ub=right, A_eq=equal, b_eq=total, bounds=bounds, method="highs")
        if result.status == 0:
            best = max(best, -result.fun)
        else:
            assert result.status == 2, result.message  # infeasible: that much power cannot be used this way
    return best


def own_value(case: Case, done: Dispatch) -> float:
    """The programme's objective at what was done, $/h, but for power given back."""
    battery = case.site.battery
    revenue, kappa = worths(case)
    n = len(case.site.fleet)
    x = done.machine_kw[:n]
    started = np.maximum(0.0, x - np.minimum(case.state.machine_kw[:n], [m.capacity_kw for m in case.site.fleet]))
    value = float(((revenue + kappa) * x - case.site.boot_loss * revenue * started).sum())
    stored = battery.charge_efficiency * done.charge_kw - done.discharge_kw / battery.discharge_efficiency
    return value + stored_value(case) * stored - battery.wear_cost * (done.charge_kw + done.discharge_kw)


def integral(curve: np.ndarray, q: float, floor: float) -> float:
    """What q kW are worth, $/h: no kW less than giving it back."""
    before = np.cumsum(curve[:, 0]) - curve[:, 0]
    used = np.clip(q - before, 0.0, curve[:, 0])
    return float((used * np.maximum(curve[:, 1], floor)).sum()) + floor * (q - float(used.sum()))


def points(curve: np.ndarray) -> list[float]:
    """No power, all the blocks' ends, between them, and more than all."""
    ends = np.concatenate([[0.0], np.cumsum(curve[:, 0])])
    return [*ends.tolist(), *((ends[1:] + ends[:-1]) / 2.0).tolist(), float(ends[-1]) + 50.0]


def check_curve(case: Case) -> None:
    curve = value_curve(*case)
    assert (curve[:, 0] > 0.0).all()
    assert (np.diff(curve[:, 1]) <= 0.0).all()
    assert len(curve) <= 2 * max(1, len(case.site.fleet)) + 3
    total = float(curve[:, 0].sum())
    assert total <= case.site.grid_kw * (1.0 + 1e-15)
    nothing = own_value(case, dispatch(case.site, case.state, 0.0, *case[2:]))
    floor = floor_of(case)
    worth_using = float(curve[curve[:, 1] >= floor, 0].sum())
    for q in points(curve):
        done = dispatch(case.site, case.state, q, *case[2:])
        if q <= case.site.grid_kw:  # beyond it a plant would draw more than the curve, which ends there, says
            assert done.grid_kw == pytest.approx(min(q, worth_using), abs=1e-9)
            value = own_value(case, done) + floor * (q - done.grid_kw)
            assert value - nothing == pytest.approx(integral(curve, q, floor), abs=1e-9 * max(1.0, abs(value)))
            assert value == pytest.approx(best_value(case, q), rel=1e-7, abs=1e-6)
        check_flows(case, q, done)


def check_flows(case: Case, q: float, done: Dispatch) -> None:
    site, battery = case.site, case.site.battery
    machines = done.machine_kw.sum()
    scale = 1e-9 * max(1.0, q)
    assert done.grid_kw + done.discharge_kw == pytest.approx(machines + done.cooling_kw + done.charge_kw, abs=1e-9)
    assert 0.0 <= done.grid_kw <= q + 1e-9
    assert -scale <= done.cooling_kw <= site.cooling.max_kw + scale
    assert done.cooling_kw == pytest.approx(max(0.0, machines - free_heat(case)) / cop_of(case), abs=1e-9)
    capacity = np.array([m.capacity_kw for m in site.fleet])
    x = done.machine_kw[: len(capacity)]
    assert (x >= 0.0).all()
    assert (x <= capacity + scale).all()
    assert (x <= case.state.machine_kw[: len(capacity)] + site.ramp_up_kw + scale).all()
    assert 0.0 <= done.charge_kw <= battery.power_kw + scale
    assert -scale <= done.discharge_kw <= battery.power_kw + scale
    after = done.state
    assert battery.soc_min * battery.energy_kwh <= after.soc_kwh <= battery.soc_max * battery.energy_kwh
    moved = DT * (battery.charge_efficiency * done.charge_kw - done.discharge_kw / battery.discharge_efficiency)
    assert after.soc_kwh == pytest.approx(case.state.soc_kwh + moved, abs=1e-9)
    assert after.theta_c <= max(case.state.theta_c, site.cooling.set_point_c, case.ambient_c)
    heat = machines - cop_of(case) * done.cooling_kw - site.cooling.loss_kw_per_c * (case.state.theta_c - case.ambient_c)
    assert after.theta_c == pytest.approx(case.state.theta_c + DT / site.cooling.capacity_kwh_per_c * heat, abs=1e-9)
    np.testing.assert_array_equal(after.machine_kw, done.machine_kw)
    revenue, _ = worths(case)
    started = np.maximum(0.0, x - case.state.machine_kw[: len(capacity)])
    assert done.revenue == pytest.approx(DT * float((revenue * (x - site.boot_loss * started)).sum()), abs=1e-9)
    assert done.wear == pytest.approx(DT * battery.wear_cost * (done.charge_kw + done.discharge_kw), abs=1e-12)


@given(st.integers(0, 2**32))
@settings(max_examples=150)
def test_the_curve_is_the_maximum_and_dispatch_attains_it(seed: int) -> None:
    check_curve(random_case(seed))


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=5000)
def test_the_curve_is_the_maximum_of_thousands(seed: int) -> None:
    check_curve(random_case(seed))


HASH = MachineClass("air", "hash", 3.5, 100, 0.2)  # 350 kW at 0.1 $/kWh when hash is at 1.75
PRICES = np.array([0.05, 1.75, 1.0])


def plant(**change: Any) -> Site:
    return Site(**({"name": "plant", "fleet": (HASH,), "battery": Battery(), "cooling": Cooling()} | change))


WEAK = Cooling(max_kw=10.0, loss_kw_per_c=0.0)
STORED = plant(battery=Battery(60, 1000, 1.0, 1.0, 0.01, 0.0, 1.0, 0.0))


def state(soc: float = 0.0, theta: float = 35.0, running: float = 0.0) -> SiteState:
    return SiteState(soc, theta, np.array([running]))


@pytest.mark.parametrize(
    ("site", "at", "storage_value", "kappa", "expected"),
    [
        pytest.param(plant(fleet=()), state(), None, None, [], id="an empty fleet and no battery want nothing"),
        pytest.param(plant(), state(0, 0), None, 0.0, [[250, 0.07]], id="cold hall: no cooling, starting loses the boot"),
        pytest.param(plant(), state(0, 0, 350), None, 0.0, [[350, 0.1]], id="running machines lose nothing"),
        pytest.param(plant(), state(0, 0, 300), None, 0.01, [[300, 0.11], [50, 0.08]], id="commitment is added to both"),
        pytest.param(plant(boot_loss=1.0), state(0, 0), None, None, [[250, 0.1]], id="default commitment makes up for the boot"),
        pytest.param(plant(ramp_up_kw=0.0), state(0, 0, 100), None, 0.0, [[100, 0.1]], id="no ramp"),
        pytest.param(plant(), state(0, 36, 350), None, 0.0, [[350 * 7 / 6, 0.6 / 7]], id="hot hall: all is cooled"),
        pytest.param(plant(), state(0, 35, 350), None, 0.0, [[120, 0.1], [230 * 7 / 6, 0.6 / 7]], id="cooled beyond its losses"),
        pytest.param(plant(cooling=WEAK), state(0, 35, 350), None, 0.0, [[70, 0.6 / 7]], id="cooling at its limit"),
        pytest.param(plant(grid_kw=40.0), state(0, 0, 350), None, 0.0, [[40, 0.1]], id="cut at the connection"),
        pytest.param(STORED, state(500, 0, 350), 0.2, 0.0, [[60, 0.19], [350, 0.1]], id="a dear battery is charged first"),
        pytest.param(STORED, state(500, 0, 350), 0.05, 0.0, [[290, 0.1], [60, 0.06], [60, 0.04]], id="a cheap one runs the machines"),
    ],
)  # fmt: skip
def test_curves_by_hand(
    site: Site, at: SiteState, storage_value: float | None, kappa: float | None, expected: list[list[float]]
) -> None:
    commitment = None if kappa is None else np.full(len(site.fleet), kappa)
    curve = value_curve(site, at, PRICES, 20.0, 0.05, 0.05, storage_value, commitment)
    np.testing.assert_allclose(curve, np.array(expected).reshape(-1, 2), rtol=1e-12)


def test_power_beyond_the_curve_is_not_used() -> None:
    done = dispatch(plant(), state(theta=0.0, running=350), 400.0, PRICES, 20.0, 0.05, 0.05)
    assert done.grid_kw == 350.0
    assert done.machine_kw.tolist() == [350.0]


def test_an_idle_battery_keeps_its_energy() -> None:
    site = plant(battery=Battery(60, 1000))
    done = dispatch(site, state(500.0, 0.0, 350.0), 10.0, PRICES, 20.0, 0.05, 0.05)
    assert (done.charge_kw, done.discharge_kw, done.state.soc_kwh) == (0.0, 0.0, 500.0)


@pytest.mark.parametrize(
    ("energy", "storage_value", "drawn", "charged"),
    [
        pytest.param(0.05, -0.03, 350.0, 0.0, id="where power costs something, charging at a loss is not worth it"),
        pytest.param(-0.02, -0.03, 350.0, 0.0, id="nor where giving back costs less than the loss"),
        pytest.param(-0.06, -0.03, 410.0, 60.0, id="where giving back costs more than the loss, it is"),
    ],
)
def test_power_is_used_while_it_is_worth_more_than_giving_it_back(
    energy: float, storage_value: float, drawn: float, charged: float
) -> None:
    site = plant(battery=Battery(60, 1000, 0.8, 0.8, 0.01, 0.0, 1.0, 0.0))  # charging is worth 0.8 x -0.03 - 0.01 = -0.034 $/kWh
    prices = np.array([energy, 1.75, 1.0])
    done = dispatch(site, state(0.0, 0.0, 350.0), 410.0, prices, 20.0, 0.05, 0.05, storage_value)
    assert (done.grid_kw, done.charge_kw) == (drawn, charged)


@pytest.mark.parametrize(
    ("last_price", "mean_price", "ramp", "expected"),
    [
        pytest.param(0.05, 0.05, 250.0, 0.03, id="power was worth buying: the boot loss"),
        pytest.param(0.50, 0.05, 350.0, 0.01, id="it was not, and all is back within a tick: a third of it"),
        pytest.param(0.50, 0.05, 250.0, (0.03 + 0.5 * (0.1 - 7 / 6 * 0.05)) / 3, id="half a tick's usual margin more"),
        pytest.param(0.50, 0.09, 100.0, 0.01, id="usually there is no margin"),
        pytest.param(0.50, 0.05, 1.0, 0.03, id="never more than the boot loss"),
        pytest.param(0.50, 0.05, 0.0, 0.03, id="what cannot start again"),
    ],
)
def test_the_default_commitment_value(last_price: float, mean_price: float, ramp: float, expected: float) -> None:
    found = default_commitment_value(plant(ramp_up_kw=ramp), PRICES, 20.0, last_price, mean_price)
    assert found.tolist() == pytest.approx([expected], rel=1e-12)
