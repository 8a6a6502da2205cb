"""The cvxpy definition alone: variants, solvers, its own curve."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState
from gridpilot.market.site import pack_sites
from gridpilot.planning.base import Outlook
from gridpilot.planning.convex import ConvexReference
from gridpilot.planning.ladder import find_flaws
from gridpilot.planning.linear import LinearProgramme
from tests.planning.worlds import ercot_like, random_world, standard_site

SHORT = ((3, 1), (3, 3))


def planner_of(site, **options) -> ConvexReference:
    planner = ConvexReference(SHORT, **options)
    planner.reset(site)
    return planner


@pytest.fixture(scope="module")
def case() -> tuple[SiteState, Outlook]:
    prices, ambient = ercot_like(0, 12)
    prices[6:, 0] += 0.06
    return SiteState(800.0, 34.0, np.array([209.0, 100.0, 0.0])), Outlook(prices, ambient)


@pytest.mark.parametrize("solver", ["PIQP", "CLARABEL", "HIGHS"])
def test_every_solver_finds_the_same_plan(solver: str, case) -> None:
    site, (state, outlook) = standard_site(), case
    fast = LinearProgramme(SHORT)
    fast.reset(site)
    plan, expected = planner_of(site, solvers=[solver]).plan(state, outlook), fast.plan(state, outlook)
    assert plan.objective == pytest.approx(expected.objective, rel=1e-7)
    assert plan.storage_value == pytest.approx(expected.storage_value, abs=1e-6)
    assert (plan.commitment_value >= -1e-9).all()


@pytest.mark.parametrize("seed", [1, 4, 8, 10])
def test_plans_keep_limits_to_the_solver_s_accuracy(seed: int) -> None:
    site, state, outlook = random_world(seed, 12)
    plan = planner_of(site, solvers=["HIGHS"]).plan(state, outlook)
    assert find_flaws(plan, pack_sites([site]), len(site.fleet), state, outlook) == []


def test_quadratic_wear_spreads_the_battery_s_work(case) -> None:
    site, (state, outlook) = standard_site(), case
    plain, smooth = planner_of(site), planner_of(site, quadratic_wear=0.05)
    a, b = plain.plan(state, outlook), smooth.plan(state, outlook)
    assert (b.charge_kw + b.discharge_kw).max() < (a.charge_kw + a.discharge_kw).max() - 1.0
    assert b.objective < a.objective


def test_the_curve_is_that_of_the_linear_programme(case) -> None:
    site, (state, outlook) = standard_site(), case
    fast = LinearProgramme(SHORT)
    fast.reset(site)
    a, b = planner_of(site).bid_curve(state, outlook, 5), fast.bid_curve(state, outlook, 5)
    at = np.cumsum([0.0, *a[:, 0]])
    worth = np.interp(at, np.cumsum([0.0, *b[:, 0]]), np.cumsum([0.0, *(b[:, 0] * b[:, 1])]))
    np.testing.assert_allclose(np.cumsum([0.0, *(a[:, 0] * a[:, 1])]), worth, atol=0.01)
    assert (np.diff(a[:, 1]) <= 0.0).all()


def test_problems_of_one_shape_are_compiled_once(case) -> None:
    state, outlook = case
    planner = planner_of(standard_site())
    planner.plan(state, outlook)
    planner.reset(standard_site(boot_loss=0.9))
    planner.plan(state, outlook)
    assert len(planner._problems) == 1
    assert all(problem.programme.is_dpp() for problem in planner._problems.values())


@pytest.mark.parametrize(
    "options", [{"quadratic_wear": -1.0}, {"risk_weight": 2.0}, {"tail": 0.0}, {"solvers": ["NOTHING"]}, {"solvers": []}]
)
def test_what_is_wrong_is_named(options, case) -> None:
    state, outlook = case
    with pytest.raises(PlanningError, match="convex reference"):
        planner_of(standard_site(), **options).plan(state, outlook)


def test_a_solver_that_is_missing_is_passed_over(case) -> None:
    state, outlook = case
    assert planner_of(standard_site(), solvers=["NOTHING", "HIGHS"]).plan(state, outlook).objective > 0.0
