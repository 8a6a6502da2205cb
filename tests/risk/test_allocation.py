"""Allocations keep their limits, obey their laws, and are the optima they claim to be."""

from __future__ import annotations

import math
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from gridpilot.errors import MissingExtraError, RiskError
from gridpilot.risk import Allocator, allocate, scenario_cvar
from gridpilot.risk.allocation import METHODS
from gridpilot.risk.bootstrap import block_rows
from gridpilot.risk.budgeting import ATTEMPTS, budget_risk
from gridpilot.risk.convex import SOLVERS, fill_by_mean
from gridpilot.risk.hierarchical import fill_by_weight, skfolio_weights

EVERY = pytest.mark.parametrize("method", METHODS)


def lines(seed: int, samples: int = 40, n: int = 3) -> tuple[np.ndarray, np.ndarray, float]:
    """Scenarios of correlated lines, caps and a total that binds."""
    rng = np.random.default_rng(seed)
    scenarios = rng.normal(0.2, 0.1, (samples, n)) @ (np.eye(n) + rng.uniform(-0.4, 0.4, (n, n)))
    caps = rng.uniform(100.0, 800.0, n)
    return scenarios, caps, float(rng.uniform(0.3, 0.9) * caps.sum())


def optimiser(method: str, **parameters: Any) -> Allocator:
    if method == "hierarchical":
        pytest.importorskip("skfolio")
    return Allocator(method, **parameters)  # type: ignore[arg-type]


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    samples, n = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    profit = st.one_of(st.integers(-3, 3).map(float), st.floats(-2.0, 2.0, allow_subnormal=False))
    scenarios = draw(st.lists(st.lists(profit, min_size=n, max_size=n), min_size=samples, max_size=samples))
    caps = draw(st.lists(st.sampled_from([0.0, 1.0, 50.0, 700.0, 1e6]), min_size=n, max_size=n))
    return np.array(scenarios), np.array(caps), draw(st.sampled_from([0.0, 10.0, 500.0, 1e7]))


ALLOCATORS = {"risk_parity": {}, "mean_variance": {"risk_aversion": 0.01}, "min_cvar": {"risk_aversion": 0.5}}


@pytest.mark.parametrize("method", sorted(ALLOCATORS))
@settings(max_examples=15)
@given(problem=problems())
def test_limits_are_kept_and_idle_is_riskless_zero(method: str, problem: tuple[np.ndarray, np.ndarray, float]) -> None:
    scenarios, caps, total = problem
    kw = allocate(scenarios, caps, total, method=method, **ALLOCATORS[method])  # type: ignore[arg-type]
    assert kw.shape == caps.shape
    assert (kw >= 0.0).all()
    assert (kw <= caps).all()
    assert kw.sum() <= total * (1.0 + 1e-9)
    profit = scenarios @ kw
    if method == "min_cvar":  # standing idle is worth 0, so nothing is taken that is worth less
        assert profit.mean() - 0.5 * scenario_cvar(profit) >= -1e-6 * max(1.0, np.abs(scenarios).max() * min(total, 1e6))


@EVERY
def test_power_and_profit_have_no_scale(method: str) -> None:
    scenarios, caps, total = lines(1)
    aversion = {"mean_variance": 0.02, "min_cvar": 0.7}.get(method)
    kw = optimiser(method, risk_aversion=aversion).allocate(scenarios, caps, total)
    for profit, power in ((1e-3, 1.0), (1e6, 1.0), (1.0, 1e-3), (1.0, 1e4), (1e4, 1e-4)):
        scaled = None if aversion is None else aversion / (profit * power if method == "mean_variance" else 1.0)
        again = optimiser(method, risk_aversion=scaled).allocate(profit * scenarios, power * caps, power * total)
        np.testing.assert_allclose(again / power, kw, atol=2e-4 * total)


@EVERY
def test_the_order_of_the_lines_does_not_matter(method: str) -> None:
    scenarios, caps, total = lines(2, n=4)
    order = np.array([2, 0, 3, 1])
    allocator = optimiser(method, risk_aversion={"mean_variance": 0.01, "min_cvar": 1.0}.get(method))
    kw = allocator.allocate(scenarios, caps, total)
    np.testing.assert_allclose(allocator.allocate(scenarios[:, order], caps[order], total), kw[order], atol=2e-4 * total)


