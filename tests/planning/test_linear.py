"""The linear programme alone: limits, prices of time, bid curves, hot starts, failures."""

from __future__ import annotations

from dataclasses import replace

import highspy
import numpy as np
import pytest

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState, dispatch
from gridpilot.market.site import Battery, Cooling, pack_sites
from gridpilot.market.units import DT
from gridpilot.planning.base import Outlook
from gridpilot.planning.blocks import DAY, Blocks, block_ticks
from gridpilot.planning.ladder import find_flaws
from gridpilot.planning.linear import LinearProgramme
from gridpilot.planning.linear_cvar import CVaRProgramme
from tests.planning.worlds import ercot_like, random_world, standard_site

SHORT = ((3, 1), (3, 3), (4, 6))


def flat(price: float, horizon: int = 24, hash_price: float = 2.1, token_price: float = 0.3) -> np.ndarray:
    return np.tile([price, hash_price, token_price], (horizon, 1))


def planner_of(site, **options) -> LinearProgramme:
    planner = LinearProgramme(**options)
    planner.reset(site)
    return planner


@pytest.mark.parametrize("seed", range(2000, 2060))
def test_plans_keep_every_limit_and_balance(seed: int) -> None:
    site, state, outlook = random_world(seed, 36)
    plan = planner_of(site, blocks=SHORT).plan(state, outlook)
    assert find_flaws(plan, pack_sites([site]), len(site.fleet), state, outlook) == []
    assert np.minimum(plan.charge_kw, plan.discharge_kw).max() == 0.0


@pytest.mark.parametrize("seed", range(2100, 2130))
def test_bid_curves_fall_and_end_within_the_cap(seed: int) -> None:
    site, state, outlook = random_world(seed, 24)
    planner = planner_of(site, blocks=SHORT)
    curve = planner.bid_curve(state, outlook)
    assert curve.shape[1:] == (2,)
    assert np.isfinite(curve).all()
    assert (curve[:, 0] > 0.0).all()
    assert (np.diff(curve[:, 1]) <= 0.0).all()
    cap = site.grid_kw if outlook.cap_kw is None else min(site.grid_kw, outlook.cap_kw[0])
    assert curve[:, 0].sum() <= cap + 1e-6


def test_the_bid_curve_is_the_worth_of_power() -> None:
    site = standard_site()
    prices, ambient = ercot_like(0, 300)
    state = SiteState(500.0, 30.0, np.array([100.0, 50.0, 0.0]))
    outlook = Outlook(prices[:288], ambient[:288])
    planner = planner_of(site)
    planner.plan(state, outlook)
    curve = planner.bid_curve(state, outlook, points=41)
    price = float(prices[0, 0])
    for kw in (100.0, 350.0, 600.0):
        worth = float(np.interp(kw, np.cumsum([0.0, *curve[:, 0]]), np.cumsum([0.0, *(curve[:, 0] * curve[:, 1])])))
        pinned = []
        for power in (0.0, kw):
            solver, _ = planner._loaded(state, outlook)
            solver.pin(int(solver.model.draw_row[0]), power, power)
            solver.solve()
            pinned.append(solver.objective + DT * price * power)
        assert DT * worth == pytest.approx(pinned[1] - pinned[0], abs=2e-3)


def test_a_curve_after_a_plan_is_the_curve_without_one() -> None:
    site, state, outlook = random_world(7, 36)
    cold, warm = planner_of(site, blocks=SHORT), planner_of(site, blocks=SHORT)
    warm.plan(state, outlook)
    a, b = cold.bid_curve(state, outlook), warm.bid_curve(state, outlook)
    assert a[:, 0].sum() == pytest.approx(b[:, 0].sum())
    assert (a[:, 0] * a[:, 1]).sum() == pytest.approx((b[:, 0] * b[:, 1]).sum(), abs=1e-6)


def test_hot_plans_are_worth_what_cold_ones_are() -> None:
    site = standard_site()
    prices, ambient = ercot_like(1, 330)
    hot = planner_of(site)
    for t in range(0, 40, 4):
        state = SiteState(100.0 + 40.0 * t, 35.0, np.array([209.0, 210.0, 100.0]))
        outlook = Outlook(prices[t : t + 288], ambient[t : t + 288], cap_kw=np.full(288, 1000.0 - 10.0 * t))
        assert hot.plan(state, outlook).objective == pytest.approx(planner_of(site).plan(state, outlook).objective, rel=1e-9)


def test_storage_value_is_what_one_more_kwh_is_worth() -> None:
    site = standard_site()
    prices, ambient = ercot_like(2, 288)
    planner = planner_of(site)
    state = SiteState(800.0, 35.0, np.array([209.0, 210.0, 214.0]))
    outlook = Outlook(prices, ambient)
    plan = planner.plan(state, outlook)
    more = planner.plan(replace(state, soc_kwh=800.1), outlook).objective - plan.objective
    less = plan.objective - planner.plan(replace(state, soc_kwh=799.9), outlook).objective
    assert more / 0.1 - 1e-6 <= plan.storage_value <= less / 0.1 + 1e-6


