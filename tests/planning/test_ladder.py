"""The ladder: which rung answers, why those above it did not, and that nothing makes it raise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gridpilot.errors import PlanningError
from gridpilot.market.plant import SiteState
from gridpilot.market.site import pack_sites
from gridpilot.planning.base import Outlook, Plan, Planner
from gridpilot.planning.dynamic import DynamicProgramme
from gridpilot.planning.ladder import Ladder, find_flaws
from gridpilot.planning.last_resort import Myopic, Zero
from gridpilot.planning.linear import LinearProgramme
from gridpilot.planning.linear_cvar import CVaRProgramme
from tests.planning.worlds import ercot_like, random_world, standard_site

SHORT = ((3, 1), (3, 3))


def flat_outlook(price: float = 0.05, horizon: int = 12, **more: Any) -> Outlook:
    return Outlook(np.tile([price, 2.1, 0.3], (horizon, 1)), np.full(horizon, 25.0), **more)


STATE = SiteState(500.0, 30.0, np.array([100.0, 50.0, 0.0]))


class Broken(Planner):
    """Fails in a way of one's choice."""

    name = "broken"

    def __init__(self, change: Any = None, error: Exception | None = None, clock: Any = None, takes: float = 0.0) -> None:
        self.change, self.error, self.clock, self.takes = change, error, clock, takes
        self.inner = LinearProgramme(SHORT)

    def reset(self, site: Any) -> None:
        self.inner.reset(site)

    def plan(self, state: SiteState, outlook: Outlook) -> Plan:
        if self.clock is not None:
            self.clock.now += self.takes
        if self.error is not None:
            raise self.error
        plan = self.inner.plan(state, outlook)
        return plan if self.change is None else self.change(plan)

    def bid_curve(self, state: SiteState, outlook: Outlook, points: int = 11) -> np.ndarray:
        if self.error is not None:
            raise self.error
        return np.array([[1.0, 0.1], [1.0, 0.2]])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ladder_of(*planners: Planner, **options: Any) -> Ladder:
    ladder = Ladder(planners, **options)
    ladder.reset(standard_site())
    return ladder


def test_the_first_rung_answers_where_nothing_fails() -> None:
    ladder = Ladder()
    ladder.reset(standard_site())
    plan = ladder.plan(STATE, flat_outlook())
    assert plan.rung == "linear"
    assert plan.reasons == ()