@given(st.integers(0, 10**6), st.integers(2, 7))
def test_risk_contributions_are_equal_where_no_cap_holds(seed: int, n: int) -> None:
    scenarios, caps, total = lines(seed, samples=30, n=n)
    rng = np.random.default_rng(seed)
    scenarios = scenarios * 10.0 ** rng.uniform(-2.0, 2.0, n)
    budgets = rng.uniform(0.5, 2.0, n) if seed % 2 else np.ones(n)
    kw = allocate(scenarios, caps, total, budgets=budgets)
    assert kw.sum() == pytest.approx(total, rel=1e-9)
    contribution = kw * (np.cov(scenarios.T, bias=True) @ kw) / budgets
    free = kw < caps * (1.0 - 1e-9)
    assume(free.any())
    level = contribution[free].mean()
    np.testing.assert_allclose(contribution[free], level, rtol=1e-6)
    assert (contribution[~free] <= level * (1.0 + 1e-6)).all()


@pytest.mark.parametrize("correlation", [-0.999, -0.9999, -1.0, 0.9999, 1.0])
def test_risk_parity_of_lines_that_hedge_or_mirror_each_other(correlation: float) -> None:
    sd = np.array([0.1, 0.3, 0.02])
    matrix = np.array([[1.0, correlation, 0.0], [correlation, 1.0, 0.0], [0.0, 0.0, 1.0]]) * np.outer(sd, sd)
    kw, tried = budget_risk(matrix, np.full(3, 1000.0), 900.0, np.ones(3))
    assert kw.sum() == pytest.approx(900.0)
    assert kw[0] * sd[0] == pytest.approx(kw[1] * sd[1], rel=1e-3)  # the two of a pair stand alike
    if correlation > -1.0:
        contribution = kw * (matrix @ kw)
        np.testing.assert_allclose(contribution, contribution.mean(), rtol=1e-4)
    else:
        assert tried[-1].startswith(ATTEMPTS[-1][0])
        assert all(said.endswith("did not settle") for said in tried[:-1])


def test_two_lines_share_by_their_standard_deviations() -> None:
    scenarios = np.array([[1.0, 2.0], [-1.0, 2.0], [1.0, -2.0], [-1.0, -2.0]])
    np.testing.assert_allclose(allocate(scenarios, [1e3, 1e3], 300.0), [200.0, 100.0], rtol=1e-9)
    np.testing.assert_allclose(allocate(scenarios, [120.0, 1e3], 300.0), [120.0, 180.0], rtol=1e-9)
    np.testing.assert_array_equal(allocate(scenarios, [120.0, 100.0], 300.0), [120.0, 100.0])


def test_lines_without_risk_come_first_and_worthless_ones_not_at_all() -> None:
    rng = np.random.default_rng(0)
    risky = rng.normal(0.1, 1.0, 50)
    scenarios = np.column_stack([risky, np.full(50, 0.2), np.full(50, 0.3), np.zeros(50), np.full(50, -0.1)])
    for method in ("risk_parity", "hierarchical"):
        allocator = optimiser(method)
        np.testing.assert_allclose(allocator.allocate(scenarios, [500.0] * 5, 700.0), [0.0, 200.0, 500.0, 0.0, 0.0])
        np.testing.assert_allclose(allocator.allocate(scenarios, [500.0] * 5, 1200.0), [200.0, 500.0, 500.0, 0.0, 0.0])


def test_without_risk_aversion_the_best_means_are_filled_and_a_dominated_line_gets_nothing() -> None:
    scenarios, _, _ = lines(3)
    scenarios = np.column_stack([scenarios, scenarios[:, 0] - 0.01])  # worse than line 0 in every scenario
    kw = allocate(scenarios, [400.0] * 4, 900.0, method="mean_variance")
    best = np.argsort(-scenarios.mean(axis=0))
    assert kw[3] == 0.0 or set(best[:2]) >= {3}
    np.testing.assert_array_equal(kw[best], [400.0, 400.0, 100.0, 0.0])
    np.testing.assert_array_equal(allocate(-np.abs(scenarios), [400.0] * 4, 900.0, method="mean_variance"), np.zeros(4))