def test_commitment_value_is_what_stopping_costs() -> None:
    site = standard_site()
    plan = planner_of(site).plan(SiteState(100.0, 35.0, np.array([209.04, 210.0, 214.2])), Outlook(flat(0.05), np.full(24, 20.0)))
    revenue = np.array([2.1 * 0.335 / 5.36, 2.1 * 0.2 / 3.5, 0.3 * 5.78 / 10.2])
    np.testing.assert_allclose(plan.commitment_value, 0.3 * revenue, rtol=1e-6)


def test_commitment_is_worth_nothing_where_the_machine_is_to_stand() -> None:
    site = standard_site()
    plan = planner_of(site).plan(SiteState(100.0, 35.0, np.zeros(3)), Outlook(flat(0.9), np.full(24, 20.0)))
    np.testing.assert_allclose(plan.commitment_value, 0.0, atol=1e-9)
    assert plan.machine_kw.max() == 0.0


def test_ramp_and_boot_loss_are_in_the_plan() -> None:
    site = standard_site(ramp_up_kw=20.0)
    plan = planner_of(site, blocks="full").plan(SiteState(100.0, 20.0, np.zeros(3)), Outlook(flat(0.01), np.full(24, 20.0)))
    np.testing.assert_allclose(np.diff(plan.machine_kw[:8, 0], prepend=0.0), 20.0, rtol=1e-6)


def test_the_plan_of_a_tick_is_what_the_plant_does() -> None:
    site = standard_site()
    prices, ambient = ercot_like(3, 288)
    state = SiteState(900.0, 35.0, np.array([209.04, 210.0, 214.2]))
    plan = planner_of(site).plan(state, Outlook(prices, ambient))
    price = float(prices[0, 0])
    done = dispatch(
        site, state, float(plan.grid_kw[0]), prices[0], ambient[0], price, price, plan.storage_value, plan.commitment_value
    )
    np.testing.assert_allclose(done.machine_kw, plan.machine_kw[0], atol=1e-3)
    assert done.cooling_kw == pytest.approx(plan.cooling_kw[0], abs=1e-3)
    assert done.charge_kw - done.discharge_kw == pytest.approx(plan.charge_kw[0] - plan.discharge_kw[0], abs=1e-3)


def test_it_buys_cheap_and_sells_dear() -> None:
    site = standard_site()
    prices = flat(0.02)
    prices[12:, 0] = 0.11
    outlook = Outlook(prices, np.full(24, 20.0), terminal=np.array([[1800.0, 0.01]]))
    plan = planner_of(site).plan(SiteState(100.0, 35.0, np.array([209.0, 210.0, 214.0])), outlook)
    assert plan.soc_kwh[12] > plan.soc_kwh[0] + 100.0
    assert plan.soc_kwh[-1] < plan.soc_kwh[12] - 50.0


@pytest.mark.parametrize("battery", [Battery(), Battery(500.0, 0.0, soc_min=0.0, soc_start=0.0), Battery(0.0, 2000.0)])
def test_sites_without_storage_have_plans(battery: Battery) -> None:
    plan = planner_of(standard_site(battery=battery)).plan(
        SiteState(0.0, 20.0, np.zeros(3)), Outlook(flat(-0.3), np.full(24, 20.0))
    )
    assert plan.charge_kw.max() == plan.discharge_kw.max() == 0.0
    assert plan.machine_kw.sum() > 0.0


def test_nothing_burns_power_at_negative_prices() -> None:
    site = standard_site(fleet=())
    full = SiteState(1900.0, 20.0, np.zeros(1))
    plan = planner_of(site).plan(full, Outlook(flat(-2.0), np.full(24, 20.0), terminal=np.array([[2000.0, 0.01]])))
    assert np.minimum(plan.charge_kw, plan.discharge_kw).max() == 0.0
    assert plan.cooling_kw.max() == 0.0


def test_states_beyond_the_limits_have_plans_and_reasons() -> None:
    site = standard_site()
    outlook = Outlook(flat(0.05), np.full(24, 30.0))
    plan = planner_of(site).plan(SiteState(2500.0, 55.0, np.array([1e4, 0.0, 0.0])), outlook)
    assert [reason.split(":")[0] for reason in plan.reasons] == ["soc_outside_limits", "hall_above_set_point"]
    assert plan.soc_kwh[0] == 1900.0
    assert planner_of(site).plan(SiteState(1900.0, 35.0, np.zeros(3)), outlook).reasons == ()


def test_a_hall_without_cooling_lives_on_its_heat() -> None:
    site = standard_site(cooling=Cooling(max_kw=0.0))
    warm, cold = (
        planner_of(site).plan(SiteState(100.0, theta, np.zeros(3)), Outlook(flat(0.01), np.full(24, 20.0)))
        for theta in (35.0, 15.0)
    )
    assert cold.machine_kw.sum(axis=1) @ cold.ticks > warm.machine_kw.sum(axis=1) @ warm.ticks + 1000.0
    assert warm.machine_kw.sum(axis=1)[0] == pytest.approx(8.0 * 15.0)