WRONG = {
    "nan": lambda plan: replace(plan, storage_value=float("nan")),
    "infinite": lambda plan: replace(plan, soc_kwh=np.full_like(plan.soc_kwh, np.inf)),
    "too much power": lambda plan: replace(plan, grid_kw=plan.grid_kw + 1e4),
    "power from nowhere": lambda plan: replace(plan, machine_kw=plan.machine_kw + 1.0),
    "negative": lambda plan: replace(plan, cooling_kw=plan.cooling_kw - 500.0),
    "charge from nowhere": lambda plan: replace(plan, soc_kwh=plan.soc_kwh + 5.0 * np.arange(len(plan.soc_kwh))),
    "beyond the ramp": lambda plan: replace(plan, machine_kw=plan.machine_kw + np.array([1e3, 0.0, 0.0])),
    "both at once": lambda plan: replace(plan, charge_kw=plan.charge_kw + 9.0, discharge_kw=plan.discharge_kw + 9.0),
    "negative commitment": lambda plan: replace(plan, commitment_value=plan.commitment_value - 1.0),
    "wrong shape": lambda plan: replace(plan, machine_kw=plan.machine_kw[:, :1]),
    "another length": lambda plan: replace(plan, charge_kw=plan.charge_kw[:-1]),
    "too many ticks": lambda plan: replace(plan, ticks=plan.ticks * 50),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_plan_falls_to_the_next_rung(what: str) -> None:
    plan = ladder_of(Broken(WRONG[what]), DynamicProgramme()).plan(STATE, flat_outlook())
    assert plan.rung == "dynamic"
    assert plan.reasons[0].startswith("broken: wrong plan: ")


@pytest.mark.parametrize("error", [PlanningError("no"), RuntimeError("crash"), ZeroDivisionError(), MemoryError()])
def test_an_exception_falls_to_the_next_rung(error: Exception) -> None:
    ladder = ladder_of(Broken(error=error), DynamicProgramme())
    plan = ladder.plan(STATE, flat_outlook())
    assert plan.rung == "dynamic"
    assert plan.reasons == (f"broken: {type(error).__name__}: {error}",)
    assert (np.diff(ladder.bid_curve(STATE, flat_outlook())[:, 1]) <= 0.0).all()


def test_when_all_fail_the_coming_tick_alone_is_planned() -> None:
    plan = ladder_of(Broken(error=RuntimeError("a")), Broken(WRONG["nan"])).plan(STATE, flat_outlook(0.04))
    assert plan.rung == "myopic"
    assert len(plan.reasons) == 2
    assert plan.storage_value == pytest.approx(0.04)
    assert plan.machine_kw.sum() > 0.0


def test_the_myopic_rung_knows_the_mean_of_the_prices_met() -> None:
    ladder = ladder_of(Broken(error=RuntimeError()))
    for price in (0.02, 0.08):
        plan = ladder.plan(STATE, flat_outlook(price))
    assert 0.02 < plan.storage_value < 0.03


def test_a_late_answer_falls_to_a_rung_that_takes_no_time() -> None:
    clock = Clock()
    ladder = ladder_of(Broken(clock=clock, takes=2.0), DynamicProgramme(), deadline=1.0, clock=clock)
    plan = ladder.plan(STATE, flat_outlook())
    assert plan.rung == "myopic"
    assert plan.reasons == ("broken: late, 2 s of 1.0 s", "dynamic: not asked, the deadline of 1.0 s is over")


def test_the_linear_rung_leaves_time_for_the_next() -> None:
    clock = Clock()
    ladder = ladder_of(LinearProgramme("full"), DynamicProgramme(), deadline=1e-7, clock=clock)
    prices, ambient = ercot_like(0, 288)
    plan = ladder.plan(STATE, Outlook(prices, ambient))
    assert plan.rung == "dynamic"
    assert "Time limit" in plan.reasons[0]


@pytest.mark.parametrize("seed", range(3000, 3060))
def test_no_outlook_and_no_state_makes_it_raise_or_break_a_limit(seed: int) -> None:
    site, state, outlook = random_world(seed, 24, scenarios=3)
    for first in (LinearProgramme(SHORT), DynamicProgramme(), CVaRProgramme(blocks=SHORT), Broken(error=RuntimeError())):
        ladder = Ladder([first])
        ladder.reset(site)
        plan = ladder.plan(state, outlook)
        assert find_flaws(plan, pack_sites([site]), len(site.fleet), state, outlook) == []
        assert plan.rung == ("myopic" if isinstance(first, Broken) else first.name), plan.reasons
        curve = ladder.bid_curve(state, outlook)
        assert (np.diff(curve[:, 1]) <= 0.0).all()


@pytest.mark.parametrize("value", [1e12, -1e12, 20.0, -20.0, 1e-300])
def test_wild_prices_have_plans(value: float) -> None:
    outlook = flat_outlook(0.05)
    outlook.prices[3:7, 0] = value
    ladder = Ladder()
    ladder.reset(standard_site())
    plan = ladder.plan(STATE, outlook)
    assert find_flaws(plan, pack_sites([standard_site()]), 3, STATE, outlook) == []
    assert len(ladder.bid_curve(STATE, outlook)) > 0


@pytest.mark.parametrize(
    "state",
    [SiteState(np.nan, 30.0, STATE.machine_kw), SiteState(0.0, np.inf, STATE.machine_kw), SiteState(0.0, 30.0, np.zeros(1))],
)
def test_a_state_that_is_none_has_no_power(state: SiteState) -> None:
    ladder = ladder_of(LinearProgramme(SHORT))
    plan = ladder.plan(state, flat_outlook())
    assert plan.rung == "zero"
    assert plan.grid_kw.tolist() == [0.0]
    assert plan.reasons[0].startswith("state: ")
    assert len(ladder.bid_curve(state, flat_outlook())) == 0


def test_plan_safely_uses_what_is_finite() -> None:
    ladder = ladder_of(LinearProgramme(SHORT))
    good = flat_outlook()
    prices = good.prices.copy()
    prices[5, 0] = np.nan
    plan = ladder.plan_safely(STATE, prices, good.ambient_c, terminal=np.array([[1.0, np.nan]]))
    assert plan.rung == "linear"
    assert plan.ticks.sum() == 5
    assert "not finite" in plan.reasons[0]
    assert "cut at 5 ticks" in plan.reasons[1]
    assert ladder.plan_safely(STATE, good.prices, good.ambient_c).reasons == ()


@pytest.mark.parametrize("prices", [np.full((12, 3), np.nan), np.zeros((0, 3)), np.zeros((12, 2)), "prices", None, [[1, 2], [3]]])
def test_plan_safely_without_a_coming_tick_has_no_power(prices: Any) -> None:
    plan = ladder_of(LinearProgramme(SHORT)).plan_safely(STATE, prices, np.full(12, 20.0))
    assert plan.rung == "zero"
    assert plan.reasons


def test_the_last_resorts_answer_by_themselves() -> None:
    site = standard_site()
    for planner in (Myopic(), Zero()):
        planner.reset(site)
        outlook = flat_outlook(cap_kw=np.full(12, 77.0))
        plan = planner.plan(STATE, outlook)
        assert find_flaws(plan, pack_sites([site]), 3, STATE, outlook) == []
        assert planner.bid_curve(STATE, outlook)[:, 0].sum() <= 77.0


def test_a_deadline_of_no_time_is_refused() -> None:
    with pytest.raises(PlanningError, match="deadline"):
        Ladder(deadline=0.0)