@pytest.mark.parametrize("seed", range(6))
def test_mean_variance_is_the_optimum_another_solver_finds(seed: int) -> None:
    scenarios, caps, total = lines(seed, n=4)
    weights = np.random.default_rng(seed).uniform(0.1, 1.0, len(scenarios))
    weights /= weights.sum()
    mean = weights @ scenarios
    covariance = (scenarios - mean).T @ (weights[:, None] * (scenarios - mean))
    for aversion in (1e-4, 1e-2, 1.0):

        def cost(x: np.ndarray, aversion: float = aversion) -> float:
            return float(0.5 * aversion * x @ covariance @ x - mean @ x)

        kw = allocate(scenarios, caps, total, method="mean_variance", risk_aversion=aversion, weights=weights)
        other = minimize(
            cost, np.full(4, total / 8), jac=lambda x, a=aversion: a * covariance @ x - mean, bounds=[(0.0, cap) for cap in caps],
            constraints=[{"type": "ineq", "fun": lambda x: total - x.sum(), "jac": lambda x: -np.ones(4)}], method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )  # fmt: skip
        assert cost(kw) <= cost(other.x) + 1e-6 * total
        np.testing.assert_allclose(cost(kw), cost(other.x), atol=1e-5 * total)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("floor", [None, 0.8])
def test_min_cvar_is_the_linear_programme_on_scenarios(seed: int, floor: float | None) -> None:
    scenarios, caps, total = lines(seed, samples=60)
    scenarios = scenarios - 0.15  # so that tails lose
    weights = np.random.default_rng(seed).uniform(0.0, 1.0, len(scenarios))
    weights /= weights.sum()
    s, n = scenarios.shape
    least = None if floor is None else floor * float(weights @ scenarios @ fill_by_mean(weights @ scenarios, caps, total))
    for alpha, aversion in ((0.9, math.inf), (0.8, 2.0), (0.8, 0.2), (0.0, 1.0)):
        of_mean, of_risk = (0.0, 1.0) if math.isinf(aversion) else (1.0, aversion)
        kw = allocate(
            scenarios, caps, total, method="min_cvar", alpha=alpha, risk_aversion=aversion, weights=weights, return_floor=least
        )
        profit = scenarios @ kw
        mine = of_risk * scenario_cvar(profit, alpha, weights) - of_mean * float(weights @ profit)
        # x, z, then what each scenario loses beyond z
        rows = [np.column_stack([-scenarios, -np.ones(s), -np.eye(s)]), np.r_[np.ones(n), np.zeros(s + 1)][None]]
        limits = [np.zeros(s), [total]]
        if least is not None:
            rows.append(np.r_[-(weights @ scenarios), np.zeros(s + 1)][None])
            limits.append([-least])
            assert weights @ profit >= least - 1e-6 * total
        found = linprog(
            np.r_[-of_mean * (weights @ scenarios), of_risk, of_risk * weights / (1.0 - alpha)], np.vstack(rows), np.concatenate(limits),
            bounds=[*((0.0, cap) for cap in caps), (None, None), *([(0.0, None)] * s)],
        )  # fmt: skip
        assert found.status == 0
        assert mine == pytest.approx(found.fun, abs=2e-6 * total)


def test_more_risk_aversion_never_means_more_risk() -> None:
    scenarios, caps, total = lines(4)
    scenarios = scenarios - 0.1
    for method, risk in (("mean_variance", np.var), ("min_cvar", scenario_cvar)):
        taken = [
            risk(scenarios @ allocate(scenarios, caps, total, method=method, risk_aversion=a))  # type: ignore[arg-type]
            for a in (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0, math.inf)
        ]
        assert (np.diff(taken) <= 1e-4 * (abs(taken[0]) + 1.0)).all(), method
    idle = allocate(-np.abs(scenarios), caps, total, method="min_cvar")
    np.testing.assert_array_equal(idle, np.zeros(3))


def test_skfolio_agrees_where_no_cap_holds() -> None:
    pytest.importorskip("skfolio")
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk, RiskBudgeting

    scenarios, _, total = lines(5, samples=60)
    caps = np.full(3, total)
    parity = skfolio_weights(RiskBudgeting(risk_measure=RiskMeasure.VARIANCE), scenarios)
    np.testing.assert_allclose(allocate(scenarios, caps, total) / total, parity, atol=1e-3)
    least = skfolio_weights(MeanRisk(risk_measure=RiskMeasure.CVAR, cvar_beta=0.9), scenarios)
    mine = allocate(scenarios, caps, total, method="min_cvar", alpha=0.9)
    # Profits are positive here, so that nothing stands idle and weights sum to 1 of themselves.
    assert mine.sum() == pytest.approx(total, rel=1e-6)
    assert scenario_cvar(scenarios @ mine, 0.9) == pytest.approx(total * scenario_cvar(scenarios @ least, 0.9), abs=1e-4 * total)


