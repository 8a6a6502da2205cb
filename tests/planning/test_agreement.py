"""Three planners, one problem: compared by what their plans earn, never by what a solver says of itself."""

from __future__ import annotations

import numpy as np
import pytest

from gridpilot.market.site import pack_sites
from gridpilot.planning.base import Planner
from gridpilot.planning.convex import ConvexReference
from gridpilot.planning.dynamic import DynamicProgramme
from gridpilot.planning.ladder import find_flaws
from gridpilot.planning.linear import LinearProgramme
from gridpilot.planning.linear_cvar import CVaRProgramme
from tests.planning.worlds import ercot_like, play, random_world, standard_site

SHORT = ((3, 1), (3, 3), (4, 6))


def check_objectives(linear: Planner, convex: Planner, seed: int, horizon: int, scenarios: int = 0) -> None:
    world = random_world(seed, horizon, scenarios)
    plans = []
    for planner in (linear, convex):
        planner.reset(world.site)
        plans.append(planner.plan(world.state, world.outlook))
        if not scenarios:
            flaws = find_flaws(plans[-1], pack_sites([world.site]), len(world.site.fleet), world.state, world.outlook)
            assert flaws == [] or planner is convex, f"seed {seed}: {flaws}"
            assert planner is convex or np.minimum(plans[-1].charge_kw, plans[-1].discharge_kw).max() == 0.0
    fast, exact = plans
    assert fast.objective == pytest.approx(exact.objective, rel=1e-6, abs=2e-5), f"seed {seed}"


@pytest.fixture(scope="module")
def convex() -> ConvexReference:
    return ConvexReference(SHORT)


@pytest.mark.parametrize("seed", range(340))  # of which some 200 have both power and something to do with it
def test_linear_programme_and_cvxpy_agree(seed: int, convex: ConvexReference) -> None:
    check_objectives(LinearProgramme(SHORT), convex, seed, 36)


@pytest.mark.parametrize(("weight", "tail"), [(0.5, 0.25), (1.0, 0.5), (0.3, 1.0)])
def test_risk_averse_linear_programme_and_cvxpy_agree(weight: float, tail: float) -> None:
    convex = ConvexReference(SHORT, risk_weight=weight, tail=tail)
    for seed in range(8):
        check_objectives(CVaRProgramme(weight, tail, SHORT), convex, seed, 12, 4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_linear_programme_and_cvxpy_agree_over_a_day(seed: int, day: ConvexReference) -> None:
    check_objectives(LinearProgramme(), day, seed, 288)


@pytest.fixture(scope="module")
def day() -> ConvexReference:
    return ConvexReference()


@pytest.mark.slow
def test_coarse_planners_earn_what_the_exact_one_earns() -> None:
    site = standard_site()
    prices, ambient = ercot_like(5, 300)
    exact, blocked, dynamic = (
        play(planner, site, prices, ambient, 40, 200)
        for planner in (LinearProgramme("full"), LinearProgramme(), DynamicProgramme())
    )
    assert blocked == pytest.approx(exact, rel=3e-3)
    assert dynamic == pytest.approx(exact, rel=1e-2)


@pytest.mark.slow
def test_coarse_planners_earn_what_the_exact_one_earns_on_average() -> None:
    earned = []
    for seed in range(12):
        site = standard_site(ramp_up_kw=(50.0, 250.0)[seed % 2], boot_loss=(0.3, 1.0)[seed % 3 == 0])
        prices, ambient = ercot_like(seed, 576)
        planners = (LinearProgramme("full"), LinearProgramme(), DynamicProgramme())
        earned.append([play(planner, site, prices, ambient, 288, 288) for planner in planners])
    exact, blocked, dynamic = np.mean(earned, axis=0)
    assert blocked >= exact * (1.0 - 1e-3)
    assert dynamic >= exact * (1.0 - 1e-2)