def test_the_least_cap_of_a_block_holds() -> None:
    cap = np.full(288, 1000.0)
    cap[100] = 123.0
    plan = planner_of(standard_site()).plan(SiteState(100.0, 35.0, np.zeros(3)), Outlook(flat(0.01, 288), np.full(288, 20.0), cap))
    block = int(np.searchsorted(np.cumsum(plan.ticks), 100, side="right"))
    assert plan.grid_kw[block] <= 123.0 + 1e-6
    assert plan.grid_kw.max() > 500.0


@pytest.mark.parametrize("horizon", [1, 2, 12, 13, 47, 48, 288, 300])
def test_blocks_cover_the_horizon(horizon: int) -> None:
    ticks = block_ticks(DAY, horizon)
    assert ticks.sum() == horizon
    assert ticks[0] == 1
    blocks = Blocks(DAY, horizon)
    values = np.arange(horizon, dtype=np.float64)
    assert blocks.mean(values) @ ticks == pytest.approx(values.sum())
    site = standard_site()
    plan = planner_of(site).plan(SiteState(100.0, 30.0, np.zeros(3)), Outlook(flat(0.03, horizon), np.full(horizon, 20.0)))
    assert plan.ticks.tolist() == ticks.tolist()


@pytest.mark.parametrize("layout", ["half", (), ((2, 3),), ((0, 1),), ((1, 1), (3, 0))])
def test_other_blocks_are_refused(layout) -> None:
    with pytest.raises(PlanningError, match="blocks"):
        LinearProgramme(layout)


def test_a_deadline_that_cannot_be_met_is_an_error_and_is_forgotten() -> None:
    site = standard_site()
    prices, ambient = ercot_like(4, 288)
    state, outlook = SiteState(100.0, 30.0, np.zeros(3)), Outlook(prices, ambient)
    planner = planner_of(site, blocks="full", deadline=1e-9)
    with pytest.raises(PlanningError, match="Time limit reached"):
        planner.plan(state, outlook)
    planner.deadline = None
    assert planner.plan(state, outlook).objective == pytest.approx(planner_of(site, blocks="full").plan(state, outlook).objective)


def test_a_solver_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    site, state, outlook = random_world(3, 24)
    planner = planner_of(site)
    monkeypatch.setattr(highspy.Highs, "getModelStatus", lambda self: highspy.HighsModelStatus.kSolveError)
    with pytest.raises(PlanningError, match="expected 'Optimal'"):
        planner.plan(state, outlook)
    monkeypatch.undo()
    assert np.isfinite(planner.plan(state, outlook).objective)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearProgramme(deadline=0.0), "deadline"),
        (lambda: CVaRProgramme(risk_weight=1.5), "risk_weight"),
        (lambda: CVaRProgramme(tail=0.0), "tail"),
        (
            lambda: planner_of(standard_site()).plan(SiteState(np.nan, 20.0, np.zeros(3)), Outlook(flat(0.1), np.zeros(24))),
            "finite",
        ),
        (lambda: planner_of(standard_site()).plan(SiteState(0.0, 20.0, np.zeros(1)), Outlook(flat(0.1), np.zeros(24))), "classes"),
        (
            lambda: planner_of(standard_site()).plan(
                SiteState(0.0, 20.0, np.zeros(3)), Outlook(flat(0.1), np.zeros(24), terminal=np.array([[1.0, 0.1], [1.0, 0.2]]))
            ),
            "terminal",
        ),
        (
            lambda: planner_of(standard_site()).bid_curve(SiteState(0.0, 20.0, np.zeros(3)), Outlook(flat(0.1), np.zeros(24)), 2),
            "points",
        ),
    ],
)
def test_what_is_wrong_is_named(make, message: str) -> None:
    with pytest.raises(PlanningError, match=message):
        make()


def test_risk_aversion_gives_up_mean_for_the_tail() -> None:
    site = standard_site()
    rng = np.random.default_rng(0)
    prices, ambient = ercot_like(6, 96)
    scenarios = np.repeat(prices[None], 10, axis=0)
    scenarios[:, 1:, 0] *= np.exp(0.3 * np.cumsum(rng.normal(0.0, 0.3, (10, 95)), axis=1))
    outlook = Outlook(prices, ambient, scenarios=scenarios)
    state = SiteState(1000.0, 35.0, np.array([209.0, 210.0, 214.0]))
    plans = []
    for weight in (0.0, 0.5, 1.0):
        planner = CVaRProgramme(weight, 0.2)
        planner.reset(site)
        plans.append(planner.plan(state, outlook).objective)
    assert plans[0] > plans[1] > plans[2]
    assert plans[1] <= 0.5 * (plans[0] + plans[2]) + 1e-9  # a maximum of functions that are linear in the weight


def test_without_scenarios_the_risk_averse_programme_is_the_plain_one() -> None:
    site, state, outlook = random_world(11, 24)
    planner = CVaRProgramme(0.7, 0.3)
    planner.reset(site)
    assert planner.plan(state, outlook).objective == pytest.approx(
        planner_of(site).plan(state, outlook).objective, rel=1e-9, abs=1e-9
    )