def test_weights_become_power_under_caps() -> None:
    weights = np.array([0.5, 0.3, 0.2, 0.0])
    np.testing.assert_allclose(fill_by_weight(weights, np.full(4, 1e3), 100.0), [50.0, 30.0, 20.0, 0.0])
    np.testing.assert_allclose(fill_by_weight(weights, np.array([20.0, 1e3, 1e3, 1e3]), 100.0), [20.0, 48.0, 32.0, 0.0])
    np.testing.assert_allclose(fill_by_weight(weights, np.array([20.0, 40.0, 1e3, 5.0]), 100.0), [20.0, 40.0, 40.0, 0.0])
    np.testing.assert_allclose(fill_by_weight(weights, np.array([20.0, 40.0, 10.0, 5.0]), 100.0), [20.0, 40.0, 10.0, 0.0])


class Failing:
    """An optimiser that does what it is told to."""

    def __init__(self, weights: Any) -> None:
        self.weights_ = weights

    def fit(self, scenarios: np.ndarray) -> Failing:
        if self.weights_ is None:
            raise RuntimeError("no luck")
        return self


@pytest.mark.parametrize("weights", [None, [0.5], [1.5, -0.5], [math.nan, 1.0]])
def test_an_optimiser_that_fails_gets_one_error(weights: Any) -> None:
    with pytest.raises(RiskError, match=r"skfolio's Failing (failed on \(5, 2\) scenarios: RuntimeError: no luck|gave weights)"):
        skfolio_weights(Failing(weights), np.zeros((5, 2)))


def test_without_skfolio_the_core_allocates_and_hierarchical_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "skfolio" or name.startswith("skfolio.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skfolio", None)
    with pytest.raises(MissingExtraError, match=r"install (-e )?.*\[forecast\]"):
        Allocator("hierarchical")
    assert allocate([[1.0, 2.0], [2.0, 1.0]], [10.0, 10.0], 10.0).sum() == pytest.approx(10.0)


def test_a_solver_that_fails_is_followed_by_the_next_and_all_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    scenarios, caps, total = lines(6)
    allocator = Allocator("min_cvar", risk_aversion=1.0)
    right = allocator.allocate(scenarios, caps, total)
    assert allocator.attempts == ("CLARABEL: optimal",)
    monkeypatch.setitem(SOLVERS, "min_cvar", ("NO_SUCH_SOLVER", "HIGHS"))
    np.testing.assert_allclose(allocator.allocate(scenarios, caps, total), right, atol=1e-3 * total)
    assert allocator.attempts[0].startswith("NO_SUCH_SOLVER: ")
    assert allocator.attempts[1] == "HIGHS: optimal"
    monkeypatch.setitem(SOLVERS, "min_cvar", ("NO_SUCH_SOLVER", "NOR_THIS"))
    with pytest.raises(RiskError, match=r"min_cvar allocation of 3 lines was not found; NO_SUCH_SOLVER: .*; NOR_THIS: "):
        allocator.allocate(scenarios, caps, total)


class Claiming:
    """A problem whose solver is content with whatever it is told to answer."""

    status = "optimal"

    def __init__(self, value: float) -> None:
        self.value = value

    def solve(self, **options: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "value", "message"),
    [
        ([2.0, 0.0, 0.0], 0.0, "off its limits"),
        ([math.nan] * 3, 0.0, "optimal"),
        (None, 0.0, "optimal"),
        ([0.1, 0.1, 0.1], -7.0, "claims 7 where its answer is worth"),
        ([0.0, 0.0, 0.0], 0.0, "worse than filled by mean"),
    ],
)
def test_no_solver_is_believed_by_its_status(answer: list[float] | None, value: float, message: str) -> None:
    scenarios, caps, total = lines(7)
    allocator = Allocator("mean_variance", risk_aversion=1e-6)
    allocator.allocate(scenarios, caps, total)
    solver = allocator._convex["mean_variance"]
    solver._problem = Claiming(value)
    solver._variable = type("Answer", (), {"value": None if answer is None else np.array(answer)})()
    with pytest.raises(RiskError, match=message):
        allocator.allocate(scenarios, caps, total)


