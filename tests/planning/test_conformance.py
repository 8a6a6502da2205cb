"""What every registered planner must do: a new one is tested because it is in the registry."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState
from gridpilot.market.site import pack_sites
from gridpilot.planning.base import Outlook, Plan, Planner
from gridpilot.planning.ladder import find_flaws
from gridpilot.planning.last_resort import Myopic, Zero
from gridpilot.planning.registry import PLANNER, build_planner
from gridpilot.presets import find, names
from tests.planning.worlds import World, ercot_like, random_world, standard_site

EVERY = pytest.mark.parametrize("name", names("planner"))
HORIZON = 24
# Of rougher precision than a plan is held to: it is there to check the objective of the others.
INEXACT = {"convex"}


def planned(planner: Planner, world: World) -> Plan:
    planner.reset(world.site)
    return planner.plan(world.state, world.outlook)


def same(one: Plan, other: Plan) -> bool:
    fields = [field.name for field in dataclasses.fields(Plan)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)


@EVERY
def test_is_a_planner_with_a_name_and_a_description(name: str) -> None:
    kind = find(PLANNER, name)
    assert kind.name == name
    assert kind.__doc__
    assert kind.__name__ in __import__(kind.__module__, fromlist=["__all__"]).__all__


@EVERY
def test_plans_awkward_worlds_within_their_limits(name: str) -> None:
    planner = build_planner(name)
    for seed in range(12):
        world = random_world(seed, HORIZON, scenarios=3)
        plan = planned(planner, world)
        flaws = find_flaws(plan, pack_sites([world.site]), len(world.site.fleet), world.state, world.outlook)
        assert flaws == [] or name in INEXACT, f"seed {seed}: {flaws}"
        assert int(plan.ticks.sum()) == HORIZON, f"seed {seed}"
        assert np.isfinite(plan.storage_value), f"seed {seed}"
        assert (plan.commitment_value >= 0.0).all(), f"seed {seed}"
        assert plan.rung, f"seed {seed}"


@EVERY
def test_bid_curves_do_not_increase(name: str) -> None:
    planner, site = build_planner(name), standard_site()
    planner.reset(site)
    for seed in range(4):
        prices, ambient = ercot_like(seed, 288)
        evening = slice(216, 216 + HORIZON)
        outlook = Outlook(prices[evening], ambient[evening], scenarios=np.stack([prices[evening]] * 2))
        curve = planner.bid_curve(SiteState(1000.0, 30.0, np.array([100.0, 50.0, 0.0])), outlook, points=3)
        assert curve.ndim == 2
        assert curve.shape[1] == 2
        assert np.isfinite(curve).all(), f"seed {seed}"
        assert (curve[:, 0] >= 0.0).all(), f"seed {seed}"
        assert (np.diff(curve[:, 1]) <= 1e-9).all(), f"seed {seed}"


@EVERY
def test_a_reset_forgets_everything_and_equal_worlds_get_equal_plans(name: str) -> None:
    world, other = random_world(1, HORIZON, scenarios=3), random_world(2, HORIZON, scenarios=3)
    planner = build_planner(name)
    first = planned(planner, world)
    planned(planner, other)
    assert same(first, planned(planner, world))
    assert same(first, planned(build_planner(name), world))


@EVERY
def test_nothing_that_it_is_given_is_changed(name: str) -> None:
    world = random_world(3, HORIZON, scenarios=3)
    before = copy.deepcopy(world)
    planner = build_planner(name)
    planned(planner, world)
    planner.bid_curve(world.state, world.outlook, points=3)
    assert pickle.dumps(world) == pickle.dumps(before)


@EVERY
def test_a_copy_plans_the_same(name: str) -> None:
    world = random_world(4, HORIZON, scenarios=3)
    planner: Planner = pickle.loads(pickle.dumps(build_planner(name)))
    assert same(planned(planner, world), planned(build_planner(name), world))


@EVERY
def test_unknown_parameters_are_refused_by_name(name: str) -> None:
    with pytest.raises(PlanningError, match=f"planner '{name}': .*'foresight'.*takes"):
        build_planner({"name": name, "foresight": True})


@pytest.mark.parametrize("name", [*names("planner"), "myopic", "zero"])
@pytest.mark.parametrize(("soc", "theta"), [(0.4, 0.0), (1.5, 0.0), (1.0, 0.5), (2.0, 0.5)])
def test_a_state_beyond_a_limit_is_among_the_reasons_of_every_planner(name: str, soc: float, theta: float) -> None:
    """``soc`` 0.4 and 1.5 lie below and above the battery's limits, 1 and 2 are their ends; ``theta`` is degrees above the set point."""
    site, outlook = standard_site(), Outlook(*ercot_like(0, HORIZON))
    plant = pack_sites([site]).plant[0]
    low, high = float(plant["soc_min"]), float(plant["soc_max"])
    kwh = {0.4: low - 0.4 * max(low, 1.0), 1.5: high + 10.0, 1.0: low, 2.0: high}[soc]
    state = SiteState(kwh, float(plant["set_point"]) + theta, np.zeros(len(site.fleet)))
    planner: Planner = {"myopic": Myopic, "zero": Zero}[name]() if name in ("myopic", "zero") else build_planner(name)
    planner.reset(site)
    told = [reason.partition(":")[0] for reason in planner.plan(state, outlook).reasons]
    expected = ["soc_outside_limits"] * (soc in (0.4, 1.5)) + ["hall_above_set_point"] * (theta > 0.0)
    assert [reason for reason in told if reason in ("soc_outside_limits", "hall_above_set_point")] == expected
