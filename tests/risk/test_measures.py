"""Risk measures against their definitions, against skfolio's, and at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, t

from gridpilot.errors import RiskError
from gridpilot.risk import (
    conditional_value_at_risk,
    drawdown,
    fit_student_t,
    scenario_cvar,
    student_t_cvar,
    student_t_var,
    value_at_risk,
)

LOSSES = st.lists(st.integers(-50, 50), min_size=1, max_size=30)
ALPHAS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])


def exact(losses: list[int], weights: list[int], alpha: float) -> tuple[int, Fraction]:
    """VaR and CVaR from the definitions in rational arithmetic; alpha as the decimal it is written as."""
    level, total = Fraction(str(alpha)), sum(weights)
    atoms = sorted((x, Fraction(w, total)) for x, w in zip(losses, weights, strict=True) if w)
    reached, var = Fraction(0), atoms[-1][0]
    for x, p in atoms:
        reached += p
        if reached >= level:
            var = x
            break
    left, tail = 1 - level, Fraction(0)
    for x, p in reversed(atoms):
        take = min(p, left)
        tail, left = tail + take * x, left - take
    return var, tail / (1 - level)


@given(LOSSES, ALPHAS, st.data())
def test_weighted_measures_are_the_definitions(losses: list[int], alpha: float, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 5), min_size=len(losses), max_size=len(losses)).filter(any))
    for given_weights, counted in ((weights, weights), (None, [1] * len(losses))):
        var, cvar = exact(losses, counted, alpha)
        assert value_at_risk(losses, alpha, given_weights) == var
        assert conditional_value_at_risk(losses, alpha, given_weights) == pytest.approx(float(cvar), abs=1e-9)
        assert scenario_cvar([-x for x in losses], alpha, given_weights) == pytest.approx(float(cvar), abs=1e-9)


@given(LOSSES, ALPHAS)
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(losses: list[int], alpha: float) -> None:
    sample = np.array(losses, dtype=np.float64)
    least = min(z + np.maximum(sample - z, 0.0).mean() / (1.0 - alpha) for z in losses)  # its kinks are the losses
    assert conditional_value_at_risk(losses, alpha) == pytest.approx(least, abs=1e-9)


@given(LOSSES, LOSSES, ALPHAS, st.floats(0.01, 100.0), st.floats(-100.0, 100.0))
def test_cvar_is_coherent(a: list[int], b: list[int], alpha: float, scale: float, shift: float) -> None:
    n = min(len(a), len(b))
    x, y = np.array(a[:n], dtype=np.float64), np.array(b[:n], dtype=np.float64)
    risk = conditional_value_at_risk(x, alpha)
    assert conditional_value_at_risk(scale * x + shift, alpha) == pytest.approx(scale * risk + shift, abs=1e-7)
    assert conditional_value_at_risk(x + y, alpha) <= risk + conditional_value_at_risk(y, alpha) + 1e-9
    assert conditional_value_at_risk(np.maximum(x, y), alpha) >= risk - 1e-9
    assert value_at_risk(x, alpha) <= risk + 1e-9
    assert x.mean() - 1e-9 <= risk <= x.max() + 1e-9


def test_skfolio_measures_the_same() -> None:
    measures = pytest.importorskip("skfolio.measures")
    rng = np.random.default_rng(5)
    for n in (1, 2, 20, 100, 333):
        returns, weights = rng.standard_t(3, n), rng.uniform(0.0, 1.0, n)
        for beta in (0.0, 0.5, 0.9, 0.95, 0.99):
            for w in (None, weights):
                assert value_at_risk(-returns, beta, w) == pytest.approx(measures.value_at_risk(returns, beta, w), abs=1e-12)
                assert scenario_cvar(returns, beta, w) == pytest.approx(measures.cvar(returns, beta, w), abs=1e-12)
            fall = drawdown(np.r_[0.0, np.cumsum(returns)], beta)
            theirs = measures.get_drawdowns(returns)
            np.testing.assert_allclose(fall.path[1:], -theirs, atol=1e-12)
            assert fall.maximum == pytest.approx(measures.max_drawdown(theirs), abs=1e-12)
            assert drawdown(np.cumsum(returns) - returns[0], beta).average >= 0.0
            assert conditional_value_at_risk(fall.path[1:], beta) == pytest.approx(measures.cdar(theirs, beta), abs=1e-12)
            assert fall.path[1:].mean() == pytest.approx(measures.average_drawdown(theirs), abs=1e-12)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=25))
def test_drawdown_is_the_greatest_fall_between_two_points(path: list[int]) -> None:
    fall = drawdown(path, 0.9)
    below = [max(path[: i + 1]) - x for i, x in enumerate(path)]
    np.testing.assert_array_equal(fall.path, below)
    assert fall.maximum == max(path[i] - path[j] for j in range(len(path)) for i in range(j + 1))
    assert fall.average == pytest.approx(sum(below) / len(below))
    assert fall.conditional == pytest.approx(float(exact(below, [1] * len(below), 0.9)[1]))
    assert drawdown(sorted(path)).maximum == 0.0


@pytest.mark.parametrize("df", [2.0, 4.2, 30.0, 1e7, math.inf])
@pytest.mark.parametrize("alpha", [0.01, 0.5, 0.95, 0.999])
def test_student_t_by_integration(df: float, alpha: float) -> None:
    law = norm if math.isinf(df) else t(df)
    var = student_t_var(alpha, df)
    assert law.cdf(var) == pytest.approx(alpha, rel=1e-9)
    tail, _ = quad(lambda x: x * float(law.pdf(x)), var, math.inf, limit=500)
    assert student_t_cvar(alpha, df) == pytest.approx(tail / (1.0 - alpha), rel=1e-5, abs=1e-7)
    assert student_t_cvar(alpha, df, 3.0, 2.0) == pytest.approx(3.0 + 2.0 * student_t_cvar(alpha, df))
    assert student_t_var(alpha, df, 3.0, 2.0) == pytest.approx(3.0 + 2.0 * var)


def test_student_t_is_what_large_samples_show() -> None:
    sample = 1.0 + 0.5 * np.random.default_rng(0).standard_t(5, 400_000)
    assert value_at_risk(sample, 0.95) == pytest.approx(student_t_var(0.95, 5, 1.0, 0.5), rel=0.01)
    assert conditional_value_at_risk(sample, 0.95) == pytest.approx(student_t_cvar(0.95, 5, 1.0, 0.5), rel=0.01)


def garch(n: int, omega: float, alpha: float, beta: float, nu: float, seed: int) -> tuple[np.ndarray, float]:
    """A GARCH(1,1)-t path and the standard deviation of what comes next."""
    rng = np.random.default_rng(seed)
    eta = rng.standard_t(nu, n) * math.sqrt((nu - 2.0) / nu)
    e, h = np.empty(n), omega / (1.0 - alpha - beta)
    for i in range(n):
        e[i] = math.sqrt(h) * eta[i]
        h = omega + alpha * e[i] ** 2 + beta * h
    return e, math.sqrt(h)


@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e5])
def test_garch_fit_foresees_the_next_loss(unit: float) -> None:
    losses, ahead = garch(3000, 0.02, 0.1, 0.85, 5.0, 1)
    fitted = fit_student_t(unit * (losses + 0.3))
    assert fitted.location == pytest.approx(0.3 * unit, abs=0.05 * unit)
    assert fitted.df == pytest.approx(5.0, rel=0.3)
    assert fitted.scale * math.sqrt(fitted.df / (fitted.df - 2.0)) == pytest.approx(ahead * unit, rel=0.15)
    where = (fitted.df, fitted.location, fitted.scale)
    assert student_t_cvar(0.95, *where) > student_t_var(0.95, *where)


BAD: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (value_at_risk, ([],), r"losses have shape \(0,\)"),
    (conditional_value_at_risk, ([[1.0, 2.0]],), r"shape \(1, 2\)"),
    (conditional_value_at_risk, ([1.0, math.nan],), "sample 1 is nan"),
    (scenario_cvar, ([math.inf],), "profits: sample 0 is inf"),
    (scenario_cvar, (["much"],), "expected a list of numbers"),
    (value_at_risk, ([1.0], 1.0), r"alpha is 1.0, expected a confidence level in \[0, 1\)"),
    (value_at_risk, ([1.0], math.nan), "alpha is nan"),
    (value_at_risk, ([1.0], True), "alpha is True"),
    (value_at_risk, ([1.0, 2.0], 0.5, [1.0]), r"weights have shape \(1,\)"),
    (value_at_risk, ([1.0, 2.0], 0.5, [1.0, -1.0]), "weights lie between -1"),
    (value_at_risk, ([1.0, 2.0], 0.5, [0.0, 0.0]), "one above 0"),
    (value_at_risk, ([1.0, 2.0], 0.5, [1.0, math.nan]), "weights: sample 1 is nan"),
    (drawdown, ([],), "path have shape"),
    (drawdown, ([0.0, math.nan],), "path: sample 1 is nan"),
    (student_t_var, (0.0, 4.0), "alpha is 0"),
    (student_t_cvar, (0.95, 1.0), "df is 1.0, expected more than 1"),
    (student_t_var, (0.95, 0.0), "df is 0.0"),
    (student_t_var, (0.95, math.nan), "df is nan"),
    (student_t_cvar, (0.95, 4.0, 0.0, -1.0), "scale -1.0"),
    (student_t_cvar, (0.95, 4.0, math.nan), "location is nan"),
    (fit_student_t, ([1.0] * 50,), "50 samples, expected at least 100"),
    (fit_student_t, ([1.0] * 500,), "expected a series that moves"),
    (fit_student_t, ([1.0, math.nan] * 200,), "sample 1 is nan"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), BAD)
def test_what_is_not_defined_is_refused(function: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(RiskError, match=message):
        function(*arguments)


def test_one_sample_and_ties() -> None:
    assert value_at_risk([7.0]) == conditional_value_at_risk([7.0]) == 7.0
    assert value_at_risk([2.0] * 9, 0.5) == conditional_value_at_risk([2.0] * 9, 0.99) == 2.0
    assert drawdown([5.0])[1:] == (0.0, 0.0, 0.0)
    assert value_at_risk(np.arange(100.0), 0.95) == 94.0  # the edge falls between two samples: the lower one
    assert conditional_value_at_risk([1e300, 1e300, -1e300], 0.5) == 1e300