@EVERY
def test_an_allocator_can_be_pickled_and_does_not_remember(method: str) -> None:
    allocator = optimiser(method, risk_aversion={"mean_variance": 0.01, "min_cvar": 1.0}.get(method))
    first = allocator.allocate(*lines(8))
    allocator.allocate(*lines(9))
    assert allocator.allocate(*lines(8)).tobytes() == first.tobytes()
    assert pickle.loads(pickle.dumps(allocator)).allocate(*lines(8)).tobytes() == first.tobytes()


GOOD = ([[1.0, 2.0], [2.0, 1.0]], [10.0, 10.0], 10.0)


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (GOOD, {"method": "greedy"}, "method is 'greedy', expected one of risk_parity"),
        (GOOD, {"risk_aversion": 1.0}, "risk_aversion is 1.0, but risk_parity takes none"),
        (GOOD, {"return_floor": 1.0}, "return_floor is 1.0, but risk_parity"),
        (GOOD, {"method": "min_cvar", "budgets": [1.0, 1.0]}, "but min_cvar takes none"),
        (GOOD, {"method": "min_cvar", "risk_aversion": -1.0}, "risk_aversion is -1.0"),
        (GOOD, {"method": "min_cvar", "risk_aversion": math.nan}, "risk_aversion is nan"),
        (GOOD, {"method": "min_cvar", "return_floor": math.inf}, "return_floor is inf"),
        (GOOD, {"method": "min_cvar", "return_floor": 1e3}, r"return_floor is 1000 \$, expected at most 15 \$"),
        (GOOD, {"method": "min_cvar", "alpha": 1.0}, "alpha is 1.0"),
        (GOOD, {"budgets": [1.0]}, r"budgets have shape \(1,\)"),
        (GOOD, {"budgets": [1.0, 0.0]}, "expected numbers above 0"),
        (GOOD, {"weights": [1.0]}, r"weights have shape \(1,\)"),
        (([], [1.0], 1.0), {}, "scenarios have shape"),
        (([[1.0, math.nan]], [1.0, 1.0], 1.0), {}, "scenario 0 of line 1 is nan"),
        (([["a"]], [1.0], 1.0), {}, "expected .S, L. numbers"),
        (([[1.0]], [1.0, 1.0], 1.0), {}, r"caps_kw have shape \(2,\)"),
        (([[1.0]], [-1.0], 1.0), {}, "expected numbers >= 0"),
        (([[1.0]], [math.nan], 1.0), {}, "caps_kw: sample 0 is nan"),
        (([[1.0]], [1.0], -1.0), {}, "total_kw is -1.0"),
        (([[1.0]], [1.0], math.inf), {}, "total_kw is inf"),
        (([[1.0]], [0.0], 1.0), {"method": "min_cvar", "return_floor": 1.0}, "no line may have power"),
    ],
)
def test_what_cannot_be_allocated_is_refused(arguments: Any, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(RiskError, match=message):
        allocate(*arguments, **keywords)


@pytest.mark.parametrize("rows", [1, 5, 12, 288, 289, 300, 577, 3000])
def test_bootstrapped_blocks_keep_together_and_to_their_time_of_day(rows: int) -> None:
    drawn = block_rows(rows, 300, 50, block=12, period=288, jitter=6, generator=np.random.default_rng(0))
    assert drawn.shape == (50, 300)
    assert drawn.min() >= 0
    assert drawn.max() <= rows - 1
    inside = np.diff(drawn, axis=1)[:, np.arange(299) % 12 != 11]
    assert np.isin(inside, (0, 1)).all()
    if rows > 2 * 288:
        away = (drawn - (rows - 1) - np.arange(300) + 144) % 288 - 144
        assert np.abs(away).max() <= 6
        assert len(np.unique(drawn[:, 0])) > 5
    for name, arguments in (("rows", (0, 1, 1)), ("horizon", (1, 0, 1)), ("scenarios", (1, 1, 0))):
        with pytest.raises(RiskError, match=f"{name} is 0"):
            block_rows(*arguments, block=1, period=1, jitter=0, generator=np.random.default_rng(0))
